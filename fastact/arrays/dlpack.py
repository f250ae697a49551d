"""DLPack as NumPy does not read it: bfloat16 and float8, which `np.from_dlpack` refuses, and memory of a GPU.

The owner's capsule stays unconsumed and is held by the view, so the owner frees its memory when the view has gone.
Layouts and type codes: dlpack.h of DLPack 1.1.
"""

import contextlib
import ctypes
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.arithmetic.element_types import ELEMENT_TYPES, ElementType

#: kDLCPU and kDLCUDAHost: memory that the CPU reads.
CPU_DEVICES: Final = (1, 3)
#: kDLCUDA
CUDA_DEVICE: Final = 2
_ByCode = dict[tuple[int, int], ElementType]
#: The element types by DLPack's type code and bits, and those of them that NumPy lacks.
_BY_CODE: Final[_ByCode] = {(t.dlpack_code, t.bits): t for t in ELEMENT_TYPES.values()}
_LOW_PRECISION: Final[_ByCode] = {code: t for code, t in _BY_CODE.items() if not t.in_numpy}


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("tensor", _Tensor),
    ]  # fmt: skip


class _Memory:
    """What NumPy keeps alive for as long as a view of it lives."""

    def __init__(self, owner: Any, interface: dict[str, Any]) -> None:
        self._owner = owner
        self.__array_interface__ = interface


def view_of_memory(
    owner: Any, address: int, storage: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...] | None
) -> npt.NDArray[Any]:
    """An array over memory that `owner` keeps: `strides` in bytes, None for C order.

    The memory may be a GPU's. Then the array says where elements lie, and nobody may read them.
    """
    if 0 in shape:
        return np.empty(shape, storage)
    interface = {"version": 3, "typestr": storage.str, "shape": shape, "strides": strides, "data": (address, True)}
    return np.asarray(_Memory(owner, interface))


def low_precision_view(x: Any) -> tuple[npt.NDArray[Any], str] | None:
    """A view of an owner's bfloat16 or float8 elements in the storage dtype of their element type, and its name.

    None for other elements, other devices, and owners that break the protocol's rules.
    """
    return _view(x, _LOW_PRECISION) if x.__dlpack_device__()[0] in CPU_DEVICES else None


def cuda_view(x: Any, stream: int) -> tuple[npt.NDArray[Any], str] | None:
    """A view of an owner's elements on a CUDA device, as `low_precision_view`; None for elements of no element type.

    The owner has them ready for what comes on `stream`, a handle as DLPack counts: 1 for the legacy default stream.
    """
    return _view(x, _BY_CODE, stream=stream)


def _view(x: Any, element_types: _ByCode, **options: Any) -> tuple[npt.NDArray[Any], str] | None:
    try:
        capsule = x.__dlpack__(max_version=(1, 0), **options)
    except TypeError:  # older than DLPack 1.0
        capsule = x.__dlpack__(**options)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype = ctypes.c_void_p
    pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    tensor: _Tensor | None = None
    with contextlib.suppress(ValueError):
        tensor = _Tensor.from_address(pointer(capsule, b"dltensor"))
    with contextlib.suppress(ValueError):
        versioned = _Versioned.from_address(pointer(capsule, b"dltensor_versioned"))
        tensor = versioned.tensor if versioned.major == 1 else None
    element_type = element_types.get((tensor.code, tensor.bits)) if tensor is not None else None
    if tensor is None or element_type is None or tensor.lanes != 1:
        return None
    storage = element_type.storage
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(s * storage.itemsize for s in tensor.strides[: tensor.ndim]) if tensor.strides else None
    return view_of_memory(capsule, (tensor.data or 0) + tensor.byte_offset, storage, shape, strides), element_type.name
