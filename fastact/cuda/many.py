"""Sweeps many tensors on a GPU in one launch: what a launch and the way back cost is paid once.

A table in device memory says of each tensor what `sweep_kernel` is told by its arguments, and which block is its first.
Each tensor has the blocks that it would have by itself, so its numbers are the same, bit for bit.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cuda.arrays import DeviceArray
from fastact.cuda.host import active, launcher, processors, stream_at
from fastact.cuda.kernels import FLAT, TABLE_WORDS, THREADS, blocks_at_once, many_kernel
from fastact.cuda.sweep import Bounds, give_back, plan, states, take_desk, work_bounds

__all__ = ["Launch"]


@functools.cache
def _kernel(name: str, device: int) -> Callable[..., None]:
    return launcher(many_kernel(name), device, THREADS, blocks_at_once(ELEMENT_TYPES[name], FLAT))


class Launch:
    """A sweep under way of flat tensors, not empty, of one kind, on one device and stream; one tensor at least."""

    def __init__(self, xs: Sequence[DeviceArray], bounds: Bounds) -> None:
        self._xs = xs  # what they own stays until it is swept
        self._name, self._device = name, device = xs[0].name, xs[0].device
        table = np.zeros((len(xs), TABLE_WORDS), np.int64)
        total = 0
        with active(device):
            for i, x in enumerate(xs):
                address = x.array.ctypes.data
                way = plan(address, name, (x.array.size, 1, 1), processors(device))
                table[i, :6] = address, *way.numbers[:3], way.parts, total
                total += way.parts
            self._stream = stream = stream_at(xs[0].stream, device)
            self._desk = desk = take_desk(device)
            lines = desk.copied(table, stream)
            memory = desk.memory(total, len(xs), len(xs), stream)
            _kernel(name, device)(total, stream, lines, len(xs), *work_bounds(bounds, name), *memory)
            self._rows = desk.rows(len(xs), stream)

    def states(self) -> list[arithmetic.State]:
        """Those of the tensors, when the stream has come so far; to be asked once."""
        with active(self._device):
            self._stream.synchronize()
        found = states(self._rows, self._name)
        give_back(self._desk, self._device)
        return found
