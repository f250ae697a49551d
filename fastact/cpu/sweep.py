"""Runs the sweep of a flat array: which kernel, in how many parts, on how many threads.

Every buffer is split into parts by its shape alone, and parts are merged in their order: the answer is the same, bit
for bit, whatever the number of threads. Entry points are compiled (or loaded from disk) when first used, one for
each element type.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cpu.float_mode import begin_ieee, end_ieee
from fastact.cpu.folds import fold_of
from fastact.cpu.intrinsics import fetch_add, subarray
from fastact.cpu.jit import COMPILED, array_type, kernel
from fastact.cpu.neuron_merge import merge_parts
from fastact.cpu.states import allocate, array_types, state_type, store_state, wide_state
from fastact.cpu.threads import run_on_threads, threads_here

#: Bytes from which a sweep is shared among threads: what fits a cache is read so fast by one that handing over, some
#: 10 to 40 µs, gains nothing below. Measured by `python -m bench.crossover`.
PARALLEL_FROM: Final = 1 << 22

#: Elements that are swept in one go, without releasing the interpreter lock: some microseconds.
SMALL: Final = 1 << 16
#: A longer tensor is shared out in 16 parts, or more of 8 MB in float32, or 4096 of whatever length that takes.
_FEW_PARTS, _LONG_PART, _MAX_PARTS = 16, 1 << 21, 4096
_F8: Final = types.float64
_I8: Final = types.int64


@functools.cache
def small_kernel(name: str) -> Callable[..., arithmetic.State]:
    """The entry point for a small tensor: (contiguous 1-D storage array, not empty, lo, hi, zero_tol) to a state.

    It holds the interpreter lock, which saves 40 ns: use it for at most `SMALL` elements.
    """
    element_type = ELEMENT_TYPES[name]
    tag, fold = element_type.tag, fold_of(element_type)

    def sweep_small(x: Any, lo: float, hi: float, tol: float) -> Any:
        mode = begin_ieee()
        state = wide_state(fold(x, tag, (lo, hi, tol)))
        end_ieee(mode)
        return state

    signature = state_type(element_type.wide_extreme)(
        array_type(element_type.storage, 1, "C", readonly=True), _F8, _F8, _F8
    )
    return kernel(sweep_small, f"small-{name}", signature, nogil=False)


@functools.cache
def parts_kernel(name: str) -> Callable[..., None]:
    """The entry point that takes one part of a long tensor after the other, until none is left."""
    element_type = ELEMENT_TYPES[name]
    tag, fold = element_type.tag, fold_of(element_type)

    def sweep_parts(
        x: Any, lo: float, hi: float, tol: float, size: int, counter: Any, counts: Any, moments: Any, extremes: Any
    ) -> None:
        mode = begin_ieee()
        bounds, states = (lo, hi, tol), (counts, moments, extremes)
        part = fetch_add(counter)
        while part < counts.shape[1]:
            start = part * size
            state = fold(subarray(x, start, min(size, x.size - start)), tag, bounds)
            store_state(state, states, part, 0)
            part = fetch_add(counter)
        end_ieee(mode)

    signature = types.void(
        array_type(element_type.storage, 1, "C", readonly=True),
        *(_F8, _F8, _F8, _I8, array_type(np.int64, 1, "C")),
        *array_types(element_type.wide_extreme),
    )
    return kernel(sweep_parts, f"parts-{name}", signature, nogil=True)


@functools.cache
def merge_kernel(dtype: np.dtype[Any]) -> Callable[..., arithmetic.State]:
    """The entry point of `merge_parts` for the arrays of `States` with extremes of this dtype, contiguous all."""

    def merge_all(counts: Any, moments: Any, extremes: Any) -> Any:
        mode = begin_ieee()
        state = wide_state(merge_parts((counts, moments, extremes)))
        end_ieee(mode)
        return state

    returned = state_type(np.dtype(np.float64) if dtype.kind == "f" else dtype)
    return kernel(merge_all, f"merge-{dtype}", returned(*array_types(dtype)), nogil=True)


def share(work: Callable[[], None], nbytes: int, tasks: int) -> None:
    """Runs `work`, which takes some of the tasks until none is left, on as many threads as the bytes are worth."""
    threads = 1 if nbytes < PARALLEL_FROM or not COMPILED else min(threads_here(), tasks)
    if threads == 1:
        work()
    else:
        run_on_threads(work, threads)


def split(count: int) -> tuple[int, int]:
    """The size of the parts of a tensor of `count` elements, and their number."""
    size = min(max(-(-count // _FEW_PARTS), SMALL), max(_LONG_PART, -(-count // _MAX_PARTS)))
    return size, -(-count // size)


def sweep(x: npt.NDArray[Any], name: str, lo: float, hi: float, tol: float) -> arithmetic.State:
    """The state of a contiguous 1-D array of the storage dtype of the element type `name`."""
    if x.size == 0:
        return arithmetic.EMPTY
    if x.size <= SMALL:
        return small_kernel(name)(x, lo, hi, tol)
    element_type = ELEMENT_TYPES[name]
    size, parts = split(x.size)
    outputs = allocate(element_type.wide_extreme, parts, 1)
    counter = np.zeros(1, np.int64)
    sweep_parts = parts_kernel(name)
    share(lambda: sweep_parts(x, lo, hi, tol, size, counter, *outputs), x.nbytes, parts)
    return merge_kernel(element_type.wide_extreme)(*outputs)
