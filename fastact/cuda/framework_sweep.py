"""A sweep by a framework's own operations: the same numbers as the kernels', in some forty launches and one copy.

It is what sweeps where a kernel of ours has not proven itself (`proof`), and what the kernels are compared with. It is
slower and takes more memory: elements are widened to float64, at most `_AT_ONCE` of them at a time.
"""

import math
import time
from typing import Any, Final, NamedTuple

import numpy as np

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES, BFloat16, ElementType, Float16
from fastact.arithmetic.state import N_COUNTS, N_MOMENTS
from fastact.cpu.sweep import merge_kernel
from fastact.cpu.widen import widen_array
from fastact.cpu.workspace import NeuronStates
from fastact.cuda.arrays import DeviceArray
from fastact.cuda.frameworks import Framework, OnItsWay
from fastact.cuda.layouts import Bounds

#: Elements that are widened at a time: 128 MB as float64, and a few times that in between.
_AT_ONCE: Final = 1 << 24
#: Powers of two by which elements are scaled, such that neither they nor their squares leave float64's range.
_LARGEST_POWER: Final = 1000
#: Seconds after which a host that waits looks again.
_PAUSE: Final = 20e-6
_SIGN: Final = -(1 << 63)


class FrameworkSweep(NamedTuple):
    """A sweep under way, in parts, of an array [outer, neurons, inner] of the element type `name`."""

    parts: list[OnItsWay]
    name: str

    @property
    def done(self) -> bool:
        """Whether the numbers are on the host."""
        return all(part.done() for part in self.parts)

    def states(self) -> NeuronStates:
        """The states of the neurons, once it is done."""
        extreme = ELEMENT_TYPES[self.name].extreme
        # int64[parts, numbers, neurons]
        found = np.stack([part.numbers for part in self.parts])
        counts = np.ascontiguousarray(found[:, :N_COUNTS].swapaxes(0, 1))
        moments = found[:, N_COUNTS : N_COUNTS + N_MOMENTS].swapaxes(0, 1).copy().view(np.float64)
        ends = found[:, N_COUNTS + N_MOMENTS :].swapaxes(0, 1).copy()
        extremes = ends.view(extreme) if extreme.kind in "iu" else ends.view(np.float64).astype(extreme)
        total = merge_kernel(extreme)(counts, moments, extremes)
        return NeuronStates(counts[:, 0], moments[:, 0], extremes[:, 0], total)


def launch(by: Framework, x: DeviceArray, shape: tuple[int, int, int], bounds: Bounds) -> FrameworkSweep:
    """Begins the sweep of a contiguous [outer, neurons, inner] array that is not empty; waits for nothing."""
    element = ELEMENT_TYPES[x.name]
    with by.at_work(x):
        raw = by.raw(x).reshape(shape)
        pieces = _pieces(raw, shape)
        return FrameworkSweep([by.to_host(_numbers(by, piece, element, bounds)) for piece in pieces], x.name)


def sweep(by: Framework, x: DeviceArray, shape: tuple[int, int, int], bounds: Bounds) -> NeuronStates:
    """`launch`, and waits."""
    return waited(launch(by, x, shape, bounds))


def waited(swept: FrameworkSweep) -> NeuronStates:
    """The states of a sweep, for which the host waits."""
    while not swept.done:
        time.sleep(_PAUSE)
    return swept.states()


def state(by: Framework, x: DeviceArray, bounds: Bounds) -> arithmetic.State:
    """The state of elements that lie side by side, at least one."""
    return sweep(by, x, (x.array.size, 1, 1), bounds).total


