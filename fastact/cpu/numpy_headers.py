"""Where NumPy's arrays have their elements, read by machine code from the arrays' own headers.

Asked one by one for their addresses, many small arrays take longer than the sweep. Nothing else depends on this file:
`stats.summarize_many` calls `arrays_at`, and shows what that leaves to NumPy.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numba import types

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cpu.intrinsics import load_scalar
from fastact.cpu.jit import array_type, kernel
from fastact.cpu.sweep_many import TYPE_NAMES, Places

_I8: Final = types.int64
_NUMBERS: Final = array_type(np.int64, 1, "C")

#: NumPy's binary interface (PyArrayObject_fields), which every extension module is compiled with: where an array's
#: header has its numbers, behind what every object begins with, whose last word is its type.
_HEAD: Final = object.__basicsize__
_DATA, _NDIM, _SHAPE, _DTYPE, _FLAGS = (_HEAD + offset for offset in (0, 8, 16, 40, 48))
_C_CONTIGUOUS_AND_ALIGNED: Final = 0x101


@functools.cache
def headers_kernel() -> Callable[..., None]:
    """The entry point that reads the headers of objects, given by their addresses, into the arrays of `Places`."""

    def read_headers(
        objects: Any, array_type: int, dtypes: Any, numbers: Any, addresses: Any, sizes: Any, element_types: Any
    ) -> None:
        for i in range(objects.size):
            at = objects[i]
            element_types[i] = -1
            if load_scalar(at + _HEAD - 8, 0) != array_type:
                continue
            if load_scalar(at + _FLAGS, np.int32(0)) & _C_CONTIGUOUS_AND_ALIGNED != _C_CONTIGUOUS_AND_ALIGNED:
                continue
            shape = load_scalar(at + _SHAPE, 0)
            size = 1
            for axis in range(load_scalar(at + _NDIM, np.int32(0))):
                size *= load_scalar(shape + 8 * axis, 0)
            if size == 0:
                continue
            addresses[i] = load_scalar(at + _DATA, 0)
            sizes[i] = size
            dtype = load_scalar(at + _DTYPE, 0)
            for known in range(dtypes.size):
                if dtypes[known] == dtype:
                    element_types[i] = numbers[known]
                    break

    # With the interpreter lock, so that no array changes its shape meanwhile.
    return kernel(read_headers, f"headers-{_HEAD}", types.void(_NUMBERS, _I8, *[_NUMBERS] * 5), nogil=False)


class KnownDtypes:
    """NumPy's dtype objects by which arrays are recognised, each with its element type's place in `TYPE_NAMES`.

    At first those of NumPy itself. Others are learned: of ml_dtypes, or what a pickle or another name for an integer
    brings; not without end.
    """

    _MOST: Final = 64

    def __init__(self) -> None:
        #: Kept, so that their addresses stay theirs.
        self._dtypes: list[np.dtype[Any]] = []
        #: int64[2, dtypes]: addresses and element types; replaced as a whole, for whoever reads it meanwhile.
        self.table = np.empty((2, 0), np.int64)
        for name, element_type in ELEMENT_TYPES.items():
            if element_type.in_numpy:
                self.learn(np.dtype(name), name)

    def learn(self, dtype: np.dtype[Any], name: str) -> None:
        """Recognises arrays of this very object from now on."""
        if len(self._dtypes) < self._MOST:
            self._dtypes.append(dtype)
            self.table = np.append(self.table, [[id(dtype)], [TYPE_NAMES.index(name)]], axis=1)


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
    headers_kernel()(identities, id(np.ndarray), *known_dtypes.table, *places)
    return places


@functools.cache
def _headers_are_as_said() -> bool:
    """Whether the headers of two arrays say what NumPy says: one that moves them costs time, and no wrong answers."""
    probe = np.zeros((7, 5, 3), np.float32)[1:]
    places = _arrays_at([probe, probe.T])
    number = TYPE_NAMES.index("float32")
    return [numbers[0] for numbers in places] == [probe.ctypes.data, probe.size, number] and places.types[1] == -1
