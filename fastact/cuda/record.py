"""The kernels of a monitor's rows: a sweep that leaves one certified row in a ring of device memory.

They are launched and forgotten. The row carries a check word over all of its others, so whoever copies the ring, at
any time and on any stream, can tell a row that is whole from one that is not there yet or is being written: nothing
has to wait for anything, no event is recorded on anyone's stream, and a graph that captured such a kernel can be
replayed.

What a layer's neurons did before stays on the device as well: `NEURON_WORDS` numbers each, and `HEAD_WORDS` of the
layer. The kernel goes on from there: the first row of a step begins anew, further ones of the same step are merged in.
"""

import functools
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import cuda

from fastact.cuda.device import MIX, device, divide, fetch_word, mixed, store_word, ticket
from fastact.cuda.kernels import ROW_BYTES, THREADS, Layout, blocks, joiner, last_to_come, merge
from fastact.cuda.survey import (
    TALLY_WORDS,
    add_tallies,
    get_tally,
    is_silent,
    join_tallies,
    no_tally,
    put_tally,
    tally_neuron,
    total_tally,
)

__all__ = [
    "CHECK",
    "FORM",
    "FORMS",
    "GROUP_BYTES",
    "HEAD_WORDS",
    "LAYER",
    "NEURON_WORDS",
    "PART",
    "RING_BYTES",
    "RING_WORDS",
    "STAMP",
    "STATE",
    "STEP",
    "STEP_ENDED",
    "SURVEY",
    "checks",
    "end_step_kernel",
    "record_kernel",
]

#: A row of the ring, in words of 8 bytes: its number in the ring, from 1; the layer's number; the step; how many rows
#: its layer has had in this step; which of `FORMS` min and max have; a state; `fields.NEURON`; the check word.
RING_WORDS: Final = 32
RING_BYTES: Final = 8 * RING_WORDS
STAMP: Final = 0
LAYER: Final = 1
STEP: Final = 2
PART: Final = 3
FORM: Final = 4
STATE: Final = slice(5, 17)
SURVEY: Final = slice(17, 25)
CHECK: Final = 25
#: How the words of min and max are to be read.
FORMS: Final = ("float64", "int64", "uint64")
#: The layer's number in a row that says that a step has ended.
STEP_ENDED: Final = -1

#: A layer with neurons: the step of its last row (from 1), its rows before that step and with it, and its rows in it.
HEAD_WORDS: Final = 4
#: And one after the other for all neurons: for how many rows each had been silent before the step and with it, and the
#: numbers of its state over the step.
NEURON_WORDS: Final = 14
#: What a group of neurons leaves for the last one to join: the state of all of its elements, and a tally.
GROUP_BYTES: Final = 8 * (12 + TALLY_WORDS)

_POWERS: Final = np.array([pow(MIX, CHECK - 1 - i, 1 << 64) for i in range(CHECK)], np.uint64)


