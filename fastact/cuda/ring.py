"""Rows on their way from the device to the host: a ring of device memory, copied piece by piece on demand.

A row carries its number and a check word over its other words, so whoever copies the ring, at any time and on any
stream, can tell a whole row from one that is missing or being written. The host copies the slots that it still wants on
a stream of its own into pinned memory and takes the whole rows there; a row that was copied too early is copied again.
So copies wait for no kernel, and no kernel waits for a copy.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.cuda.compiler import device
from fastact.cuda.driver import DeviceMemory, Event, pinned, side_stream
from fastact.cuda.instructions import divide, ticket
from fastact.cuda.rows import STATE_WORDS
from fastact.cuda.words import HASH_FACTOR, store_hashed, store_word
from fastact.fields import NEURON

#: Rows that can be on their way: a megabyte. A driver queues some thousand launches and then makes the host wait.
SLOTS: Final = 4096
#: Before the slots: how many rows there were, and the step, of a ring whose rows the device counts.
_HEAD_BYTES: Final = 256
#: A row, in words of 8 bytes: its number in the ring, from 1; the layer's number; the step; how many rows its layer has
#: had in this step; which of `FORMS` min and max have; a state; `fields.NEURON`; the check word.
STAMP: Final = 0
LAYER: Final = 1
STEP: Final = 2
PART: Final = 3
FORM: Final = 4
STATE: Final = slice(FORM + 1, FORM + 1 + STATE_WORDS)
NEURONS: Final = slice(STATE.stop, STATE.stop + len(NEURON))
CHECK: Final = NEURONS.stop
#: And what fills lines of the cache.
RING_WORDS: Final = -(-(CHECK + 1) // 16) * 16
RING_BYTES: Final = 8 * RING_WORDS

#: How the words of min and max are to be read.
FORMS: Final = ("float64", "int64", "uint64")
#: The layer's number in a row that says that a step has ended.
STEP_ENDED: Final = -1
#: `fields.NEURON` in a row that tells of no neurons.
NO_NEURONS: Final = tuple(field.nothing for field in NEURON)

_STATE_BYTE: Final = 8 * STATE.start
_NEURONS_BYTE: Final = 8 * NEURONS.start
_CHECK_BYTE: Final = 8 * CHECK
_POWERS: Final = np.array([pow(HASH_FACTOR, CHECK - 1 - i, 1 << 64) for i in range(CHECK)], np.uint64)


def checks(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The check word that each of the rows, int64[rows, RING_WORDS], should have."""
    words = rows[:, :CHECK].view(np.uint64)
    result: npt.NDArray[np.int64] = ((words ^ (words >> np.uint64(32))) * _POWERS).sum(axis=1).view(np.int64)
    return result


@device
def put_ring_row(at: int, number: int, layer: int, step: int, part: int, form: int, state: Any, neurons: Any) -> None:
    """Writes a row to its slot, the check word last."""
    check = store_hashed(at, 0, (number + 1, layer, step, part, form))
    check = store_hashed(at + _STATE_BYTE, check, state)
    check = store_hashed(at + _NEURONS_BYTE, check, neurons)
    store_word(at + _CHECK_BYTE, check)


@device
def row_number(number: int, counter: int) -> Any:
    """The number of a row: the one given, or the next one of a counter."""
    if counter != 0:
        return ticket(counter)
    return number


@device
def slot_address(ring: int, slots: int, number: int) -> Any:
    """Where the row with this number goes."""
    return ring + (number - divide(number, slots) * slots) * RING_BYTES


class Ring:
    """A ring on the current device; not safe to use from several threads at a time.

    Args:
        device: the number of the device.
        slots: rows that the ring has room for.
        counted: whether the device numbers the rows; otherwise the host does.
    """

    def __init__(self, device: int, slots: int = SLOTS, *, counted: bool = False) -> None:
        self.slots = slots
        self.tail = 0  #: the number of the first row that has not been taken
        self.head = 0  #: the number of the first row not yet written, as far as the host knows
        self.lost = 0  #: rows that were overwritten before they could be taken
        self._counted = counted
        self._stream = side_stream(device)
        self._memory = DeviceMemory(_HEAD_BYTES + slots * RING_BYTES, self._stream, zeroed=True)
        self._stream.synchronize()  # before any kernel writes there
        self.counter = self._memory.address  #: two int64, zero at first, with which the device numbers rows
        self.address = self.counter + _HEAD_BYTES  #: the slots
        self._rows = pinned(slots * RING_WORDS).reshape(slots, RING_WORDS)
        self._count = pinned(1)
        self._event = Event()
        self._copied: tuple[int, int] | None = None  # the rows being copied
        self._taken: set[int] = set()  # rows after the tail that were taken, or given up

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
