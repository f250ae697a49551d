"""Rows out of batches: gathered into blocks, sorted into groups, merged into one row for each group.

Work in blocks of a quarter of a million rows is as fast as the columns can be read, and memory stays the same however
long the log is.
"""

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastact.cpu.sweep import merge_kernel
from fastact.fields import NEURON, ROW_DTYPE, STATE
from fastact.history import LayerInfo
from fastact.log.schema import to_rows

__all__ = ["BLOCK_ROWS", "Batch", "Block", "Layers", "blocks", "groups", "merge_ranks", "merge_rows"]

#: Rows of a block: 42 MB. Twice as many are no faster; an eighth costs a fifth more time for 50 layers.
BLOCK_ROWS: Final = 1 << 18

_COUNTS: Final = [field.name for field in STATE if field.kind == "int64"]
_MOMENTS: Final = ("mean", "std", "abs_mean")
_EXTREMES: Final = ("min", "max")
#: Of these a neuron is one of the whole only if it is one in every part.
_LEAST: Final = ("silent_neurons", "dead_neurons", "saturated_neurons", "constant_neurons")

Rows = npt.NDArray[np.void]
Ints = npt.NDArray[np.int64]

#: A batch of rows as it was read (a `pyarrow.RecordBatch`), and its writer's layers by name.
Batch = tuple[Any, dict[str, LayerInfo]]


class Block(NamedTuple):
    """Rows and whose they are.

    Attributes:
        codes: for each row its layer's number in `Layers`, int64[rows].
        rows: structured array of `fields.ROW_DTYPE`, shape (rows,).
    """

    codes: Ints
    rows: Rows


class Layers:
    """Numbers for layers, given out as they are first seen.

    Attributes:
        infos: what is known of each, by its number.
    """

    def __init__(self) -> None:
        self.infos: list[LayerInfo] = []
        self._codes: dict[str, int] = {}

    def codes(self, rows: Any, infos: Callable[[int], dict[str, LayerInfo]]) -> Ints:
        """The layers' numbers for the rows of a `pyarrow.RecordBatch` or `Table`; `infos` knows those of a row."""
        column = rows.column("layer").dictionary_encode()
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        indices = column.indices.to_numpy()
        codes = []
        for place, name in enumerate(column.dictionary.to_pylist()):
            if name not in self._codes:
                self._codes[name] = len(self.infos)
                row = int(np.argmax(indices == place))
                # Where the schema that held it is lost, its rows tell its place.
                self.infos.append(infos(row).get(name) or LayerInfo(name, rows.column("layer_order")[row].as_py()))
            codes.append(self._codes[name])
        numbers: Ints = np.array(codes, np.int64)[indices]
        return numbers


def blocks(batches: Iterable[Batch], layers: Layers) -> Iterator[Block]:
    """Gathers batches into blocks of about `BLOCK_ROWS` rows. A block is overwritten when the next one is asked for."""
    buffer = np.empty(0, ROW_DTYPE)
    for some in _bundles(batches):
        table = pa.Table.from_batches([batch for batch, _ in some])
        if table.num_rows > len(buffer):
            buffer = np.empty(max(table.num_rows, BLOCK_ROWS), ROW_DTYPE)
        ends = list(itertools.accumulate(batch.num_rows for batch, _ in some))
        codes = layers.codes(table, lambda row: some[bisect.bisect(ends, row)][1])  # noqa: B023 - called at once
        yield Block(codes, to_rows(table, buffer[: table.num_rows]))


