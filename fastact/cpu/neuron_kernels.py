"""The entry points of a sweep per neuron, and the memory that they share.

A sweep works and leaves its results in one stretch of memory, of which machine code is told the address and nothing
else: in a small layer most of the time went into handing over arrays, and in a training step, whose data drive all else
out of the caches, each object that is touched costs. Its words, of 64 bits:

- the number of the next task, first of all, where `fetch_add` finds it;
- the address of the elements;
- how many threads take tasks one after the other, and the address of the memory that all of them work in;
- three words for whoever shares out the tasks in another way;
- lo, hi and zero_tol;
- the layout, `Layout`;
- the state of all neurons together;
- the states of each, as `cpu.states` lays them out: a column of `slots` states for each neuron.
"""

import functools
import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numba import types

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.arithmetic.state import MAX, MIN
from fastact.cpu.columns import fold_columns
from fastact.cpu.float_mode import begin_ieee, end_ieee
from fastact.cpu.intrinsics import array_at, call_c, fetch_add, view_into
from fastact.cpu.jit import array_type, exact_jit, kernel
from fastact.cpu.neuron_merge import merge_parts
from fastact.cpu.neuron_summary import neuron_summary
from fastact.cpu.runs import fold_runs
from fastact.cpu.states import STATE_WORDS, array_types, states_at, store_words, strided_states_at
from fastact.fields import NEURON, NEURON_PART, ROW_FORMAT, STATE, STATE_PART

#: Where in the memory the parts of its head begin.
ELEMENTS, _TAKERS, SCRATCH, SPARE, BOUNDS, LAYOUT = 1, 2, 3, 4, 7, 10


class Layout(NamedTuple):
    """How the sweep of an [outer, neurons, inner] array is split into tasks, and where their results go.

    `rows` of `columns` side by side are shared out in `blocks` of `wide` columns and in parts of `tall` rows; a task is
    one block of one part. Where such a row is several of the array's, what is left over at its end, `rest` rows, is a
    task of its own. In memory each neuron has a column of `slots` states. A thread works in `scratch` bytes, of which
    there are as many as tasks.
    """

    outer: int
    neurons: int
    inner: int
    rows: int
    columns: int
    rest: int
    tall: int
    wide: int
    blocks: int
    parts: int
    slots: int
    tasks: int
    scratch: int


_NEURONS: Final = Layout._fields.index("neurons")
_SLOTS: Final = Layout._fields.index("slots")
TASKS: Final = LAYOUT + Layout._fields.index("tasks")
_SCRATCH_BYTES: Final = LAYOUT + Layout._fields.index("scratch")
HEAD_WORDS: Final = LAYOUT + len(Layout._fields)
TOTAL: Final = HEAD_WORDS
FIRST_STATE: Final = TOTAL + STATE_WORDS

#: The first task to give a fold kernel that takes one task after the other, as others do at the same time.
SHARED: Final = -1

_F8: Final = types.float64
_I8: Final = types.int64
_WORDS: Final = array_type(np.int64, 1, "C")


@exact_jit
def _neuron_states(address: int, extreme: Any) -> Any:
    """The states by neuron: contiguous, so that loops over neurons become vectors."""
    layout = array_at(address + 8 * LAYOUT, (HEAD_WORDS - LAYOUT,), 0)
    return states_at(address + 8 * FIRST_STATE, layout[_SLOTS], layout[_NEURONS], extreme)


@exact_jit
def begin(address: int, head: int, x: int, scratch: int) -> None:
    """Begins the memory at `address` for elements at `x`, from the head of a plan; `scratch` is what to work in."""
    template = array_at(head, (HEAD_WORDS,), 0)
    memory = array_at(address, (HEAD_WORDS,), 0)
    for i in range(HEAD_WORDS):
        memory[i] = template[i]
    memory[ELEMENTS], memory[SCRATCH] = x, scratch


