"""Sweeps many tensors at once: what a call costs, which outweighs the reading of small ones, is paid once.

A table says where each tensor's elements lie, and the threads take its lines in turn: a small tensor whole, a part of
a long one. Each is folded as `sweep` folds it, so the answers are the same, bit for bit. NumPy's arrays are looked up
by machine code in their own headers: asked one by one for their addresses, they take longer than the sweep.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cpu import sweep, sweep_neurons
from fastact.cpu.columns import store
from fastact.cpu.flat import fold_part
from fastact.cpu.jit import borrow, fetch, fetch_add, kernel
from fastact.cpu.sweep import SMALL, merge_kernel, share, split

__all__ = ["KIND_NAMES", "KnownDtypes", "Places", "arrays_at", "known_dtypes", "sweep_many", "warmup"]

#: The kinds, which go into machine code as numbers.
KIND_NAMES: Final = tuple(ELEMENT_TYPES)

_F8: Final = types.float64
_I8: Final = types.int64
_NUMBERS: Final = types.Array(_I8, 1, "C")

#: NumPy's binary interface (PyArrayObject_fields), which every extension module is compiled with: where an array's
#: header has its numbers, behind what every object begins with, whose last word is its type.
_HEAD: Final = object.__basicsize__
_DATA, _NDIM, _SHAPE, _DTYPE, _FLAGS = (_HEAD + offset for offset in (0, 8, 16, 40, 48))
_C_CONTIGUOUS_AND_ALIGNED: Final = 0x101
#: What a small tensor costs beside its reading is worth so many bytes.
_TASK_BYTES: Final = 1 << 12


class Places(NamedTuple):
    """Where the elements of some tensors lie, an int64 for each tensor.

    Attributes:
        addresses: of the first element.
        sizes: the numbers of elements, which lie side by side.
        kinds: places in `KIND_NAMES`; -1 for tensors that have to be looked at in another way.
    """

    addresses: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]


@functools.cache
def _headers_kernel() -> Callable[..., None]:
    def read_headers(
        objects: Any, array_type: int, dtypes: Any, numbers: Any, addresses: Any, sizes: Any, kinds: Any
    ) -> None:
        for i in range(objects.size):
            at = objects[i]
            kinds[i] = -1
            if fetch(at + _HEAD - 8, 0) != array_type:
                continue
            if fetch(at + _FLAGS, np.int32(0)) & _C_CONTIGUOUS_AND_ALIGNED != _C_CONTIGUOUS_AND_ALIGNED:
                continue
            shape = fetch(at + _SHAPE, 0)
            size = 1
            for axis in range(fetch(at + _NDIM, np.int32(0))):
                size *= fetch(shape + 8 * axis, 0)
            if size == 0:
                continue
            addresses[i] = fetch(at + _DATA, 0)
            sizes[i] = size
            dtype = fetch(at + _DTYPE, 0)
            for known in range(dtypes.size):
                if dtypes[known] == dtype:
                    kinds[i] = numbers[known]
                    break

    # With the interpreter lock, so that no array changes its shape meanwhile.
    return kernel(read_headers, f"headers-{_HEAD}", types.void(_NUMBERS, _I8, *[_NUMBERS] * 5), nogil=False)


class KnownDtypes:
    """NumPy's dtype objects by which arrays are recognised, each with its kind's place in `KIND_NAMES`.

    At first those of NumPy itself. Others are learned: of ml_dtypes, or what a pickle or another name for an integer
    brings; not without end.
    """

    _MOST: Final = 64

    def __init__(self) -> None:
        #: Kept, so that their addresses stay theirs.
        self._dtypes: list[np.dtype[Any]] = []
        #: int64[2, dtypes]: their addresses and their kinds; replaced as a whole, for whoever reads it meanwhile.
        self.table = np.empty((2, 0), np.int64)
        for name, element_type in ELEMENT_TYPES.items():
            if element_type.in_numpy:
                self.learn(np.dtype(name), name)

    def learn(self, dtype: np.dtype[Any], name: str) -> None:
        """Recognises arrays of this very object from now on."""
        if len(self._dtypes) < self._MOST:
            self._dtypes.append(dtype)
            self.table = np.append(self.table, [[id(dtype)], [KIND_NAMES.index(name)]], axis=1)


#: Those of the process.
known_dtypes: Final = KnownDtypes()


def arrays_at(objects: Sequence[Any]) -> Places:
    """The places of the plain NumPy arrays among the objects, whose dtypes are known.

    Left to be looked at in another way: whatever else, and arrays that are empty, have gaps or are not aligned.
    """
    if _headers_are_as_said():
        return _arrays_at(objects)
    return Places(*np.full((3, len(objects)), -1))


def _arrays_at(objects: Sequence[Any]) -> Places:
    places = Places(*np.empty((3, len(objects)), np.int64))
    # In CPython an object's identity is its address.
    identities = np.fromiter(map(id, objects), np.int64, len(objects))
    _headers_kernel()(identities, id(np.ndarray), *known_dtypes.table, *places)
    return places


@functools.cache
def _headers_are_as_said() -> bool:
    """Whether the headers of two arrays say what NumPy says: one that moves them costs time, and no wrong answers."""
    probe = np.zeros((7, 5, 3), np.float32)[1:]
    places = _arrays_at([probe, probe.T])
    kind = KIND_NAMES.index("float32")
    return [numbers[0] for numbers in places] == [probe.ctypes.data, probe.size, kind] and places.kinds[1] == -1


def _extreme_dtype(name: str) -> np.dtype[Any]:
    # Floats of 64 bits, which hold those of 32.
    extreme = ELEMENT_TYPES[name].extreme
    return np.dtype(np.float64) if extreme.kind == "f" else extreme


@functools.cache
def _tasks_kernel(name: str) -> Callable[..., None]:
    kind = ELEMENT_TYPES[name]
    tag = kind.tag

    def sweep_tasks(
        lo: float, hi: float, tol: float, addresses: Any, sizes: Any, example: Any, counter: Any, counts: Any,
        moments: Any, extremes: Any,
    ) -> None:  # fmt: skip
        while True:
            task = fetch_add(counter)
            if task >= sizes.size:
                return
            state = fold_part(borrow(addresses[task], sizes[task], example), tag, lo, hi, tol)
            store(state, counts, moments, extremes, task, 0)

    signature = types.void(
        *(_F8, _F8, _F8, _NUMBERS, _NUMBERS),
        types.Array(numba.from_dtype(kind.storage), 1, "C", readonly=True),
        _NUMBERS,
        *(types.Array(numba.from_dtype(np.dtype(d)), 3, "C") for d in (np.int64, np.float64, _extreme_dtype(name))),
    )
    return kernel(sweep_tasks, f"many-{name}", signature, nogil=True)


class _Group:
    """The tensors of one kind: what to do, and what came of it."""

    def __init__(self, name: str, addresses: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> None:
        storage, self._dtype = ELEMENT_TYPES[name].storage, _extreme_dtype(name)
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
        self._outputs = (
            np.empty((6, count, 1), np.int64),
            np.empty((4, count, 1)),
            np.empty((2, count, 1), self._dtype),
        )
        self._tasks = (addresses, sizes, np.empty(0, storage), np.zeros(1, np.int64))
        self._sweep = _tasks_kernel(name)

    def take(self, lo: float, hi: float, tol: float) -> None:
        """Does tasks until none is left; any number of threads at once."""
        self._sweep(lo, hi, tol, *self._tasks, *self._outputs)

    def states(self) -> list[arithmetic.State]:
        """Those of the tensors, in their order."""
        counts, moments, extremes = (array[:, :, 0].tolist() for array in self._outputs)
        rows = list(zip(*counts, *moments[:3], *extremes, moments[3], strict=True))
        if not self._firsts:
            return rows
        return [
            rows[first] if end == first + 1 else self._merged(slice(first, end))
            for first, end in itertools.pairwise(self._firsts)
        ]

    def _merged(self, parts: slice) -> arithmetic.State:
        return merge_kernel(self._dtype)(*(array[:, parts].copy(order="C") for array in self._outputs))


def sweep_many(places: Places, lo: float, hi: float, tol: float) -> list[tuple[Sequence[int], list[arithmetic.State]]]:
    """The states of the tensors with these places, kind by kind: which ones they are, and theirs.

    All are swept together, by as many threads as that is worth. Whoever calls sees to it that the memory stays.
    """
    groups: list[tuple[Sequence[int], _Group]] = []
    kinds = set(places.kinds.tolist())
    for kind in sorted(kinds - {-1}):
        if len(kinds) == 1:
            groups.append((range(len(places.kinds)), _Group(KIND_NAMES[kind], places.addresses, places.sizes)))
        else:
            which = np.flatnonzero(places.kinds == kind)
            groups.append((which.tolist(), _Group(KIND_NAMES[kind], places.addresses[which], places.sizes[which])))

    def work() -> None:
        for _, group in groups:
            group.take(lo, hi, tol)

    tasks = sum(group.tasks for _, group in groups)
    share(work, sum(group.nbytes for _, group in groups) + tasks * _TASK_BYTES, tasks)
    return [(which, group.states()) for which, group in groups]


def warmup(name: str) -> None:
    """Compiles, or loads from disk, every entry point of all sweeps for elements of the kind `name`."""
    sweep.warmup(name)
    sweep_neurons.warmup(name)
    _tasks_kernel(name)
    _headers_kernel()
