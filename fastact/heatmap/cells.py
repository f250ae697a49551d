"""Layers by steps within a budget: what a heat map of a log, or of a monitor's history, shows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from fastact.checks import check_integer
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.heatmap.grid import Grid, Ints, Parts
from fastact.heatmap.statistics import Floats, statistic_of
from fastact.history import LayerHistory, LayerInfo

#: The least columns that a map has before layers share its rows.
_LEAST_COLUMNS: Final = 16
#: The most columns: more are narrower than a pixel of most screens.
_MOST_COLUMNS: Final = 512


class Blocks(Protocol):
    """What a log is to a heat map."""

    @property
    def layers(self) -> Sequence[LayerInfo]:
        """The layers that are known before the rows are read."""
        ...

    def blocks(self) -> tuple[Sequence[LayerInfo], Iterable[tuple[Ints, Any]]]:
        """The layers in a list that may grow from block to block, and the blocks.

        A block has for each row the place of its layer in that list, and the rows of `fields.ROW_DTYPE`.
        """
        ...


@dataclass(frozen=True, eq=False)
class Cells:
    """A statistic of layers by steps: what a heat map shows. Row i is `layers[i]`, column j begins at ``steps[j]``.

    Attributes:
        statistic: its name; `STATISTICS` has them all.
        layers: the layers of each row, in forward order: one, or several neighbours where there are too many for the
            budget.
        steps: int64, shape (columns,): the first step of each column.
        width: steps of a column.
        last: the last step that was seen.
        count: int64, shape (rows, columns): the log's rows in each cell; 0 where there were none.
        low: float64, shape (rows, columns): the least value in each cell, NaN where there was none.
        lower: the lower quartile of up to 8 rows of each layer, evenly spread over the cell's steps.
        median: the median of those.
        upper: the upper quartile of those.
        high: the largest value in each cell.
    """

    statistic: str
    layers: tuple[tuple[str, ...], ...]
    steps: Ints
    width: int
    last: int
    count: Ints
    low: Floats
    lower: Floats
    median: Floats
    upper: Floats
    high: Floats

    @property
    def merged(self) -> str:
        """What was merged, in words; "" where every cell is one row of one layer.

        Example:
            >>> Cells("rms", (("a", "b"), ("c",)), *[np.zeros(1, np.int64), 4, 3], *[np.zeros((2, 1))] * 6).merged
            '4 steps a column, up to 2 layers a row'
        """
        most = max(map(len, self.layers), default=1)
        said = [f"{self.width:,} steps a column"] if self.width > 1 else []
        return ", ".join(said + ([f"up to {most:,} layers a row"] if most > 1 else []))

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each row: the layer's, or the first and the last of several."""
        return tuple(each[0] if len(each) == 1 else f"{each[0]} … {each[-1]}" for each in self.layers)


def cells(
    source: Blocks | Mapping[str, LayerHistory],
    statistic: str = "rms",
    layers: Iterable[str] | None = None,
    budget: int = 16_384,
) -> Cells:
    """The cells of a statistic, layers by steps, in one pass over the rows and in memory that `budget` bounds.

    Args:
        source: a log (`fastact.open_log`), whose ranks are merged as in `Log.diagnose`, or a monitor's `history`.
        statistic: a name of `STATISTICS`, such as "rms", "mean", "absmax", "zero_ratio", "dead_ratio".
        layers: names of the layers to show; by default all, gradients, parameters and losses among them.
        budget: the most cells (rows times columns), from 64 on. Fewer columns are taken first, then neighbouring
            layers share a row.

    Raises:
        ArgumentTypeError: `source` is neither, `budget` no integer, or `layers` no names.
        ArgumentValueError: there is no such statistic or layer, or `budget` is too small.

    Example:
        >>> import fastact
        >>> with fastact.ActivationMonitor() as monitor:
        ...     for step in range(3):
        ...         stats = monitor.record("encoder.0", np.full(4, step + 1.0))
        ...         monitor.step()
        ...     cells(monitor.history, "rms").median.tolist()
        [[1.0, 2.0, 3.0]]
    """
    wanted = statistic_of(statistic)
    check_integer("budget", budget, 64)
    known, infos, blocks = blocks_of(source)
    names = None if layers is None else _names(layers)
    count = sum(names is None or info.name in names for info in known)
    grid = Grid([wanted], columns_within(budget, count), count)
    numbers = np.full(0, -1, np.int64)
    chosen: list[LayerInfo] = []
    for of_rows, rows in blocks:
        for info in infos[len(numbers) :]:
            take = names is None or info.name in names
            numbers = np.append(numbers, len(chosen) if take else -1)
            if take:
                chosen.append(info)
        own = numbers[of_rows]
        keep = own >= 0
        grid.add(own[keep], rows[keep] if not keep.all() else rows)
    if names is not None and (missing := names - {info.name for info in infos}):
        want = ", ".join(repr(info.name) for info in infos[:20])
        raise ArgumentValueError(f"layers: got {min(missing)!r}, want names of layers that have rows, such as {want}")
    return of_grid(grid, 0, chosen, budget)


