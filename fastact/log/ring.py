"""The rows that wait for the disk: a ring of fixed-size rows, filled by one thread and emptied by another.

Each side owns one counter and only reads the other's, so taking in a row needs no lock, and an interrupt between any
two statements leaves the ring as it was or with one row more. A row that finds no room is dropped; the ring remembers
how many rows were dropped and between which two, for as long as those wait.
"""

import threading
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.fields import ROW_BYTES, ROW_DTYPE


class Dropped(NamedTuple):
    """Rows that found no room since the start, and how many of these came while the disk refused."""

    rows: int = 0
    refused: int = 0


class Ring:
    """Room for `capacity` rows, allocated once.

    Attributes:
        buffer: the rows as bytes; row n is at ``n % capacity * ROW_BYTES``.
        room: equal to `capacity`; -1 once no more rows are taken in.
        head, dropped: rows taken in since the start, and rows that found no room; the filling side's.
        refused: of the dropped rows, those that came while the disk refused.
        tail: rows given out since the start; the emptying side's.
    """

    __slots__ = ("_gaps", "_lock", "_rows", "buffer", "capacity", "dropped", "head", "refused", "room", "tail")

    def __init__(self, capacity: int) -> None:
        self._rows = np.zeros(capacity, ROW_DTYPE)
        self.buffer = self._rows.data.cast("B")
        self.capacity = self.room = capacity
        self.head = self.tail = 0
        self.dropped = self.refused = 0
        #: (rows taken in before a gap, rows dropped up to it), at most one for each row that waits.
        self._gaps: deque[tuple[int, Dropped]] = deque()
        # A signal handler may drop a row while its own thread drops one.
        self._lock = threading.RLock()

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        return self.head - self.tail

    def put(self, row: bytes) -> bool:
        """Takes in a row, if there is room for it: whether there is."""
        head = self.head
        if head - self.tail >= self.room:
            return False
        start = head % self.capacity * ROW_BYTES
        self.buffer[start : start + ROW_BYTES] = row
        self.head = head + 1
        return True

    def put_all(self, rows: Sequence[bytes]) -> int:
        """Takes in the first of some rows, as many as there is room for: how many."""
        count, place = max(0, min(len(rows), self.room - self.waiting)), self.head % self.capacity
        for first, part in (
            (place, rows[: min(count, self.capacity - place)]),
            (0, rows[self.capacity - place : count]),
        ):
            self.buffer[first * ROW_BYTES : (first + len(part)) * ROW_BYTES] = b"".join(part)
        self.head += count
        return count

    def drop(self, *, refused: bool = False) -> None:
        """Counts a row that found no room; `refused`: because the disk refuses those before it."""
        with self._lock:
            self.dropped += 1
            self.refused += refused
            if self._gaps and self._gaps[-1][0] == self.head:
                self._gaps.pop()
            self._gaps.append((self.head, Dropped(self.dropped, self.refused)))

    def orphan(self) -> None:
        """In a forked child: the rows are the parent's, and no more are taken in."""
        self.room = -1
        self.tail = self.head
        # The old lock may be held by a thread that does not exist here.
        self._lock = threading.RLock()

    def oldest(self, most: int) -> tuple[npt.NDArray[np.void], Dropped | None]:
        """The oldest rows that wait, at most `most`, none of them after a gap; and all rows dropped before them.

        The latter is None where nothing was dropped just before them. The rows are valid until `tail` is raised.
        """
        dropped = None
        end = min(self.head, self.tail + most)
        with self._lock:
            for position, total in self._gaps:
                if position > self.tail:
                    end = min(end, position)
                    break
                dropped = total
        start, count = self.tail % self.capacity, end - self.tail
        rows = self._rows[start : start + count]
        if len(rows) < count:
            rows = np.concatenate((rows, self._rows[: count - len(rows)]))
        return rows, dropped

    def advance(self, count: int) -> None:
        """Gives the room of the oldest `count` rows back, and forgets the gap before them."""
        with self._lock:
            while self._gaps and self._gaps[0][0] <= self.tail:
                self._gaps.popleft()
        self.tail += count
