"""``.safetensors``: tensor by tensor, mapped, or read by windows."""

import json
import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from fastact.arithmetic.element_types import ELEMENT_TYPES, ElementType
from fastact.errors import ArgumentValueError, MissingExtraError
from fastact.files.array import ArrayStats, Ask, dense, sweep_slabs
from fastact.files.source import Source

#: The element types by their names in the format.
_NAMES: Final = {element_type.safetensors: element_type for element_type in ELEMENT_TYPES.values()}


def read_safetensors(source: Source, ask: Ask) -> Iterator[ArrayStats]:
    """The format: a length (8 bytes, little-endian), that many bytes of JSON, then the tensors' bytes.

    Everything in the header is checked against the file's size before a byte of it is used.
    """
    length = int.from_bytes(source.window(0, 8), "little") if source.size >= 8 else 0
    if source.size < 8 or length > source.size - 8:
        raise ArgumentValueError(f"FILE: {source.name!r} is cut off: its header has {length} of {source.size} bytes")
    header = json.loads(source.window(8, length).tobytes()) if length else None
    if not isinstance(header, dict):
        raise ArgumentValueError(f"FILE: {source.name!r} is damaged: its header is no JSON object")
    header.pop("__metadata__", None)
    data = source.size - 8 - length
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        shape = tuple(int(n) for n in entry["shape"])
        start, stop = (int(n) for n in entry["data_offsets"])
        element_type = _NAMES.get(entry["dtype"])
        if element_type is None:
            raise ArgumentValueError(f"FILE: tensor {name!r} has dtype {entry['dtype']!r}, want {list(_NAMES)}")
        item = _numpy_dtype(element_type)
        if min((*shape, start), default=0) < 0 or stop > data or stop - start != math.prod(shape) * item.itemsize:
            raise ArgumentValueError(f"FILE: {source.name!r} is damaged: tensor {name!r} does not fit its bytes")
        slabs = dense(source, 8 + length + start, item, shape, ask)
        yield sweep_slabs(name, element_type.name, shape, slabs, ask)


def _numpy_dtype(element_type: ElementType) -> np.dtype[Any]:
    name = element_type.name
    if element_type.in_numpy:
        return np.dtype(name)
    try:
        import ml_dtypes
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{name} tensors need ml_dtypes: pip install ml-dtypes") from error
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return dtype
