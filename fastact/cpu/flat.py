"""The fold of a flat array into one state, compiled by Numba for each element type.

One pass over memory. A tensor is folded block by block (some thousand elements, which stay in the cache) in the
element's own precision relative to a shift, the mean of the block before, so that ``sum((x - shift)^2)`` cancels
nothing; blocks are joined in float64 by Chan's formula. The first loop tests nothing: a sum that is not finite shows
that a NaN, an Inf or an overflow is in the block, and only then is that block folded again with care. The second look
costs little, since the block is in the cache.

How elements are stored reaches the compiler as a type, the element type's tag: one generic source, no generated code.
"""

import math
from typing import Any, Final

import numpy as np

from fastact import arithmetic
from fastact.cpu.intrinsics import cast_like, max_no_nan, min_no_nan, sub_no_reassoc, subarray
from fastact.cpu.jit import VECTOR_BYTES, exact_jit, jit
from fastact.cpu.widen import minmax_key, widen

# Elements that are folded in the element's precision before they are joined in float64. Each vector lane adds up 64 of
# them, so that even equal ones, whose rounding errors never cancel, give std to 1e-6 in float32: 2048 elements where a
# vector has 16 lanes. Of a pair of streams it is four times that (each lane adds up 256 pairs): from memory, every end
# of a block costs a bubble of 100 ns.
BLOCK: Final = 32 * VECTOR_BYTES
_PAIR_BLOCK: Final = 4 * BLOCK
# Elements from which on memory is read in two streams: 38 GB/s a thread where one stream gives 27. Asking the cache for
# the next block's lines ahead (llvm.prefetch) was tried: at any distance it took a tenth to a half of the speed away.
_PAIRED_FROM: Final = 1 << 17

# A block whose mean is further than 2 std from its shift is folded again from a better shift: beyond that, the
# difference of the two sums loses digits.
FAR: Final = 4.0
#: Times a spread, the number to add and subtract for `coarse`: 1.5 * 2^52 / 1024.
COARSE: Final = 6597069766656.0

merge: Final = exact_jit(arithmetic.merge)
two_sum: Final = exact_jit(arithmetic.two_sum)
unscaled: Final = exact_jit(arithmetic.unscaled)


@jit
def at_most(bound: float, example: Any) -> Any:
    """The largest number of the type of `example` that is not above `bound`."""
    rounded = cast_like(bound, example)
    return np.nextafter(rounded, cast_like(-math.inf, example)) if rounded > bound else rounded


@jit
def work_bounds(bounds: Any, example: Any) -> Any:
    """lo, hi and zero_tol in the element's precision, rounded such that no comparison of an element changes."""
    lo, hi, tol = bounds
    low = cast_like(lo, example)
    if low < lo:
        low = np.nextafter(low, cast_like(math.inf, example))
    return low, at_most(hi, example), at_most(tol, example)


@exact_jit
def coarse(mean: float, spread: float, example: Any) -> Any:
    """A shift near `mean`, of the type of `example`, with the digits that `spread`, a standard deviation, calls for.

    A shift of full precision ends in digits that most elements lack: float16 beside float32, or 1e8 beside a mean of
    0.1. The differences from it all end in the same ones, and rounding them, or their sum, errs the same way each time.
    Rounded to a thousandth of the spread (by adding and subtracting a number of that last place), it does not.
    """
    magic = spread * COARSE
    rounded = (mean + magic) - magic
    return cast_like(rounded, example) if abs(rounded) < math.inf else cast_like(mean, example)


@jit
def fold_block(block: Any, tag: Any, shift: Any, low: Any, high: Any, near: Any) -> Any:
    """Sums of x - shift, of its square and of |x|, the extremes, and counts of zeros and saturated; nothing tested."""
    total = squares = absolute = cast_like(0.0, shift)
    smallest = largest = minmax_key(block[0], tag)
    zeros = saturated = np.int32(0)  # a 64-bit counter would halve the vector width; a block fits 32 bits
    for i in range(block.size):
        x = widen(block[i], tag)
        d = sub_no_reassoc(x, shift)
        total += d
        squares += d * d
        absolute += abs(x)
        smallest = min_no_nan(smallest, minmax_key(block[i], tag))
        largest = max_no_nan(largest, minmax_key(block[i], tag))
        zeros = np.int32(zeros + (abs(x) <= near))
        saturated = np.int32(saturated + ((x < low) | (x > high)))
    return total, squares, absolute, smallest, largest, zeros, saturated


