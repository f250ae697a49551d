"""Sweeps many tensors on a GPU in one launch: the cost of a launch and of the way back is paid once.

A table in device memory holds for each tensor the arguments of `sweep_kernel` and the number of its first block. Each
tensor has the blocks that it would have by itself, so its numbers are those of its own sweep, bit for bit.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cuda.arrays import DeviceArray
from fastact.cuda.driver import active, launcher, processors, stream_at
from fastact.cuda.instructions import THREADS
from fastact.cuda.kernels import TABLE_WORDS, many_kernel
from fastact.cuda.layouts import FLAT, Bounds, blocks_at_once, plan, work_bounds
from fastact.cuda.sweep import states
from fastact.cuda.workspace import give_back, take_workspace

__all__ = ["Launch"]


@functools.cache
def _kernel(name: str, device: int) -> Callable[..., None]:
    return launcher(many_kernel(name), device, THREADS, blocks_at_once(ELEMENT_TYPES[name], FLAT))


class Launch:
    """A sweep under way of at least one flat tensor, none empty, of one element type, on one device and stream."""

    def __init__(self, xs: Sequence[DeviceArray], bounds: Bounds) -> None:
        self._xs = xs  # their memory must stay until it is swept
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
            self._workspace = workspace = take_workspace(device)
            lines = workspace.copied(table, stream)
            memory = workspace.memory(total, len(xs), len(xs), stream)
            _kernel(name, device)(total, stream, lines, len(xs), *work_bounds(bounds, name), *memory)
            self._rows = workspace.rows(len(xs), stream)

    def states(self) -> list[arithmetic.State]:
        """The tensors' states, once the stream has come so far; to be called once."""
        with active(self._device):
            self._stream.synchronize()
        found = states(self._rows, self._name)
        give_back(self._workspace, self._device)
        return found
