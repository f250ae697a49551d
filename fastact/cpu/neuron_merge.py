"""Merging what a sweep found: the parts of each neuron, and all neurons into one state."""

import math
from typing import Any

import numpy as np

from fastact.arithmetic import state as at
from fastact.cpu import simd
from fastact.cpu.flat import merge, two_sum
from fastact.cpu.jit import exact_jit
from fastact.cpu.states import load_state, store_state


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
def _merge_vector(states: Any, parts: int, columns: int, k: int) -> Any:
    """The parts of as many columns as a vector holds, from `k` on, as `_merge_columns` merges them; which are odd.

    With all that is summed in registers: the parts of a wide matrix, most of which other caches hold, are read once.
    """
    counts, moments, extremes = states
    size = parts * columns
    zero = simd.zeros_float64()
    start = simd.load(moments, at.MEANS * size + k, zero)
    zeros = saturated = nans = pos_infs = neg_infs = count = simd.load(counts, k, zero) - simd.load(counts, k, zero)
    n = total = absolute = squares = zero
    odd = simd.less(zero, zero)
    smallest, largest = simd.load(extremes, at.MINS * size + k, zero), simd.load(extremes, at.MAXS * size + k, zero)
    for i in range(k, k + size, columns):
        nan = simd.load(counts, at.NANS * size + i, zero)
        pos, neg = simd.load(counts, at.POS_INFS * size + i, zero), simd.load(counts, at.NEG_INFS * size + i, zero)
        here = simd.load(counts, at.COUNT * size + i, zero)
        m = simd.to_float64(here - (nan + pos + neg))
        mean = (simd.load(moments, at.MEANS * size + i, zero) - start) + simd.load(moments, at.RESTS * size + i, zero)
        odd = simd.either(odd, simd.equal(m, zero))
        n, total = n + m, total + m * mean
        absolute = absolute + m * simd.load(moments, at.ABS_MEANS * size + i, zero)
        count, nans, pos_infs, neg_infs = count + here, nans + nan, pos_infs + pos, neg_infs + neg
        zeros = zeros + simd.load(counts, at.ZEROS * size + i, zero)
        saturated = saturated + simd.load(counts, at.SATURATED * size + i, zero)
        smallest = simd.minimum(smallest, simd.load(extremes, at.MINS * size + i, zero))
        largest = simd.maximum(largest, simd.load(extremes, at.MAXS * size + i, zero))
    offset = total / n
    for i in range(k, k + size, columns):
        bad = simd.load(counts, at.NANS * size + i, zero) + simd.load(counts, at.POS_INFS * size + i, zero)
        bad = bad + simd.load(counts, at.NEG_INFS * size + i, zero)
        m = simd.to_float64(simd.load(counts, at.COUNT * size + i, zero) - bad)
        mean = (simd.load(moments, at.MEANS * size + i, zero) - start) + simd.load(moments, at.RESTS * size + i, zero)
        std, delta = simd.load(moments, at.STDS * size + i, zero), mean - offset
        squares = squares + m * (std * std + delta * delta)
    variance = squares / n
    fits = simd.both(simd.less(simd.splat(1e-280, zero), variance), simd.less(variance, simd.splat(1e280, zero)))
    one_value = simd.both(simd.equal(variance, zero), simd.equal(smallest, largest))
    good = simd.both(simd.either(fits, one_value), simd.less(absolute, simd.splat(math.inf, zero)))
    mean, rest = two_sum(start, offset)
    moved = mean, simd.sqrt(variance), absolute / n, rest
    counted = count, nans, pos_infs, neg_infs, zeros, saturated
    return counted, moved, (smallest, largest), simd.either(odd, simd.no(good))


@exact_jit
def _store_vector(merged: Any, states: Any, parts: int, columns: int, k: int) -> None:
    """Writes what `_merge_vector` merged to part 0."""
    (count, nans, pos_infs, neg_infs, zeros, saturated), (mean, std, abs_mean, rest), (least, most), _ = merged
    counts, moments, extremes = states
    size = parts * columns
    simd.store_tuple((counts,), at.COUNT * size + k, (count,))
    simd.store_tuple((counts,), at.NANS * size + k, (nans,))
    simd.store_tuple((counts,), at.POS_INFS * size + k, (pos_infs,))
    simd.store_tuple((counts,), at.NEG_INFS * size + k, (neg_infs,))
    simd.store_tuple((counts,), at.ZEROS * size + k, (zeros,))
    simd.store_tuple((counts,), at.SATURATED * size + k, (saturated,))
    simd.store_tuple((moments,), at.MEANS * size + k, (mean,))
    simd.store_tuple((moments,), at.STDS * size + k, (std,))
    simd.store_tuple((moments,), at.ABS_MEANS * size + k, (abs_mean,))
    simd.store_tuple((moments,), at.RESTS * size + k, (rest,))
    simd.store_tuple((extremes,), at.MINS * size + k, (least,))
    simd.store_tuple((extremes,), at.MAXS * size + k, (most,))


@exact_jit
def _merge_each(states: Any, first: int, end: int) -> None:
    """Merges the parts of the columns from `first` to `end` into part 0, one after the other."""
    for part in range(1, states[0].shape[1]):
        for j in range(first, end):
            store_state(merge(load_state(states, 0, j), load_state(states, part, j)), states, 0, j)


@exact_jit
def _merge_vectors(states: Any) -> None:
    """Merges the parts of columns, as many as a vector has at least, into part 0."""
    parts, columns = states[0].shape[1], states[0].shape[2]
    n_lanes = simd.lanes_float64()
    flat = states[0].reshape(-1), states[1].reshape(-1), states[2].reshape(-1)
    # Columns that fill no vector are merged in one that lies over the last whole one, read before that is written.
    whole, end = columns // n_lanes * n_lanes, columns - n_lanes
    last = _merge_vector(flat, parts, columns, end)
    odd = simd.any_of(last[3])
    if odd:
        _merge_each(states, whole, columns)
    for k in range(0, whole, n_lanes):
        merged = _merge_vector(flat, parts, columns, k)
        if simd.any_of(merged[3]):
            _merge_each(states, k, k + n_lanes)
        else:
            _store_vector(merged, flat, parts, columns, k)
    if whole < columns and not odd:
        _store_vector(last, flat, parts, columns, end)


@exact_jit
def merge_parts(states: Any) -> Any:
    """Merges the parts of each column into part 0, in order; returns the state of all columns together."""
    parts, columns = states[0].shape[1], states[0].shape[2]
    if parts > 1:
        if columns >= simd.lanes_float64():
            _merge_vectors(states)
        elif not _merge_columns(states):
            _merge_each(states, 0, columns)
    total = _merge_plain(states)
    if total[at.STD] == total[at.STD]:
        return total
    total = load_state(states, 0, 0)
    for j in range(1, columns):
        total = merge(total, load_state(states, 0, j))
    return total
