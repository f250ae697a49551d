"""What is summed for each neuron: the sums of a block, what is known of the neurons so far, and how the two are joined.

Both loops over memory, `cpu.columns` and `cpu.runs`, fold blocks of elements of many neurons into `Sums` (arrays with
an item for each neuron, in the element's precision), join them here in float64, and know no statistic by name. What the
sums cannot tell (NaN, Inf, a poor shift, squares out of range) is marked for the slow path, `flat.fold_part` on the
elements of that neuron, so that it lives in one place.

Each array that a function takes out of a tuple is counted, atomically. So a function that does so is called for many
neurons at once, and loops over elements use the intrinsics that load and store tuples.
"""

import math
from typing import Any

import numpy as np

from fastact.arithmetic import state as at
from fastact.cpu import simd, tally
from fastact.cpu.flat import COARSE, FAR, coarse, two_sum
from fastact.cpu.intrinsics import array_at, max_no_nan, min_no_nan, store_tuple
from fastact.cpu.jit import exact_jit
from fastact.cpu.scratch import array_in, room

#: Arrays that `new_sums`, `wide_sums` and `new_neurons` lay out in scratch memory, one after the other.
SUMS, WIDE, NEURONS = 6, 3, 7 + at.N_COUNTS


@exact_jit
def new_sums(scratch: int, n: int, value: Any, key: Any) -> Any:
    """Arrays at `scratch` for the sums of a block of `n` neurons; `value` and `key` are examples of their types.

    They are not begun. Sums of x - shift, of its square and of |x|; min and max; zeros and elements that are not
    saturated, counted in the lower and the upper half of one number of 32 bits: a block has at most 8192 elements of a
    neuron. What a wide matrix pays for is to load and to store sums, and vectors of 32 bytes are short of registers.
    """
    return (
        array_in(scratch, 0, n, value), array_in(scratch, 1, n, value), array_in(scratch, 2, n, value),
        array_in(scratch, 3, n, key), array_in(scratch, 4, n, key), array_in(scratch, 5, n, np.int32(0)),
    )  # fmt: skip


@exact_jit
def wide_sums(scratch: int, sums: Any) -> Any:
    """Arrays for the sums of several blocks: in float64, at `scratch`, and the rest of `sums`, which goes on.

    `clear_wide` begins them. A neuron may have 32767 elements in them, for the counts.
    """
    _, _, _, smallest, largest, counted = sums
    n = smallest.size
    return (
        array_in(scratch, 0, n, 0.0), array_in(scratch, 1, n, 0.0), array_in(scratch, 2, n, 0.0), smallest, largest,
        counted,
    )  # fmt: skip


@exact_jit
def clear_wide(wide: Any) -> None:
    """Begins wide sums."""
    total, squares, absolute, _, _, _ = wide
    for k in range(total.size):
        total[k] = squares[k] = absolute[k] = 0.0


@exact_jit
def flush_sums(sums: Any, wide: Any) -> None:
    """Adds the sums of a block to the wide ones, and begins the next block."""
    total, squares, absolute, _, _, _ = sums
    total_wide, squares_wide, absolute_wide, _, _, _ = wide
    # A loop each: the compiler makes vectors of them, and would not where six arrays may lie over each other.
    for k in range(total.size):
        total_wide[k] += total[k]
        total[k] = 0
    for k in range(total.size):
        squares_wide[k] += squares[k]
        squares[k] = 0
    for k in range(total.size):
        absolute_wide[k] += absolute[k]
        absolute[k] = 0


@exact_jit
def no_sums(shift: Any, key: Any) -> Any:
    """The sums of no elements, as vectors; `key` holds elements as min and max compare them."""
    zero = shift - shift
    return zero, zero, zero, key, key, simd.no_counts(shift)


@exact_jit
def sum_limits(bounds: Any, shift: Any) -> Any:
    """What `accumulate` compares with and counts by, as vectors: low, high and near, ones, and a mask."""
    counted = simd.no_counts(shift)
    return (
        simd.splat(bounds[0], shift), simd.splat(bounds[1], shift), simd.splat(bounds[2], shift), tally.one_like(shift),
        tally.constant(1, counted), tally.constant(simd.SECOND_COUNT, counted), tally.magnitude_mask(shift),
    )  # fmt: skip


@exact_jit
def accumulate(sums: Any, shift: Any, limits: Any, value: Any, key: Any) -> Any:
    """The sums after one more element in each lane; `limits` are those of `sum_limits`."""
    total, squares, absolute, smallest, largest, counted = sums
    low, high, near, one, once, second, mask = limits
    size = tally.magnitude(value, mask)
    d = tally.minus(value, shift, one)
    zero, inside = simd.at_most(size, near), tally.no_outside(value, low, high)
    return (
        total + d, squares + d * d, absolute + size, simd.minimum(smallest, key), simd.maximum(largest, key),
        tally.count_second(tally.count(counted, zero, once), inside, second),
    )  # fmt: skip


