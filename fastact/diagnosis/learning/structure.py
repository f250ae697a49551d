"""What a network is made of that lets little through: a softmax between layers."""

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.evidence import updates
from fastact.diagnosis.network import Network
from fastact.fields import COLUMN
from fastact.text import shown

_NEURONS = COLUMN["neurons"]


def causes(network: Network) -> list[Cause]:
    """Those that the layers speak for."""
    hidden = network.once(_hidden_softmax)
    if not hidden:
        return []
    return [
        Cause(
            "hidden_softmax",
            "A softmax between two layers with weights squashes what it is given: all units share a sum of one, "
            "and next to no gradient passes.",
            ("use a ReLU in the hidden layers, and a softmax in the last one alone",),
            (f"{hidden} is a softmax, and another layer with weights is given what comes out of it",),
        )
    ]


def _hidden_softmax(network: Network) -> str:
    """The first layer with weights whose activation is a softmax, and that feeds another one with weights; or ""."""
    for view in network.everything.values():
        if not updates.weighs(view) or view.info.mode:
            continue
        source = network.everything.get(view.info.source)
        if source is not None and source.info.layer_type == "Softmax" and source.first[_NEURONS] > 1:
            own = layer_types.has_weights(str(source.info.facts.get("layer", "")))
            before = network.everything.get(source.info.source)
            if own or (before is not None and updates.weighs(before)):
                return shown(source.info.name, 40)
    return ""
