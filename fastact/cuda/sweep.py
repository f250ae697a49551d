"""Launches the kernels: which layout, on how many blocks, with which memory to work in, and the rows' way back.

A sweep is one launch and one copy of its rows, both on the owner's stream, and then the host waits for that stream
alone. What a sweep works in is lent to it for that long, so sweeps of many threads and streams share a few pieces.
"""

import functools
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact import elements
from fastact.compile import KINDS
from fastact.cuda.arrays import DeviceArray
from fastact.cuda.host import DeviceMemory, active, launcher, pinned, processors, stream_at
from fastact.cuda.kernels import (
    COLUMNS,
    FLAT,
    ODD_RUNS,
    ROW_BYTES,
    ROW_WORDS,
    RUNS,
    THREADS,
    Layout,
    lane_plan,
    sweep_kernel,
)
from fastact.sweep import ChannelArrays, merge_kernel

__all__ = ["Plan", "plan", "sweep", "sweep_channels", "work_bounds"]

Bounds = tuple[float, float, float]

#: Blocks at a time for each multiprocessor: more have no registers, fewer do not hide the way to memory.
_BLOCKS: Final = 4
_PACKET: Final = 16
#: What is kept for later sweeps; the few that need more get it for themselves.
_KEPT_BYTES: Final = 1 << 24


class Plan(NamedTuple):
    """How a tensor is swept.

    Attributes:
        layout: which kernel.
        groups: neurons, or `Layout.beside` of them, that blocks of their own sweep.
        parts: blocks of each group.
        numbers: the kernel's arguments from `head` to `apart`.
    """

    layout: Layout
    groups: int
    parts: int
    numbers: tuple[int, int, int, int, int, int, int]

    @property
    def partial_rows(self) -> int:
        """Rows that the blocks leave to the last one."""
        return self.groups * self.parts * self.layout.beside if self.parts > 1 else 0


def work_bounds(bounds: Bounds, name: str) -> Bounds:
    """(lo, hi, zero_tol) in the kind's work precision, rounded such that no comparison of an element changes."""
    if KINDS[name].work is np.float64:
        return bounds
    return _float32_bounds(*bounds)


@functools.lru_cache(maxsize=64)
def _float32_bounds(lo: float, hi: float, tol: float) -> Bounds:
    inf = np.float32(np.inf)
    with np.errstate(over="ignore", under="ignore"):
        low, high, near = np.float32(lo), np.float32(hi), np.float32(tol)
        # As Python's floats: NumPy would round the other side to float32 too.
        low = np.nextafter(low, inf) if float(low) < lo else low
        high = np.nextafter(high, -inf) if float(high) > hi else high
        near = np.nextafter(near, -inf) if float(near) > tol else near
    return float(low), float(high), float(near)


