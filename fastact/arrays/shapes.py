"""Shapes that kernels take: an array as one row of elements, or as [outer, neurons, inner], copied where it must be."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.errors import ArgumentTypeError, ArgumentValueError

#: Elements that are copied at a time where they have gaps, and bytes of a slab.
_PIECE: Final = 1 << 16
_SLAB_BYTES: Final = 1 << 22


def _in_place(x: npt.NDArray[Any]) -> bool:
    return x.dtype.isnative and x.flags.aligned


def as_flat(x: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """The elements as a contiguous 1-D view, in whatever order they lie in memory.

    None where they have gaps, or cannot be read in place: unaligned, or of the other byte order.
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

    Whole, where nothing need be copied or it is small. Raises what `as_channels` raises.
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
    """`as_channels` where nothing need be copied, elsewhere None; memory is never read."""
    plain = _plain_axis(x, axis)
    if plain is not None:
        # The shape of most layers' outputs, in a fifth of the time of what follows.
        shape = x.shape
        sizes = math.prod(shape[:plain]), shape[plain], math.prod(shape[plain + 1 :])
        return x.reshape(sizes), (shape[plain],)
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
    """`x` with its axes in a contiguous order, or None, and how many elements are before and after the neurons."""
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
