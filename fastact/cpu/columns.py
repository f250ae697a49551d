"""The fold per neuron where a neuron's elements lie a row apart: one state for each column of a matrix.

A strip of columns as wide as a vector has its running sums in registers while the loop goes down the rows of a tile.
"""

import math
from typing import Any, Final

import numpy as np

from fastact.cpu import simd
from fastact.cpu.flat import coarse, fold_part, merge, work_bounds
from fastact.cpu.intrinsics import cast_like, max_no_nan, min_no_nan, subarray
from fastact.cpu.jit import exact_jit
from fastact.cpu.neuron_sums import accumulate, finish, join_state, join_sums, new_neurons, new_sums, no_sums
from fastact.cpu.states import load_state, store_state
from fastact.cpu.widen import minmax_key, widen

#: Columns to fold together, at most.
COLUMNS: Final = 1024
#: Rows of a tile of that many columns, which is folded strip by strip: 8 x 1024 float32 stay in the cache while the
#: next tile comes. Of fewer columns it has more rows. Tiles of 4 to 64 rows and of 256 to 4096 columns were tried and
#: are within a fifth of that; with the tile packed first it was half as fast, as with sums in memory and whole rows,
#: which is what the compiler makes of plain loops. Also the rows of a channel that are folded in one go: rows that lie
#: apart by a power of two share a place in the cache, which holds eight of them.
TILE: Final = 8
#: Rows of a block: they are folded in the element's precision before they are joined in float64.
BLOCK_ROWS: Final = 256
#: Elements of a column that are gathered, and of a run that are folded, at a time.
GATHERED: Final = 1 << 16
#: Bytes from which on columns come from memory, and the next tile is asked for: a fifth to a half faster then, but a
#: fifth slower where the caches hold all, as they do in a training step.
_FROM_MEMORY: Final = 1 << 23
#: Elements whose mean is the first shift: that of one alone would be far off for one neuron in twenty.
_HEAD: Final = 8


