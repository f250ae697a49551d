"""Facts that several rules ask for: what the rows say of the model's input, of the gradients, of the network's parts.

Each is computed once for a diagnosis, through `Network.once`. Causes are spoken for and refuted by these, so that two
rules never say the opposite of each other. Clauses are parts of a sentence, without a full stop.
"""

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.network import LayerView, Network, asked_once, rms, row_rms
from fastact.diagnosis.row_conditions import Row
from fastact.fields import COLUMN
from fastact.text import number, percent, shown

_STEP, _NANS, _POS, _NEG = COLUMN["step"], COLUMN["nans"], COLUMN["pos_infs"], COLUMN["neg_infs"]
_COUNT, _NEURONS = COLUMN["count"], COLUMN["neurons"]

#: Between these the root mean square of an input is that of normalised data, pixels within [0, 1] included.
_NORMALISED: Final = (0.05, 3.0)
#: Root mean square. Next to usual biases (0.01 and more) such an input is nothing.
_NEGLIGIBLE: Final = 1e-4
#: Root mean square. A normalised output below this is what rounding leaves of nothing.
_ROUNDED: Final = 1e-3
#: A layer has left its usual range when its largest value is this many times what it was.
_LEFT: Final = 10.0
#: An input is on another scale since a step when all its rows from there on are this many times those before, or less
#: by as much.
_JUMP: Final = 5.0
#: Rows that say how large a layer is now.
_LATEST: Final = 5
#: Rows that make up what is usual, or that an input must stay on another scale.
_FEW: Final = 3


class For(NamedTuple):
    """What the rows say of one hypothesis: clauses for the fields of `Cause` with these names."""

    speaks_for: tuple[str, ...] = ()
    refuted_by: tuple[str, ...] = ()


class InputScale(NamedTuple):
    """What the rows say of the model's own input.

    Attributes:
        layer: its rows.
        largest: the largest |x| of the window; NaN where nothing is finite.
        mean: the median of the rows' means, of those before a change of the scale.
        std: the same of their standard deviations.
        normalised: whether its root mean square is that of normalised data, or of pixels within [0, 1].
        large: whether it is not normalised, being too large.
        zeros: the share of zeros over the window.
        equal: whether all samples are the same within each row; None where that is unknown: a row has one sample, or
            what differs may be the places of one sample (pixels, tokens) in place of samples.
        broken_at: the step of the first row in the window with NaN or Inf; None without one.
        changed_at: the step since which it has been on another scale; None where it is on one.
        change: the factor of that change; 1 without one.
    """

    layer: LayerView
    largest: float
    mean: float
    std: float
    normalised: bool
    large: bool
    zeros: float
    equal: bool | None
    broken_at: int | None
    changed_at: int | None
    change: float


class Gradients(NamedTuple):
    """What is known of the gradients of the loss by the layers' outputs.

    Attributes:
        steps: steps in the window in which any of them was recorded, rising.
        broken: those in which any of them had NaN or Inf, rising.
        start: the first step in which any was recorded, though it may have left the window; None without gradients.
        ever: the first one in which any had NaN or Inf, likewise.
    """

    steps: tuple[int, ...]
    broken: tuple[int, ...]
    start: int | None
    ever: int | None

    def finite_before(self, step: int) -> bool | None:
        """Whether all recorded in the last step before `step` were finite; None where none was recorded before it."""
        if self.start is None or self.start >= step:
            return None
        before = [each for each in self.steps if each < step]
        if before:
            return before[-1] not in self.broken
        return self.ever is None or self.ever >= step


@asked_once
def model_input(network: Network) -> LayerView | None:
    """The model's own input, where it was recorded; also for gradients and for rows in evaluation mode."""
    if network.input is not None:
        return network.input
    mode = network.layers[0].info.mode if network.layers else ""
    views = network.typed(layer_types.INPUT)
    return next((view for view in views if view.info.mode == mode), views[0] if views else None)


