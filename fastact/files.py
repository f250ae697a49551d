"""Statistics of the arrays in a file, without loading the file: what `fastact stats` sweeps.

``.npy`` and ``.safetensors`` are mapped into memory, so an array larger than it is swept all the same; Arrow and
Parquet files are read batch by batch and merged. A file is only read, never run: nothing is unpickled.

It stands beside the adapters, not in `arrays`: it sweeps what it reads, and so uses `stats`.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import numpy as np

from fastact.arithmetic.element_types import ELEMENT_TYPES, ElementType
from fastact.errors import ArgumentValueError, FastactError, MissingExtraError
from fastact.stats.activation import ActivationStats
from fastact.stats.channel import ChannelStats
from fastact.stats.merge import Accumulator
from fastact.stats.summarize import summarize

#: What numpy, json and Arrow raise on bytes that are damaged, hostile or beyond them.
_DAMAGE: Final = (
    *(ValueError, TypeError, LookupError, EOFError, ArithmeticError, MemoryError),
    *(NotImplementedError, RecursionError, TokenError),
)


@dataclass(frozen=True, slots=True)
class ArrayStats:
    """The statistics of one array (or column) of a file.

    Attributes:
        name: the tensor's or column's name; "" for the only array of a .npy file.
        dtype: the dtype as the file has it, such as "float32" or "bfloat16".
        shape: the array's shape; for a column (rows,), or (rows, width) where every row is a list of that width.
        nulls: missing values of a column, which are not in the statistics (a null is not a zero).
        stats: the statistics of all elements.
        neurons: the same per index along `axis`, where an axis was asked for.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nulls: int
    stats: ActivationStats
    neurons: ChannelStats | None = None


def sweep_file(
    path: str | Path, *, axis: int | None = None, saturation: tuple[float, float] = (-0.99, 0.99)
) -> Iterator[ArrayStats]:
    """Yields the statistics of each array of a file, in the file's order.

    Args:
        path: a .npy, .safetensors, .arrow (stream or file format), .feather or .parquet file.
        axis: also sweep per index along this axis; .npy and .safetensors only. Arrays that do not have it are swept
            as a whole.
        saturation: elements outside of (lo, hi) count as saturated.

    Raises:
        ArgumentValueError: the suffix is unknown, the file is damaged, holds no numbers, or `axis` does not apply.
        MissingExtraError: it holds 8-bit floats and ml_dtypes is not installed.
        OSError: the file cannot be read.
    """
    path = Path(path)
    read = SUFFIXES.get(path.suffix.lower())
    if read is None:
        raise ArgumentValueError(f"FILE: got {path.name!r}, want a name that ends in {', '.join(SUFFIXES)}")
    if axis is not None and read in (_arrow, _parquet):
        raise ArgumentValueError(f"axis: got {axis} for {path.name!r}, want a .npy or .safetensors file with it")
    found = False
    try:
        for array in read(path, axis, saturation):
            found = True
            yield array
    except (OSError, FastactError):
        raise
    except _DAMAGE as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise ArgumentValueError(f"FILE: {path.name!r} cannot be read: {what}") from error
    if not found:
        raise ArgumentValueError(f"FILE: got {path.name!r} without any numeric array, want at least one")


def _array(
    name: str, dtype: str, x: np.ndarray[Any, Any], axis: int | None, saturation: tuple[float, float]
) -> ArrayStats:
    if axis is not None and x.ndim > 1 and -x.ndim <= axis < x.ndim:
        neurons = summarize(x, axis=axis, saturation=saturation)
        return ArrayStats(name, dtype, x.shape, 0, neurons.total, neurons)
    return ArrayStats(name, dtype, x.shape, 0, summarize(x, saturation=saturation))


def _npy(path: Path, axis: int | None, saturation: tuple[float, float]) -> Iterator[ArrayStats]:
    x = np.load(path, mmap_mode="r", allow_pickle=False)
    yield _array("", str(x.dtype), x, axis, saturation)


#: The element types by their names in the safetensors format.
_SAFETENSORS: Final = {element_type.safetensors: element_type for element_type in ELEMENT_TYPES.values()}


