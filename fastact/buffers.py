"""What is `x`? Turns anything that holds numbers into a NumPy view of its memory, without copying it.

Frameworks are recognised without importing them: an object can only be a torch tensor if somebody has imported
torch, so `sys.modules` is asked. dtypes are told by the owner's `.dtype`, never by a protocol's type string, which
shows bfloat16 as "<V2" or even as float16.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.compile import KINDS
from fastact.errors import ArgumentTypeError, ArgumentValueError, MissingExtraError

__all__ = ["as_channels", "as_flat", "as_storage", "pieces"]

_WANTED: Final = (
    "an array or tensor of float64, float32, float16, bfloat16, float8 (e4m3fn, e5m2), an integer type or bool"
)


def as_storage(x: Any) -> tuple[npt.NDArray[Any], str]:
    """A view of `x` as an array of its kind's storage dtype and of its shape, and the kind's name.

    Raises:
        ArgumentTypeError: `x` holds no numbers, or numbers of a type that cannot be swept.
        ArgumentValueError: `x` is a tensor without readable memory: sparse, quantised, meta.
        MissingExtraError: `x` lies on a GPU.
    """
    if isinstance(x, np.ndarray):
        return _from_numpy(x)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return _from_torch(x)
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(x, (pyarrow.Array, pyarrow.ChunkedArray)):
        return _from_arrow(x, pyarrow)
    if hasattr(x, "__cuda_array_interface__"):
        raise _on_gpu(type(x).__name__)
    if isinstance(x, (str, bytes)):
        raise ArgumentTypeError(f"x: got {type(x).__name__}, want {_WANTED}")
    try:
        if hasattr(x, "__array__") or hasattr(x, "__array_interface__") or not hasattr(x, "__dlpack__"):
            array = np.asarray(x)
        else:
            array = np.from_dlpack(x)
    except Exception as error:  # noqa: BLE001 - whatever a foreign protocol raises
        raise ArgumentTypeError(
            f"x: got {type(x).__name__}, which NumPy cannot view ({error}); want {_WANTED}"
        ) from None
    return _from_numpy(array)


def _from_numpy(x: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], str]:
    dtype = x.dtype
    kind = KINDS.get(dtype.name)
    if kind is None:
        raise ArgumentTypeError(f"x: got an array of {dtype}, want {_WANTED}")
    if type(x) is not np.ndarray:
        if isinstance(x, np.ma.MaskedArray):
            raise ArgumentTypeError("x: got a masked array, want a plain one: use x.compressed()")
        x = x.view(np.ndarray)
    if not dtype.isnative or not x.flags.aligned:
        # Such memory cannot be read in place; `pieces` could, at a tenth of the speed of this one copy.
        x = x.astype(dtype.newbyteorder("="))
    return (x if dtype == kind.storage else x.view(kind.storage)), kind.name


def _from_torch(x: Any) -> tuple[npt.NDArray[Any], str]:
    torch = sys.modules["torch"]
    if x.layout is not torch.strided:
        raise ArgumentValueError(
            f"x: got a tensor of layout {x.layout}, want a dense one: use x.values() or x.to_dense()"
        )
    if x.is_quantized:
        raise ArgumentValueError("x: got a quantised tensor, want plain numbers: use x.dequantize() or x.int_repr()")
    if x.device.type != "cpu":
        if x.device.type == "meta":
            raise ArgumentValueError("x: got a tensor on the meta device, which has no data")
        raise _on_gpu(f"a tensor on {x.device}")
    name = str(x.dtype).removeprefix("torch.")
    kind = KINDS.get(name)
    if kind is None:
        raise ArgumentTypeError(f"x: got a tensor of {x.dtype}, want {_WANTED}")
    x = x.detach()
    if x.is_neg():
        x = x.resolve_neg()
    if name.startswith(("bfloat16", "float8")):
        x = x.view(torch.uint16 if x.itemsize == 2 else torch.uint8)
    array = x.numpy()
    return (array if array.dtype == kind.storage else array.view(kind.storage)), name


def _from_arrow(x: Any, pyarrow: Any) -> tuple[npt.NDArray[Any], str]:
    # Nulls are no elements: they are left out of every count.
    if x.null_count:
        x = x.drop_null()
    if not (pyarrow.types.is_floating(x.type) or pyarrow.types.is_integer(x.type) or pyarrow.types.is_boolean(x.type)):
        raise ArgumentTypeError(f"x: got an Arrow array of {x.type}, want {_WANTED}")
    try:
        array = x.to_numpy() if isinstance(x, pyarrow.ChunkedArray) else x.to_numpy(zero_copy_only=False)
    except (pyarrow.ArrowInvalid, NotImplementedError) as error:
        raise ArgumentTypeError(f"x: got an Arrow array of {x.type} ({error}), want {_WANTED}") from None
    return _from_numpy(array)


def _on_gpu(what: str) -> MissingExtraError:
    return MissingExtraError(
        f"x: got {what}; sweeping it where it lies needs the extra fastact[cuda], whose engine this version lacks. "
        "Want memory that the CPU can read: copy it with .cpu() or .get() first"
    )


def as_flat(x: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """The elements as a contiguous 1-D view, in whatever order they lie in memory; None where they have gaps."""
    if x.flags.c_contiguous:
        return x.reshape(-1)
    if any(stride < 0 for stride in x.strides):
        x = x[tuple(slice(None, None, -1) if stride < 0 else slice(None) for stride in x.strides)]
    order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    x = x.transpose(order)
    return x.reshape(-1) if x.flags.c_contiguous else None


def pieces(x: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """The elements of an array with gaps as contiguous copies of at most 65,536 elements each."""
    with np.nditer(x, flags=["external_loop", "buffered", "zerosize_ok"], order="K", buffersize=1 << 16) as blocks:
        for block in blocks:
            yield np.ascontiguousarray(block).reshape(-1)


def as_channels(x: npt.NDArray[Any], axis: int | Sequence[int]) -> tuple[npt.NDArray[Any], tuple[int, ...]]:
    """`x` as a contiguous [outer, neurons, inner] array, and the shape of its neurons.

    The elements of a neuron may come in any order, so every memory order in which the neuron axes are neighbours is
    viewed in place; others are copied.

    Raises:
        ArgumentTypeError: `axis` is not an int or a tuple of them.
        ArgumentValueError: `axis` is out of range, repeated or empty.
    """
    axes = _normalise(axis, x.ndim)
    shape = tuple(x.shape[a] for a in axes)
    others = [a for a in range(x.ndim) if a not in axes]
    # The neuron axes stay in order; around them the other axes go where memory has them.
    stride = min((abs(x.strides[a]) for a in axes if x.shape[a] > 1), default=0)
    before = sorted((a for a in others if abs(x.strides[a]) > stride), key=lambda a: -abs(x.strides[a]))
    after = sorted((a for a in others if a not in before), key=lambda a: -abs(x.strides[a]))
    if x.flags.c_contiguous:
        before = [a for a in others if a < axes[0]]
        after = [a for a in others if a > axes[0]]
    view = x.transpose(*before, *axes, *after)
    if not view.flags.c_contiguous:
        before, after = others, []
        view = np.ascontiguousarray(x.transpose(*others, *axes))
    neurons = math.prod(shape)
    inner = math.prod(x.shape[a] for a in after)
    outer = math.prod(x.shape[a] for a in before)
    return view.reshape(outer, neurons, inner), shape


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
