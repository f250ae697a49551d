"""What `extras=` adds to the sweep on CPU: third and fourth moments, counts of what narrower types lose, and buckets.

Still one pass over memory: a tensor is taken in pieces that fit the first-level cache, and each piece is folded as in
`cpu`, then looked at again for what was asked. Pieces are joined in their order.
"""

import math
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastact import arithmetic
from fastact.arithmetic.element_types import NARROW_FLOATS
from fastact.arithmetic.state import COUNT, MAX, MEAN, MIN, NANS, NEG_INFS, POS_INFS, STD
from fastact.cpu.flat import BLOCK, at_most, fold_part, merge
from fastact.cpu.intrinsics import cast_like, sub_no_reassoc, subarray
from fastact.cpu.jit import COMPILED, exact_jit, jit
from fastact.cpu.widen import widen

__all__ = ["BUCKET_BITS", "TALLIES", "fold_details"]

#: Elements of a block.
_BLOCK: Final = 1 << 13

#: The bucket of a wide element is the leading bits of the float64 that holds it: sign, 11 of exponent, 7 of mantissa.
#: Elements of 16 bits or less are counted by their stored bits.
BUCKET_BITS: Final = 19
_DROPPED: Final = 64 - BUCKET_BITS

#: The |x| up to which rounding gives zero and below which it gives a denormal or zero, for each of `NARROW_FLOATS`.
_SMALL_LIMITS: Final = tuple((narrow.zero_up_to, narrow.denormal_below) for narrow in NARROW_FLOATS.values())
#: The |x| beyond which it is lost.
_LARGE_LIMITS: Final = tuple(narrow.finite_up_to for narrow in NARROW_FLOATS.values())
_LEAST_LARGE: Final = min(_LARGE_LIMITS)
#: Counters of a tally: elements equal to zero; up to the first and below the second number of each pair of
#: `_SMALL_LIMITS`; beyond each of `_LARGE_LIMITS`, Inf among them.
TALLIES: Final = 1 + 3 * len(NARROW_FLOATS)

_merge_shape: Final = exact_jit(arithmetic.merge_shape)


if not COMPILED:

    def _bucket(stored: Any) -> Any:
        if stored.dtype.itemsize <= 2:
            return int(stored) & (0xFF if stored.dtype.itemsize == 1 else 0xFFFF)
        return int(np.float64(stored).view(np.uint64)) >> _DROPPED

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