@jit
def _fold_pair(first: Any, second: Any, tag: Any, shift: Any, low: Any, high: Any, near: Any) -> Any:
    """The same over two blocks that lie far apart: two streams keep more of the memory's reads under way."""
    total = squares = absolute = cast_like(0.0, shift)
    smallest = largest = minmax_key(first[0], tag)
    zeros = saturated = np.int32(0)
    for i in range(first.size):
        x = widen(first[i], tag)
        y = widen(second[i], tag)
        d = sub_no_reassoc(x, shift)
        e = sub_no_reassoc(y, shift)
        total += d + e
        squares += d * d + e * e
        absolute += abs(x) + abs(y)
        smallest = min_no_nan(smallest, min_no_nan(minmax_key(first[i], tag), minmax_key(second[i], tag)))
        largest = max_no_nan(largest, max_no_nan(minmax_key(first[i], tag), minmax_key(second[i], tag)))
        zeros = np.int32(zeros + (abs(x) <= near) + (abs(y) <= near))
        saturated = np.int32(saturated + ((x < low) | (x > high)) + ((y < low) | (y > high)))
    return total, squares, absolute, smallest, largest, zeros, saturated


@jit
def _fold_finite(block: Any, tag: Any, shift: Any) -> Any:
    """The same sums and extremes over the finite elements, and how many are NaN, +inf and -inf."""
    zero = cast_like(0.0, shift)
    inf = cast_like(math.inf, shift)
    total = squares = absolute = zero
    smallest, largest = inf, -inf
    nans = pos_infs = neg_infs = np.int32(0)
    for i in range(block.size):
        x = widen(block[i], tag)
        finite = abs(x) < inf
        d = sub_no_reassoc(x, shift) if finite else zero
        total += d
        squares += d * d
        absolute += abs(x) if finite else zero
        smallest = min_no_nan(smallest, x if finite else inf)
        largest = max_no_nan(largest, x if finite else -inf)
        nans = np.int32(nans + (x != x))
        pos_infs = np.int32(pos_infs + (x == inf))
        neg_infs = np.int32(neg_infs + (x == -inf))
    return total, squares, absolute, smallest, largest, nans, pos_infs, neg_infs


@jit
def _moments_exact(x: Any, tag: Any, largest: float) -> Any:
    """Mean, std, mean of |x| and the mean's rest over the finite elements, none larger than `largest`, in two passes.

    For data whose squares leave the range of the element's precision (1e-300, 1e300; 1e-20 in float32). Elements are
    scaled by a power of two, which is exact, to below 1.
    """
    inf = cast_like(math.inf, widen(x[0], tag))
    # Clamped: 2^1000 is in range, and lifts even the smallest denormal to where its square is.
    exponent = min(max(math.frexp(largest)[1], -1000), 1023)
    down = math.ldexp(1.0, -exponent)
    count = 0
    total = absolute = 0.0
    for i in range(x.size):
        v = widen(x[i], tag)
        if abs(v) < inf:
            y = np.float64(v) * down
            count += 1
            total += y
            absolute += abs(y)
    if count == 0:
        return math.nan, math.nan, math.nan, 0.0
    shift = total / count
    total = squares = 0.0
    for i in range(x.size):
        v = widen(x[i], tag)
        if abs(v) < inf:
            d = np.float64(v) * down - shift
            total += d
            squares += d * d
    return unscaled(count, exponent, shift, total, squares, absolute)


@exact_jit
def _fold(x: Any, start: int, far: int, size: int, tag: Any, shift: Any, low: Any, high: Any, near: Any) -> Any:
    """Folds the block at `start`, together with the one `far` behind it unless that is 0."""
    if far > 0:
        return _fold_pair(subarray(x, start, size), subarray(x, start + far, size), tag, shift, low, high, near)
    return fold_block(subarray(x, start, size), tag, shift, low, high, near)


@exact_jit
def _fold_slowly(x: Any, start: int, far: int, size: int, tag: Any, shift: Any) -> Any:
    """The finite elements of the same block or blocks, of which `BLOCK` at most are summed in their precision."""
    total = squares = absolute = 0.0
    nans = pos_infs = neg_infs = 0
    smallest, largest = cast_like(math.inf, shift), cast_like(-math.inf, shift)
    for piece in range(0, 2 * size if far > 0 else size, BLOCK):
        at = start + piece if piece < size else start + far + piece - size
        end = start + size if piece < size else start + far + size
        part = _fold_finite(subarray(x, at, min(BLOCK, end - at)), tag, shift)
        total, squares, absolute = total + part[0], squares + part[1], absolute + part[2]
        smallest, largest = min_no_nan(smallest, part[3]), max_no_nan(largest, part[4])
        nans, pos_infs, neg_infs = nans + part[5], pos_infs + part[6], neg_infs + part[7]
    return total, squares, absolute, smallest, largest, nans, pos_infs, neg_infs


