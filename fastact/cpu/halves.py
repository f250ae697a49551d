"""The fold of a block of floats of 16 bits: extremes and counts by their bits, 32 to a register, sums in float32.

As float32 a register holds 16 of them, and to have each widened for every question was what bound the sweep. A float's
bits in the order of floats are integers (`stored.order_key`), of which the smallest and the largest tell the extremes,
and whose ranges are zeros and what is not saturated.
"""

import math
from typing import Any, Final

import numpy as np

from fastact.arithmetic.element_types import BFloat16
from fastact.cpu import simd, stored, tally
from fastact.cpu.flat import fold_block
from fastact.cpu.intrinsics import max_no_nan, min_no_nan, subarray
from fastact.cpu.jit import exact_jit, jit
from fastact.cpu.widen import narrow, widen

#: Vectors of each of two streams until their sums are added up in float64: a lane adds up as many squares.
_FLUSHED: Final = 64
#: Elements of a block, and of each of two that are read together from memory. More than of float32: their sums in
#: float64 lose nothing, and every end of a block costs a bubble.
BLOCK: Final = 1 << 14
PAIR_BLOCK: Final = 1 << 15
#: 1.0 in bfloat16.
_ONE: Final = 0x3F80


@exact_jit
def _key_at_most(bound: Any, tag: Any) -> Any:
    """The largest order key of a stored float that is not above `bound`, a float32 that is not NaN."""
    size = abs(bound)
    near = narrow(size, tag)
    value = widen(near, tag)
    if bound >= 0:
        return np.int64(near) - (value > size)
    return -1 - np.int64(near) - (value < size)


@exact_jit
def _wrapped(number: int) -> int:
    """An unsigned number of 16 bits as a signed one."""
    return number - 0x10000 if number > 0x7FFF else number


@exact_jit
def _key_ranges(low: Any, high: Any, near: Any, tag: Any) -> Any:
    """The order keys of what is not saturated and of zeros, each the first and the span; whether the former is any."""
    first = -1 - _key_at_most(-low, tag)
    last_zero = _key_at_most(near, tag)
    span = _key_at_most(high, tag) - first
    return (first, _wrapped(max(span, 0)), -1 - last_zero, _wrapped(2 * last_zero + 1)), span >= 0


@exact_jit
def _value_of(key: Any, tag: Any) -> Any:
    """The float with an order key, widened."""
    key = np.int64(key)
    return widen(np.uint16((key ^ ((key >> 15) & 0x7FFF)) & 0xFFFF), tag)


@jit
def _count_nans(block: Any, tag: Any) -> Any:
    nans = np.int32(0)
    for i in range(block.size):
        x = widen(block[i], tag)
        nans = np.int32(nans + (x != x))
    return nans


@exact_jit
def _add_widened(sums: Any, x: Any, at: int, bits: Any, tag: Any, constants: Any) -> Any:
    """Sums of x, of its square (twice) and of |x| after one more element in each lane."""
    total, squares, more_squares, absolute = sums
    _, wide_mask, _ = constants
    a, b = stored.load_split(x, at, tag)
    return (
        total + (a + b), squares + a * a, more_squares + b * b,
        absolute + (stored.masked_float(a, wide_mask) + stored.masked_float(b, wide_mask)),
    )  # fmt: skip


@exact_jit
def _add_dots(sums: Any, x: Any, at: int, bits: Any, tag: Any, constants: Any) -> Any:
    """The same of bfloat16 by dot products: of x with 1, with itself, and of |x| with 1."""
    total, squares, more_squares, absolute = sums
    mask, _, one = constants
    return (
        stored.dot_bfloat16(total, bits, one), stored.dot_bfloat16(squares, bits, bits), more_squares,
        stored.dot_bfloat16(absolute, stored.masked(bits, mask), one),
    )  # fmt: skip


