"""Runs the kernels of a sweep per neuron: how it is split, on how many threads, and in which memory.

What is the same for all arrays of one shape is a `Plan`, made once. A sweep works and leaves its results in one block
of memory, of which machine code is told the address and nothing else: in a small layer most of the time went into
handing over arrays, and in a training step, whose data drive all else out of the caches, each object that is touched
costs. As in `sweep`, the answer is the same, bit for bit, for any number of threads.
"""

import functools
import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cpu.columns import COLUMNS, fold_columns, fold_runs, merge_parts, survey_neurons
from fastact.cpu.jit import at_address, c_ask, c_call, c_entry, carve, exact_jit, fetch_add, kernel
from fastact.cpu.sweep import PARALLEL_FROM, array_type, share
from fastact.cpu.threads import Team, get_num_threads
from fastact.fields import NEURON, ROW_FORMAT, STATE

__all__ = ["ChannelArrays", "Plan", "Swept", "plan_channels", "survey", "sweep_channels", "warmup"]

#: Bytes from which a sweep is shared with the team that has computed the tensor: they are awake, it costs some 3 µs.
_TEAM_FROM: Final = 1 << 17

#: Columns that a narrow matrix is made wide to, and those of a small one (in elements), which 512 would take up to a
#: third longer: there is more to merge in the end.
_BESIDE: Final = 512
_BESIDE_SMALL: Final = 64
_SMALL_MATRIX: Final = 1 << 20
#: A sweep has at most this many tasks: enough to share, few enough that merging them costs little.
_MAX_TASKS: Final = 16
_TASK_ELEMENTS: Final = 1 << 18
#: Bytes that a task for some channels reads at a stretch, at least.
_STRETCH_BYTES: Final = 1 << 15
#: Elements from which on a sweep has two parts at least, and elements of a neuron.
_HALVED_FROM: Final = 1 << 16
_HALVED_COLUMN: Final = 512

_F8: Final = types.float64
_I8: Final = types.int64
_WORDS: Final = array_type(np.int64, 1, "C")


class ChannelArrays(NamedTuple):
    """The states of all neurons: counts int64[6, neurons], moments float64[4, neurons], extremes [2, neurons].

    Rows in the order of `fields.STATE`, the mean's rest last; `total` is the state of all neurons together.
    """

    counts: npt.NDArray[np.int64]
    moments: npt.NDArray[np.float64]
    extremes: npt.NDArray[Any]
    total: arithmetic.State


class _Layout(NamedTuple):
    """How the sweep of an [outer, neurons, inner] array is split into tasks, and where their results go.

    `rows` of `columns` side by side are shared out in `blocks` of `wide` columns and in parts of `tall` rows. Where
    such a row is several of the array's, what is left over at its end, `rest` rows, is a task of its own. In memory
    each neuron has a column of `slots` states.
    """

    outer: int
    neurons: int
    inner: int
    rows: int
    columns: int
    rest: int
    tall: int
    wide: int
    blocks: int
    parts: int
    slots: int


#: The memory of a sweep, in words of 64 bits. Its head: the number of the next task, first of all, where `fetch_add`
#: finds it; the address of the elements; of a team the addresses of `place` and `size`, or 0; lo, hi and zero_tol; the
#: layout. Then the state of all neurons together, and then the states of each.
_ELEMENTS: Final = 1
_TEAM: Final = 2
_BOUNDS: Final = 4
_LAYOUT: Final = 7
_TOTAL: Final = _LAYOUT + len(_Layout._fields)
_STATES: Final = _TOTAL + len(arithmetic.EMPTY)


