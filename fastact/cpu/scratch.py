"""Memory that a fold per neuron works in: arrays at places of one block, which is kept from sweep to sweep.

Arrays of its own the system took back after many a task, to hand out the same pages, cleared, for the next; and each
array that owns memory is counted, atomically, whenever it is taken out of a tuple. These own nothing.
"""

from typing import Any, Final

from fastact.cpu.intrinsics import array_at
from fastact.cpu.jit import exact_jit

#: Bytes between arrays, beside those of their items: an odd number of lines, so that the same items of all arrays of a
#: wide matrix do not share a place in the first cache.
_GAP: Final = 5 * 64
#: Bytes of the widest item.
_ITEM: Final = 8


def room_bytes(n: int) -> int:
    """Bytes from the beginning of an array of `n` items, of whatever type, to that of the next one."""
    return (_ITEM * n + 63) // 64 * 64 + _GAP


room: Final = exact_jit(room_bytes)


@exact_jit
def array_in(scratch: int, number: int, n: int, example: Any) -> Any:
    """Array `number` of those of `n` items from the address `scratch` on, of what `example` is; not begun."""
    return array_at(scratch + number * room(n), (n,), example)
