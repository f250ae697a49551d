"""A loss that is made large in place of small, proved by the gradient that comes to what it was given.

Whatever a network has learned, a cross entropy pulls up the class that is right by all that it pushes the others down
by: of the gradients of its scores the largest is below zero. And a square, or a binary cross entropy, pulls the mean of
its predictions towards that of the targets. Where the gradients say the opposite in each step, the sign is wrong.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.evidence import baselines
from fastact.diagnosis.evidence.supervised import Supervised, of
from fastact.diagnosis.network import LayerView, Network

#: Rows that say so, of which none says the opposite; the factor by which a gradient is the larger; and the share of the
#: targets' spread by which means have to differ before a row says anything.
_ROWS: Final = 5
_LARGER: Final = 1.05
_APART: Final = 0.05
#: Deviation of logits up to which the mean of their probabilities is about the probability of their mean.
_NARROW: Final = 1.0


def turned(loss: LayerView, network: Network) -> int:
    """In how many rows the gradient of the predictions points away from the targets; 0 where any says the opposite."""
    s = of(loss, network)
    made = s.layer if s.layer is not None and s.layer is s.output else None
    gradient = None if made is None else network.everything.get(made.info.name + layer_types.GRADIENT_SUFFIX)
    if made is None or gradient is None or s.function is None or len(baselines.losses(network)) != 1:
        return 0
    if s.facts.get("form") or s.facts.get("part"):
        return 0
    name = s.function.name
    # A sample's weight is that of all its scores; smoothed labels pull at two of them.
    by_class = name == "cross_entropy" and s.facts.get("weights_told") and not s.facts.get("label_smoothing")
    if s.facts.get("weighted") and not by_class:
        return 0
    if name == "cross_entropy" and s.units > 2 and s.targets_are_classes:
        rows = gradient.rows
        with np.errstate(all="ignore"):
            up, down = np.asarray(rows["max"], np.float64), -np.asarray(rows["min"], np.float64)
        known = np.isfinite(up) & np.isfinite(down) & (np.maximum(up, down) > 0.0)
        away, towards = known & (up > _LARGER * down), known & (down > _LARGER * up)
        return _count(away, towards)
    if name in ("mean_squared_error", "binary_cross_entropy_with_logits") and s.target is not None:
        return _by_means(s, made, gradient)
    return 0


def _by_means(s: Supervised, made: LayerView, gradient: LayerView) -> int:
    """The same of a loss that pulls the mean of its predictions towards that of the targets."""
    assert s.target is not None
    assert s.function is not None
    views = made, s.target, gradient
    steps = [np.asarray(view.rows["step"]) for view in views]
    common = np.intersect1d(np.intersect1d(steps[0], steps[1]), steps[2])
    ours, wanted, pull = (view.rows[np.searchsorted(own, common)] for view, own in zip(views, steps, strict=True))
    with np.errstate(all="ignore"):
        answer, spread = np.asarray(ours["mean"], np.float64), np.asarray(wanted["std"], np.float64)
        if s.function.name != "mean_squared_error":
            answer = np.where(np.asarray(ours["std"]) < _NARROW, 1.0 / (1.0 + np.exp(-answer)), math.nan)
        apart = answer - np.asarray(wanted["mean"], np.float64)
        way = np.sign(apart) * np.sign(np.asarray(pull["mean"], np.float64))
        known = np.isfinite(apart) & np.isfinite(way) & (np.abs(apart) > _APART * spread)
        return _count(known & (way < 0.0), known & (way > 0.0))


def _count(away: npt.NDArray[np.bool_], towards: npt.NDArray[np.bool_]) -> int:
    count = int(away.sum())
    return count if count >= _ROWS and not towards.any() else 0


def causes(loss: LayerView, network: Network) -> list[Cause]:
    """The wrong sign, where it is proved."""
    count = turned(loss, network)
    if not count:
        return []
    said = (
        f"the gradient of its predictions points away from the targets in {count:,} of the recorded steps, and towards "
        "them in none"
    )
    return [
        Cause(
            "wrong_sign",
            "The loss is made large in place of small: a minus sign is missing, or one too many.",
            ("minimise the loss itself, not its negative", "set maximize=False in the optimiser"),
            (said,),
            proved=True,
        )
    ]
