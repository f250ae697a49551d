"""Losses of one's own that do not measure what they should, as far as their first rows prove it."""

import math
from typing import Final

import numpy as np

from fastact.diagnosis import fixes
from fastact.diagnosis.network import LayerView
from fastact.diagnosis.supervised import Mismatch, Supervised
from fastact.text import number

#: Rows. An equation that holds in so many is no chance.
_ROWS: Final = 5
#: Share of the numbers' size by which an equation may be off: losses are summed in 32 bits.
_ROUNDING: Final = 1e-4
#: Rows, and factors. Minus the cost of guessing, within a half, is the logarithm of a probability; after so many rows a
#: loss that has fallen to so many times that is driven by its sign.
_DRIVEN_ROWS: Final = 5
_NEAR: Final = 0.5
_DRIVEN: Final = 2.0


def logarithm_of_scores(s: Supervised, learned: float) -> Mismatch | None:
    """A cross entropy written by hand that takes the logarithm of what no softmax has made a probability."""
    del learned
    if s.function is not None or s.facts.get("logarithm_of") not in ("Linear", "Convolution") or s.output is None:
        return None
    one = s.units == 1 and bool(s.distinct) and set(s.distinct) <= {0.0, 1.0}
    low, high = float(s.output.rows["min"].min()), float(s.output.rows["max"].max())
    if not (s.chooses or one) or not low < 0.0:
        return None
    known = f"the outputs of the last layer are from {number(low)} to {number(high)}"
    what = f"the loss takes the logarithm of the last layer's outputs, which are no probabilities: {known}"
    says = (
        "The logarithm of raw scores, with no softmax or sigmoid, is no cross entropy: it wants outputs large, "
        "whatever the others are, and where they are cut off it has no gradient."
    )
    fix = fixes.two_classes(s.framework) if one else fixes.classes(s.framework, s.units)
    name = "missing_sigmoid" if one else "missing_softmax"
    return Mismatch(name, "serious", what, says, (fix,), (known,))


def plain_difference(s: Supervised, learned: float) -> Mismatch | None:
    """A loss that is the mean of the differences, neither squared nor absolute: it falls without end."""
    del learned
    if s.function is not None or s.output is None or s.target is None or s.facts.get("terms"):
        return None
    # A critic's loss is the difference of what it says of two batches, on purpose.
    if s.facts.get("target_learns") or not s.shape or math.prod(s.shape) != math.prod(s.target_shape):
        return None
    views = (s.loss, s.output, s.target)
    steps = sorted(set.intersection(*(set(view.rows["step"].tolist()) for view in views)))[:_ROWS]
    if len(steps) < _ROWS:
        return None
    if not float(s.loss.rows["mean"].min()) < 0.0:  # where all errors have one sign, absolute ones have the same mean
        return None
    loss, ours, wanted = (_means(view, steps) for view in views)
    size = np.maximum(np.abs(ours), np.abs(wanted)) + 1e-12
    for sign in (1.0, -1.0):
        off = np.abs(loss - sign * (ours - wanted))
        if bool((off <= _ROUNDING * size).all()) and float(np.ptp(loss)) > 10.0 * _ROUNDING * float(size.max()):
            what = "the loss is the mean of the differences between outputs and targets, neither squared nor absolute"
            says = (
                "Errors of one sign make up for those of the other, so that this loss compares nothing: it falls "
                "without a lower bound for as long as the outputs go one way."
            )
            known = f"in {_ROWS} rows the loss is the difference of both means, to rounding"
            return Mismatch("wrong_loss", "critical", what, says, (fixes.values(s.framework, s.units),), (known,))
    return None


def upside_down(s: Supervised, learned: float) -> Mismatch | None:
    """A log-likelihood that is made small: the minus sign of the cross entropy is missing."""
    del learned
    if s.function is not None or not s.chooses or s.facts.get("terms"):
        return None
    values = np.asarray(s.loss.rows["mean"], np.float64)
    guess = math.log(s.units)
    begins = s.loss.start == int(s.loss.rows["step"][0]) and abs(values[0] + guess) <= _NEAR * guess
    if not begins or len(values) < _DRIVEN_ROWS or not (values < 0.0).all():
        return None
    now = float(np.median(values[-3:]))
    if not now < -_DRIVEN * max(guess, 1.0):  # a share of right answers is never below -1
        return None
    what = (
        f"the loss was {number(values[0])} at first, minus what guessing among {s.units:,} classes costs, and is "
        f"{number(now)}"
    )
    says = "The sign of the loss is wrong: it is the logarithm of the right class's probability, which is made small."
    return Mismatch("wrong_sign", "critical", what, says, ("put a minus sign before the logarithm",), (what,))


def _means(view: LayerView, steps: list[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rows = view.rows[np.isin(view.rows["step"], steps)]
    return np.asarray(rows["mean"], np.float64)
