"""The kernels: entry points around `block`, compiled for each element type and each layout of neurons.

Some sweep and leave the neurons' rows; the others, for a monitor, leave one certified row in a `ring`. The latter are
launched and forgotten: nothing has to wait for anything, no event is recorded on anyone's stream, and a graph that
captured such a kernel can be replayed. What a layer's neurons did before stays on the device as well: `NEURON_WORDS`
numbers each, and `HEAD_WORDS` of the layer. The first row of a step begins anew, further ones are merged in.

Arguments are numbers: each array that numba-cuda passes would cost a launch some microseconds. Blocks have `THREADS`
threads. Addresses are of device memory.
"""

import functools
import math
from typing import Any, Final

import numpy as np
from numba import cuda

from fastact.arithmetic.silence import NO_DENSITY, ROW_WEIGHT
from fastact.arithmetic.state import COUNT, EMPTY, MEAN, N_COUNTS, N_EXTREMES, N_MOMENTS, ZEROS
from fastact.cuda.block import device_functions, last_to_come
from fastact.cuda.fold import merge
from fastact.cuda.instructions import THREADS, divide, ticket
from fastact.cuda.layouts import FLAT, Layout
from fastact.cuda.neuron_summary import (
    NO_TALLY,
    TALLY_WORDS,
    add_tallies,
    is_silent,
    neuron_summary,
    next_density,
    silence_weight,
    tally_neuron,
)
from fastact.cuda.ring import FORMS, NO_NEURONS, STEP_ENDED, put_ring_row, row_number, slot_address
from fastact.cuda.rows import ROW_BYTES, STATE_WORDS, example_row, joiner, row_words, stored_extreme, with_extremes
from fastact.cuda.words import load_word, load_words, shared_words, store_word, store_words


@functools.cache
def sweep_kernel(name: str, layout: Layout) -> Any:
    """The kernel for elements of the type `name` in a layout.

    - x: the first element; `head` of `edges` single elements of a flat tensor come before the first whole packet, the
      others after the last (0 in other layouts)
    - packets: loads to make of each neuron; neurons: how many; inner: packets of a run
    - pitch, apart: bytes from run to run of a neuron, and from neuron to neuron
    - parts: blocks that share a neuron (or `Layout.beside` of them); there are as many blocks for each
    - low, high, near: bounds, exact in the work precision (`layouts.work_bounds`)
    - work: rows for the partial sums, parts * beside for each group of neurons; tickets: an int64 for each group, zero
      before and after
    - out: where the rows of the neurons go
    """
    end_type, finished, sweep_block = device_functions(name, layout)
    abreast = layout.beside
    half = THREADS // 2

    def sweep(
        x: int, head: int, edges: int, packets: int, neurons: int, inner: int, pitch: int, apart: int, parts: int,
        low: float, high: float, near: float, work: int, tickets: int, out: int,
    ) -> None:  # fmt: skip
        integers = cuda.shared.array((N_COUNTS, half), np.int64)
        floats = cuda.shared.array((N_MOMENTS, half), np.float64)
        extremes = cuda.shared.array((N_EXTREMES, half), end_type)
        turn = cuda.shared.array(1, np.int64)
        thread: Any = np.int64(cuda.threadIdx.x)
        block: Any = np.int64(cuda.blockIdx.x)
        group = divide(block, parts)
        last, row = sweep_block(
            x, head, edges, packets, neurons, inner, pitch, apart, parts, low, high, near, work, tickets,
            group, block - group * parts, thread, integers, floats, extremes, turn,
        )  # fmt: skip
        neuron = group * abreast + thread
        if last and thread < abreast and neuron < neurons:
            store_words(out + neuron * ROW_BYTES, 8, finished(row))

    sweep.__name__ = sweep.__qualname__ = f"fastact_{name}_{layout.name.replace(' ', '_')}"
    return sweep


