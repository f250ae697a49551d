"""Sweeps many tensors at once: what a call costs, which outweighs the reading of small ones, is paid once.

A table says where each tensor's elements lie, and the threads take its lines in turn: a small tensor whole, a part of
a long one. Each is folded as `cpu.sweep` folds it, so the answers are the same, bit for bit.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cpu.float_mode import begin_ieee, end_ieee
from fastact.cpu.folds import fold_of
from fastact.cpu.intrinsics import array_at, fetch_add
from fastact.cpu.jit import array_type, kernel
from fastact.cpu.states import allocate, array_types, in_order, store_state
from fastact.cpu.sweep import SMALL, merge_kernel, share, split

#: The element types, which are numbers here.
TYPE_NAMES: Final = tuple(ELEMENT_TYPES)

_F8: Final = types.float64
_NUMBERS: Final = array_type(np.int64, 1, "C")

#: What a small tensor costs beside its reading is worth so many bytes.
_TASK_BYTES: Final = 1 << 12


class Places(NamedTuple):
    """Where the elements of some tensors lie, an int64 for each tensor."""

    addresses: npt.NDArray[np.int64]  # of the first element
    sizes: npt.NDArray[np.int64]  # the numbers of elements, which lie side by side
    types: npt.NDArray[np.int64]  # in `TYPE_NAMES`; -1 for tensors that have to be looked at in another way


@functools.cache
def many_kernel(name: str) -> Callable[..., None]:
    """The entry point that takes one line of the table after the other, until none is left."""
    element_type = ELEMENT_TYPES[name]
    tag, fold = element_type.tag, fold_of(element_type)
    stored = element_type.storage.type(0)

    def sweep_tasks(
        lo: float, hi: float, tol: float, addresses: Any, sizes: Any, counter: Any, counts: Any, moments: Any,
        extremes: Any
    ) -> None:  # fmt: skip
        mode = begin_ieee()
        bounds, states = (lo, hi, tol), (counts, moments, extremes)
        task = fetch_add(counter)
        while task < sizes.size:
            state = fold(array_at(addresses[task], (sizes[task],), stored), tag, bounds)
            store_state(state, states, task, 0)
            task = fetch_add(counter)
        end_ieee(mode)

    signature = types.void(_F8, _F8, _F8, *[_NUMBERS] * 3, *array_types(element_type.wide_extreme))
    return kernel(sweep_tasks, f"many-{name}", signature, nogil=True)


class _Group:
    """The tensors of one element type: what to do, and what came of it."""

    def __init__(self, name: str, addresses: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> None:
        storage, self._dtype = ELEMENT_TYPES[name].storage, ELEMENT_TYPES[name].wide_extreme
        lengths = sizes.tolist()
        self.nbytes = sum(lengths) * storage.itemsize
        #: For each tensor the place of its first task; none, where each has one.
        self._firsts: list[int] = []
        if max(lengths) > SMALL:
            steps = [(n, 1) if n <= SMALL else split(n) for n in lengths]
            step, parts = np.array(steps, np.int64).T
            ends = parts.cumsum()
            self._firsts = [0, *ends.tolist()]
            start = (np.arange(ends[-1]) - (ends - parts).repeat(parts)) * step.repeat(parts)
            addresses = addresses.repeat(parts) + start * storage.itemsize
            sizes = np.minimum(step.repeat(parts), sizes.repeat(parts) - start)
        self.tasks = count = len(sizes)
        self._outputs = allocate(self._dtype, count, 1)
        self._tasks = (addresses, sizes, np.zeros(1, np.int64))
        self._sweep = many_kernel(name)

    def take(self, lo: float, hi: float, tol: float) -> None:
        """Does tasks until none is left; any number of threads at once."""
        self._sweep(lo, hi, tol, *self._tasks, *self._outputs)

    def states(self) -> list[arithmetic.State]:
        """Those of the tensors, in their order."""
        rows = list(zip(*in_order(*(array[:, :, 0].tolist() for array in self._outputs)), strict=True))
        if not self._firsts:
            return rows
        return [
            rows[first] if end == first + 1 else self._merged(slice(first, end))
            for first, end in itertools.pairwise(self._firsts)
        ]

    def _merged(self, parts: slice) -> arithmetic.State:
        return merge_kernel(self._dtype)(*(array[:, parts].copy(order="C") for array in self._outputs))


def sweep_many(places: Places, lo: float, hi: float, tol: float) -> list[tuple[Sequence[int], list[arithmetic.State]]]:
    """The states of the tensors with these places, type by type: which ones they are, and theirs.

    All are swept together, by as many threads as that is worth. Whoever calls sees to it that the memory stays.
    """
    groups: list[tuple[Sequence[int], _Group]] = []
    numbers = set(places.types.tolist())
    for number in sorted(numbers - {-1}):
        if len(numbers) == 1:
            groups.append((range(len(places.types)), _Group(TYPE_NAMES[number], places.addresses, places.sizes)))
        else:
            which = np.flatnonzero(places.types == number)
            groups.append((which.tolist(), _Group(TYPE_NAMES[number], places.addresses[which], places.sizes[which])))

    def work() -> None:
        for _, group in groups:
            group.take(lo, hi, tol)

    tasks = sum(group.tasks for _, group in groups)
    share(work, sum(group.nbytes for _, group in groups) + tasks * _TASK_BYTES, tasks)
    return [(which, group.states()) for which, group in groups]