@asked_once
@np.errstate(all="ignore")
def input_scale(network: Network) -> InputScale | None:
    """What the rows say of the model's own input; None where it was not recorded."""
    layer = model_input(network)
    if layer is None:
        return None
    rows = layer.rows
    finite = rows[~np.isnan(rows["mean"])]
    bad = not_finite(rows)
    changed_at, change = _changed(rows["step"], rms(rows))
    before = finite if changed_at is None else finite[finite["step"] < changed_at]
    mean = float(np.median(before["mean"])) if len(before) else math.nan
    std = float(np.median(before["std"])) if len(before) else math.nan
    largest = float(np.maximum(-finite["min"], finite["max"]).max()) if len(finite) else math.nan
    # As it was before a change, or as most rows are: that either is normalised speaks against the scale.
    scales = [_middle(rms(some)) for some in (before, finite)]
    samples = finite["count"] > finite["neurons"]
    swept = finite["neurons"] > 0
    spread = np.where(swept, finite["within_std"], finite["std"])
    alike = samples & (spread <= 1e-6 * (np.abs(finite["mean"]) + finite["std"]))
    equal = True if len(finite) and alike.all() else False if _places_are_samples(layer, network) else None
    return InputScale(
        layer=layer,
        largest=largest,
        mean=mean,
        std=std,
        normalised=any(_NORMALISED[0] <= scale <= _NORMALISED[1] for scale in scales),
        large=scales[0] > _NORMALISED[1],
        zeros=min(float(rows["zeros"].sum(dtype=float)) / max(float(rows["count"].sum(dtype=float)), 1.0), 1.0),
        equal=equal,
        broken_at=int(rows["step"][bad][0]) if bad.any() else None,
        changed_at=changed_at,
        change=change,
    )


