"""Networks whose layers are all linear: however many there are, they can learn what one of them can."""

import math

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.evidence.supervised import Mismatch, Supervised
from fastact.diagnosis.finding import NOTE, Severity
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import shown

#: What leaves a chain of layers linear, by the beginnings of their types; BatchNorm is in evaluation.
_LINEAR = (
    "Linear", "LazyLinear", "Dense", "Conv", "LazyConv", "Dropout", "Flatten", "Unflatten", "Reshape", "Permute",
    "Identity", "AvgPool", "AdaptiveAvgPool", "AdaptiveAveragePool", "AveragePool", "GlobalAvgPool",
    "GlobalAveragePool", "BatchNorm", "ZeroPad",
)  # fmt: skip
#: Rows, and how little the loss may have moved over the last half of the window to stand still.
_FLAT_ROWS = 60
_FLAT = 0.03
#: Layers. Two make a matrix of low rank, which may be meant.
_DEEP = 3
_NEURONS = COLUMN["neurons"]
#: How it is told that a module never ran.
_NEVER = "its hook never ran"


def no_nonlinearity(s: Supervised, network: Network, learned: float, rows: int) -> Mismatch | None:
    """Layers with weights one after the other, and no activation anywhere, though each was seen to feed the next.

    A narrow layer that is linear on purpose (a factorised weight, an autoencoder's code) has activations around it, or
    gives its input back.
    """
    if s.output is None or s.layer is None or s.kind not in ("linear", "softmax", "log-softmax", "sigmoid"):
        return None
    weighted: list[LayerView] = []
    layer: LayerView | None = s.layer
    first: LayerView | None = None
    while layer is not None and layer.info.layer_type != layer_types.INPUT:
        kept = layer.info.layer_type.startswith(_LINEAR)
        if not kept and layer is not s.layer:
            return None
        own = layer.info.facts.get("layer", "")  # Dense(..., activation="softmax") is of type Softmax
        if layer_types.has_weights(layer.info.layer_type) or layer_types.has_weights(str(own)):
            weighted.append(layer)
        first = layer
        layer = network.everything.get(layer.info.source)
    begins = first is not None and (layer is not None or first.place <= 1)
    if len(weighted) < 2 or not begins or _gives_its_input_back(s, weighted[0], layer):
        return None
    others = {view.info.layer_type for view in network.outputs if view is not s.layer} - {layer_types.INPUT}
    if not all(layer_type.startswith(_LINEAR) for layer_type in others):
        return None
    slow = len(weighted) >= _DEEP and len(s.loss.rows) >= rows and s.share_of_baseline > learned
    idle = _never_run(network)
    severity: Severity = "serious" if _stands_still(s, learned) else "warning" if slow or idle else NOTE
    names = f"{shown(weighted[-1].info.name, 40)} to {shown(weighted[0].info.name, 40)}"
    what = f"the {len(weighted)} layers with weights, {names}, have no activation between them"
    says = "Linear layers one after the other can learn what a single one can, and no more."
    fix: tuple[str, ...] = ("add an activation, such as ReLU, after each layer but the last",)
    because: tuple[str, ...] = ("each was given what the one before it put out",)
    if idle:
        because = (*because, f"{shown(idle, 40)}, which has no weights, is there and never ran")
        fix = (f"call {shown(idle, 40)} in forward: x = self.{shown(idle, 40)}(layer(x))", *fix)
    return Mismatch("no_nonlinearity", severity, what, says, fix, because, None, "has been linear in its input")


def _never_run(network: Network) -> str:
    """A module without weights that the model has and never calls, such as an activation; "" where there is none."""
    for name, reason in network.unseen.items():
        known = any(each == name or each.startswith(f"{name}.") for each in network.everything)
        if ":" not in name and not known and reason.startswith(_NEVER):
            return name
    return ""


def _gives_its_input_back(s: Supervised, last: LayerView, given: LayerView | None) -> bool:
    """Whether it is a linear autoencoder: a regression onto as many numbers as came in, where that is known."""
    if s.function is None or s.function.family not in ("regression", "binary"):
        return False
    width = int(last.last[_NEURONS])
    return given is None or (width > 1 and int(given.last[_NEURONS]) == width)


def _stands_still(s: Supervised, learned: float) -> bool:
    """Whether the loss is flat where it is still a good part of what a constant answer costs."""
    rows = s.loss.rows
    share = s.share_of_baseline
    if len(rows) < _FLAT_ROWS or math.isnan(share) or share < learned:
        return False
    half, quarter = len(rows) // 2, len(rows) // 4
    before, after = float(np.median(rows["mean"][half : half + quarter])), float(np.median(rows["mean"][-quarter:]))
    return after > (1.0 - _FLAT) * before
