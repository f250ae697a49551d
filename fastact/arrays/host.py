"""Owners of memory: recognises anything that holds numbers, and views its memory as a NumPy array without copying it.

Frameworks are recognised without importing them: an object can only be a torch tensor if somebody has imported
torch, so `sys.modules` is asked. dtypes are told by the owner's `.dtype`, never by a protocol's type string, which
shows bfloat16 as "<V2" or even as float16.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.arrays.dlpack import CPU_DEVICES, CUDA_DEVICE, low_precision_view
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError

#: Elements of an Arrow array that are copied at a time, where it has nulls or is of bool.
_ARROW_PART: Final = 1 << 18

#: The end of a message about `x`.
WANTED: Final = "an array or tensor of float64, float32, float16, bfloat16, float8, an integer type or bool"


def as_storage(x: Any) -> tuple[npt.NDArray[Any], str]:
    """A view of `x`, in its shape and the storage dtype of its element type, and the element type's name.

    It may be unaligned, or of the other byte order, which `shapes.pieces` and `shapes.as_channels` mend bit by bit.
    `ArgumentTypeError`: `x` holds no numbers, or of a type that cannot be swept. `ArgumentValueError`: it is a tensor
    without memory that the CPU can read: sparse, quantised, meta, on a GPU.
    """
    if isinstance(x, np.ndarray):
        return _from_numpy(x)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return _from_torch(x)
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(x, (pyarrow.Array, pyarrow.ChunkedArray)):
        return _from_arrow(x, pyarrow)
    if (hint := _hint(x)) is not None:
        raise ArgumentTypeError(f"x: got {hint}, want {WANTED}")
    try:
        return _from_protocol(x)
    except FastactError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a foreign protocol raises
        raise ArgumentTypeError(
            f"x: got {type(x).__name__}, which NumPy cannot view ({error}); want {WANTED}"
        ) from None


def _hint(x: Any) -> str | None:
    """What is no buffer and often given for one, and how to come to what is meant; None for anything else."""
    if x is None:
        return "None (a layer, or a function, that returned nothing?)"
    if isinstance(x, (str, bytes)):
        return type(x).__name__
    if isinstance(x, Mapping):
        keys = ", ".join(repr(key) for key in list(x)[:3])
        return f"a {type(x).__name__} ({keys}{', ...' if len(x) > 3 else ''}): give one of its values at a time"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.nn.Module):
        return f"a module, {type(x).__name__}: give what it returns, or use fastact.torch.watch(model, monitor)"
    return None


def _from_protocol(x: Any) -> tuple[npt.NDArray[Any], str]:
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__") and not hasattr(x, "__array_interface__"):
        device = x.__dlpack_device__()[0]
        if device not in CPU_DEVICES:
            raise _unreachable(f"{type(x).__name__} on DLPack device {int(device)}")
        try:
            return _from_numpy(np.from_dlpack(x))
        except (BufferError, RuntimeError, TypeError):
            low = low_precision_view(x)
            if low is None:
                raise
            return low
    array = np.asarray(x)
    # bfloat16 comes as "<V2" or, from some GPU libraries' arrays, as "<f2": what the owner says itself counts.
    name = str(getattr(x, "dtype", "")).rpartition(".")[2]
    told = ELEMENT_TYPES.get(name)
    if told is not None and not told.in_numpy and array.dtype.kind in "Vf" and array.itemsize == told.storage.itemsize:
        return array.view(told.storage), name
    return _from_numpy(array)


#: The element types that are stored as NumPy itself has them, by its dtypes: a dtype's name is made anew for each who
#: asks for it, which takes a microsecond.
_PLAIN: Final = {
    kind.storage: kind.name for kind in ELEMENT_TYPES.values() if kind.in_numpy and kind.storage == np.dtype(kind.name)
}


def _from_numpy(x: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], str]:
    dtype = x.dtype
    if type(x) is np.ndarray and (name := _PLAIN.get(dtype)) is not None:
        return x, name
    element_type = ELEMENT_TYPES.get(dtype.name)
    if element_type is None:
        raise ArgumentTypeError(f"x: got an array of {dtype}, want {WANTED}")
    if type(x) is not np.ndarray:
        if isinstance(x, np.ma.MaskedArray):
            raise ArgumentTypeError("x: got a masked array, want a plain one: use x.compressed()")
        x = x.view(np.ndarray)
    storage = element_type.storage if dtype.isnative else element_type.storage.newbyteorder("S")
    return (x if dtype == storage else x.view(storage)), element_type.name


def on_gpu(x: Any) -> bool:
    """Whether `x` says that it lies on a CUDA device."""
    if isinstance(x, np.ndarray):
        return False
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return bool(x.is_cuda)
    # A protocol may raise anything, such as that the array was deleted: `as_storage` tells that.
    with contextlib.suppress(Exception):
        if hasattr(x, "__cuda_array_interface__"):
            return True
    with contextlib.suppress(Exception):
        return bool(x.__dlpack_device__()[0] == CUDA_DEVICE)
    return False


def checked_tensor(x: Any) -> tuple[Any, str]:
    """A torch tensor without its graph, of any device, and its element type's name; refuses what is not dense."""
    torch = sys.modules["torch"]
    if x.is_nested:
        raise ArgumentValueError("x: got a nested tensor, want a dense one: use x.values() or x.unbind()")
    if x.layout is not torch.strided:
        raise ArgumentValueError(
            f"x: got a tensor of layout {x.layout}, want a dense one: use x.values() or x.to_dense()"
        )
    if x.is_quantized:
        raise ArgumentValueError("x: got a quantised tensor, want plain numbers: use x.dequantize() or x.int_repr()")
    if x.is_meta:
        raise ArgumentValueError("x: got a tensor on the meta device, which has no data")
    name = str(x.dtype).removeprefix("torch.")
    if name not in ELEMENT_TYPES:
        raise ArgumentTypeError(f"x: got a tensor of {x.dtype}, want {WANTED}")
    return x.detach(), name