def _middle(values: npt.NDArray[np.float64]) -> float:
    """The upper median; NaN without values."""
    return float(np.sort(values)[len(values) // 2]) if len(values) else math.nan


def not_finite(rows: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Which rows have NaN or Inf."""
    return np.asarray((rows["nans"] | rows["pos_infs"] | rows["neg_infs"]) != 0)


def _places_are_samples(layer: LayerView, network: Network) -> bool:
    """Whether each element of a neuron of the input is one of another sample, as no layer has fewer for each neuron."""
    count, neurons = layer.last[_COUNT], layer.last[_NEURONS]
    if not neurons or count <= neurons:
        return False
    last = [view.last for view in network.layers]
    return all(row[_COUNT] * neurons >= count * row[_NEURONS] for row in last if row[_NEURONS])


def _changed(steps: npt.NDArray[np.int64], scale: npt.NDArray[np.float64]) -> tuple[int | None, float]:
    """The step since which a scale is another one for good, and the factor."""
    good = (scale > 0.0) & (scale < np.inf)
    steps, logs = steps[good], np.log(scale[good])
    if len(logs) < 2 * _FEW:
        return None, 1.0
    jump = int(np.abs(np.diff(logs))[_FEW - 1 : len(logs) - _FEW].argmax()) + _FEW
    before, after = logs[:jump], logs[jump:]
    gap = max(float(after.min() - before.max()), float(before.min() - after.max()))
    if gap < math.log(_JUMP):
        return None, 1.0
    return int(steps[jump]), math.exp(
        min(float(np.median(after)) - float(np.median(before)), 700.0)
    )  # beyond that it overflows


@asked_once
def inputs_not_normalised(network: Network) -> For:
    """What the recorded input says of inputs_not_normalised."""
    scale = input_scale(network)
    if scale is None or math.isnan(scale.std):
        return For()
    said = f"mean {number(scale.mean)}, standard deviation {number(scale.std)}"
    if scale.normalised:
        return For(refuted_by=(f"the recorded input is normalised ({said})",))
    if not scale.std <= scale.largest:  # which no data has
        return For()
    return For((f"the input reaches {number(scale.largest)} ({said})", *_codes(scale.layer)))


def missing_code(given: LayerView | None) -> tuple[float, float, float] | None:
    """The number that stands for missing values in an input's first batch, its share, and the others' deviation."""
    code = given.info.facts.get("code") if given is not None else None
    known = [code.get(name) for name in ("value", "share", "std_without")] if isinstance(code, dict) else []
    numbers = [float(each) for each in known if isinstance(each, int | float)]
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None


def _codes(given: LayerView) -> tuple[str, ...]:
    code = missing_code(given)
    return (f"{percent(code[1])} of it is {number(code[0])}, as if that stood for missing values",) if code else ()


@asked_once
def inputs_equal(network: Network) -> For:
    """What the recorded input says of inputs_equal."""
    scale = input_scale(network)
    if scale is None or math.isnan(scale.std) or scale.equal is None:
        return For()
    if scale.equal:
        return For(("all samples of the recorded input are the same",))
    return For(refuted_by=("the samples of the recorded input differ",))


@asked_once
def inputs_zero(network: Network) -> For:
    """What the recorded input says of inputs_zero."""
    scale = input_scale(network)
    if scale is None:
        return For()
    if scale.zeros >= 1.0:
        return For(("the recorded input is zero",))
    return For(refuted_by=(f"{percent(1.0 - scale.zeros)} of the recorded input is not zero",))


def data_changed(network: Network, step: int, slack: float = 0.0) -> For:
    """What the recorded input says of data that is on another scale since `step`, or up to `slack` steps before it."""
    return network.once_for(_data_changed, step, slack)


def _data_changed(network: Network, step: int, slack: float) -> For:
    scale = input_scale(network)
    if scale is None or len(scale.layer.rows) < 2 * _FEW:
        return For()
    if scale.changed_at is None or not step - slack <= scale.changed_at <= step:
        return For(refuted_by=("the recorded input stays on one scale",))
    smaller = f"{number(1.0 / scale.change)} times less" if scale.change > 0.0 else "zero"
    by = f"{number(scale.change)} times as large" if scale.change > 1.0 else smaller
    return For((f"the recorded input is {by} since step {scale.changed_at}",))


_NOTHING, _AT_FIRST = For(), For(refuted_by=("it was so in the first recorded row",))


def before_any_update(layer: LayerView, step: int) -> For:
    """What speaks against a cause that needs training, such as learning_rate."""
    return _AT_FIRST if step <= layer.start else _NOTHING


def after_updates(layer: LayerView, step: int) -> For:
    """What speaks against a cause that is there before training, such as initialisation."""
    return For(refuted_by=(f"it began later, at step {step}",)) if step > layer.start else _NOTHING


@asked_once
def gradients(network: Network) -> Gradients:
    """The recorded gradients, those with NaN or Inf apart."""
    steps: set[int] = set()
    broken: set[int] = set()
    views = network.typed(layer_types.GRADIENT)
    for view in views:
        steps.update(view.rows["step"].tolist())
        broken.update(view.rows["step"][not_finite(view.rows)].tolist())
    begun = [view.streaks["ever_non_finite"].step for view in views if "ever_non_finite" in view.streaks]
    start = min((view.start for view in views), default=None)
    return Gradients(tuple(sorted(steps)), tuple(sorted(broken)), start, min(begun, default=None))


@asked_once
def has_norm(network: Network) -> bool:
    """Whether a normalisation resets the scale somewhere in the network."""
    return any(map(layer_types.is_norm, network.distinct_types))


@asked_once
def uses_relu(network: Network) -> bool:
    """Whether the network uses ReLU or one of its family, as a module or as a function."""
    return not layer_types.RELU_FAMILY.isdisjoint(network.distinct_types)


def half_precision(network: Network) -> bool:
    """Whether anything was recorded in float16, so that the loss may be scaled."""
    return any(view.info.dtype == "float16" for view in network.everything.values())


def norm_of_one_element(layer: LayerView, network: Network) -> For:
    """What the shapes of the rows say of a normalisation that puts out the same for every sample.

    An element less the mean of itself alone is zero: a LayerNorm over one neuron, an InstanceNorm over one place.
    """
    row, layer_type = layer.rows[-1], layer.info.layer_type
    neurons, count = int(row["neurons"]), int(row["count"])
    if neurons == 1 and not ("Batch" in layer_type or "Instance" in layer_type):
        return For(("it normalises over one neuron",))
    if neurons and count == neurons:
        return For(("each of its neurons has one element in a row",))
    if neurons and "Instance" in layer_type and count == neurons * network.once(_samples):
        return For(("each of its channels has one place in a sample",))
    if neurons and "Group" in layer_type and count == neurons * network.once(_samples):
        # How many channels make a group is not known; normalised outputs have an rms of 1 before any update.
        feeder = network.feeder(layer)
        nothing = 0.0 < row_rms(layer.first) <= _ROUNDED
        if nothing and feeder is not None and row_rms(feeder.first) > _NEGLIGIBLE**0.5:
            return For((f"the rms of its first row is {number(row_rms(layer.first))}, as of groups of one channel",))
    sure = "LayerNorm" in layer_type or "RMSNorm" in layer_type
    return For(refuted_by=(f"it normalises over {neurons:,} neurons",)) if sure and neurons > 1 else For()


def _samples(network: Network) -> int:
    """Samples in a batch, by the layer with the fewest elements of each neuron; 0 where it is not known."""
    last = [layer.rows[-1] for layer in network.layers]
    return min((int(row["count"]) // int(row["neurons"]) for row in last if int(row["neurons"])), default=0)


@asked_once
def inputs_negligible(network: Network) -> For:
    """What the recorded input says of one that is so small that biases, and a norm's epsilon, are all that is left."""
    scale = input_scale(network)
    if scale is None or math.isnan(scale.std):
        return For()
    size = math.hypot(scale.mean, scale.std)
    if 0.0 < size < _NEGLIGIBLE:
        return For((f"the recorded input has a root mean square of {number(size)}",))
    return For(refuted_by=(f"the recorded input has a root mean square of {number(size)}",))


def is_first(layer: LayerView, network: Network) -> bool:
    """Whether a layer is the network's first one, the recorded input not counted."""
    return layer.place == (1 if network.input is not None else 0)


def largest(rows: Any) -> npt.NDArray[np.float64]:
    """The largest |x| of each row's finite elements; NaN where there is none."""
    top = np.maximum(-rows["min"], rows["max"])
    result: npt.NDArray[np.float64] = np.where(np.isnan(rows["mean"]), np.nan, top)
    return result


def size(layer: LayerView, network: Network) -> float:
    """The median rms of a layer's last rows in units of that of its first row; NaN where that is zero."""
    return network.once_for(_size, layer)


def _size(_: Network, layer: LayerView) -> float:
    first, last = row_rms(layer.first), layer.rows[-_LATEST:]
    # np.median takes six times as long for a handful.
    now = sorted(size for size in map(math.hypot, last["mean"].tolist(), last["std"].tolist()) if size == size)  # noqa: PLR0124
    return now[(len(now) - 1) // 2] / first if now and first > 0.0 else math.nan


@asked_once
@np.errstate(all="ignore")
def left_range(network: Network) -> dict[str, int]:
    """Since when each layer's largest value has been ten times what it usually is; without those that never left.

    Usual is the least of the first rows of the window. A layer that starts at zero and grows has no usual range, and is
    left out until its values exceed ten.
    """
    if not network.layers:
        return {}
    top, starts, lengths = largest(network.table), network.starts, network.lengths
    known = ~np.isnan(top)
    before = np.cumsum(known)
    few = known & (before - np.repeat(before[starts] - known[starts], lengths) <= _FEW)
    # The smallest of few: a growth by orders of magnitude leaves no more.
    usual = np.maximum(np.fmin.reduceat(np.where(few, top, math.nan), starts), 1.0)
    inside = top < _LEFT * np.repeat(usual, lengths)  # not where it is NaN: it has not come back
    # The place after the last row inside; there is none before it where a layer was never inside.
    places = np.maximum.reduceat(np.where(inside, np.arange(1, len(top) + 1), 0), starts)
    left = {}
    for layer, start, end, place in zip(network.layers, starts, starts + lengths, places, strict=True):
        if start < place < end and known[place]:
            left[layer.info.name] = int(network.table["step"][place])
    return left


def broken(row: Row) -> int:
    """How many elements of a row are NaN or Inf."""
    return int(row[_NANS] + row[_POS] + row[_NEG])


def row_at(layer: LayerView, step: int) -> Row | None:
    """The layer's row of a step; None where it has none in the window."""
    rows = layer.since(step)
    row: Row | None = rows[0].item() if len(rows) else None
    return row if row is not None and row[_STEP] == step else None


def named(layer: LayerView) -> str:
    """A layer's name as a clause shows it."""
    return shown(layer.info.name, 40)
