"""The sweep on CUDA: loops around `elements`, compiled for each kind of element and each layout of neurons.

One kernel does it all. A block's threads stand in columns of `Layout.beside` neurons; each thread folds every
so-many-th packet of its neuron: it loads some packets of 16 bytes, and while they are in registers takes their mean and
the sums of what they differ from it, so that no digits cancel, and no second look at memory is ever needed. Packets are
joined in float64, threads through shared memory in a fixed order, and the last block to finish joins the blocks'
partial rows in a fixed order: repeatable bit for bit, without a float atomic and without the host.

How they are joined depends on the kind. Where float64 holds the squares of all there is (float32 and narrower), sums
about an origin, the neuron's first element, are added up (`arithmetic.add_sums`): no division on the way, which matters
where a launch takes some microseconds. Wider kinds are scaled packet by packet and joined by `arithmetic.merge`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numba import cuda

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES, ElementType
from fastact.cuda.device import (
    SIMULATED,
    as_double,
    barrier,
    beside,
    count_at_most,
    count_equal,
    count_nan,
    count_outside,
    device,
    divide,
    fence,
    fetch_word,
    finite_or,
    lanes_count,
    least,
    loader,
    magnitude,
    most,
    spread,
    store_word,
    ticket,
    total,
    widener,
)

__all__ = [
    "COLUMNS",
    "FLAT",
    "ODD_RUNS",
    "ROW_BYTES",
    "ROW_WORDS",
    "RUNS",
    "TABLE_WORDS",
    "THREADS",
    "Blocks",
    "Layout",
    "blocks",
    "blocks_at_once",
    "joiner",
    "lane_plan",
    "last_to_come",
    "many_kernel",
    "row_functions",
    "sweep_kernel",
]

#: A row in device memory: the twelve numbers of a state (or of sums), and four to fill a line of the cache.
ROW_WORDS: Final = 16
ROW_BYTES: Final = 8 * ROW_WORDS

#: Threads of a block. The simulator has a thread of Python for each.
THREADS: Final = 16 if SIMULATED else 256
_PACKET: Final = 16

# Squares of differences below this lose digits to denormals in float32. If all differences of some elements are that
# small without being zero, so are the elements: equal ones differ by rounding, 1e-7 of their size.
_TINY_SQUARES: Final = 1e-36
_TINY: Final = 1e-10


class Layout(NamedTuple):
    """Where a neuron's elements lie, and how a block's threads share them out.

    Attributes:
        name: what it is called.
        packed: whether 16 bytes are loaded at a time; otherwise one element.
        beside: neurons that a block folds at a time, in threads beside each other.
    """

    name: str
    packed: bool
    beside: int


#: One neuron, all elements side by side; the first may lie anywhere.
FLAT: Final = Layout("flat", packed=True, beside=1)
#: Runs of elements, each a multiple of 16 bytes that begins at one.
RUNS: Final = Layout("runs", packed=True, beside=1)
#: Runs of elements anywhere.
ODD_RUNS: Final = Layout("odd runs", packed=False, beside=1)
#: Neighbours in memory belong to neighbouring neurons: a warp reads a row of 32. Packets of several columns a thread
#: would need registers for the sums of each.
COLUMNS: Final = Layout("columns", packed=False, beside=4 if SIMULATED else 32)


def lane_plan(kind: ElementType, layout: Layout) -> tuple[int, int]:
    """Elements of a load, and loads under way: 16 elements of a thread in registers (of a byte 32, of 8 bytes 8)."""
    width = _PACKET // kind.storage.itemsize if layout.packed else 1
    wanted = 8 if kind.work is np.float64 else 16
    return width, max(wanted // width, 2 if width > 4 else 4)


def blocks_at_once(kind: ElementType, layout: Layout) -> int:
    """How many blocks a multiprocessor has registers for, where none has to be spilt.

    As ptxas 13.5 says for sm_90: the flat sweep of elements of 2 or 4 bytes has room in 64 registers a thread (at most
    8 bytes spilt), the others in 128 (of int64 in columns 48 bytes spilt, where a row tells of its neurons).
    """
    return 4 if layout is FLAT and kind.work is not np.float64 and kind.storage.itemsize > 1 else 2


merge = device(arithmetic.merge)
add_sums = device(arithmetic.add_sums)
sums_to_state = device(arithmetic.sums_to_state)
unscaled = device(arithmetic.unscaled)


@device
def _no_sums(origin: float, key: Any) -> Any:
    return (0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, np.float32(math.inf), np.float32(-math.inf), origin)


@device
def _sums_with_care(x: Any, origin: float, low: Any, high: Any, near: Any) -> Any:
    """The sums of one float32 element, if it is finite, in float64."""
    inf = np.float32(math.inf)
    y = as_double(x)
    nothing = spread(0.0, y)
    d = total(finite_or(x, y - spread(origin, y), nothing))
    return (
        1,
        count_nan(x),
        count_equal(x, inf),
        count_equal(x, -inf),
        count_at_most(magnitude(x), near),
        count_outside(x, low, high),
        d,
        d * d,
        total(finite_or(x, magnitude(y), nothing)),
        least(finite_or(x, x, spread(inf, x))),
        most(finite_or(x, x, spread(-inf, x))),
        origin,
    )


@device
def _sums(x: Any, origin: float, low: Any, high: Any, near: Any) -> Any:
    """The sums of some float32 elements about `origin`: summed in float32 about their own mean, and moved there.

    Before them whether they are right; if not, the elements have to be added one by one, with care.
    """
    n = lanes_count(x)
    size = magnitude(x)
    zeros = count_at_most(size, near)
    saturated = count_outside(x, low, high)
    mean = total(x) / np.float32(n)
    d = x - spread(mean, x)
    rest = np.float64(total(d))
    squares = total(d * d)
    absolute = total(size)
    # A sum that is not finite shows NaN, Inf or an overflow.
    fine = squares < np.float32(math.inf) and absolute < np.float32(math.inf)
    if squares < np.float32(_TINY_SQUARES) and np.float32(0.0) < absolute < np.float32(_TINY):
        fine = False
    move = np.float64(mean) - origin
    return fine, (
        n,
        0,
        0,
        0,
        zeros,
        saturated,
        rest + n * move,
        np.float64(squares) + move * (2.0 * rest + n * move),
        np.float64(absolute),
        least(x),
        most(x),
        origin,
    )


@device
def _no_state(origin: float, key: Any) -> Any:
    return (0, 0, 0, 0, 0, 0, math.nan, math.nan, math.nan, math.inf, -math.inf, 0.0)


@device
def _no_exact_state(origin: float, key: Any) -> Any:
    # min and max are integers that float64 cannot hold; merged with these, which count nothing, any others win.
    return (0, 0, 0, 0, 0, 0, math.nan, math.nan, math.nan, key, key, 0.0)


@device
def _finite_ends(raw: Any, x: Any) -> Any:
    inf = spread(math.inf, x)
    return least(finite_or(x, x, inf)), most(finite_or(x, x, spread(-math.inf, x)))


@device
def _exact_ends(raw: Any, x: Any) -> Any:
    return least(raw), most(raw)


@device
def _moments(x: Any, n: int) -> Any:
    """Mean, std, mean of |x| and the mean's rest of the `n` finite ones of some float64 elements, of any magnitude."""
    if n == 0:
        return math.nan, math.nan, math.nan, 0.0
    nothing = spread(0.0, x)
    # Scaled by a power of two, which is exact, to below 1; clamped as in `cpu`.
    exponent = min(max(math.frexp(most(finite_or(x, magnitude(x), nothing)))[1], -1000), 1023)
    y = finite_or(x, x * spread(math.ldexp(1.0, -exponent), x), nothing)
    shift = total(y) / n
    d = finite_or(x, y - spread(shift, x), nothing)
    return unscaled(n, exponent, shift, total(d), total(d * d), total(magnitude(y)))


