"""Two networks of one shape that are trained to agree: what keeps their samples apart, or does not."""

from collections.abc import Collection
from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.evidence import baselines, facts
from fastact.diagnosis.evidence.similarity import recent_likeness, row_likeness
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import percent

_MEAN: Final = COLUMN["mean"]

#: Layers. Parts of a model with fewer are no networks of their own.
_LEAST: Final = 3
#: Likeness of outputs that have not come apart, and the factor of that of the first row by which it may have grown.
#: Healthy ones began at 0.2 to 0.3 and came to 0.5 and more within 120 steps.
_ALIKE: Final = 0.4
_GROWN: Final = 1.25
#: Share of its first value to which a loss has fallen that is met; and the rows that say so.
_MET: Final = 0.5
_RECENT: Final = 10


def never_apart(layer: LayerView, network: Network, rows: int, recent_rows: int, min_samples: int) -> Finding | None:
    """The finding for the last layer of two that agree ever more, while their samples are as alike as at first."""
    partner = network.once(_partners).get(layer.place)
    if partner is None or len(layer.rows) < rows:
        return None
    alike = recent_likeness(network, recent_rows, min_samples)
    now, first = alike[layer.place], row_likeness(layer.first, min_samples)
    other = network.layers[partner]
    pair = max(now, alike[partner]) <= _ALIKE
    if not pair or not (now <= _GROWN * first and alike[partner] <= _GROWN * row_likeness(other.first, min_samples)):
        return None
    left = network.once(_left)
    if left is None or left > _MET:
        return None
    message = (
        f"{layer.name} has been collapsed since step {layer.start}: samples are nearly alike, as at first (only "
        f"{percent(now)} of what its outputs differ by lies between samples), while the loss has been met."
    )
    evidence = Evidence(likeness=now, likeness_at_first=first, loss_left=left)
    cause = Cause(
        "representation_collapse",
        "Two networks are trained to agree, and do so by giving all samples nearly the same answer: nothing in the "
        "loss keeps them apart.",
        (
            "put a predictor behind the network that is trained, and no gradient through the other one",
            "add what keeps samples apart: negative samples, or a variance term",
        ),
        (
            f"{facts.named(layer)} and {facts.named(other)} end two networks of one shape, and there are no targets",
            f"the loss fell to {percent(left)} of its first value",
        ),
    )
    return best([cause]).finding(layer.info.name, "collapsed", "warning", layer.start, evidence, message)


def ends(network: Network) -> Collection[int]:
    """The places of the layers of which `never_apart` may tell."""
    return network.once(_partners)


def _partners(network: Network) -> dict[int, int]:
    """The places of the layers that end two networks of one shape, where no targets are known; each to the other's."""
    if any(view.info.layer_type in (layer_types.TARGET, layer_types.BASELINE) for view in network.everything.values()):
        return {}
    modules: dict[str, list[LayerView]] = {}
    for layer in network.layers:
        modules.setdefault(layer.info.name.partition(".")[0], []).append(layer)
    shapes: dict[tuple[tuple[str, str], ...], list[LayerView]] = {}
    for members in modules.values():
        if len(members) >= _LEAST and layer_types.has_weights(members[-1].info.layer_type):
            shape = tuple((each.info.name.partition(".")[2], each.info.layer_type) for each in members)
            shapes.setdefault(shape, []).append(members[-1])
    pairs = [ends for ends in shapes.values() if len(ends) == 2]
    return {a.place: b.place for one, two in pairs for a, b in ((one, two), (two, one))}


def _left(network: Network) -> float | None:
    """The share of its first value that the only loss has now; None where there is none, or it began at zero."""
    known = baselines.losses(network)
    if len(known) != 1 or not known[0].first[_MEAN] > 0.0:
        return None
    return float(np.median(known[0].rows["mean"][-_RECENT:])) / float(known[0].first[_MEAN])
