"""How a tensor is shared out: where a neuron's elements lie, which threads fold them, and on how many blocks."""

import functools
from typing import Final, NamedTuple

import numpy as np

from fastact.arithmetic.element_types import ELEMENT_TYPES, ElementType
from fastact.cuda.instructions import THREADS, WARP

#: (lo, hi, zero_tol): elements outside of [lo, hi] are saturated, those with |x| <= zero_tol are zeros.
Bounds = tuple[float, float, float]

#: Bytes that a thread loads at once.
_PACKET: Final = 16


class Layout(NamedTuple):
    """Where a neuron's elements lie, and how a block's threads share them out."""

    name: str
    packed: bool  #: whether 16 bytes are loaded at a time; otherwise one element
    beside: int  #: neurons that a block folds at a time, in threads beside each other


#: One neuron, all elements side by side; the first may lie anywhere.
FLAT: Final = Layout("flat", packed=True, beside=1)
#: Runs of elements, each a multiple of 16 bytes that begins at one.
RUNS: Final = Layout("runs", packed=True, beside=1)
#: Runs of elements anywhere.
ODD_RUNS: Final = Layout("odd runs", packed=False, beside=1)
#: Neighbours in memory belong to neighbouring neurons: a warp reads a row of 32. Packets of several columns a thread
#: would need registers for the sums of each.
COLUMNS: Final = Layout("columns", packed=False, beside=WARP)
LAYOUTS: Final = (FLAT, RUNS, ODD_RUNS, COLUMNS)


def loads_of(element: ElementType, layout: Layout) -> tuple[int, int]:
    """Elements of a load, and loads under way in a thread: 16 elements in registers (32 of one byte, 8 of eight)."""
    width = _PACKET // element.storage.itemsize if layout.packed else 1
    wanted = 8 if element.work is np.float64 else 16
    return width, max(wanted // width, 2 if width > 4 else 4)


def blocks_at_once(element: ElementType, layout: Layout) -> int:
    """How many blocks a multiprocessor has registers for, if none is to be spilt.

    As ptxas 13.5 says for sm_90: the flat sweep of elements of 2 or 4 bytes has room in 64 registers a thread (at most
    8 bytes spilt), the others in 128 (of int64 in columns 48 bytes spilt, where a row tells of its neurons).
    """
    return 4 if layout is FLAT and element.work is not np.float64 and element.storage.itemsize > 1 else 2


class Plan(NamedTuple):
    """How a tensor is swept."""

    layout: Layout
    groups: int  #: neurons, or `Layout.beside` of them, that blocks of their own sweep
    parts: int  #: blocks of each group
    numbers: tuple[int, int, int, int, int, int, int]  #: the kernel's arguments from `head` to `apart`

    @property
    def partial_rows(self) -> int:
        """Rows that the blocks leave to the last one."""
        return self.groups * self.parts * self.layout.beside if self.parts > 1 else 0


def plan(address: int, name: str, shape: tuple[int, int, int], processors: int) -> Plan:
    """The way to sweep a contiguous [outer, neurons, inner] array, not empty, on a device of so many processors.

    It depends on nothing else, so a tensor's numbers are equal each time, bit for bit.
    """
    outer, neurons, inner = shape
    element = ELEMENT_TYPES[name]
    itemsize = element.storage.itemsize
    run = inner * itemsize
    if neurons == 1:
        layout = FLAT
    elif inner == 1:
        layout = COLUMNS
    else:
        layout = ODD_RUNS if run % _PACKET or address % _PACKET else RUNS
    width, loads = loads_of(element, layout)
    head = edges = 0
    packets = outer * inner // width
    if layout is FLAT:
        size = outer * inner
        head = min(-address % _PACKET // itemsize, size)
        packets = (size - head) // width
        edges = size - packets * width
    groups = -(-neurons // layout.beside)
    # As many blocks as give each thread one round of loads, while the device has room for them at once: fewer would not
    # hide the latency of memory.
    round_of_loads = THREADS // layout.beside * loads
    parts = max(1, min(-(-packets // round_of_loads), blocks_at_once(element, layout) * processors // groups))
    return Plan(layout, groups, parts, (head, edges, packets, neurons, max(1, inner // width), neurons * run, run))


def work_bounds(bounds: Bounds, name: str) -> Bounds:
    """The bounds in the element type's work precision, rounded such that no comparison of an element changes."""
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
