"""What a loss was multiplied by before the backward pass, by the gradient that came to what it was given.

Of a mean over samples the gradient of the predictions is known: 2 error / n of squares, (probability - target) /
samples of cross entropies. What comes, next to that, is what the loss was multiplied by: the 1 / n of an average that
is taken twice, say.
"""

import math
from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.evidence import baselines
from fastact.diagnosis.evidence.supervised import Supervised, of
from fastact.diagnosis.network import Network
from fastact.fields import COLUMN
from fastact.text import number

_MAX: Final = COLUMN["max"]
#: Rows that say the same, and the factor within which they do: cross entropies tell the size of errors roughly.
_ROWS: Final = 5
_ALIKE: Final = 3.0
#: What a loss is multiplied by, at most, that no accumulation of gradients divides by; chosen.
_LIGHT: Final = 5e-3
#: Step of plain descent, rate times weight, that learns with no usual gradients; of momentum its reach counts.
_STEP: Final = 0.02


def made_light(network: Network) -> str:
    """That the loss counts for next to nothing, under plain descent at a rate that does not make up for it; else ""."""
    return network.once(_made_light)


def _made_light(network: Network) -> str:
    losses = baselines.losses(network)
    optimisers = network.typed(layer_types.OPTIMISER)
    if len(losses) != 1 or len(optimisers) != 1 or optimisers[0].info.facts.get("function") != "SGD":
        return ""
    weight = weight_of(of(losses[0], network), network)
    rate, momentum = float(optimisers[0].last[_MAX]), optimisers[0].info.facts.get("momentum")
    reach = 1.0 / max(1.0 - momentum, 0.01) if isinstance(momentum, float) else 1.0
    if math.isnan(weight) or weight > _LIGHT or rate * reach * weight > _STEP:
        return ""
    return f"the loss is multiplied by about {number(weight)} before the backward pass, by the gradient of its outputs"


def weight_of(s: Supervised, network: Network) -> float:
    """What a mean loss was multiplied by; NaN where that cannot be told.

    Args:
        s: the loss with what it compares.
        network: any.
    """
    view = s.layer if s.layer is not None and s.layer is s.output else None
    gradient = None if view is None else network.everything.get(view.info.name + layer_types.GRADIENT_SUFFIX)
    if s.function is None or gradient is None or s.facts.get("weighted") or s.facts.get("form"):
        return math.nan
    if s.facts.get("reduction", "mean") != "mean" or str(gradient.info.dtype) in ("float16", "bfloat16"):
        return math.nan
    steps, places, own = np.intersect1d(s.loss.rows["step"], gradient.rows["step"], return_indices=True)
    if len(steps) < _ROWS:
        return math.nan
    values = np.asarray(s.loss.rows["mean"], np.float64)[places]
    rows = gradient.rows[own]
    with np.errstate(all="ignore"):
        sizes = np.hypot(rows["mean"], rows["std"])
        expected = _expected(s, values, np.asarray(rows["count"], np.float64))
        weights = sizes / expected
    weights = weights[np.isfinite(weights) & (weights > 0.0)]
    if len(weights) < _ROWS or not weights.max() <= _ALIKE * weights.min():
        return math.nan
    return float(np.median(weights))


def _expected(
    s: Supervised,
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    count: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The root mean square of the gradient of the predictions, of losses as they are; NaN where no formula tells."""
    if s.function is not None and s.function.name == "mean_squared_error":
        return 2.0 * np.sqrt(values) / count
    if s.function is not None and s.function.name == "binary_cross_entropy_with_logits":
        return (1.0 - np.exp(-values)) / count
    if s.function is not None and s.function.name == "cross_entropy" and s.units > 1:
        return (1.0 - np.exp(-values)) * math.sqrt(s.units) / count
    return np.full(len(values), math.nan)
