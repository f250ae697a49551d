"""Every statistic of all layers in one pass over the rows: what a report is drawn from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fastact.heatmap.cells import Blocks, blocks_of, columns_within, merge_rows
from fastact.heatmap.grid import Grid, Ints, Parts
from fastact.heatmap.groups import groups_of
from fastact.heatmap.statistics import STATISTICS, Statistic
from fastact.history import LayerHistory, LayerInfo

#: The most rows of a map: more layers share them by module, and each has columns of its own, if fewer.
MOST_ROWS: Final = 640
#: Cells of the map, and of the single layers where they share rows.
BUDGET: Final = 65_536
_DETAIL_BUDGET: Final = 81_920
_LEAST_DETAIL: Final = 8
#: Columns, and the most layers, of those that are kept apart.
_FINE_COLUMNS: Final = 400
_MOST_FINE: Final = 8


@dataclass(frozen=True, eq=False)
class Level:
    """Cells of several statistics: row i has the layers ``rows[i]`` (places in `Collection.layers`).

    Attributes:
        rows: the layers of each row.
        origin: the step at which the first column begins.
        width: steps of a column.
        columns: how many there are.
        count: int64, shape (rows, columns): the log's rows in a cell.
        parts: statistics by name, each float64 of shape (rows, columns).
    """

    rows: tuple[tuple[int, ...], ...]
    origin: int
    width: int
    columns: int
    count: Ints
    parts: dict[str, Parts]


@dataclass(frozen=True, eq=False)
class Collection:
    """What a pass over the rows left.

    Attributes:
        layers: the layers that have rows, in forward order.
        levels: the map; and, where its rows are several layers, the single layers in fewer columns.
        fine: `apart` layers, in more columns; None where there are none.
        first: the first step; 0 without rows.
        last: the last step; 0 without rows.
        taken: the rows that were read.
    """

    layers: tuple[LayerInfo, ...]
    levels: tuple[Level, ...]
    fine: Level | None
    first: int
    last: int
    taken: int

    def curve(self, layer: str, statistic: str) -> tuple[Level, Parts] | None:
        """The finest cells that are of one layer alone: a level, and parts of shape (columns,); None without rows."""
        place = {info.name: i for i, info in enumerate(self.layers)}.get(layer)
        for level in (self.fine, *self.levels):
            if level is None:
                continue
            if (place,) in level.rows and statistic in level.parts:
                row = level.rows.index((place,))
                return level, Parts(*(part[row] for part in level.parts[statistic]))
        return None


class Collector:
    """Takes in rows, in any order, of any number of steps, in memory that the layers bound.

    Args:
        known: the layers that are known beforehand; others may come.
        apart: whether a layer is kept in a finer level of its own besides; few should be.
        statistics: what to keep, by default all.
    """

    def __init__(
        self,
        known: Sequence[LayerInfo],
        apart: Callable[[LayerInfo], bool] = lambda _: False,
        statistics: Sequence[Statistic] | None = None,
    ) -> None:
        kept = tuple(STATISTICS.values()) if statistics is None else tuple(statistics)
        self._layers: list[LayerInfo] = []
        self._groups: dict[str, int] = {}
        groups = groups_of(known, MOST_ROWS)
        self._shared = any(len(group) > 1 for group in groups)
        for number, group in enumerate(groups):
            self._groups |= {known[place].name: number for place in group}
        self._count = len(groups)
        self._map = Grid(kept, columns_within(BUDGET, len(groups)), len(groups))
        self._detail: Grid | None = None
        if self._shared:
            columns = min(max(_LEAST_DETAIL, _DETAIL_BUDGET // len(known)), 256)
            self._detail = Grid(kept, columns, len(known))
        #: The row of the map of each layer, and its row among those apart, -1 where it is none.
        self._row = np.zeros(0, np.int64)
        self._fine_row = np.zeros(0, np.int64)
        self._apart = apart
        self._fine = Grid(kept, _FINE_COLUMNS, 1)

    def add(self, infos: Sequence[LayerInfo], layers: Ints, rows: Any) -> None:
        """Takes in a block: for each row the place of its layer in `infos`, and rows of `fields.ROW_DTYPE`."""
        for info in infos[len(self._layers) :]:
            self._layers.append(info)
            if info.name not in self._groups:
                # Nobody knew of it: it gets a row of its own while there are any, then the last one.
                self._groups[info.name] = min(self._count, MOST_ROWS - 1)
                self._count += 1
            self._row = np.append(self._row, self._groups[info.name])
            fine = self._fine_row.max(initial=-1) + 1 if self._apart(info) else -1
            self._fine_row = np.append(self._fine_row, fine if fine < _MOST_FINE else -1)
        if self._detail is not None:
            self._detail.add(layers, rows)
        self._map.add(self._row[layers], rows)
        fine = self._fine_row[layers]
        if (fine >= 0).any():
            self._fine.add(fine[fine >= 0], rows[fine >= 0])

    def finish(self) -> Collection:
        """What was collected, in forward order."""
        layers = sorted(range(len(self._layers)), key=lambda i: (self._layers[i].order, self._layers[i].name))
        place = {number: i for i, number in enumerate(layers)}
        rows: dict[int, list[int]] = {}
        for number in layers:
            rows.setdefault(int(self._row[number]), []).append(place[number])
        order = sorted(rows, key=lambda row: rows[row])
        levels = [_level(self._map, order, [tuple(rows[row]) for row in order])] if rows else []
        if rows and self._detail is not None:
            levels.append(_level(self._detail, layers, [(i,) for i in range(len(layers))]))
        apart = sorted((number for number in layers if self._fine_row[number] >= 0), key=lambda n: self._fine_row[n])
        fine = None
        if apart:
            fine = _level(self._fine, range(len(apart)), [(place[number],) for number in apart])
        grid = self._map
        first = grid.origin if rows else 0
        return Collection(tuple(self._layers[i] for i in layers), tuple(levels), fine, first, grid.last, grid.taken)


def collect(
    source: Blocks | Mapping[str, LayerHistory], apart: Callable[[LayerInfo], bool] = lambda _: False
) -> Collection:
    """The cells of every statistic of a log, or of a monitor's history; raises as `cells`."""
    known, infos, blocks = blocks_of(source)
    collector = Collector(known, apart)
    for layers, rows in blocks:
        collector.add(infos, layers, rows)
    return collector.finish()


