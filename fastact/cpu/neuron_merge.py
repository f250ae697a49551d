"""Merging what a sweep found: the parts of each neuron, and all neurons into one state."""

import math
from typing import Any

import numpy as np

from fastact.arithmetic import state as at
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
