"""Runs the kernels: which one, in how many parts, on how many threads.

Every buffer is split into parts by its shape alone, and parts are merged in their order: the answer is the same, bit
for bit, whatever the number of threads. Entry points are compiled (or loaded from disk) when first used, one for
each kind of element.
"""

import functools
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from fastact import elements
from fastact.compile import (
    COMPILED,
    KINDS,
    Kind,
    address_of,
    at_address,
    c_ask,
    c_call,
    c_entry,
    carve,
    exact_jit,
    fetch_add,
    kernel,
    stretch,
)
from fastact.cpu import fold_part
from fastact.cpu_channels import COLUMNS, fold_columns, fold_runs, merge_parts, store, survey_neurons
from fastact.cpu_extras import BUCKET_BITS, TALLIES, fold_details
from fastact.threads import Team, get_num_threads, run_on_threads

__all__ = [
    "PARALLEL_FROM",
    "SMALL",
    "ChannelArrays",
    "Details",
    "Plan",
    "Swept",
    "merge_kernel",
    "plan_channels",
    "share",
    "small_kernel",
    "split",
    "survey",
    "sweep",
    "sweep_channels",
    "sweep_details",
    "sweep_planned",
    "warmup",
]

#: Bytes from which a sweep is shared among threads: what fits a cache is read so fast by one that handing over, some
#: 10 to 40 µs, gains nothing below. Measured by `python -m bench.crossover`.
PARALLEL_FROM: Final = 1 << 22

#: The same for the team that has computed a tensor: some 3 µs.
TEAM_FROM: Final = 1 << 17

#: Elements that are swept in one go, without releasing the interpreter lock: some microseconds.
SMALL: Final = 1 << 16
#: A longer tensor is shared out in 16 parts, or more of 8 MB in float32, or 4096 of whatever length that takes.
_FEW_PARTS: Final = 16
_LONG_PART: Final = 1 << 21
_MAX_PARTS: Final = 4096
#: Columns that a narrow matrix is made wide to, and those of a small one (in elements), which 512 would take up to a
#: third longer: there is more to merge in the end.
_BESIDE: Final = 512
_BESIDE_SMALL: Final = 64
_SMALL_MATRIX: Final = 1 << 20
#: A per-neuron sweep has at most this many tasks: enough to share, few enough that merging them costs little.
_MAX_TASKS: Final = 16
_TASK_ELEMENTS: Final = 1 << 18
#: Bytes that a task for some channels reads at a stretch, at least.
_STRETCH_BYTES: Final = 1 << 15
#: Elements from which on a per-neuron sweep has two parts at least, and elements of a neuron.
_HALVED_FROM: Final = 1 << 16
_HALVED_COLUMN: Final = 512

_F8: Final = types.float64
_I8: Final = types.int64


class ChannelArrays(NamedTuple):
    """The states of all neurons: counts int64[6, neurons], moments float64[4, neurons], extremes [2, neurons].

    Rows in the order of `fields.STATE`, the mean's rest last; `total` is the state of all neurons together.
    """

    counts: npt.NDArray[np.int64]
    moments: npt.NDArray[np.float64]
    extremes: npt.NDArray[Any]
    total: elements.State


def _array(dtype: Any, ndim: int, layout: str = "A", *, readonly: bool = False) -> Any:
    return types.Array(numba.from_dtype(np.dtype(dtype)), ndim, layout, readonly=readonly)


def _extreme_dtype(kind: Kind) -> np.dtype[Any]:
    # Where float64 is too narrow for the elements, min and max stay integers.
    return np.dtype(kind.name) if kind.name in ("int64", "uint64") else np.dtype(kind.work)


