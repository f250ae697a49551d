"""`summarize_many`: the stats of many buffers in one sweep."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
import numpy.typing as npt

from fastact import arithmetic
from fastact.arrays.host import as_storage, chunks, count_nulls, on_gpu
from fastact.arrays.shapes import as_flat
from fastact.cpu.numpy_headers import arrays_at, known_dtypes
from fastact.cpu.sweep_many import TYPE_NAMES, Places, sweep_many
from fastact.errors import ArgumentTypeError, FastactError
from fastact.stats.activation import ActivationStats, wrap, wrap_all, wrap_with_nulls
from fastact.stats.channel import ChannelStats
from fastact.stats.fast_path import KNOWN, TENSOR_CLASSES, remember, tensor_address
from fastact.stats.gpu import gpu_view
from fastact.stats.options import SATURATION, Bounds, check_options
from fastact.stats.summarize import summarize, sweep_any

if TYPE_CHECKING:
    from fastact.cuda.arrays import DeviceArray
    from fastact.cuda.sweep import ManySweep

#: Fewer are swept one after the other: to prepare what many have in common takes as long as some thirty calls.
_FEW: Final = 32


@overload
def summarize_many(
    xs: Iterable[Any], *, axis: None = None, saturation: tuple[float, float] = SATURATION, zero_tol: float = 0.0
) -> list[ActivationStats]: ...


@overload
def summarize_many(
    xs: Iterable[Any], *, axis: int | Sequence[int], saturation: tuple[float, float] = SATURATION,
    zero_tol: float = 0.0,
) -> list[ChannelStats]: ...  # fmt: skip


def summarize_many(
    xs: Iterable[Any],
    *,
    axis: int | Sequence[int] | None = None,
    saturation: tuple[float, float] = SATURATION,
    zero_tol: float = 0.0,
) -> list[ActivationStats] | list[ChannelStats]:
    """`summarize` of each of many buffers, in one sweep: what a call costs is paid once.

    The answers are those of ``[summarize(x, ...) for x in xs]``, bit for bit. On the CPU all buffers are shared out
    among the threads together, small ones whole; on a GPU those of one kind, device and stream are one launch, and
    their rows come back in one copy. With `axis` they are swept one after the other.

    Args:
        xs: a list, or another iterable, of what `summarize` takes, in any mix.
        axis: as in `summarize`, the same for all.
        saturation: as in `summarize`.
        zero_tol: as in `summarize`.

    Returns:
        ActivationStats for each, in the order of `xs`; ChannelStats when `axis` is given.

    Raises:
        ArgumentTypeError, ArgumentValueError, MissingExtraError: as `summarize`, for the first that cannot be swept;
            the message names it, such as xs[3].

    Example:
        >>> weights = [np.ones((2, 3)), np.zeros(5, np.float32)]
        >>> [s.mean for s in summarize_many(weights)]
        [1.0, 0.0]
    """
    bounds = check_options(saturation, zero_tol)
    try:
        iterator = iter(xs)
    except TypeError:
        raise ArgumentTypeError(f"xs: got {type(xs).__name__}, want a list or another iterable of buffers") from None
    tensors = list(iterator)
    if axis is None and (len(tensors) >= _FEW or any(map(on_gpu, tensors))):
        return _sweep_together(tensors, bounds)
    options: Any = {"axis": axis, "saturation": bounds[:2], "zero_tol": bounds[2]}
    return [_named(i, summarize, x, **options) for i, x in enumerate(tensors)]


def _named(i: int, call: Callable[..., Any], x: Any, **options: Any) -> Any:
    """What the call says of `x`; its errors name it as an item of `xs`."""
    try:
        return call(x, **options)
    except FastactError as error:
        message = str(error)
        rest = message.removeprefix("x: ")
        raise type(error)(f"xs[{i}]: {rest}" if rest != message else f"{message} (of xs[{i}])") from None


def _sweep_together(tensors: list[Any], bounds: Bounds) -> list[ActivationStats]:
    places = arrays_at(tensors)
    stats: list[Any] = [None] * len(tensors)
    views = []  # kept until all is swept: of some owners there is nothing else to hold
    on_devices: list[tuple[int, DeviceArray]] = []
    for i in _tensors_at(tensors, places):
        x = tensors[i]
        if on_gpu(x):
            there, _ = _named(i, gpu_view, x, axis=None)
            if there.array.size:
                on_devices.append((i, there))
            else:
                stats[i] = wrap(arithmetic.EMPTY, bounds)
        elif (found := _named(i, _flat, x)) is None:
            stats[i] = wrap_with_nulls(_named(i, sweep_any, x, bounds=bounds), bounds, count_nulls(x))
        else:
            flat, name = found
            views.append(flat)
            places.addresses[i], places.sizes[i], places.types[i] = flat.ctypes.data, flat.size, TYPE_NAMES.index(name)
    launches = _launched(on_devices, bounds)
    for which, states in (*sweep_many(places, *bounds), *((which, launch.states()) for which, launch in launches)):
        made = wrap_all(states, bounds)
        if len(made) == len(tensors):  # of one element type all
            return made
        for i, result in zip(which, made, strict=True):
            stats[i] = result
    return stats


def _launched(tensors: list[tuple[int, "DeviceArray"]], bounds: Bounds) -> list[tuple[list[int], "ManySweep"]]:
    """The sweeps, under way, of what lies on GPUs: for each kind, device and stream which tensors, and their launch."""
    if not tensors:
        return []
    from fastact.cuda.sweep import sweep_many as sweep_on_devices

    groups: dict[Any, list[tuple[int, DeviceArray]]] = {}
    for i, found in tensors:
        groups.setdefault((found.name, found.device, found.stream), []).append((i, found))
    return [
        ([i for i, _ in group], sweep_on_devices([found for _, found in group], bounds)) for group in groups.values()
    ]


def _tensors_at(tensors: list[Any], places: Places) -> list[int]:
    """Notes where plain, contiguous torch tensors of known dtypes lie; returns which of the others are left."""
    left = np.flatnonzero(places.types < 0).tolist()
    if not left:
        return left
    known = {dtype: TYPE_NAMES.index(name) for dtype, (_, _, name) in KNOWN.items()}
    which: list[int] = []
    addresses: list[int] = []
    others: list[int] = []
    for i in left:
        x = tensors[i]
        if type(x) in TENSOR_CLASSES and x.dtype in known and not x.is_nested:
            address = tensor_address(x)
            if address:
                which.append(i)
                addresses.append(address)
                continue
        others.append(i)
    if which:
        places.addresses[which] = addresses
        places.sizes[which] = [tensors[i].numel() for i in which]
        places.types[which] = [known[tensors[i].dtype] for i in which]
    return others


def _flat(x: Any) -> tuple[npt.NDArray[Any], str] | None:
    """The elements of any buffer as a contiguous array, and their kind's name; None where they do not lie so."""
    parts = list(chunks(x))
    if len(parts) > 1 or on_gpu(x) or (type(x) is not np.ndarray and count_nulls(x)):
        return None
    array, name = as_storage(parts[0])
    flat = as_flat(array)
    if flat is None or not flat.size:
        return None
    if type(x) is np.ndarray:
        if x.dtype.isnative and x.flags.carray:
            known_dtypes.learn(x.dtype, name)
    else:
        remember(x, name)
    return flat, name
