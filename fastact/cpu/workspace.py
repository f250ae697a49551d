"""Runs a sweep per neuron: how it is split into tasks, in which memory, and on how many threads.

What is the same for all arrays of one shape is a `Plan`, made once. As in `cpu.sweep`, the answer is the same, bit for
bit, for any number of threads.
"""

import functools
import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.arithmetic.state import N_COUNTS, N_MOMENTS, RESTS
from fastact.cpu import columns as column_folds
from fastact.cpu import neuron_kernels as kernels
from fastact.cpu import runs as run_folds
from fastact.cpu.columns import COLUMNS, FROM_MEMORY
from fastact.cpu.jit import c_entry
from fastact.cpu.neuron_kernels import FIRST_STATE, HEAD_WORDS, Layout
from fastact.cpu.openmp import fold_by_team
from fastact.cpu.states import STATE_WORDS, state_struct, states_in
from fastact.cpu.sweep import PARALLEL_FROM, share
from fastact.cpu.threads import get_num_threads

#: Columns that a narrow matrix is made wide to, by its elements: more of them would take small ones, which have more to
#: merge in the end, up to twice as long; fewer, long ones, whose rows are streams of memory, a quarter longer.
_BESIDE: Final = ((1 << 24, 2048), (1 << 20, 512), (0, 64))
#: A sweep has at most this many tasks: enough to share, few enough that merging them costs little.
_MAX_TASKS, _TASK_ELEMENTS = 16, 1 << 18
#: Rows and elements of a part, but for halves, and columns of a block, that a matrix is not split below to have more
#: tasks. What a part leaves for each column goes to memory and comes back to be merged, and fewer streams at once are
#: faster: (4096, 4096) float32 in 16 parts takes two thirds longer than in 2, (16000, 4000) a fifth longer than in 4.
_PART_ROWS, _PART_ELEMENTS, _PART_COLUMNS = 2048, 1 << 24, 1024
#: Bytes side by side that a task for some channels reads, at least, and where they come from memory: the CPU asks for
#: them ahead, and begins anew behind every gap.
_TASK_BYTES, _STREAM_BYTES = 1 << 15, 1 << 18
#: Elements from which on a sweep has two parts at least, and elements of a neuron.
_HALVED_FROM, _HALVED_COLUMN = 1 << 16, 512