@device
def _as_it_is(state: Any) -> Any:
    return state


class Blocks(NamedTuple):
    """What kernels for one kind of element and one layout are made of: functions of the device.

    Attributes:
        end_type: of min and max in a row.
        nothing: (origin, key) to the row of no elements, to begin with.
        combine: two rows to that of both: states of wide kinds, sums of the others.
        finished: a row to its state.
        put_row, get_row: (address, apart, row) and (address, apart): the twelve numbers, each `apart` bytes from the
            one before.
        fold_part: the arguments of `sweep_kernel` from `x` to `near`, with `parts`, then `group`, `part` and `thread`:
            to the first element, the origin and the row of what this thread has to fold.
        joined: (row, thread, span, last, counts, numbers, extremes): the rows of the threads `span`, `span / 2` and so
            on to `last` apart, joined in pairs; the first `last` ones have the results.
        last_to_come: (tickets, how many blocks, thread, turn): whether all others have left what they wrote before.
        swept: all of it: whether this block is the last of its group, and then the row of each neuron, in the first
            threads.
    """

    end_type: Any
    nothing: Any
    combine: Any
    finished: Any
    put_row: Any
    get_row: Any
    fold_part: Any
    joined: Any
    last_to_come: Any
    swept: Any


def row_functions(end_type: Any) -> tuple[Any, Any]:
    """`Blocks.put_row` and `Blocks.get_row` for rows with extremes of a type."""
    element_ones = end_type(1)

    @device
    def put_row(first: int, apart: int, row: Any) -> None:
        store_word(first, row[0])
        store_word(first + apart, row[1])
        store_word(first + 2 * apart, row[2])
        store_word(first + 3 * apart, row[3])
        store_word(first + 4 * apart, row[4])
        store_word(first + 5 * apart, row[5])
        store_word(first + 6 * apart, row[6])
        store_word(first + 7 * apart, row[7])
        store_word(first + 8 * apart, row[8])
        store_word(first + 9 * apart, row[9])
        store_word(first + 10 * apart, row[10])
        store_word(first + 11 * apart, row[11])

    @device
    def get_row(first: int, apart: int) -> Any:
        return (
            fetch_word(first, 1),
            fetch_word(first + apart, 1),
            fetch_word(first + 2 * apart, 1),
            fetch_word(first + 3 * apart, 1),
            fetch_word(first + 4 * apart, 1),
            fetch_word(first + 5 * apart, 1),
            fetch_word(first + 6 * apart, 1.0),
            fetch_word(first + 7 * apart, 1.0),
            fetch_word(first + 8 * apart, 1.0),
            fetch_word(first + 9 * apart, element_ones),
            fetch_word(first + 10 * apart, element_ones),
            fetch_word(first + 11 * apart, 1.0),
        )

    return put_row, get_row