class Plan(NamedTuple):
    """What is the same in every sweep of arrays of one shape and kind with the same options.

    Attributes:
        head: with which the memory begins.
        begin: the address of that.
        words: of the memory.
        fold: does tasks until there are none, given the memory's address.
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
    fold: Callable[[int], None]
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


@exact_jit
def _results(address: int, field: int, parts: int, columns: int, extreme: Any) -> Any:
    """Where the results of some parts of `columns` go: counts, moments and extremes, each [fields, parts, columns].

    A field has `field` numbers: one for each slot and neuron.
    """
    memory = at_address(address + 8 * _STATES, (12 * field,), 0)
    return (
        carve(memory, 0, (6, parts, columns), (field, columns, 1), 0),
        carve(memory, 6 * field, (4, parts, columns), (field, columns, 1), 0.0),
        carve(memory, 10 * field, (2, parts, columns), (field, columns, 1), extreme),
    )


@exact_jit
def _neuron_results(address: int, extreme: Any) -> Any:
    """The same by neuron, each [fields, slots, neurons]: contiguous, so that loops over neurons become vectors."""
    layout = at_address(address + 8 * _LAYOUT, (_TOTAL - _LAYOUT,), 0)
    neurons, slots = layout[1], layout[10]
    field, states = slots * neurons, address + 8 * _STATES
    return (
        at_address(states, (6, slots, neurons), 0),
        at_address(states + 48 * field, (4, slots, neurons), 0.0),
        at_address(states + 80 * field, (2, slots, neurons), extreme),
    )


@functools.cache
def _fold_kernel(name: str, *, runs: bool) -> Callable[[int], None]:
    """The entry point that does tasks, which C can call.

    Threads of a team each do a share of the tasks that is theirs by their place: torch has its threads compute a
    tensor in the same shares, so that each finds its own in its cache. Other threads take one task after the other.
    """
    kind = ELEMENT_TYPES[name]
    tag = kind.tag
    stored = kind.storage.type(0)
    itemsize = kind.storage.itemsize
    extreme = kind.extreme.type(0)
    fold = fold_runs if runs else fold_columns

    def fold_tasks(address: int) -> None:
        head = at_address(address, (_TOTAL,), 0)
        bounds = carve(head, _BOUNDS, (3,), (1,), 0.0)
        lo, hi, tol = bounds[0], bounds[1], bounds[2]
        outer, neurons, inner = head[_LAYOUT], head[_LAYOUT + 1], head[_LAYOUT + 2]
        rows, columns, rest = head[_LAYOUT + 3], head[_LAYOUT + 4], head[_LAYOUT + 5]
        tall, wide, blocks = head[_LAYOUT + 6], head[_LAYOUT + 7], head[_LAYOUT + 8]
        parts, slots = head[_LAYOUT + 9], head[_LAYOUT + 10]
        shape = (outer, neurons, inner) if runs else (rows, columns)
        x = at_address(head[_ELEMENTS], shape, stored)
        counts, moments, extremes = _results(address, slots * neurons, parts, columns, extreme)
        end = parts * blocks + (rest > 0)
        together = head[_TEAM] != 0
        if together:
            place, size = c_ask(head[_TEAM]), c_ask(head[_TEAM + 1])
            task, end = place * end // size, (place + 1) * end // size
        else:
            task = fetch_add(head)
        while task < end:
            part = task // blocks
            r0, c0 = part * tall, task % blocks * wide
            r1, c1 = min(r0 + tall, rows), min(c0 + wide, columns)
            if runs:
                fold(x, tag, lo, hi, tol, r0, r1, c0, c1, part, counts, moments, extremes)
            else:
                # One call for both: what it calls is large, and would be compiled twice.
                view, into = x, (counts, moments, extremes)
                if part == parts:
                    view = at_address(head[_ELEMENTS] + rows * columns * itemsize, (rest, neurons), stored)
                    into = _results(address, slots * neurons, slots, neurons, extreme)
                    r0, r1, c0, c1, part = 0, rest, 0, neurons, slots - 1
                fold(view, tag, lo, hi, tol, r0, r1, c0, c1, part, into[0], into[1], into[2])
            task = task + 1 if together else fetch_add(head)

    return kernel(fold_tasks, f"{'runs' if runs else 'columns'}-{name}", types.void(_I8), nogil=True)


@functools.cache
def _run_kernel(dtype: np.dtype[Any]) -> Callable[..., None]:
    """The entry point that begins the memory, has the tasks done and merges what they found.

    `fork`, `place` and `size` are those of a team, or 0: then this thread does what others have left. Without `head`
    the memory was begun by somebody else.
    """
    extreme = dtype.type(0)
    wide = 0.0 if dtype.kind == "f" else extreme

    def run_tasks(address: int, head: int, fold: Any, x: int, fork: int, place: int, size: int, threads: int) -> None:
        if head != 0:
            template = at_address(head, (_TOTAL,), 0)
            memory = at_address(address, (_TOTAL,), 0)
            for i in range(_TOTAL):
                memory[i] = template[i]
            memory[_ELEMENTS] = x
            memory[_TEAM] = place
            memory[_TEAM + 1] = size
        if fork != 0:
            c_call(fork, (fold, address, np.uint32(threads), np.uint32(0)))
        else:
            c_call(fold, (address,))
        counts, moments, extremes = _neuron_results(address, extreme)
        state = merge_parts(counts, moments, extremes)
        total = at_address(address + 8 * _TOTAL, (6,), 0)
        numbers = at_address(address + 8 * (_TOTAL + 6), (6,), 0.0)
        ends = at_address(address + 8 * (_TOTAL + 9), (2,), wide)
        total[0], total[1], total[2] = state[0], state[1], state[2]
        total[3], total[4], total[5] = state[3], state[4], state[5]
        numbers[0], numbers[1], numbers[2], numbers[5] = state[6], state[7], state[8], state[11]
        ends[0], ends[1] = state[9], state[10]

    return kernel(run_tasks, f"run-{dtype}", types.void(*[_I8] * 8), nogil=True)


#: A row as far as a sweep tells it.
_ROW_WORDS: Final = len(STATE) + len(NEURON)
_ROW: Final = struct.Struct("=" + ROW_FORMAT[-_ROW_WORDS:])


@functools.cache
def _row_kernel(dtype: np.dtype[Any]) -> Callable[..., None]:
    """The entry point that makes a row of what a sweep has left in its memory, in the order of `fields`."""
    extreme = dtype.type(0)
    wide = 0.0 if dtype.kind == "f" else extreme
    n_state = len(STATE)

    def write_row(
        address: int, silent_share: float, saturated_share: float, silence: Any, after: int, row: Any
    ) -> None:
        counts, moments, extremes = _neuron_results(address, extreme)
        neurons = survey_neurons(
            counts[:, 0], moments[:, 0], extremes[:, 0], silent_share, saturated_share, silence, after
        )
        total = at_address(address + 8 * _TOTAL, (9,), 0)
        ends = at_address(address + 8 * (_TOTAL + 9), (2,), wide)
        numbers = carve(row, 0, (row.size,), (1,), 0.0)
        for i in range(9):
            row[i] = total[i]
        # As floats, also of 64-bit integers, as the log has them.
        numbers[9], numbers[10] = np.float64(ends[0]), np.float64(ends[1])
        row[n_state] = counts.shape[2]
        row[n_state + 1], row[n_state + 2] = neurons[0], neurons[1]
        row[n_state + 3], row[n_state + 4] = neurons[2], neurons[3]
        numbers[n_state + 5] = neurons[4]
        row[n_state + 6] = neurons[5]
        numbers[n_state + 7] = neurons[6]

    return kernel(write_row, f"row-{dtype}", types.void(_I8, _F8, _F8, _WORDS, _I8, _WORDS), nogil=False)


@functools.lru_cache(maxsize=4096)
def plan_channels(name: str, outer: int, neurons: int, inner: int, lo: float, hi: float, tol: float) -> Plan:
    """How to sweep contiguous arrays of the kind's storage dtype of this shape, which has no zeros."""
    kind = ELEMENT_TYPES[name]
    size, itemsize = outer * neurons * inner, kind.storage.itemsize
    # A narrow matrix is folded as a wide one: several rows side by side, whose columns are merged at the end. That pays
    # where it fills the vectors, or where the matrix is tall.
    across = _BESIDE if size >= _SMALL_MATRIX else _BESIDE_SMALL
    beside = 1 if inner > 1 else max(1, min(across // neurons, max(-(-16 // neurons), outer // 256), outer))
    rows, rest = divmod(outer, beside)
    columns = neurons * beside
    wide = min(columns, COLUMNS)
    if inner > 1:
        # Whole channels for each task, so that there is little to merge, and stretches long enough to be streamed.
        wide = min(wide, max(-(-neurons // _MAX_TASKS), -(-_STRETCH_BYTES // (inner * itemsize))))
    blocks = -(-columns // wide)
    # Two halves at least, as two threads have computed them, where a column is long enough to be worth it.
    halves = 2 if size >= _HALVED_FROM and rows * inner >= _HALVED_COLUMN else 1
    parts = max(halves, min(size // _TASK_ELEMENTS, _MAX_TASKS) // blocks)
    tall = -(-rows // parts)
    parts = -(-rows // tall)
    slots = parts * beside + (rest > 0)
    head = np.zeros(_TOTAL, np.int64)
    head[_BOUNDS : _BOUNDS + 3].view(np.float64)[:] = lo, hi, tol
    head[_LAYOUT:] = _Layout(outer, neurons, inner, rows, columns, rest, tall, wide, blocks, parts, slots)
    extremes = kind.extreme
    fold = _fold_kernel(name, runs=inner > 1)
    return Plan(
        head=head,
        begin=head.ctypes.data,
        words=_STATES + 12 * slots * neurons,
        fold=fold,
        entry=c_entry(fold),
        run=_run_kernel(extremes),
        total=struct.Struct("=6q3d" + {"f": "2d", "i": "2q", "u": "2Q"}[extremes.kind] + "d"),
        tasks=parts * blocks + (rest > 0),
        nbytes=size * itemsize,
        itemsize=itemsize,
        neurons=neurons,
        slots=slots,
        extremes=extremes,
        bounds=(lo, hi, tol),
    )


class Swept:
    """Memory for sweeps by one plan, and what the last of them left there.

    Attributes:
        plan: the plan.
        address: of the memory.
    """

    __slots__ = ("_memory", "address", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._memory = np.empty(plan.words, np.int64)
        self.address = self._memory.ctypes.data

    def sweep(self, x: int, owner: object, team: Team | None = None) -> None:
        """Sweeps the array of the planned shape at the address `x`, in memory that `owner` keeps alive.

        A team that has just computed it shares the work from fewer bytes on than threads that are asleep.
        """
        plan, address, head = self.plan, self.address, self.plan.begin
        if team is not None and plan.nbytes >= _TEAM_FROM:
            threads = min(team.most(), get_num_threads(), plan.tasks)
            if threads > 1:
                plan.run(address, head, plan.entry, x, team.fork, team.place, team.size, threads)
                return
        if plan.nbytes >= PARALLEL_FROM:
            self._memory[:_TOTAL] = plan.head
            self._memory[_ELEMENTS] = x
            # A thread that an interrupt leaves behind still has the owner, and both memories that it uses.
            share(lambda: (plan.fold(address), owner, self)[0], plan.nbytes, plan.tasks)
            head = 0
        plan.run(address, head, plan.entry, x, 0, 0, 0, 1)

    @property
    def total(self) -> arithmetic.State:
        """The state of all neurons together."""
        return self.plan.total.unpack_from(self._memory.data, 8 * _TOTAL)

    def numbers(
        self, silent_share: float, saturated_share: float, silence: npt.NDArray[np.int64], after: int
    ) -> tuple[Any, ...]:
        """A row's `fields.STATE` and `fields.NEURON`; the arguments are those of `cpu_channels.survey_neurons`."""
        row = np.empty(_ROW_WORDS, np.int64)
        _row_kernel(self.plan.extremes)(self.address, silent_share, saturated_share, silence, after, row)
        return _ROW.unpack(row.data)

    def arrays(self) -> ChannelArrays:
        """What was found as arrays, which share the memory."""
        plan, states = self.plan, self._memory[_STATES:]
        field = plan.slots * plan.neurons
        counts = states[: 6 * field].reshape(6, plan.slots, plan.neurons)
        moments = states[6 * field : 10 * field].view(np.float64).reshape(4, plan.slots, plan.neurons)
        extremes = states[10 * field :].view(plan.extremes)[: 2 * field].reshape(2, plan.slots, plan.neurons)
        return ChannelArrays(counts[:, 0], moments[:, 0], extremes[:, 0], self.total)


def sweep_channels(x: npt.NDArray[Any], name: str, lo: float, hi: float, tol: float) -> ChannelArrays | Swept:
    """The states of the neurons of a contiguous [outer, neurons, inner] array of the kind's storage dtype."""
    neurons = x.shape[1]
    if x.size == 0:
        counts = np.zeros((6, neurons), np.int64)
        moments = np.full((4, neurons), np.nan)
        moments[3] = 0.0
        return ChannelArrays(counts, moments, np.array([[np.inf], [-np.inf]]).repeat(neurons, 1), arithmetic.EMPTY)
    swept = Swept(plan_channels(name, *x.shape, lo, hi, tol))
    swept.sweep(x.ctypes.data, x)
    return swept


@functools.cache
def _survey_kernel(dtype: np.dtype[Any]) -> Callable[..., tuple[int, int, int, int, float, int, float]]:
    """The entry point of `cpu_channels.survey_neurons` for extremes of this dtype."""

    def survey(
        counts: Any, moments: Any, extremes: Any, silent_share: float, saturated_share: float, silence: Any, after: int
    ) -> Any:
        return survey_neurons(counts, moments, extremes, silent_share, saturated_share, silence, after)

    signature = types.Tuple((*[_I8] * 4, _F8, _I8, _F8))(
        *(array_type(d, 2, readonly=True) for d in (np.int64, np.float64, dtype)), _F8, _F8, _WORDS, _I8
    )
    return kernel(survey, f"survey-{dtype}", signature, nogil=False)


def survey(
    found: ChannelArrays, silent_share: float, saturated_share: float, silence: npt.NDArray[np.int64], after: int
) -> tuple[int, int, int, int, float, int, float]:
    """`cpu_channels.survey_neurons` of what a sweep found."""
    return _survey_kernel(found.extremes.dtype)(*found[:3], silent_share, saturated_share, silence, after)


def warmup(name: str) -> None:
    """Compiles, or loads from disk, every entry point for elements of the kind `name`."""
    dtype = ELEMENT_TYPES[name].extreme
    for runs in (False, True):
        _fold_kernel(name, runs=runs)
    _run_kernel(dtype)
    _row_kernel(dtype)
    _survey_kernel(dtype)
