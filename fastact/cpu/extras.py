"""What `extras=` adds to the sweep on CPU: third and fourth moments, counts of what narrower types lose, and buckets.

Still one pass over memory: a tensor is taken in blocks that fit the first-level cache, and each block is folded as in
`cpu`, then looked at again for what was asked. Blocks are joined in their order.
"""

import math
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastact import arithmetic
from fastact.arithmetic.element_types import NARROW_FLOATS
from fastact.arithmetic.state import COUNT, MAX, MEAN, MIN, NANS, NEG_INFS, POS_INFS, STD
from fastact.cpu.flat import BLOCK, fold_part, merge
from fastact.cpu.intrinsics import cast_like, sub_no_reassoc, subarray
from fastact.cpu.jit import COMPILED, exact_jit, jit
from fastact.cpu.widen import widen

__all__ = ["BUCKET_BITS", "TALLIES", "fold_details", "tally_limits"]

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
_N_SMALL: Final = len(_SMALL)
_N_LARGE: Final = len(_LARGE)
TALLIES: Final = _N_SMALL + _N_LARGE
_NO_SMALL: Final = (np.int32(0),) * _N_SMALL
_NO_LARGE: Final = (np.int32(0),) * _N_LARGE

_merge_shape: Final = exact_jit(arithmetic.merge_shape)


if not COMPILED:

    def _bucket(stored: Any) -> Any:
        if stored.dtype.itemsize <= 2:
            return int(stored) & (0xFF if stored.dtype.itemsize == 1 else 0xFFFF)
        return int(np.float64(stored).view(np.uint64)) >> _DROPPED

    def _count_up_to(counts: Any, x: Any, limits: Any) -> Any:
        return tuple(count + (x <= limit) for count, limit in zip(counts, limits, strict=True))

    def _count_beyond(counts: Any, x: Any, limits: Any) -> Any:
        return tuple(count + (x > limit) for count, limit in zip(counts, limits, strict=True))

else:

    @intrinsic
    def _bucket(typingctx: Any, stored: Any) -> Any:
        """The number of an element's bucket: its stored bits, or the leading ones of a float64."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            i64 = ir.IntType(64)
            if isinstance(stored, types.Integer) and stored.bitwidth <= 16:
                return builder.zext(args[0], i64)
            value = context.cast(builder, args[0], stored, types.float64)
            return builder.lshr(builder.bitcast(value, i64), ir.Constant(i64, _DROPPED))

        return types.uint64(stored), codegen

    def _counting(comparison: str) -> Any:
        @intrinsic
        def count(typingctx: Any, counts: Any, x: Any, limits: Any) -> Any:
            """The counts of a tuple, each plus one where the comparison of x with its limit holds."""

            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                pairs = zip(*(cgutils.unpack_tuple(builder, args[i]) for i in (0, 2)), strict=True)
                sums = [
                    builder.add(count, builder.zext(builder.fcmp_ordered(comparison, args[1], limit), count.type))
                    for count, limit in pairs
                ]
                return context.make_tuple(builder, counts, sums)

            return counts(counts, x, limits), codegen

        return count

    _count_up_to = _counting("<=")
    _count_beyond = _counting(">")


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
def _tally_small(block: Any, tag: Any, limits: Any) -> Any:
    """How many elements |x| are at most each of the limits; NaN is none of it."""
    counts = _NO_SMALL
    for i in range(block.size):
        counts = _count_up_to(counts, abs(widen(block[i], tag)), limits)
    return counts


@jit
def _tally_large(block: Any, tag: Any, limits: Any) -> Any:
    """How many elements |x| are beyond each of the limits, Inf among them."""
    counts = _NO_LARGE
    for i in range(block.size):
        counts = _count_beyond(counts, abs(widen(block[i], tag)), limits)
    return counts


@jit
def _powers(block: Any, tag: Any, center: Any, inverse: Any) -> Any:
    """Sums of z, z^2, z^3 and z^4 of z = (x - center) * inverse over the finite elements."""
    zero = cast_like(0.0, center)
    inf = cast_like(math.inf, center)
    one = zero
    two = zero
    three = zero
    four = zero
    for i in range(block.size):
        x = widen(block[i], tag)
        z = sub_no_reassoc(x, center) * inverse if abs(x) < inf else zero
        square = z * z
        one += z
        two += square
        three += square * z
        four += square * square
    return one, two, three, four


@jit
def _powers_scaled(block: Any, tag: Any, down: float, center: float, inverse: float) -> Any:
    """The same in float64, of elements that are first scaled by a power of two, which is exact."""
    inf = cast_like(math.inf, widen(block[0], tag))
    one = 0.0
    two = 0.0
    three = 0.0
    four = 0.0
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
            one += np.float64(sums[0])
            two += np.float64(sums[1])
            three += np.float64(sums[2])
            four += np.float64(sums[3])
        else:
            wide = _powers_scaled(some, tag, down, mean * down, 1.0 / (std * down))
            one += wide[0]
            two += wide[1]
            three += wide[2]
            four += wide[3]
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
    shape = (0.0, 0.0)
    if shaped:
        shape = _fold_shape(block, tag, state)
    if tally.size:
        _count_tally(block, tag, state, limits, tally)
    if first.size:
        _count_buckets(block, first, second)
    return state, shape


@exact_jit
def fold_details(x: Any, tag: Any, bounds: Any, shaped: bool, limits: Any, tally: Any, first: Any, second: Any) -> Any:
    """The state and the shape of a contiguous, non-empty 1-D array; adds to the counters.

    Args:
        x: of the element type's storage dtype.
        tag: the element type's tag.
        bounds: lo and hi, the ends of the saturation interval, and zero_tol, the largest |x| that is a zero.
        shaped: whether to compute the shape, which is zeros otherwise.
        limits: `tally_limits` of the element type's working type.
        tally: int64[TALLIES], or empty: do not count.
        first: uint32[buckets], or empty: do not count.
        second: the same; a bucket's count is the sum of both.
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
