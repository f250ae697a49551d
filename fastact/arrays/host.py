"""What is `x`? Turns anything that holds numbers into a NumPy view of its memory, without copying it.

Frameworks are recognised without importing them: an object can only be a torch tensor if somebody has imported
torch, so `sys.modules` is asked. dtypes are told by the owner's `.dtype`, never by a protocol's type string, which
shows bfloat16 as "<V2" or even as float16.
"""

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.arrays.dlpack import CPU_DEVICES, CUDA_DEVICE, low_precision_view
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError

__all__ = [
    "WANTED",
    "as_channels",
    "as_flat",
    "as_storage",
    "channel_view",
    "checked_tensor",
    "chunks",
    "is_plain_tensor",
    "on_gpu",
    "pieces",
    "slabs",
    "tensor_view_type",
]

_PIECE: Final = 1 << 16
_ARROW_STRETCH: Final = 1 << 18
_SLAB_BYTES: Final = 1 << 22

#: The end of a message about `x`.
WANTED: Final = (
    "an array or tensor of float64, float32, float16, bfloat16, float8 (e4m3fn, e5m2), an integer type or bool"
)


def as_storage(x: Any) -> tuple[npt.NDArray[Any], str]:
    """A view of `x` as an array of its kind's storage dtype and of its shape, and the kind's name.

    It may be unaligned, or of the other byte order, which `pieces` and `as_channels` mend bit by bit.

    Raises:
        ArgumentTypeError: `x` holds no numbers, or numbers of a type that cannot be swept.
        ArgumentValueError: `x` is a tensor without memory that the CPU can read: sparse, quantised, meta, on a GPU.
    """
    if isinstance(x, np.ndarray):
        return _from_numpy(x)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return _from_torch(x)
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(x, (pyarrow.Array, pyarrow.ChunkedArray)):
        return _from_arrow(x, pyarrow)
    if isinstance(x, (str, bytes)):
        raise ArgumentTypeError(f"x: got {type(x).__name__}, want {WANTED}")
    try:
        return _from_protocol(x)
    except FastactError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a foreign protocol raises
        raise ArgumentTypeError(
            f"x: got {type(x).__name__}, which NumPy cannot view ({error}); want {WANTED}"
        ) from None


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
    if (
        told is not None
        and not told.in_numpy
        and array.dtype.kind in "Vf"
        and array.dtype.itemsize == told.storage.itemsize
    ):
        return array.view(told.storage), name
    return _from_numpy(array)


def _from_numpy(x: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], str]:
    dtype = x.dtype
    kind = ELEMENT_TYPES.get(dtype.name)
    if kind is None:
        raise ArgumentTypeError(f"x: got an array of {dtype}, want {WANTED}")
    if type(x) is not np.ndarray:
        if isinstance(x, np.ma.MaskedArray):
            raise ArgumentTypeError("x: got a masked array, want a plain one: use x.compressed()")
        x = x.view(np.ndarray)
    storage = kind.storage if dtype.isnative else kind.storage.newbyteorder("S")
    return (x if dtype == storage else x.view(storage)), kind.name


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
    """A torch tensor without its graph, of any device, which has dense memory, and its kind's name.

    Raises what `as_storage` raises.
    """
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
    """The torch dtype as which tensors of a kind are shown to NumPy, where the kernels see another; else None."""
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
    """`x` in parts that `as_storage` takes without a copy of the whole: an Arrow array's chunks, or shorter ones."""
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(x, polars.Series):
        # As Arrow has it: NumPy would be shown nulls as NaN.
        x = x.to_arrow()
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(x, (pyarrow.Array, pyarrow.ChunkedArray)):
        return _arrow_chunks(x, pyarrow)
    return (x,)


def _arrow_chunks(x: Any, pyarrow: Any) -> Iterator[Any]:
    arrays = [x] if isinstance(x, pyarrow.Array) else x.chunks or [pyarrow.array([], x.type)]
    for array in arrays:
        # Nulls are taken out, and bits of bool unpacked, in copies: keep them small.
        step = _ARROW_STRETCH if array.null_count or pyarrow.types.is_boolean(array.type) else max(1, len(array))
        for start in range(0, max(1, len(array)), step):
            yield array.slice(start, step)


def _in_place(x: npt.NDArray[Any]) -> bool:
    return x.dtype.isnative and x.flags.aligned


