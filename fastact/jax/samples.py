"""What of predictions and targets leaves the device: all of a small batch; of a large one a summary and a part.

The facts of the first batch, and what a constant answer is worth, need some of the numbers themselves. A graph cannot
know which batch is the first, so it hands them over in each step, and the host looks at those of the first ones.
"""

import math
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from fastact.jax.summary import Summary, summarize
from fastact.monitor.sampled import Sampled

#: Elements that leave the device: 64 KB, which no training step is late for.
MOST: Final = 16_384
#: Shape and dtype of an array, which are known when it is traced.
Layout = tuple[tuple[int, ...], str]
#: What lies outside is no probability, and counts as saturated.
_PROBABILITIES: Final = (0.0, 1.0)


def sampled(x: Any, axis: int | None, units: int, *, summary: bool = True) -> tuple[Summary | None, Any]:
    """In the graph: what `on_host` makes the array of.

    Args:
        x: predictions or targets.
        axis: the neurons' axis of the summary.
        units: the axis of the classes or units, of which the sample has all.
        summary: whether to sweep it, if it is large; False where a layer's row has the numbers.
    """
    x = jax.lax.stop_gradient(jnp.asarray(x))
    if x.size <= MOST:
        return None, x
    found = summarize(x, axis=axis, saturation=_PROBABILITIES) if summary else None
    return found, x[_corner(x.shape, units)]


def _corner(shape: tuple[int, ...], units: int) -> tuple[slice, ...]:
    """The first samples, as many as there is room for; of samples larger than that a corner of the first one."""
    whole = units % len(shape)
    room = MOST // max(shape[whole], 1)
    corner = [slice(size) for size in shape]
    for place in reversed([place for place in range(len(shape)) if place != whole]):
        size = min(shape[place], max(room, 1))
        corner[place] = slice(size)
        room //= size
    return tuple(corner)


def on_host(parts: tuple[Summary | None, Any], layout: Layout) -> Any:
    """The array itself, or a `Sampled` with what is known of it."""
    summary, sample = parts
    shape, dtype = layout
    if math.prod(shape) <= MOST:
        return np.asarray(sample)
    return Sampled(None if summary is None else summary.stats(), np.asarray(sample), shape, dtype)
