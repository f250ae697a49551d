"""What one block of threads does: each thread folds its share of a neuron, then their rows are joined.

A block's threads stand in columns of `Layout.beside` neurons; each folds packets of 16 bytes of its neuron at a fixed
step. While some packets are in registers it takes their mean and the sums of the differences from that mean: no digits
cancel, and memory is read once. Packets are joined in float64, threads through shared memory and blocks by the last to
finish, each in a fixed order: repeatable bit for bit, without a float atomic and without the host.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cuda.compiler import device
from fastact.cuda.fold import fold_of
from fastact.cuda.instructions import THREADS, barrier, divide, fence, ticket
from fastact.cuda.layouts import COLUMNS, FLAT, Layout, loads_of
from fastact.cuda.rows import ROW_BYTES, example_row, joiner, row_words
from fastact.cuda.vectors import concatenate, loader
from fastact.cuda.words import load_words, store_word, store_words


@device
def last_to_come(tickets: int, count: int, thread: int, turn: Any) -> bool:
    """Whether this block is the last of `count` here: it sees what the others wrote, and must zero the tickets."""
    fence()  # what was written is out before the ticket is drawn
    barrier()
    if thread == 0:
        turn[0] = ticket(tickets)
    barrier()
    if turn[0] != count - 1:
        return False
    fence()
    return True


class DeviceFunctions(NamedTuple):
    """What the kernels for one element type and one layout are made of.

    `sweep_block` takes the arguments of `sweep_kernel` from `x` to `tickets`, the numbers of group, part and thread,
    and four arrays of shared memory; it returns whether this block is the last of its group, and if so, in the first
    threads, the row of each neuron.
    """

    end_type: Any  #: the type of min and max in a row
    finished: Any  #: a row to its state
    sweep_block: Any


@functools.cache
def device_functions(name: str, layout: Layout) -> DeviceFunctions:
    """The functions for elements of the type `name` in a layout."""
    element = ELEMENT_TYPES[name]
    itemsize = element.storage.itemsize
    width, loads = loads_of(element, layout)
    bytes_loaded = width * itemsize
    flat = layout is FLAT
    columns = layout is COLUMNS
    abreast = layout.beside
    deep = THREADS // abreast
    half = THREADS // 2

    work_type: Any = element.work
    end_type, nothing, first_of, fold, fold_one, combine, finished = fold_of(name)
    load = loader(element, width)
    load_one = loader(element, 1)
    example = example_row(end_type)
    joined = joiner(combine, row_words, example)

    @device
    def address_of(x: int, i: int, inner: int, pitch: int) -> Any:
        if flat:
            return x + i * bytes_loaded
        if columns:
            return x + i * pitch
        run = divide(i, inner)
        return x + run * pitch + (i - run * inner) * bytes_loaded

    @device
    def add_one_by_one(
        row: Any, x: int, i: int, step: int, count: int, inner: int, pitch: int, origin: float, low: Any, high: Any,
        near: Any,
    ) -> Any:  # fmt: skip
        # A loop, not vectors: seldom gone through, it must not take registers from the other. A cache has the elements.
        for k in range(count):
            packet = divide(k, width)
            at = address_of(x, i + packet * step, inner, pitch) + (k - packet * width) * itemsize
            row = combine(row, fold_one(load_one(at), origin, low, high, near))
        return row

    @device
    def load_first(x: int, i: int, step: int, inner: int, pitch: int) -> Any:
        return load(address_of(x, i, inner, pitch))

    def doubled(once: Any, n: int) -> Any:
        @device
        def twice(x: int, i: int, step: int, inner: int, pitch: int) -> Any:
            return concatenate(once(x, i, step, inner, pitch), once(x, i + n * step, step, inner, pitch))

        return twice

    load_some = load_first
    for power in range(loads.bit_length() - 1):
        load_some = doubled(load_some, 1 << power)

    @device
    def fold_part(
        x: int, head: int, edges: int, packets: int, neurons: int, inner: int, pitch: int, apart: int, parts: int,
        low: float, high: float, near: float, group: int, part: int, thread: int,
    ) -> Any:  # fmt: skip
        deep_in = divide(thread, abreast)
        neuron = group * abreast + (thread - deep_in * abreast)
        start = x + neuron * apart
        lo = work_type(low)
        hi = work_type(high)
        tol = work_type(near)
        origin = 0.0
        first = end_type(0)
        if neuron < neurons:
            first = first_of(load_one(start))
            if abs(np.float64(first)) < math.inf:
                origin = np.float64(first)
        row = nothing(origin, first)
        if neuron < neurons:
            at = part * deep + deep_in
            step = parts * deep
            if flat and at < edges:
                place = at if at < head else packets * width + at
                row = combine(row, fold_one(load_one(x + place * itemsize), origin, lo, hi, tol))
            body = start + head * itemsize
            while at + (loads - 1) * step < packets:
                fine, more = fold(load_some(body, at, step, inner, pitch), origin, lo, hi, tol)
                if fine:
                    row = combine(row, more)
                else:
                    row = add_one_by_one(row, body, at, step, loads * width, inner, pitch, origin, lo, hi, tol)
                at += loads * step
            while at < packets:
                fine, more = fold(load_first(body, at, step, inner, pitch), origin, lo, hi, tol)
                if fine:
                    row = combine(row, more)
                else:
                    row = add_one_by_one(row, body, at, step, width, inner, pitch, origin, lo, hi, tol)
                at += step
        return first, origin, row

    @device
    def sweep_block(
        x: int, head: int, edges: int, packets: int, neurons: int, inner: int, pitch: int, apart: int, parts: int,
        low: float, high: float, near: float, work: int, tickets: int, group: int, part: int, thread: int,
        integers: Any, floats: Any, extremes: Any, turn: Any,
    ) -> Any:  # fmt: skip
        first, origin, row = fold_part(
            x, head, edges, packets, neurons, inner, pitch, apart, parts, low, high, near, group, part, thread
        )
        row = joined(row, thread, half, abreast, integers, floats, extremes)
        last = True
        if parts > 1:
            deep_in = divide(thread, abreast)
            column = thread - deep_in * abreast
            alive = group * abreast + column < neurons
            mine = work + group * parts * abreast * ROW_BYTES
            if alive and deep_in == 0:
                store_words(mine + (part * abreast + thread) * ROW_BYTES, 8, row)
            last = last_to_come(tickets + 8 * group, parts, thread, turn)
            if last:
                row = nothing(origin, first)
                if alive:
                    for other in range(deep_in, parts, deep):
                        row = combine(row, load_words(mine + (other * abreast + column) * ROW_BYTES, 8, example))
                row = joined(row, thread, half, abreast, integers, floats, extremes)
                if thread == 0:
                    store_word(tickets + 8 * group, 0)
        return last, row

    return DeviceFunctions(end_type, finished, sweep_block)