@exact_jit
def _look(found: Any, bits: Any, limits: Any) -> Any:
    """Extremes and counts after one more element in each lane; `limits` are of |x|: of high and of near."""
    lowest, highest, most, zeros, inside = found
    high, near, mask, one = limits
    signed, size = stored.as_signed(bits), stored.masked(bits, mask)
    return (
        simd.minimum(lowest, signed), simd.maximum(highest, signed), simd.maximum(most, bits),
        tally.count(zeros, simd.at_most(size, near), one), tally.count(inside, simd.at_most(size, high), one),
    )  # fmt: skip


@exact_jit
def _flushed(wide: Any, a: Any, b: Any) -> Any:
    """Sums in float64, and those of some vectors of two streams."""
    total, squares, absolute = wide
    return (
        total + simd.to_float64(a[0] + b[0]), squares + simd.to_float64((a[1] + a[2]) + (b[1] + b[2])),
        absolute + simd.to_float64(a[3] + b[3]),
    )  # fmt: skip


@exact_jit
def _reduced(wide: Any) -> Any:
    return simd.reduce_sum(wide[0]), simd.reduce_sum(wide[1]), simd.reduce_sum(wide[2])


@exact_jit
def _total(counts: Any) -> int:
    return int(simd.reduce_sum(simd.to_float64(counts)))


def _fold_plain_of(add: Any) -> Any:
    @exact_jit
    def fold_plain(x: Any, start: int, far: int, size: int, tag: Any, high: Any, near: Any) -> Any:
        """The fold about zero, with bounds of -`high` and `high`, of two stretches of `size` elements, whole vectors.

        They begin at `start` and `far` behind it.
        """
        n_lanes = stored.stored_lanes(x)
        bits = stored.load_stored(x, start)
        signed = stored.as_signed(bits)
        mask = tally.constant(0x7FFF, bits)
        limits = (
            simd.splat(_key_at_most(high, tag), bits), simd.splat(_key_at_most(near, tag), bits), mask,
            tally.constant(1, bits),
        )  # fmt: skip
        zero = simd.splat(0.0, stored.load_split(x, start, tag)[0])
        wide = simd.to_float64(zero), simd.to_float64(zero), simd.to_float64(zero)
        constants = mask, tally.constant(0x7FFFFFFF, simd.no_counts(zero)), tally.constant(_ONE, bits)
        nothing = stored.nothing_like(bits)
        found = signed, signed, bits, nothing, nothing
        for chunk in range(start, start + size, _FLUSHED * n_lanes):
            a = b = (zero, zero, zero, zero)
            for at in range(chunk, min(chunk + _FLUSHED * n_lanes, start + size), n_lanes):
                bits = stored.load_stored(x, at)
                found = _look(found, bits, limits)
                a = add(a, x, at, bits, tag, constants)
                bits = stored.load_stored(x, at + far)
                found = _look(found, bits, limits)
                b = add(b, x, at + far, bits, tag, constants)
            wide = _flushed(wide, a, b)
        lowest, highest, most, zeros, inside = found
        # Bits as signed numbers: of negative floats the one nearest to zero is the lowest, where there is any.
        nearest, top = np.int64(simd.reduce_min(lowest)), np.int64(simd.reduce_max(highest))
        bottom = np.int64(simd.reduce_max(most))
        least = widen(np.uint16((bottom if bottom > 0x7FFF else nearest) & 0xFFFF), tag)
        greatest = widen(np.uint16((top if top >= 0 else nearest) & 0xFFFF), tag)
        return _reduced(wide), least, greatest, _total(zeros), 2 * size - _total(inside)

    return fold_plain


@exact_jit
def _look_anywhere(found: Any, bits: Any, ranges: Any) -> Any:
    """Extremes, as order keys, and counts after one more element in each lane."""
    smallest, largest, zeros, inside, one = found
    first, span, first_zero, zero_span = ranges
    key = stored.order_key(bits)
    return (
        simd.minimum(smallest, key), simd.maximum(largest, key),
        tally.count(zeros, stored.within(key, first_zero, zero_span), one),
        tally.count(inside, stored.within(key, first, span), one), one,
    )  # fmt: skip