def _safetensors(path: Path, axis: int | None, saturation: tuple[float, float]) -> Iterator[ArrayStats]:
    """The format: a length (8 bytes, little-endian), that many bytes of JSON, then the tensors' bytes.

    Everything in the header is checked against the file's size before a byte of it is used.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ArgumentValueError(f"FILE: {path.name!r} is cut off: its header has {length} of {size} bytes")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ArgumentValueError(f"FILE: {path.name!r} is damaged: its header is no JSON object")
    header.pop("__metadata__", None)
    data = size - 8 - length
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        shape = tuple(int(n) for n in entry["shape"])
        start, stop = (int(n) for n in entry["data_offsets"])
        element_type = _SAFETENSORS.get(entry["dtype"])
        if element_type is None:
            raise ArgumentValueError(f"FILE: tensor {name!r} has dtype {entry['dtype']!r}, want {list(_SAFETENSORS)}")
        item = _numpy_dtype(element_type)
        want = math.prod(shape) * item.itemsize
        if min((*shape, start), default=0) < 0 or stop > data or stop - start != want:
            raise ArgumentValueError(f"FILE: {path.name!r} is damaged: tensor {name!r} does not fit its bytes")
        if want == 0:
            x = np.empty(shape, item)
        else:
            raw = np.memmap(path, np.uint8, "r", offset=8 + length + start, shape=(want,))
            x = raw.view(item).reshape(shape)
        yield _array(name, element_type.name, x, axis, saturation)


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


def _arrow(path: Path, _: int | None, saturation: tuple[float, float]) -> Iterator[ArrayStats]:
    import pyarrow as pa

    with pa.OSFile(str(path)) as file:
        magic = file.read(6)
        file.seek(0)
        if magic == b"ARROW1":
            reader = pa.ipc.open_file(file)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            reader = pa.ipc.open_stream(file)
            batches = iter(reader)
        yield from _columns(reader.schema, batches, saturation)


def _parquet(path: Path, _: int | None, saturation: tuple[float, float]) -> Iterator[ArrayStats]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield from _columns(file.schema_arrow, file.iter_batches(), saturation)


def _columns(schema: Any, batches: Iterable[Any], saturation: tuple[float, float]) -> Iterator[ArrayStats]:
    """Accumulates every numeric column of the batches, lists of numbers included, each batch seen once."""
    numeric = {i: found for i, field in enumerate(schema) if (found := _numeric(field.type)) is not None}
    sums = {i: Accumulator(saturation=saturation) for i in numeric}
    nulls = dict.fromkeys(numeric, 0)
    rows = 0
    for batch in batches:
        batch.validate(full=True)  # damaged offsets would crash the process, not raise
        rows += batch.num_rows
        for i in numeric:
            column = batch.column(i)
            while hasattr(column, "flatten") and hasattr(column.type, "value_type"):
                nulls[i] += column.null_count
                column = column.flatten()
            nulls[i] += column.null_count
            values = column.drop_null().to_numpy(zero_copy_only=False)
            if values.size:
                sums[i].update(values)
    for i, (dtype, width) in numeric.items():
        shape = (rows,) if width is None else (rows, width)
        yield ArrayStats(schema.field(i).name, dtype, shape, nulls[i], sums[i].stats)


def _numeric(column_type: Any) -> tuple[str, int | None] | None:
    """(dtype, list width) of a column type that holds numbers, None for any other type."""
    import pyarrow.types as t

    width = None
    if t.is_fixed_size_list(column_type):
        width, column_type = column_type.list_size, column_type.value_type
    while t.is_list(column_type) or t.is_large_list(column_type):
        width, column_type = None, column_type.value_type
    if t.is_integer(column_type) or t.is_floating(column_type) or t.is_boolean(column_type):
        name = str(column_type)
        return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(name, name), width
    return None


#: The reader of each known suffix.
SUFFIXES: Final[dict[str, Callable[[Path, int | None, tuple[float, float]], Iterator[ArrayStats]]]] = {
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".parquet": _parquet,
}