@exact_jit
def accumulate_plain(sums: Any, limits: Any, value: Any, key: Any) -> Any:
    """`accumulate` where the shifts are 0 and low is -high: the same numbers by two instructions less."""
    total, squares, absolute, smallest, largest, counted = sums
    _, high, near, _, once, second, mask = limits
    size = tally.magnitude(value, mask)
    zero, inside = simd.at_most(size, near), tally.not_above(size, high)
    return (
        total + value, squares + value * value, absolute + size, simd.minimum(smallest, key),
        simd.maximum(largest, key), tally.count_second(tally.count(counted, zero, once), inside, second),
    )  # fmt: skip


@exact_jit
def accumulate_tail(sums: Any, shift: Any, limits: Any, value: Any, key: Any, first: int) -> Any:
    """The sums after one more element in each lane from number `first` on; those before it count for nothing."""
    total, squares, absolute, smallest, largest, counted = sums
    low, high, near, one, once, second, mask = limits
    size = tally.magnitude(value, mask)
    d = tally.minus(simd.select_from(first, value, shift), shift, one)
    zero, inside = simd.at_most(size, near), tally.no_outside(value, low, high)
    more = tally.count_second(tally.count(counted, zero, once), inside, second)
    return (
        total + d, squares + d * d, absolute + simd.select_from(first, size, shift - shift),
        simd.minimum(smallest, simd.select_from(first, key, smallest)),
        simd.maximum(largest, simd.select_from(first, key, largest)),
        simd.select_from(first, more, counted),
    )  # fmt: skip


@exact_jit
def joined(sums: Any, others: Any) -> Any:
    """The sums of two vectors for each kind of sum, as one vector for each."""
    total, squares, absolute, smallest, largest, counted = sums
    more, more_squares, more_absolute, least, most, more_counted = others
    return (
        total + more, squares + more_squares, absolute + more_absolute, simd.minimum(smallest, least),
        simd.maximum(largest, most), counted + more_counted,
    )  # fmt: skip


@exact_jit
def reduce_sums(lanes: Any, n: int, n_lanes: int, like: Any, sums: Any) -> None:
    """Writes to `sums` what the lanes of each of `n` neurons come to: `n_lanes`, as many as the vector `like` has."""
    for k in range(n):
        total, squares, absolute, smallest, largest, counted = simd.load_tuple(lanes, k * n_lanes, like)
        reduced = (
            simd.reduce_sum(total), simd.reduce_sum(squares), simd.reduce_sum(absolute), simd.reduce_min(smallest),
            simd.reduce_max(largest), simd.reduce_sum(counted),
        )  # fmt: skip
        store_tuple(sums, k, reduced)


@exact_jit
def new_neurons(scratch: int, n: int, key: Any) -> Any:
    """What is known of `n` neurons: counts, finite elements, origin, mean relative to it, m2, mean of |x|, min, max.

    Arrays at `scratch`, begun as those of no elements.
    """
    finite, origin, means = array_in(scratch, 0, n, 0.0), array_in(scratch, 1, n, 0.0), array_in(scratch, 2, n, 0.0)
    m2s, abs_means = array_in(scratch, 3, n, 0.0), array_in(scratch, 4, n, 0.0)
    lowest, highest = array_in(scratch, 5, n, key), array_in(scratch, 6, n, key)
    counts = array_at(scratch + 7 * room(n), (at.N_COUNTS, n), 0)
    counts[:] = 0
    finite[:] = 0.0
    origin[:] = 0.0
    means[:] = 0.0
    m2s[:] = 0.0
    abs_means[:] = 0.0
    lowest[:] = key
    highest[:] = key
    return counts, finite, origin, means, m2s, abs_means, lowest, highest


@exact_jit
def _coarse(mean: Any, spread: Any, example: Any) -> Any:
    """`flat.coarse` in each lane, of vectors of float64."""
    infinity = simd.splat(math.inf, mean)
    rounded = simd.add_and_subtract(mean, spread * simd.splat(COARSE, mean))
    good = simd.less(simd.absolute(rounded), infinity)
    return simd.from_float64(simd.where(good, rounded, mean), example)


@exact_jit
def set_shifts(shift: Any, k: int, total: Any, n: int, lowest: Any, highest: Any) -> None:
    """Sets the shifts of neurons from `k` on near the means of their first `n` elements; 0 where not all are finite.

    `total`, `lowest` and `highest` of those elements are vectors of float64.
    """
    s = simd.load(shift, k, total)
    mean, spread = total * simd.splat(1.0 / n, total), highest - lowest
    first = _coarse(mean, spread, s)
    size = simd.absolute(first)
    good = simd.less(size, simd.splat(math.inf, first))
    # Of so few elements the spread is some three times the standard deviation.
    good = simd.both(good, simd.less(spread, simd.absolute(mean + mean)))
    simd.store_tuple((shift,), k, (simd.where(good, first, s - s),))