def _outputs(dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    return _array(np.int64, 3, "C"), _array(np.float64, 3, "C"), _array(dtype, 3, "C")


def _state_type(dtype: np.dtype[Any]) -> Any:
    extreme = numba.from_dtype(dtype)
    return types.Tuple((*[_I8] * 6, _F8, _F8, _F8, extreme, extreme, _F8))


@functools.cache
def small_kernel(name: str) -> Callable[..., elements.State]:
    """The entry point for a small tensor: (contiguous 1-D storage array, not empty, lo, hi, zero_tol) to a state.

    It holds the interpreter lock, which saves 40 ns: use it for at most `SMALL` elements.
    """
    kind = KINDS[name]
    tag = kind.tag

    def sweep_small(x: Any, lo: float, hi: float, tol: float) -> Any:
        return fold_part(x, tag, lo, hi, tol)

    signature = _state_type(_extreme_dtype(kind))(_array(kind.storage, 1, "C", readonly=True), _F8, _F8, _F8)
    return kernel(sweep_small, f"small-{name}", signature, nogil=False)


@functools.cache
def _parts_kernel(name: str) -> Callable[..., None]:
    kind = KINDS[name]
    tag = kind.tag

    def sweep_parts(
        x: Any, lo: float, hi: float, tol: float, size: int, counter: Any, counts: Any, moments: Any, extremes: Any
    ) -> None:
        while True:
            part = fetch_add(counter)
            if part >= counts.shape[1]:
                return
            start = part * size
            state = fold_part(stretch(x, start, min(size, x.size - start)), tag, lo, hi, tol)
            store(state, counts, moments, extremes, part, 0)

    signature = types.void(
        _array(kind.storage, 1, "C", readonly=True),
        *(_F8, _F8, _F8, _I8, _array(np.int64, 1, "C")),
        *_outputs(_extreme_dtype(kind)),
    )
    return kernel(sweep_parts, f"parts-{name}", signature, nogil=True)


class _Layout(NamedTuple):
    """How a per-neuron sweep of an [outer, neurons, inner] array is split into tasks, and where their results go.

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


#: What a per-neuron sweep works in is one int64 array, so that machine code is handed one address: in a small layer
#: most of the time went into handing over arrays. It begins with a head: the number of the next task; the address of
#: the elements; of a team the addresses of `place` and `size`, or 0; lo, hi and zero_tol; the layout. Then the states.
_NEXT: Final = 0
_ELEMENTS: Final = 1
_TEAM: Final = 2
_BOUNDS: Final = 4
_LAYOUT: Final = 7
_HEAD: Final = _LAYOUT + len(_Layout._fields)


class Plan(NamedTuple):
    """What is the same in every sweep of arrays of one shape and kind with the same options.

    Attributes:
        head: with which the memory begins.
        words: of the memory, an int64[words].
        fold: does tasks until there are none; as machine code has it, an address.
        run: has that done and merges what was found; returns the state of the whole array.
        tasks: how many there are.
        nbytes: of the array.
        itemsize: of the array.
        neurons: of the array.
        slots: as in the layout.
        extremes: dtype of min and max.
    """

    head: npt.NDArray[np.int64]
    words: int
    fold: Any
    run: Callable[..., elements.State]
    tasks: int
    nbytes: int
    itemsize: int
    neurons: int
    slots: int
    extremes: np.dtype[Any]


@exact_jit
def _results(memory: Any, field: int, parts: int, columns: int, extreme: Any) -> Any:
    """Where the results of some parts of `columns` go: counts, moments and extremes, each [fields, parts, columns].

    A field has `field` numbers: one for each slot and neuron.
    """
    return (
        carve(memory, _HEAD, (6, parts, columns), (field, columns, 1), 0),
        carve(memory, _HEAD + 6 * field, (4, parts, columns), (field, columns, 1), 0.0),
        carve(memory, _HEAD + 10 * field, (2, parts, columns), (field, columns, 1), extreme),
    )


@exact_jit
def _neuron_results(address: int, extreme: Any) -> Any:
    """What is in the memory at an address by neuron: counts, moments and extremes, each [fields, slots, neurons]."""
    layout = at_address(address + 8 * _LAYOUT, (_HEAD - _LAYOUT,), 0)
    neurons, slots = layout[1], layout[10]
    field, states = slots * neurons, address + 8 * _HEAD
    return (
        at_address(states, (6, slots, neurons), 0),
        at_address(states + 48 * field, (4, slots, neurons), 0.0),
        at_address(states + 80 * field, (2, slots, neurons), extreme),
    )


@functools.cache
def _fold_kernel(name: str, *, runs: bool) -> Callable[..., None]:
    """The entry point of a per-neuron sweep, for C: the address of its memory is all that it takes.

    Threads of a team each do a share of the tasks that is theirs by their place: torch has its threads compute a
    tensor in the same shares, so that each finds its own in its cache. Other threads take one task after the other.
    """
    kind = KINDS[name]
    tag = kind.tag
    stored = kind.storage.type(0)
    itemsize = kind.storage.itemsize
    extreme = _extreme_dtype(kind).type(0)
    fold = fold_runs if runs else fold_columns

    def fold_tasks(address: int) -> None:
        memory = at_address(address, (_HEAD,), 0)
        bounds = carve(memory, _BOUNDS, (3,), (1,), 0.0)
        lo, hi, tol = bounds[0], bounds[1], bounds[2]
        outer, neurons, inner = memory[_LAYOUT], memory[_LAYOUT + 1], memory[_LAYOUT + 2]
        rows, columns, rest = memory[_LAYOUT + 3], memory[_LAYOUT + 4], memory[_LAYOUT + 5]
        tall, wide = memory[_LAYOUT + 6], memory[_LAYOUT + 7]
        blocks, parts, slots = memory[_LAYOUT + 8], memory[_LAYOUT + 9], memory[_LAYOUT + 10]
        shape = (outer, neurons, inner) if runs else (rows, columns)
        x = at_address(memory[_ELEMENTS], shape, stored)
        counts, moments, extremes = _results(memory, slots * neurons, parts, columns, extreme)
        end = parts * blocks + (rest > 0)
        together = memory[_TEAM] != 0
        if together:
            place, size = c_ask(memory[_TEAM]), c_ask(memory[_TEAM + 1])
            task, end = place * end // size, (place + 1) * end // size
        else:
            task = fetch_add(memory)
        while task < end:
            if not runs and task == parts * blocks:
                last = at_address(memory[_ELEMENTS] + rows * columns * itemsize, (rest, neurons), stored)
                by_neuron = _neuron_results(address, extreme)
                fold(last, tag, lo, hi, tol, 0, rest, 0, neurons, slots - 1, by_neuron[0], by_neuron[1], by_neuron[2])
            else:
                part = task // blocks
                r0, c0 = part * tall, task % blocks * wide
                r1, c1 = min(r0 + tall, rows), min(c0 + wide, columns)
                fold(x, tag, lo, hi, tol, r0, r1, c0, c1, part, counts, moments, extremes)
            task = task + 1 if together else fetch_add(memory)

    return kernel(fold_tasks, f"{'runs' if runs else 'columns'}-{name}", types.void(_I8), nogil=True)


@functools.cache
def _run_kernel(dtype: np.dtype[Any]) -> Callable[..., elements.State]:
    """The entry point that has the tasks done, by a team or by the calling thread, and merges what they found."""
    extreme = dtype.type(0)

    def run_tasks(memory: Any, fold: Any, fork: Any, threads: Any) -> Any:
        address = address_of(memory)
        if fork != 0:
            c_call(fork, (fold, address, np.uint32(threads), np.uint32(0)))
        else:
            c_call(fold, (address,))
        counts, moments, extremes = _neuron_results(address, extreme)
        return merge_parts(counts, moments, extremes)

    signature = _state_type(dtype)(_array(np.int64, 1, "C"), _I8, _I8, _I8)
    return kernel(run_tasks, f"run-{dtype}", signature, nogil=True)


@functools.cache
def _share_kernel() -> Callable[..., None]:
    """The entry point with which one thread of many does tasks."""

    def do_tasks(memory: Any, fold: Any) -> None:
        c_call(fold, (address_of(memory),))

    return kernel(do_tasks, "share", types.void(_array(np.int64, 1, "C"), _I8), nogil=True)


@functools.cache
def merge_kernel(dtype: np.dtype[Any]) -> Callable[..., elements.State]:
    """The entry point of `cpu_channels.merge_parts` for extremes of this dtype."""

    def merge_all(counts: Any, moments: Any, extremes: Any) -> Any:
        return merge_parts(counts, moments, extremes)

    return kernel(merge_all, f"merge-{dtype}", _state_type(dtype)(*_outputs(dtype)), nogil=True)


def _allocate(dtype: np.dtype[Any], parts: int, columns: int) -> tuple[Any, Any, Any]:
    return (
        np.empty((6, parts, columns), np.int64),
        np.empty((4, parts, columns), np.float64),
        np.empty((2, parts, columns), dtype),
    )


def share(work: Callable[[], None], nbytes: int, tasks: int) -> None:
    """Runs `work`, which takes some of the tasks until none is left, on as many threads as the bytes are worth."""
    threads = min(get_num_threads(), tasks)
    if nbytes < PARALLEL_FROM or threads == 1 or not COMPILED:
        work()
    else:
        run_on_threads(work, threads)


def split(count: int) -> tuple[int, int]:
    """The size of the parts of a tensor of `count` elements, and their number."""
    size = min(max(-(-count // _FEW_PARTS), SMALL), max(_LONG_PART, -(-count // _MAX_PARTS)))
    return size, -(-count // size)


def sweep(x: npt.NDArray[Any], name: str, lo: float, hi: float, tol: float) -> elements.State:
    """The state of a contiguous 1-D array of the storage dtype of the kind `name`."""
    if x.size == 0:
        return elements.EMPTY
    if x.size <= SMALL:
        return small_kernel(name)(x, lo, hi, tol)
    kind = KINDS[name]
    size, parts = split(x.size)
    outputs = _allocate(_extreme_dtype(kind), parts, 1)
    counter = np.zeros(1, np.int64)
    sweep_parts = _parts_kernel(name)
    share(lambda: sweep_parts(x, lo, hi, tol, size, counter, *outputs), x.nbytes, parts)
    return merge_kernel(_extreme_dtype(kind))(*outputs)


@functools.lru_cache(maxsize=4096)
def plan_channels(name: str, outer: int, neurons: int, inner: int, lo: float, hi: float, tol: float) -> Plan:
    """How to sweep contiguous arrays of the kind's storage dtype of this shape, which has no zeros."""
    kind = KINDS[name]
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
    head = np.zeros(_HEAD, np.int64)
    head[_BOUNDS : _BOUNDS + 3].view(np.float64)[:] = lo, hi, tol
    head[_LAYOUT:] = _Layout(outer, neurons, inner, rows, columns, rest, tall, wide, blocks, parts, slots)
    dtype = _extreme_dtype(kind)
    return Plan(
        head=head,
        words=_HEAD + 12 * slots * neurons,
        fold=c_entry(_fold_kernel(name, runs=inner > 1)),
        run=_run_kernel(dtype),
        tasks=parts * blocks + (rest > 0),
        nbytes=size * itemsize,
        itemsize=itemsize,
        neurons=neurons,
        slots=slots,
        extremes=dtype,
    )


class Swept(NamedTuple):
    """What a per-neuron sweep found, as it left it: `ChannelArrays`, once they are asked for."""

    plan: Plan
    memory: npt.NDArray[np.int64]
    total: elements.State

    def arrays(self) -> ChannelArrays:
        """The same as arrays, which share the memory."""
        plan, states = self.plan, self.memory[_HEAD:]
        field = plan.slots * plan.neurons
        counts = states[: 6 * field].reshape(6, plan.slots, plan.neurons)
        moments = states[6 * field : 10 * field].view(np.float64).reshape(4, plan.slots, plan.neurons)
        extremes = states[10 * field :].view(plan.extremes)[: 2 * field].reshape(2, plan.slots, plan.neurons)
        return ChannelArrays(counts[:, 0], moments[:, 0], extremes[:, 0], self.total)


def sweep_planned(plan: Plan, address: int, owner: object, team: Team | None = None) -> Swept:
    """Sweeps the array of the planned shape that begins at `address`, in memory that `owner` keeps alive.

    A team that has just computed the array shares the work from fewer bytes on than threads that are asleep.
    """
    memory = np.empty(plan.words, np.int64)
    memory[:_HEAD] = plan.head
    memory[_ELEMENTS] = address
    if team is not None and plan.nbytes >= TEAM_FROM:
        threads = min(team.most(), get_num_threads(), plan.tasks)
        if threads > 1:
            memory[_TEAM], memory[_TEAM + 1] = team.place, team.size
            return Swept(plan, memory, plan.run(memory, plan.fold, team.fork, threads))
    elif plan.nbytes >= PARALLEL_FROM:
        # A thread that an interrupt leaves behind still has the owner, and with it the memory that it reads. What the
        # others have not left to do is nothing.
        do_tasks = _share_kernel()
        share(lambda: (do_tasks(memory, plan.fold), owner)[0], plan.nbytes, plan.tasks)
    return Swept(plan, memory, plan.run(memory, plan.fold, 0, 1))


def sweep_channels(x: npt.NDArray[Any], name: str, lo: float, hi: float, tol: float) -> ChannelArrays | Swept:
    """The states of the neurons of a contiguous [outer, neurons, inner] array of the kind's storage dtype."""
    neurons = x.shape[1]
    if x.size == 0:
        counts = np.zeros((6, neurons), np.int64)
        moments = np.full((4, neurons), np.nan)
        moments[3] = 0.0
        return ChannelArrays(counts, moments, np.array([[np.inf], [-np.inf]]).repeat(neurons, 1), elements.EMPTY)
    return sweep_planned(plan_channels(name, *x.shape, lo, hi, tol), x.ctypes.data, x)


@functools.cache
def _survey_kernel(dtype: np.dtype[Any]) -> Callable[..., tuple[int, int, int, int, float, int, float]]:
    """The entry point of `cpu_channels.survey_neurons` for extremes of this dtype."""

    def survey(
        counts: Any, moments: Any, extremes: Any, silent_share: float, saturated_share: float, silence: Any, after: int
    ) -> Any:
        return survey_neurons(counts, moments, extremes, silent_share, saturated_share, silence, after)

    signature = types.Tuple((*[_I8] * 4, _F8, _I8, _F8))(
        *(_array(d, 2, readonly=True) for d in (np.int64, np.float64, dtype)),
        *(_F8, _F8, _array(np.int64, 1, "C"), _I8),
    )
    return kernel(survey, f"survey-{dtype}", signature, nogil=False)


@functools.cache
def _survey_memory_kernel(dtype: np.dtype[Any]) -> Callable[..., tuple[int, int, int, int, float, int, float]]:
    """The same of what a sweep left in its memory."""
    extreme = dtype.type(0)

    def survey(memory: Any, silent_share: float, saturated_share: float, silence: Any, after: int) -> Any:
        counts, moments, extremes = _neuron_results(address_of(memory), extreme)
        return survey_neurons(
            counts[:, 0], moments[:, 0], extremes[:, 0], silent_share, saturated_share, silence, after
        )

    words = _array(np.int64, 1, "C")
    signature = types.Tuple((*[_I8] * 4, _F8, _I8, _F8))(words, _F8, _F8, words, _I8)
    return kernel(survey, f"survey-memory-{dtype}", signature, nogil=False)


def survey(
    found: ChannelArrays | Swept,
    silent_share: float,
    saturated_share: float,
    silence: npt.NDArray[np.int64],
    after: int,
) -> tuple[int, int, int, int, float, int, float]:
    """`cpu_channels.survey_neurons` of what a sweep found."""
    if type(found) is Swept:
        return _survey_memory_kernel(found.plan.extremes)(found.memory, silent_share, saturated_share, silence, after)
    arrays: Any = found
    return _survey_kernel(arrays.extremes.dtype)(*arrays[:3], silent_share, saturated_share, silence, after)


class Details(NamedTuple):
    """A tensor's state, and what was asked for beside it.

    `tally` is int64[TALLIES] as in `cpu_extras`; `buckets` are the numbers of those that are not empty, ascending,
    and `counts` says how many elements each holds.
    """

    state: elements.State
    shape: elements.Shape
    tally: npt.NDArray[np.int64]
    buckets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


@functools.cache
def _details_kernel(name: str) -> Callable[..., None]:
    kind = KINDS[name]
    tag = kind.tag

    def sweep_parts(
        x: Any, lo: float, hi: float, tol: float, shaped: bool, size: int, counter: Any, counts: Any, moments: Any,
        extremes: Any, shapes: Any, tally: Any, first: Any, second: Any,
    ) -> None:  # fmt: skip
        while True:
            part = fetch_add(counter)
            if part >= counts.shape[1]:
                return
            start = part * size
            state, shape = fold_details(
                stretch(x, start, min(size, x.size - start)), tag, lo, hi, tol, shaped, tally, first, second
            )
            store(state, counts, moments, extremes, part, 0)
            shapes[part, 0] = shape[0]
            shapes[part, 1] = shape[1]

    signature = types.void(
        _array(kind.storage, 1, "C", readonly=True),
        *(_F8, _F8, _F8, types.boolean, _I8, _array(np.int64, 1, "C")),
        *_outputs(_extreme_dtype(kind)),
        *(_array(np.float64, 2, "C"), _array(np.int64, 1, "C")),
        *[_array(np.uint32, 1, "C")] * 2,
    )
    return kernel(sweep_parts, f"details-{name}", signature, nogil=True)


def sweep_details(
    x: npt.NDArray[Any], name: str, lo: float, hi: float, tol: float, *, shaped: bool, tallied: bool, counted: bool
) -> Details:
    """The state of a contiguous 1-D array of the storage dtype of the kind `name`, and its shape, tally and buckets.

    What is not asked for is zeros, or empty. Counters are 32 bits wide: `x` has at most 2^31 elements.
    """
    tally = np.zeros(TALLIES, np.int64)
    if x.size == 0:
        return Details(elements.EMPTY, (0.0, 0.0), tally, *np.empty((2, 0), np.int64))
    kind = KINDS[name]
    buckets = (1 << (8 * kind.storage.itemsize if kind.storage.itemsize <= 2 else BUCKET_BITS)) if counted else 0
    size, parts = split(x.size)
    outputs = _allocate(_extreme_dtype(kind), parts, 1)
    shapes = np.empty((parts, 2))
    counter = np.zeros(1, np.int64)
    sweep_parts = _details_kernel(name)
    tallies: list[npt.NDArray[np.int64]] = []
    tables: list[npt.NDArray[np.uint32]] = []

    def work() -> None:
        # Each thread counts for itself; whole numbers add up to the same in any order.
        mine = np.zeros(TALLIES if tallied else 0, np.int64)
        table = np.zeros((2, buckets), np.uint32)
        sweep_parts(x, lo, hi, tol, shaped, size, counter, *outputs, shapes, mine, *table)
        tallies.append(mine)
        tables.append(table)

    share(work, x.nbytes, parts)
    counts, moments, extremes = (a[:, :, 0].T.tolist() for a in outputs)
    state, shape = elements.EMPTY, (0.0, 0.0)
    for part in range(parts):
        part_state = (*counts[part], *moments[part][:3], *extremes[part], moments[part][3])
        shape = elements.merge_shape(state, part_state, shape, tuple(shapes[part].tolist()))
        state = elements.merge(state, part_state)
    if tallied:
        tally = np.sum(tallies, axis=0)
    return Details(state, shape, tally, *_filled(tables, kind))


def _filled(tables: list[npt.NDArray[np.uint32]], kind: Kind) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The buckets that are not empty in the tables of all threads together, and their counts."""
    size = tables[0].shape[1]
    spans = [(0, size)]
    if size == 1 << BUCKET_BITS and kind.name != "float64":
        # Memory that was never written to is not there yet, and looking for it costs: only zero and the exponents that
        # a float32 or an integer can have.
        low, high = (1023 - 149, 1023 + 128) if kind.name == "float32" else (1023, 1023 + 65)
        row = size >> 12
        spans = [(sign + a, sign + b) for sign in (0, size // 2) for a, b in ((0, 1), (row * low, row * high))]
    buckets = []
    counts = []
    for start, stop in spans:
        total = np.sum([table[:, start:stop].sum(axis=0, dtype=np.int64) for table in tables], axis=0)
        filled = total.nonzero()[0]
        buckets.append(filled + start)
        counts.append(total[filled])
    return np.concatenate(buckets), np.concatenate(counts)


def warmup(name: str) -> None:
    """Compiles, or loads from disk, every entry point for elements of the kind `name`."""
    dtype = _extreme_dtype(KINDS[name])
    small_kernel(name)
    _parts_kernel(name)
    for runs in (False, True):
        _fold_kernel(name, runs=runs)
    _details_kernel(name)
    merge_kernel(dtype)
    _run_kernel(dtype)
    _share_kernel()
    _survey_kernel(dtype)
    _survey_memory_kernel(dtype)
