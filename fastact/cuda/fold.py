"""Elements to the row that they make: the statistics themselves, compiled for each element type.

Where float64 holds the squares of all elements (float32 and narrower), rows are sums about an origin, the neuron's
first element, added by `arithmetic.add_sums`: no division on the way, which matters in a launch of some microseconds.
Wider types are scaled packet by packet and joined by `arithmetic.merge`. A row is a state (`arithmetic.state`), or has
sums in place of the moments and the origin in place of the rest.
"""

import functools
import math
from typing import Any, Final, NamedTuple

import numpy as np

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cuda.compiler import device
from fastact.cuda.vectors import (
    as_float64,
    count_at_most,
    count_equal,
    count_nan,
    count_outside,
    lane_count,
    magnitude,
    reduce_max,
    reduce_min,
    reduce_sum,
    splat,
    where_finite,
    widener,
)

# Squares of differences below this lose digits to denormals in float32. If all differences of some elements are that
# small without being zero, so are the elements: equal ones differ by rounding, 1e-7 of their size.
_TINY_SQUARES: Final = 1e-36
_TINY: Final = 1e-10

merge = device(arithmetic.merge)
_add_sums = device(arithmetic.add_sums)
_sums_to_state = device(arithmetic.sums_to_state)
_unscaled = device(arithmetic.unscaled)

_EMPTY: Final = arithmetic.EMPTY


@device
def _no_sums(origin: float, first: Any) -> Any:
    return (0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, np.float32(math.inf), np.float32(-math.inf), origin)


@device
def _careful_sums(x: Any, origin: float, low: Any, high: Any, near: Any) -> Any:
    """The sums of one float32 element, finite or not, in float64."""
    inf = np.float32(math.inf)
    y = as_float64(x)
    nothing = splat(0.0, y)
    d = reduce_sum(where_finite(x, y - splat(origin, y), nothing))
    return (
        1, count_nan(x), count_equal(x, inf), count_equal(x, -inf),
        count_at_most(magnitude(x), near), count_outside(x, low, high),
        d, d * d, reduce_sum(where_finite(x, magnitude(y), nothing)),
        reduce_min(where_finite(x, x, splat(inf, x))), reduce_max(where_finite(x, x, splat(-inf, x))), origin,
    )  # fmt: skip


@device
def _sums(x: Any, origin: float, low: Any, high: Any, near: Any) -> Any:
    """Sums of float32 elements about `origin`: taken in float32 about the elements' own mean, then moved.

    First whether they are right; if not, `_careful_sums` must add the elements one by one.
    """
    n = lane_count(x)
    size = magnitude(x)
    zeros = count_at_most(size, near)
    saturated = count_outside(x, low, high)
    mean = reduce_sum(x) / np.float32(n)
    d = x - splat(mean, x)
    rest = np.float64(reduce_sum(d))
    squares = reduce_sum(d * d)
    absolute = reduce_sum(size)
    # A sum that is not finite shows NaN, Inf or an overflow.
    fine = squares < np.float32(math.inf) and absolute < np.float32(math.inf)
    if squares < np.float32(_TINY_SQUARES) and np.float32(0.0) < absolute < np.float32(_TINY):
        fine = False
    move = np.float64(mean) - origin
    return fine, (
        n, 0, 0, 0, zeros, saturated,
        rest + n * move, np.float64(squares) + move * (2.0 * rest + n * move), np.float64(absolute),
        reduce_min(x), reduce_max(x), origin,
    )  # fmt: skip


@device
def _no_state(origin: float, first: Any) -> Any:
    return _EMPTY


@device
def _no_exact_state(origin: float, first: Any) -> Any:
    # min and max are integers that float64 cannot hold; merged with these, which count nothing, any others win.
    return (0, 0, 0, 0, 0, 0, math.nan, math.nan, math.nan, first, first, 0.0)


@device
def _finite_extremes(raw: Any, x: Any) -> Any:
    inf = splat(math.inf, x)
    return reduce_min(where_finite(x, x, inf)), reduce_max(where_finite(x, x, splat(-math.inf, x)))


@device
def _exact_extremes(raw: Any, x: Any) -> Any:
    return reduce_min(raw), reduce_max(raw)


@device
def _moments(x: Any, n: int) -> Any:
    """Mean, std, mean of |x| and the mean's rest of the `n` finite ones of some float64 elements, of any magnitude."""
    if n == 0:
        return math.nan, math.nan, math.nan, 0.0
    nothing = splat(0.0, x)
    # Scaled by a power of two, which is exact, to below 1; clamped as in `fastact.cpu.flat`.
    exponent = min(max(math.frexp(reduce_max(where_finite(x, magnitude(x), nothing)))[1], -1000), 1023)
    y = where_finite(x, x * splat(math.ldexp(1.0, -exponent), x), nothing)
    shift = reduce_sum(y) / n
    d = where_finite(x, y - splat(shift, x), nothing)
    return _unscaled(n, exponent, shift, reduce_sum(d), reduce_sum(d * d), reduce_sum(magnitude(y)))


@device
def _same_state(state: Any) -> Any:
    return state


class Fold(NamedTuple):
    """How elements of one type are folded: functions of the device."""

    end_type: Any  #: the type of min and max in a row
    nothing: Any  #: (origin, first element) to the row of no elements
    first: Any  #: (stored elements) to the smallest finite one
    some: Any  #: (stored elements, origin, low, high, near) to whether their row is right, and the row
    one: Any  #: as `some`, for one element: only its row, always right; for those of which `some` is wrong
    combine: Any  #: two rows to that of both
    finished: Any  #: a row to its state


@functools.cache
def fold_of(name: str) -> Fold:
    """The functions for elements of the type `name`."""
    element = ELEMENT_TYPES[name]
    widened = widener(element)
    # Of integers that float64 cannot hold.
    exact = element.extreme.kind != "f"
    extremes = _exact_extremes if exact else _finite_extremes

    @device
    def first(raw: Any) -> Any:
        return extremes(raw, widened(raw))[0]

    @device
    def state_of_some(raw: Any, origin: float, low: Any, high: Any, near: Any) -> Any:
        x = widened(raw)
        count = lane_count(x)
        nans = count_nan(x)
        pos_infs = count_equal(x, math.inf)
        neg_infs = count_equal(x, -math.inf)
        mean, std, abs_mean, rest = _moments(x, count - nans - pos_infs - neg_infs)
        smallest, largest = extremes(raw, x)
        return True, (
            count, nans, pos_infs, neg_infs, count_at_most(magnitude(x), near), count_outside(x, low, high),
            mean, std, abs_mean, smallest, largest, rest,
        )  # fmt: skip

    @device
    def state_of_one(raw: Any, origin: float, low: Any, high: Any, near: Any) -> Any:
        return state_of_some(raw, origin, low, high, near)[1]

    @device
    def sums_of_some(raw: Any, origin: float, low: Any, high: Any, near: Any) -> Any:
        return _sums(widened(raw), origin, low, high, near)

    @device
    def sums_of_one(raw: Any, origin: float, low: Any, high: Any, near: Any) -> Any:
        return _careful_sums(widened(raw), origin, low, high, near)

    end_type = element.extreme.type
    if element.work is not np.float64:
        return Fold(end_type, _no_sums, first, sums_of_some, sums_of_one, _add_sums, _sums_to_state)
    nothing = _no_exact_state if exact else _no_state
    return Fold(end_type, nothing, first, state_of_some, state_of_one, merge, _same_state)