@exact_jit
def _chan(n: Any, weight: Any, mean: Any, m2: Any, abs_mean: Any, m: Any, delta: Any, m2_new: Any, abs_new: Any) -> Any:
    """Mean, m2 and mean of |x| of `n` elements, of which the last `m` had a mean that was larger by `delta`.

    `weight` is m / n. All are numbers, or vectors.
    """
    # In this order: delta squared may be inf, which times 0 would be NaN.
    return (
        mean + delta * weight,
        m2 + m2_new + delta * (n - m) * weight * delta,
        abs_mean + (abs_new - abs_mean) * weight,
    )


@exact_jit
def _join_counts(neurons: Any, m: int, sums: Any) -> None:
    counts, _, _, _, _, _, _, _ = neurons
    _, _, _, _, _, counted = sums
    for k in range(counted.size):
        counts[at.COUNT, k] += m
    for k in range(counted.size):
        counts[at.ZEROS, k] += counted[k] & (simd.SECOND_COUNT - 1)
    for k in range(counted.size):
        counts[at.SATURATED, k] += m - (counted[k] >> simd.SECOND_BITS)


@exact_jit
def join_sums(neurons: Any, m: int, shift: Any, sums: Any, slow_path: Any) -> int:
    """Joins sums over `m` elements of each neuron; marks, counts and leaves out those that need the slow path.

    The shift of each neuron becomes its mean so far. Counts are joined for all: they are right whatever the sums are.
    The neurons fill whole vectors of float64: one after the other, which the compiler makes of plain loops over so many
    arrays, this took a fifth to a third as long as the folding itself.
    """
    _join_counts(neurons, m, sums)
    _, finite, origin, means, m2s, abs_means, lowest, highest = neurons
    total, squares, absolute, smallest, largest, _ = sums
    zero = simd.zeros_float64()
    size, share, infinity = simd.splat(float(m), zero), simd.splat(1.0 / m, zero), simd.splat(math.inf, zero)
    found = simd.no_counts(zero)
    known = (finite, origin, means, m2s, abs_means)
    changed = (finite, means, m2s, abs_means, lowest, highest, shift, origin)
    for k in range(0, shift.size, simd.lanes_float64()):
        sum_d = simd.to_float64(simd.load(total, k, zero))
        sum_squares = simd.to_float64(simd.load(squares, k, zero))
        sum_absolute = simd.to_float64(simd.load(absolute, k, zero))
        least_key, most_key = simd.load(smallest, k, zero), simd.load(largest, k, zero)
        least, most = simd.to_float64(least_key), simd.to_float64(most_key)
        s_key = simd.load(shift, k, zero)
        s = simd.to_float64(s_key)
        good = simd.both(simd.less(sum_squares, infinity), simd.less(sum_absolute, infinity))
        same = simd.both(good, simd.equal(least_key, most_key))
        offset = simd.where(same, least - s, sum_d * share)
        m2 = simd.where(same, zero, sum_squares - sum_d * offset)
        signs = simd.both(simd.less(least, zero), simd.less(zero, most))
        abs_mean = simd.where(signs, sum_absolute * share, simd.absolute(s + offset))
        far = simd.less(m2 * simd.splat(FAR, zero), offset * offset * size)
        poor = simd.either(far, simd.less(m2, simd.splat(m * 1e-28, zero)))
        slow = simd.either(simd.no(good), simd.both(poor, simd.no(same)))
        simd.store_mask(slow_path, k, slow)
        found = simd.count_in(found, slow)

        before, start, mean, m2_before, abs_before = simd.load_tuple(known, k, zero)
        low_key, high_key = simd.load(lowest, k, zero), simd.load(highest, k, zero)
        # Means have an origin near them, as in `fold_part`.
        first = simd.equal(before, zero)
        old_start, start = start, simd.where(first, s, start)
        n = before + size
        weight = size / n
        mean_new, m2_new, abs_new = _chan(
            n, weight, mean, m2_before, abs_before, size, (s - start) + offset - mean, m2, abs_mean
        )
        low = simd.where(first, least_key, simd.minimum(low_key, least_key))
        high = simd.where(first, most_key, simd.maximum(high_key, most_key))
        mean_now, variance = start + mean_new, m2 * share
        now = _coarse(mean_now, simd.sqrt(variance), s_key)
        # None at all, `accumulate_plain`, costs less and loses a bit of the variance where the mean is no larger.
        now = simd.where(simd.less(variance, mean_now * mean_now), now, s_key - s_key)
        new = (
            simd.where(slow, before, n), simd.where(slow, mean, mean_new), simd.where(slow, m2_before, m2_new),
            simd.where(slow, abs_before, abs_new), simd.where(slow, low_key, low), simd.where(slow, high_key, high),
            simd.where(slow, s_key, now), simd.where(slow, old_start, start),
        )  # fmt: skip
        simd.store_tuple(changed, k, new)
    n_slow: int = simd.reduce_sum(found)
    return n_slow


