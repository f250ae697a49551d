"""Memory that a sweep works in, lent to one at a time: sweeps of many threads and streams share a few pieces."""

import functools
from collections import deque
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.cuda.driver import DeviceMemory, pinned
from fastact.cuda.rows import ROW_BYTES, ROW_WORDS

#: A workspace of more bytes than this is not kept for later sweeps.
_KEPT_BYTES: Final = 1 << 24


class Workspace:
    """Memory on one device for one sweep at a time: partial rows, tickets, rows and their copy on the host.

    A sweep of many tensors also needs the table that says where they lie, and the memory that it is copied from.
    """

    def __init__(self) -> None:
        self._partial: DeviceMemory | None = None
        self._tickets: DeviceMemory | None = None
        self._out: DeviceMemory | None = None
        self._rows: npt.NDArray[np.int64] | None = None
        self._table: DeviceMemory | None = None
        self._lines: npt.NDArray[np.int64] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes held on the device."""
        pieces = (self._partial, self._tickets, self._out, self._table)
        return sum(piece.nbytes for piece in pieces if piece is not None)

    def memory(self, partial_rows: int, tickets: int, rows: int, stream: Any) -> tuple[int, int, int]:
        """The addresses of memory for so many partial rows, tickets and rows."""
        self._partial = _room(self._partial, partial_rows * ROW_BYTES, stream)
        # The last block that draws a ticket puts it back to zero.
        self._tickets = _room(self._tickets, tickets * 8, stream, zeroed=True)
        self._out = _room(self._out, rows * ROW_BYTES, stream)
        return self._partial.address, self._tickets.address, self._out.address

    def copied(self, table: npt.NDArray[np.int64], stream: Any) -> int:
        """The address to which a table of numbers is copied, in the order of the stream."""
        self._table = _room(self._table, table.nbytes, stream)
        if self._lines is None or self._lines.size < table.size:
            self._lines = pinned(self._table.nbytes // 8)
        lines = self._lines[: table.size]
        lines[:] = table.reshape(-1)
        self._table.copy_from(lines, stream)
        return self._table.address

    def rows(self, count: int, stream: Any) -> npt.NDArray[np.int64]:
        """The rows in pinned memory, int64[count, ROW_WORDS], valid once the stream has done all it was given.

        The next sweep overwrites them.
        """
        assert self._out is not None  # `memory` was asked for before
        if self._rows is None or len(self._rows) < count * ROW_WORDS:
            self._rows = pinned(self._out.nbytes // 8)
        rows = self._rows[: count * ROW_WORDS]
        self._out.copy_to(rows, stream)
        return rows.reshape(count, ROW_WORDS)


def _room(memory: DeviceMemory | None, nbytes: int, stream: Any, *, zeroed: bool = False) -> DeviceMemory:
    """`memory`, or a larger piece where it is too small: twice as large, while that is little, so growing ends."""
    if memory is not None and memory.nbytes >= nbytes:
        return memory
    return DeviceMemory(max(nbytes, min(2 * nbytes, _KEPT_BYTES // 4), ROW_BYTES), stream, zeroed=zeroed)


@functools.cache
def _free(device: int) -> deque[Workspace]:
    """The workspaces that no sweep uses now. `pop` and `append` of a deque need no lock."""
    return deque()


def take_workspace(device: int) -> Workspace:
    """A workspace that no other sweep uses. Give it back, but not after an error: a kernel may still write to it."""
    try:
        return _free(device).pop()
    except IndexError:
        return Workspace()


def give_back(workspace: Workspace, device: int) -> None:
    """Lets later sweeps use a workspace; all work on it must be done."""
    if workspace.nbytes <= _KEPT_BYTES:
        _free(device).append(workspace)
