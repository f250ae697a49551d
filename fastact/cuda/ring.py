"""Rows on their way from the device to the host: a ring of device memory, copied piece by piece on demand.

Kernels write rows into the ring's slots (`ring_rows`), each with its number and a check word. The host copies the slots
that it still wants on a stream of its own into pinned memory, and takes the rows that are whole there. A row that
was copied too early is copied again: so copies wait for no kernel, and no kernel waits for a copy.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.cuda.driver import DeviceMemory, Event, pinned, side_stream
from fastact.cuda.ring_rows import CHECK, RING_BYTES, RING_WORDS, STAMP, checks

__all__ = ["SLOTS", "Ring"]

#: Rows that can be on their way: a megabyte. A driver queues some thousand launches and then makes the host wait.
SLOTS: Final = 4096
#: Before the slots: how many rows there were, and the step, of a ring whose rows the device counts.
_HEAD_BYTES: Final = 256


class Ring:
    """A ring on the current device; not safe to use from several threads at a time.

    Args:
        device: the number of the device.
        slots: rows that the ring has room for.
        counted: whether the device numbers the rows; otherwise the host does.

    Attributes:
        address: the address of the slots.
        counter: the address of two int64 on the device, both zero at first, with which it numbers rows; see
            `record_kernel`.
        tail: the number of the first row that has not been taken.
        head: the number of the first row that has not been written yet, as far as the host knows.
        lost: rows that were overwritten before they could be taken.
    """

    def __init__(self, device: int, slots: int = SLOTS, *, counted: bool = False) -> None:
        self.slots = slots
        self.tail = 0
        self.head = 0
        self.lost = 0
        self._counted = counted
        self._stream = side_stream(device)
        self._memory = DeviceMemory(_HEAD_BYTES + slots * RING_BYTES, self._stream, zeroed=True)
        # Before any kernel writes there.
        self._stream.synchronize()
        self.counter = self._memory.address
        self.address = self.counter + _HEAD_BYTES
        self._rows = pinned(slots * RING_WORDS).reshape(slots, RING_WORDS)
        self._count = pinned(1)
        self._event = Event()
        #: Which rows are being copied.
        self._copied: tuple[int, int] | None = None
        #: Rows after the tail that were taken, or given up.
        self._taken: set[int] = set()

    @property
    def full(self) -> bool:
        """Whether there is no slot for another row."""
        return self.head - self.tail >= self.slots

    def next(self) -> int:
        """The number of a new row, which the caller has to write or to give up; only while the ring is not `full`."""
        self.head += 1
        return self.head - 1

    def give_up(self, number: int) -> None:
        """Notes that a row will never be written."""
        self._taken.add(number)
        self._move()

    def fetch(self) -> None:
        """Begins to copy the rows that may be there, unless a copy is under way."""
        if self._copied is not None or (self.tail == self.head and not self._counted):
            return
        if self._counted:
            self._memory.copy_to(self._count, self._stream)
        start = self.tail % self.slots
        count = self.head - self.tail
        first = min(count, self.slots - start)
        for begin, end in ((start, start + first), (0, count - first)):
            if begin < end:
                self._memory.copy_to(self._rows[begin:end], self._stream, _HEAD_BYTES + begin * RING_BYTES)
        self._event.record(self._stream)
        self._copied = self.tail, self.head

    def take(self) -> list[tuple[int, npt.NDArray[np.int64]]]:
        """The rows that have come since, by number: int64[RING_WORDS] each, a copy.

        Rows that the device numbers are taken in order, the others as they come.
        """
        if self._copied is None or not self._event.done():
            return []
        (begin, end), self._copied = self._copied, None
        numbers = np.arange(begin, end)
        rows = self._rows[numbers % self.slots]
        whole = checks(rows) == rows[:, CHECK]
        behind = rows[:, STAMP] - 1 - numbers
        found = []
        for i in range(end - begin):
            number = begin + i
            if whole[i] and behind[i] == 0:
                if number >= self.tail and number not in self._taken:
                    self._taken.add(number)
                    found.append((number, rows[i]))
            elif self._counted and whole[i] and behind[i] > 0:
                self._taken.add(number)
                self.lost += 1
            elif self._counted:
                break
        self._move()
        if self._counted:
            self.head = int(self._count[0])
            if self.head - self.tail > self.slots:
                self.lost += self.head - self.slots - self.tail
                self.tail = self.head - self.slots
                self._taken.clear()
        return found

    def _move(self) -> None:
        while self.tail in self._taken:
            self._taken.remove(self.tail)
            self.tail += 1

    def __repr__(self) -> str:
        return f"Ring(rows={self.tail} to {self.head}, slots={self.slots}, lost={self.lost})"
