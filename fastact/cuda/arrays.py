"""Arrays on a GPU: any framework's array as a NumPy array over the device's addresses.

Such an array has an address, a shape and strides, so the code that finds views of host memory finds those of a GPU too.
Its elements are never read here.
"""

import sys
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.arrays.dlpack import cuda_view, view_of_memory
from fastact.arrays.host import WANTED, checked_tensor
from fastact.cuda.choice import choice
from fastact.cuda.driver import device_of, unusable
from fastact.cuda.frameworks import framework
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError, MissingExtraError

_LEGACY_STREAM: Final = 1


class DeviceArray(NamedTuple):
    """Elements on a GPU."""

    array: npt.NDArray[Any]  #: where they lie, with the element type's storage dtype; reading it ends the process
    name: str  #: the element type's, such as "bfloat16"
    device: int
    stream: int  #: the handle of the stream on which their owner has them ready; 0 and 1: the legacy default stream
    kept: bool  #: whether their memory, once freed, is used again only by what comes later on this stream


def device_array(x: Any) -> DeviceArray:
    """The elements of `x`, for which `arrays.host.on_gpu` holds, where they lie; nothing is copied.

    Raises:
        ArgumentTypeError: the elements are of a type that cannot be swept, or `x` breaks its protocol's rules.
        ArgumentValueError: `x` is a tensor without dense memory, or no device can be used.
        MissingExtraError: the extra fastact[cuda] is not installed.
    """
    problem = unusable()
    # A framework's own operations sweep its own arrays where no kernel can.
    if problem is not None and choice() in ("auto", "torch") and (_is_tensor(x) or _is_cupy(x)) and framework():
        problem = None
    what = f"a tensor on {x.device}" if _is_tensor(x) else f"{type(x).__name__} on a GPU"
    if problem is not None:
        error = MissingExtraError if "fastact[cuda]" in problem else ArgumentValueError
        raise error(
            f"x: got {what}, but {problem}; want fastact[cuda] and a CUDA device to sweep it where it lies, or memory "
            "that the CPU can read: copy it with .cpu() or .get() first"
        )
    try:
        if _is_tensor(x):
            return _from_torch(x)
        try:
            interface = x.__cuda_array_interface__
        except Exception:  # noqa: BLE001 - some owners refuse to show bfloat16 so, but have DLPack
            return _from_dlpack(x)
        return _from_interface(x, interface)
    except FastactError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a foreign protocol raises
        raise ArgumentTypeError(f"x: got {what}, which cannot be viewed ({error}); want {WANTED}") from None


def _is_tensor(x: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def _from_torch(x: Any) -> DeviceArray:
    torch = sys.modules["torch"]
    x, name = checked_tensor(x)
    if x.is_neg():
        x = x.resolve_neg()
    try:
        address = x.data_ptr()
    except RuntimeError as error:  # fake tensors, tensors inside vmap, wrapping subclasses
        raise ArgumentValueError(f"x: got a {type(x).__name__} without memory to read ({error})") from None
    if not address and x.numel():
        raise ArgumentValueError("x: got a tensor whose storage was freed, want one that still has its data")
    storage = ELEMENT_TYPES[name].storage
    strides = tuple(stride * storage.itemsize for stride in x.stride())
    array = view_of_memory(x, address, storage, tuple(x.shape), strides)
    device = x.device.index
    return DeviceArray(array, name, device, torch.cuda.current_stream(device).cuda_stream, True)


def _from_interface(x: Any, interface: dict[str, Any]) -> DeviceArray:
    if interface.get("mask") is not None:
        raise ArgumentTypeError(f"x: got a masked {type(x).__name__}, want one without a mask")
    address = int(interface["data"][0] or 0)
    shape = tuple(int(size) for size in interface["shape"])
    strides = interface.get("strides")
    name = _element_type_name(x, interface["typestr"])
    device = 0 if 0 in shape else int(x.device.id) if _is_cupy(x) else device_of(address)
    if device is None:
        raise ArgumentTypeError(f"x: got {type(x).__name__} at an address that no CUDA device knows, want {WANTED}")
    array = view_of_memory(
        x, address, ELEMENT_TYPES[name].storage, shape, strides if strides is None else tuple(strides)
    )
    stream = int(interface.get("stream") or _current_stream(x, device))
    return DeviceArray(array, name, device, stream, _is_cupy(x))


def _element_type_name(x: Any, typestr: str) -> str:
    """The element type as the owner's dtype names it: the protocol has no word for bfloat16, and some say float16."""
    order, size = typestr[:1], typestr[2:]
    if order == (">" if sys.byteorder == "little" else "<"):
        raise ArgumentTypeError(f"x: got {type(x).__name__} of {typestr}, want elements of this machine's byte order")
    name = str(getattr(x, "dtype", "")).rpartition(".")[2]
    if name not in ELEMENT_TYPES:
        name = np.dtype(typestr).name
    if name not in ELEMENT_TYPES or str(ELEMENT_TYPES[name].storage.itemsize) != size:
        raise ArgumentTypeError(f"x: got {type(x).__name__} of {getattr(x, 'dtype', typestr)}, want {WANTED}")
    return name


def _is_cupy(x: Any) -> bool:
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, cupy.ndarray)


def _current_stream(x: Any, device: int) -> int:
    """Where the owner works now, as far as it tells; elsewhere the stream that waits for all blocking ones."""
    if _is_cupy(x):
        cupy = sys.modules["cupy"]
        with cupy.cuda.Device(device):
            return int(cupy.cuda.get_current_stream().ptr)
    return _LEGACY_STREAM


def _from_dlpack(x: Any) -> DeviceArray:
    device = int(x.__dlpack_device__()[1])
    stream = _current_stream(x, device) or _LEGACY_STREAM
    found = cuda_view(x, stream)
    if found is None:
        raise ArgumentTypeError(f"x: got {type(x).__name__} of {getattr(x, 'dtype', 'unknown dtype')}, want {WANTED}")
    return DeviceArray(*found, device, stream, False)


def current_stream(device: int) -> int:
    """The handle of the stream where torch works now, or else CuPy, or else that of the legacy default stream."""
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.current_stream(device).cuda_stream)
    return _LEGACY_STREAM if cupy is None else int(cupy.cuda.get_current_stream().ptr)