def _from_torch(x: Any) -> tuple[npt.NDArray[Any], str]:
    x, name = checked_tensor(x)
    if not x.is_cpu:
        raise _unreachable(f"a tensor on {x.device}")
    shown_as = tensor_view_type(name)
    try:
        if x.is_neg():
            x = x.resolve_neg()
        array = x.numpy() if shown_as is None else x.view(shown_as).numpy()
        freed = array.size > 0 and x.data_ptr() == 0
    except (RuntimeError, TypeError) as error:  # fake tensors, tensors inside vmap, wrapping subclasses
        raise ArgumentValueError(f"x: got a {type(x).__name__} without memory to read ({error})") from None
    if freed:  # NumPy would show memory of its own, not cleared
        raise ArgumentValueError("x: got a tensor whose storage was freed, want one that still has its data")
    return array, name


def is_plain_tensor(x: Any) -> bool:
    """Whether `x` is a torch tensor of a class whose methods are torch's own."""
    torch = sys.modules.get("torch")
    return torch is not None and type(x) in (torch.Tensor, torch.nn.Parameter)


def tensor_view_type(name: str) -> Any:
    """The torch dtype as which tensors are shown to NumPy where kernels see another element type; else None."""
    storage = ELEMENT_TYPES[name].storage.name
    return None if storage == name else getattr(sys.modules["torch"], storage)


def _from_arrow(x: Any, pyarrow: Any) -> tuple[npt.NDArray[Any], str]:
    # Nulls are no elements: they are left out of every count.
    if x.null_count:
        x = x.drop_null()
    if not (pyarrow.types.is_floating(x.type) or pyarrow.types.is_integer(x.type) or pyarrow.types.is_boolean(x.type)):
        raise ArgumentTypeError(f"x: got an Arrow array of {x.type}, want {WANTED}")
    try:
        array = x.to_numpy() if isinstance(x, pyarrow.ChunkedArray) else x.to_numpy(zero_copy_only=False)
    except (pyarrow.ArrowInvalid, NotImplementedError) as error:
        raise ArgumentTypeError(f"x: got an Arrow array of {x.type} ({error}), want {WANTED}") from None
    return _from_numpy(array)


def _unreachable(what: str) -> ArgumentValueError:
    return ArgumentValueError(f"x: got {what}, want memory that the CPU can read: copy it with .cpu() or .get() first")


def chunks(x: Any) -> Iterable[Any]:
    """`x` in parts that `as_storage` takes without a copy of the whole: an Arrow array's chunks, or shorter ones.

    What may hold nulls comes as Arrow has it, in whatever it was given: a table, a data frame, a column. NumPy would be
    shown nulls as NaN, or as objects.
    """
    return [part for column in columns(x) for part in _chunks_of(column)]


def _chunks_of(x: Any) -> Iterable[Any]:
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(x, (pyarrow.Array, pyarrow.ChunkedArray)):
        return _arrow_chunks(x, pyarrow)
    return (x,)


def columns(x: Any) -> Sequence[Any]:
    """The columns of a table or a data frame, and anything else by itself; as Arrow where nulls may be among them."""
    kind = type(x).__module__.partition(".")[0]
    if kind == "polars":
        polars = sys.modules["polars"]
        if isinstance(x, polars.DataFrame):
            return [column.to_arrow() for column in x.get_columns()]
        if isinstance(x, polars.Series):
            return [x.to_arrow()]
    if kind == "pyarrow":
        arrow = sys.modules["pyarrow"]
        if isinstance(x, (arrow.Table, arrow.RecordBatch)):
            return list(x.columns)
    if kind == "pandas":
        pandas = sys.modules["pandas"]
        if isinstance(x, pandas.DataFrame):
            return [part for place in range(x.shape[1]) for part in columns(x.iloc[:, place])]
        if isinstance(x, (pandas.Series, pandas.Index)) and isinstance(x.dtype, pandas.api.extensions.ExtensionDtype):
            x = x.array
        if isinstance(x, pandas.api.extensions.ExtensionArray) and hasattr(x, "__arrow_array__"):
            import pyarrow as pa

            return [pa.array(x)]
    return (x,)


def count_nulls(x: Any) -> int:
    """How many elements are null, which are left out of all else; NaN is not null."""
    return sum(int(getattr(column, "null_count", 0)) for column in columns(x))


def _arrow_chunks(x: Any, pyarrow: Any) -> Iterator[Any]:
    arrays = [x] if isinstance(x, pyarrow.Array) else x.chunks or [pyarrow.array([], x.type)]
    for array in arrays:
        # Nulls are taken out, and bits of bool unpacked, in copies: keep them small.
        step = _ARROW_PART if array.null_count or pyarrow.types.is_boolean(array.type) else max(1, len(array))
        for start in range(0, max(1, len(array)), step):
            yield array.slice(start, step)