@exact_jit
def join_state(neurons: Any, k: int, state: Any, shift: Any) -> None:
    """Joins a state from the slow path into neuron `k`, but for what `join_sums` has counted."""
    counts, finite, origin, means, m2s, abs_means, lowest, highest = neurons
    counts[at.NANS, k] += state[at.NANS]
    counts[at.POS_INFS, k] += state[at.POS_INFS]
    counts[at.NEG_INFS, k] += state[at.NEG_INFS]
    m = state[at.COUNT] - state[at.NANS] - state[at.POS_INFS] - state[at.NEG_INFS]
    if m == 0:
        return
    if finite[k] == 0:
        origin[k] = state[at.MEAN]
        lowest[k], highest[k] = state[at.MIN], state[at.MAX]
    finite[k] += m
    delta = (state[at.MEAN] - origin[k]) + state[at.REST] - means[k]
    m2 = state[at.STD] * state[at.STD] * m
    weight = m / finite[k]
    means[k], m2s[k], abs_means[k] = _chan(
        finite[k], weight, means[k], m2s[k], abs_means[k], m, delta, m2, state[at.ABS_MEAN]
    )
    lowest[k] = min_no_nan(lowest[k], state[at.MIN])
    highest[k] = max_no_nan(highest[k], state[at.MAX])
    shift[k] = coarse(origin[k] + means[k], state[at.STD], shift[k])


@exact_jit
def _copy_to(source: Any, first: int, columns: Any, c0: int, n: int) -> None:
    """Copies `n` numbers from place `first` on to the columns from c0 on, which lie side by side.

    By vectors: that they lie so the compiler does not know, and took a third of the time of a layer for this.
    """
    whole = 0
    if source.dtype == columns.dtype:
        whole = n // simd.lanes_float64() * simd.lanes_float64()
        zero = simd.zeros_float64()
        for k in range(0, whole, simd.lanes_float64()):
            simd.store_tuple((columns,), c0 + k, (simd.load(source, first + k, zero),))
    for k in range(whole, n):
        columns[c0 + k] = source[first + k]


@exact_jit
def _copy(neurons: Any, columns: Any, c0: int, c1: int, over: int) -> None:
    last = neurons.size - over
    _copy_to(neurons, 0, columns, c0, min(c1 - c0, last))
    _copy_to(neurons, last, columns, c1 - over, over)


@exact_jit
def finish(neurons: Any, c0: int, c1: int, over: int, part: int, states: Any, slow_path: Any) -> int:
    """Writes neurons to the columns c0 to c1; marks and counts those with nothing finite, or out of range.

    Of the neurons the last ones, `over` of them, are the columns that end at c1, wherever those before them end. What
    then has no column is left out.
    """
    all_counts, finite, origin, means, m2s, abs_means, lowest, highest = neurons
    counts, moments, extremes = states
    zero = simd.zeros_float64()
    found = simd.no_counts(zero)
    known, changed = (finite, origin, means, m2s), (origin, means, m2s)
    for k in range(0, finite.size, simd.lanes_float64()):
        n, start, offset, m2 = simd.load_tuple(known, k, zero)
        std = simd.sqrt(m2 / n)
        mean, rest = two_sum(start, offset)
        simd.store_tuple(changed, k, (mean, rest, std))
        fits = simd.both(simd.less(simd.splat(1e-145, zero), std), simd.less(std, simd.splat(math.inf, zero)))
        differ = simd.less(simd.load(lowest, k, zero), simd.load(highest, k, zero))
        slow = simd.either(simd.equal(n, zero), simd.both(differ, simd.no(fits)))
        simd.store_mask(slow_path, k, slow)
        found = simd.count_in(found, slow)
    for row in range(at.N_COUNTS):
        _copy(all_counts[row], counts[row, part], c0, c1, over)
    _copy(origin, moments[at.MEANS, part], c0, c1, over)
    _copy(means, moments[at.RESTS, part], c0, c1, over)
    _copy(m2s, moments[at.STDS, part], c0, c1, over)
    _copy(abs_means, moments[at.ABS_MEANS, part], c0, c1, over)
    _copy(lowest, extremes[at.MINS, part], c0, c1, over)
    _copy(highest, extremes[at.MAXS, part], c0, c1, over)
    n_slow: int = simd.reduce_sum(found)
    return n_slow
