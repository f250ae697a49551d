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
from fastact.cpu import simd
from fastact.cpu.flat import FAR, coarse, merge, two_sum
from fastact.cpu.intrinsics import load_tuple, max_no_nan, min_no_nan, store_tuple
from fastact.cpu.jit import exact_jit
from fastact.cpu.states import load_state, store_state


@exact_jit
def new_sums(shift: Any, key: Any) -> Any:
    """Arrays for the sums of a block of each neuron; `shift` and `key` are examples of their types.

    Sums of x - shift, of its square and of |x|; min and max; counts of zeros and of saturated elements, 32 bits wide.
    """
    n = shift.size
    return (
        np.empty_like(shift), np.empty_like(shift), np.empty_like(shift), np.full(n, key), np.full(n, key),
        np.empty(n, np.int32), np.empty(n, np.int32),
    )  # fmt: skip


@exact_jit
def clear_sums(sums: Any, k: int, key: Any) -> None:
    """Begins a block of neuron `k`, of which `key` is some element as min and max compare it."""
    store_tuple(sums, k, (0, 0, 0, key, key, 0, 0))


@exact_jit
def no_sums(shift: Any, key: Any) -> Any:
    """The sums of no elements, as vectors; `key` holds elements as min and max compare them."""
    zero = shift - shift
    return zero, zero, zero, key, key, simd.no_counts(shift), simd.no_counts(shift)


@exact_jit
def accumulate(sums: Any, shift: Any, limits: Any, value: Any, key: Any) -> Any:
    """The sums after one more element in each lane; `limits` are low, high and near, as vectors."""
    total, squares, absolute, smallest, largest, zeros, saturated = sums
    low, high, near = limits
    size = simd.absolute(value)
    d = value - shift
    return (
        total + d, squares + d * d, absolute + size, simd.minimum(smallest, key), simd.maximum(largest, key),
        simd.count_at_most(zeros, size, near), simd.count_outside(saturated, value, low, high),
    )  # fmt: skip


@exact_jit
def accumulate_tail(sums: Any, shift: Any, limits: Any, value: Any, key: Any, first: int) -> Any:
    """The sums after one more element in each lane from number `first` on; those before it count for nothing."""
    total, squares, absolute, smallest, largest, zeros, saturated = sums
    low, high, near = limits
    d = simd.select_from(first, value, shift) - shift
    value = simd.select_from(first, value, simd.splat(math.nan, shift))  # which no bound holds
    size = simd.absolute(value)
    return (
        total + d, squares + d * d, absolute + simd.select_from(first, size, shift - shift),
        simd.minimum(smallest, simd.select_from(first, key, smallest)),
        simd.maximum(largest, simd.select_from(first, key, largest)), simd.count_at_most(zeros, size, near),
        simd.count_outside(saturated, value, low, high),
    )  # fmt: skip


@exact_jit
def add_reduced(sums: Any, k: int, vectors: Any) -> None:
    """Adds the lanes of a neuron's vectors to the sums of neuron `k`."""
    total, squares, absolute, smallest, largest, zeros, saturated = load_tuple(sums, k)
    totals, all_squares, absolutes, least, most, all_zeros, all_saturated = vectors
    joined = (
        total + simd.reduce_sum(totals), squares + simd.reduce_sum(all_squares), absolute + simd.reduce_sum(absolutes),
        min_no_nan(smallest, simd.reduce_min(least)), max_no_nan(largest, simd.reduce_max(most)),
        zeros + simd.reduce_sum(all_zeros), saturated + simd.reduce_sum(all_saturated),
    )  # fmt: skip
    store_tuple(sums, k, joined)


@exact_jit
def new_neurons(n: int, key: Any) -> Any:
    """What is known of `n` neurons: counts, finite elements, origin, mean relative to it, m2, mean of |x|, min, max."""
    return (
        np.zeros((at.N_COUNTS, n), np.int64), np.zeros(n, np.int64), np.zeros(n, np.float64), np.zeros(n, np.float64),
        np.zeros(n, np.float64), np.zeros(n, np.float64), np.full(n, key), np.full(n, key),
    )  # fmt: skip


@exact_jit
def _chan(
    n: int, weight: float, mean: float, m2: float, abs_mean: float, m: int, delta: float, m2_new: float, abs_new: float
) -> Any:
    """Mean, m2 and mean of |x| of `n` elements, of which the last `m` had a mean that was larger by `delta`.

    `weight` is m / n.
    """
    # In this order: delta squared may be inf, which times 0 would be NaN.
    return (
        mean + delta * weight,
        m2 + m2_new + delta * (n - m) * weight * delta,
        abs_mean + (abs_new - abs_mean) * weight,
    )


