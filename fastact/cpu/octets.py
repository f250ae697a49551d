"""The fold of a flat array of 8-bit integers or bools into one state: whole numbers alone, so that nothing is rounded.

A register holds 64 of them, or 32. Elements are seen as signed: unsigned ones less 128, which is put back at the end.
The sums of x and of |x| come of sums of eight neighbours, that of x^2 of products of four; what lies within bounds is
counted in the bytes themselves. Ways by counts of the 256 values reached 2.5 GB/s, this one reaches ten times that.
"""

import math
from typing import Any, Final

import numpy as np

from fastact.cpu import simd, stored, tally
from fastact.cpu.flat import two_sum
from fastact.cpu.jit import exact_jit
from fastact.cpu.widen import minmax_key

#: Vectors of each of the two streams until counts are taken out of their bytes, which hold 255.
_COUNTED: Final = 127


@exact_jit
def _begin_plain(v: Any) -> Any:
    """Sums of no elements; `v` is some vector of signed bytes."""
    none = stored.absolute_bytes(simd.splat(0, v))
    return stored.sum_bytes(none), stored.square_bytes(none), stored.sum_bytes(none), stored.sum_bytes(none)


@exact_jit
def _add_plain(sums: Any, v: Any, lifted: Any, size: Any, constants: Any) -> Any:
    """Sums of v + 128, of v^2 and of |v| after one more element in each lane, and how many are -128.

    The square of that counts as -16384.
    """
    total, squares, absolute, lowest = sums
    _, _, _, least = constants
    return (
        total + stored.sum_bytes(lifted), squares + stored.square_bytes(size), absolute + stored.sum_bytes(size),
        lowest + stored.sum_bytes(simd.count_in(size - size, simd.equal(v, least))),
    )  # fmt: skip


@exact_jit
def _settle_plain(n: int, total: float, squares: float, absolute: float, lowest: float) -> Any:
    """The sums of v, v^2 and |v| over `n` elements."""
    return np.int64(total) - 128 * n, np.int64(squares) + 32768 * np.int64(lowest), np.int64(absolute)


@exact_jit
def _begin_dots(v: Any) -> Any:
    """As `_begin_plain`."""
    none = stored.square_bytes(stored.absolute_bytes(simd.splat(0, v)))
    return none, none, none, none


@exact_jit
def _add_dots(sums: Any, v: Any, lifted: Any, size: Any, constants: Any) -> Any:
    """Sums of v, of (v + 128) v and of |v| after one more element in each lane."""
    total, squares, absolute, nothing = sums
    _, one, ones, _ = constants
    return (
        stored.dot_bytes(total, ones, v), stored.dot_bytes(squares, lifted, v), stored.dot_bytes(absolute, size, one),
        nothing,
    )  # fmt: skip


@exact_jit
def _settle_dots(n: int, total: float, squares: float, absolute: float, nothing: float) -> Any:
    """As `_settle_plain`."""
    return np.int64(total), np.int64(squares) - 128 * np.int64(total), np.int64(absolute)


if stored.HAS_BYTE_DOTS:
    _begin, _add, _settle = _begin_dots, _add_dots, _settle_dots
else:
    _begin, _add, _settle = _begin_plain, _add_plain, _settle_plain


@exact_jit
def _look(found: Any, magnitude: Any, v: Any, limits: Any) -> Any:
    """Extremes and counts after one more element in each lane."""
    smallest, largest, zeros, inside, one = found
    near, first, span = limits
    return (
        simd.minimum(smallest, v), simd.maximum(largest, v),
        tally.count(zeros, simd.at_most(magnitude, near), one),
        tally.count(inside, stored.within(v, first, span), one), one,
    )  # fmt: skip


@exact_jit
def _widened(wide: Any, sums: Any, zeros: Any, inside: Any) -> Any:
    """Sums in float64, which holds them exactly, and those of some vectors."""
    a, b, c, d, e, f = wide
    return (
        a + simd.to_float64(sums[0]), b + simd.to_float64(sums[1]), c + simd.to_float64(sums[2]),
        d + simd.to_float64(sums[3]), e + simd.to_float64(stored.sum_bytes(zeros)),
        f + simd.to_float64(stored.sum_bytes(inside)),
    )  # fmt: skip


