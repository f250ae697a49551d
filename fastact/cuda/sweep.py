"""Sweeps one tensor or many on a GPU: which kernel, on how many blocks, with which memory, and the rows' way back.

A sweep is one launch and one copy of its rows, both on the owner's stream, and then the host waits for that stream
alone. Many tensors in one launch pay for the launch and the way back once.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cpu.sweep import merge_kernel
from fastact.cpu.workspace import NeuronStates
from fastact.cuda import framework_sweep
from fastact.cuda.arrays import DeviceArray
from fastact.cuda.driver import active, launcher, processors, stream_at
from fastact.cuda.frameworks import Framework
from fastact.cuda.instructions import THREADS
from fastact.cuda.kernels import TABLE_WORDS, many_kernel, sweep_kernel
from fastact.cuda.layouts import FLAT, Bounds, Layout, blocks_at_once, plan, work_bounds
from fastact.cuda.proof import stand_in
from fastact.cuda.rows import EXTREMES, FLOATS, INTEGERS, STATE_WORDS, state_format, stored_extreme
from fastact.cuda.workspace import Workspace, give_back, take_workspace


@functools.cache
def _kernel(name: str, layout: Layout, device: int, *, many: bool = False) -> Callable[..., None]:
    kernel = many_kernel(name) if many else sweep_kernel(name, layout)
    return launcher(kernel, device, THREADS, blocks_at_once(ELEMENT_TYPES[name], layout))


def launch(workspace: Workspace, x: DeviceArray, shape: tuple[int, int, int], bounds: Bounds) -> Any:
    """Has an [outer, neurons, inner] array, not empty, swept on its stream, on the current device; returns the stream.

    The neurons' rows will be in the workspace.
    """
    address = x.array.ctypes.data
    layout, groups, parts, numbers = way = plan(address, x.name, shape, processors(x.device))
    stream = stream_at(x.stream, x.device)
    memory = workspace.memory(way.partial_rows, groups, shape[1], stream)
    _kernel(x.name, layout, x.device)(
        groups * parts, stream, address, *numbers, parts, *work_bounds(bounds, x.name), *memory
    )
    return stream


def _swept(x: DeviceArray, shape: tuple[int, int, int], bounds: Bounds, read: Callable[[Any], Any]) -> Any:
    with active(x.device):
        workspace = take_workspace(x.device)
        stream = launch(workspace, x, shape, bounds)
        rows = workspace.rows(shape[1], stream)
        stream.synchronize()
        result = read(rows)
        give_back(workspace, x.device)
    return result


def states(rows: npt.NDArray[np.int64], name: str) -> list[arithmetic.State]:
    """The states in the rows, int64[count, ROW_WORDS], of tensors of the element type `name`."""
    words = rows[:, :STATE_WORDS].tobytes()
    return list(state_format(stored_extreme(name)).iter_unpack(words))


def sweep(x: DeviceArray, bounds: Bounds) -> arithmetic.State:
    """The state of elements that lie side by side, at least one, once their stream has come so far."""
    by = stand_in(x, (x.array.size, 1, 1), "sweep")
    return native_sweep(x, bounds) if by is None else framework_sweep.state(by, x, bounds)


def native_sweep(x: DeviceArray, bounds: Bounds) -> arithmetic.State:
    """The same by a kernel."""
    state: arithmetic.State = _swept(x, (x.array.size, 1, 1), bounds, lambda rows: states(rows, x.name)[0])
    return state


def sweep_channels(x: DeviceArray, bounds: Bounds) -> NeuronStates:
    """The states of the neurons of a contiguous [outer, neurons, inner] array that is not empty."""
    shape: tuple[int, int, int] = x.array.shape
    by = stand_in(x, shape, "sweep")
    return native_channels(x, bounds) if by is None else framework_sweep.sweep(by, x, shape, bounds)


def native_channels(x: DeviceArray, bounds: Bounds) -> NeuronStates:
    """The same by a kernel."""
    dtype = ELEMENT_TYPES[x.name].extreme

    def read(rows: npt.NDArray[np.int64]) -> NeuronStates:
        counts = rows[:, INTEGERS].T.copy()
        moments = rows.view(np.float64)[:, FLOATS].T.copy()
        extremes = rows.view(stored_extreme(x.name))[:, EXTREMES].T.astype(dtype, order="C")
        total = merge_kernel(dtype)(counts[:, None], moments[:, None], extremes[:, None])
        return NeuronStates(counts, moments, extremes, total)

    outer, neurons, inner = x.array.shape
    arrays: NeuronStates = _swept(x, (outer, neurons, inner), bounds, read)
    return arrays


class ManySweep(Protocol):
    """A sweep under way of at least one flat tensor, none empty, of one element type, on one device and stream."""

    def states(self) -> list[arithmetic.State]:
        """The tensors' states, once the stream has come so far; to be called once."""


def sweep_many(xs: Sequence[DeviceArray], bounds: Bounds) -> ManySweep:
    """Begins such a sweep."""
    by = stand_in(xs[0], (xs[0].array.size, 1, 1), "many")
    return NativeManySweep(xs, bounds) if by is None else _FrameworkManySweep(by, xs, bounds)


class _FrameworkManySweep:
    """By a framework's operations, tensor by tensor."""

    def __init__(self, by: Framework, xs: Sequence[DeviceArray], bounds: Bounds) -> None:
        self._xs = xs
        self._sweeps = [framework_sweep.launch(by, x, (x.array.size, 1, 1), bounds) for x in xs]

    def states(self) -> list[arithmetic.State]:
        """The tensors' states, once the stream has come so far."""
        return [framework_sweep.waited(swept).total for swept in self._sweeps]


class NativeManySweep:
    """By a kernel.

    A table in device memory holds for each tensor the arguments of `sweep_kernel` and the number of its first block.
    Each tensor has as many blocks as alone, so its numbers are those of its own sweep, bit for bit.
    """

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
            _kernel(name, FLAT, device, many=True)(total, stream, lines, len(xs), *work_bounds(bounds, name), *memory)
            self._rows = workspace.rows(len(xs), stream)

    def states(self) -> list[arithmetic.State]:
        """The tensors' states, once the stream has come so far; to be called once."""
        with active(self._device):
            self._stream.synchronize()
        found = states(self._rows, self._name)
        give_back(self._workspace, self._device)
        return found
