"""The fold per neuron where a neuron's elements lie side by side, in runs: a state for each channel of an image batch.

Runs of a vector up to a block are folded channel by channel, with a channel's sums in registers from run to run. Longer
and shorter ones are folded as a flat array is.
"""

from typing import Any, Final

import numpy as np

from fastact.cpu import simd
from fastact.cpu.columns import BLOCK_ROWS, GATHERED, STRIPS
from fastact.cpu.flat import fold_part, merge, work_bounds
from fastact.cpu.intrinsics import cast_like, max_no_nan, min_no_nan, store_tuple, subarray
from fastact.cpu.jit import exact_jit
from fastact.cpu.neuron_sums import (
    NEURONS,
    SUMS,
    accumulate,
    accumulate_plain,
    accumulate_tail,
    finish,
    join_state,
    join_sums,
    joined,
    new_neurons,
    new_sums,
    no_sums,
    reduce_sums,
    set_shifts,
    sum_limits,
)
from fastact.cpu.scratch import array_in, room, room_bytes
from fastact.cpu.states import load_state, store_state
from fastact.cpu.widen import minmax_key, widen

#: Elements up to which a run is one block.
_SHORT_RUN: Final = 4096
#: Elements of a run whose mean is the first shift.
_HEAD: Final = 8
#: Rows of a channel that are folded in one go, at most, and vectors that they have together: to load and to store the
#: sums of a channel takes as long as a run of 200 elements, and of more rows the CPU follows fewer.
_TALL, _TOGETHER = 8, 128


#: Arrays in the scratch memory with an item for each channel: shifts, the others', and who needs the slow path.
_ARRAYS: Final = 1 + SUMS + NEURONS + 1


