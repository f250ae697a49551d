"""Runs the kernels: which one, in how many parts, on how many threads.

Every buffer is split into parts by its shape alone, and parts are merged in their order: the answer is the same, bit
for bit, whatever the number of threads. Entry points are compiled (or loaded from disk) when first used, one for
each kind of element.
"""

import functools
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES, ElementType
from fastact.cpu.columns import merge_parts, store
from fastact.cpu.extras import BUCKET_BITS, TALLIES, fold_details
from fastact.cpu.flat import fold_part
from fastact.cpu.jit import COMPILED, fetch_add, kernel, stretch
from fastact.cpu.threads import get_num_threads, run_on_threads

__all__ = [
    "PARALLEL_FROM",
    "SMALL",
    "Details",
    "array_type",
    "merge_kernel",
    "share",
    "small_kernel",
    "split",
    "sweep",
    "sweep_details",
    "warmup",
]

#: Bytes from which a sweep is shared among threads: what fits a cache is read so fast by one that handing over, some
#: 10 to 40 µs, gains nothing below. Measured by `python -m bench.crossover`.
PARALLEL_FROM: Final = 1 << 22

#: Elements that are swept in one go, without releasing the interpreter lock: some microseconds.
SMALL: Final = 1 << 16
#: A longer tensor is shared out in 16 parts, or more of 8 MB in float32, or 4096 of whatever length that takes.
_FEW_PARTS: Final = 16
_LONG_PART: Final = 1 << 21
_MAX_PARTS: Final = 4096
_F8: Final = types.float64
_I8: Final = types.int64


def array_type(dtype: Any, ndim: int, layout: str = "A", *, readonly: bool = False) -> Any:
    """Numba's type of such arrays."""
    return types.Array(numba.from_dtype(np.dtype(dtype)), ndim, layout, readonly=readonly)


