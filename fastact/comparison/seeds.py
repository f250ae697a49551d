"""What runs of the same training with other seeds differ by: layers by steps, in a fixed number of cells.

Each seed's statistics are averaged in cells of a layer and some steps; the variance between seeds of these means is
the band. Memory is bounded by the number of layers and of seeds, whatever their length.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from fastact.comparison.statistics import NAMES, measure, references, scaled
from fastact.heatmap.statistics import Floats
from fastact.history import LayerInfo
from fastact.replay.blocks import Block, Ints

#: Cells of one seed.
_CELLS: Final = 32_768
#: The least and the most columns of a layer.
_LEAST: Final = 16
_MOST: Final = 256


class Band(NamedTuple):
    """The variance between seeds.

    Attributes:
        numbers: layer's name -> its place.
        references: what each layer's sizes are relative to, shape (2, layers).
        width: steps of a column.
        variance: shape (layers, columns, statistics); NaN where fewer than two seeds have a number.
        freedom: how many seeds have a number there, less one; same shape.
        seeds: how many runs it is of.
    """

    numbers: Mapping[str, int]
    references: Floats
    width: int
    variance: Floats
    freedom: Floats
    seeds: int

    def at(self, infos: Sequence[LayerInfo], steps: Ints) -> tuple[Floats, Floats]:
        """The variance and the degrees of freedom for layers in steps, shape (rows, statistics) each; 0 for unknown."""
        places = np.array([self.numbers.get(info.name, -1) for info in infos], np.int64)
        columns = np.minimum(steps // self.width, self.variance.shape[1] - 1)
        freedom = np.where((places >= 0)[:, None], self.freedom[places, columns], 0.0)
        variance = self.variance[places, columns]
        return np.where(freedom > 0, variance, 0.0), freedom


class _Grid:
    """The means of one seed: sums and counts by layer, column and statistic. Columns widen as steps come."""

    def __init__(self, columns: int) -> None:
        self.width, self._columns = 1, columns
        self.sums, self.counts = (np.zeros((0, columns, len(NAMES))) for _ in range(2))

    def add(self, layers: Ints, steps: Ints, values: Floats) -> None:
        while int(steps.max()) // self.width >= self._columns:
            self.widen()
        more = int(layers.max()) + 1 - len(self.sums)
        if more > 0:
            nothing = np.zeros((more, *self.sums.shape[1:]))
            self.sums, self.counts = (np.concatenate([array, nothing]) for array in (self.sums, self.counts))
        there = ~np.isnan(values)
        cells = layers * self._columns + steps // self.width
        order = np.argsort(cells, kind="stable")
        begins = np.flatnonzero(np.diff(cells[order], prepend=-1))
        of = cells[order][begins]
        for array, each in ((self.sums, np.where(there, values, 0.0)), (self.counts, there.astype(np.float64))):
            array.reshape(-1, len(NAMES))[of] += np.add.reduceat(each[order], begins)

    def widen(self) -> None:
        """Joins columns in pairs."""
        half = self._columns // 2
        for array in (self.sums, self.counts):
            array[:, :half] = array[:, 0 : 2 * half : 2] + array[:, 1 : 2 * half : 2]
            array[:, half:] = 0.0
        self.width *= 2

    def means(self, layers: int, width: int) -> Floats:
        """The mean in each cell, NaN where there is none: shape (layers, columns, statistics)."""
        while self.width < width:
            self.widen()
        found = np.full((layers, *self.sums.shape[1:]), np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[: len(self.sums)] = self.sums / self.counts
        return found


def band_of(runs: Iterable[tuple[Sequence[LayerInfo], Iterable[Block]]], layers: int) -> Band:
    """The band of several runs.

    Args:
        runs: for each the layers, in a list that grows while blocks are read, and the blocks.
        layers: about how many layers they have.
    """
    numbers: dict[str, int] = {}
    known = np.full((2, 0), np.nan)
    columns = min(_MOST, max(_LEAST, _CELLS // max(layers, 1)))
    columns += columns % 2
    grids = []
    for infos, blocks in runs:
        grid = _Grid(columns)
        grids.append(grid)
        own: list[int] = []
        for block in blocks:
            own += [numbers.setdefault(info.name, len(numbers)) for info in infos[len(own) :]]
            known = np.concatenate([known, np.full((2, len(numbers) - known.shape[1]), np.nan)], 1)
            if not len(block.rows):
                continue
            of, values = np.array(own, np.int64)[block.layers], measure(block.rows)
            each = references(np.stack([values, values]))
            for kind in range(2):
                there = ~np.isnan(each[kind])
                first, at = np.unique(of[there], return_index=True)
                known[kind, first] = np.where(np.isnan(known[kind, first]), each[kind][there][at], known[kind, first])
            grid.add(of, block.rows["step"], scaled(values, known[:, of]))
    width = max((grid.width for grid in grids), default=1)
    means = np.stack([grid.means(len(numbers), width) for grid in grids]) if grids else np.zeros((0, 0, columns, 1))
    there = ~np.isnan(means)
    count = there.sum(0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = np.where(there, means, 0.0).sum(0) / count
        squares = np.where(there, (means - middle) ** 2, 0.0).sum(0)
        variance = squares / (count - 1.0)
    return Band(numbers, known, width, variance, np.maximum(count - 1.0, 0.0), len(grids))