@functools.cache
def fold_kernel(name: str, *, runs: bool) -> Callable[[int, int, int], None]:
    """The entry point that does tasks: (address of the memory, first task, task after the last).

    C can call it. From `SHARED` on it takes one task after the other until none is left. No two threads may begin with
    the same task.
    """
    element_type = ELEMENT_TYPES[name]
    tag = element_type.tag
    stored = element_type.storage.type(0)
    itemsize = element_type.storage.itemsize
    extreme = element_type.extreme.type(0)
    fold = fold_runs if runs else fold_columns

    def fold_tasks(address: int, first: int, end: int) -> None:
        mode = begin_ieee()
        head = array_at(address, (HEAD_WORDS,), 0)
        numbers = view_into(head, BOUNDS, (3,), (1,), 0.0)
        bounds = numbers[0], numbers[1], numbers[2]
        outer, neurons, inner = head[LAYOUT], head[LAYOUT + 1], head[LAYOUT + 2]
        rows, columns, rest = head[LAYOUT + 3], head[LAYOUT + 4], head[LAYOUT + 5]
        tall, wide, blocks = head[LAYOUT + 6], head[LAYOUT + 7], head[LAYOUT + 8]
        parts, slots = head[LAYOUT + 9], head[LAYOUT + 10]
        shape = (outer, neurons, inner) if runs else (rows, columns)
        x = array_at(head[ELEMENTS], shape, stored)
        size, at = slots * neurons, address + 8 * FIRST_STATE
        states = strided_states_at(at, size, parts, columns, extreme)
        shared = first == SHARED
        task = fetch_add(head) if shared else first
        taker = fetch_add(array_at(address + 8 * _TAKERS, (1,), 0)) if shared else first
        scratch = head[SCRATCH] + taker * head[_SCRATCH_BYTES]
        end = head[TASKS] if shared else end
        while task < end:
            part = task // blocks
            r0, c0 = part * tall, task % blocks * wide
            r1, c1 = min(r0 + tall, rows), min(c0 + wide, columns)
            if runs:
                fold(x, tag, bounds, r0, r1, c0, c1, part, states, scratch)
            else:
                # One call for both: what it calls is large, and would be compiled twice.
                view, into = x, states
                if part == parts:
                    view = array_at(head[ELEMENTS] + rows * columns * itemsize, (rest, neurons), stored)
                    into = strided_states_at(at, size, slots, neurons, extreme)
                    r0, r1, c0, c1, part = 0, rest, 0, neurons, slots - 1
                fold(view, tag, bounds, r0, r1, c0, c1, part, into, scratch)
            task = fetch_add(head) if shared else task + 1
        end_ieee(mode)

    return kernel(fold_tasks, f"{'runs' if runs else 'columns'}-{name}", types.void(_I8, _I8, _I8), nogil=True)


@functools.cache
def run_kernel(dtype: np.dtype[Any]) -> Callable[..., None]:
    """The entry point that begins the memory, has the tasks done by `fold` and merges what they found.

    Either may be left out: 0 for `head` where the memory was begun, for `fold` where the tasks are done.
    """
    extreme = dtype.type(0)

    def run_tasks(address: int, head: int, x: int, scratch: int, fold: Any) -> None:
        if head != 0:
            begin(address, head, x, scratch)
        if fold != 0:
            call_c(fold, (address, SHARED, 0))
        mode = begin_ieee()
        state = merge_parts(_neuron_states(address, extreme))
        store_words(state, array_at(address, (FIRST_STATE,), 0), TOTAL)
        end_ieee(mode)

    return kernel(run_tasks, f"run-{dtype}", types.void(*[_I8] * 5), nogil=True)


#: A row of the log as far as a sweep tells it: `fields.STATE` and `fields.NEURON`.
ROW_WORDS: Final = len(STATE) + len(NEURON)
ROW: Final = struct.Struct("=" + ROW_FORMAT[1 + STATE_PART.start : 1 + NEURON_PART.stop])


@functools.cache
def row_kernel(dtype: np.dtype[Any]) -> Callable[..., None]:
    """The entry point that makes a row of what a sweep has left in its memory, in the order of `fields`."""
    extreme = dtype.type(0)
    wide = 0.0 if dtype.kind == "f" else extreme
    n_state = len(STATE)

    def write_row(address: int, saturated_share: float, silence: Any, weight: int, dead_after: int, row: Any) -> None:
        mode = begin_ieee()
        states = _neuron_states(address, extreme)
        summary = neuron_summary(states, saturated_share, silence, weight, dead_after)
        total = array_at(address + 8 * TOTAL, (n_state,), 0)
        for i in range(n_state):
            row[i] = total[i]
        # As floats, also of 64-bit integers, as the log has them.
        extremes = view_into(total, 0, (n_state,), (1,), wide)
        numbers = view_into(row, 0, (n_state,), (1,), 0.0)
        numbers[MIN], numbers[MAX] = np.float64(extremes[MIN]), np.float64(extremes[MAX])
        store_words((states[0].shape[2],) + summary, row, n_state)  # noqa: RUF005 - what Numba understands
        end_ieee(mode)

    return kernel(write_row, f"row-{dtype}", types.void(_I8, _F8, _WORDS, _I8, _I8, _WORDS), nogil=False)


@functools.cache
def summary_kernel(dtype: np.dtype[Any]) -> Callable[..., tuple[int, int, int, int, float, int, float]]:
    """The entry point of `neuron_summary` for extremes of this dtype."""

    def summarize_neurons(
        counts: Any, moments: Any, extremes: Any, saturated_share: float, silence: Any, weight: int, dead_after: int
    ) -> Any:
        mode = begin_ieee()
        summary = neuron_summary((counts, moments, extremes), saturated_share, silence, weight, dead_after)
        end_ieee(mode)
        return summary

    signature = types.Tuple((*[_I8] * 4, _F8, _I8, _F8))(*array_types(dtype, "A", readonly=True), _F8, _WORDS, _I8, _I8)
    return kernel(summarize_neurons, f"summary-{dtype}", signature, nogil=False)