def plan(address: int, name: str, shape: tuple[int, int, int], processors: int) -> Plan:
    """The way to sweep a contiguous [outer, neurons, inner] array, not empty, on a device of so many processors.

    It depends on nothing else, so a tensor's numbers are the same, bit for bit, each time.
    """
    outer, neurons, inner = shape
    kind = KINDS[name]
    itemsize = kind.storage.itemsize
    run = inner * itemsize
    if neurons == 1:
        layout = FLAT
    elif inner == 1:
        layout = COLUMNS
    else:
        layout = ODD_RUNS if run % _PACKET or address % _PACKET else RUNS
    width, loads = lane_plan(kind, layout)
    head = edges = 0
    packets = outer * inner // width
    if layout is FLAT:
        size = outer * inner
        head = min(-address % _PACKET // itemsize, size)
        packets = (size - head) // width
        edges = size - packets * width
    groups = -(-neurons // layout.beside)
    # As many blocks as give each thread one round of loads, while the device has room for them at once.
    round_of_loads = THREADS // layout.beside * loads
    parts = max(1, min(-(-packets // round_of_loads), _BLOCKS * processors // groups))
    return Plan(layout, groups, parts, (head, edges, packets, neurons, max(1, inner // width), neurons * run, run))


@functools.cache
def _kernel(name: str, layout: Layout, device: int) -> Callable[..., None]:
    return launcher(sweep_kernel(name, layout), device, THREADS)


class _Desk:
    """What one sweep at a time works in, on one device: partial rows, tickets, the rows there and their copy here."""

    def __init__(self) -> None:
        self._partial: DeviceMemory | None = None
        self._tickets: DeviceMemory | None = None
        self._out: DeviceMemory | None = None
        self._rows: npt.NDArray[np.int64] | None = None

    @property
    def nbytes(self) -> int:
        pieces = (self._partial, self._tickets, self._out)
        return sum(piece.nbytes for piece in pieces if piece is not None)

    def sweep(self, x: DeviceArray, shape: tuple[int, int, int], bounds: Bounds) -> npt.NDArray[np.int64]:
        """The neurons' rows, int64[neurons, ROW_WORDS], of pinned memory that the next sweep overwrites."""
        neurons = shape[1]
        address = x.array.ctypes.data
        layout, groups, parts, numbers = way = plan(address, x.name, shape, processors(x.device))
        stream = stream_at(x.stream, x.device)
        work = self._partial = _room(self._partial, way.partial_rows * ROW_BYTES, stream)
        # The last block of each group puts its ticket back to zero.
        tickets = self._tickets = _room(self._tickets, groups * 8, stream, zeroed=True)
        out = self._out = _room(self._out, neurons * ROW_BYTES, stream)
        if self._rows is None or len(self._rows) < neurons * ROW_WORDS:
            self._rows = pinned(out.nbytes // 8)
        rows = self._rows[: neurons * ROW_WORDS]
        memory = (work.address, tickets.address, out.address)
        _kernel(x.name, layout, x.device)(
            groups * parts, stream, address, *numbers, parts, *work_bounds(bounds, x.name), *memory
        )
        out.copy_to(rows, stream)
        stream.synchronize()
        return rows.reshape(neurons, ROW_WORDS)


def _room(memory: DeviceMemory | None, nbytes: int, stream: Any, *, zeroed: bool = False) -> DeviceMemory:
    """`memory`, or a larger piece where it is too small: twice as large, while that is little, so growing ends."""
    if memory is not None and memory.nbytes >= nbytes:
        return memory
    return DeviceMemory(max(nbytes, min(2 * nbytes, _KEPT_BYTES // 4), ROW_BYTES), stream, zeroed=zeroed)


@functools.cache
def _desks(device: int) -> deque[_Desk]:
    """Those that no sweep uses now. `pop` and `append` of a deque need no lock."""
    return deque()


def _swept(x: DeviceArray, shape: tuple[int, int, int], bounds: Bounds, read: Callable[[Any], Any]) -> Any:
    desks = _desks(x.device)
    with active(x.device):
        try:
            desk = desks.pop()
        except IndexError:
            desk = _Desk()
        # After an error it is not put back: nobody knows what still writes to it.
        result = read(desk.sweep(x, shape, bounds))
        if desk.nbytes <= _KEPT_BYTES:
            desks.append(desk)
    return result


def _extremes(rows: npt.NDArray[np.int64], name: str) -> npt.NDArray[Any]:
    if name in ("int64", "uint64"):
        return rows.view(name)[:, 9:11]
    return rows.view(np.float64)[:, 9:11]


def sweep(x: DeviceArray, bounds: Bounds) -> elements.State:
    """The state of elements that lie side by side, not none, when their stream has come so far."""

    def read(rows: npt.NDArray[np.int64]) -> elements.State:
        moments = rows.view(np.float64)[0]
        counts = rows[0, 0:6].tolist()
        ends = _extremes(rows, x.name)[0].tolist()
        return (*counts, *moments[6:9].tolist(), *ends, float(moments[11]))

    state: elements.State = _swept(x, (x.array.size, 1, 1), bounds, read)
    return state


def sweep_channels(x: DeviceArray, bounds: Bounds) -> ChannelArrays:
    """The states of the neurons of a contiguous [outer, neurons, inner] array that is not empty."""
    dtype = np.dtype(x.name) if x.name in ("int64", "uint64") else np.dtype(KINDS[x.name].work)

    def read(rows: npt.NDArray[np.int64]) -> ChannelArrays:
        counts = rows[:, 0:6].T.copy()
        moments = rows.view(np.float64)[:, [6, 7, 8, 11]].T.copy()
        extremes = _extremes(rows, x.name).T.astype(dtype)
        total = merge_kernel(dtype)(counts[:, None], moments[:, None], extremes[:, None])
        return ChannelArrays(counts, moments, extremes, total)

    outer, neurons, inner = x.array.shape
    arrays: ChannelArrays = _swept(x, (outer, neurons, inner), bounds, read)
    return arrays