def joiner(combine: Any) -> Any:
    """`Blocks.joined` for rows that `combine` joins."""

    @device
    def joined(row: Any, thread: int, span: int, last: int, counts: Any, numbers: Any, extremes: Any) -> Any:
        while span >= last:
            slot = thread - span
            if 0 <= slot < span:
                counts[0, slot] = row[0]
                counts[1, slot] = row[1]
                counts[2, slot] = row[2]
                counts[3, slot] = row[3]
                counts[4, slot] = row[4]
                counts[5, slot] = row[5]
                numbers[0, slot] = row[6]
                numbers[1, slot] = row[7]
                numbers[2, slot] = row[8]
                extremes[0, slot] = row[9]
                extremes[1, slot] = row[10]
                numbers[3, slot] = row[11]
            barrier()
            if thread < span:
                other = (
                    counts[0, thread],
                    counts[1, thread],
                    counts[2, thread],
                    counts[3, thread],
                    counts[4, thread],
                    counts[5, thread],
                    numbers[0, thread],
                    numbers[1, thread],
                    numbers[2, thread],
                    extremes[0, thread],
                    extremes[1, thread],
                    numbers[3, thread],
                )
                row = combine(row, other)
            barrier()
            span //= 2
        return row

    return joined


@device
def last_to_come(tickets: int, count: int, thread: int, turn: Any) -> bool:
    """Of `count` blocks whether this is the last to get here: it sees what the others wrote before.

    It should put the tickets back to zero.
    """
    # What was written is out before the ticket is drawn.
    fence()
    barrier()
    if thread == 0:
        turn[0] = ticket(tickets)
    barrier()
    if turn[0] != count - 1:
        return False
    fence()
    return True