def as_flat(x: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """The elements as a contiguous 1-D view, in whatever order they lie in memory; None where they have gaps.

    None also for what cannot be read in place: unaligned, or of the other byte order.
    """
    if not _in_place(x):
        return None
    if x.flags.c_contiguous:
        return x.reshape(-1)
    if any(stride < 0 for stride in x.strides):
        x = x[tuple(slice(None, None, -1) if stride < 0 else slice(None) for stride in x.strides)]
    order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    x = x.transpose(order)
    return x.reshape(-1) if x.flags.c_contiguous else None


def pieces(x: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """The elements of any array as contiguous, native 1-D arrays of at most 65,536 elements, each gone at the next."""
    # "contig", which NumPy's types misspell: without it an array of one stride comes as one block of any length.
    operand: Any = ["readonly", "nbo", "aligned", "contig"]
    flags: Any = ["external_loop", "buffered", "zerosize_ok"]
    with np.nditer(x, flags, [operand], order="K", buffersize=_PIECE) as blocks:
        yield from blocks


def slabs(x: npt.NDArray[Any], axis: int | Sequence[int]) -> Iterator[npt.NDArray[Any]]:
    """`x` cut across axes that are not the neurons', so that `as_channels` copies some megabytes at a time.

    Whole, where nothing need be copied or it is small.

    Raises what `as_channels` raises.
    """
    if _plain_axis(x, axis) is not None:
        return iter((x,))
    axes = _normalise(axis, x.ndim)
    # Fewer than 16 elements of a neuron take less memory than what is found out about it.
    limit = max(_SLAB_BYTES, 16 * math.prod(x.shape[a] for a in axes) * x.itemsize)
    if x.nbytes <= limit or _channel_view(x, axes)[0] is not None:
        return iter((x,))
    return _cut(x, sorted((a for a in range(x.ndim) if a not in axes), key=lambda a: -abs(x.strides[a])), limit)


def _cut(x: npt.NDArray[Any], axes: list[int], limit: int) -> Iterator[npt.NDArray[Any]]:
    if x.nbytes <= limit or not axes:
        yield x
        return
    first, *rest = axes
    step = max(1, limit * x.shape[first] // x.nbytes)
    for start in range(0, x.shape[first], step):
        yield from _cut(x[(slice(None),) * first + (slice(start, start + step),)], rest, limit)


def as_channels(x: npt.NDArray[Any], axis: int | Sequence[int]) -> tuple[npt.NDArray[Any], tuple[int, ...]]:
    """`x` as a contiguous [outer, neurons, inner] array, and the shape of its neurons.

    The elements of a neuron may come in any order, so every memory order in which the neuron axes are neighbours is
    viewed in place; others are copied, as is what is unaligned or of the other byte order.

    Raises:
        ArgumentTypeError: `axis` is not an int or a tuple of them.
        ArgumentValueError: `axis` is out of range, repeated or empty.
    """
    view, shape = channel_view(x, axis)
    if view is None:
        axes = _normalise(axis, x.ndim)
        others = [a for a in range(x.ndim) if a not in axes]
        copy = np.array(x.transpose(*others, *axes), x.dtype.newbyteorder("="), order="C")
        view = copy.reshape(math.prod(x.shape[a] for a in others), math.prod(shape), 1)
    return view, shape


def channel_view(x: npt.NDArray[Any], axis: int | Sequence[int]) -> tuple[npt.NDArray[Any] | None, tuple[int, ...]]:
    """The same where nothing need be copied, elsewhere None; memory is never read.

    Raises what `as_channels` raises.
    """
    plain = _plain_axis(x, axis)
    if plain is not None:
        # The shape of most layers' outputs, in a fifth of the time of what follows.
        shape = x.shape
        return x.reshape(math.prod(shape[:plain]), shape[plain], math.prod(shape[plain + 1 :])), shape[
            plain : plain + 1
        ]
    axes = _normalise(axis, x.ndim)
    shape = tuple(x.shape[a] for a in axes)
    view, outer, inner = _channel_view(x, axes)
    return None if view is None else view.reshape(outer, math.prod(shape), inner), shape


def _plain_axis(x: npt.NDArray[Any], axis: Any) -> int | None:
    """The axis from 0, where it is a single one in range of a contiguous array that can be read in place."""
    if type(axis) is int and -x.ndim <= axis < x.ndim and x.flags.c_contiguous and _in_place(x):
        return axis % x.ndim
    return None


def _channel_view(x: npt.NDArray[Any], axes: tuple[int, ...]) -> tuple[npt.NDArray[Any] | None, int, int]:
    """`x` with its axes in an order in which it is contiguous, and how many elements are before and after the neurons.

    None instead, where there is no such order.
    """
    others = [a for a in range(x.ndim) if a not in axes]
    # The neuron axes stay in order; around them the other axes go where memory has them.
    stride = min((abs(x.strides[a]) for a in axes if x.shape[a] > 1), default=0)
    before = sorted((a for a in others if abs(x.strides[a]) > stride), key=lambda a: -abs(x.strides[a]))
    after = sorted((a for a in others if a not in before), key=lambda a: -abs(x.strides[a]))
    if x.flags.c_contiguous:
        before = [a for a in others if a < axes[0]]
        after = [a for a in others if a > axes[0]]
    view = x.transpose(*before, *axes, *after)
    if not (view.flags.c_contiguous and _in_place(x)):
        return None, 0, 0
    return view, math.prod(x.shape[a] for a in before), math.prod(x.shape[a] for a in after)


def _normalise(axis: Any, ndim: int) -> tuple[int, ...]:
    values = (axis,) if not isinstance(axis, (tuple, list)) else tuple(axis)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise ArgumentTypeError(f"axis: got {axis!r}, want an int or a tuple of ints")
        if not -ndim <= value < ndim:
            raise ArgumentValueError(f"axis: got {axis!r}, want axes of x, which has {ndim} dimension(s)")
    axes = tuple(sorted(int(value) % ndim for value in values))
    if not axes or len(set(axes)) < len(axes):
        raise ArgumentValueError(f"axis: got {axis!r}, want at least one axis and none twice")
    return axes
