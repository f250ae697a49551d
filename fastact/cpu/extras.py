"""What `extras=` adds to the sweep on CPU: third and fourth moments, counts of what narrower types lose, and buckets.

`fold_details` is the fold, `sweep_details` runs it. Still one pass over memory: a tensor is taken in blocks that fit
the first-level cache, and each block is folded as in `cpu.flat`, then looked at again for what was asked. Blocks are
joined in their order.
"""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES, NARROW_FLOATS, ElementType
from fastact.arithmetic.in_python import merge_states
from fastact.arithmetic.state import COUNT, MAX, MEAN, MIN, NANS, NEG_INFS, POS_INFS, STD
from fastact.cpu.flat import BLOCK, fold_part, merge
from fastact.cpu.float_mode import begin_ieee, end_ieee
from fastact.cpu.intrinsics import cast_like, fetch_add, intrinsic_of, sub_no_reassoc, subarray
from fastact.cpu.jit import array_type, exact_jit, jit, kernel
from fastact.cpu.states import allocate, array_types, in_order, store_state
from fastact.cpu.sweep import share, split
from fastact.cpu.widen import widen

#: Elements of a block, which is looked at several times.
_DETAILED_BLOCK: Final = 1 << 13

#: The bucket of a wide element is the leading bits of the float64 that holds it: sign, 11 of exponent, 7 of mantissa.
#: Elements of 16 bits or less are counted by their stored bits.
BUCKET_BITS: Final = 19
_DROPPED: Final = 64 - BUCKET_BITS

#: The |x| up to which an element is counted as small: 0; and for each of `NARROW_FLOATS` what rounds to zero, and what
#: rounds to a denormal number or zero.
_SMALL: Final = (
    0.0,
    *(limit for narrow in NARROW_FLOATS.values() for limit in (narrow.zero_up_to, narrow.denormal_up_to)),
)
#: The |x| from beyond which an element is lost by each, Inf among them.
_LARGE: Final = tuple(narrow.finite_up_to for narrow in NARROW_FLOATS.values())
_LEAST_LARGE: Final = min(_LARGE)
#: Counters of a tally: elements up to each of `_SMALL`, and beyond each of `_LARGE`.
_N_SMALL, _N_LARGE = len(_SMALL), len(_LARGE)
TALLIES: Final = _N_SMALL + _N_LARGE

_merge_shape: Final = exact_jit(arithmetic.merge_shape)


def _bucket_number(stored: Any) -> int:
    if stored.dtype.itemsize <= 2:
        return int(stored) & (0xFF if stored.dtype.itemsize == 1 else 0xFFFF)
    return int(np.float64(stored).view(np.uint64)) >> _DROPPED


