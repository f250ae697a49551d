"""Whether weights are still as their layer's initialisers drew them, so that nothing was ever learned into them.

It matters where they stay so: a base that is frozen as pretrained ones are, and never was trained.
"""

import math
from collections.abc import Iterable
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

#: Elements from which on a distribution is told by its width.
_LEAST: Final = 30
#: Elements that are looked at.
_MOST: Final = 1 << 20
#: How far beyond its end rounding puts a number, as a share of it.
_ROUNDING: Final = 1e-4
#: In how many standard deviations a truncated normal ends, and how much narrower that makes it.
_ENDS: Final = 2.0
_NARROWER: Final = 0.87962566103423978


def is_untrained(layer: Any, variables: Iterable[Any]) -> bool:
    """Whether all of these weights of a layer are what its initialisers make, as far as they can be told.

    False where any is not, or where nothing random is among them.

    Args:
        layer: the innermost layer that has them.
        variables: its weights.
    """
    found = [_is_initial(_initialiser(layer, variable), variable) for variable in variables]
    return all(each is not None for each in found) and any(found)


def _initialiser(layer: Any, variable: Any) -> Any:
    name = str(variable.name)
    own = getattr(layer, f"{name}_initializer", None) or getattr(
        layer, f"{name.removesuffix('_kernel')}_initializer", None
    )
    return own or (getattr(layer, "depthwise_initializer", None) if name == "kernel" else None)


def _is_initial(initialiser: Any, variable: Any) -> bool | None:
    """True for what it surely drew, False for what it may have set or drawn, None for what it did not make."""
    kinds, x = keras.initializers, np.asarray(keras.ops.convert_to_numpy(variable.value), np.float64)
    if x.size > _MOST or not x.size or not np.isfinite(x).all():
        return None
    if variable.name == "bias" and set(np.unique(x)) <= {0.0, 1.0}:  # that of a gate that begins open
        return False
    if isinstance(initialiser, kinds.Zeros | kinds.Ones | kinds.Constant):
        value = getattr(initialiser, "value", float(isinstance(initialiser, kinds.Ones)))
        return False if isinstance(value, int | float) and bool((x == np.float32(value)).all()) else None
    if isinstance(initialiser, kinds.Orthogonal):
        return True if x.ndim > 1 and _is_orthogonal(x, float(initialiser.gain)) else None
    drawn = _drawn(initialiser, x.shape)
    # A handful within its bounds may be drawn, and proves nothing.
    return x.size >= _LEAST if drawn is not None and _is_drawn(x, *drawn) else None


def _drawn(initialiser: Any, shape: tuple[int, ...]) -> tuple[float, float, float] | None:
    """The mean, the standard deviation and the farthest distance from the mean of what an initialiser draws."""
    kinds = keras.initializers
    if isinstance(initialiser, kinds.RandomUniform):
        low, high = float(initialiser.minval), float(initialiser.maxval)
        reach = (high - low) / 2.0
        return (low + high) / 2.0, reach / math.sqrt(3.0), reach
    if isinstance(initialiser, kinds.TruncatedNormal):
        mean, std = float(initialiser.mean), float(initialiser.stddev)
        return mean, std * _NARROWER, std * _ENDS
    if isinstance(initialiser, kinds.RandomNormal):
        return float(initialiser.mean), float(initialiser.stddev), math.inf
    if not isinstance(initialiser, kinds.VarianceScaling):
        return None
    field = math.prod(shape[:-2]) if len(shape) > 2 else 1
    fan_in, fan_out = (shape[-2] * field, shape[-1] * field) if len(shape) > 1 else (shape[0], shape[0])
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}
    std = math.sqrt(float(initialiser.scale) / max(1.0, fans[initialiser.mode]))
    if initialiser.distribution == "uniform":
        return 0.0, std, std * math.sqrt(3.0)
    return 0.0, std, math.inf if initialiser.distribution == "untruncated_normal" else std / _NARROWER * _ENDS


def _is_drawn(x: npt.NDArray[np.float64], mean: float, std: float, reach: float) -> bool:
    """Whether numbers are within reach, and as wide as so many of them are by chance."""
    if float(np.abs(x - mean).max()) > reach * (1.0 + _ROUNDING):
        return False
    chance = 4.0 / math.sqrt(x.size)  # four standard errors of a standard deviation, and more
    return abs(float(x.std()) / std - 1.0) <= chance and abs(float(x.mean()) - mean) <= chance * std


def _is_orthogonal(x: npt.NDArray[np.float64], gain: float) -> bool:
    flat = x.reshape(-1, x.shape[-1])
    flat = flat if flat.shape[0] <= flat.shape[1] else flat.T
    return bool(np.allclose(flat @ flat.T, gain * gain * np.eye(len(flat)), atol=1e-3 * gain * gain))
