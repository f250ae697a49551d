"""Scores that are cut before a softmax of the network's own: a ReLU between the last weights and the probabilities."""

from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.evidence.supervised import Mismatch, Supervised
from fastact.diagnosis.finding import NOTE, Severity
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import shown

_NEURONS: Final = COLUMN["neurons"]

#: Batches of which the smallest number of silent classes counts.
_LATEST: Final = 10


def relu_before_softmax(s: Supervised, network: Network, learned: float, rows: int) -> Mismatch | None:
    """A softmax, the last layer, whose input was cut at zero by the layer before it.

    Args:
        s: the loss.
        network: any, for the layer that feeds the softmax.
        learned: the share of a constant answer's loss below which much was learned.
        rows: from so many on what has not been learned does harm.
    """
    if s.layer is None or s.kind not in ("softmax", "log-softmax") or s.units == 1:
        return None
    feeder = network.everything.get(s.layer.info.source)
    if feeder is None or feeder.info.layer_type not in ("ReLU", "ReLU6") or feeder.last[_NEURONS] != s.units:
        return None
    if feeder.rows["min"].min() < 0.0 or not _is_last(feeder, s.layer, network):
        return None
    lost = int(feeder.rows["silent_neurons"][-_LATEST:].min()) > 0
    late = len(s.loss.rows) >= rows and s.share_of_baseline >= learned
    severity: Severity = "serious" if lost and late else "warning" if lost or late else NOTE
    if s.share_of_baseline < learned:
        severity = NOTE
    name = shown(feeder.info.name, 40)
    what = f"a ReLU, {name}, comes before the softmax"
    says = "A class whose score is cut to zero gets no gradient, and no class can get less than the others cut."
    fix = f"remove {name}: the softmax is the activation of the last layer"
    return Mismatch("relu_output", severity, what, says, (fix,), (f"the scores of {name} are never below zero",))


def _is_last(feeder: LayerView, layer: LayerView, network: Network) -> bool:
    """Whether what was cut are the scores themselves: no other layer with weights is given them."""
    return not any(
        view.info.source == feeder.info.name and view is not layer
        for view in network.everything.values()
        if layer_types.has_weights(view.info.layer_type)
    )
