"""Runs the sweep that `extras=` asks for: the state of a flat array, its shape, its tally and its buckets."""

import functools
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES, ElementType
from fastact.cpu.extras import BUCKET_BITS, TALLIES, fold_details, tally_limits
from fastact.cpu.intrinsics import fetch_add, subarray
from fastact.cpu.jit import array_type, kernel
from fastact.cpu.states import allocate, array_types, in_order, store_state
from fastact.cpu.sweep import share, split

__all__ = ["Details", "details_kernel", "sweep_details"]

_F8: Final = types.float64
_I8: Final = types.int64


class Details(NamedTuple):
    """A tensor's state, and what was asked for beside it.

    `tally` is int64[TALLIES] as in `cpu.extras`; `buckets` are the numbers of those that are not empty, ascending,
    and `counts` says how many elements each holds.
    """

    state: arithmetic.State
    shape: arithmetic.Shape
    tally: npt.NDArray[np.int64]
    buckets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


@functools.cache
def details_kernel(name: str) -> Callable[..., None]:
    """The entry point that takes one part of a tensor after the other, until none is left."""
    element_type = ELEMENT_TYPES[name]
    tag = element_type.tag
    limits = tally_limits(element_type.work)

    def sweep_parts(
        x: Any, lo: float, hi: float, tol: float, shaped: bool, size: int, counter: Any, counts: Any, moments: Any,
        extremes: Any, shapes: Any, tally: Any, first: Any, second: Any,
    ) -> None:  # fmt: skip
        bounds, states = (lo, hi, tol), (counts, moments, extremes)
        while True:
            part = fetch_add(counter)
            if part >= counts.shape[1]:
                return
            start = part * size
            state, shape = fold_details(
                subarray(x, start, min(size, x.size - start)), tag, bounds, shaped, limits, tally, first, second
            )
            store_state(state, states, part, 0)
            shapes[part, 0] = shape[0]
            shapes[part, 1] = shape[1]

    signature = types.void(
        array_type(element_type.storage, 1, "C", readonly=True),
        *(_F8, _F8, _F8, types.boolean, _I8, array_type(np.int64, 1, "C")),
        *array_types(element_type.extreme),
        *(array_type(np.float64, 2, "C"), array_type(np.int64, 1, "C")),
        *[array_type(np.uint32, 1, "C")] * 2,
    )
    return kernel(sweep_parts, f"details-{name}", signature, nogil=True)


def sweep_details(
    x: npt.NDArray[Any], name: str, lo: float, hi: float, tol: float, *, shaped: bool, tallied: bool, counted: bool
) -> Details:
    """The state of a contiguous 1-D array, and its shape, tally and buckets.

    `x` has the storage dtype of the element type `name`. What is not asked for is zeros, or empty. Counters are 32 bits
    wide: `x` has at most 2^31 elements.
    """
    tally = np.zeros(TALLIES, np.int64)
    if x.size == 0:
        return Details(arithmetic.EMPTY, (0.0, 0.0), tally, *np.empty((2, 0), np.int64))
    element_type = ELEMENT_TYPES[name]
    buckets = (1 << (element_type.bits if element_type.bits <= 16 else BUCKET_BITS)) if counted else 0
    size, parts = split(x.size)
    outputs = allocate(element_type.extreme, parts, 1)
    shapes = np.empty((parts, 2))
    counter = np.zeros(1, np.int64)
    sweep_parts = details_kernel(name)
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
    state, shape = arithmetic.EMPTY, (0.0, 0.0)
    for part, part_state in enumerate(zip(*in_order(*(array[:, :, 0].tolist() for array in outputs)), strict=True)):
        shape = arithmetic.merge_shape(state, part_state, shape, tuple(shapes[part].tolist()))
        state = arithmetic.merge(state, part_state)
    if tallied:
        tally = np.sum(tallies, axis=0)
    return Details(state, shape, tally, *_filled(tables, element_type))


def _filled(
    tables: list[npt.NDArray[np.uint32]], element_type: ElementType
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The buckets that are not empty in the tables of all threads together, and their counts."""
    size = tables[0].shape[1]
    spans = [(0, size)]
    if size == 1 << BUCKET_BITS and element_type.name != "float64":
        # Memory that was never written to is not there yet, and looking for it costs: only zero and the exponents that
        # a float32 or an integer can have.
        low, high = (1023 - 149, 1023 + 128) if element_type.name == "float32" else (1023, 1023 + 65)
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
