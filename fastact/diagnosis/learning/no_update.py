"""Whether layers stand still: outputs that change as batches do, and not from one half of the window to the other."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.evidence import updates
from fastact.diagnosis.evidence.learning_rate import NORMALISED
from fastact.diagnosis.network import LayerView, Network, rms
from fastact.fields import COLUMN
from fastact.text import number

#: Layers and rows of which fewer tell nothing.
_LAYERS: Final = 3
_ROWS: Final = 30
#: Standard errors by which the halves differ: half of the layers by less than the first, none by more than the second.
#: Where nothing changes, half differ by 0.7 and more, and one of 10,000 by the second. Chosen; in training with a usual
#: rate, layers move by ten and more.
_MOST_STAY: Final = 1.5
_ALL_STAY: Final = 4.0
#: Sum of steps of a normalised optimiser, each of about the rate, that shows in weights of usual size. Chosen.
_SHOWS: Final = 0.05
_STEP: Final = COLUMN["step"]


def still(network: Network) -> int:
    """The number of layers with weights, where the outputs of none have changed but as batches differ; else 0."""
    return network.once(_still)


def _still(network: Network) -> int:
    views = [view for view in network.outputs if layer_types.has_weights(view.info.layer_type)]
    if len(views) < _LAYERS or min(len(view.rows) for view in views) < _ROWS:
        return 0
    moved = np.array([_moved(view) for view in views])
    if np.isnan(moved).any() or float(np.median(moved)) > _MOST_STAY or float(moved.max()) > _ALL_STAY:
        return 0
    return len(views)


def _moved(view: LayerView) -> float:
    """By how many standard errors the size of a layer's outputs differs between the halves of the window."""
    values: npt.NDArray[np.float64] = rms(view.rows)
    half = len(values) // 2
    noise = math.sqrt(float(np.square(np.diff(values)).mean()) / 2.0)  # von Neumann's, which no trend adds to
    gap = abs(float(values[half:].mean()) - float(values[:half].mean()))
    if noise == 0.0:
        return 0.0 if gap == 0.0 else math.inf
    return gap / (noise * math.sqrt(1.0 / half + 1.0 / (len(values) - half)))


def causes(network: Network) -> list[Cause]:
    """That updates do not reach the weights, where steps of that rate would have shown with any gradient."""
    count = still(network)
    views = network.typed(layer_types.OPTIMISER)
    if not count or len(views) != 1 or updates.moves(network).ratio > 0.0:
        return []
    known, passed = views[0].rows["max"], float(views[0].last[_STEP] - views[0].oldest)
    normalised = str(views[0].info.facts.get("function", "")).lower() in NORMALISED
    rate = float(known.min())
    if not normalised or not rate * passed >= _SHOWS:
        return []
    moved = f"in {number(passed)} steps at a rate of {number(rate)}, weights move by up to {number(rate * passed)}"
    return [
        Cause(
            "no_update",
            "The optimiser's steps change nothing that shows: gradients are cleared before they are used, or are those "
            "of other parameters.",
            (
                "call zero_grad() before backward(), and nothing but clipping between backward() and step()",
                "make sure that the optimiser holds the parameters of this model",
                "record parameters too, which tells whether they move: weights=True, gradients=True, updates=True",
            ),
            (f"the outputs of all {count} layers with weights differ by no more than batches do", moved),
        )
    ]
