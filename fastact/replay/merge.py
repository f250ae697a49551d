"""Rows merged over steps, layers and ranks, as if all of their elements had been swept at once.

Each number of a row merges as its field in `fastact.fields` says (`Field.merge`).
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.arithmetic.columns import merge_groups
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import NEURON, ROW, STATE
from fastact.log.reader import StoredBatch
from fastact.log.schema import to_columns
from fastact.replay.blocks import Ints, LayerNumbers, Rows, sort_into_groups
from fastact.replay.keyed import Column, Keyed, Tree
from fastact.replay.records import RowFilter
from fastact.stats.activation import ActivationStats

#: Rows that are merged at a time by `aggregate`, and stats that are made at a time.
_PART, _STATS = 1 << 16, 1 << 14
#: What it reads of a row.
_MERGED: Final = (*STATE, *(field for field in ROW if field.name == "step"))
#: What rows may be kept apart by.
KEYS: Final = ("layer", "step", "rank")


def keys_of(by: object) -> tuple[str, ...]:
    """The argument `by` of `Log.aggregate`, one or several of `KEYS`, as a tuple."""
    words = "'layer', 'step', 'rank' or several of them"
    if not isinstance(by, Iterable):
        raise ArgumentTypeError(f"by: got {type(by).__name__}, want {words}")
    names = (by,) if isinstance(by, str) else tuple(by)
    if not names or not set(names) <= set(KEYS):
        raise ArgumentValueError(f"by: got {by!r}, want {words}")
    return names


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
    merge_groups(rows, sizes, merged)
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
    "sum": lambda rows, name, starts: np.add.reduceat(rows[name], starts),  # wraps at 64 bits
    "min": lambda rows, name, starts: np.fmin.reduceat(rows[name], starts),
    "max": lambda rows, name, starts: np.fmax.reduceat(rows[name], starts),
    "pooled": _pooled_std,
    "of the peak": _of_the_peak,
}


def _in_parts(batches: Iterable[StoredBatch], layers: LayerNumbers) -> Iterator[tuple[Ints, dict[str, Column]]]:
    """The batches joined until they are worth work on columns: the numbers of the rows' layers, and what is merged."""
    joined: list[tuple[Ints, dict[str, Column]]] = []
    rows = 0
    for stored in batches:
        joined.append((layers.of_batch(stored), to_columns(stored.batch, _MERGED)))
        rows += stored.batch.num_rows
        if rows >= _PART:
            yield _joined(joined)
            joined, rows = [], 0
    if joined:
        yield _joined(joined)


def _joined(parts: list[tuple[Ints, dict[str, Column]]]) -> tuple[Ints, dict[str, Column]]:
    columns = {field.name: np.concatenate([columns[field.name] for _, columns in parts]) for field in _MERGED}
    return np.concatenate([numbers for numbers, _ in parts]), columns


def aggregate(
    batches: Iterable[tuple[int, StoredBatch]], by: tuple[str, ...], wanted: RowFilter
) -> dict[tuple[Any, ...], ActivationStats]:
    """Merges the rows of (rank, batch), rank after rank: the stats by tuples with an entry for each of `by`.

    Those are of `KEYS`, and stand for the layer's name, the step and the rank; see `Log.aggregate`.
    """
    layers = LayerNumbers()
    tree = Tree()
    for rank, of_rank in groupby(batches, key=itemgetter(0)):
        for numbers, columns in _in_parts((stored for _, stored in of_rank), layers):
            keep = np.flatnonzero(wanted.in_rows(columns["step"], numbers, layers))
            values = {"layer": numbers, "step": columns["step"], "rank": np.full(len(numbers), rank, np.int64)}
            of_rows = [values[name].take(keep) for name in by]
            order, starts = sort_into_groups(*of_rows)
            rows = {field.name: columns[field.name].take(keep.take(order)) for field in STATE}
            merged = {name: column.take(starts) for name, column in rows.items()}
            merge_groups(rows, np.diff(starts, append=len(order)), merged)
            tree.add(Keyed(tuple(key.take(order.take(starts)) for key in of_rows), merged, np.zeros(len(starts))))
    found: dict[tuple[Any, ...], ActivationStats] = {}
    if not len(tree):
        return found
    total = tree.whole()
    names = [info.name for info in layers.infos]
    for begin in range(0, len(total), _STATS):
        same: dict[int, int] = {}
        some = total.take(slice(begin, begin + _STATS))
        keys = [key.tolist() for key in some.keys]
        keys = [
            [names[number] for number in key] if name == "layer" else key for key, name in zip(keys, by, strict=True)
        ]
        state = []
        for field in STATE:
            column = some.columns[field.name].tolist()
            if field.dtype == "int64":  # of the same number one object: that is a quarter of the memory of many stats
                column = list(map(same.setdefault, column, column))
            state.append(column)
        found |= zip(zip(*keys, strict=True), map(ActivationStats.from_state, zip(*state, strict=True)), strict=True)
    return found
