"""Launches the kernels: which layout, on how many blocks, with which memory to work in, and the rows' way back.

A sweep is one launch and one copy of its rows, both on the owner's stream, and then the host waits for that stream
alone. What a sweep works in is lent to it for that long, so sweeps of many threads and streams share a few pieces.
"""

import functools
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cpu.sweep import merge_kernel
from fastact.cpu.workspace import NeuronStates
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
    blocks_at_once,
    lane_plan,
    sweep_kernel,
)

__all__ = [
    "Bounds",
    "Desk",
    "Plan",
    "give_back",
    "launch",
    "plan",
    "states",
    "sweep",
    "sweep_channels",
    "take_desk",
    "work_bounds",
]

Bounds = tuple[float, float, float]

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
    if ELEMENT_TYPES[name].work is np.float64:
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
    kind = ELEMENT_TYPES[name]
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
    # As many blocks as give each thread one round of loads, while the device has room for them at once: fewer would not
    # hide the way to memory.
    round_of_loads = THREADS // layout.beside * loads
    parts = max(1, min(-(-packets // round_of_loads), blocks_at_once(kind, layout) * processors // groups))
    return Plan(layout, groups, parts, (head, edges, packets, neurons, max(1, inner // width), neurons * run, run))


@functools.cache
def _kernel(name: str, layout: Layout, device: int) -> Callable[..., None]:
    return launcher(sweep_kernel(name, layout), device, THREADS, blocks_at_once(ELEMENT_TYPES[name], layout))


class Desk:
    """What one sweep at a time works in, on one device: partial rows, tickets, the rows there and their copy here.

    And, where many tensors are swept, the table that says where they lie, and what it is copied from.
    """

    def __init__(self) -> None:
        self._partial: DeviceMemory | None = None
        self._tickets: DeviceMemory | None = None
        self._out: DeviceMemory | None = None
        self._rows: npt.NDArray[np.int64] | None = None
        self._table: DeviceMemory | None = None
        self._lines: npt.NDArray[np.int64] | None = None

    @property
    def nbytes(self) -> int:
        """Memory that it holds on the device."""
        pieces = (self._partial, self._tickets, self._out, self._table)
        return sum(piece.nbytes for piece in pieces if piece is not None)

    def memory(self, partial_rows: int, tickets: int, rows: int, stream: Any) -> tuple[int, int, int]:
        """The addresses of as many partial rows, tickets and rows, as kernels want them."""
        self._partial = _room(self._partial, partial_rows * ROW_BYTES, stream)
        # The last block that draws a ticket puts it back to zero.
        self._tickets = _room(self._tickets, tickets * 8, stream, zeroed=True)
        self._out = _room(self._out, rows * ROW_BYTES, stream)
        return self._partial.address, self._tickets.address, self._out.address

    def copied(self, table: npt.NDArray[np.int64], stream: Any) -> int:
        """The address to which a table of numbers is copied when the stream comes to it."""
        self._table = _room(self._table, table.nbytes, stream)
        if self._lines is None or self._lines.size < table.size:
            self._lines = pinned(self._table.nbytes // 8)
        lines = self._lines[: table.size]
        lines[:] = table.reshape(-1)
        self._table.copy_from(lines, stream)
        return self._table.address

    def rows(self, count: int, stream: Any) -> npt.NDArray[np.int64]:
        """int64[count, ROW_WORDS] of pinned memory, which the rows are in when the stream has come so far.

        The next sweep overwrites it.
        """
        assert self._out is not None  # `memory` was asked for before
        if self._rows is None or len(self._rows) < count * ROW_WORDS:
            self._rows = pinned(self._out.nbytes // 8)
        rows = self._rows[: count * ROW_WORDS]
        self._out.copy_to(rows, stream)
        return rows.reshape(count, ROW_WORDS)


def _room(memory: DeviceMemory | None, nbytes: int, stream: Any, *, zeroed: bool = False) -> DeviceMemory:
    """`memory`, or a larger piece where it is too small: twice as large, while that is little, so growing ends."""
    if memory is not None and memory.nbytes >= nbytes:
        return memory
    return DeviceMemory(max(nbytes, min(2 * nbytes, _KEPT_BYTES // 4), ROW_BYTES), stream, zeroed=zeroed)


@functools.cache
def _desks(device: int) -> deque[Desk]:
    """Those that no sweep uses now. `pop` and `append` of a deque need no lock."""
    return deque()


def take_desk(device: int) -> Desk:
    """One that nobody else works at, to be given back; after an error not: nobody knows what still writes to it."""
    try:
        return _desks(device).pop()
    except IndexError:
        return Desk()


def give_back(desk: Desk, device: int) -> None:
    """Lets the next sweep have it, when all that was begun at it is done."""
    if desk.nbytes <= _KEPT_BYTES:
        _desks(device).append(desk)


def launch(desk: Desk, x: DeviceArray, shape: tuple[int, int, int], bounds: Bounds) -> Any:
    """Has an [outer, neurons, inner] array, not empty, swept on its stream, on the current device; returns the stream.

    The neurons' rows will be in the desk's memory.
    """
    address = x.array.ctypes.data
    layout, groups, parts, numbers = way = plan(address, x.name, shape, processors(x.device))
    stream = stream_at(x.stream, x.device)
    memory = desk.memory(way.partial_rows, groups, shape[1], stream)
    _kernel(x.name, layout, x.device)(
        groups * parts, stream, address, *numbers, parts, *work_bounds(bounds, x.name), *memory
    )
    return stream


def _swept(x: DeviceArray, shape: tuple[int, int, int], bounds: Bounds, read: Callable[[Any], Any]) -> Any:
    with active(x.device):
        desk = take_desk(x.device)
        stream = launch(desk, x, shape, bounds)
        rows = desk.rows(shape[1], stream)
        stream.synchronize()
        result = read(rows)
        give_back(desk, x.device)
    return result


#: A row: the numbers of a state in their order, and what fills the line of the cache.
_ROW: Final = struct.Struct("6q6d32x")
_EXACT_ROW: Final = {"int64": struct.Struct("6q3d2qd32x"), "uint64": struct.Struct("6q3d2Qd32x")}


def states(rows: npt.NDArray[np.int64], name: str) -> list[arithmetic.State]:
    """The states in the rows of tensors of the kind `name`."""
    return list(_EXACT_ROW.get(name, _ROW).iter_unpack(rows.tobytes()))


def sweep(x: DeviceArray, bounds: Bounds) -> arithmetic.State:
    """The state of elements that lie side by side, not none, when their stream has come so far."""
    state: arithmetic.State = _swept(x, (x.array.size, 1, 1), bounds, lambda rows: states(rows, x.name)[0])
    return state


def sweep_channels(x: DeviceArray, bounds: Bounds) -> NeuronStates:
    """The states of the neurons of a contiguous [outer, neurons, inner] array that is not empty."""
    exact = x.name in ("int64", "uint64")
    dtype = np.dtype(x.name) if exact else np.dtype(ELEMENT_TYPES[x.name].work)

    def read(rows: npt.NDArray[np.int64]) -> NeuronStates:
        counts = rows[:, :6].T.copy()
        moments = rows.view(np.float64)[:, [6, 7, 8, 11]].T.copy()
        extremes = rows.view(x.name if exact else np.float64)[:, 9:11].T.astype(dtype, order="C")
        total = merge_kernel(dtype)(counts[:, None], moments[:, None], extremes[:, None])
        return NeuronStates(counts, moments, extremes, total)

    outer, neurons, inner = x.array.shape
    arrays: NeuronStates = _swept(x, (outer, neurons, inner), bounds, read)
    return arrays
