"""Rows merged over steps, layers and ranks, as if all of their elements had been swept at once.

Each number of a row merges as its field in `fastact.fields` says (`Field.merge`).
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.arithmetic.columns import merge_states
from fastact.fields import NEURON, ROW, ROW_DTYPE, STATE, STATE_PART
from fastact.log.reader import StoredBatch
from fastact.log.schema import to_rows
from fastact.replay.blocks import BLOCK_ROWS, Block, Ints, LayerNumbers, Rows, in_blocks, sort_into_groups
from fastact.replay.records import RowFilter
from fastact.stats.activation import ActivationStats

#: What rows may be kept apart by.
KEYS: Final = ("layer", "step", "rank")


def merge_rows(rows: Rows, starts: Ints) -> Rows:
    """One row for each group of rows; group i is ``rows[starts[i]:starts[i + 1]]``, none is empty.

    `fields.STATE` merges as in `arithmetic.merge`: exact in counts, min and max, and to rounding in the moments.

    Of `fields.NEURON` some numbers are exact and some are bounds, since a row does not say which neurons it counted. A
    neuron is silent (dead, saturated, constant) in the whole only if it is so in every part, so at most the least
    number of any part is. `within_std` pools the parts' variances by their finite elements, and is the spread between
    samples within a part. `peak_neuron` is exact; `typical_peak` is the largest of any part, which is the least that
    it can be. Where one part was not swept per neuron, the whole was not. The step is the first row's, the time the
    latest.
    """
    sizes = np.diff(starts, append=len(rows))
    merged = rows[starts]
    if sizes.max(initial=1) == 1:
        return merged
    merge_states(rows, sizes, merged)
    for field in ROW:
        if field not in STATE and field.merge in _MERGE:
            merged[field.name] = _MERGE[field.merge](rows, field.name, starts)
    for field in NEURON:
        if field.merge == "equal":
            same = np.minimum.reduceat(rows[field.name], starts) == np.maximum.reduceat(rows[field.name], starts)
            for other in NEURON:
                merged[other.name][~same] = other.nothing
    return merged


def _pooled_std(rows: Rows, name: str, starts: Ints) -> npt.NDArray[Any]:
    finite = (rows["count"] - rows["nans"] - rows["pos_infs"] - rows["neg_infs"]).astype(np.float64)
    # A part without a finite element has nothing to say. Relative to the largest, so that no square overflows.
    weights = np.where(np.isnan(rows[name]), 0.0, finite)
    values = np.where(weights > 0.0, rows[name], 0.0)
    scale = np.maximum.reduceat(values, starts)
    total = np.add.reduceat(weights, starts)
    scales = np.repeat(scale, np.diff(starts, append=len(rows)))
    parts = np.divide(values, scales, where=values > 0.0, out=np.zeros(len(rows)))
    squares = np.add.reduceat(weights * parts * parts, starts)
    mean = np.divide(squares, total, where=total > 0.0, out=np.full(len(total), np.nan))
    return np.asarray(scale * np.sqrt(mean))


def _of_the_peak(rows: Rows, name: str, starts: Ints) -> npt.NDArray[Any]:
    peaks = np.fmax(np.fmax(-rows["min"], rows["max"]), -np.inf)
    highest = peaks == np.repeat(np.maximum.reduceat(peaks, starts), np.diff(starts, append=len(rows)))
    # Of equals the first neuron: the lowest number.
    return np.minimum.reduceat(np.where(highest, rows[name], np.iinfo(np.int64).max), starts)


#: How fields outside of the state merge; "first" and "equal" keep what the group's first row has.
_MERGE: Final[dict[str, Callable[[Rows, str, Ints], npt.NDArray[Any]]]] = {
    "min": lambda rows, name, starts: np.fmin.reduceat(rows[name], starts),
    "max": lambda rows, name, starts: np.fmax.reduceat(rows[name], starts),
    "pooled": _pooled_std,
    "of the peak": _of_the_peak,
}


def aggregate(
    batches: Iterable[tuple[int, StoredBatch]], by: tuple[str, ...], wanted: RowFilter
) -> dict[tuple[Any, ...], ActivationStats]:
    """Merges the rows of (rank, batch), rank after rank: the stats by tuples with an entry for each of `by`.

    Those are of `KEYS`, and stand for the layer's name, the step and the rank; see `Log.aggregate`.
    """
    layers = LayerNumbers()
    keys = [np.zeros(0, np.int64) for _ in by]
    total = np.zeros(0, ROW_DTYPE)
    for rank, of_rank in groupby(batches, key=itemgetter(0)):
        for block in in_blocks((stored for _, stored in of_rank), layers):
            keep = wanted.in_block(block, layers)
            rows, numbers = block.rows[keep], block.layers[keep]
            values = {"layer": numbers, "step": rows["step"], "rank": np.full(len(rows), rank, np.int64)}
            keys = [np.concatenate([key, values[name]]) for key, name in zip(keys, by, strict=True)]
            rows = np.concatenate([total, rows])
            order, starts = sort_into_groups(*keys)
            keys = [key[order][starts] for key in keys]
            total = merge_rows(rows.take(order), starts)
    columns = [
        [layers.infos[number].name for number in key.tolist()] if name == "layer" else key.tolist()
        for key, name in zip(keys, by, strict=True)
    ]
    merged: list[Any] = total.tolist()
    stats = (ActivationStats.from_state(row[STATE_PART]) for row in merged)
    return dict(zip(zip(*columns, strict=True), stats, strict=True))


class _Rank:
    """What has been read of one rank and not been merged yet."""

    def __init__(self, batches: Iterable[StoredBatch], layers: LayerNumbers) -> None:
        self._batches = iter(batches)
        self._layers = layers
        self._session = ""
        #: For each batch: the passes of its rows, their layers' numbers, the rows.
        self._waiting: list[tuple[Ints, Ints, Rows]] = []
        #: (pass, step) of the last row read; None at the end.
        self.last: tuple[int, int] | None = (-1, 0)

    def read(self) -> int:
        """Reads one batch more; returns the number of its rows."""
        stored = next(self._batches, None)
        if stored is None:
            self.last = None
        if stored is None or self.last is None or not stored.batch.num_rows:
            return 0
        rows, session = to_rows(stored.batch), stored.frame.session
        steps = rows["step"]
        back = np.zeros(len(rows), np.int64)
        back[1:] = steps[1:] < steps[:-1]
        # Before schema 1.5 a resumed run went through some of its steps again: another pass, for each rank.
        goes_on = self._session and stored.header is not None and stored.header.start_step is not None
        back[0] = (session != self._session and not goes_on) or steps[0] < self.last[1]
        passes = self.last[0] + np.cumsum(back)
        self._session = session
        self.last = int(passes[-1]), int(steps[-1])
        self._waiting.append((passes, self._layers.of_batch(stored), rows))
        return len(rows)

    def take(self, before: tuple[int, int] | None) -> list[tuple[Ints, Ints, Rows]]:
        """Gives out what came before a (pass, step); everything before None."""
        taken, self._waiting = self._waiting, []
        if before is not None:
            for i, (passes, numbers, rows) in enumerate(taken):
                early = (passes < before[0]) | ((passes == before[0]) & (rows["step"] < before[1]))
                count = int(np.count_nonzero(early))
                if count < len(rows):
                    self._waiting = [(passes[count:], numbers[count:], rows[count:]), *taken[i + 1 :]]
                    return [*taken[:i], (passes[:count], numbers[:count], rows[:count])] if count else taken[:i]
        return taken


def merge_ranks(ranks: Iterable[Iterable[StoredBatch]], layers: LayerNumbers) -> Iterator[Block]:
    """Merges the rows that several ranks have of the same layer in the same step, step by step.

    Each rank's batches come in written order, with their writer's session: a rank that was resumed before schema 1.5
    begins its next pass through the steps with its next writer, and passes of the same number belong together. No rank
    is read further ahead than the one that lags requires: what waits in memory is a block, or two batches of each rank.
    """
    reading = list(every := [_Rank(batches, layers) for batches in ranks])
    waiting, enough = 0, BLOCK_ROWS
    while reading:
        slowest = min(reading, key=lambda rank: rank.last or (0, 0))
        waiting += slowest.read()
        if slowest.last is None:
            reading.remove(slowest)
        if waiting < enough and reading:
            continue
        mark = min((rank.last for rank in reading if rank.last), default=None)
        taken = [waiting_rows for rank in every for waiting_rows in rank.take(mark)]
        if taken:
            passes, numbers, rows = (np.concatenate(parts) for parts in zip(*taken, strict=True))
            waiting -= len(rows)
            order, starts = sort_into_groups(passes, rows["step"], numbers)
            yield Block(numbers[order][starts], merge_rows(rows.take(order), starts))
        enough = max(BLOCK_ROWS, 2 * waiting)
