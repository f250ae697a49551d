"""Cells that take in rows as they come: of any number of steps, in memory that does not grow with it.

A cell has the least and the largest value of its rows, how many there were, and samples of them, from which its
quantiles follow. Where the steps outgrow the columns, neighbouring columns become one and the width doubles. Least,
largest and count stay exact; samples are of rows evenly spread over the cell's steps, all of them where there are few.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.heatmap.statistics import Floats, Statistic

Ints = npt.NDArray[np.int64]
#: Samples of a cell: the last row of each of so many equal parts of its steps.
SAMPLES: Final = 8


class Parts(NamedTuple):
    """What a grid holds of one statistic, each float64 or int64 of shape (rows, columns); NaN where a cell is empty.

    `lower` and `upper` are the quartiles.
    """

    low: Floats
    lower: Floats
    median: Floats
    upper: Floats
    high: Floats


class Grid:
    """Cells of several statistics for numbered layers.

    Args:
        statistics: what to keep.
        columns: the most columns, even; at least half of them are used once there are as many steps.
        rows: layers that there is room for at first; more are taken in as they come.
    """

    def __init__(self, statistics: Sequence[Statistic], columns: int, rows: int = 16) -> None:
        self.statistics = tuple(statistics)
        self.columns = max(2, columns + columns % 2)
        #: The step at which the first column begins, and the steps of a column.
        self.origin, self.width = 0, 1
        #: Layers that have rows: one more than the highest number.
        self.layers = 0
        #: The last step seen.
        self.last = 0
        #: Rows taken in.
        self.taken = 0
        self._used = 0
        self.count: Ints
        self._low: Floats
        self._high: Floats
        self._samples: Floats
        self._room(max(rows, 1))

    def _room(self, rows: int) -> None:
        shape, kinds = (rows, self.columns), len(self.statistics)
        count, low = np.zeros(shape, np.int64), np.full((kinds, *shape), np.inf)
        high, samples = np.full((kinds, *shape), -np.inf), np.full((kinds, *shape, SAMPLES), np.nan)
        if self.layers:
            old = slice(self.layers)
            count[old], low[:, old], high[:, old] = self.count[old], self._low[:, old], self._high[:, old]
            samples[:, old] = self._samples[:, old]
        self.count, self._low, self._high, self._samples = count, low, high, samples

    def add(self, layers: Ints, rows: Any) -> None:
        """Takes in rows of `fields.ROW_DTYPE`, shape (rows,), each of the layer with that number, in any order."""
        if not len(rows):
            return
        steps = np.ascontiguousarray(rows["step"])
        most = int(layers.max()) + 1
        if most > len(self.count):
            self._room(max(most, 2 * len(self.count)))
        self.layers = max(self.layers, most)
        first, last = int(steps.min()), int(steps.max())
        self.last = max(self.last, last) if self._used else last
        self._cover(first, last)
        # Modulo 2^64, so that steps of any size have their distance from the first one.
        distance = steps.view(np.uint64) - np.uint64(self.origin % 2**64)
        column, rest = np.divmod(distance, np.uint64(self.width))
        cells = layers * self.columns + column.astype(np.int64)
        part = (rest.astype(np.float64) * (SAMPLES / self.width)).astype(np.int64)
        places = cells * SAMPLES + np.minimum(part, SAMPLES - 1)
        order = np.argsort(cells, kind="stable")
        ordered = cells[order]
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        found = ordered[starts]
        self.count.ravel()[found] += np.diff(starts, append=len(order))
        for i, statistic in enumerate(self.statistics):
            values = statistic.of(rows)
            self._samples[i].reshape(-1)[places] = values  # of those of one place the last one stays
            values = values[order]
            for kept, best in ((self._low[i].ravel(), np.fmin), (self._high[i].ravel(), np.fmax)):
                kept[found] = best(kept[found], best.reduceat(values, starts))
        self.taken += len(rows)

    def _cover(self, first: int, last: int) -> None:
        """Makes the columns reach from one step to another."""
        if not self._used:
            self.origin = first
        while True:
            before = -(-max(0, self.origin - first) // self.width)
            after = (last - self.origin) // self.width + 1
            if before + max(after, self._used) <= self.columns:
                break
            self._halve()
        if before:
            self._shift(before)
            after += before
        self._used = max(self._used, after)

    def _halve(self) -> None:
        """Makes one column of two."""
        half = self.columns // 2
        count, low, high, samples = self.count, self._low, self._high, self._samples
        self.count[:, :half] = count[:, 0::2] + count[:, 1::2]
        self._low[..., :half] = np.fmin(low[..., 0::2], low[..., 1::2])
        self._high[..., :half] = np.fmax(high[..., 0::2], high[..., 1::2])
        # Two samples that are neighbours become one: the later, as one cell of that width would have it.
        pairs = samples.reshape(*samples.shape[:2], half, SAMPLES, 2)
        later, earlier = pairs[..., 1], pairs[..., 0]
        self._samples[..., :half, :] = np.where(np.isnan(later), earlier, later)
        self.count[:, half:], self._low[..., half:], self._high[..., half:] = 0, np.inf, -np.inf
        self._samples[..., half:, :] = np.nan
        self.width *= 2
        self._used = (self._used + 1) // 2

    def _shift(self, by: int) -> None:
        """Moves all columns to later places, for rows of earlier steps."""
        self.origin -= by * self.width
        empty: tuple[tuple[Any, int, float], ...] = (
            (self.count, 1, 0), (self._low, 2, np.inf), (self._high, 2, -np.inf), (self._samples, 2, np.nan)
        )  # fmt: skip
        for array, axis, nothing in empty:
            array[...] = np.roll(array, by, axis)
            array[(slice(None),) * axis + (slice(by),)] = nothing
        self._used += by

    @property
    def used(self) -> int:
        """Columns that are in use, from the first on."""
        return self._used

    def parts(self, place: int) -> Parts:
        """What was kept of a statistic, by its place among `statistics`."""
        low, high = self._low[place, : self.layers, : self._used], self._high[place, : self.layers, : self._used]
        lower, median, upper = _quartiles(self._samples[place, : self.layers, : self._used])
        empty = low > high
        return Parts(np.where(empty, np.nan, low), lower, median, upper, np.where(empty, np.nan, high))


def _quartiles(samples: Floats) -> tuple[Floats, Floats, Floats]:
    """The quartiles over the last axis, NaN left out; a quantile between two samples lies between them."""
    ordered = np.sort(samples, axis=-1)  # NaN last
    last = np.count_nonzero(~np.isnan(ordered), axis=-1) - 1

    def quantile(share: float) -> Floats:
        place = np.maximum(last, 0) * share
        below = place.astype(np.int64)
        above = np.minimum(below + 1, SAMPLES - 1)
        pair = [np.take_along_axis(ordered, at[..., None], -1)[..., 0] for at in (below, above)]
        part = place - below
        # What is equal stays equal; halves of large numbers do not overflow.
        return np.where(part > 0.0, pair[0] * (1.0 - part) + pair[1] * part, pair[0])

    with np.errstate(invalid="ignore"):
        return quantile(0.25), quantile(0.5), quantile(0.75)
