"""The sweep per neuron on CPU: one state for each column of a matrix, or for each channel of an image batch.

Two loops. Where a neuron's elements lie a row apart (`fold_columns`), a strip of columns as wide as a vector has its
running sums in registers while the loop goes down the rows of a tile. Where they lie side by side (`fold_runs`), each
run is folded as in `cpu`. What needs care (NaN, Inf, a poor shift, squares out of range) is handed to `fold_part`, a
column gathered first, so that care lives in one place.
"""

import math
from typing import Any, Final

import numpy as np

from fastact.cpu.flat import coarse, fold_part, merge, settle, work_bounds
from fastact.cpu.jit import exact_jit, lane_max, lane_min, like, stretch
from fastact.cpu.simd import (
    count_at_most,
    count_outside,
    lanes_abs,
    lanes_fetch,
    lanes_from,
    lanes_least,
    lanes_max,
    lanes_min,
    lanes_most,
    lanes_of,
    lanes_ordered,
    lanes_store,
    lanes_sum,
    lanes_widen,
    lanes_width,
    prefetch,
)
from fastact.cpu.widen import minmax_key, widen

__all__ = ["COLUMNS", "fold_columns", "fold_runs", "load", "merge_parts", "store", "survey_neurons"]

#: Columns to fold together, at most.
COLUMNS: Final = 1024
#: Rows of a tile of that many columns, which is folded strip by strip: 8 x 1024 float32 stay in the cache while the
#: next tile comes. Of fewer columns it has more rows. Tiles of 4 to 64 rows and of 256 to 4096 columns were tried and
#: are within a fifth of that; with the tile packed first it was half as fast, as with sums in memory and whole rows,
#: which is what the compiler makes of plain loops. Also the rows of a channel that are folded in one go: rows that lie
#: apart by a power of two share a place in the cache, which holds eight of them.
_TILE: Final = 8
#: Elements of a column that are gathered, and of a run that are folded, at a time.
_GATHERED: Final = 1 << 16
#: Elements up to which a run is one block.
_SHORT_RUN: Final = 2048
#: Bytes from which on columns come from memory, and the next tile is asked for: a fifth to a half faster then, but a
#: fifth slower where the caches hold all, as they do in a training step.
_FROM_MEMORY: Final = 1 << 23
#: Elements ahead of those that are folded, about, that the cache is asked for; and from which length of a run on.
_AHEAD: Final = 2048
_STREAMED_RUN: Final = 128
#: Rows that are folded in the element's precision before they are joined in float64.
_ROWS: Final = 256
# As in `cpu`: a shift further than 2 std from the mean costs digits.
_FAR: Final = 4.0