class _Scratch:
    """Memory for the threads of a sweep to work in, from the beginning of a line of the cache on."""

    __slots__ = ("_memory", "address", "nbytes")

    def __init__(self, nbytes: int) -> None:
        self._memory = np.empty(nbytes + 64, np.uint8)
        self.address = -(-self._memory.ctypes.data // 64) * 64
        self.nbytes = nbytes


#: Memory that sweeps have worked in, for the next ones, and how much is kept: one for each thread that sweeps at once.
_free: list[_Scratch] = []
_KEPT: Final = 4


class Plan(NamedTuple):
    """What is the same in every sweep of arrays of one shape and element type with the same options."""

    head: npt.NDArray[np.int64]  # with which the memory begins (`cpu.neuron_kernels`)
    begin: int  # the address of that
    words: int  # of the memory
    fold: Callable[[int, int, int], None]  # does tasks: (the memory's address, the first task, the task after the last)
    entry: Any  # the same for machine code to call
    run: Callable[..., None]  # has that done and merges what was found
    total: struct.Struct  # reads the state of all neurons from the memory
    tasks: int
    scratch: int  # bytes to work in
    nbytes: int  # of the array, as the next two
    itemsize: int
    neurons: int
    slots: int  # as in the layout
    extremes: np.dtype[Any]  # of min and max
    bounds: tuple[float, float, float]  # lo, hi and zero_tol


@functools.lru_cache(maxsize=4096)
def plan_neurons(name: str, outer: int, neurons: int, inner: int, lo: float, hi: float, tol: float) -> Plan:
    """How to sweep contiguous [outer, neurons, inner] arrays of the storage dtype of the element type `name`.

    None of the sizes is 0.
    """
    element_type = ELEMENT_TYPES[name]
    size, itemsize = outer * neurons * inner, element_type.storage.itemsize
    # A narrow matrix is folded as a wide one: several rows side by side, whose columns are merged at the end. That pays
    # where it fills the vectors, or where the matrix is tall.
    across = next(columns for elements, columns in _BESIDE if size >= elements)
    beside = 1 if inner > 1 else max(1, min(across // neurons, max(-(-16 // neurons), outer // 256), outer))
    rows, rest = divmod(outer, beside)
    columns = neurons * beside
    # Two halves at least, as two threads have computed them, where a column is long enough to be worth it.
    halves = 2 if size >= _HALVED_FROM and rows * inner >= _HALVED_COLUMN else 1
    wanted = max(1, min(size // _TASK_ELEMENTS, _MAX_TASKS))
    # An even number, for two threads.
    parts = max(halves, min(wanted, rows // _PART_ROWS, -(-size // (2 * _PART_ELEMENTS)) * 2))
    # Where threads would be idle columns are split as well: their numbers do not depend on that. The next thread comes
    # late for a small matrix, and finds something to do if there are more tasks; rows of memory are best left whole.
    threads = get_num_threads() * (1 if size * itemsize >= 4 * FROM_MEMORY else 4)
    wide = min(columns, COLUMNS, max(_PART_COLUMNS, -(-columns * parts // min(wanted, threads))))
    if inner > 1:
        # Whole channels for each task, so that there is little to merge, and enough side by side to be streamed.
        stretch = _STREAM_BYTES if size * itemsize >= FROM_MEMORY else _TASK_BYTES
        wide = min(wide, max(-(-neurons // _MAX_TASKS), -(-stretch // (inner * itemsize))))
    blocks = -(-columns // wide)
    if inner > 1:
        parts = max(halves, wanted // blocks)
    tall = -(-rows // parts)
    parts = -(-rows // tall)
    slots = parts * beside + (rest > 0)
    tasks = parts * blocks + (rest > 0)
    if inner > 1:
        scratch = run_folds.scratch_bytes(wide, inner)
    else:
        # What is left over of a row is narrow: a column of it is at most as long as the row is wide.
        scratch = column_folds.scratch_bytes(max(tall, rest), max(wide, neurons if rest else 0), itemsize)
    head = np.zeros(HEAD_WORDS, np.int64)
    head[kernels.BOUNDS : kernels.BOUNDS + 3].view(np.float64)[:] = lo, hi, tol
    head[kernels.LAYOUT :] = Layout(
        outer, neurons, inner, rows, columns, rest, tall, wide, blocks, parts, slots, tasks, scratch
    )  # fmt: skip
    fold = kernels.fold_kernel(name, runs=inner > 1)
    return Plan(
        head=head,
        begin=head.ctypes.data,
        words=FIRST_STATE + STATE_WORDS * slots * neurons,
        fold=fold,
        entry=c_entry(fold),
        run=kernels.run_kernel(element_type.extreme),
        total=state_struct(element_type.extreme),
        tasks=tasks,
        scratch=tasks * scratch,
        nbytes=size * itemsize,
        itemsize=itemsize,
        neurons=neurons,
        slots=slots,
        extremes=element_type.extreme,
        bounds=(lo, hi, tol),
    )


def _scratch(nbytes: int) -> _Scratch:
    """Memory of at least so many bytes that nobody else works in."""
    try:
        scratch = _free.pop()  # no two threads get the same
    except IndexError:
        return _Scratch(nbytes)
    return scratch if scratch.nbytes >= nbytes else _Scratch(nbytes)


class NeuronStates(NamedTuple):
    """The states of all neurons: counts int64[6, neurons], moments float64[4, neurons], extremes [2, neurons].

    Rows in the order of `arithmetic.state`; `total` is the state of all neurons together.
    """

    counts: npt.NDArray[np.int64]
    moments: npt.NDArray[np.float64]
    extremes: npt.NDArray[Any]
    total: arithmetic.State


class NeuronWorkspace:
    """Memory, at `address`, for sweeps by one plan, and what the last of them left there."""

    __slots__ = ("_memory", "address", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._memory = np.empty(plan.words, np.int64)
        self.address = self._memory.ctypes.data

    def sweep(self, x: int, owner: object, *, tensor: bool = False) -> None:
        """Sweeps the array of the planned shape at the address `x`, in memory that `owner` keeps alive.

        `tensor` says that torch has just computed it, by threads that are awake and may share the work.
        """
        plan, address, head, fold = self.plan, self.address, self.plan.begin, self.plan.entry
        scratch = _scratch(plan.scratch)
        place = scratch.address
        if tensor and fold_by_team(address, x, place, plan.begin, plan.entry, plan.tasks, plan.nbytes):
            head = fold = 0
        elif plan.nbytes >= PARALLEL_FROM:
            self._memory[:HEAD_WORDS] = plan.head
            self._memory[kernels.ELEMENTS], self._memory[kernels.SCRATCH] = x, place
            # A thread that an interrupt leaves behind still has the owner, and all memory that it uses.
            share(lambda: (plan.fold(address, kernels.SHARED, 0), owner, self, scratch)[0], plan.nbytes, plan.tasks)
            head = 0
        plan.run(address, head, x, place, fold)
        if len(_free) < _KEPT:
            _free.append(scratch)

    @property
    def total(self) -> arithmetic.State:
        """The state of all neurons together."""
        return self.plan.total.unpack_from(self._memory.data, 8 * kernels.TOTAL)

    def numbers(
        self, saturated_share: float, silence: npt.NDArray[np.int64], weight: int, dead_after: int
    ) -> tuple[Any, ...]:
        """A row's `fields.STATE` and `fields.NEURON`; the arguments are those of `neuron_summary`."""
        row = np.empty(kernels.ROW_WORDS, np.int64)
        write_row = kernels.row_kernel(self.plan.extremes)
        write_row(self.address, saturated_share, silence, weight, dead_after, row)
        return kernels.ROW.unpack(row.data)

    def arrays(self) -> NeuronStates:
        """What was found as arrays, which share the memory."""
        plan = self.plan
        memory = self._memory[FIRST_STATE:]
        counts, moments, extremes = states_in(memory, plan.slots, plan.neurons, plan.extremes)
        return NeuronStates(counts[:, 0], moments[:, 0], extremes[:, 0], self.total)


def sweep_neurons(x: npt.NDArray[Any], name: str, lo: float, hi: float, tol: float) -> NeuronStates | NeuronWorkspace:
    """The states of the neurons of a contiguous [outer, neurons, inner] array of the element type `name`."""
    neurons = x.shape[1]
    if x.size == 0:
        counts = np.zeros((N_COUNTS, neurons), np.int64)
        moments = np.full((N_MOMENTS, neurons), np.nan)
        moments[RESTS] = 0.0
        return NeuronStates(counts, moments, np.array([[np.inf], [-np.inf]]).repeat(neurons, 1), arithmetic.EMPTY)
    workspace = NeuronWorkspace(plan_neurons(name, *x.shape, lo, hi, tol))
    workspace.sweep(x.ctypes.data, x)
    return workspace


def summarize_neurons(
    found: NeuronStates,
    saturated_share: float,
    silence: npt.NDArray[np.int64],
    weight: int,
    dead_after: int,
) -> tuple[int, int, int, int, float, int, float]:
    """`neuron_summary` of what a sweep found."""
    states = (array[:, None] for array in found[:3])
    return kernels.summary_kernel(found.extremes.dtype)(*states, saturated_share, silence, weight, dead_after)