def _level(grid: Grid, order: Sequence[int], rows: Sequence[tuple[int, ...]]) -> Level:
    picked = list(order)
    parts: dict[str, Parts] = {}
    for number, statistic in enumerate(grid.statistics):
        found = Parts(*(part[picked] for part in grid.parts(number)))
        if not np.isnan(found.median).all():
            parts[statistic.name] = found
    count = grid.count[picked][:, : grid.used]
    return Level(tuple(rows), grid.origin, grid.width, grid.used, count, parts)


def coarser(level: Level, by: int) -> Level:
    """A level with so many columns as one: counts and extremes are exact, quartiles are the median of theirs."""
    starts = np.arange(0, level.columns, by)
    parts = {
        name: Parts(*(part.T for part in merge_rows(Parts(*(part.T for part in of)), starts)))
        for name, of in level.parts.items()
    }
    count = np.add.reduceat(level.count, starts, axis=1)
    return Level(level.rows, level.origin, level.width * by, len(starts), count, parts)


def without(level: Level, kept: Callable[[str], Sequence[bool]]) -> Level:
    """A level that has nothing of a statistic in rows of which no layer is `kept`: for each layer whether it is."""
    parts = {}
    for name, found in level.parts.items():
        layers = kept(name)
        keep = np.array([any(layers[place] for place in row) for row in level.rows])
        if keep.any():
            parts[name] = Parts(*(np.where(keep[:, None], part, np.nan) for part in found))
    return Level(level.rows, level.origin, level.width, level.columns, level.count, parts)
