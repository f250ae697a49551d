"""Where two runs part: differences of each statistic in units of what the runs' own noise explains.

Pairs of rows are taken in windows of each layer. In a window and for each statistic three things explain a difference:

- what each run's statistic changes by from one row to the next (the median of those changes, which few outliers move);
- how far the runs have moved since their beginning, since two healthy runs do not move equally far;
- a tolerance for each kind of statistic: runs that begin otherwise differ somewhat from then on.

Of both runs the smaller noise and the smaller movement count: a fault that makes one run swing must not hide itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.comparison.pairs import Pairs
from fastact.comparison.seeds import Band
from fastact.comparison.statistics import (
    EXTREMES,
    KINDS,
    MEAN,
    MOMENTS,
    NAMES,
    NON_FINITE,
    SATURATION,
    measure,
    references,
    scaled,
)  # fmt: skip
from fastact.diagnosis.layer_types import BOUNDED, OPTIMISER, has_weights
from fastact.fields import NEURON_PART, ROW, STATE_PART
from fastact.heatmap.statistics import Floats
from fastact.history import LayerInfo
from fastact.replay.blocks import Ints

Bools = npt.NDArray[np.bool_]
#: Rows of a window.
WINDOW: Final = 16
#: Rows in a row that must differ by more than noise explains.
SUSTAINED: Final = 8
#: From the median of |changes| of a normal number to its standard deviation, and from a change to the number.
_TO_DEVIATION: Final = float(np.sqrt(np.pi)) / 2.0
THRESHOLD: Final = 5.0
MOVEMENT: Final = 0.6
TOLERANCE: Final = {"size": 0.2, "share": 0.1, "signed": 0.2}, {"size": 0.03, "share": 0.03, "signed": 0.03}
SAMPLING: Final = {"size": 0.5, "share": 0.25, "signed": 1.0}, {"size": 0.0, "share": 0.25, "signed": 0.0}
#: How many seeds more the two runs' own noise is worth, where seeds tell the variance between them.
PRIOR: Final = 4.0
#: What a learning rate may differ by, as a share of it.
SETTING: Final = 0.005
#: Layers start alike where mean, std, mean of |x| and signal of their first rows are as near as this.
ALIKE: Final = 0.02
#: Pairs of rows that are worked on at once: memory for more is slower than the cache.
_AT_ONCE: Final = 1 << 15
_COMPARED: Final = slice(STATE_PART.start, NEURON_PART.stop)


class _Waiting(NamedTuple):
    """Pairs of rows: layers, steps, whether they are equal bit for bit, and the scaled statistics of either run."""

    layers: Ints
    steps: Ints
    equal: Bools
    a: Floats
    b: Floats

    def take(self, chosen: Any) -> "_Waiting":
        return _Waiting(*(each[chosen] for each in self))


@dataclass(slots=True)
class Start:
    """Where a statistic of a layer parts: the step, both values in the scale of comparison, and how far apart."""

    layer: int
    statistic: int
    step: int
    a: float
    b: float
    size: float


class Comparer:
    """Takes pairs of rows, and finds for each layer and statistic where the runs part.

    Attributes:
        starts: by (layer, statistic), the first parting.
        peaks: shape (layers, statistics), the largest difference that lasted, in units of noise.
        unequal: layer -> the first step whose rows are not the same bit for bit.
        paired: layer -> the number of pairs of rows.
    """

    def __init__(
        self,
        layers: Sequence[LayerInfo],
        threshold: float,
        band: Band | None = None,
        window: int = WINDOW,
        sustained: int = SUSTAINED,
    ) -> None:
        self._band = band
        self.infos = layers
        self.threshold = threshold
        self.window, self.sustained = window, sustained
        self.starts: dict[tuple[int, int], Start] = {}
        self.unequal: dict[int, int] = {}
        self._known = 0
        many = len(NAMES)
        self.paired = np.zeros(0, np.int64)
        self.first_step, self.last_step = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.peaks = np.zeros((0, many))
        self.references = np.zeros((2, 0))
        self._units = np.zeros(0)
        self._alike = np.zeros(0, np.bool_)
        #: Whether the runs start with the same weights and data, give or take rounding; None before the first row.
        self.same_start: bool | None = None
        self._bounded, self._settings = np.zeros(0, np.bool_), np.zeros(0, np.bool_)
        self._lows, self._highs = np.zeros((2, 0, many)), np.zeros((2, 0, many))
        tail = sustained - 1
        self._tail = np.zeros((0, tail, many))
        self._tail_steps = np.zeros((0, tail), np.int64)
        self._tail_values = np.zeros((2, 0, tail, many))
        numbers, nothing = np.zeros(0, np.int64), np.zeros((0, many))
        self._waiting = _Waiting(numbers, numbers, np.zeros(0, np.bool_), nothing, nothing)

    def add(self, pairs: Pairs) -> None:
        """Takes pairs: steps rise within a layer, from call to call too."""
        if not len(pairs.layers):
            return
        self._grow(int(pairs.layers.max()) + 1)
        begins = np.flatnonzero(np.diff(pairs.layers, prepend=-1))
        ends = np.append(begins[1:], len(pairs.layers)) - 1
        of, steps = pairs.layers[begins], pairs.a["step"]
        new = self.paired[of] == 0
        self.first_step[of] = np.where(new, steps[begins], self.first_step[of])
        self.last_step[of] = steps[ends]
        self.paired[of] += ends - begins + 1
        equal = self._compare_bits(pairs)
        self._see_starts(pairs.take(begins[new]))
        for begin in range(0, len(pairs.layers), _AT_ONCE):
            chosen = slice(begin, begin + _AT_ONCE)
            part = pairs.take(chosen)
            a, b = self._scaled(part)
            self._wait(_Waiting(part.layers, part.a["step"], equal[chosen], a, b))

    def _scaled(self, pairs: Pairs) -> tuple[Floats, Floats]:
        """The statistics of both runs on the scale of comparison."""
        a, b = self._measured(pairs)
        self._find_references(pairs.layers, a, b)
        reference = self.references[:, pairs.layers]
        return scaled(a, reference), scaled(b, reference)

    def _wait(self, rows: "_Waiting") -> None:
        """Puts rows behind those that wait, and looks at all whole windows."""
        together: list[Any] = [np.concatenate(each) for each in zip(self._waiting, rows, strict=True)]
        joined = _Waiting(*together)
        joined = joined.take(np.argsort(joined.layers, kind="stable"))
        begins = np.flatnonzero(np.diff(joined.layers, prepend=-1))
        sizes = np.diff(begins, append=len(joined.layers))
        ordinal = np.arange(len(joined.layers)) - np.repeat(begins, sizes)
        whole = ordinal < np.repeat(sizes // self.window * self.window, sizes)
        self._waiting = joined.take(~whole)
        if whole.any():
            self._look(joined.take(whole), self.window)

    def _measured(self, pairs: Pairs) -> tuple[Floats, Floats]:
        """The statistics of both runs; NaN where they cannot be compared."""
        a, b = measure(pairs.a), measure(pairs.b)
        counts = pairs.a["count"], pairs.b["count"]
        # Extremes of more elements are larger: nothing is said of them.
        other = np.maximum(*counts) > 1.25 * np.minimum(*counts)
        for place in EXTREMES:
            a[other, place] = b[other, place] = np.nan
        # Only a function with bounds is saturated by what is beyond them.
        free = ~self._bounded[pairs.layers]
        a[free, SATURATION] = b[free, SATURATION] = np.nan
        return a, b

    def _see_starts(self, pairs: Pairs) -> None:
        """Whether the runs start alike, and the layers whose first rows these are; how many neurons they have."""
        if not len(pairs.layers):
            return
        of, neurons, count = pairs.layers, pairs.a["neurons"], pairs.a["count"]
        units = np.where(neurons > 0, neurons, count).astype(np.float64)
        # One number for the whole batch, such as a loss, is no sample of neurons.
        units[(neurons <= 0) & (count <= 1)] = np.inf
        self._units[of] = np.maximum(units, 1.0)
        a, b = self._scaled(pairs)
        self._alike[of] = np.max(np.nan_to_num(np.abs(a - b))[:, MOMENTS], axis=1) <= ALIKE
        if self.same_start is None:
            drawn = np.array([has_weights(self.infos[number].layer_type) for number in of.tolist()], np.bool_)
            told = self._alike[of][drawn if drawn.any() else slice(None)]
            self.same_start = bool(told.mean() >= 0.5)

    def finish(self) -> None:
        """Takes what is left at the end: shorter windows."""
        left = self._waiting
        begins = np.flatnonzero(np.diff(left.layers, prepend=-1))
        sizes = np.diff(begins, append=len(left.layers))
        of_rows = np.repeat(sizes, sizes)
        for size in np.unique(sizes):
            self._look(left.take(of_rows == size), int(size))
        self._waiting = left.take(slice(0))

    def _grow(self, layers: int) -> None:
        more = layers - self._known
        if more <= 0:
            return

        def wider(array: Any, axis: int, value: float) -> Any:
            shape = list(array.shape)
            shape[axis] = more
            return np.concatenate([array, np.full(shape, value, array.dtype)], axis)

        self.paired, self.peaks = wider(self.paired, 0, 0), wider(self.peaks, 0, 0.0)
        self.first_step, self.last_step = wider(self.first_step, 0, 0), wider(self.last_step, 0, 0)
        self.references, self._units = wider(self.references, 1, np.nan), wider(self._units, 0, 0.0)
        self._alike = wider(self._alike, 0, False)
        bounded = [info.layer_type in BOUNDED for info in self.infos[self._known : layers]]
        self._bounded = np.concatenate([self._bounded, np.array(bounded, np.bool_)])
        settings = [info.layer_type == OPTIMISER for info in self.infos[self._known : layers]]
        self._settings = np.concatenate([self._settings, np.array(settings, np.bool_)])
        self._lows, self._highs = wider(self._lows, 1, np.inf), wider(self._highs, 1, -np.inf)
        self._tail, self._tail_steps = wider(self._tail, 0, 0.0), wider(self._tail_steps, 0, 0)
        self._tail_values = wider(self._tail_values, 1, np.nan)
        self._known = layers

    def _compare_bits(self, pairs: Pairs) -> Bools:
        """Which rows are the same bit for bit."""
        steps = pairs.a["step"]
        a = np.ascontiguousarray(pairs.a).view(np.int64).reshape(len(steps), len(ROW))[:, _COMPARED]
        b = np.ascontiguousarray(pairs.b).view(np.int64).reshape(len(steps), len(ROW))[:, _COMPARED]
        equal: Bools = np.all(a == b, axis=1)
        differ = np.flatnonzero(~equal)
        layers, first = np.unique(pairs.layers[differ], return_index=True)
        for layer, at in zip(layers.tolist(), first.tolist(), strict=True):
            self.unequal.setdefault(layer, int(steps[differ[at]]))
        return equal

    def _find_references(self, layers: Ints, a: Floats, b: Floats) -> None:
        unknown = np.isnan(self.references[0]) | np.isnan(self.references[1])
        # The first row that has one; where a layer begins with zeros, a later one.
        rows = np.flatnonzero(unknown[layers])
        if not len(rows):
            return
        each = references(np.stack([a[rows], b[rows]]))
        if self._band is not None:
            names = [self.infos[layer].name for layer in layers[rows].tolist()]
            places = np.array([self._band.numbers.get(name, -1) for name in names], np.int64)
            each = np.where(places >= 0, self._band.references[:, places], each)
        for kind in range(2):
            known = rows[~np.isnan(each[kind])]
            values = each[kind][~np.isnan(each[kind])]
            numbers, first = np.unique(layers[known], return_index=True)
            old = self.references[kind, numbers]
            self.references[kind, numbers] = np.where(np.isnan(old), values[first], old)

    def _look(self, rows: "_Waiting", window: int) -> None:
        """Looks at whole windows, sorted by layer and then by step."""
        of = rows.layers[::window]
        number, many = len(of), len(NAMES)
        steps = rows.steps.reshape(number, window)
        equal: Bools = np.all(rows.equal.reshape(number, window), axis=1)
        both = np.stack([rows.a, rows.b]).reshape(2, number, window, many)
        with np.errstate(all="ignore"):
            middle = _mean(both, 2)
            noise = _TO_DEVIATION * _mean(np.abs(np.diff(both, axis=2)), 2) if window > 1 else np.zeros_like(middle)
        movement = self._movement(of, middle, equal)
        smaller = np.fmin(noise[0], noise[1])
        tight = (self._alike & bool(self.same_start))[of].astype(np.int64)
        tolerance = _TOLERANCES[tight] ** 2 + _SAMPLING[tight] / self._units[of][:, None]
        explained = (MOVEMENT * movement) ** 2 + tolerance
        if self._band is not None:
            infos = [self.infos[layer] for layer in of.tolist()]
            variance, freedom = self._band.at(infos, steps[:, window // 2])
            explained = (PRIOR * explained + freedom * 2.0 * variance) / (PRIOR + freedom)
        scale = np.sqrt(2.0 * smaller**2 + explained)
        ratio = np.abs(both[0] - both[1]) / scale[:, None, :]
        ratio[np.isnan(ratio)] = 0.0
        # What is not finite is no noise, and a learning rate has none.
        lost = (both[0, :, :, NON_FINITE] > 0.0) != (both[1, :, :, NON_FINITE] > 0.0)
        set_by_hand = self._settings[of]
        other = np.abs(both[0, :, :, MEAN] - both[1, :, :, MEAN]) > SETTING
        ratio[set_by_hand] = 0.0
        self._find(of, steps, both, ratio)
        self._find_at_once(of, steps, both, lost, NON_FINITE)
        self._find_at_once(of, steps, both, other & set_by_hand[:, None], MEAN)

    def _movement(self, of: Ints, middle: Floats, equal: Bools) -> Floats:
        """How far the less moved run has moved while the two were not equal: shape (windows, statistics).

        Args:
            of: the layer of each window.
            middle: the means of both runs in each window, shape (2, windows, statistics).
            equal: whether the runs are the same in the whole window.
        """
        begins = np.flatnonzero(np.diff(of, prepend=-1))
        sizes = np.diff(begins, append=len(of))
        ordinal = np.arange(len(of)) - np.repeat(begins, sizes)
        moved = np.empty(middle.shape[1:])
        for number in range(int(sizes.max(initial=0))):
            these = np.flatnonzero(ordinal == number) if len(begins) > 1 else np.array([number])
            layers = of[these]
            same = layers[equal[these]]
            self._lows[:, same], self._highs[:, same] = np.inf, -np.inf
            self._lows[:, layers] = np.fmin(self._lows[:, layers], middle[:, these])
            self._highs[:, layers] = np.fmax(self._highs[:, layers], middle[:, these])
            with np.errstate(invalid="ignore"):
                moved[these] = np.fmin(*(self._highs[:, layers] - self._lows[:, layers]))
        moved[~np.isfinite(moved)] = 0.0
        return moved

    def _find(self, of: Ints, steps: Ints, both: Floats, ratio: Floats) -> None:
        """Takes down what lasts."""
        tail = self.sustained - 1
        number, window = steps.shape
        first = np.diff(of, prepend=-1) != 0
        # Each window is looked at together with the rows before it.
        before = np.empty((number, tail, ratio.shape[2]))
        before_steps = np.empty((number, tail), np.int64)
        before_values = np.empty((2, number, tail, ratio.shape[2]))
        before[first], before_steps[first] = self._tail[of[first]], self._tail_steps[of[first]]
        before_values[:, first] = self._tail_values[:, of[first]]
        later = np.flatnonzero(~first)
        if len(later):  # windows before it are whole, and longer than a tail
            before[later], before_steps[later] = ratio[later - 1, -tail:], steps[later - 1, -tail:]
            before_values[:, later] = both[:, later - 1, -tail:]
        ratios = np.concatenate([before, ratio], 1)
        all_steps = np.concatenate([before_steps, steps], 1)
        values = np.concatenate([before_values, both], 2)
        last = np.append(first[1:], True)
        self._tail[of[last]], self._tail_steps[of[last]] = ratios[last, -tail:], all_steps[last, -tail:]
        self._tail_values[:, of[last]] = values[:, last, -tail:]
        least = ratios[:, :window].copy()
        for shift in range(1, self.sustained):
            np.minimum(least, ratios[:, shift : shift + window], out=least)
        np.maximum.at(self.peaks, of, least.max(1))
        beyond = least > self.threshold
        for place, statistic in zip(*np.nonzero(beyond.any(1)), strict=True):
            at = int(np.argmax(beyond[place, :, statistic]))
            a, b = values[:, place, at, statistic].tolist()
            key = int(of[place]), int(statistic)
            found = Start(*key, int(all_steps[place, at]), a, b, float(least[place, at, statistic]))
            self.starts.setdefault(key, found)

    def _find_at_once(self, of: Ints, steps: Ints, both: Floats, there: Bools, statistic: int) -> None:
        """Takes down what needs not last: where it is `there`, shape (windows, rows)."""
        for place in np.flatnonzero(np.any(there, axis=1)):
            at = int(np.argmax(there[place]))
            a, b = both[:, place, at, statistic].tolist()
            found = Start(int(of[place]), statistic, int(steps[place, at]), a, b, np.inf)
            known = self.starts.get((found.layer, statistic))
            if known is None or known.step > found.step:
                self.starts[found.layer, statistic] = found


def _mean(values: Floats, axis: int) -> Floats:
    """The mean of what is there; NaN where nothing is."""
    missing = np.isnan(values)
    if not missing.any():
        return np.asarray(values.mean(axis))
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(missing, 0.0, values).sum(axis) / np.count_nonzero(~missing, axis)
    return found


#: For runs that start otherwise, and for those that start alike: shape (2, statistics).
_SAMPLING: Final = np.array([[each[kind] for kind in KINDS] for each in SAMPLING])
_TOLERANCES: Final = np.array([[each[kind] for kind in KINDS] for each in TOLERANCE])