@intrinsic_of(lambda stored: types.uint64(stored), _bucket_number)  # noqa: PLW0108 - its name is the signature's
def _bucket(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The number of an element's bucket: its stored bits, or the leading ones of a float64."""
    (stored,), i64 = signature.args, ir.IntType(64)
    if isinstance(stored, types.Integer) and stored.bitwidth <= 16:
        return builder.zext(args[0], i64)
    value = context.cast(builder, args[0], stored, types.float64)
    return builder.lshr(builder.bitcast(value, i64), ir.Constant(i64, _DROPPED))


def _tally(comparison: str, compare: Callable[[Any, Any], Any], n: int) -> Callable[..., Any]:
    def count_all(counts: Any, x: Any, limits: Any) -> Any:
        return tuple(count + compare(x, limit) for count, limit in zip(counts, limits, strict=True))

    @intrinsic_of(lambda counts, x, limits: counts(counts, x, limits), count_all)
    def count(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        """The counts of a tuple, each plus one where the comparison of x with its limit holds."""
        pairs = zip(*(cgutils.unpack_tuple(builder, args[i]) for i in (0, 2)), strict=True)
        tests = [(count, builder.fcmp_ordered(comparison, args[1], limit)) for count, limit in pairs]
        sums = [builder.add(count, builder.zext(test, count.type)) for count, test in tests]
        return context.make_tuple(builder, signature.return_type, sums)

    nothing = (np.int32(0),) * n

    @jit
    def tally(block: Any, tag: Any, limits: Any) -> Any:
        counts = nothing
        for i in range(block.size):
            counts = count(counts, abs(widen(block[i], tag)), limits)
        return counts

    return tally  # type: ignore[no-any-return]


#: How many elements |x| of a block are at most each of the limits, and beyond each; NaN is in neither, Inf beyond all.
_tally_small: Final = _tally("<=", operator.le, _N_SMALL)
_tally_large: Final = _tally(">", operator.gt, _N_LARGE)


@exact_jit
def _count_buckets(block: Any, first: Any, second: Any) -> None:
    """Adds one to each element's bucket, for the block's first half in one table, for the second in the other.

    Adding to the same counter twice in sequence, as a ReLU's zeros do, waits for the first addition to reach the
    cache: two tables nearly double the speed there, and cost none elsewhere.
    """
    half = np.uint64(block.size // 2)
    for i in range(half):
        first[_bucket(block[i])] += np.uint32(1)
        second[_bucket(block[i + half])] += np.uint32(1)
    if block.size & 1:
        first[_bucket(block[block.size - 1])] += np.uint32(1)


@jit
def _powers(block: Any, tag: Any, center: Any, inverse: Any) -> Any:
    """Sums of z, z^2, z^3 and z^4 of z = (x - center) * inverse over the finite elements."""
    zero = cast_like(0.0, center)
    inf = cast_like(math.inf, center)
    one = two = three = four = zero
    for i in range(block.size):
        x = widen(block[i], tag)
        z = sub_no_reassoc(x, center) * inverse if abs(x) < inf else zero
        square = z * z
        one += z
        two += square
        three += square * z
        four += square * square
    return np.float64(one), np.float64(two), np.float64(three), np.float64(four)


@jit
def _powers_scaled(block: Any, tag: Any, down: float, center: float, inverse: float) -> Any:
    """The same in float64, of elements that are first scaled by a power of two, which is exact."""
    inf = cast_like(math.inf, widen(block[0], tag))
    one = two = three = four = 0.0
    for i in range(block.size):
        x = widen(block[i], tag)
        z = sub_no_reassoc(np.float64(x) * down, center) * inverse if abs(x) < inf else 0.0
        square = z * z
        one += z
        two += square
        three += square * z
        four += square * square
    return one, two, three, four


@exact_jit
def _fold_shape(block: Any, tag: Any, state: Any) -> Any:
    """The shape (`arithmetic.Shape`) of a block whose state is known."""
    n = state[COUNT] - state[NANS] - state[POS_INFS] - state[NEG_INFS]
    mean = state[MEAN]
    std = state[STD]
    if n == 0 or not std > 0.0:
        return 0.0, 0.0
    example = widen(block[0], tag)
    bound = max(abs(np.float64(state[MIN])), abs(np.float64(state[MAX])))
    # Squares are of elements in units of std, so only std and differences have to be in range.
    narrow = cast_like(1e-60, example) == 0.0
    ordinary = (std > 1e-30 and bound < 1e37) if narrow else (std > 1e-290 and bound < 1e307)
    exponent = min(max(math.frexp(bound)[1], -1000), 1023)
    down = math.ldexp(1.0, -exponent)
    if not ordinary and not std * down > 0.0:
        return 0.0, 0.0
    one = two = three = four = 0.0
    for start in range(0, block.size, BLOCK):
        some = subarray(block, start, min(BLOCK, block.size - start))
        if ordinary:
            sums = _powers(some, tag, cast_like(mean, example), cast_like(1.0 / std, example))
        else:
            sums = _powers_scaled(some, tag, down, mean * down, 1.0 / (std * down))
        one += sums[0]
        two += sums[1]
        three += sums[2]
        four += sums[3]
    # The sums are about a center near the mean and in units near std; here they are brought to mean and std.
    off = one / n
    two /= n
    three /= n
    four /= n
    m2 = two - off * off
    m3 = three - 3.0 * off * two + 2.0 * off * off * off
    m4 = four - 4.0 * off * three + 6.0 * off * off * two - 3.0 * off * off * off * off
    return (m3 / (m2 * math.sqrt(m2)), m4 / (m2 * m2)) if m2 > 0.0 else (0.0, 0.0)


def tally_limits(work: type[np.floating[Any]]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """`_SMALL` and `_LARGE` for elements that are compared as `work`, such that no comparison changes."""

    def at_most(limit: float) -> Any:
        rounded = work(limit)
        return rounded if float(rounded) <= limit else np.nextafter(rounded, work(0.0))

    return tuple(map(at_most, _SMALL)), tuple(map(at_most, _LARGE))


@exact_jit
def _count_tally(block: Any, tag: Any, state: Any, limits: Any, tally: Any) -> None:
    """Adds to the counters of `TALLIES`."""
    small = _tally_small(block, tag, limits[0])
    for k in range(_N_SMALL):
        tally[k] += small[k]
    # Most blocks hold nothing that large.
    if state[POS_INFS] + state[NEG_INFS] > 0 or max(-np.float64(state[MIN]), np.float64(state[MAX])) > _LEAST_LARGE:
        large = _tally_large(block, tag, limits[1])
        for k in range(_N_LARGE):
            tally[_N_SMALL + k] += large[k]


@exact_jit
def _fold_block(
    block: Any, tag: Any, bounds: Any, shaped: bool, limits: Any, tally: Any, first: Any, second: Any
) -> Any:
    state = fold_part(block, tag, bounds)
    shape = _fold_shape(block, tag, state) if shaped else (0.0, 0.0)
    if tally.size:
        _count_tally(block, tag, state, limits, tally)
    if first.size:
        _count_buckets(block, first, second)
    return state, shape


@exact_jit
def fold_details(x: Any, tag: Any, bounds: Any, shaped: bool, limits: Any, tally: Any, first: Any, second: Any) -> Any:
    """The state and the shape of a contiguous, non-empty 1-D array; adds to the counters.

    `x` and `tag` are the element type's; `bounds` are lo, hi and zero_tol. The shape is zeros unless `shaped`. `tally`
    is int64[TALLIES], counted by the `tally_limits` of the element type's working type; `first` and `second` are
    uint32[buckets], and a bucket's count is the sum of both. Where these are empty, nothing is counted.
    """
    for start in range(0, x.size, _DETAILED_BLOCK):
        block = subarray(x, start, min(_DETAILED_BLOCK, x.size - start))
        block_state, block_shape = _fold_block(block, tag, bounds, shaped, limits, tally, first, second)
        if start == 0:  # here, since a second call would be compiled a second time
            state = block_state
            shape = block_shape
            continue
        if shaped:
            shape = _merge_shape(state, block_state, shape, block_shape)
        state = merge(state, block_state)
    return state, shape


class Details(NamedTuple):
    """A tensor's state, and what was asked for beside it.

    `tally` is int64[TALLIES] as in `cpu.extras`; `buckets` are the numbers of those that are not empty, ascending,
    and `counts` says how many elements each holds.
    """

    state: arithmetic.State
    shape: arithmetic.Shape
    tally: npt.NDArray[np.int64]
    buckets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


@functools.cache
def details_kernel(name: str) -> Callable[..., None]:
    """The entry point that takes one part of a tensor after the other, until none is left."""
    element_type = ELEMENT_TYPES[name]
    tag = element_type.tag
    limits = tally_limits(element_type.work)

    def sweep_parts(
        x: Any, lo: float, hi: float, tol: float, shaped: bool, size: int, counter: Any, counts: Any, moments: Any,
        extremes: Any, shapes: Any, tally: Any, first: Any, second: Any
    ) -> None:  # fmt: skip
        mode = begin_ieee()
        bounds, states = (lo, hi, tol), (counts, moments, extremes)
        part = fetch_add(counter)
        while part < counts.shape[1]:
            start = part * size
            state, shape = fold_details(
                subarray(x, start, min(size, x.size - start)), tag, bounds, shaped, limits, tally, first, second
            )
            store_state(state, states, part, 0)
            shapes[part, 0] = shape[0]
            shapes[part, 1] = shape[1]
            part = fetch_add(counter)
        end_ieee(mode)

    signature = types.void(
        array_type(element_type.storage, 1, "C", readonly=True),
        *(types.float64, types.float64, types.float64, types.boolean, types.int64, array_type(np.int64, 1, "C")),
        *array_types(element_type.wide_extreme),
        *(array_type(np.float64, 2, "C"), array_type(np.int64, 1, "C")),
        *[array_type(np.uint32, 1, "C")] * 2,
    )
    return kernel(sweep_parts, f"details-{name}", signature, nogil=True)


def sweep_details(
    x: npt.NDArray[Any], name: str, lo: float, hi: float, tol: float, *, shaped: bool, tallied: bool, counted: bool
) -> Details:
    """The state of a contiguous 1-D array, and its shape, tally and buckets.

    `x` has the storage dtype of the element type `name`. What is not asked for is zeros, or empty. Counters are 32 bits
    wide: `x` has at most 2^31 elements.
    """
    tally = np.zeros(TALLIES, np.int64)
    if x.size == 0:
        return Details(arithmetic.EMPTY, (0.0, 0.0), tally, *np.empty((2, 0), np.int64))
    element_type = ELEMENT_TYPES[name]
    buckets = (1 << (element_type.bits if element_type.bits <= 16 else BUCKET_BITS)) if counted else 0
    size, parts = split(x.size)
    outputs = allocate(element_type.wide_extreme, parts, 1)
    shapes = np.empty((parts, 2))
    counter = np.zeros(1, np.int64)
    sweep_parts = details_kernel(name)
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
    state, shape = arithmetic.EMPTY, (0.0, 0.0)
    for part, part_state in enumerate(zip(*in_order(*(array[:, :, 0].tolist() for array in outputs)), strict=True)):
        shape = arithmetic.merge_shape(state, part_state, shape, tuple(shapes[part].tolist()))
        state = merge_states(state, part_state)
    if tallied:
        tally = np.sum(tallies, axis=0)
    return Details(state, shape, tally, *_filled(tables, element_type))


def _filled(
    tables: list[npt.NDArray[np.uint32]], element_type: ElementType
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The buckets that are not empty in the tables of all threads together, and their counts."""
    size = tables[0].shape[1]
    spans = [(0, size)]
    if size == 1 << BUCKET_BITS and element_type.name != "float64":
        # Memory that was never written to is not there yet, and looking for it costs: only zero and the exponents that
        # a float32 or an integer can have.
        low, high = (1023 - 149, 1023 + 128) if element_type.name == "float32" else (1023, 1023 + 65)
        row = size >> 12
        spans = [(sign + a, sign + b) for sign in (0, size // 2) for a, b in ((0, 1), (row * low, row * high))]
    buckets, counts = [], []
    for start, stop in spans:
        total = np.sum([table[:, start:stop].sum(axis=0, dtype=np.int64) for table in tables], axis=0)
        filled = total.nonzero()[0]
        buckets.append(filled + start)
        counts.append(total[filled])
    return np.concatenate(buckets), np.concatenate(counts)