@exact_jit
def _count_buckets(piece: Any, first: Any, second: Any) -> None:
    """Adds one to each element's bucket, for the piece's first half in one table, for the second in the other.

    Adding to the same counter twice in sequence, as a ReLU's zeros do, waits for the first addition to reach the
    cache: two tables nearly double the speed there, and cost none elsewhere.
    """
    half = np.uint64(piece.size // 2)
    for i in range(half):
        first[_bucket(piece[i])] += np.uint32(1)
        second[_bucket(piece[i + half])] += np.uint32(1)
    if piece.size & 1:
        first[_bucket(piece[piece.size - 1])] += np.uint32(1)


@jit
def _tally_small(block: Any, tag: Any, limits: Any) -> Any:
    """How many elements are zero, and up to and below each of these limits; NaN is none of it."""
    (zero0, small0), (zero1, small1), (zero2, small2), (zero3, small3) = limits
    none = cast_like(0.0, zero0)
    z = a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = np.int32(0)
    for i in range(block.size):
        x = abs(widen(block[i], tag))
        z = np.int32(z + (x == none))
        a0 = np.int32(a0 + (x <= zero0))
        a1 = np.int32(a1 + (x < small0))
        b0 = np.int32(b0 + (x <= zero1))
        b1 = np.int32(b1 + (x < small1))
        c0 = np.int32(c0 + (x <= zero2))
        c1 = np.int32(c1 + (x < small2))
        d0 = np.int32(d0 + (x <= zero3))
        d1 = np.int32(d1 + (x < small3))
    return z, a0, a1, b0, b1, c0, c1, d0, d1


@jit
def _tally_large(block: Any, tag: Any, limits: Any) -> Any:
    """How many elements are lost by each of these limits, Inf among them."""
    limit0, limit1, limit2, limit3 = limits
    a = b = c = d = np.int32(0)
    for i in range(block.size):
        x = abs(widen(block[i], tag))
        a = np.int32(a + (x > limit0))
        b = np.int32(b + (x > limit1))
        c = np.int32(c + (x > limit2))
        d = np.int32(d + (x > limit3))
    return a, b, c, d


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
def _fold_shape(piece: Any, tag: Any, state: Any) -> Any:
    """The shape (`arithmetic.Shape`) of a piece whose state is known."""
    n = state[COUNT] - state[NANS] - state[POS_INFS] - state[NEG_INFS]
    mean = state[MEAN]
    std = state[STD]
    if n == 0 or not std > 0.0:
        return 0.0, 0.0
    example = widen(piece[0], tag)
    bound = max(abs(np.float64(state[MIN])), abs(np.float64(state[MAX])))
    # Squares are of elements in units of std, so only std and differences have to be in range.
    narrow = cast_like(1e-60, example) == 0.0
    ordinary = (std > 1e-30 and bound < 1e37) if narrow else (std > 1e-290 and bound < 1e307)
    exponent = min(max(math.frexp(bound)[1], -1000), 1023)
    down = math.ldexp(1.0, -exponent)
    if not ordinary and not std * down > 0.0:
        return 0.0, 0.0
    one = two = three = four = 0.0
    for start in range(0, piece.size, BLOCK):
        block = subarray(piece, start, min(BLOCK, piece.size - start))
        if ordinary:
            sums = _powers(block, tag, cast_like(mean, example), cast_like(1.0 / std, example))
            one += np.float64(sums[0])
            two += np.float64(sums[1])
            three += np.float64(sums[2])
            four += np.float64(sums[3])
        else:
            wide = _powers_scaled(block, tag, down, mean * down, 1.0 / (std * down))
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


@exact_jit
def _count_tally(piece: Any, tag: Any, state: Any, tally: Any) -> None:
    """Adds to the counters of `TALLIES`."""
    x = widen(piece[0], tag)
    small = _tally_small(
        piece,
        tag,
        (
            (cast_like(_SMALL_LIMITS[0][0], x), cast_like(_SMALL_LIMITS[0][1], x)),
            (cast_like(_SMALL_LIMITS[1][0], x), cast_like(_SMALL_LIMITS[1][1], x)),
            (cast_like(_SMALL_LIMITS[2][0], x), cast_like(_SMALL_LIMITS[2][1], x)),
            (cast_like(_SMALL_LIMITS[3][0], x), cast_like(_SMALL_LIMITS[3][1], x)),
        ),
    )
    for k in range(9):
        tally[k] += small[k]
    # Most pieces hold nothing that large.
    if state[POS_INFS] + state[NEG_INFS] > 0 or max(-np.float64(state[MIN]), np.float64(state[MAX])) > _LEAST_LARGE:
        large = _tally_large(
            piece,
            tag,
            (
                at_most(_LARGE_LIMITS[0], x),
                at_most(_LARGE_LIMITS[1], x),
                at_most(_LARGE_LIMITS[2], x),
                at_most(_LARGE_LIMITS[3], x),
            ),
        )
        for k in range(4):
            tally[9 + k] += large[k]


@exact_jit
def _fold_block(piece: Any, tag: Any, bounds: Any, shaped: bool, tally: Any, first: Any, second: Any) -> Any:
    state = fold_part(piece, tag, bounds)
    shape = (0.0, 0.0)
    if shaped:
        shape = _fold_shape(piece, tag, state)
    if tally.size:
        _count_tally(piece, tag, state, tally)
    if first.size:
        _count_buckets(piece, first, second)
    return state, shape


@exact_jit
def fold_details(x: Any, tag: Any, bounds: Any, shaped: bool, tally: Any, first: Any, second: Any) -> Any:
    """The state and the shape of a contiguous, non-empty 1-D array; adds to the counters.

    Args:
        x: of the element type's storage dtype.
        tag: the element type's tag.
        bounds: lo and hi, the ends of the saturation interval, and zero_tol, the largest |x| that is a zero.
        shaped: whether to compute the shape, which is zeros otherwise.
        tally: int64[TALLIES], or empty: do not count.
        first: uint32[buckets], or empty: do not count.
        second: the same; a bucket's count is the sum of both.
    """
    for start in range(0, x.size, _BLOCK):
        piece = subarray(x, start, min(_BLOCK, x.size - start))
        block_state, block_shape = _fold_block(piece, tag, bounds, shaped, tally, first, second)
        if start == 0:  # here, since a second call would be compiled a second time
            state = block_state
            shape = block_shape
            continue
        if shaped:
            shape = _merge_shape(state, block_state, shape, block_shape)
        state = merge(state, block_state)
    return state, shape
