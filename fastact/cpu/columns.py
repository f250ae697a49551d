"""The fold per neuron where a neuron's elements lie a row apart: one state for each column of a matrix.

A strip of columns as wide as a vector has its running sums in registers while the loop goes down the rows of a tile.
"""

from typing import Any, Final

import numpy as np

from fastact.cpu import simd, tally
from fastact.cpu.flat import fold_part, merge, work_bounds
from fastact.cpu.intrinsics import array_at, cast_like
from fastact.cpu.jit import exact_jit
from fastact.cpu.neuron_sums import (
    NEURONS,
    SUMS,
    WIDE,
    accumulate,
    accumulate_plain,
    clear_wide,
    finish,
    flush_sums,
    join_state,
    join_sums,
    new_neurons,
    new_sums,
    no_sums,
    set_shifts,
    sum_limits,
    wide_sums,
)
from fastact.cpu.scratch import array_in, room, room_bytes
from fastact.cpu.states import load_state, store_state
from fastact.cpu.widen import minmax_key, widen

#: Columns to fold together, at most: their sums, 96 kB, stay in the second cache.
COLUMNS: Final = 4096
#: Rows of a tile, which is folded strip by strip, while the next one is asked for in the order of memory: the CPU by
#: itself follows eight streams side by side, but at two thirds of what it reads in order, and to ask for each of them a
#: kilobyte ahead was 3 to 22% slower. Rows that lie apart by a power of two share a place in the cache, which holds
#: eight of them: 16 of 2048 columns took a third more time, and 4 load and store sums twice as often.
TILE: Final = 8
#: Columns from which on a tile has that few rows where the caches hold all, as they do in a training step.
_CACHED_COLUMNS: Final = 1024
#: Strips of columns that go down the rows side by side. The sums of one wait for each other: of two, whose sums 32
#: registers hold, none has to, and a vector takes 6 cycles of a Zen 4 where it took 7.6.
STRIPS: Final = 2 if simd.REGISTER_BYTES == 64 else 1
#: Rows of a block: they are folded in the element's precision before they are joined in float64.
BLOCK_ROWS: Final = 256
#: Rows whose blocks are added up in float64 before they are joined with the neurons' means.
JOINED_ROWS: Final = 2048
#: Elements of a column that are gathered, and of a run that are folded, at a time.
GATHERED: Final = 1 << 16
#: Bytes from which on columns come from memory.
FROM_MEMORY: Final = 1 << 23
#: Addresses that differ by a multiple of so many bytes are taken for one by loads that pass a store: where rows lie
#: apart by such, sums at the elements' own place took a third more time. How far from it theirs begin.
_PLACES, _APART = 1 << 12, 1 << 10
#: Elements whose mean is the first shift: that of one alone would be far off for one neuron in twenty.
_HEAD: Final = 8


#: Arrays in the scratch memory: shifts, the others', and whether a neuron needs the slow path.
_ARRAYS: Final = 1 + SUMS + WIDE + NEURONS + 1