def _bundles(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    some: list[Batch] = []
    rows = 0
    for item in batches:
        some.append(item)
        rows += item[0].num_rows
        if rows >= BLOCK_ROWS:
            yield some
            some, rows = [], 0
    if rows:
        yield some


def groups(*keys: Ints) -> tuple[Ints, Ints]:
    """Sorts by several keys, the first one first; what is equal stays in order.

    Returns:
        (order, starts): the order as indices, and where in it each group of equal keys begins.
    """
    small = len(keys) == 1 and len(keys[0]) > 0 and keys[0].min() >= 0 and keys[0].max() < 1 << 16
    # 16 bits are sorted by counting: ten times as fast.
    order = np.argsort(keys[0].astype(np.uint16), kind="stable") if small else np.lexsort(keys[::-1])
    new = np.zeros(len(order), np.bool_)
    new[:1] = True
    for key in keys:
        ordered = key[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    return order, np.flatnonzero(new)


def merge_rows(rows: Rows, starts: Ints) -> Rows:
    """One row for each group of rows; group i is ``rows[starts[i]:starts[i + 1]]``, none is empty.

    `fields.STATE` merges as in `arithmetic.merge`: exact in counts, min and max, and to rounding in the moments.
    Of `fields.NEURON`, what is kept is a bound: a neuron is silent (dead, saturated, constant) in the whole only if it
    is so in every part, so at most the least number of any part is; `within_std` pools the parts' variances by their
    finite elements, and is what the samples differ by within a part. `peak_neuron` is exact; `typical_peak` is the
    largest of any part, which is the least that it can be. Where one part was not swept per neuron, the whole was not.
    The step is the first row's, the time the latest.
    """
    sizes = np.diff(starts, append=len(rows))
    merged = rows[starts]
    if sizes.max(initial=1) == 1:
        return merged
    state: tuple[npt.NDArray[Any], ...] = (
        np.stack([rows[name] for name in _COUNTS]),
        np.stack([*(rows[name] for name in _MOMENTS), np.zeros(len(rows))]),
        np.stack([rows[name] for name in _EXTREMES]),
    )
    merge = merge_kernel(np.dtype(np.float64))
    # Neighbours in pairs, until each group is one: a few calls, and rounding errors that grow with the logarithm.
    while sizes.max() > 1:
        begins = np.cumsum(sizes) - sizes
        place = np.arange(sizes.sum()) - np.repeat(begins, sizes)
        even = place % 2 == 0
        left = np.flatnonzero(even & (place + 1 < np.repeat(sizes, sizes)))
        pairs = tuple(np.ascontiguousarray(np.stack([part[:, left], part[:, left + 1]], 1)) for part in state)
        merge(*pairs)
        for part, pair in zip(state, pairs, strict=True):
            part[:, left] = pair[:, 0]
        state = tuple(part[:, even] for part in state)
        sizes = (sizes + 1) // 2
    for names, values in zip((_COUNTS, _MOMENTS, _EXTREMES), state, strict=True):
        for name, column in zip(names, values, strict=False):
            merged[name] = column
    merged["time"] = np.maximum.reduceat(rows["time"], starts)
    _merge_neurons(rows, starts, merged)
    return merged


def _merge_neurons(rows: Rows, starts: Ints, merged: Rows) -> None:
    for name in _LEAST:
        merged[name] = np.minimum.reduceat(rows[name], starts)
    finite = (rows["count"] - rows["nans"] - rows["pos_infs"] - rows["neg_infs"]).astype(np.float64)
    # A part without a finite element has nothing to say. Relative to the largest, so that no square overflows.
    weights = np.where(np.isnan(rows["within_std"]), 0.0, finite)
    values = np.where(weights > 0.0, rows["within_std"], 0.0)
    scale = np.maximum.reduceat(values, starts)
    total = np.add.reduceat(weights, starts)
    parts = np.divide(
        values, np.repeat(scale, np.diff(starts, append=len(rows))), where=values > 0.0, out=np.zeros(len(rows))
    )
    squares = np.add.reduceat(weights * parts * parts, starts)
    merged["within_std"] = scale * np.sqrt(
        np.divide(squares, total, where=total > 0.0, out=np.full(len(total), np.nan))
    )
    peaks = np.fmax(np.fmax(-rows["min"], rows["max"]), -np.inf)
    highest = peaks == np.repeat(np.maximum.reduceat(peaks, starts), np.diff(starts, append=len(rows)))
    # Of equals the first neuron: the lowest number.
    merged["peak_neuron"] = np.minimum.reduceat(np.where(highest, rows["peak_neuron"], np.iinfo(np.int64).max), starts)
    merged["typical_peak"] = np.fmax.reduceat(rows["typical_peak"], starts)
    same = np.minimum.reduceat(rows["neurons"], starts) == np.maximum.reduceat(rows["neurons"], starts)
    for field in NEURON:
        merged[field.name][~same] = field.nothing


class _Rank:
    """What has been read of one rank and not been merged yet."""

    def __init__(self, batches: Iterable[tuple[Batch, str]], layers: Layers) -> None:
        self._batches = iter(batches)
        self._layers = layers
        self._session = ""
        #: For each batch: the passes of its rows, their layers' numbers, the rows.
        self._waiting: list[tuple[Ints, Ints, Rows]] = []
        #: (pass, step) of the last row read; None at the end.
        self.last: tuple[int, int] | None = (-1, 0)

    def read(self) -> int:
        """Reads one batch more; returns its rows."""
        item = next(self._batches, None)
        if item is None:
            self.last = None
            return 0
        (batch, infos), session = item
        if not batch.num_rows:
            return 0
        assert self.last is not None
        rows = to_rows(batch)
        steps = rows["step"]
        back = np.zeros(len(rows), np.int64)
        back[1:] = steps[1:] < steps[:-1]
        # A resumed run goes through some of its steps again: that is another pass, for each rank.
        back[0] = session != self._session or steps[0] < self.last[1]
        passes = self.last[0] + np.cumsum(back)
        self._session = session
        self.last = int(passes[-1]), int(steps[-1])
        self._waiting.append((passes, self._layers.codes(batch, lambda _: infos), rows))
        return len(rows)

    def take(self, before: tuple[int, int] | None) -> list[tuple[Ints, Ints, Rows]]:
        """Gives out what came before a (pass, step); everything before None."""
        taken, self._waiting = self._waiting, []
        if before is not None:
            for i, (passes, codes, rows) in enumerate(taken):
                early = (passes < before[0]) | ((passes == before[0]) & (rows["step"] < before[1]))
                count = int(np.count_nonzero(early))
                if count < len(rows):
                    self._waiting = [(passes[count:], codes[count:], rows[count:]), *taken[i + 1 :]]
                    return [*taken[:i], (passes[:count], codes[:count], rows[:count])] if count else taken[:i]
        return taken


def merge_ranks(ranks: Iterable[Iterable[tuple[Batch, str]]], layers: Layers) -> Iterator[Block]:
    """Merges the rows that several ranks have of the same layer in the same step, step by step.

    Each rank's batches come with their writer's name: a rank that was resumed begins its next pass through the steps
    with its next writer, and passes of the same number belong together. No rank is read further ahead than the one
    that lags requires: what waits in memory is a block, or two batches of each rank.

    Args:
        ranks: for each rank its batches in written order, steps rising within a writer.
        layers: numbers the layers.
    """
    every = [_Rank(batches, layers) for batches in ranks]
    reading = list(every)
    waiting, enough = 0, BLOCK_ROWS
    while reading:
        slowest = min(reading, key=lambda rank: rank.last or (0, 0))
        waiting += slowest.read()
        if slowest.last is None:
            reading.remove(slowest)
        if waiting < enough and reading:
            continue
        mark = min((rank.last for rank in reading if rank.last), default=None)
        taken = [part for rank in every for part in rank.take(mark)]
        if taken:
            passes, codes, rows = (np.concatenate(parts) for parts in zip(*taken, strict=True))
            waiting -= len(rows)
            order, starts = groups(passes, rows["step"], codes)
            yield Block(codes[order][starts], merge_rows(rows.take(order), starts))
        enough = max(BLOCK_ROWS, 2 * waiting)
