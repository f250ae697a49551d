"""The sweep per neuron on CPU: one state for each column of a matrix, or for each channel of an image batch.

Two loops. Where a neuron's elements lie a row apart (`fold_columns`), whole rows are folded into vectors of running
sums, four rows at a time: that reads memory in order and loads each sum once for four elements. Where they lie side
by side (`fold_runs`), each run is folded as in `cpu`. A column that needs care (NaN, Inf, a poor shift, squares out
of range) is gathered and handed to `fold_part`, so that care lives in one place.
"""

import math
from typing import Any, Final

import numpy as np

from fastact.compile import exact_jit, jit, lane_max, lane_min, like, minus, ordered, stretch, widen
from fastact.cpu import fold_part, merge, work_bounds

__all__ = ["COLUMNS", "fold_columns", "fold_runs", "load", "merge_parts", "store", "survey_neurons"]

#: Columns to fold together: their running sums (14 KiB in float32) stay in the L1 cache.
COLUMNS: Final = 512
#: Elements of a column that are gathered, and of a run that are folded, at a time.
_GATHERED: Final = 1 << 16
#: Rows that are folded in the element's precision before they are joined in float64.
_ROWS: Final = 256
# As in `cpu`: a shift further than 2 std from the mean costs digits.
_FAR: Final = 4.0


@jit
def _fold_row(row: Any, tag: Any, shift: Any, bounds: Any, sums: Any, extremes: Any, counts: Any) -> None:
    """Adds one row to the running sums of its columns."""
    low, high, near = bounds
    total, squares, absolute = sums
    smallest, largest = extremes
    zeros, saturated = counts
    for j in range(row.size):
        x = widen(row[j], tag)
        d = minus(x, shift[j])
        total[j] += d
        squares[j] += d * d
        absolute[j] += abs(x)
        smallest[j] = lane_min(smallest[j], ordered(row[j], tag))
        largest[j] = lane_max(largest[j], ordered(row[j], tag))
        zeros[j] = np.int32(zeros[j] + (abs(x) <= near))
        saturated[j] = np.int32(saturated[j] + ((x < low) | (x > high)))


