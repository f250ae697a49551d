"""Rows merged over any range of steps, layers and ranks, as if all of their elements had been swept at once."""

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import numpy as np

from fastact.fields import ROW_DTYPE, STATE_PART
from fastact.log.reader import StoredBatch
from fastact.replay.blocks import LayerNumbers, in_blocks, sort_into_groups
from fastact.replay.merge_rows import merge_rows
from fastact.replay.records import RowFilter
from fastact.stats.activation import ActivationStats

#: What rows may be kept apart by.
KEYS: Final = ("layer", "step", "rank")


def aggregate(
    batches: Iterable[tuple[int, StoredBatch]], by: tuple[str, ...], wanted: RowFilter
) -> dict[tuple[Any, ...], ActivationStats]:
    """Merges the rows of a log; see `Log.aggregate`.

    Args:
        batches: (rank, batch), rank after rank.
        by: what to keep apart, of `KEYS`.
        wanted: which rows to take in.

    Returns:
        The stats by tuples with an entry for each of `by`: the layer's name, the step, the rank.
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
