"""Columns of a segment's batches that came before, byte for byte: read once, and shared by the batches that have them.

Most columns of most batches are the same again and again: counts that never change, what was never measured, the names
of the same layers in the same order. What is equal before it is decompressed is equal after it, so a batch takes such a
column from the one before: a log of ten million rows is a table of a third of the memory, in less than half the time.
"""

import functools
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

#: Bytes of columns that are kept of one segment, decompressed; and of each column, batches without one that came before
#: after which it is not looked at any more: with a thousand layers, names come back after 125 batches.
_KEPT: Final = 1 << 24
_MISSES: Final = 256

#: Of a column its rows, its nulls, how its buffers lie beside each other, and their bytes.
Key = tuple[int | bytes, ...]


class Layout(NamedTuple):
    """Where in a batch's body the buffers of its columns are.

    Attributes:
        nodes: of each column its rows and its nulls, one after the other.
        places: of each buffer its offset and its size, one after the other.
        sizes: of each buffer its size after decompression; -1 where it is not compressed.
    """

    nodes: Sequence[int]
    places: Sequence[int]
    sizes: Sequence[int]


class Repeats:
    """The columns that came before in a segment; `schema` is the one at its front."""

    def __init__(self, schema: Any) -> None:
        # Whether values are there, where text ends, and the values.
        counts = [3 if pa.types.is_string(column.type) else 2 for column in schema]
        ends = list(accumulate(counts))
        #: Of each column the first and the last of them.
        self._buffers = [(end - count, end - 1) for end, count in zip(ends, counts, strict=True)]
        self._all = sum(counts)
        self._known: list[dict[Key, Any]] = [{} for _ in schema]
        self._misses = [0] * len(schema)
        self._left = _KEPT
        self._options: dict[tuple[int, ...], Any] = {}

    def keys(self, body: memoryview, layout: Layout) -> list[Key | None]:
        """What each column is known by; None for one that is not worth it, or that is not where columns are."""
        nodes, places, sizes = layout
        found: list[Key | None] = [None] * len(self._buffers)
        if len(nodes) != 2 * len(self._buffers) or len(sizes) != self._all:
            return found
        for column, (first, last) in enumerate(self._buffers):
            if self._misses[column] > _MISSES:
                continue
            begin, end = places[2 * first], places[2 * last] + places[2 * last + 1]
            # Numbers that hardly compress never come again; of text the ends hardly compress, and come again.
            few = last - first == 2 or 2 * (end - begin) <= sizes[last]
            if not few or not 0 <= begin <= end <= len(body):
                continue
            at, key = begin, [*nodes[2 * column : 2 * column + 2]]
            for buffer in range(first, last + 1):
                if places[2 * buffer] < at or sizes[buffer] < 0:
                    break
                at = places[2 * buffer] + places[2 * buffer + 1]
                key += places[2 * buffer] - begin, places[2 * buffer + 1]
            else:
                found[column] = *key, bytes(body[begin:end])
        return found

    def known(self, keys: Sequence[Key | None]) -> list[Any]:
        """The columns of these keys that came before; None for the others."""
        found = [None if key is None else known.get(key) for key, known in zip(keys, self._known, strict=True)]
        for column, key in enumerate(keys):
            if key is not None:
                self._misses[column] = 0 if found[column] is not None else self._misses[column] + 1
        return found

    def options(self, columns: tuple[int, ...]) -> Any:
        """What Arrow is asked for to read some of the columns alone."""
        if columns not in self._options:
            if len(self._options) > _MISSES:
                self._options.clear()
            chosen = list(columns) if len(columns) < len(self._buffers) else None
            # By default Arrow hands each column to a pool of threads, which takes six times as long as it saves.
            self._options[columns] = pa.ipc.IpcReadOptions(use_threads=False, included_fields=chosen)
        return self._options[columns]

    def keep(self, column: int, key: Key | None, array: Any) -> None:
        """Keeps a column that was read and is valid, for the batches to come."""
        if key is not None and array.nbytes <= self._left:
            self._left -= array.nbytes
            self._known[column][key] = array


@functools.lru_cache(maxsize=64)  # batch after batch has as many rows
def same(number: int, rows: int) -> Any:
    """So many times the same number, as an Arrow array of int32."""
    return pa.array(np.full(rows, number, np.int32))