@jit
def _fold_four_rows(rows: Any, tag: Any, shift: Any, bounds: Any, sums: Any, extremes: Any, counts: Any) -> None:
    """Adds four rows to the running sums of their columns: 11 GB/s a thread where one row at a time gives 5."""
    low, high, near = bounds
    total, squares, absolute = sums
    smallest, largest = extremes
    zeros, saturated = counts
    r0, r1, r2, r3 = rows
    for j in range(r0.size):
        s = shift[j]
        x0 = widen(r0[j], tag)
        x1 = widen(r1[j], tag)
        x2 = widen(r2[j], tag)
        x3 = widen(r3[j], tag)
        d0 = minus(x0, s)
        d1 = minus(x1, s)
        d2 = minus(x2, s)
        d3 = minus(x3, s)
        total[j] += (d0 + d1) + (d2 + d3)
        squares[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        absolute[j] += (abs(x0) + abs(x1)) + (abs(x2) + abs(x3))
        k0 = ordered(r0[j], tag)
        k1 = ordered(r1[j], tag)
        k2 = ordered(r2[j], tag)
        k3 = ordered(r3[j], tag)
        smallest[j] = lane_min(smallest[j], lane_min(lane_min(k0, k1), lane_min(k2, k3)))
        largest[j] = lane_max(largest[j], lane_max(lane_max(k0, k1), lane_max(k2, k3)))
        zeros[j] = np.int32(zeros[j] + (abs(x0) <= near) + (abs(x1) <= near) + (abs(x2) <= near) + (abs(x3) <= near))
        saturated[j] = np.int32(
            saturated[j]
            + ((x0 < low) | (x0 > high))
            + ((x1 < low) | (x1 > high))
            + ((x2 < low) | (x2 > high))
            + ((x3 < low) | (x3 > high))
        )


@exact_jit
def _gather(x: Any, start: int, stop: int, column: int, scratch: Any) -> Any:
    """A part of a column, side by side."""
    for i in range(stop - start):
        scratch[i] = x[start + i, column]
    return scratch[: stop - start]


@exact_jit
def store(state: Any, counts: Any, moments: Any, extremes: Any, part: int, j: int) -> None:
    """Writes a state into the output arrays, each [fields, parts, columns]."""
    counts[0, part, j] = state[0]
    counts[1, part, j] = state[1]
    counts[2, part, j] = state[2]
    counts[3, part, j] = state[3]
    counts[4, part, j] = state[4]
    counts[5, part, j] = state[5]
    moments[0, part, j] = state[6]
    moments[1, part, j] = state[7]
    moments[2, part, j] = state[8]
    extremes[0, part, j] = state[9]
    extremes[1, part, j] = state[10]
    moments[3, part, j] = state[11]


@exact_jit
def load(counts: Any, moments: Any, extremes: Any, part: int, j: int) -> Any:
    """The state that `store` wrote."""
    return (
        counts[0, part, j],
        counts[1, part, j],
        counts[2, part, j],
        counts[3, part, j],
        counts[4, part, j],
        counts[5, part, j],
        moments[0, part, j],
        moments[1, part, j],
        moments[2, part, j],
        extremes[0, part, j],
        extremes[1, part, j],
        moments[3, part, j],
    )


@exact_jit
def fold_columns(
    x: Any,
    tag: Any,
    lo: float,
    hi: float,
    tol: float,
    r0: int,
    r1: int,
    c0: int,
    c1: int,
    part: int,
    counts: Any,
    moments: Any,
    extremes: Any,
) -> None:
    """One state for each of the columns c0 to c1 of the matrix `x`, over its rows r0 to r1.

    The results go into counts (int64), moments (float64) and extremes, each [fields, parts, columns].
    """
    example = widen(x[r0, c0], tag)
    bounds = work_bounds(lo, hi, tol, example)
    width = c1 - c0
    n_columns = x.shape[1]
    shift = np.full(width, like(0.0, example))
    total = np.empty_like(shift)
    squares = np.empty_like(shift)
    absolute = np.empty_like(shift)
    sums = (total, squares, absolute)
    smallest = np.full(width, ordered(x[r0, c0], tag))
    largest = np.empty_like(smallest)
    ends = (smallest, largest)
    zeros = np.empty(width, np.int32)
    saturated = np.empty(width, np.int32)
    tallies = (zeros, saturated)
    scratch = np.empty(min(_GATHERED, r1 - r0), x.dtype)
    finite = np.zeros(width, np.int64)
    # Means are kept relative to an origin near them, as in `fold_part`.
    origin = np.empty(width, np.float64)
    counts[:, part, c0:c1] = 0
    moments[:, part, c0:c1] = 0.0
    # The first shift is the mean of the first rows: that of one row alone would be far off for one column in twenty.
    head = min(8, r1 - r0)
    for r in range(r0, r0 + head):
        for j in range(width):
            shift[j] += widen(x[r, c0 + j], tag)
    for j in range(width):
        shift[j] = like(shift[j] / head, example)
        if not abs(shift[j]) < math.inf:
            shift[j] = like(0.0, example)
        origin[j] = shift[j]
    for start in range(r0, r1, _ROWS):
        stop = min(start + _ROWS, r1)
        m = stop - start
        total[:] = like(0.0, example)
        squares[:] = like(0.0, example)
        absolute[:] = like(0.0, example)
        zeros[:] = 0
        saturated[:] = 0
        for j in range(width):
            smallest[j] = ordered(x[start, c0 + j], tag)
            largest[j] = smallest[j]
        r = start
        while r + 4 <= stop:
            at = r * n_columns + c0
            rows = (
                stretch(x, at, width),
                stretch(x, at + n_columns, width),
                stretch(x, at + 2 * n_columns, width),
                stretch(x, at + 3 * n_columns, width),
            )
            _fold_four_rows(rows, tag, shift, bounds, sums, ends, tallies)
            r += 4
        while r < stop:
            _fold_row(stretch(x, r * n_columns + c0, width), tag, shift, bounds, sums, ends, tallies)
            r += 1
        for j in range(width):
            c = c0 + j
            counts[4, part, c] += zeros[j]
            counts[5, part, c] += saturated[j]
            offset = np.float64(total[j]) / m
            m2 = np.float64(squares[j]) - np.float64(total[j]) * offset
            mean = (shift[j] - origin[j]) + offset
            least = smallest[j]
            most = largest[j]
            abs_mean = np.float64(absolute[j]) / m if least < 0 < most else abs(shift[j] + offset)
            k = m
            sound = squares[j] < math.inf and absolute[j] < math.inf
            if sound and least == most:
                mean = np.float64(least) - origin[j]
                abs_mean = abs(np.float64(least))
                m2 = np.float64(0.0)
            elif not sound or offset * offset * m > _FAR * m2 or m2 < m * 1e-28:
                state = fold_part(_gather(x, start, stop, c, scratch), tag, lo, hi, tol)
                k = m - (state[1] + state[2] + state[3])
                counts[1, part, c] += state[1]
                counts[2, part, c] += state[2]
                counts[3, part, c] += state[3]
                mean = (state[6] - origin[j]) + state[11]
                m2 = state[7] * state[7] * k
                abs_mean = state[8]
                least = state[9]
                most = state[10]
            if start == r0:
                extremes[0, part, c] = least
                extremes[1, part, c] = most
            else:
                extremes[0, part, c] = lane_min(extremes[0, part, c], least)
                extremes[1, part, c] = lane_max(extremes[1, part, c], most)
            if k > 0:
                finite[j] += k
                weight = k / finite[j]
                delta = mean - moments[0, part, c]
                moments[0, part, c] += delta * weight
                # In this order: delta squared may be inf, which times 0 would be NaN.
                moments[1, part, c] += m2 + delta * (finite[j] - k) * weight * delta
                moments[2, part, c] += (abs_mean - moments[2, part, c]) * weight
                shift[j] = like(origin[j] + moments[0, part, c], example)
    for j in range(width):
        c = c0 + j
        counts[0, part, c] = r1 - r0
        if finite[j] == 0:
            moments[:3, part, c] = math.nan
            continue
        offset = moments[0, part, c]
        mean = origin[j] + offset
        moments[0, part, c] = mean
        moments[3, part, c] = (origin[j] - (mean - (mean - origin[j]))) + (offset - (mean - origin[j]))
        std = math.sqrt(moments[1, part, c] / finite[j])
        moments[1, part, c] = std
        if extremes[0, part, c] < extremes[1, part, c] and not 1e-145 < std < math.inf:
            # float64 squares out of range: the whole column once more, part by part.
            for start in range(r0, r1, _GATHERED):
                stop = min(start + _GATHERED, r1)
                state = fold_part(_gather(x, start, stop, c, scratch), tag, lo, hi, tol)
                if start > r0:
                    state = merge(load(counts, moments, extremes, part, c), state)
                store(state, counts, moments, extremes, part, c)


@exact_jit
def fold_runs(
    x: Any,
    tag: Any,
    lo: float,
    hi: float,
    tol: float,
    r0: int,
    r1: int,
    c0: int,
    c1: int,
    part: int,
    counts: Any,
    moments: Any,
    extremes: Any,
) -> None:
    """The same for an [outer, channels, inner] array: channels c0 to c1 over the outer entries r0 to r1."""
    inner = x.shape[2]
    for r in range(r0, r1):
        for c in range(c0, c1):
            at = (r * x.shape[1] + c) * inner
            for start in range(0, inner, _GATHERED):
                state = fold_part(stretch(x, at + start, min(_GATHERED, inner - start)), tag, lo, hi, tol)
                if r > r0 or start > 0:
                    state = merge(load(counts, moments, extremes, part, c), state)
                store(state, counts, moments, extremes, part, c)


@exact_jit
def merge_parts(counts: Any, moments: Any, extremes: Any) -> Any:
    """Merges the parts of each column into part 0, in order; returns the state of all columns together."""
    for part in range(1, counts.shape[1]):
        for j in range(counts.shape[2]):
            state = merge(load(counts, moments, extremes, 0, j), load(counts, moments, extremes, part, j))
            store(state, counts, moments, extremes, 0, j)
    total = load(counts, moments, extremes, 0, 0)
    for j in range(1, counts.shape[2]):
        total = merge(total, load(counts, moments, extremes, 0, j))
    return total


@exact_jit
def survey_neurons(
    counts: Any,
    moments: Any,
    extremes: Any,
    silent_share: float,
    saturated_share: float,
    silence: Any,
    dead_after: int,
) -> Any:
    """What a row tells of its neurons: `fields.NEURON` without the first.

    `silence` (int64[neurons]) holds for how many rows in sequence each neuron has been silent; it is brought up to
    date in place. A neuron is dead when that is at least `dead_after`.
    """
    silent = dead = saturated = constant = n = 0
    within = 0.0
    for j in range(counts.shape[1]):
        count = counts[0, j]
        finite = count - counts[1, j] - counts[2, j] - counts[3, j]
        if count - counts[4, j] <= silent_share * count:
            silent += 1
            silence[j] += 1
            dead += silence[j] >= dead_after
        else:
            silence[j] = 0
        saturated += counts[5, j] >= saturated_share * count
        constant += finite > 1 and finite == count and extremes[0, j] == extremes[1, j] and extremes[0, j] != 0
        if finite > 0:
            n += finite
            within += (moments[1, j] * moments[1, j] - within) * (finite / n)
    return silent, dead, saturated, constant, math.sqrt(within) if n > 0 else math.nan