def columns_within(budget: int, layers: int) -> int:
    """The columns of a map of so many layers."""
    return min(_MOST_COLUMNS, max(_LEAST_COLUMNS, budget // max(layers, 1)))


def of_grid(grid: Grid, place: int, infos: Sequence[LayerInfo], budget: int) -> Cells:
    """The cells of one statistic of a grid whose numbers are places in `infos`, in forward order, within a budget."""
    infos = infos[: grid.layers]
    order = sorted(range(len(infos)), key=lambda i: (infos[i].order, infos[i].name))
    count, parts = grid.count[: grid.layers, : grid.used][order], Parts(*(part[order] for part in grid.parts(place)))
    names: list[tuple[str, ...]] = [(infos[i].name,) for i in order]
    together = -(-len(names) * max(grid.used, 1) // budget)
    if together > 1:
        starts = np.arange(0, len(names), together)
        count, parts = np.add.reduceat(count, starts), merge_rows(parts, starts)
        names = [tuple(name for (name,) in names[i : i + together]) for i in starts]
    steps = grid.origin + grid.width * np.arange(grid.used, dtype=np.int64)
    return Cells(grid.statistics[place].name, tuple(names), steps, grid.width, grid.last, count, *parts)


def merge_rows(parts: Parts, starts: Ints) -> Parts:
    """One row for each group of neighbouring rows: their extremes, and the medians of their quartiles."""

    def middle(values: Floats) -> Floats:
        return np.array([nanmedian(group) for group in np.split(values, starts[1:])]).reshape(len(starts), -1)

    low, high = np.fmin.reduceat(parts.low, starts), np.fmax.reduceat(parts.high, starts)
    return Parts(low, middle(parts.lower), middle(parts.median), middle(parts.upper), high)


def nanmedian(values: Floats) -> Floats:
    """The lower median over the first axis, NaN left out; NaN where all are."""
    ordered = np.sort(values, axis=0)
    count = np.count_nonzero(~np.isnan(ordered), axis=0)
    found: Floats = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, 0)[0]
    return found


def _names(layers: Iterable[str]) -> set[str]:
    try:
        return {layers} if isinstance(layers, str) else set(layers)
    except TypeError:
        raise ArgumentTypeError(f"layers: got {type(layers).__name__}, want names of layers") from None


def blocks_of(source: Any) -> tuple[Sequence[LayerInfo], Sequence[LayerInfo], Iterable[tuple[Ints, Any]]]:
    """The layers known beforehand, those that come, and the blocks of a log or of a monitor's history."""
    if isinstance(source, Mapping):
        infos = [layer.info for layer in source.values()]
        return infos, infos, _of_history(list(source.values()))
    if hasattr(source, "blocks"):
        return source.layers, *source.blocks()
    raise ArgumentTypeError(f"source: got {type(source).__name__}, want a log or a monitor's history")


def _of_history(layers: Sequence[LayerHistory]) -> Iterator[tuple[Ints, Any]]:
    for number, layer in enumerate(layers):
        rows = layer.rows
        yield np.full(len(rows), number, np.int64), rows


__all__ = ["Blocks", "Cells", "Parts", "cells"]
