"""Merging where Python itself computes, in whatever mode its thread's processor is."""

import struct
import sys
from typing import Final

from fastact.arithmetic.moments import merge
from fastact.arithmetic.state import MAX, MIN, State

_TINY: Final = sys.float_info.min
_BITS: Final = struct.Struct("=d")
_ORDER: Final = struct.Struct("=q")


def merge_states(a: State, b: State) -> State:
    """`merge`, with exact extremes although the thread may take denormal numbers for zero in comparisons.

    Machine code sets the mode (`cpu.float_mode`), which Python cannot.

    Example:
        >>> from fastact.arithmetic.state import EMPTY
        >>> tiny = (*EMPTY[:-3], -5e-324, 5e-324, 0.0)
        >>> merge_states(EMPTY, tiny)[-3:-1]
        (-5e-324, 5e-324)
    """
    merged = merge(a, b)
    if -_TINY < merged[MIN] < _TINY or -_TINY < merged[MAX] < _TINY:
        ends = min(a[MIN], b[MIN], key=_rank), max(a[MAX], b[MAX], key=_rank)
        merged = (*merged[:MIN], *ends, *merged[MAX + 1 :])
    return merged


def _rank(number: float) -> int:
    """An integer in whose order floats come, as their bits have it; both zeros are one. An integer is its own."""
    if isinstance(number, int):
        return number
    bits: int = _ORDER.unpack(_BITS.pack(number))[0]
    return bits if bits >= 0 else -(bits + (1 << 63))