def scratch_bytes(channels: int, inner: int) -> int:
    """Bytes of memory that `fold_runs` works in for so many channels, in runs of `inner` elements."""
    if inner > _SHORT_RUN:
        return 0
    lanes = simd.REGISTER_BYTES // 4
    slots = -(-channels // lanes) * lanes
    return _ARRAYS * room_bytes(slots) + SUMS * room_bytes(slots * lanes)


@exact_jit
def fold_runs(
    x: Any, tag: Any, bounds: Any, r0: int, r1: int, c0: int, c1: int, part: int, states: Any, scratch: int
) -> None:
    """`fold_columns` for an [outer, channels, inner] array: channels c0 to c1 over the outer entries r0 to r1."""
    inner = x.shape[2]
    if simd.lanes(tag) <= inner <= _SHORT_RUN:
        _fold_short_runs(x, tag, bounds, r0, r1, c0, c1, part, states, scratch)
        return
    for c in range(c0, c1):
        _fold_channel(x, tag, bounds, r0, r1, c, part, states)


@exact_jit
def _fold_channel(x: Any, tag: Any, bounds: Any, r0: int, r1: int, c: int, part: int, states: Any) -> None:
    """`fold_runs` for a single channel, at most `GATHERED` elements of a run at a time."""
    inner = x.shape[2]
    for r in range(r0, r1):
        at = (r * x.shape[1] + c) * inner
        for start in range(0, inner, GATHERED):
            state = fold_part(subarray(x, at + start, min(GATHERED, inner - start)), tag, bounds)
            if r > r0 or start > 0:
                state = merge(load_state(states, part, c), state)
            store_state(state, states, part, c)


@exact_jit
def _fold_each_run(x: Any, tag: Any, r0: int, r1: int, c0: int, c1: int, bounds: Any, shift: Any, lanes: Any) -> None:
    """Adds the runs of the channels c0 to c1 in the rows r0 to r1 to the sums of each channel's lanes.

    A run is at least a vector. What is left over at its end is read in a vector that ends there, whose lanes before it
    count for nothing. All in one call: arrays taken out of a tuple for every run anew took longer than the run.
    """
    size = x.shape[2]
    row = x.shape[1] * size
    n_lanes = simd.lanes(tag)
    whole = size // n_lanes * n_lanes
    pairs = size // (2 * n_lanes) * (2 * n_lanes) if STRIPS == 2 else 0
    first = n_lanes - (size - whole)
    limits = sum_limits(bounds, simd.load_widened(x, r0 * row + c0 * size, tag))
    for k in range(c1 - c0):
        at = r0 * row + (c0 + k) * size
        s = simd.splat(shift[k], limits[0])
        vectors = simd.load_tuple(lanes, k * n_lanes, s)
        others = no_sums(s, simd.load_minmax_key(x, at, tag))
        plain = bounds[0] == -bounds[1] and shift[k] == 0
        for begin in range(at, at + (r1 - r0) * row, row):
            if plain and STRIPS == 2:
                for here in range(begin, begin + pairs, 2 * n_lanes):
                    value, key = simd.load_widened(x, here, tag), simd.load_minmax_key(x, here, tag)
                    vectors = accumulate_plain(vectors, limits, value, key)
                    value, key = simd.load_widened(x, here + n_lanes, tag), simd.load_minmax_key(x, here + n_lanes, tag)
                    others = accumulate_plain(others, limits, value, key)
            elif STRIPS == 2:
                for here in range(begin, begin + pairs, 2 * n_lanes):
                    value, key = simd.load_widened(x, here, tag), simd.load_minmax_key(x, here, tag)
                    vectors = accumulate(vectors, s, limits, value, key)
                    value, key = simd.load_widened(x, here + n_lanes, tag), simd.load_minmax_key(x, here + n_lanes, tag)
                    others = accumulate(others, s, limits, value, key)
            if plain:
                for here in range(begin + pairs, begin + whole, n_lanes):
                    value, key = simd.load_widened(x, here, tag), simd.load_minmax_key(x, here, tag)
                    vectors = accumulate_plain(vectors, limits, value, key)
            else:
                for here in range(begin + pairs, begin + whole, n_lanes):
                    value, key = simd.load_widened(x, here, tag), simd.load_minmax_key(x, here, tag)
                    vectors = accumulate(vectors, s, limits, value, key)
            if whole < size:
                last = begin + size - n_lanes
                value, key = simd.load_widened(x, last, tag), simd.load_minmax_key(x, last, tag)
                vectors = accumulate_tail(vectors, s, limits, value, key, first)
        simd.store_tuple(lanes, k * n_lanes, joined(vectors, others))


@exact_jit
def _first_shifts(x: Any, tag: Any, r: int, c0: int, n: int, shift: Any) -> None:
    """Shifts near the means of the first elements of `n` channels from `c0` on, in row `r`."""
    head = min(_HEAD, x.shape[2])
    total, lowest, highest = np.zeros(shift.size), np.zeros(shift.size), np.zeros(shift.size)
    for k in range(n):
        lowest[k] = highest[k] = np.float64(widen(x[r, c0 + k, 0], tag))
        for i in range(head):
            value = np.float64(widen(x[r, c0 + k, i], tag))
            total[k] += value
            lowest[k], highest[k] = min_no_nan(lowest[k], value), max_no_nan(highest[k], value)
    zero = simd.zeros_float64()
    for k in range(0, shift.size, simd.lanes_float64()):
        head_of = simd.load(total, k, zero), simd.load(lowest, k, zero), simd.load(highest, k, zero)
        set_shifts(shift, k, head_of[0], head, head_of[1], head_of[2])


@exact_jit
def _fold_short_runs(
    x: Any, tag: Any, bounds: Any, r0: int, r1: int, c0: int, c1: int, part: int, states: Any, scratch: int
) -> None:
    """`fold_runs` for runs of at least a vector: some rows at a time, each channel over all of them.

    To join a channel's sums in float64 after every run would take as long as the run itself; to go through the memory
    in its order, with the sums of all channels in memory, took twice as long for runs of 16 elements.
    """
    inner = x.shape[2]
    n = c1 - c0
    n_lanes = simd.lanes(tag)
    example = widen(x[r0, c0, 0], tag)
    work = work_bounds(bounds, example)
    # Whole vectors of channels; the last ones may have nothing in them.
    slots = -(-n // n_lanes) * n_lanes
    shift, key = array_in(scratch, 0, slots, example), minmax_key(x[r0, c0, 0], tag)
    sums = new_sums(scratch + room(slots), slots, example, key)
    neurons = new_neurons(scratch + (1 + SUMS) * room(slots), slots, key)
    slow_path = array_in(scratch, _ARRAYS - 1, slots, np.uint8(0))
    lanes = new_sums(scratch + _ARRAYS * room(slots), slots * n_lanes, example, key)
    # Of the channels that fill the last vector up nothing is ever summed.
    zero = cast_like(0.0, example)
    shift[:] = zero
    for k in range(n, slots):
        store_tuple(sums, k, (zero, zero, zero, key, key, 0))
    _first_shifts(x, tag, r0, c0, n, shift)
    like = simd.splat(0.0, simd.load_widened(x, (r0 * x.shape[1] + c0) * inner, tag))
    vectors = -(-inner // n_lanes)
    together = max(1, STRIPS * BLOCK_ROWS // vectors)
    tall = min(_TALL, max(1, _TOGETHER // vectors))
    for start in range(r0, r1, together):
        stop = min(start + together, r1)
        for k in range(n):
            at = (start * x.shape[1] + c0 + k) * inner
            simd.store_tuple(lanes, k * n_lanes, no_sums(like, simd.load_minmax_key(x, at, tag)))
        for tile in range(start, stop, tall):
            _fold_each_run(x, tag, tile, min(tile + tall, stop), c0, c1, work, shift, lanes)
        reduce_sums(lanes, n, n_lanes, like, sums)
        if join_sums(neurons, (stop - start) * inner, shift, sums, slow_path) > 0:
            for k in range(n):
                if slow_path[k]:
                    for r in range(start, stop):
                        at = (r * x.shape[1] + c0 + k) * inner
                        join_state(neurons, k, fold_part(subarray(x, at, inner), tag, bounds), shift)
    if finish(neurons, c0, c1, 0, part, states, slow_path) > 0:
        for k in range(n):
            if slow_path[k]:
                _fold_channel(x, tag, bounds, r0, r1, c0 + k, part, states)