@exact_jit
def join_sums(neurons: Any, m: int, shift: Any, sums: Any, slow_path: Any) -> int:
    """Joins sums over `m` elements of each neuron; marks, counts and leaves out those that need the slow path.

    The shift of each neuron becomes its mean so far. Counts are joined for all: they are right whatever the sums are.
    """
    counts, finite, origin, means, m2s, abs_means, lowest, highest = neurons
    total, squares, absolute, smallest, largest, zeros, saturated = sums
    for k in range(shift.size):
        counts[at.COUNT, k] += m
        counts[at.ZEROS, k] += zeros[k]
        counts[at.SATURATED, k] += saturated[k]
    n_slow = 0
    # Divisions are what this loop waits for: most neurons have seen as many elements as the one before.
    share = 1.0 / m
    n, weight = 0, 0.0
    for k in range(shift.size):
        offset = np.float64(total[k]) * share
        m2 = np.float64(squares[k]) - np.float64(total[k]) * offset
        least, most = smallest[k], largest[k]
        abs_mean = np.float64(absolute[k]) * share if least < 0 < most else abs(shift[k] + offset)
        slow_path[k] = not (squares[k] < math.inf and absolute[k] < math.inf)
        if not slow_path[k] and least == most:
            offset = np.float64(least) - shift[k]
            abs_mean = abs(np.float64(least))
            m2 = np.float64(0.0)
        elif not slow_path[k]:
            slow_path[k] = offset * offset * m > FAR * m2 or m2 < m * 1e-28
        if slow_path[k]:
            n_slow += 1
            continue
        if finite[k] == 0:
            # Means have an origin near them, as in `fold_part`.
            origin[k] = shift[k]
            lowest[k], highest[k] = least, most
        finite[k] += m
        if finite[k] != n:
            n = finite[k]
            weight = m / n
        delta = (shift[k] - origin[k]) + offset - means[k]
        means[k], m2s[k], abs_means[k] = _chan(n, weight, means[k], m2s[k], abs_means[k], m, delta, m2, abs_mean)
        lowest[k] = min_no_nan(lowest[k], least)
        highest[k] = max_no_nan(highest[k], most)
        shift[k] = coarse(origin[k] + means[k], math.sqrt(m2 * share), shift[k])
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
def finish(neurons: Any, place: Any, part: int, states: Any, slow_path: Any) -> int:
    """Writes neurons to their places; marks and counts those with nothing finite, or out of range."""
    all_counts, finite, origin, means, m2s, abs_means, lowest, highest = neurons
    counts, moments, extremes = states
    n_slow = 0
    for k in range(place.size):
        c = place[k]
        for row in range(at.N_COUNTS):
            counts[row, part, c] = all_counts[row, k]
        extremes[at.MINS, part, c] = lowest[k]
        extremes[at.MAXS, part, c] = highest[k]
        std = math.sqrt(m2s[k] / finite[k])
        moments[at.MEANS, part, c], moments[at.RESTS, part, c] = two_sum(origin[k], means[k])
        moments[at.STDS, part, c] = std
        moments[at.ABS_MEANS, part, c] = abs_means[k]
        slow_path[k] = finite[k] == 0 or (lowest[k] < highest[k] and not 1e-145 < std < math.inf)
        n_slow += slow_path[k]
    return n_slow


@exact_jit
def _merge_plain(states: Any) -> Any:
    """The state of all columns of part 0 together, from sums over them instead of merge after merge.

    ``var = sum(n (var_j + (mean_j - mean)^2)) / sum(n)``. That of columns whose squares may leave the range, or that
    have nothing finite, comes with a NaN as its std.
    """
    counts, moments, extremes = states
    n = count = nans = pos_infs = neg_infs = zeros = saturated = 0
    columns = counts.shape[2]
    origin = moments[at.MEANS, 0, 0]
    total = absolute = squares = 0.0
    smallest = extremes[at.MINS, 0, 0]
    largest = extremes[at.MAXS, 0, 0]
    for j in range(columns):
        bad = counts[at.NANS, 0, j] + counts[at.POS_INFS, 0, j] + counts[at.NEG_INFS, 0, j]
        m = counts[at.COUNT, 0, j] - bad
        count += counts[at.COUNT, 0, j]
        nans += counts[at.NANS, 0, j]
        pos_infs += counts[at.POS_INFS, 0, j]
        neg_infs += counts[at.NEG_INFS, 0, j]
        zeros += counts[at.ZEROS, 0, j]
        saturated += counts[at.SATURATED, 0, j]
        n += m
        total += m * ((moments[at.MEANS, 0, j] - origin) + moments[at.RESTS, 0, j])
        absolute += m * moments[at.ABS_MEANS, 0, j]
        smallest = min(smallest, extremes[at.MINS, 0, j])
        largest = max(largest, extremes[at.MAXS, 0, j])
    offset = total / n if n > 0 else math.nan
    for j in range(columns):
        m = counts[at.COUNT, 0, j] - (counts[at.NANS, 0, j] + counts[at.POS_INFS, 0, j] + counts[at.NEG_INFS, 0, j])
        delta = ((moments[at.MEANS, 0, j] - origin) + moments[at.RESTS, 0, j]) - offset
        squares += m * (moments[at.STDS, 0, j] * moments[at.STDS, 0, j] + delta * delta)
    mean, rest = two_sum(origin, offset)
    variance = squares / n if n > 0 else math.nan
    std = math.sqrt(variance)
    if not (1e-280 < variance < 1e280 or smallest == largest) or not absolute < math.inf:
        std = math.nan
    return (count, nans, pos_infs, neg_infs, zeros, saturated, mean, std, absolute / n, smallest, largest, rest)