@functools.cache
def blocks(name: str, layout: Layout) -> Blocks:
    """The functions for elements of the kind `name` in a layout."""
    kind = ELEMENT_TYPES[name]
    itemsize = kind.storage.itemsize
    width, loads = lane_plan(kind, layout)
    bytes_loaded = width * itemsize
    wide = kind.work is np.float64
    exact = name in ("int64", "uint64")
    flat = layout is FLAT
    columns = layout is COLUMNS
    abreast = layout.beside
    deep = THREADS // abreast
    half = THREADS // 2

    work_type: Any = kind.work
    end_type: Any = kind.storage.type if exact else kind.work
    load = loader(kind, width)
    load_one = loader(kind, 1)
    widened = widener(kind)
    ends = _exact_ends if exact else _finite_ends
    combine = merge if wide else add_sums
    nothing = (_no_exact_state if exact else _no_state) if wide else _no_sums
    finished = _as_it_is if wide else sums_to_state
    put_row, get_row = row_functions(end_type)
    joined = joiner(combine)

    @device
    def address_of(x: int, i: int, inner: int, pitch: int) -> int:
        if flat:
            return x + i * bytes_loaded
        if columns:
            return x + i * pitch
        run = divide(i, inner)
        return x + run * pitch + (i - run * inner) * bytes_loaded

    @device
    def fold_state(raw: Any, origin: float, low: Any, high: Any, near: Any) -> Any:
        x = widened(raw)
        count = lanes_count(x)
        nans = count_nan(x)
        pos_infs = count_equal(x, math.inf)
        neg_infs = count_equal(x, -math.inf)
        mean, std, abs_mean, rest = _moments(x, count - nans - pos_infs - neg_infs)
        smallest, largest = ends(raw, x)
        return True, (
            count,
            nans,
            pos_infs,
            neg_infs,
            count_at_most(magnitude(x), near),
            count_outside(x, low, high),
            mean,
            std,
            abs_mean,
            smallest,
            largest,
            rest,
        )

    @device
    def fold_sums(raw: Any, origin: float, low: Any, high: Any, near: Any) -> Any:
        return _sums(widened(raw), origin, low, high, near)

    fold = fold_state if wide else fold_sums

    @device
    def state_of_one(raw: Any, origin: float, low: Any, high: Any, near: Any) -> Any:
        return fold_state(raw, origin, low, high, near)[1]

    @device
    def sums_of_one(raw: Any, origin: float, low: Any, high: Any, near: Any) -> Any:
        return _sums_with_care(widened(raw), origin, low, high, near)

    fold_one = state_of_one if wide else sums_of_one

    @device
    def add_with_care(
        row: Any, x: int, i: int, step: int, count: int, inner: int, pitch: int, origin: float, low: Any, high: Any,
        near: Any,
    ) -> Any:  # fmt: skip
        # A loop, not lanes: seldom gone through, it must not take registers from the other. A cache has the elements.
        for k in range(count):
            packet = divide(k, width)
            at = address_of(x, i + packet * step, inner, pitch) + (k - packet * width) * itemsize
            row = combine(row, fold_one(load_one(at), origin, low, high, near))
        return row

    @device
    def load_first(x: int, i: int, step: int, inner: int, pitch: int) -> Any:
        return load(address_of(x, i, inner, pitch))

    def doubled(once: Callable[..., Any], n: int) -> Callable[..., Any]:
        @device
        def twice(x: int, i: int, step: int, inner: int, pitch: int) -> Any:
            return beside(once(x, i, step, inner, pitch), once(x, i + n * step, step, inner, pitch))

        return twice

    load_some = load_first
    for power in range(loads.bit_length() - 1):
        load_some = doubled(load_some, 1 << power)

    @device
    def fold_part(
        x: int, head: int, edges: int, packets: int, neurons: int, inner: int, pitch: int, apart: int, parts: int,
        low: float, high: float, near: float, group: int, part: int, thread: int,
    ) -> Any:  # fmt: skip
        deep_in = divide(thread, abreast)
        neuron = group * abreast + (thread - deep_in * abreast)
        start = x + neuron * apart
        lo = work_type(low)
        hi = work_type(high)
        tol = work_type(near)
        origin = 0.0
        first = end_type(0)
        if neuron < neurons:
            stored = load_one(start)
            first = ends(stored, widened(stored))[0]
            if abs(np.float64(first)) < math.inf:
                origin = np.float64(first)
        row = nothing(origin, first)
        if neuron < neurons:
            at = part * deep + deep_in
            step = parts * deep
            if flat and at < edges:
                place = at if at < head else packets * width + at
                row = combine(row, fold_one(load_one(x + place * itemsize), origin, lo, hi, tol))
            body = start + head * itemsize
            while at + (loads - 1) * step < packets:
                fine, more = fold(load_some(body, at, step, inner, pitch), origin, lo, hi, tol)
                if fine:
                    row = combine(row, more)
                else:
                    row = add_with_care(row, body, at, step, loads * width, inner, pitch, origin, lo, hi, tol)
                at += loads * step
            while at < packets:
                fine, more = fold(load_first(body, at, step, inner, pitch), origin, lo, hi, tol)
                if fine:
                    row = combine(row, more)
                else:
                    row = add_with_care(row, body, at, step, width, inner, pitch, origin, lo, hi, tol)
                at += step
        return first, origin, row

    @device
    def swept(
        x: int, head: int, edges: int, packets: int, neurons: int, inner: int, pitch: int, apart: int, parts: int,
        low: float, high: float, near: float, work: int, tickets: int, group: int, part: int, thread: int,
        counts: Any, numbers: Any, extremes: Any, turn: Any,
    ) -> Any:  # fmt: skip
        first, origin, row = fold_part(
            x, head, edges, packets, neurons, inner, pitch, apart, parts, low, high, near, group, part, thread
        )
        row = joined(row, thread, half, abreast, counts, numbers, extremes)
        last = True
        if parts > 1:
            deep_in = divide(thread, abreast)
            column = thread - deep_in * abreast
            alive = group * abreast + column < neurons
            mine = work + group * parts * abreast * ROW_BYTES
            if alive and deep_in == 0:
                put_row(mine + (part * abreast + thread) * ROW_BYTES, 8, row)
            last = last_to_come(tickets + 8 * group, parts, thread, turn)
            if last:
                row = nothing(origin, first)
                if alive:
                    for other in range(deep_in, parts, deep):
                        row = combine(row, get_row(mine + (other * abreast + column) * ROW_BYTES, 8))
                row = joined(row, thread, half, abreast, counts, numbers, extremes)
                if thread == 0:
                    store_word(tickets + 8 * group, 0)
        return last, row

    return Blocks(end_type, nothing, combine, finished, put_row, get_row, fold_part, joined, last_to_come, swept)