#: A line of the table of many tensors: an address, `head`, `edges`, `packets` and `parts` as in `sweep_kernel`, and the
#: number of the first block; and two to fill half of a line of the cache.
TABLE_WORDS: Final = 8
_LINE: Final = 8 * TABLE_WORDS


@functools.cache
def many_kernel(name: str) -> Any:
    """The kernel for flat tensors of the type `name`.

    - table, count: the address of the table, and its lines, by their first block
    - low, high, near: as in `sweep_kernel`
    - work: a row for each block; tickets: an int64 for each tensor, zero before and after; out: a row for each tensor
    """
    end_type, finished, sweep_block = device_functions(name, FLAT)
    half = THREADS // 2

    def sweep_many(
        table: int, count: int, low: float, high: float, near: float, work: int, tickets: int, out: int
    ) -> None:
        integers = cuda.shared.array((N_COUNTS, half), np.int64)
        floats = cuda.shared.array((N_MOMENTS, half), np.float64)
        extremes = cuda.shared.array((N_EXTREMES, half), end_type)
        turn = cuda.shared.array(1, np.int64)
        thread: Any = np.int64(cuda.threadIdx.x)
        block: Any = np.int64(cuda.blockIdx.x)
        # The last tensor whose first block is not behind this one; all threads of a block go the same way.
        tensor = 0
        behind = count
        while behind - tensor > 1:
            middle = divide(tensor + behind, 2)
            if load_word(table + middle * _LINE + 40, 1) <= block:
                tensor = middle
            else:
                behind = middle
        line = table + tensor * _LINE
        first = load_word(line + 40, 1)
        last, row = sweep_block(
            load_word(line, 1), load_word(line + 8, 1), load_word(line + 16, 1), load_word(line + 24, 1),
            1, 1, 0, 0, load_word(line + 32, 1), low, high, near, work + first * ROW_BYTES, tickets + 8 * tensor,
            0, block - first, thread, integers, floats, extremes, turn,
        )  # fmt: skip
        if last and thread == 0:
            store_words(out + tensor * ROW_BYTES, 8, finished(row))

    sweep_many.__name__ = sweep_many.__qualname__ = f"fastact_many_{name}"
    return sweep_many


#: A layer with neurons: the step of its last row (from 1), its rows in that step, their elements, and those that are
#: not zero; its density before the step and with it.
_COUNTERS: Final = 4
_DENSITY_WORDS: Final = len(NO_DENSITY)
HEAD_WORDS: Final = _COUNTERS + 2 * _DENSITY_WORDS
#: And one after the other for all neurons: what the silence of each had come to before the step and with it, and the
#: numbers of its state over the step.
NEURON_WORDS: Final = 2 + STATE_WORDS
#: What a group of neurons leaves for the last one to join: the state of all of its elements, and a tally.
GROUP_BYTES: Final = 8 * (STATE_WORDS + TALLY_WORDS)
_STATE_BYTES: Final = 8 * STATE_WORDS
#: Rows of shared memory that states and tallies go through, from thread to thread.
_INTEGERS: Final = max(N_COUNTS, sum(isinstance(number, int) for number in NO_TALLY))
_FLOATS: Final = max(N_MOMENTS, sum(isinstance(number, float) for number in NO_TALLY))

_join_tallies = joiner(add_tallies, shared_words(()), NO_TALLY)