def scratch_bytes(rows: int, columns: int, itemsize: int) -> int:
    """Bytes of memory that `fold_columns` works in for so many rows and columns of a matrix."""
    lanes = STRIPS * simd.REGISTER_BYTES // 4
    slots = -(-columns // lanes) * lanes
    return _PLACES + _ARRAYS * room_bytes(slots) + itemsize * min(GATHERED, rows)


@exact_jit
def _strip_at(k: int, width: int, n_lanes: int) -> int:
    """The first column of the strip that slot `k` begins: of those at the end, which lie over others, the last one."""
    return min(k, width - n_lanes)


@exact_jit
def _ask(x: Any, ask: int, n_lanes: int) -> None:
    """Asks for two vectors from the flat index `ask` on, unless that is negative."""
    if ask >= 0:
        tally.ask_ahead(x, ask)
        if x.itemsize >= 4:
            tally.ask_ahead(x, ask + n_lanes)


@exact_jit
def _next_piece(following: int, row_end: int, stride: int, width: int) -> tuple[int, int]:
    """Where to ask next, and where that row ends: at `following`, or in the next row where this one is done."""
    if following >= row_end:
        row_end += stride
        following = row_end - width
    return following, row_end


@exact_jit
def _fold_tile(
    x: Any, tag: Any, at: int, stride: int, rows: int, width: int, bounds: Any, shift: Any, sums: Any, ahead: bool
) -> None:
    """Adds some rows of `width` columns to their running sums, by `STRIPS` strips; a strip is as wide as a vector.

    Its rows lie `stride` elements apart from the flat index `at` on. All strips in one call: arrays taken out of a
    tuple for every strip anew took a tenth of the time. `ahead` says to ask meanwhile for the next tile, in
    the order of memory.
    """
    n_lanes = simd.lanes(tag)
    limits = sum_limits(bounds, simd.load_widened(x, at, tag))
    symmetric = bounds[0] == -bounds[1]
    # Of whole rows the next tile is one piece.
    following, chunk = at + rows * stride, 2 * n_lanes
    row_end = following + (rows * width if width == stride else width)
    if STRIPS == 1:
        for k in range(0, shift.size, n_lanes):
            # One line is two strips wide.
            ask = following if ahead and k % chunk == 0 else -1
            s = simd.load(shift, k, limits[0])
            vectors = simd.load_tuple(sums, k, s)
            first = at + _strip_at(k, width, n_lanes)
            if symmetric and not simd.any_of(simd.no(simd.equal(s, s - s))):
                for here in range(first, first + rows * stride, stride):
                    value, key = simd.load_widened(x, here, tag), simd.load_minmax_key(x, here, tag)
                    if ask >= 0:
                        tally.ask_ahead(x, ask)
                        ask += chunk
                    vectors = accumulate_plain(vectors, limits, value, key)
            else:
                for here in range(first, first + rows * stride, stride):
                    value, key = simd.load_widened(x, here, tag), simd.load_minmax_key(x, here, tag)
                    if ask >= 0:
                        tally.ask_ahead(x, ask)
                        ask += chunk
                    vectors = accumulate(vectors, s, limits, value, key)
            simd.store_tuple(sums, k, vectors)
            following, row_end = _next_piece(max(following, ask), row_end, stride, width)
        return
    for k in range(0, shift.size, 2 * n_lanes):
        ask = following if ahead else -1
        s, t = simd.load(shift, k, limits[0]), simd.load(shift, k + n_lanes, limits[0])
        left, right = simd.load_tuple(sums, k, s), simd.load_tuple(sums, k + n_lanes, t)
        first = at + _strip_at(k, width, n_lanes)
        beside = at + _strip_at(k + n_lanes, width, n_lanes) - first
        shifted = simd.no(simd.both(simd.equal(s, s - s), simd.equal(t, t - t)))
        if symmetric and not simd.any_of(shifted):
            for here in range(first, first + rows * stride, stride):
                value, key = simd.load_widened(x, here, tag), simd.load_minmax_key(x, here, tag)
                _ask(x, ask, n_lanes)
                ask += chunk
                left = accumulate_plain(left, limits, value, key)
                value, key = simd.load_widened(x, here + beside, tag), simd.load_minmax_key(x, here + beside, tag)
                right = accumulate_plain(right, limits, value, key)
        else:
            for here in range(first, first + rows * stride, stride):
                value, key = simd.load_widened(x, here, tag), simd.load_minmax_key(x, here, tag)
                _ask(x, ask, n_lanes)
                ask += chunk
                left = accumulate(left, s, limits, value, key)
                value, key = simd.load_widened(x, here + beside, tag), simd.load_minmax_key(x, here + beside, tag)
                right = accumulate(right, t, limits, value, key)
        simd.store_tuple(sums, k, left)
        simd.store_tuple(sums, k + n_lanes, right)
        following, row_end = _next_piece(max(following, ask), row_end, stride, width)


@exact_jit
def _first_shifts(x: Any, tag: Any, at: int, stride: int, rows: int, width: int, shift: Any) -> None:
    """Shifts near the means of the first rows, strip by strip, from the flat index `at` on."""
    n_lanes = simd.lanes(tag)
    for k in range(0, shift.size, n_lanes):
        first = at + _strip_at(k, width, n_lanes)
        total = lowest = highest = simd.to_float64(simd.load_widened(x, first, tag))
        for here in range(first + stride, first + rows * stride, stride):
            value = simd.to_float64(simd.load_widened(x, here, tag))
            total, lowest, highest = total + value, simd.minimum(lowest, value), simd.maximum(highest, value)
        set_shifts(shift, k, total, rows, lowest, highest)


@exact_jit
def _column_of(k: int, width: int, n_lanes: int) -> int:
    """Which of the columns, counted from the first one, a slot stands for."""
    first: int = _strip_at(k // n_lanes * n_lanes, width, n_lanes)
    return first + k % n_lanes


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
def fold_columns(
    x: Any, tag: Any, bounds: Any, r0: int, r1: int, c0: int, c1: int, part: int, states: Any, scratch: int
) -> None:
    """One state for each of the columns c0 to c1 (at most `COLUMNS`) of the matrix `x`, over its rows r0 to r1.

    `x` is contiguous and has the storage dtype of the element type whose tag is `tag`; `bounds` are lo, hi and
    zero_tol. The states go to `part` of `states` (`cpu.states.States`), each to the place of its column. `scratch` is
    the address of as much memory to work in as `scratch_bytes` says.
    """
    n_columns = x.shape[1]
    width = c1 - c0
    n_lanes = simd.lanes(tag)
    # A strip of columns has as many slots. Where the columns do not fill the last ones, these lie over those before
    # them, and what both hold is computed twice.
    slots = -(-width // (STRIPS * n_lanes)) * (STRIPS * n_lanes)
    # The sums begin so far from the elements' place, which is anywhere, at the beginning of a line.
    place = x.ctypes.data + (r0 * n_columns + c0) * x.itemsize
    scratch += (place + _APART - scratch - room(slots)) % _PLACES // 64 * 64
    gathered = array_at(scratch + _ARRAYS * room(slots), (min(GATHERED, r1 - r0),), x[r0, c0])
    if width < n_lanes:
        for c in range(c0, c1):
            _fold_column(x, tag, bounds, r0, r1, c, part, states, gathered)
        return
    example = widen(x[r0, c0], tag)
    work = work_bounds(bounds, example)
    shift, key = array_in(scratch, 0, slots, example), minmax_key(x[r0, c0], tag)
    sums = new_sums(scratch + room(slots), slots, example, key)
    wide = wide_sums(scratch + (1 + SUMS) * room(slots), sums)
    shift[:] = cast_like(0.0, example)
    neurons = new_neurons(scratch + (1 + SUMS + WIDE) * room(slots), slots, key)
    slow_path = array_in(scratch, _ARRAYS - 1, slots, np.uint8(0))
    _first_shifts(x, tag, r0 * n_columns + c0, n_columns, min(_HEAD, r1 - r0), width, shift)
    ahead = x.size * x.itemsize >= FROM_MEMORY
    tall = TILE if ahead else max(TILE, min(TILE * _CACHED_COLUMNS // slots, 64))
    for start in range(r0, r1, JOINED_ROWS):
        stop = min(start + JOINED_ROWS, r1)
        for k in range(0, slots, n_lanes):
            at = start * n_columns + c0 + _strip_at(k, width, n_lanes)
            s = simd.load(shift, k, simd.load_widened(x, at, tag))
            simd.store_tuple(sums, k, no_sums(s, simd.load_minmax_key(x, at, tag)))
        clear_wide(wide)
        for block in range(start, stop, BLOCK_ROWS):
            end = min(block + BLOCK_ROWS, stop)
            for tile in range(block, end, tall):
                rows = min(tall, end - tile)
                _fold_tile(x, tag, tile * n_columns + c0, n_columns, rows, width, work, shift, sums, ahead)
            flush_sums(sums, wide)
        if join_sums(neurons, stop - start, shift, wide, slow_path) > 0:
            for k in range(slots):
                if slow_path[k]:
                    c = c0 + _column_of(k, width, n_lanes)
                    join_state(neurons, k, fold_part(_gather(x, start, stop, c, gathered), tag, bounds), shift)
    if finish(neurons, c0, c1, n_lanes, part, states, slow_path) > 0:
        for k in range(slots):
            if slow_path[k]:
                c = c0 + _column_of(k, width, n_lanes)
                _fold_column(x, tag, bounds, r0, r1, c, part, states, gathered)