def _pieces(raw: Any, shape: tuple[int, int, int]) -> list[Any]:
    outer, neurons, inner = shape
    if outer * neurons * inner <= _AT_ONCE:
        return [raw]
    rows = max(1, _AT_ONCE // (neurons * inner))
    if rows > 1 or inner == 1:
        return [raw[i : i + rows] for i in range(0, outer, rows)]
    wide = max(1, _AT_ONCE // neurons)
    return [raw[i : i + 1, :, j : j + wide] for i in range(outer) for j in range(0, inner, wide)]


def _widened(by: Framework, raw: Any, element: ElementType) -> Any:
    """The elements as float64."""
    tag, size = element.tag, element.storage.itemsize
    if element.format is None:
        if element.storage.kind == "u" and size < 8:
            return by.cast(by.cast(raw, "int64") & ((1 << 8 * size) - 1), "float64")
        if element.storage.kind == "u":  # the upper 63 bits and the last one
            return by.cast((raw >> 1) & ~_SIGN, "float64") * 2.0 + by.cast(raw & 1, "float64")
        return by.cast(raw, "float64")
    if isinstance(tag, BFloat16):
        return by.cast(by.view(by.cast(raw, "int32") << 16, "float32"), "float64")
    if size == 1:
        table = widen_array(np.arange(256, dtype=np.uint8), tag).astype(np.float64)
        return by.look_up(table, by.cast(raw, "int64") & 0xFF)
    stored = "float16" if isinstance(tag, Float16) else element.storage.name
    return by.cast(by.view(raw, stored), "float64")


def _numbers(by: Framework, raw: Any, element: ElementType, bounds: Bounds) -> Any:
    """int64[numbers, neurons]: counts, the bits of moments, and extremes, which are float64 but of 64-bit integers."""
    xp, (lo, hi, tol) = by.xp, bounds
    axes = (0, 2)
    v = _widened(by, raw, element)
    size = math.prod(v.shape) // v.shape[1]

    def count(mask: Any) -> Any:
        return by.cast(mask, "int64").sum(axes)

    finite = xp.isfinite(v)
    nans, pos_infs, neg_infs = count(xp.isnan(v)), count(v == math.inf), count(v == -math.inf)
    zeros, saturated = count(xp.abs(v) <= tol), count((v < lo) | (v > hi))
    here = by.cast(finite, "float64").sum(axes)
    nothing = v - v if element.format is None else xp.zeros_like(v)
    f = xp.where(finite, v, nothing)
    least = xp.amin(xp.where(finite, v, nothing + math.inf), axes)
    most = xp.amax(xp.where(finite, v, nothing - math.inf), axes)
    # Scaled by a power of two, which is exact, so that no square leaves the range.
    exponent = xp.frexp(xp.amax(xp.abs(f), axes))[1]
    exponent = exponent.clip(-_LARGEST_POWER, _LARGEST_POWER)
    up = xp.ldexp(xp.ones_like(least), exponent)
    y = f / up[None, :, None]
    # Two passes: the second is relative to the mean of the first, and makes up for its rounding.
    first = y.sum(axes) / here
    d = xp.where(finite, y - first[None, :, None], nothing)
    offset = d.sum(axes) / here
    squares = (d * d).sum(axes) / here - offset * offset
    mean = first + offset
    rest = offset - (mean - first)
    std = xp.sqrt(xp.where(squares > 0.0, squares, squares * 0.0))
    same = least == most
    mean, std = xp.where(same, least / up, mean), xp.where(same, std * 0.0, std)
    abs_mean = xp.where(same, xp.abs(least) / up, xp.abs(y).sum(axes) / here)
    known = xp.isfinite(mean)
    rest = xp.where(same | ~known, xp.zeros_like(mean), rest)
    moments = {"mean": mean * up, "std": std * up, "abs_mean": abs_mean * up, "rest": rest * up}
    counted = [nans * 0 + size, nans, pos_infs, neg_infs, zeros, saturated]
    ends = [by.view(end, "int64") for end in (least, most)]
    if element.extreme.kind == "i":
        ends = [xp.amin(raw, axes), xp.amax(raw, axes)]
    elif element.extreme.kind == "u":  # ordered as signed integers once the leading bit is turned
        ends = [end ^ _SIGN for end in (xp.amin(raw ^ _SIGN, axes), xp.amax(raw ^ _SIGN, axes))]
    by_name = [moments["mean"], moments["std"], moments["abs_mean"], moments["rest"]]
    return xp.stack([*counted, *(by.view(number, "int64") for number in by_name), *ends])
