"""What a network is trained by, put together from the rows of a loss, its targets and the layer that is compared."""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from fastact import losses
from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Severity
from fastact.diagnosis.layer_types import BASELINE_SUFFIX, TARGET_SUFFIX
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN

_STEP, _COUNT, _MIN, _MAX = COLUMN["step"], COLUMN["count"], COLUMN["min"], COLUMN["max"]

#: What the last activation does to numbers, by its layer type.
_KIND_OF: Final[Mapping[str, str]] = {
    "Softmax": "softmax", "Softmax2d": "softmax", "Softmin": "softmax", "LogSoftmax": "log-softmax",
    "Sigmoid": "sigmoid", "Hardsigmoid": "sigmoid", "Tanh": "tanh", "Softsign": "tanh", "Hardtanh": "tanh",
    "ReLU": "ReLU", "ReLU6": "ReLU",
}  # fmt: skip
#: Between which numbers what it puts out lies.
RANGE: Final[Mapping[str, tuple[float, float]]] = {
    "softmax": (0.0, 1.0), "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "ReLU": (0.0, math.inf),
    "log-softmax": (-math.inf, 0.0),
}  # fmt: skip
#: Of what hands its input on: it leaves each number as it is. Pooling and upsampling mix them.
_KEEPING: Final = ("Dropout", "Flatten", "Unflatten", "Reshape", "Permute", "Identity", "RepeatVector", "Masking")
#: Layers, from the last one back, of which a prediction that was made outside of the model may be a function.
_NEAR: Final = 4
#: Share. Numbers that a function of others comes to are theirs but for the rounding of 16-bit floats.
_ROUNDING: Final = 0.01


class Mismatch(NamedTuple):
    """What does not fit between an output, its loss and the targets.

    Attributes:
        name: in a word, such as "double_softmax": the cause's name.
        severity: by the harm that it does.
        what: what was seen, to follow "X does not fit its loss:".
        says: why that is bad, as one sentence.
        remedies: what to write instead.
        because: the clauses that prove it.
        step: since when; None for since the first row.
        verb: what is said of the layer up to the step.
        proved: whether it must be so; shares and levels, and what numbers may stand for, make it likely alone.
    """

    name: str
    severity: Severity
    what: str
    says: str
    remedies: tuple[str, ...]
    because: tuple[str, ...] = ()
    step: int | None = None
    verb: str = ""
    proved: bool = True


class Supervised(NamedTuple):
    """A loss with all that is known of what it compares.

    Attributes:
        loss: its rows.
        function: the loss function; None for one that is not known.
        framework: "torch", "keras", "jax", ...; "" where nobody said.
        facts: what is known of the loss besides.
        output: the rows of what it was given; None where they were not recorded.
        layer: the layer that made them: `output` itself, or the one before what leaves numbers as they are, or
            before an activation outside of the model; None where it is not known.
        kind: what the last activation is: one of `RANGE`, "linear" for weights without one, "" where it is not known.
        activation: the layer type of it; "" where it is not known.
        prediction: the facts of the first batch of predictions.
        units: the predictions of each sample; 0 where that is not known.
        target: the targets' rows; None where they were not recorded.
        targets: the facts of the first batch of targets.
        baseline: the rows of what the best constant answer comes to; None where it is not known.
        given: the layer type of what the last activation is applied to, where it has no weights; "" elsewhere.
    """

    loss: LayerView
    function: losses.Loss | None
    framework: str
    facts: Mapping[str, Any]
    output: LayerView | None
    layer: LayerView | None
    kind: str
    activation: str
    prediction: Mapping[str, Any]
    units: int
    target: LayerView | None
    targets: Mapping[str, Any]
    baseline: LayerView | None
    given: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first batch of predictions; () where it is not known."""
        return tuple(self.prediction.get("shape", ()))

    @property
    def target_shape(self) -> tuple[int, ...]:
        """The shape of the first batch of targets; () where it is not known."""
        return tuple(self.targets.get("shape", ()))

    @property
    def distinct(self) -> list[float]:
        """The values that the first batch of targets has; [] where they are many, or not known."""
        return list(self.targets.get("distinct", ()))

    @property
    def whole(self) -> bool:
        """Whether all targets of the first batch are whole numbers."""
        return bool(self.targets.get("whole", False))

    @property
    def samples(self) -> int:
        """How many rows of predictions the first batch has; 0 where that is not known."""
        return math.prod(self.shape) // self.units if self.shape and self.units else 0

    @property
    def targets_are_classes(self) -> bool:
        """Whether each sample has the number of a class for its target."""
        if not (self.function is not None and "classes" in self.function.targets):
            return False
        if self.function.targets == ("classes",):
            return True
        return bool(self.shape and self.targets) and self.shape != self.target_shape

    @property
    def chooses(self) -> bool:
        """Whether each sample is one of several classes, each with a unit, by the first batch alone."""
        if len(self.shape) < 2 or self.units < 2 or not self.targets:
            return False
        if self.shape == self.target_shape:
            return bool(self.targets.get("one_hot"))
        numbered = bool(self.distinct) and self.whole and set(self.distinct) <= set(range(self.units))
        return numbered and self.target_shape in ((*self.shape[:-1],), (*self.shape[:-1], 1))

    def target_number(self, field: str) -> float:
        """The median of a number over the targets' rows, which one odd sample does not move; NaN without rows."""
        if self.target is None:
            return math.nan
        values = np.asarray(self.target.rows[field], np.float64)
        known = values[np.isfinite(values)]
        return float(np.median(known)) if len(known) else math.nan

    @property
    def share_of_baseline(self) -> float:
        """The loss of the last rows as a share of what the best constant answer comes to; NaN where not known."""
        if self.baseline is None:
            return math.nan
        now, constant = (float(np.median(view.rows["mean"][-5:])) for view in (self.loss, self.baseline))
        return now / constant if constant > 0.0 else math.nan


