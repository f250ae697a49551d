"""How a sweep per neuron is split into tasks: what is the same for all arrays of one shape is a `Plan`, made once."""

import functools
import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cpu.columns import COLUMNS
from fastact.cpu.jit import c_entry
from fastact.cpu.neuron_kernels import BOUNDS, FIRST_STATE, HEAD_WORDS, LAYOUT, Layout, fold_kernel, run_kernel
from fastact.cpu.states import STATE_WORDS, state_struct

__all__ = ["Plan", "plan_neurons"]

#: Columns that a narrow matrix is made wide to, and those of a small one (in elements), which 512 would take up to a
#: third longer: there is more to merge in the end.
_BESIDE: Final = 512
_BESIDE_SMALL: Final = 64
_SMALL_MATRIX: Final = 1 << 20
#: A sweep has at most this many tasks: enough to share, few enough that merging them costs little.
_MAX_TASKS: Final = 16
_TASK_ELEMENTS: Final = 1 << 18
#: Bytes side by side that a task for some channels reads, at least.
_TASK_BYTES: Final = 1 << 15
#: Elements from which on a sweep has two parts at least, and elements of a neuron.
_HALVED_FROM: Final = 1 << 16
_HALVED_COLUMN: Final = 512


class Plan(NamedTuple):
    """What is the same in every sweep of arrays of one shape and element type with the same options.

    Attributes:
        head: with which the memory begins (`cpu.neuron_kernels`).
        begin: the address of that.
        words: of the memory.
        fold: does tasks, given the memory's address, the first task and the task after the last.
        entry: the same for machine code to call.
        run: has that done and merges what was found.
        total: reads the state of all neurons from the memory.
        tasks: how many there are.
        nbytes: of the array.
        itemsize: of the array.
        neurons: of the array.
        slots: as in the layout.
        extremes: dtype of min and max.
        bounds: lo, hi and zero_tol.
    """

    head: npt.NDArray[np.int64]
    begin: int
    words: int
    fold: Callable[[int, int, int], None]
    entry: Any
    run: Callable[..., None]
    total: struct.Struct
    tasks: int
    nbytes: int
    itemsize: int
    neurons: int
    slots: int
    extremes: np.dtype[Any]
    bounds: tuple[float, float, float]


@functools.lru_cache(maxsize=4096)
def plan_neurons(name: str, outer: int, neurons: int, inner: int, lo: float, hi: float, tol: float) -> Plan:
    """How to sweep contiguous [outer, neurons, inner] arrays of the storage dtype of the element type `name`.

    None of the sizes is 0.
    """
    element_type = ELEMENT_TYPES[name]
    size, itemsize = outer * neurons * inner, element_type.storage.itemsize
    # A narrow matrix is folded as a wide one: several rows side by side, whose columns are merged at the end. That pays
    # where it fills the vectors, or where the matrix is tall.
    across = _BESIDE if size >= _SMALL_MATRIX else _BESIDE_SMALL
    beside = 1 if inner > 1 else max(1, min(across // neurons, max(-(-16 // neurons), outer // 256), outer))
    rows, rest = divmod(outer, beside)
    columns = neurons * beside
    wide = min(columns, COLUMNS)
    if inner > 1:
        # Whole channels for each task, so that there is little to merge, and enough side by side to be streamed.
        wide = min(wide, max(-(-neurons // _MAX_TASKS), -(-_TASK_BYTES // (inner * itemsize))))
    blocks = -(-columns // wide)
    # Two halves at least, as two threads have computed them, where a column is long enough to be worth it.
    halves = 2 if size >= _HALVED_FROM and rows * inner >= _HALVED_COLUMN else 1
    parts = max(halves, min(size // _TASK_ELEMENTS, _MAX_TASKS) // blocks)
    tall = -(-rows // parts)
    parts = -(-rows // tall)
    slots = parts * beside + (rest > 0)
    tasks = parts * blocks + (rest > 0)
    head = np.zeros(HEAD_WORDS, np.int64)
    head[BOUNDS : BOUNDS + 3].view(np.float64)[:] = lo, hi, tol
    head[LAYOUT:] = Layout(outer, neurons, inner, rows, columns, rest, tall, wide, blocks, parts, slots, tasks)
    fold = fold_kernel(name, runs=inner > 1)
    return Plan(
        head=head,
        begin=head.ctypes.data,
        words=FIRST_STATE + STATE_WORDS * slots * neurons,
        fold=fold,
        entry=c_entry(fold),
        run=run_kernel(element_type.extreme),
        total=state_struct(element_type.extreme),
        tasks=tasks,
        nbytes=size * itemsize,
        itemsize=itemsize,
        neurons=neurons,
        slots=slots,
        extremes=element_type.extreme,
        bounds=(lo, hi, tol),
    )
