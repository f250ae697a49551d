"""A kernel that reads: what no sweep on a device can be faster than."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cuda.driver import DeviceMemory, active, launcher, processors, stream_at
from fastact.cuda.instructions import THREADS
from fastact.cuda.vectors import loader, reduce_sum
from fastact.cuda.words import store_word

__all__ = ["NEVER", "read_kernel", "reader"]

#: The sum at which something is written, which the compiler cannot rule out.
NEVER = np.float32(1.25e30)
#: Blocks at a time for each multiprocessor: all that it has threads for.
_BLOCKS = 8


@functools.cache
def read_kernel() -> Any:
    """The kernel that adds up packets of four float32: what a thread has under way, 64 bytes, and nothing else."""
    load = loader(ELEMENT_TYPES["float32"], 4)

    def read(x: int, packets: int, out: int) -> None:
        step: Any = np.int64(cuda.gridDim.x) * np.int64(cuda.blockDim.x)
        at: Any = np.int64(cuda.blockIdx.x) * np.int64(cuda.blockDim.x) + np.int64(cuda.threadIdx.x)
        found = np.float32(0.0)
        while at + 3 * step < packets:
            a = load(x + 16 * at)
            b = load(x + 16 * (at + step))
            c = load(x + 16 * (at + 2 * step))
            d = load(x + 16 * (at + 3 * step))
            found += (reduce_sum(a) + reduce_sum(b)) + (reduce_sum(c) + reduce_sum(d))
            at += 4 * step
        while at < packets:
            found += reduce_sum(load(x + 16 * at))
            at += step
        if found == NEVER:
            store_word(out, 1)

    return read


def reader(address: int, packets: int, device: int, stream: int) -> Callable[[], DeviceMemory]:
    """What reads so many packets of 16 bytes at an address, a multiple of 16, on the device's stream with this handle.

    It does not wait, and returns the memory to which nothing is written.
    """
    with active(device):
        launch = launcher(read_kernel(), device, THREADS)
        out = DeviceMemory(8, zeroed=True)
    on = stream_at(stream, device)
    blocks = max(1, min(_BLOCKS * processors(device), packets // (4 * THREADS)))

    def read() -> DeviceMemory:
        with active(device):
            launch(blocks, on, address, packets, out.address)
        return out

    return read