def of(loss: LayerView, network: Network) -> Supervised:
    """All that is known of one loss.

    Args:
        loss: the rows of a loss in training.
        network: any; what is compared is found by name, in `Network.everything`.
    """
    facts = loss.info.facts
    name = facts.get("function", "")
    every = network.everything
    target, baseline = every.get(loss.info.name + TARGET_SUFFIX), every.get(loss.info.name + BASELINE_SUFFIX)
    output = every.get(loss.info.source)
    given = _checked(facts.get("prediction"))
    layer, layer_type = _maker(output, network)
    told = facts.get("activation", "") or given.get("activation", "")  # by whoever saw how the predictions were made
    if isinstance(told, str) and told:
        layer_type = told
    units = int(given.get("units", 0))
    if len(given.get("shape", (0, 0))) < 2:
        units = 0 if given else int(output.last[COLUMN["neurons"]]) if output is not None else 0
    kind = _KIND_OF.get(layer_type, "linear" if layer_types.has_weights(layer_type) else "")
    neurons = int(layer.last[COLUMN["neurons"]]) if layer is not None else 0
    cut = kind == "softmax" and neurons > 1 and neurons != units and not told  # one class of several, say
    if output is None or cut or not _within(output, kind):
        kind = ""
    if given.get("sums_to_one") and units > 1 and math.prod(given.get("shape", ())) >= 2 * units:
        kind = "softmax"
    return Supervised(
        loss=loss,
        function=losses.find(name) if isinstance(name, str) else None,
        framework=str(facts.get("framework", "")),
        facts=facts,
        output=output,
        layer=layer,
        kind=kind,
        activation=layer_type,
        prediction=given,
        units=units,
        target=target,
        targets=_checked(target.info.facts) if target is not None else {},
        baseline=baseline,
        given=_given_to(layer, network),
    )


def _given_to(layer: LayerView | None, network: Network) -> str:
    """What an activation that is a layer by itself is applied to; "" where it belongs to weights, or is not known."""
    if layer is None or layer.info.facts.get("layer", "Activation") not in ("Activation", "Softmax"):
        return ""
    before = _computing(network.everything.get(layer.info.source), network)
    return "" if before is None else before.info.layer_type


def _computing(view: LayerView | None, network: Network) -> LayerView | None:
    """The layer whose numbers a layer gives, past those that hand them on; None where a source is not known."""
    for _ in range(_NEAR):
        if view is None or not view.info.layer_type.startswith(_KEEPING):
            break
        view = network.everything.get(view.info.source)
    return view


def _checked(facts: object) -> Mapping[str, Any]:
    """The facts of a batch, without what is not as `monitor.batches` has it: logs come from anywhere."""
    if not isinstance(facts, Mapping):
        return {}
    known = dict(facts)
    for name, of in (("shape", int), ("distinct", (int, float))):
        values = known.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, of) for value in values):
            del known[name]
    if not isinstance(known.get("units", 0), int):
        del known["units"]
    return known


def _maker(output: LayerView | None, network: Network) -> tuple[LayerView | None, str]:
    """The layer that made the predictions, and the type of the last activation."""
    if output is None:
        return None, ""
    if output.info.layer_type == layer_types.PREDICTION:
        return _outside(output, network)
    layer = _computing(output, network)
    return (output, "") if layer is None else (layer, layer.info.layer_type)


def _outside(output: LayerView, network: Network) -> tuple[LayerView | None, str]:
    """The layer that predictions are a copy or a function of, by the least and the largest of their numbers."""
    row = output.first
    given = row[_MIN], row[_MAX]
    if not given[0] < given[1]:
        return None, ""
    for view in network.outputs[: -_NEAR - 1 : -1]:
        first = view.first
        if first[_STEP] != row[_STEP] or first[_COUNT] != row[_COUNT]:
            continue
        low, high = first[_MIN], first[_MAX]
        if _equal(given, (low, high)):
            return view, view.info.layer_type
        for layer_type, function in (("Sigmoid", _sigmoid), ("Tanh", math.tanh), ("ReLU", lambda x: max(x, 0.0)),
                                     ("Clamp", lambda x: min(max(x, 0.0), 1.0))):  # fmt: skip
            if _equal(given, (function(low), function(high))):
                return view, layer_type
    return None, ""


def _sigmoid(x: float) -> float:
    return 0.5 + 0.5 * math.tanh(0.5 * x)


def _equal(given: tuple[float, float], other: tuple[float, float]) -> bool:
    close = _ROUNDING * (given[1] - given[0])
    return all(abs(x - y) <= close for x, y in zip(given, other, strict=True))


def _within(output: LayerView, kind: str) -> bool:
    """Whether all rows lie where such an activation puts them: a type of the same name may be another one."""
    low, high = RANGE.get(kind, (-math.inf, math.inf))
    rows = output.rows[~np.isnan(output.rows["mean"])]
    return bool((rows["min"] >= low - _ROUNDING).all() and (rows["max"] <= high + _ROUNDING).all())
