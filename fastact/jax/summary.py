"""The summary of a layer in plain JAX: it is computed in the graph, on the device, and read on the host."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from fastact import arithmetic
from fastact.checks import check_saturation
from fastact.cpu.sweep import merge_kernel
from fastact.cpu.workspace import NeuronStates
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import STATE
from fastact.stats.activation import ActivationStats
from fastact.stats.channel import ChannelStats, wrap_channels
from fastact.stats.options import SATURATION

#: JAX counts in int32 by default.
_MAX_COUNT: Final = 2**31 - 1

#: The fields of `fields.STATE` that the graph counts, in its order; the rows of `Summary.counts`. The elements need no
#: counting: their number is known when the function is traced.
_COUNTS: Final = tuple(field.name for field in STATE if field.dtype == "int64" and field.name != "count")


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["counts", "sums", "extremes"], meta_fields=["size", "saturation"]
)
@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """What `summarize` found: a pytree of three small arrays, which stay on the device until `stats` is called.

    Attributes:
        counts: int32[5, *neurons]: elements that are NaN, +inf, -inf, zero, saturated.
        sums: float[5, *neurons], over the finite elements: an origin near the mean, a scale (a power of two), the
            means of d = (x - origin) / scale and of d^2, and the mean of |x|.
        extremes: float[2, *neurons]: min and max of the finite elements; inf and -inf without one.
        size: elements of each neuron; without `axis`, of the tensor.
        saturation: the interval outside which an element was counted as saturated.
    """

    counts: Any
    sums: Any
    extremes: Any
    size: int
    saturation: tuple[float, float]

    def stats(self) -> ActivationStats | ChannelStats:
        """The summary on the host: `ChannelStats` where it was made with `axis`, else `ActivationStats`.

        Waits for the device. A summary that `jax.lax.scan` or `jax.vmap` has stacked holds one summary per entry:
        ``jax.tree.map(lambda leaf: leaf[i], summary)`` is the i-th.
        """
        arrays = _arrays(np.asarray(self.counts), np.asarray(self.sums), np.asarray(self.extremes), self.size)
        if shape := self.counts.shape[1:]:
            return wrap_channels(arrays, (*self.saturation, 0.0), shape)
        return ActivationStats.from_state(arrays.total[: len(STATE)], saturation=self.saturation)


def _arrays(counts: npt.NDArray[Any], sums: npt.NDArray[Any], extremes: npt.NDArray[Any], size: int) -> NeuronStates:
    """The states that a sweep on the host would have yielded, from the arrays of a `Summary`; finished in float64."""
    counted = dict(zip(_COUNTS, counts.reshape(len(counts), -1).astype(np.int64), strict=True))
    smallest, largest = ends = extremes.reshape(2, -1).astype(np.float64)
    origin, scale, first, second, abs_mean = sums.reshape(len(sums), -1).astype(np.float64)
    # Equal elements have no spread: what arithmetic leaves of one is rounding.
    equal = smallest == largest
    mean = np.where(equal, smallest, origin + scale * first)
    std = np.where(equal, 0.0, scale * np.sqrt(np.maximum(second - first * first, 0.0)))
    counted["count"] = np.full_like(counted["nans"], size)
    moments = np.where(size > _non_finite(counted), _ordered({"mean": mean, "std": std, "abs_mean": abs_mean}), np.nan)
    states = (_ordered(counted), np.concatenate([moments, np.zeros_like(moments[:1])]), ends)  # zeros: the means' rests
    total = arithmetic.EMPTY
    if mean.size:
        total = merge_kernel(ends.dtype)(*(part[:, None].copy(order="C") for part in states))
    return NeuronStates(*states, total)


def summarize(
    x: Any, *, axis: int | Sequence[int] | None = None, saturation: tuple[float, float] = SATURATION
) -> Summary:
    """The numbers of `fastact.summarize` in plain JAX: within `jax.jit`, on the device, and outside of any gradient.

    It passes over `x` twice: first for the counts, the extremes and an origin near the mean; then for the moments about
    that origin, relative to the largest distance from it, so that no square leaves the range of float32. Elements are
    summed in float32, those of float64 in float64. The mean is off by less than 1e-6 of the larger of abs(mean) and
    std, and std and abs_mean by less than 1e-5 of themselves (`test_jax_adapter`). Counts, min and max are exact, with
    two exceptions: integers beyond 2^24 are rounded to float32; and where the device takes subnormal numbers for zeros,
    so do min, max and the moments.

    Args:
        x: array of floats, integers or bools, of any shape.
        axis: the axis, or axes, of the neurons, for one entry per neuron; None for the whole tensor.
        saturation: elements x < lo or x > hi count as saturated.

    Raises:
        ArgumentTypeError: `x` is complex.
        ArgumentValueError: a neuron has 2^31 elements or more, or `axis` is out of range.

    Example:
        >>> import jax
        >>> summary = jax.jit(lambda x: summarize(jax.nn.relu(x)))(np.array([[-1.0, 2.0], [-3.0, 4.0]]))
        >>> summary.stats().zeros, summary.stats().mean
        (2, 1.5)
    """
    x = jax.lax.stop_gradient(jnp.asarray(x))
    reduced = check_array(x, axis)
    size = math.prod(x.shape[a] for a in reduced)
    if size > _MAX_COUNT:
        raise ArgumentValueError(f"x: got {size} elements a neuron, want less than 2^31: JAX counts in int32")
    work = np.float64 if x.dtype == np.float64 else np.float32
    x = x.astype(work)
    saturation = check_saturation(saturation)
    low, high = _inner_bounds(*saturation, work)

    per_element = functools.partial(jnp.expand_dims, axis=reduced)
    masks = {"nans": jnp.isnan(x), "pos_infs": x == jnp.inf, "neg_infs": x == -jnp.inf}
    masks |= {"zeros": _is_zero(x), "saturated": (x < low) | (x > high)}
    counted = {name: jnp.sum(mask, axis=reduced, dtype=jnp.int32) for name, mask in masks.items()}
    finite = jnp.isfinite(x)
    n = jnp.maximum(size - _non_finite(counted), 1).astype(work)
    smallest = jnp.min(x, axis=reduced, initial=jnp.inf, where=finite)
    largest = jnp.max(x, axis=reduced, initial=-jnp.inf, where=finite)
    # Divided first, so that a sum of large elements stays in range; where a tiny quotient vanishes, the second pass
    # makes up for it. Rounding may carry the sum past the extremes.
    origin = jnp.sum(jnp.where(finite, x, 0) / per_element(n), axis=reduced)
    origin = jnp.where(largest >= smallest, jnp.clip(origin, smallest, largest), 0)
    reach = jnp.maximum(0.5 * largest - 0.5 * origin, 0.5 * origin - 0.5 * smallest)
    scale, inverse = _powers_of_two(reach)
    d = jnp.where(finite, x * per_element(inverse) - per_element(origin * inverse), 0)
    top, shrink = _powers_of_two(jnp.maximum(jnp.abs(smallest), jnp.abs(largest)))
    abs_mean = top * (jnp.sum(jnp.where(finite, jnp.abs(x) * per_element(shrink), 0), axis=reduced) / n)
    sums = jnp.stack([origin, scale, jnp.sum(d, axis=reduced) / n, jnp.sum(d * d, axis=reduced) / n, abs_mean])
    counts = jnp.stack([counted[name] for name in _COUNTS])
    return Summary(counts, sums, jnp.stack([smallest, largest]), size, saturation)


def check_array(x: Any, axis: int | Sequence[int] | None) -> tuple[int, ...]:
    """The axes of an array that are summed over, or an error where it cannot be summarised."""
    x = x if hasattr(x, "dtype") else jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise ArgumentTypeError(f"x: got dtype {x.dtype}, want real numbers")
    return _reduced_axes(axis, x.ndim)


def _ordered(numbers: Mapping[str, Any]) -> npt.NDArray[Any]:
    """These numbers, by name, as rows in the order of `fields.STATE`."""
    return np.stack([numbers[field.name] for field in STATE if field.name in numbers])


def _non_finite(counted: Mapping[str, Any]) -> Any:
    return counted["nans"] + counted["pos_infs"] + counted["neg_infs"]


def _reduced_axes(axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """The axes that are summed over: all but those of the neurons."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if not axes or not all(-ndim <= a < ndim for a in axes):
        raise ArgumentValueError(f"axis: got {axis!r}, want axes of an array of {ndim} dimensions")
    neurons = {a % ndim for a in axes}
    return tuple(a for a in range(ndim) if a not in neurons)