@exact_jit
def _fold_vectors(x: Any, tag: Any, size: int, near: int, first: int, span: int) -> Any:
    """Of the first 2 * `size` elements, read in two streams, as signed bytes.

    The sums of them, of their squares and of their sizes, the extremes, counts of zeros and of what is within bounds.
    """
    n_lanes = stored.stored_lanes(x)
    v = stored.load_signed_bytes(x, 0, tag)
    nothing = stored.absolute_bytes(simd.splat(0, v))
    limits = simd.splat(near, nothing), simd.splat(first, v), simd.splat(span, v)
    sign, none = tally.constant(128, nothing), _begin(v)
    constants = sign, tally.constant(1, v), tally.constant(1, nothing), tally.constant(-128, v)
    wide = (
        simd.to_float64(none[0]), simd.to_float64(none[1]), simd.to_float64(none[2]), simd.to_float64(none[3]),
        simd.to_float64(stored.sum_bytes(nothing)), simd.to_float64(stored.sum_bytes(nothing)),
    )  # fmt: skip
    smallest = largest = v
    for chunk in range(0, size, _COUNTED * n_lanes):
        sums = none
        found = smallest, largest, nothing, nothing, constants[2]
        for at in range(chunk, min(chunk + _COUNTED * n_lanes, size), n_lanes):
            v = stored.load_signed_bytes(x, at, tag)
            lifted, absolute = stored.lifted_bytes(v, sign), stored.absolute_bytes(v)
            found = _look(found, stored.magnitude_of(x, lifted, absolute), v, limits)
            sums = _add(sums, v, lifted, absolute, constants)
            v = stored.load_signed_bytes(x, at + size, tag)
            lifted, absolute = stored.lifted_bytes(v, sign), stored.absolute_bytes(v)
            found = _look(found, stored.magnitude_of(x, lifted, absolute), v, limits)
            sums = _add(sums, v, lifted, absolute, constants)
        smallest, largest, zeros, inside, _ = found
        wide = _widened(wide, sums, zeros, inside)
    sums = _settle(
        2 * size, simd.reduce_sum(wide[0]), simd.reduce_sum(wide[1]), simd.reduce_sum(wide[2]), simd.reduce_sum(wide[3])
    )
    extremes = np.int64(simd.reduce_min(smallest)), np.int64(simd.reduce_max(largest))
    return sums, extremes, np.int64(simd.reduce_sum(wide[4])), np.int64(simd.reduce_sum(wide[5]))


@exact_jit
def _fold_rest(x: Any, tag: Any, start: int, bias: int, near: int, first: int, span: int) -> Any:
    """The same of the elements from `start` on, one by one."""
    total = squares = absolute = zeros = inside = 0
    smallest, largest = 127, -128
    for i in range(start, x.size):
        v = int(minmax_key(x[i], tag)) - bias
        total += v
        squares += v * v
        absolute += abs(v)
        smallest = min(smallest, v)
        largest = max(largest, v)
        zeros += abs(v + bias) <= near & 255
        inside += (v - first) & 255 <= span & 255
    return (total, squares, absolute), (smallest, largest), zeros, inside


@exact_jit
def _wrapped(number: int) -> int:
    """An unsigned byte as a signed one."""
    return number - 256 if number > 127 else number


@exact_jit
def fold_octets(x: Any, tag: Any, bounds: Any) -> Any:
    """`flat.fold_part` of 8-bit integers and bools: exact but for the last rounding of each moment."""
    lo, hi, tol = bounds
    bias = stored.bias_of(x)
    near = int(min(tol, 255.0))
    # The signed bytes that stand for what is within the bounds.
    first = math.ceil(min(max(lo - bias, -128.0), 128.0))
    last = math.floor(max(min(hi - bias, 127.0), -129.0))
    span = _wrapped(max(last - first, 0))
    n = x.size
    n_lanes = stored.stored_lanes(x)
    size = n // (2 * n_lanes) * n_lanes
    sums, extremes, zeros, inside = _fold_rest(x, tag, 2 * size, bias, near, first, span)
    total, squares, absolute = sums
    smallest, largest = extremes
    if size > 0:
        sums, extremes, more_zeros, more_inside = _fold_vectors(x, tag, size, near, first, span)
        total, squares, absolute = total + sums[0], squares + sums[1], absolute + sums[2]
        smallest, largest = min(smallest, extremes[0]), max(largest, extremes[1])
        zeros, inside = zeros + more_zeros, inside + more_inside
    if first > last:
        inside = 0
    # About the whole number nearest to the mean, where the difference below loses no digit.
    center = math.floor(total / n + 0.5)
    rest = total - center * n
    offset = rest / n
    m2 = (squares - 2 * center * total + center * center * n) - rest * offset
    mean, mean_rest = two_sum(np.float64(center + bias), offset)
    least, most = np.float64(smallest + bias), np.float64(largest + bias)
    abs_mean = absolute / n if bias == 0 and least < 0.0 < most else abs(mean)
    return (n, 0, 0, 0, zeros, n - inside, mean, math.sqrt(max(m2, 0.0) / n), abs_mean, least, most, mean_rest)