@exact_jit
def _fold_tile(
    x: Any, tag: Any, at: int, stride: int, rows: int, width: int, bounds: Any, shift: Any, sums: Any
) -> None:
    """Adds some rows of `width` columns to their running sums, strip by strip; a strip is as wide as a vector.

    Its rows lie `stride` elements apart from the flat index `at` on. Columns that are no multiple of the lanes have a
    last strip that lies over the one before it. All strips in one call: arrays taken out of a tuple for every strip
    anew took a tenth of the time. The next tile is asked for line after line as they lie in memory, since rows that lie
    apart by a power of two would ask one bank for all.
    """
    n_lanes = simd.lanes(tag)
    line = 64 // x.itemsize
    far = x.size * x.itemsize >= _FROM_MEMORY
    for k in range(0, shift.size, n_lanes):
        if far:
            ahead = at + (rows + k * rows // width) * stride + k * rows % width
            for i in range(0, n_lanes * rows, line):
                simd.prefetch(x, ahead + i)
        s = simd.load(shift, k, simd.load_widened(x, at, tag))
        limits = (simd.splat(bounds[0], s), simd.splat(bounds[1], s), simd.splat(bounds[2], s))
        vectors = simd.load_tuple(sums, k, s)
        first = at + min(k, width - n_lanes)
        for here in range(first, first + rows * stride, stride):
            value, key = simd.load_widened(x, here, tag), simd.load_minmax_key(x, here, tag)
            vectors = accumulate(vectors, s, limits, value, key)
        simd.store_tuple(sums, k, vectors)


@exact_jit
def _add_row(row: Any, tag: Any, total: Any, lowest: Any, highest: Any) -> None:
    for j in range(row.size):
        value = np.float64(widen(row[j], tag))
        total[j] += value
        lowest[j] = min_no_nan(lowest[j], value)
        highest[j] = max_no_nan(highest[j], value)


@exact_jit
def first_shift(total: float, n: int, lowest: float, highest: float, example: Any) -> Any:
    """A shift near the mean of a neuron's first `n` elements; 0 where they are not all finite."""
    shift = coarse(total / n, highest - lowest, example)
    return shift if abs(shift) < math.inf else cast_like(0.0, example)


@exact_jit
def _gather(x: Any, start: int, stop: int, column: int, scratch: Any) -> Any:
    """A part of a column, side by side."""
    for i in range(stop - start):
        scratch[i] = x[start + i, column]
    return scratch[: stop - start]


@exact_jit
def _fold_column(x: Any, tag: Any, bounds: Any, r0: int, r1: int, c: int, part: int, states: Any, scratch: Any) -> None:
    """`fold_columns` for a single column, gathered stretch by stretch."""
    for start in range(r0, r1, scratch.size):
        stop = min(start + scratch.size, r1)
        state = fold_part(_gather(x, start, stop, c, scratch), tag, bounds)
        if start > r0:
            state = merge(load_state(states, part, c), state)
        store_state(state, states, part, c)


@exact_jit
def fold_columns(x: Any, tag: Any, bounds: Any, r0: int, r1: int, c0: int, c1: int, part: int, states: Any) -> None:
    """One state for each of the columns c0 to c1 (at most `COLUMNS`) of the matrix `x`, over its rows r0 to r1.

    `x` is contiguous and has the storage dtype of the element type whose tag is `tag`; `bounds` are lo, hi and
    zero_tol. The states go to `part` of `states` (`cpu.states.States`), each to the place of its column.
    """
    n_columns = x.shape[1]
    width = c1 - c0
    n_lanes = simd.lanes(tag)
    scratch = np.empty(min(GATHERED, r1 - r0), x.dtype)
    if width < n_lanes:
        for c in range(c0, c1):
            _fold_column(x, tag, bounds, r0, r1, c, part, states, scratch)
        return
    example = widen(x[r0, c0], tag)
    work = work_bounds(bounds, example)
    # A strip of columns has as many slots. Where the columns are no multiple of the lanes, the last strip lies over the
    # one before it, and what both hold is computed twice.
    slots = -(-width // n_lanes) * n_lanes
    place = np.empty(slots, np.int64)
    for k in range(slots):
        place[k] = c0 + k - (slots - width if k >= slots - n_lanes else 0)
    shift = np.full(slots, cast_like(0.0, example))
    key = minmax_key(x[r0, c0], tag)
    sums, neurons = new_sums(shift, key), new_neurons(slots, key)
    slow_path = np.zeros(slots, np.bool_)
    head = min(_HEAD, r1 - r0)
    total = np.zeros(width, np.float64)
    lowest, highest = np.full(width, math.inf), np.full(width, -math.inf)
    for r in range(r0, r0 + head):
        _add_row(subarray(x, r * n_columns + c0, width), tag, total, lowest, highest)
    for k in range(slots):
        j = place[k] - c0
        shift[k] = first_shift(total[j], head, lowest[j], highest[j], example)
    tall = max(TILE, min(TILE * COLUMNS // slots, 64))
    for start in range(r0, r1, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, r1)
        for k in range(0, slots, n_lanes):
            at = start * n_columns + c0 + min(k, width - n_lanes)
            s = simd.load(shift, k, simd.load_widened(x, at, tag))
            simd.store_tuple(sums, k, no_sums(s, simd.load_minmax_key(x, at, tag)))
        for tile in range(start, stop, tall):
            rows = min(tall, stop - tile)
            _fold_tile(x, tag, tile * n_columns + c0, n_columns, rows, width, work, shift, sums)
        if join_sums(neurons, stop - start, shift, sums, slow_path) > 0:
            for k in range(slots):
                if slow_path[k]:
                    state = fold_part(_gather(x, start, stop, place[k], scratch), tag, bounds)
                    join_state(neurons, k, state, shift)
    if finish(neurons, place, part, states, slow_path) > 0:
        for k in range(slots):
            if slow_path[k]:
                _fold_column(x, tag, bounds, r0, r1, place[k], part, states, scratch)
