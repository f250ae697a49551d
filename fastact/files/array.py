"""What a sweep of a file asks for, what it finds of one array, and how an array that lies densely in a file is read."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.errors import ArgumentValueError
from fastact.files.source import Source
from fastact.stats.activation import ActivationStats
from fastact.stats.channel import ChannelStats, wrap_channels
from fastact.stats.merge import Accumulator, merge
from fastact.stats.options import NO_EXTRAS, SATURATION
from fastact.stats.summarize import summarize

#: Bytes of an array that are in memory at a time. Mapped anew for each, a local file is swept three times as fast as it
#: is read into a buffer (no copy), and the process stays small.
WINDOW: Final = 1 << 26
#: Bytes that are swept at a time, and read at a time of a remote file.
SLAB: Final = 1 << 23


@dataclass(frozen=True, slots=True)
class ArrayStats:
    """The statistics of one array (or column) of a file.

    Attributes:
        name: the tensor's or column's name; "" for the only array of a .npy file.
        dtype: the dtype as the file has it, such as "float32" or "bfloat16".
        shape: the array's shape; for a column (rows,), or (rows, width) where every row is a list of that width, or
            (rows, ...) of tensors of one shape.
        nulls: missing values of a column, which are not in the statistics (a null is not a zero).
        stats: the statistics of all elements; `DetailedStats` where extras were asked for.
        neurons: the same per index along `axis`, where an axis was asked for.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nulls: int
    stats: ActivationStats
    neurons: ChannelStats | None = None


def _silent(_: int) -> None:
    """Hears of bytes that were read, and says nothing. Not a lambda: what is asked travels to other processes."""


class Stopped(Exception):  # noqa: N818 - no error
    """The sweep is to end before the file does."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a sweep asks of each array; `told` hears of each array's bytes as they are read, and may raise `Stopped`."""

    axis: int | None = None
    saturation: tuple[float, float] = SATURATION
    zero_tol: float = 0.0
    extras: tuple[str, ...] = NO_EXTRAS
    told: Callable[[int], None] = _silent

    def options(self) -> dict[str, Any]:
        """The options of `summarize`, but for the axis."""
        plain: dict[str, Any] = {"saturation": self.saturation, "zero_tol": self.zero_tol}
        return plain | {"extras": self.extras} if self.extras else plain

    def neurons_of(self, shape: tuple[int, ...]) -> int | None:
        """The neurons' axis of an array of this shape, from 0; None where it is swept as a whole."""
        if self.axis is None or len(shape) < 2 or not -len(shape) <= self.axis < len(shape):
            return None
        return self.axis % len(shape)


def sweep_slabs(name: str, dtype: str, shape: tuple[int, ...], slabs: Iterator[Any], ask: Ask) -> ArrayStats:
    """The statistics of an array that comes as slabs of its first axis, in order, each [n, *shape[1:]].

    Without an axis to sweep along, the slabs may be of any shape.
    """
    axis = ask.neurons_of(shape)
    if axis is None:
        total = Accumulator(**ask.options())
        for slab in slabs:
            total.update(slab)
            ask.told(slab.nbytes)
        return ArrayStats(name, dtype, shape, 0, total.stats)
    parts = []
    found: ChannelStats | None = None
    for slab in slabs:
        part = summarize(slab, axis=axis, **ask.options())
        if axis == 0:
            parts.append(part)
        else:
            found = part if found is None else found | part
        ask.told(slab.nbytes)
    if parts:
        found = joined(parts)
    if found is None:
        found = summarize(np.empty(shape, np.float32), axis=axis, **ask.options())
    return ArrayStats(name, dtype, shape, 0, found.total, found)


def joined(parts: list[ChannelStats]) -> ChannelStats:
    """The stats of the neurons of all parts, one after the other."""
    from fastact.cpu.workspace import NeuronStates

    if len(parts) == 1:
        return parts[0]
    arrays = [part._arrays for part in parts]
    total = merge(part.total for part in parts)
    counts, moments, extremes = (np.concatenate([each[i] for each in arrays], axis=1) for i in range(3))
    states = NeuronStates(counts, moments, extremes, total._state)
    return wrap_channels(states, parts[0]._bounds, (counts.shape[1],))


def dense(
    source: Source,
    offset: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    ask: Ask,
    *,
    seen: Callable[[npt.NDArray[np.uint8]], None] | None = None,
) -> Iterator[npt.NDArray[Any]]:
    """Slabs of an array in C order that begins at `offset` of a file; flat where it is swept as a whole.

    `seen` is shown the bytes of each slab, in order.
    """
    size = math.prod(shape)
    if size == 0 or dtype.itemsize == 0:
        return
    flat = ask.neurons_of(shape) is None
    rows = size if flat else shape[0]
    row = size // rows * dtype.itemsize
    # Where slabs end depends on the shape alone, so that an answer does not depend on where the file lies.
    step = max(1, SLAB // row)
    at_once = step * max(1, WINDOW // (step * row)) if source.local else step
    # Numbers at odd addresses, as those in a .npz file, are moved: where they would be read from is no array's.
    spare: npt.NDArray[Any] | None = None
    for begin in range(0, rows, at_once):
        raw = source.window(offset + begin * row, min(at_once, rows - begin) * row)
        if seen is not None:
            seen(raw)
        for first in range(0, raw.size, step * row):
            slab = raw[first : first + step * row].view(dtype)
            if not slab.flags.aligned:
                spare = np.empty(step * row // dtype.itemsize, dtype) if spare is None else spare
                spare[: slab.size] = slab
                slab = spare[: slab.size]
            yield slab if flat else slab.reshape(-1, *shape[1:])
        del raw, slab


def check_fits(source: Source, what: str, offset: int, nbytes: int) -> None:
    """Refuses an array that ends beyond its file."""
    if offset < 0 or nbytes < 0 or offset + nbytes > source.size:
        raise ArgumentValueError(
            f"FILE: {source.name!r} is cut off or damaged: {what} ends at byte {offset + nbytes} of {source.size}"
        )