def _outputs(dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    return array_type(np.int64, 3, "C"), array_type(np.float64, 3, "C"), array_type(dtype, 3, "C")


def _state_type(dtype: np.dtype[Any]) -> Any:
    extreme = numba.from_dtype(dtype)
    return types.Tuple((*[_I8] * 6, _F8, _F8, _F8, extreme, extreme, _F8))


@functools.cache
def small_kernel(name: str) -> Callable[..., arithmetic.State]:
    """The entry point for a small tensor: (contiguous 1-D storage array, not empty, lo, hi, zero_tol) to a state.

    It holds the interpreter lock, which saves 40 ns: use it for at most `SMALL` elements.
    """
    kind = ELEMENT_TYPES[name]
    tag = kind.tag

    def sweep_small(x: Any, lo: float, hi: float, tol: float) -> Any:
        return fold_part(x, tag, lo, hi, tol)

    signature = _state_type(kind.extreme)(array_type(kind.storage, 1, "C", readonly=True), _F8, _F8, _F8)
    return kernel(sweep_small, f"small-{name}", signature, nogil=False)


@functools.cache
def _parts_kernel(name: str) -> Callable[..., None]:
    kind = ELEMENT_TYPES[name]
    tag = kind.tag

    def sweep_parts(
        x: Any, lo: float, hi: float, tol: float, size: int, counter: Any, counts: Any, moments: Any, extremes: Any
    ) -> None:
        while True:
            part = fetch_add(counter)
            if part >= counts.shape[1]:
                return
            start = part * size
            state = fold_part(stretch(x, start, min(size, x.size - start)), tag, lo, hi, tol)
            store(state, counts, moments, extremes, part, 0)

    signature = types.void(
        array_type(kind.storage, 1, "C", readonly=True),
        *(_F8, _F8, _F8, _I8, array_type(np.int64, 1, "C")),
        *_outputs(kind.extreme),
    )
    return kernel(sweep_parts, f"parts-{name}", signature, nogil=True)


@functools.cache
def merge_kernel(dtype: np.dtype[Any]) -> Callable[..., arithmetic.State]:
    """The entry point of `cpu_channels.merge_parts` for extremes of this dtype; it wants all arrays contiguous."""

    def merge_all(counts: Any, moments: Any, extremes: Any) -> Any:
        return merge_parts(counts, moments, extremes)

    return kernel(merge_all, f"merge-{dtype}", _state_type(dtype)(*_outputs(dtype)), nogil=True)


def _allocate(dtype: np.dtype[Any], parts: int, columns: int) -> tuple[Any, Any, Any]:
    return (
        np.empty((6, parts, columns), np.int64),
        np.empty((4, parts, columns), np.float64),
        np.empty((2, parts, columns), dtype),
    )


def share(work: Callable[[], None], nbytes: int, tasks: int) -> None:
    """Runs `work`, which takes some of the tasks until none is left, on as many threads as the bytes are worth."""
    threads = min(get_num_threads(), tasks)
    if nbytes < PARALLEL_FROM or threads == 1 or not COMPILED:
        work()
    else:
        run_on_threads(work, threads)


def split(count: int) -> tuple[int, int]:
    """The size of the parts of a tensor of `count` elements, and their number."""
    size = min(max(-(-count // _FEW_PARTS), SMALL), max(_LONG_PART, -(-count // _MAX_PARTS)))
    return size, -(-count // size)


def sweep(x: npt.NDArray[Any], name: str, lo: float, hi: float, tol: float) -> arithmetic.State:
    """The state of a contiguous 1-D array of the storage dtype of the kind `name`."""
    if x.size == 0:
        return arithmetic.EMPTY
    if x.size <= SMALL:
        return small_kernel(name)(x, lo, hi, tol)
    kind = ELEMENT_TYPES[name]
    size, parts = split(x.size)
    outputs = _allocate(kind.extreme, parts, 1)
    counter = np.zeros(1, np.int64)
    sweep_parts = _parts_kernel(name)
    share(lambda: sweep_parts(x, lo, hi, tol, size, counter, *outputs), x.nbytes, parts)
    return merge_kernel(kind.extreme)(*outputs)


class Details(NamedTuple):
    """A tensor's state, and what was asked for beside it.

    `tally` is int64[TALLIES] as in `cpu_extras`; `buckets` are the numbers of those that are not empty, ascending,
    and `counts` says how many elements each holds.
    """

    state: arithmetic.State
    shape: arithmetic.Shape
    tally: npt.NDArray[np.int64]
    buckets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


@functools.cache
def _details_kernel(name: str) -> Callable[..., None]:
    kind = ELEMENT_TYPES[name]
    tag = kind.tag

    def sweep_parts(
        x: Any, lo: float, hi: float, tol: float, shaped: bool, size: int, counter: Any, counts: Any, moments: Any,
        extremes: Any, shapes: Any, tally: Any, first: Any, second: Any,
    ) -> None:  # fmt: skip
        while True:
            part = fetch_add(counter)
            if part >= counts.shape[1]:
                return
            start = part * size
            state, shape = fold_details(
                stretch(x, start, min(size, x.size - start)), tag, lo, hi, tol, shaped, tally, first, second
            )
            store(state, counts, moments, extremes, part, 0)
            shapes[part, 0] = shape[0]
            shapes[part, 1] = shape[1]

    signature = types.void(
        array_type(kind.storage, 1, "C", readonly=True),
        *(_F8, _F8, _F8, types.boolean, _I8, array_type(np.int64, 1, "C")),
        *_outputs(kind.extreme),
        *(array_type(np.float64, 2, "C"), array_type(np.int64, 1, "C")),
        *[array_type(np.uint32, 1, "C")] * 2,
    )
    return kernel(sweep_parts, f"details-{name}", signature, nogil=True)


def sweep_details(
    x: npt.NDArray[Any], name: str, lo: float, hi: float, tol: float, *, shaped: bool, tallied: bool, counted: bool
) -> Details:
    """The state of a contiguous 1-D array of the storage dtype of the kind `name`, and its shape, tally and buckets.

    What is not asked for is zeros, or empty. Counters are 32 bits wide: `x` has at most 2^31 elements.
    """
    tally = np.zeros(TALLIES, np.int64)
    if x.size == 0:
        return Details(arithmetic.EMPTY, (0.0, 0.0), tally, *np.empty((2, 0), np.int64))
    kind = ELEMENT_TYPES[name]
    buckets = (1 << (8 * kind.storage.itemsize if kind.storage.itemsize <= 2 else BUCKET_BITS)) if counted else 0
    size, parts = split(x.size)
    outputs = _allocate(kind.extreme, parts, 1)
    shapes = np.empty((parts, 2))
    counter = np.zeros(1, np.int64)
    sweep_parts = _details_kernel(name)
    tallies: list[npt.NDArray[np.int64]] = []
    tables: list[npt.NDArray[np.uint32]] = []

    def work() -> None:
        # Each thread counts for itself; whole numbers add up to the same in any order.
        mine = np.zeros(TALLIES if tallied else 0, np.int64)
        table = np.zeros((2, buckets), np.uint32)
        sweep_parts(x, lo, hi, tol, shaped, size, counter, *outputs, shapes, mine, *table)
        tallies.append(mine)
        tables.append(table)

    share(work, x.nbytes, parts)
    counts, moments, extremes = (a[:, :, 0].T.tolist() for a in outputs)
    state, shape = arithmetic.EMPTY, (0.0, 0.0)
    for part in range(parts):
        part_state = (*counts[part], *moments[part][:3], *extremes[part], moments[part][3])
        shape = arithmetic.merge_shape(state, part_state, shape, tuple(shapes[part].tolist()))
        state = arithmetic.merge(state, part_state)
    if tallied:
        tally = np.sum(tallies, axis=0)
    return Details(state, shape, tally, *_filled(tables, kind))


def _filled(
    tables: list[npt.NDArray[np.uint32]], kind: ElementType
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The buckets that are not empty in the tables of all threads together, and their counts."""
    size = tables[0].shape[1]
    spans = [(0, size)]
    if size == 1 << BUCKET_BITS and kind.name != "float64":
        # Memory that was never written to is not there yet, and looking for it costs: only zero and the exponents that
        # a float32 or an integer can have.
        low, high = (1023 - 149, 1023 + 128) if kind.name == "float32" else (1023, 1023 + 65)
        row = size >> 12
        spans = [(sign + a, sign + b) for sign in (0, size // 2) for a, b in ((0, 1), (row * low, row * high))]
    buckets = []
    counts = []
    for start, stop in spans:
        total = np.sum([table[:, start:stop].sum(axis=0, dtype=np.int64) for table in tables], axis=0)
        filled = total.nonzero()[0]
        buckets.append(filled + start)
        counts.append(total[filled])
    return np.concatenate(buckets), np.concatenate(counts)


def warmup(name: str) -> None:
    """Compiles, or loads from disk, every entry point for elements of the kind `name`."""
    small_kernel(name)
    _parts_kernel(name)
    _details_kernel(name)
    merge_kernel(ELEMENT_TYPES[name].extreme)