def part_fold(fold: Any, block: int, pair_block: int, *, prefers_zero: bool = False) -> Any:
    """The fold of a contiguous, non-empty 1-D array into its state: (x, tag, bounds), which are lo, hi and zero_tol.

    Args:
        fold: folds a block, or two that are read together, as `_fold` does.
        block: elements of a block.
        pair_block: elements of each of two.
        prefers_zero: whether `fold` is faster where the shift is zero; it is then where the mean is near enough.
    """

    @exact_jit  # regrouped, (shift - origin) + offset would round; what it calls was compiled with flags of its own
    def fold_part(x: Any, tag: Any, bounds: Any) -> Any:
        shift = widen(x[0], tag)
        low, high, near = work_bounds(bounds, shift)
        if prefers_zero or not abs(shift) < math.inf:
            shift = cast_like(0.0, shift)
        zeros = saturated = nans = pos_infs = neg_infs = 0
        n = 0
        # The mean is kept relative to an origin near it: rounded to float64 itself, it would lose what the squares need
        # where the spread is a few units in the last place.
        origin = mean = m2 = abs_mean = 0.0
        smallest = largest = minmax_key(x[0], tag)
        # What is long comes from memory, and is read in two streams: the first half and the second.
        pairs = x.size // 2 // pair_block if x.size >= _PAIRED_FROM else 0
        paired = 2 * pairs * pair_block
        for number in range(pairs - (paired - x.size) // block):
            far = pairs * pair_block if number < pairs else 0
            start = number * pair_block if number < pairs else paired + (number - pairs) * block
            size = pair_block if number < pairs else min(block, x.size - start)
            total, squares, absolute, least, most, block_zeros, block_saturated = fold(
                x, start, far, size, tag, shift, low, high, near
            )
            zeros += block_zeros
            saturated += block_saturated
            m = 2 * size if far > 0 else size
            slow_path = not (squares < math.inf and absolute < math.inf)
            if slow_path:
                total, squares, absolute, f_least, f_most, block_nans, block_pos, block_neg = _fold_slowly(
                    x, start, far, size, tag, shift
                )
                least = cast_like(f_least, least)
                most = cast_like(f_most, most)
                nans += block_nans
                pos_infs += block_pos
                neg_infs += block_neg
                m -= block_nans + block_pos + block_neg
            if number == 0:
                smallest = least
                largest = most
            else:
                smallest = min_no_nan(smallest, least)
                largest = max_no_nan(largest, most)
            if m == 0:
                continue
            if least == most:
                shift = cast_like(least, shift)
                offset = np.float64(least) - shift
                block_m2 = 0.0
            else:
                offset = np.float64(total) / m
                block_m2 = np.float64(squares) - np.float64(total) * offset
                if offset * offset * m > FAR * block_m2:
                    shift = coarse(shift + offset, math.sqrt(max(block_m2, 0.0) / m), shift)
                    if slow_path:
                        total, squares, absolute, _a, _b, _c, _d, _e = _fold_slowly(x, start, far, size, tag, shift)
                    else:
                        total, squares, absolute, _f, _g, _h, _i = fold(
                            x, start, far, size, tag, shift, low, high, near
                        )
                    offset = np.float64(total) / m
                    block_m2 = max(np.float64(squares) - np.float64(total) * offset, 0.0)
            # Of one sign, |x| is summed as precisely as x is; summed by itself, equal values all round the same way.
            block_abs = np.float64(absolute) / m if least < 0 < most else abs(shift + offset)
            if n == 0:
                origin = np.float64(shift)
            n += m
            weight = m / n
            delta = (shift - origin) + offset - mean
            mean += delta * weight
            m2 += block_m2 + delta * delta * weight * (n - m)
            abs_mean += (block_abs - abs_mean) * weight
            block_mean = shift + offset
            shift = coarse(block_mean, math.sqrt(block_m2 / m), shift)
            if prefers_zero and block_mean * block_mean * m <= FAR * block_m2:
                shift = cast_like(0.0, shift)
        mean, rest = two_sum(origin, mean)
        std = math.sqrt(m2 / n) if n > 0 else 0.0
        if (n > 0 and smallest < largest) or not abs_mean < math.inf:
            # The squares may have left the range of the precision they were summed in: below, digits are lost to
            # denormals (float32 squares of 1e-16, float64 squares of 1e-146); above, the sum is not finite.
            tiny = 1e-14 if cast_like(1e-60, shift) == 0.0 else 1e-145
            if not tiny < std < math.inf:
                bound = max(abs(np.float64(smallest)), abs(np.float64(largest)))
                mean, std, abs_mean, rest = _moments_exact(x, tag, bound)
        if n == 0:
            mean = std = abs_mean = math.nan
        return (x.size, nans, pos_infs, neg_infs, zeros, saturated, mean, std, abs_mean, smallest, largest, rest)

    return fold_part


#: Of any element type.
fold_part: Final = part_fold(_fold, BLOCK, _PAIR_BLOCK)
