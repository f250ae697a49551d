"""What a network is made of that lets little through: a softmax between layers, a long recurrence."""

from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.evidence import updates
from fastact.diagnosis.network import Network
from fastact.fields import COLUMN
from fastact.text import shown

_COUNT, _NEURONS = COLUMN["count"], COLUMN["neurons"]
#: Time steps after which what a plain recurrence has seen first is gone; and one with gates.
_PLAIN: Final = 30
_GATED: Final = 200


def causes(network: Network) -> list[Cause]:
    """Those that the layers speak for."""
    hidden, long = network.once(_hidden_softmax), network.once(_long_recurrence)
    made = []
    if hidden:
        made.append(
            Cause(
                "hidden_softmax",
                "A softmax between two layers with weights squashes what it is given: all units share a sum of one, "
                "and next to no gradient passes.",
                ("use a ReLU in the hidden layers, and a softmax in the last one alone",),
                (f"{hidden} is a softmax, and another layer with weights is given what comes out of it",),
            )
        )
    if long:
        made.append(
            Cause(
                "vanishing_in_time",
                "Gradients vanish over so many time steps: what came first does not reach the last state.",
                (
                    "use an LSTM or a GRU in place of a plain recurrence",
                    "give the output all states, their mean or largest, in place of the last one alone",
                ),
                (long,),
            )
        )
    return made


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


def _long_recurrence(network: Network) -> str:
    """A recurrent layer that runs over many time steps, of which the last state alone goes on; or ""."""
    everything = network.everything
    for view in everything.values():
        kind = view.info.layer_type
        if not layer_types.is_recurrent(kind) or view.info.mode or not view.first[_NEURONS]:
            continue
        base, outputs = view.info.name.removesuffix("[0]"), view.info.name.endswith("[0]")
        state = next((each for name, each in everything.items() if name.startswith(f"{base}[1]")), None)
        if not outputs or state is None or not state.first[_NEURONS]:
            continue
        steps = (view.first[_COUNT] / view.first[_NEURONS]) / max(state.first[_COUNT] / state.first[_NEURONS], 1.0)
        plain = kind in ("RNN", "SimpleRNN")
        if steps >= (_PLAIN if plain else _GATED):
            what = "a plain recurrence" if plain else "a recurrence"
            return f"{shown(base, 40)} is {what} over {int(steps):,} time steps"
    return ""
