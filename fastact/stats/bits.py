"""The sum of the bits of anything that `summarize` takes, where it lies in this machine's memory."""

from typing import Any

from fastact.arrays.host import as_storage, chunks, on_gpu
from fastact.cpu.bit_sum import bit_sum, signed


def bits_of(x: Any) -> int:
    """`cpu.bit_sum` of the elements of `x` as they are stored; 0 where they lie on a GPU.

    Raises what `summarize` raises of `x`.
    """
    return 0 if on_gpu(x) else signed(sum(bit_sum(as_storage(chunk)[0]) for chunk in chunks(x)))
