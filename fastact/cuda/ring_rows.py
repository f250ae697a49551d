"""Rows of a ring in device memory: their layout, how a kernel writes one, and how the host checks one.

A row carries a check word over all of its others, so whoever copies the ring, at any time and on any stream, can tell a
row that is whole from one that is not there yet or is being written.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.cuda.compiler import device
from fastact.cuda.instructions import divide, ticket
from fastact.cuda.rows import STATE_WORDS
from fastact.cuda.words import HASH_FACTOR, store_hashed, store_word
from fastact.fields import NEURON

__all__ = [
    "CHECK",
    "FORM",
    "FORMS",
    "LAYER",
    "NEURONS",
    "NO_NEURONS",
    "PART",
    "RING_BYTES",
    "RING_WORDS",
    "STAMP",
    "STATE",
    "STEP",
    "STEP_ENDED",
    "checks",
    "put_ring_row",
    "row_number",
    "slot_address",
]

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