def checks(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The check word that each of the rows, int64[rows, RING_WORDS], should have."""
    words = rows[:, :CHECK].view(np.uint64)
    result: npt.NDArray[np.int64] = ((words ^ (words >> np.uint64(32))) * _POWERS).sum(axis=1).view(np.int64)
    return result


_join_states = joiner(merge)


@device
def _put(at: int, word: int, value: Any, check: int) -> int:
    store_word(at + 8 * word, value)
    return mixed(check, value)


@device
def _put_ring_row(at: int, number: int, layer: int, step: int, part: int, form: int, state: Any, survey: Any) -> None:
    check = _put(at, 0, number + 1, 0)
    check = _put(at, 1, layer, check)
    check = _put(at, 2, step, check)
    check = _put(at, 3, part, check)
    check = _put(at, 4, form, check)
    check = _put(at, 5, state[0], check)
    check = _put(at, 6, state[1], check)
    check = _put(at, 7, state[2], check)
    check = _put(at, 8, state[3], check)
    check = _put(at, 9, state[4], check)
    check = _put(at, 10, state[5], check)
    check = _put(at, 11, state[6], check)
    check = _put(at, 12, state[7], check)
    check = _put(at, 13, state[8], check)
    check = _put(at, 14, state[9], check)
    check = _put(at, 15, state[10], check)
    check = _put(at, 16, state[11], check)
    check = _put(at, 17, survey[0], check)
    check = _put(at, 18, survey[1], check)
    check = _put(at, 19, survey[2], check)
    check = _put(at, 20, survey[3], check)
    check = _put(at, 21, survey[4], check)
    check = _put(at, 22, survey[5], check)
    check = _put(at, 23, survey[6], check)
    check = _put(at, 24, survey[7], check)
    store_word(at + 8 * CHECK, check)


@device
def _drawn(number: int, counter: int) -> int:
    """The number of a row: the one given, or the next one of a counter."""
    if counter != 0:
        return ticket(counter)
    return number


@device
def _slot(ring: int, slots: int, number: int) -> int:
    return ring + (number - divide(number, slots) * slots) * RING_BYTES


@functools.cache
def record_kernel(name: str, layout: Layout, *, surveyed: bool) -> Any:
    """The kernel for elements of the kind `name` in a layout, to be launched with blocks of `THREADS` threads.

    With `surveyed` the row tells of its neurons; without, the layout is flat.

    Its arguments are numbers. Up to `tickets` they are those of `sweep_kernel`, but that `work` holds after the partial
    rows `GROUP_BYTES` for each group, where there are several, and `tickets` one more; then:

    - ring, slots: where the rows go, and how many there are
    - counter: 0, or the address of two int64: how many rows the ring has had, and the step, below 0 where nothing is to
      be recorded. A graph that is replayed finds its slot and its step so.
    - number, step: without a counter, the row's number in the ring from 0, and the step
    - layer: the layer's number
    - memory: of the layer with these neurons, HEAD_WORDS + NEURON_WORDS * neurons words, all zero before the first row
    - again: whether the step before this one is to be taken as if it had not been
    - dead_window: rows after which a silent neuron is dead, or after as many as there have been
    """
    functions = blocks(name, layout)
    end_type, finished, swept = functions.end_type, functions.finished, functions.swept
    put_row, get_row = functions.put_row, functions.get_row
    abreast = layout.beside
    half = THREADS // 2
    exact = name in ("int64", "uint64")
    form = FORMS.index(name) if exact else 0
    least: Any = end_type(np.iinfo(name).max) if exact else end_type(math.inf)
    most: Any = end_type(np.iinfo(name).min) if exact else end_type(-math.inf)

    @device
    def no_state() -> Any:
        return (0, 0, 0, 0, 0, 0, math.nan, math.nan, math.nan, least, most, 0.0)

    def record_flat(
        x: int, head: int, edges: int, packets: int, neurons: int, inner: int, pitch: int, apart: int, parts: int,
        low: float, high: float, near: float, work: int, tickets: int, ring: int, slots: int, counter: int,
        number: int, step: int, layer: int, memory: int, again: int, dead_window: int,
    ) -> None:  # fmt: skip
        counts = cuda.shared.array((6, half), np.int64)
        numbers = cuda.shared.array((4, half), np.float64)
        extremes = cuda.shared.array((2, half), end_type)
        turn = cuda.shared.array(1, np.int64)
        thread: Any = np.int64(cuda.threadIdx.x)
        part: Any = np.int64(cuda.blockIdx.x)
        if counter != 0:
            step = fetch_word(counter + 8, 1)
            if step < 0:
                return
        last, row = swept(
            x, head, edges, packets, neurons, inner, pitch, apart, parts, low, high, near, work, tickets,
            0, part, thread, counts, numbers, extremes, turn,
        )  # fmt: skip
        if last and thread == 0:
            number = _drawn(number, counter)
            at = _slot(ring, slots, number)
            survey = (0, 0, 0, 0, 0, math.nan, -1, math.nan)
            _put_ring_row(at, number, layer, step, 0, form, finished(row), survey)

    def record_neurons(
        x: int, head: int, edges: int, packets: int, neurons: int, inner: int, pitch: int, apart: int, parts: int,
        low: float, high: float, near: float, work: int, tickets: int, ring: int, slots: int, counter: int,
        number: int, step: int, layer: int, memory: int, again: int, dead_window: int,
    ) -> None:  # fmt: skip
        counts = cuda.shared.array((7, half), np.int64)
        numbers = cuda.shared.array((4, half), np.float64)
        extremes = cuda.shared.array((2, half), end_type)
        turn = cuda.shared.array(1, np.int64)
        thread: Any = np.int64(cuda.threadIdx.x)
        block: Any = np.int64(cuda.blockIdx.x)
        if counter != 0:
            step = fetch_word(counter + 8, 1)
            if step < 0:
                return
        group = divide(block, parts)
        last, row = swept(
            x, head, edges, packets, neurons, inner, pitch, apart, parts, low, high, near, work, tickets,
            group, block - group * parts, thread, counts, numbers, extremes, turn,
        )  # fmt: skip
        if not last:
            return

        # All groups read the head; the last one writes it, when they have.
        fresh = fetch_word(memory, 1) != step + 1
        before = fetch_word(memory + 8, 1)
        rows = fetch_word(memory + 16, 1)
        rows_in_step = fetch_word(memory + 24, 1) + 1
        if fresh:
            if again == 0:
                before = rows
            rows = before + 1
            rows_in_step = 1
        state = no_state()
        tally = no_tally()
        neuron = group * abreast + thread
        if thread < abreast and neuron < neurons:
            state = finished(row)
            silence_at = memory + 8 * HEAD_WORDS + 8 * neuron
            state_at = silence_at + 16 * neurons
            whole = state
            if fresh:
                silence = fetch_word(silence_at + (0 if again != 0 else 8 * neurons), 1)
                store_word(silence_at, silence)
            else:
                silence = fetch_word(silence_at, 1)
                whole = merge(get_row(state_at, 8 * neurons), state)
            put_row(state_at, 8 * neurons, whole)
            silence = silence + 1 if is_silent(whole) else 0
            store_word(silence_at + 8 * neurons, silence)
            tally = tally_neuron(whole, neuron, silence, min(rows, dead_window))
        state = _join_states(state, thread, abreast // 2, 1, counts, numbers, extremes)
        tally = join_tallies(tally, thread, abreast // 2, counts, numbers)

        groups = divide(neurons + abreast - 1, abreast)
        if groups > 1:
            joins = work
            if parts > 1:
                joins = work + groups * parts * abreast * ROW_BYTES
            if thread == 0:
                put_row(joins + group * GROUP_BYTES, 8, state)
                put_tally(joins + group * GROUP_BYTES + 96, tally)
            if not last_to_come(tickets + 8 * groups, groups, thread, turn):
                return
            state = no_state()
            tally = no_tally()
            for other in range(thread, groups, THREADS):
                state = merge(state, get_row(joins + other * GROUP_BYTES, 8))
                tally = add_tallies(tally, get_tally(joins + other * GROUP_BYTES + 96))
            state = _join_states(state, thread, half, 1, counts, numbers, extremes)
            tally = join_tallies(tally, thread, half, counts, numbers)
        if thread == 0:
            if groups > 1:
                store_word(tickets + 8 * groups, 0)
            store_word(memory, step + 1)
            store_word(memory + 8, before)
            store_word(memory + 16, rows)
            store_word(memory + 24, rows_in_step)
            number = _drawn(number, counter)
            at = _slot(ring, slots, number)
            _put_ring_row(at, number, layer, step, rows_in_step, form, state, total_tally(neurons, tally))

    record = record_neurons if surveyed else record_flat
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
            state = (0, 0, 0, 0, 0, 0, math.nan, math.nan, math.nan, math.inf, -math.inf, 0.0)
            survey = (0, 0, 0, 0, 0, math.nan, -1, math.nan)
            _put_ring_row(_slot(ring, slots, number), number, STEP_ENDED, step, 0, 0, state, survey)
        store_word(counter + 8, following)

    end_step.__name__ = end_step.__qualname__ = "fastact_end_step"
    return end_step