@exact_jit
def _merge_columns(states: Any) -> bool:
    """Merges the parts of each column into part 0, by sums over its parts; False, and nothing done, where one is odd.

    As in `_merge_plain`, and odd is the same: squares that may leave the range, or nothing finite in a part. In loops
    over the columns, of which the compiler makes vectors: merge after merge took 30 ns for each part of a column.
    """
    counts, moments, extremes = states
    parts, columns = counts.shape[1], counts.shape[2]
    n, total, absolute, squares = np.zeros(columns), np.zeros(columns), np.zeros(columns), np.zeros(columns)
    odd = 0
    for part in range(parts):
        for j in range(columns):
            bad = counts[at.NANS, part, j] + counts[at.POS_INFS, part, j] + counts[at.NEG_INFS, part, j]
            m = counts[at.COUNT, part, j] - bad
            odd += m == 0
            n[j] += m
            total[j] += m * ((moments[at.MEANS, part, j] - moments[at.MEANS, 0, j]) + moments[at.RESTS, part, j])
            absolute[j] += m * moments[at.ABS_MEANS, part, j]
    if odd > 0:
        return False
    for j in range(columns):
        total[j] /= n[j]
    for part in range(parts):
        for j in range(columns):
            bad = counts[at.NANS, part, j] + counts[at.POS_INFS, part, j] + counts[at.NEG_INFS, part, j]
            m = counts[at.COUNT, part, j] - bad
            delta = ((moments[at.MEANS, part, j] - moments[at.MEANS, 0, j]) + moments[at.RESTS, part, j]) - total[j]
            squares[j] += m * (moments[at.STDS, part, j] * moments[at.STDS, part, j] + delta * delta)
    for j in range(columns):
        squares[j] /= n[j]
        # A column of zeros, or of one value, has none.
        odd += not (squares[j] == 0.0 or 1e-280 < squares[j] < 1e280) or not absolute[j] < math.inf
    for part in range(parts):
        for j in range(columns):
            odd += squares[j] == 0.0 and extremes[at.MINS, part, j] != extremes[at.MAXS, 0, j]
    if odd > 0:
        return False
    for j in range(columns):
        moments[at.MEANS, 0, j], moments[at.RESTS, 0, j] = two_sum(moments[at.MEANS, 0, j], total[j])
        moments[at.STDS, 0, j] = math.sqrt(squares[j])
        moments[at.ABS_MEANS, 0, j] = absolute[j] / n[j]
    for part in range(1, parts):
        for row in range(at.N_COUNTS):
            for j in range(columns):
                counts[row, 0, j] += counts[row, part, j]
        for j in range(columns):
            extremes[at.MINS, 0, j] = min(extremes[at.MINS, 0, j], extremes[at.MINS, part, j])
            extremes[at.MAXS, 0, j] = max(extremes[at.MAXS, 0, j], extremes[at.MAXS, part, j])
    return True


@exact_jit
def merge_parts(states: Any) -> Any:
    """Merges the parts of each column into part 0, in order; returns the state of all columns together."""
    parts, columns = states[0].shape[1], states[0].shape[2]
    if parts > 1 and not _merge_columns(states):
        for part in range(1, parts):
            for j in range(columns):
                store_state(merge(load_state(states, 0, j), load_state(states, part, j)), states, 0, j)
    total = _merge_plain(states)
    if total[at.STD] == total[at.STD]:
        return total
    total = load_state(states, 0, 0)
    for j in range(1, columns):
        total = merge(total, load_state(states, 0, j))
    return total
