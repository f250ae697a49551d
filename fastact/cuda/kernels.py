"""The kernels that sweep: entry points around `block`, compiled for each element type and each layout of neurons.

Their arguments are numbers: each array that numba-cuda passes would cost a launch some microseconds.
"""

import functools
from typing import Any, Final

import numpy as np
from numba import cuda

from fastact.arithmetic.state import N_COUNTS, N_EXTREMES, N_MOMENTS
from fastact.cuda.block import device_functions
from fastact.cuda.instructions import THREADS, divide
from fastact.cuda.layouts import FLAT, Layout
from fastact.cuda.rows import ROW_BYTES
from fastact.cuda.words import load_word, store_words

__all__ = ["TABLE_WORDS", "many_kernel", "sweep_kernel"]


@functools.cache
def sweep_kernel(name: str, layout: Layout) -> Any:
    """The kernel for elements of the type `name` in a layout, to be launched with blocks of `THREADS` threads.

    Addresses are of device memory:

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
    """The kernel for flat tensors of the type `name`, to be launched with blocks of `THREADS` threads.

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