@functools.cache
def record_kernel(name: str, layout: Layout, *, per_neuron: bool) -> Any:
    """The kernel of a monitor's row. With `per_neuron` it tells of the neurons; without, the layout is flat.

    Up to `tickets` its arguments are those of `sweep_kernel`, but that `work` holds after the partial rows
    `GROUP_BYTES` for each group, where there are several, and `tickets` one more; then:

    - ring, slots: where the rows go, and how many there are
    - counter: 0, or the address of two int64: how many rows the ring has had, and the step, below 0 where nothing is to
      be recorded. A graph that is replayed finds its slot and its step so.
    - number, step: without a counter, the row's number in the ring from 0, and the step
    - layer: the layer's number
    - memory: of the layer with these neurons, HEAD_WORDS + NEURON_WORDS * neurons words, all zero before the first row
    - undo: whether the step before this one is to be taken as if it had not been
    - rows_limit, samples_limit, fires_limit, counts: the `SilenceLimits` after which a silent neuron is dead
    """
    end_type, finished, sweep_block = device_functions(name, layout)
    abreast = layout.beside
    half = THREADS // 2
    form = FORMS.index(stored_extreme(name))
    example = example_row(end_type)
    largest, smallest = (math.inf, -math.inf) if form == 0 else (np.iinfo(name).max, np.iinfo(name).min)
    no_state = with_extremes(EMPTY, end_type(largest), end_type(smallest))
    join_states = joiner(merge, row_words, example)

    def record_flat(
        x: int, head: int, edges: int, packets: int, neurons: int, inner: int, pitch: int, apart: int, parts: int,
        low: float, high: float, near: float, work: int, tickets: int, ring: int, slots: int, counter: int,
        number: int, step: int, layer: int, memory: int, undo: int,
        rows_limit: int, samples_limit: int, fires_limit: int, counts: int,
    ) -> None:  # fmt: skip
        integers = cuda.shared.array((N_COUNTS, half), np.int64)
        floats = cuda.shared.array((N_MOMENTS, half), np.float64)
        extremes = cuda.shared.array((N_EXTREMES, half), end_type)
        turn = cuda.shared.array(1, np.int64)
        thread: Any = np.int64(cuda.threadIdx.x)
        part: Any = np.int64(cuda.blockIdx.x)
        if counter != 0:
            step = load_word(counter + 8, 1)
            if step < 0:
                return
        last, row = sweep_block(
            x, head, edges, packets, neurons, inner, pitch, apart, parts, low, high, near, work, tickets,
            0, part, thread, integers, floats, extremes, turn,
        )  # fmt: skip
        if last and thread == 0:
            number = row_number(number, counter)
            at = slot_address(ring, slots, number)
            put_ring_row(at, number, layer, step, 0, form, finished(row), NO_NEURONS)

    def record_neurons(
        x: int, head: int, edges: int, packets: int, neurons: int, inner: int, pitch: int, apart: int, parts: int,
        low: float, high: float, near: float, work: int, tickets: int, ring: int, slots: int, counter: int,
        number: int, step: int, layer: int, memory: int, undo: int,
        rows_limit: int, samples_limit: int, fires_limit: int, counts: int,
    ) -> None:  # fmt: skip
        integers = cuda.shared.array((_INTEGERS, half), np.int64)
        floats = cuda.shared.array((_FLOATS, half), np.float64)
        extremes = cuda.shared.array((N_EXTREMES, half), end_type)
        turn = cuda.shared.array(1, np.int64)
        thread: Any = np.int64(cuda.threadIdx.x)
        block: Any = np.int64(cuda.blockIdx.x)
        if counter != 0:
            step = load_word(counter + 8, 1)
            if step < 0:
                return
        group = divide(block, parts)
        last, row = sweep_block(
            x, head, edges, packets, neurons, inner, pitch, apart, parts, low, high, near, work, tickets,
            group, block - group * parts, thread, integers, floats, extremes, turn,
        )  # fmt: skip
        if not last:
            return

        # All groups read the head; the last one writes it, when they have.
        fresh = load_word(memory, 1) != step + 1
        rows_in_step = load_word(memory + 8, 1) + 1
        before = memory + 8 * _COUNTERS
        if fresh:
            rows_in_step = 1
            if undo == 0:
                before += 8 * _DENSITY_WORDS
        density = load_words(before, 8, NO_DENSITY)
        state = no_state
        tally = NO_TALLY
        neuron = group * abreast + thread
        if thread < abreast and neuron < neurons:
            state = finished(row)
            silent_at = memory + 8 * HEAD_WORDS + 8 * neuron
            state_at = silent_at + 16 * neurons
            whole = state
            if fresh:
                silence = load_word(silent_at + (0 if undo != 0 else 8 * neurons), 1)
                store_word(silent_at, silence)
            else:
                silence = load_word(silent_at, 1)
                whole = merge(load_words(state_at, 8 * neurons, example), state)
            store_words(state_at, 8 * neurons, whole)
            if is_silent(whole):
                silence += silence_weight(
                    whole[COUNT], density.elements, density.fires, rows_limit, samples_limit, fires_limit
                )
            else:
                silence = 0
            store_word(silent_at + 8 * neurons, silence)
            tally = tally_neuron(whole, neuron, silence, rows_limit * ROW_WEIGHT)
        state = join_states(state, thread, abreast // 2, 1, integers, floats, extremes)
        tally = _join_tallies(tally, thread, abreast // 2, 1, integers, floats, extremes)

        groups = divide(neurons + abreast - 1, abreast)
        if groups > 1:
            joins = work
            if parts > 1:
                joins = work + groups * parts * abreast * ROW_BYTES
            if thread == 0:
                store_words(joins + group * GROUP_BYTES, 8, state)
                store_words(joins + group * GROUP_BYTES + _STATE_BYTES, 8, tally)
            if not last_to_come(tickets + 8 * groups, groups, thread, turn):
                return
            state = no_state
            tally = NO_TALLY
            for other in range(thread, groups, THREADS):
                state = merge(state, load_words(joins + other * GROUP_BYTES, 8, example))
                tally = add_tallies(tally, load_words(joins + other * GROUP_BYTES + _STATE_BYTES, 8, NO_TALLY))
            state = join_states(state, thread, half, 1, integers, floats, extremes)
            tally = _join_tallies(tally, thread, half, 1, integers, floats, extremes)
        if thread == 0:
            if groups > 1:
                store_word(tickets + 8 * groups, 0)
            store_word(memory, step + 1)
            store_word(memory + 8, rows_in_step)
            elements = state[COUNT]
            fired = elements - state[ZEROS]
            silent = tally.silent
            dead = tally.dead
            if counts != 0:
                fired = np.int64(math.floor(state[MEAN] * elements + 0.5))
                silent = 0
                dead = 0
            if not fresh:
                elements += load_word(memory + 16, 1)
                fired += load_word(memory + 24, 1)
            store_word(memory + 16, elements)
            store_word(memory + 24, fired)
            store_words(memory + 8 * _COUNTERS, 8, density)
            after = next_density(
                density.pooled_elements, density.pooled_fires, neurons, divide(elements, neurons), fired, silent,
                dead,
            )  # fmt: skip
            store_words(memory + 8 * (_COUNTERS + _DENSITY_WORDS), 8, after)
            number = row_number(number, counter)
            at = slot_address(ring, slots, number)
            put_ring_row(at, number, layer, step, rows_in_step, form, state, neuron_summary(neurons, tally))

    record = record_neurons if per_neuron else record_flat
    record.__name__ = record.__qualname__ = f"fastact_{record.__name__}_{name}_{layout.name.replace(' ', '_')}"
    return record


@functools.cache
def end_step_kernel() -> Any:
    """The kernel, of one thread, that says in the ring of replayed rows that a step has ended, and which one begins.

    - ring, slots, counter: as in `record_kernel`
    - step: the one that has ended, below 0 for none: no row is written then
    - following: the one that begins, below 0 where nothing is to be recorded in it
    """

    def end_step(ring: int, slots: int, counter: int, step: int, following: int) -> None:
        if step >= 0:
            number = ticket(counter)
            put_ring_row(slot_address(ring, slots, number), number, STEP_ENDED, step, 0, 0, EMPTY, NO_NEURONS)
        store_word(counter + 8, following)

    end_step.__name__ = end_step.__qualname__ = "fastact_end_step"
    return end_step