@functools.cache
def sweep_kernel(name: str, layout: Layout) -> Any:
    """The kernel for elements of the kind `name` in a layout, to be launched with blocks of `THREADS` threads.

    Its arguments are numbers; addresses are of device memory:

    - x: the first element; `head` of `edges` single elements of a flat tensor come before the first whole packet, the
      others after the last (0 in other layouts)
    - packets: loads to make of each neuron; neurons: how many; inner: packets of a run
    - pitch, apart: bytes from run to run of a neuron, and from neuron to neuron
    - parts: blocks that share a neuron (or `Layout.beside` of them); there are as many blocks for each
    - low, high, near: bounds, exact in the work precision (`sweep.work_bounds`)
    - work: rows for the partial sums, parts * beside for each group of neurons; tickets: an int64 for each group, zero
      before and after
    - out: where the rows of the neurons go
    """
    functions = blocks(name, layout)
    end_type, finished, put_row, swept = functions.end_type, functions.finished, functions.put_row, functions.swept
    abreast = layout.beside
    half = THREADS // 2

    def sweep(
        x: int, head: int, edges: int, packets: int, neurons: int, inner: int, pitch: int, apart: int, parts: int,
        low: float, high: float, near: float, work: int, tickets: int, out: int,
    ) -> None:  # fmt: skip
        counts = cuda.shared.array((6, half), np.int64)
        numbers = cuda.shared.array((4, half), np.float64)
        extremes = cuda.shared.array((2, half), end_type)
        turn = cuda.shared.array(1, np.int64)
        thread: Any = np.int64(cuda.threadIdx.x)
        block: Any = np.int64(cuda.blockIdx.x)
        group = divide(block, parts)
        last, row = swept(
            x, head, edges, packets, neurons, inner, pitch, apart, parts, low, high, near, work, tickets,
            group, block - group * parts, thread, counts, numbers, extremes, turn,
        )  # fmt: skip
        neuron = group * abreast + thread
        if last and thread < abreast and neuron < neurons:
            put_row(out + neuron * ROW_BYTES, 8, finished(row))

    sweep.__name__ = sweep.__qualname__ = f"fastact_{name}_{layout.name.replace(' ', '_')}"
    return sweep


