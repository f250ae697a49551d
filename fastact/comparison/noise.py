"""Where two runs part: differences of each statistic in units of what the runs' own noise explains.

Pairs of rows are taken in windows of each layer. In a window and for each statistic three things explain a difference:

- what each run's statistic changes by from one row to the next (the median of those changes, which few outliers move);
- how far the runs have moved since their beginning, since two healthy runs do not move equally far;
- a tolerance for each kind of statistic: runs that begin otherwise differ somewhat from then on.

Of both runs the smaller noise and the smaller movement count: a fault that makes one run swing must not hide itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fastact.comparison.pairs import Pairs
from fastact.comparison.statistics import (
    EXTREMES,
    KINDS,
    NAMES,
    NON_FINITE,
    SATURATION,
    measure,
    references,
    scaled,
)  # fmt: skip
from fastact.diagnosis.layer_types import BOUNDED
from fastact.fields import NEURON_PART, ROW, STATE_PART
from fastact.heatmap.statistics import Floats
from fastact.history import LayerInfo
from fastact.replay.blocks import Ints

#: Rows of a window.
WINDOW: Final = 16
#: Rows in a row that must differ by more than noise explains.
SUSTAINED: Final = 8
#: From the median of |changes| of a normal number to its standard deviation, and from a change to the number.
_TO_DEVIATION: Final = float(np.sqrt(np.pi)) / 2.0
THRESHOLD: Final = 5.0
MOVEMENT: Final = 0.6
TOLERANCE: Final = {"size": 0.2, "share": 0.1, "signed": 0.2}
SAMPLING: Final = {"size": 0.5, "share": 0.25, "signed": 1.0}
_COMPARED: Final = slice(STATE_PART.start, NEURON_PART.stop)


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
        self, layers: Sequence[LayerInfo], threshold: float, window: int = WINDOW, sustained: int = SUSTAINED
    ) -> None:
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
        self._bounded = np.zeros(0, np.bool_)
        self._lows, self._highs = np.zeros((2, 0, many)), np.zeros((2, 0, many))
        tail = sustained - 1
        self._tail = np.zeros((0, tail, many))
        self._tail_steps = np.zeros((0, tail), np.int64)
        self._tail_values = np.zeros((2, 0, tail, many))
        self._waiting: tuple[Ints, Ints, Floats, Floats] = (
            np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, many)), np.zeros((0, many)),
        )  # fmt: skip

    def add(self, pairs: Pairs) -> None:
        """Takes pairs: steps rise within a layer, from call to call too."""
        if not len(pairs.layers):
            return
        self._grow(int(pairs.layers.max()) + 1)
        begins = np.flatnonzero(np.diff(pairs.layers, prepend=-1))
        ends = np.append(begins[1:], len(pairs.layers)) - 1
        of = pairs.layers[begins]
        steps = pairs.a["step"]
        self.first_step[of] = np.where(self.paired[of] == 0, steps[begins], self.first_step[of])
        self.last_step[of] = steps[ends]
        self.paired[of] += ends - begins + 1
        self._compare_bits(pairs, steps)
        a, b = measure(pairs.a), measure(pairs.b)
        grown = pairs.a["count"] != pairs.b["count"]
        if grown.any():  # extremes of more elements are larger: nothing is said of them
            far = np.maximum(pairs.a["count"], pairs.b["count"]) > 1.25 * np.minimum(pairs.a["count"], pairs.b["count"])
            for place in EXTREMES:
                a[far, place] = b[far, place] = np.nan
        # Only a function with bounds is saturated by what is beyond them.
        free = ~self._bounded[pairs.layers]
        a[free, SATURATION] = b[free, SATURATION] = np.nan
        units = np.where(pairs.a["neurons"] > 0, pairs.a["neurons"], pairs.a["count"])[begins].astype(np.float64)
        # One number for the whole batch, such as a loss, is no sample of neurons.
        units[(pairs.a["neurons"][begins] <= 0) & (units == 1.0)] = np.inf
        self._units[of] = np.where(self._units[of] > 0, self._units[of], np.maximum(units, 1))
        self._find_references(pairs.layers, begins, a, b)
        reference = self.references[:, pairs.layers]
        a, b = scaled(a, reference), scaled(b, reference)
        layers, old_steps, old_a, old_b = self._waiting
        layers = np.concatenate([layers, pairs.layers])
        order = np.argsort(layers, kind="stable")
        layers = layers[order]
        steps = np.concatenate([old_steps, steps])[order]
        a, b = np.concatenate([old_a, a])[order], np.concatenate([old_b, b])[order]
        begins = np.flatnonzero(np.diff(layers, prepend=-1))
        sizes = np.diff(begins, append=len(layers))
        ordinal = np.arange(len(layers)) - np.repeat(begins, sizes)
        whole = ordinal < np.repeat(sizes // self.window * self.window, sizes)
        self._waiting = layers[~whole], steps[~whole], a[~whole], b[~whole]
        if whole.any():
            self._look(layers[whole], steps[whole], a[whole], b[whole], self.window)

    def finish(self) -> None:
        """Takes what is left at the end: shorter windows."""
        layers, steps, a, b = self._waiting
        begins = np.flatnonzero(np.diff(layers, prepend=-1))
        sizes = np.repeat(np.diff(begins, append=len(layers)), np.diff(begins, append=len(layers)))
        for size in np.unique(sizes):
            these = sizes == size
            self._look(layers[these], steps[these], a[these], b[these], int(size))
        self._waiting = layers[:0], steps[:0], a[:0], b[:0]

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
        bounded = [info.layer_type in BOUNDED for info in self.infos[self._known : layers]]
        self._bounded = np.concatenate([self._bounded, np.array(bounded, np.bool_)])
        self._lows, self._highs = wider(self._lows, 1, np.inf), wider(self._highs, 1, -np.inf)
        self._tail, self._tail_steps = wider(self._tail, 0, 0.0), wider(self._tail_steps, 0, 0)
        self._tail_values = wider(self._tail_values, 1, np.nan)
        self._known = layers

    def _compare_bits(self, pairs: Pairs, steps: Ints) -> None:
        a = np.ascontiguousarray(pairs.a).view(np.int64).reshape(len(steps), len(ROW))[:, _COMPARED]
        b = np.ascontiguousarray(pairs.b).view(np.int64).reshape(len(steps), len(ROW))[:, _COMPARED]
        differ = np.flatnonzero(np.any(a != b, axis=1))
        layers, first = np.unique(pairs.layers[differ], return_index=True)
        for layer, at in zip(layers.tolist(), first.tolist(), strict=True):
            self.unequal.setdefault(layer, int(steps[differ[at]]))

    def _find_references(self, layers: Ints, begins: Ints, a: Floats, b: Floats) -> None:
        unknown = np.isnan(self.references[0]) | np.isnan(self.references[1])
        if not unknown[layers[begins]].any():
            return
        # The first row that has one; where a layer begins with zeros, a later one.
        rows = np.flatnonzero(unknown[layers])
        each = references(np.stack([a[rows], b[rows]]))
        for kind in range(2):
            known = rows[~np.isnan(each[kind])]
            values = each[kind][~np.isnan(each[kind])]
            numbers, first = np.unique(layers[known], return_index=True)
            old = self.references[kind, numbers]
            self.references[kind, numbers] = np.where(np.isnan(old), values[first], old)

    def _look(self, layers: Ints, steps: Ints, a: Floats, b: Floats, window: int) -> None:
        """Looks at whole windows, sorted by layer and then by step."""
        many = len(NAMES)
        of = layers[::window]
        number = len(of)
        steps = steps.reshape(number, window)
        both = np.stack([a, b]).reshape(2, number, window, many)
        with np.errstate(all="ignore"):
            middle = _mean(both, 2)
            noise = _TO_DEVIATION * _mean(np.abs(np.diff(both, axis=2)), 2) if window > 1 else np.zeros_like(middle)
        movement = self._movement(of, middle)
        smaller = np.fmin(noise[0], noise[1])
        scale = np.sqrt(
            2.0 * smaller**2 + (MOVEMENT * movement) ** 2 + _TOLERANCES**2 + _SAMPLING / self._units[of][:, None]
        )
        ratio = np.abs(both[0] - both[1]) / scale[:, None, :]
        ratio[np.isnan(ratio)] = 0.0
        # What is not finite is no noise.
        lost = (both[0, :, :, NON_FINITE] > 0.0) != (both[1, :, :, NON_FINITE] > 0.0)
        self._find(of, steps, both, ratio, lost)

    def _movement(self, of: Ints, middle: Floats) -> Floats:
        """How far the less moved run has moved since its beginning, by each window: shape (windows, statistics)."""
        begins = np.flatnonzero(np.diff(of, prepend=-1))
        sizes = np.diff(begins, append=len(of))
        ordinal = np.arange(len(of)) - np.repeat(begins, sizes)
        moved = np.empty(middle.shape[1:])
        for number in range(int(sizes.max(initial=0))):
            these = np.flatnonzero(ordinal == number) if len(begins) > 1 else np.array([number])
            layers = of[these]
            self._lows[:, layers] = np.fmin(self._lows[:, layers], middle[:, these])
            self._highs[:, layers] = np.fmax(self._highs[:, layers], middle[:, these])
            with np.errstate(invalid="ignore"):
                moved[these] = np.fmin(*(self._highs[:, layers] - self._lows[:, layers]))
        moved[~np.isfinite(moved)] = 0.0
        return moved

    def _find(self, of: Ints, steps: Ints, both: Floats, ratio: Floats, lost: Floats) -> None:
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
        for place in np.flatnonzero(lost.any(1)):
            at = int(np.argmax(lost[place]))
            a, b = both[:, place, at, NON_FINITE].tolist()
            key = int(of[place]), NON_FINITE
            found = Start(*key, int(steps[place, at]), a, b, np.inf)
            known = self.starts.get(key)
            if known is None or known.step > found.step:
                self.starts[key] = found


def _mean(values: Floats, axis: int) -> Floats:
    """The mean of what is there; NaN where nothing is."""
    missing = np.isnan(values)
    if not missing.any():
        return np.asarray(values.mean(axis))
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(missing, 0.0, values).sum(axis) / np.count_nonzero(~missing, axis)
    return found


_SAMPLING: Final = np.array([SAMPLING[kind] for kind in KINDS])
_TOLERANCES: Final = np.array([TOLERANCE[kind] for kind in KINDS])