def _inner_bounds(lo: float, hi: float, work: Any) -> tuple[Any, Any]:
    """The interval in the elements' precision, rounded inwards: there x < lo holds whenever it holds in float64."""
    with np.errstate(over="ignore"):
        low, high = work(lo), work(hi)
    # float(): NumPy would compare in the elements' precision.
    if float(low) < lo:
        low = np.nextafter(low, work(np.inf))
    if float(high) > hi:
        high = np.nextafter(high, work(-np.inf))
    return low, high


def _is_zero(x: Any) -> Any:
    """Compares bits, since devices that flush subnormal numbers take them for zeros in comparisons."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint64 if x.dtype == jnp.float64 else jnp.uint32)
    return bits << 1 == 0


def _powers_of_two(most: Any) -> tuple[Any, Any]:
    """Powers of two that are at least twice `most`, and their inverses: all normal numbers; 1 for 0 and inf."""
    limit = np.finfo(most.dtype).maxexp - 2
    usable = (most > 0) & jnp.isfinite(most)
    exponent = jnp.clip(jnp.where(usable, jnp.frexp(jnp.where(usable, most, 1))[1] + 1, 0), -limit, limit)
    one = jnp.ones_like(most)
    return jnp.ldexp(one, exponent), jnp.ldexp(one, -exponent)
