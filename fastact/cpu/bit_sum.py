"""The sum of the bits of all elements: the same for equal tensors, whatever their strides, threads and order.

Moments tell equal tensors from others up to rounding. Each element's bits, taken as an unsigned integer, add up modulo
2^64 without any: one flipped bit changes the sum. What two elements have swapped is not seen. It is one more read of
the memory, at its speed, so that it is asked for where copies are to be compared, and not in every sweep.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from fastact.cpu.intrinsics import fetch_add, subarray
from fastact.cpu.jit import COMPILED, array_type, kernel
from fastact.cpu.sweep import share, split

_WRAP: Final = 1 << 64


@functools.cache
def bits_kernel(itemsize: int) -> Callable[..., None]:
    """The entry point that takes one part of a tensor of such elements after the other, until none is left."""

    def sum_parts(x: Any, size: int, counter: Any, sums: Any) -> None:
        part = fetch_add(counter)
        while part < sums.size:
            start = part * size
            mine = subarray(x, start, min(size, x.size - start))
            total = np.uint64(0)
            for i in range(mine.size):
                total += np.uint64(mine[i])
            sums[part] = total
            part = fetch_add(counter)

    signature = types.void(
        array_type(f"u{itemsize}", 1, "C", readonly=True),
        *(types.int64, array_type(np.int64, 1, "C"), array_type(np.uint64, 1, "C")),
    )
    return kernel(sum_parts, f"bits-{itemsize}", signature, nogil=True)


def bit_sum(x: npt.NDArray[Any]) -> int:
    """The sum of all elements' bits, modulo 2^64, as a signed number of 64 bits; x has 1, 2, 4 or 8 bytes an element.

    Example:
        >>> bit_sum(np.array([1, 2, 3], np.uint8)), bit_sum(np.array([-1], np.int64))
        (6, -1)
    """
    if not x.size:
        return 0
    flat = np.ascontiguousarray(x).reshape(-1).view(f"u{x.itemsize}")
    if not COMPILED:
        return signed(int(flat.sum(dtype=np.uint64)))
    size, parts = split(flat.size)
    counter, sums = np.zeros(1, np.int64), np.zeros(parts, np.uint64)
    sum_parts = bits_kernel(x.itemsize)
    share(lambda: sum_parts(flat, size, counter, sums), flat.nbytes, parts)
    return signed(int(sums.sum()))


def signed(total: int) -> int:
    """A whole number modulo 2^64, as the signed number of 64 bits that rows keep."""
    return (total + _WRAP // 2) % _WRAP - _WRAP // 2