#: A line of the table of many tensors: an address, `head`, `edges`, `packets` and `parts` as in `sweep_kernel`, and the
#: number of the first block; and two to fill half of a line of the cache.
TABLE_WORDS: Final = 8
_LINE: Final = 8 * TABLE_WORDS


@functools.cache
def many_kernel(name: str) -> Any:
    """The kernel for flat tensors of the kind `name`, to be launched with blocks of `THREADS` threads.

    - table, count: the address of the table, and its lines, by their first block
    - low, high, near: as in `sweep_kernel`
    - work: a row for each block; tickets: an int64 for each tensor, zero before and after; out: a row for each tensor
    """
    functions = blocks(name, FLAT)
    end_type, finished, put_row, swept = functions.end_type, functions.finished, functions.put_row, functions.swept
    half = THREADS // 2

    def sweep_many(
        table: int, count: int, low: float, high: float, near: float, work: int, tickets: int, out: int
    ) -> None:
        counts = cuda.shared.array((6, half), np.int64)
        numbers = cuda.shared.array((4, half), np.float64)
        extremes = cuda.shared.array((2, half), end_type)
        turn = cuda.shared.array(1, np.int64)
        thread: Any = np.int64(cuda.threadIdx.x)
        block: Any = np.int64(cuda.blockIdx.x)
        # The last tensor whose first block is not behind this one; all threads of a block go the same way.
        tensor = 0
        behind = count
        while behind - tensor > 1:
            middle = divide(tensor + behind, 2)
            if fetch_word(table + middle * _LINE + 40, 1) <= block:
                tensor = middle
            else:
                behind = middle
        line = table + tensor * _LINE
        first = fetch_word(line + 40, 1)
        last, row = swept(
            fetch_word(line, 1), fetch_word(line + 8, 1), fetch_word(line + 16, 1), fetch_word(line + 24, 1),
            1, 1, 0, 0, fetch_word(line + 32, 1), low, high, near, work + first * ROW_BYTES, tickets + 8 * tensor,
            0, block - first, thread, counts, numbers, extremes, turn,
        )  # fmt: skip
        if last and thread == 0:
            put_row(out + tensor * ROW_BYTES, 8, finished(row))

    sweep_many.__name__ = sweep_many.__qualname__ = f"fastact_many_{name}"
    return sweep_many