@exact_jit
def _fold_tile(
    x: Any, tag: Any, at: int, stride: int, rows: int, width: int, bounds: Any, sums: Any, ends: Any, tallies: Any
) -> None:
    """Adds some rows of `width` columns to their running sums, strip by strip; a strip is as wide as a vector.

    Its rows lie `stride` elements apart from the flat index `at` on. Columns that are no multiple of the lanes have a
    last strip that lies over the one before it. All strips in one call: each array that a function takes out of a tuple
    is counted, atomically, which for every strip anew took a tenth of the time. The next tile is asked for line after
    line as they lie in memory, since rows that lie apart by a power of two would ask one bank for all.
    """
    shift, total, squares, absolute = sums
    smallest, largest = ends
    zeros, saturated = tallies
    n_lanes = lanes_width(tag)
    line = 64 // x.itemsize
    far = x.size * x.itemsize >= _FROM_MEMORY
    for k in range(0, shift.size, n_lanes):
        if far:
            ahead = at + (rows + k * rows // width) * stride + k * rows % width
            for i in range(0, n_lanes * rows, line):
                prefetch(x, ahead + i)
        s = lanes_fetch(shift, k, lanes_widen(x, at, tag))
        t = lanes_fetch(total, k, s)
        q = lanes_fetch(squares, k, s)
        a = lanes_fetch(absolute, k, s)
        least = lanes_fetch(smallest, k, s)
        most = lanes_fetch(largest, k, s)
        n_zeros = lanes_fetch(zeros, k, s)
        n_saturated = lanes_fetch(saturated, k, s)
        low = lanes_of(bounds[0], s)
        high = lanes_of(bounds[1], s)
        near = lanes_of(bounds[2], s)
        first = at + min(k, width - n_lanes)
        for here in range(first, first + rows * stride, stride):
            value = lanes_widen(x, here, tag)
            key = lanes_ordered(x, here, tag)
            size = lanes_abs(value)
            d = value - s
            t = t + d
            q = q + d * d
            a = a + size
            least = lanes_min(least, key)
            most = lanes_max(most, key)
            n_zeros = count_at_most(n_zeros, size, near)
            n_saturated = count_outside(n_saturated, value, low, high)
        lanes_store(total, k, t)
        lanes_store(squares, k, q)
        lanes_store(absolute, k, a)
        lanes_store(smallest, k, least)
        lanes_store(largest, k, most)
        lanes_store(zeros, k, n_zeros)
        lanes_store(saturated, k, n_saturated)


@exact_jit
def _add_row(row: Any, tag: Any, total: Any, lowest: Any, highest: Any) -> None:
    for j in range(row.size):
        value = np.float64(widen(row[j], tag))
        total[j] += value
        lowest[j] = lane_min(lowest[j], value)
        highest[j] = lane_max(highest[j], value)


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
def _new_columns(n: int, key: Any) -> Any:
    """What is known of `n` columns: finite elements, origin, mean relative to it, m2, mean of |x|, min and max."""
    return (
        np.zeros(n, np.int64),
        np.zeros(n, np.float64),
        np.zeros(n, np.float64),
        np.zeros(n, np.float64),
        np.zeros(n, np.float64),
        np.full(n, key),
        np.full(n, key),
    )


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
def _join_sums(columns: Any, m: int, sums: Any, ends: Any, care: Any) -> int:
    """Joins sums over `m` elements of each column; marks, counts and leaves out those that call for care.

    For all columns in one call: each array that a function takes out of a tuple is counted, atomically. The shift of
    each column becomes its mean so far.
    """
    finite, origin, means, m2s, abs_means, lowest, highest = columns
    shift, total, squares, absolute = sums
    smallest, largest = ends
    n_care = 0
    # Divisions are what this loop waits for: most columns have seen as many elements as the one before.
    share = 1.0 / m
    n = 0
    weight = 0.0
    for k in range(shift.size):
        offset = np.float64(total[k]) * share
        m2 = np.float64(squares[k]) - np.float64(total[k]) * offset
        least = smallest[k]
        most = largest[k]
        abs_mean = np.float64(absolute[k]) * share if least < 0 < most else abs(shift[k] + offset)
        care[k] = not (squares[k] < math.inf and absolute[k] < math.inf)
        if not care[k] and least == most:
            offset = np.float64(least) - shift[k]
            abs_mean = abs(np.float64(least))
            m2 = np.float64(0.0)
        elif not care[k]:
            care[k] = offset * offset * m > _FAR * m2 or m2 < m * 1e-28
        if care[k]:
            n_care += 1
            continue
        if finite[k] == 0:
            # Means have an origin near them, as in `fold_part`.
            origin[k] = shift[k]
            lowest[k] = least
            highest[k] = most
        finite[k] += m
        if finite[k] != n:
            n = finite[k]
            weight = m / n
        delta = (shift[k] - origin[k]) + offset - means[k]
        means[k], m2s[k], abs_means[k] = _chan(n, weight, means[k], m2s[k], abs_means[k], m, delta, m2, abs_mean)
        lowest[k] = lane_min(lowest[k], least)
        highest[k] = lane_max(highest[k], most)
        shift[k] = coarse(origin[k] + means[k], math.sqrt(m2 * share), shift[k])
    return n_care


@exact_jit
def _join_state(columns: Any, k: int, state: Any, shift: Any) -> None:
    """Joins a state into column `k`."""
    finite, origin, means, m2s, abs_means, lowest, highest = columns
    m = state[0] - state[1] - state[2] - state[3]
    if m == 0:
        return
    if finite[k] == 0:
        origin[k] = state[6]
        lowest[k] = state[9]
        highest[k] = state[10]
    finite[k] += m
    delta = (state[6] - origin[k]) + state[11] - means[k]
    means[k], m2s[k], abs_means[k] = _chan(
        finite[k], m / finite[k], means[k], m2s[k], abs_means[k], m, delta, state[7] * state[7] * m, state[8]
    )
    lowest[k] = lane_min(lowest[k], state[9])
    highest[k] = lane_max(highest[k], state[10])
    shift[k] = coarse(origin[k] + means[k], state[7], shift[k])


@exact_jit
def _finish(columns: Any, place: Any, part: int, moments: Any, extremes: Any, care: Any) -> int:
    """Writes columns to their places, but for the counts; marks and counts those with nothing finite, or out of range.

    For all columns in one call, as `_join_sums`.
    """
    finite, origin, means, m2s, abs_means, lowest, highest = columns
    n_care = 0
    for k in range(place.size):
        c = place[k]
        extremes[0, part, c] = lowest[k]
        extremes[1, part, c] = highest[k]
        std = math.sqrt(m2s[k] / finite[k])
        moments[0, part, c], moments[3, part, c] = settle(origin[k], means[k])
        moments[1, part, c] = std
        moments[2, part, c] = abs_means[k]
        care[k] = finite[k] == 0 or (lowest[k] < highest[k] and not 1e-145 < std < math.inf)
        n_care += care[k]
    return n_care


@exact_jit
def _fold_column(
    x: Any,
    tag: Any,
    lo: float,
    hi: float,
    tol: float,
    r0: int,
    r1: int,
    c: int,
    part: int,
    counts: Any,
    moments: Any,
    extremes: Any,
    scratch: Any,
) -> None:
    """`fold_columns` for a single column, gathered piece by piece."""
    for start in range(r0, r1, scratch.size):
        stop = min(start + scratch.size, r1)
        state = fold_part(_gather(x, start, stop, c, scratch), tag, lo, hi, tol)
        if start > r0:
            state = merge(load(counts, moments, extremes, part, c), state)
        store(state, counts, moments, extremes, part, c)


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
    """One state for each of the columns c0 to c1 (at most `COLUMNS`) of the matrix `x`, over its rows r0 to r1.

    The results go into counts (int64), moments (float64) and extremes, each [fields, parts, columns].
    """
    n_columns = x.shape[1]
    width = c1 - c0
    n_lanes = lanes_width(tag)
    scratch = np.empty(min(_GATHERED, r1 - r0), x.dtype)
    if width < n_lanes:
        for c in range(c0, c1):
            _fold_column(x, tag, lo, hi, tol, r0, r1, c, part, counts, moments, extremes, scratch)
        return
    example = widen(x[r0, c0], tag)
    bounds = work_bounds(lo, hi, tol, example)
    # A strip of columns has as many slots. Where the columns are no multiple of the lanes, the last strip lies over the
    # one before it, and what both hold is computed twice.
    strips = -(-width // n_lanes)
    slots = strips * n_lanes
    place = np.arange(c0, c0 + slots)
    place[slots - n_lanes :] -= slots - width
    shift = np.full(slots, like(0.0, example))
    total = np.empty_like(shift)
    squares = np.empty_like(shift)
    absolute = np.empty_like(shift)
    smallest = np.full(slots, minmax_key(x[r0, c0], tag))
    largest = np.empty_like(smallest)
    zeros = np.empty(slots, np.int32)
    saturated = np.empty(slots, np.int32)
    sums = (shift, total, squares, absolute)
    ends = (smallest, largest)
    tallies = (zeros, saturated)
    columns = _new_columns(slots, minmax_key(x[r0, c0], tag))
    nonfinite = np.zeros((3, slots), np.int64)
    zeros_so_far = np.zeros(slots, np.int64)
    saturated_so_far = np.zeros(slots, np.int64)
    care = np.zeros(slots, np.bool_)
    # The first shift is the mean of the first rows: that of one row alone would be far off for one column in twenty.
    head = min(8, r1 - r0)
    mean = np.zeros(width, np.float64)
    lowest = np.full(width, math.inf)
    highest = np.full(width, -math.inf)
    for r in range(r0, r0 + head):
        _add_row(stretch(x, r * n_columns + c0, width), tag, mean, lowest, highest)
    for k in range(slots):
        j = place[k] - c0
        shift[k] = coarse(mean[j] / head, highest[j] - lowest[j], example)
        if not abs(shift[k]) < math.inf:
            shift[k] = like(0.0, example)
    tall = max(_TILE, min(_TILE * COLUMNS // slots, 64))
    for start in range(r0, r1, _ROWS):
        stop = min(start + _ROWS, r1)
        total[:] = like(0.0, example)
        squares[:] = like(0.0, example)
        absolute[:] = like(0.0, example)
        zeros[:] = 0
        saturated[:] = 0
        for k in range(slots):
            smallest[k] = minmax_key(x[start, place[k]], tag)
            largest[k] = smallest[k]
        for tile in range(start, stop, tall):
            rows = min(tall, stop - tile)
            _fold_tile(x, tag, tile * n_columns + c0, n_columns, rows, width, bounds, sums, ends, tallies)
        zeros_so_far += zeros
        saturated_so_far += saturated
        if _join_sums(columns, stop - start, sums, ends, care) > 0:
            for k in range(slots):
                if care[k]:
                    state = fold_part(_gather(x, start, stop, place[k], scratch), tag, lo, hi, tol)
                    nonfinite[0, k] += state[1]
                    nonfinite[1, k] += state[2]
                    nonfinite[2, k] += state[3]
                    _join_state(columns, k, state, shift)
    for k in range(slots):
        c = place[k]
        counts[0, part, c] = r1 - r0
        counts[1, part, c] = nonfinite[0, k]
        counts[2, part, c] = nonfinite[1, k]
        counts[3, part, c] = nonfinite[2, k]
        counts[4, part, c] = zeros_so_far[k]
        counts[5, part, c] = saturated_so_far[k]
    if _finish(columns, place, part, moments, extremes, care) > 0:
        for k in range(slots):
            if care[k]:
                _fold_column(x, tag, lo, hi, tol, r0, r1, place[k], part, counts, moments, extremes, scratch)


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
    if lanes_width(tag) <= inner <= _SHORT_RUN:
        _fold_short_runs(x, tag, lo, hi, tol, r0, r1, c0, c1, part, counts, moments, extremes)
        return
    for c in range(c0, c1):
        _fold_channel(x, tag, lo, hi, tol, r0, r1, c, part, counts, moments, extremes)


@exact_jit
def _fold_channel(
    x: Any,
    tag: Any,
    lo: float,
    hi: float,
    tol: float,
    r0: int,
    r1: int,
    c: int,
    part: int,
    counts: Any,
    moments: Any,
    extremes: Any,
) -> None:
    """`fold_runs` for a single channel, a run or a piece of one at a time."""
    inner = x.shape[2]
    for r in range(r0, r1):
        at = (r * x.shape[1] + c) * inner
        for start in range(0, inner, _GATHERED):
            state = fold_part(stretch(x, at + start, min(_GATHERED, inner - start)), tag, lo, hi, tol)
            if r > r0 or start > 0:
                state = merge(load(counts, moments, extremes, part, c), state)
            store(state, counts, moments, extremes, part, c)


@exact_jit
def _fold_each_run(
    x: Any, tag: Any, r0: int, r1: int, c0: int, bounds: Any, none: Any, sums: Any, ends: Any, tallies: Any
) -> None:
    """The sums of some channels, from `c0` on, over their runs in the rows r0 to r1; a run is at least a vector.

    Channel by channel, whose sums stay in registers from row to row. What is left over at a run's end is read in a
    vector that ends there, whose lanes before it count for nothing. All in one call: each array that a function takes
    out of a tuple is counted, atomically, which for every run anew took longer than the run. `none` is a vector of
    int32 zeros.
    """
    shift, total, squares, absolute = sums
    smallest, largest = ends
    zeros, saturated = tallies
    size = x.shape[2]
    row = x.shape[1] * size
    n_lanes = lanes_width(tag)
    whole = size // n_lanes * n_lanes
    first = n_lanes - (size - whole)
    # The same rows of a channel that comes so much later.
    ahead = -(-_AHEAD // ((r1 - r0) * size)) * size if size >= _STREAMED_RUN else 0
    for k in range(shift.size):
        at = r0 * row + (c0 + k) * size
        s = lanes_of(shift[k], lanes_widen(x, at, tag))
        t = s - s
        q = t
        a = t
        least = lanes_ordered(x, at, tag)
        most = least
        n_zeros = lanes_fetch(none, 0, s)
        n_saturated = n_zeros
        low = lanes_of(bounds[0], s)
        high = lanes_of(bounds[1], s)
        near = lanes_of(bounds[2], s)
        for begin in range(at, at + (r1 - r0) * row, row):
            for here in range(begin, begin + whole, n_lanes):
                prefetch(x, here + ahead)
                value = lanes_widen(x, here, tag)
                key = lanes_ordered(x, here, tag)
                magnitude = lanes_abs(value)
                d = value - s
                t = t + d
                q = q + d * d
                a = a + magnitude
                least = lanes_min(least, key)
                most = lanes_max(most, key)
                n_zeros = count_at_most(n_zeros, magnitude, near)
                n_saturated = count_outside(n_saturated, value, low, high)
            if whole < size:
                last = begin + size - n_lanes
                value = lanes_widen(x, last, tag)
                key = lanes_ordered(x, last, tag)
                d = lanes_from(first, value, s) - s
                t = t + d
                q = q + d * d
                least = lanes_min(least, lanes_from(first, key, least))
                most = lanes_max(most, lanes_from(first, key, most))
                value = lanes_from(first, value, lanes_of(math.nan, s))  # which no bound holds
                magnitude = lanes_abs(value)
                a = a + lanes_from(first, magnitude, s - s)
                n_zeros = count_at_most(n_zeros, magnitude, near)
                n_saturated = count_outside(n_saturated, value, low, high)
        total[k] += lanes_sum(t)
        squares[k] += lanes_sum(q)
        absolute[k] += lanes_sum(a)
        smallest[k] = lane_min(smallest[k], lanes_least(least))
        largest[k] = lane_max(largest[k], lanes_most(most))
        zeros[k] += lanes_sum(n_zeros)
        saturated[k] += lanes_sum(n_saturated)


@exact_jit
def _fold_short_runs(
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
    """`fold_runs` for runs of at least a vector: some rows at a time, each channel over all of them.

    To join a channel's sums in float64 after every run would take as long as the run itself; to go through the memory
    in its order, with the sums of all channels in memory, took twice as long for runs of 16 elements.
    """
    inner = x.shape[2]
    n = c1 - c0
    n_lanes = lanes_width(tag)
    example = widen(x[r0, c0, 0], tag)
    bounds = work_bounds(lo, hi, tol, example)
    shift = np.full(n, like(0.0, example))
    total = np.empty_like(shift)
    squares = np.empty_like(shift)
    absolute = np.empty_like(shift)
    smallest = np.full(n, minmax_key(x[r0, c0, 0], tag))
    largest = np.empty_like(smallest)
    zeros = np.empty(n, np.int32)
    saturated = np.empty(n, np.int32)
    none = np.zeros(n_lanes, np.int32)
    sums = (shift, total, squares, absolute)
    ends = (smallest, largest)
    tallies = (zeros, saturated)
    columns = _new_columns(n, minmax_key(x[r0, c0, 0], tag))
    care = np.zeros(n, np.bool_)
    counts[0, part, c0:c1] = (r1 - r0) * inner
    counts[1:, part, c0:c1] = 0
    head = min(8, inner)
    for k in range(n):
        # As in `fold_columns`, the first shift is the mean of some elements.
        value = np.float64(widen(x[r0, c0 + k, 0], tag))
        mean = lowest = highest = value
        for i in range(1, head):
            value = np.float64(widen(x[r0, c0 + k, i], tag))
            mean += value
            lowest = min(lowest, value)
            highest = max(highest, value)
        shift[k] = coarse(mean / head, highest - lowest, example)
        if not abs(shift[k]) < math.inf:
            shift[k] = like(0.0, example)
    together = max(1, _ROWS // -(-inner // n_lanes))
    for start in range(r0, r1, together):
        stop = min(start + together, r1)
        total[:] = like(0.0, example)
        squares[:] = like(0.0, example)
        absolute[:] = like(0.0, example)
        zeros[:] = 0
        saturated[:] = 0
        for k in range(n):
            smallest[k] = minmax_key(x[start, c0 + k, 0], tag)
            largest[k] = smallest[k]
        for tile in range(start, stop, _TILE):
            _fold_each_run(x, tag, tile, min(tile + _TILE, stop), c0, bounds, none, sums, ends, tallies)
        for k in range(n):
            counts[4, part, c0 + k] += zeros[k]
            counts[5, part, c0 + k] += saturated[k]
        if _join_sums(columns, (stop - start) * inner, sums, ends, care) > 0:
            for k in range(n):
                if care[k]:
                    for r in range(start, stop):
                        at = (r * x.shape[1] + c0 + k) * inner
                        state = fold_part(stretch(x, at, inner), tag, lo, hi, tol)
                        counts[1, part, c0 + k] += state[1]
                        counts[2, part, c0 + k] += state[2]
                        counts[3, part, c0 + k] += state[3]
                        _join_state(columns, k, state, shift)
    if _finish(columns, np.arange(c0, c1), part, moments, extremes, care) == 0:
        return
    for k in range(n):
        if care[k]:
            _fold_channel(x, tag, lo, hi, tol, r0, r1, c0 + k, part, counts, moments, extremes)


@exact_jit
def _merge_plain(counts: Any, moments: Any, extremes: Any) -> Any:
    """The state of all columns of part 0 together, from sums over them instead of merge after merge.

    ``var = sum(n (var_j + (mean_j - mean)^2)) / sum(n)``. That of columns whose squares may leave the range, or that
    have nothing finite, comes with a NaN as its std.
    """
    n = count = nans = pos_infs = neg_infs = zeros = saturated = 0
    columns = counts.shape[2]
    origin = moments[0, 0, 0]
    total = absolute = squares = 0.0
    smallest = extremes[0, 0, 0]
    largest = extremes[1, 0, 0]
    for j in range(columns):
        bad = counts[1, 0, j] + counts[2, 0, j] + counts[3, 0, j]
        m = counts[0, 0, j] - bad
        count += counts[0, 0, j]
        nans += counts[1, 0, j]
        pos_infs += counts[2, 0, j]
        neg_infs += counts[3, 0, j]
        zeros += counts[4, 0, j]
        saturated += counts[5, 0, j]
        n += m
        total += m * ((moments[0, 0, j] - origin) + moments[3, 0, j])
        absolute += m * moments[2, 0, j]
        smallest = min(smallest, extremes[0, 0, j])
        largest = max(largest, extremes[1, 0, j])
    offset = total / n if n > 0 else math.nan
    for j in range(columns):
        m = counts[0, 0, j] - counts[1, 0, j] - counts[2, 0, j] - counts[3, 0, j]
        delta = ((moments[0, 0, j] - origin) + moments[3, 0, j]) - offset
        squares += m * (moments[1, 0, j] * moments[1, 0, j] + delta * delta)
    mean, rest = settle(origin, offset)
    variance = squares / n if n > 0 else math.nan
    std = math.sqrt(variance)
    if not (1e-280 < variance < 1e280 or smallest == largest) or not absolute < math.inf:
        std = math.nan
    return (count, nans, pos_infs, neg_infs, zeros, saturated, mean, std, absolute / n, smallest, largest, rest)


@exact_jit
def _merge_columns(counts: Any, moments: Any, extremes: Any) -> bool:
    """Merges the parts of each column into part 0, by sums over its parts; False, and nothing done, where one is odd.

    As in `_merge_plain`, and odd is the same: squares that may leave the range, or nothing finite in a part. In loops
    over the columns, of which the compiler makes vectors: merge after merge took 30 ns for each part of a column.
    """
    parts, columns = counts.shape[1], counts.shape[2]
    n = np.zeros(columns)
    total = np.zeros(columns)
    absolute = np.zeros(columns)
    squares = np.zeros(columns)
    odd = 0
    for part in range(parts):
        for j in range(columns):
            m = counts[0, part, j] - counts[1, part, j] - counts[2, part, j] - counts[3, part, j]
            odd += m == 0
            n[j] += m
            total[j] += m * ((moments[0, part, j] - moments[0, 0, j]) + moments[3, part, j])
            absolute[j] += m * moments[2, part, j]
    if odd > 0:
        return False
    for j in range(columns):
        total[j] /= n[j]
    for part in range(parts):
        for j in range(columns):
            m = counts[0, part, j] - counts[1, part, j] - counts[2, part, j] - counts[3, part, j]
            delta = ((moments[0, part, j] - moments[0, 0, j]) + moments[3, part, j]) - total[j]
            squares[j] += m * (moments[1, part, j] * moments[1, part, j] + delta * delta)
    for j in range(columns):
        squares[j] /= n[j]
        # A column of zeros, or of one value, has none.
        odd += not (squares[j] == 0.0 or 1e-280 < squares[j] < 1e280) or not absolute[j] < math.inf
    for part in range(parts):
        for j in range(columns):
            odd += squares[j] == 0.0 and extremes[0, part, j] != extremes[1, 0, j]
    if odd > 0:
        return False
    for j in range(columns):
        moments[0, 0, j], moments[3, 0, j] = settle(moments[0, 0, j], total[j])
        moments[1, 0, j] = math.sqrt(squares[j])
        moments[2, 0, j] = absolute[j] / n[j]
    for part in range(1, parts):
        for field in range(6):
            for j in range(columns):
                counts[field, 0, j] += counts[field, part, j]
        for j in range(columns):
            extremes[0, 0, j] = min(extremes[0, 0, j], extremes[0, part, j])
            extremes[1, 0, j] = max(extremes[1, 0, j], extremes[1, part, j])
    return True


@exact_jit
def merge_parts(counts: Any, moments: Any, extremes: Any) -> Any:
    """Merges the parts of each column into part 0, in order; returns the state of all columns together."""
    if counts.shape[1] > 1 and not _merge_columns(counts, moments, extremes):
        for part in range(1, counts.shape[1]):
            for j in range(counts.shape[2]):
                state = merge(load(counts, moments, extremes, 0, j), load(counts, moments, extremes, part, j))
                store(state, counts, moments, extremes, 0, j)
    total = _merge_plain(counts, moments, extremes)
    if total[7] == total[7]:
        return total
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
    peak_neuron = -1
    highest = -1.0
    n_peaks = 0
    logs = 0.0
    product = 1.0
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
            peak = max(abs(np.float64(extremes[0, j])), abs(np.float64(extremes[1, j])))
            if peak > highest:
                highest = peak
                peak_neuron = j
            if peak > 0.0:
                n_peaks += 1
                # A logarithm for each neuron would be most of this loop: a product is as good while it is in range.
                if not 1e-150 < peak < 1e150:
                    logs += math.log(peak)
                else:
                    product *= peak
                    if not 1e-150 < product < 1e150:
                        logs += math.log(product)
                        product = 1.0
    return (
        silent,
        dead,
        saturated,
        constant,
        math.sqrt(within) if n > 0 else math.nan,
        peak_neuron,
        math.exp((logs + math.log(product)) / n_peaks) if n_peaks > 0 else math.nan,
    )