@exact_jit
def _add_shifted(sums: Any, x: Any, at: int, tag: Any, shift: Any, mask: Any) -> Any:
    """Sums of x - shift, of its square (twice) and of |x| after one more element in each lane."""
    total, squares, more_squares, absolute = sums
    a, b = stored.load_split(x, at, tag)
    d, e = a - shift, b - shift
    return (
        total + (d + e), squares + d * d, more_squares + e * e,
        absolute + (stored.masked_float(a, mask) + stored.masked_float(b, mask)),
    )  # fmt: skip


@exact_jit
def _fold_shifted(x: Any, start: int, far: int, size: int, tag: Any, shift: Any, low: Any, high: Any, near: Any) -> Any:
    """The same about any shift, with any bounds."""
    n_lanes = stored.stored_lanes(x)
    ranges, any_inside = _key_ranges(low, high, near, tag)
    s = simd.splat(shift, stored.load_split(x, start, tag)[0])
    zero = s - s
    wide = simd.to_float64(zero), simd.to_float64(zero), simd.to_float64(zero)
    bits = stored.load_stored(x, start)
    key, nothing = stored.order_key(bits), stored.nothing_like(bits)
    keys = (
        simd.splat(ranges[0], key),
        simd.splat(ranges[1], key),
        simd.splat(ranges[2], key),
        simd.splat(ranges[3], key),
    )
    found = key, key, nothing, nothing, tally.constant(1, bits)
    mask = tally.constant(0x7FFFFFFF, simd.no_counts(zero))
    for chunk in range(start, start + size, _FLUSHED * n_lanes):
        a = b = (zero, zero, zero, zero)
        for at in range(chunk, min(chunk + _FLUSHED * n_lanes, start + size), n_lanes):
            found = _look_anywhere(found, stored.load_stored(x, at), keys)
            a = _add_shifted(a, x, at, tag, s, mask)
            found = _look_anywhere(found, stored.load_stored(x, at + far), keys)
            b = _add_shifted(b, x, at + far, tag, s, mask)
        wide = _flushed(wide, a, b)
    smallest, largest, zeros, inside, _ = found
    least, greatest = _value_of(simd.reduce_min(smallest), tag), _value_of(simd.reduce_max(largest), tag)
    n_inside = _total(inside) if any_inside else 0
    return _reduced(wide), least, greatest, _total(zeros), 2 * size - n_inside


def fold_halves_of(tag: Any) -> Any:
    """`flat.fold_block` over one block or two, for the element type with this tag; it prefers a shift of 0.

    As there, sums are not finite where an element is not.
    """
    dots = isinstance(tag, BFloat16) and stored.HAS_BFLOAT16_DOTS
    fold_plain = _fold_plain_of(_add_dots if dots else _add_widened)

    @exact_jit
    def fold(x: Any, start: int, far: int, size: int, tag: Any, shift: Any, low: Any, high: Any, near: Any) -> Any:
        # Two streams of each block, too: of two far apart, one of each.
        n_lanes = stored.stored_lanes(x)
        length = size if far > 0 else size // (2 * n_lanes) * n_lanes
        rest = 0 if far > 0 else size - 2 * length
        total = squares = absolute = 0.0
        zeros = saturated = 0
        least = most = widen(x[start], tag)
        if length > 0:
            apart = far if far > 0 else length
            if shift == 0 and high >= 0 and low == -high:
                found = fold_plain(x, start, apart, length, tag, high, near)
            else:
                found = _fold_shifted(x, start, apart, length, tag, shift, low, high, near)
            (total, squares, absolute), least, most, zeros, saturated = found
            if not (squares < math.inf and absolute < math.inf):
                # NaN is not within the bounds, nor beyond them.
                saturated -= _count_nans(subarray(x, start, length), tag)
                saturated -= _count_nans(subarray(x, start + apart, length), tag)
        if rest > 0:
            tail = fold_block(subarray(x, start + 2 * length, rest), tag, shift, low, high, near)
            total, squares, absolute = total + tail[0], squares + tail[1], absolute + tail[2]
            least, most = min_no_nan(least, tail[3]), max_no_nan(most, tail[4])
            zeros, saturated = zeros + tail[5], saturated + tail[6]
        return total, squares, absolute, least, most, zeros, saturated

    return fold
