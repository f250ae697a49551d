"""Sweeps of buffers on a GPU: their views there, and which kernels sweep them. `fastact.cuda` is loaded when needed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastact import arithmetic
from fastact.arrays.shapes import as_flat, channel_view
from fastact.cpu.workspace import sweep_neurons
from fastact.errors import ArgumentValueError
from fastact.stats.channel import ChannelStats, wrap_channels
from fastact.stats.options import Bounds

if TYPE_CHECKING:
    from fastact.cuda.arrays import DeviceArray


def gpu_view(x: Any, axis: int | Sequence[int] | None) -> tuple["DeviceArray", tuple[int, ...] | None]:
    """The elements of `x` on its GPU as a 1-D array, with an axis as [outer, neurons, inner] and the neurons' shape."""
    # numba.cuda takes a third of a second to load.
    from fastact.cuda.arrays import device_array

    found = device_array(x)
    if axis is None:
        view, shape, remedy = as_flat(found.array), None, ""
    else:
        view, shape = channel_view(found.array, axis)
        remedy = ", and the neurons' axes side by side"
    if view is None:
        raise ArgumentValueError(
            f"x: got elements on a GPU with shape {found.array.shape} and strides {found.array.strides} bytes, want "
            "them without gaps and aligned, since nothing is copied there: use x.contiguous() (of CuPy or JAX, a copy)"
            f"{remedy}"
        )
    return found._replace(array=view), shape


def sweep_gpu(x: Any, bounds: Bounds) -> arithmetic.State:
    """The state of a buffer on a GPU."""
    found, _ = gpu_view(x, None)
    if not found.array.size:
        return arithmetic.EMPTY
    from fastact.cuda.sweep import sweep

    return sweep(found, bounds)


def sweep_gpu_neurons(x: Any, axis: int | Sequence[int], bounds: Bounds) -> ChannelStats:
    """The stats of each neuron of a buffer on a GPU."""
    found, shape = gpu_view(x, axis)
    assert shape is not None
    if not found.array.size:
        return wrap_channels(sweep_neurons(found.array, found.name, *bounds), bounds, shape)
    from fastact.cuda.sweep import sweep_channels

    return wrap_channels(sweep_channels(found, bounds), bounds, shape)
