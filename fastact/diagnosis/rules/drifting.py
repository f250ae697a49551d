"""Drift: a layer whose scale changed abruptly, in the middle of training, and stayed changed."""

import math
from typing import ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.network import LayerView, Network, rms
from fastact.diagnosis.remedies import CLIP_GRADIENTS, LOWER_RATE
from fastact.diagnosis.rule import Outcome, Rule, comes_first
from fastact.diagnosis.thresholds import CommonThresholds, count_field, factor_field, positive_field, share_field
from fastact.history import LayerInfo
from fastact.text import number

#: What makes the median absolute deviation of a normal distribution its standard deviation.
_MAD: Final = 1.4826


class DriftingThresholds(CommonThresholds):
    """What `Drifting` compares with."""

    drift_rows: int = count_field(20, "rows; drifting: this many must come before the change. Chosen")
    drift_factor: float = factor_field(4.0, "factor; drifting: the median rms changes by this much, up or down. Chosen")
    drift_deviations: float = positive_field(
        6.0,
        "robust standard deviations (1.4826 MAD); drifting: the median of log rms changes by this many. trainscope's "
        "CUSUM and OLMo-core's spike filter use 6",
    )
    drift_chance: float = share_field(
        1e-6, "probability; drifting: the largest chance of Pettitt's statistic without a change. Chosen"
    )


class Drifting(Rule[DriftingThresholds]):
    """A sudden change of a layer's scale, up or down, that lasts.

    Formula:
        y = log rms of the rows in the window that have finite elements. Pettitt's test finds the row at which y is
        likeliest to have changed: U(k) = 2 sum of the ranks of y[:k] - k (n + 1), K = max |U(k)|,
        p = 2 exp(-6 K^2 / (n^3 + n^2)). Found when p <= drift_chance (1e-6), the medians before and after differ by
        drift_factor (4) or more, in rms, and by drift_deviations (6) or more in units of 1.4826 MAD, the robust
        standard deviation around each side's own median; with at least drift_rows (20) rows before, recent_rows after,
        the min_rows rows on either side of the change by the factor apart as well, and the last min_rows rows still as
        far from where it was. The first step is that of the change.

    Training moves every layer, so slow changes are not judged: the two halves of a steady rise, however steep, differ
    by 2.7 of these deviations. Where a plateau ends and a network begins to learn, its layers grow fivefold and more
    within some tens of rows, and stay there; healthy ones of the zoo did so in 7 of 94 runs. That is no step: the rows
    on either side differ little. Nor are the first rows judged, in which much happens quickly. Rows of NaN are left
    out.

    Source:
        Pettitt, A non-parametric approach to the change-point problem, Applied Statistics 1979. 1.4826 MAD: Rousseeuw
        and Croux, Alternatives to the median absolute deviation, JASA 1993; 6 of them is the limit of trainscope's
        CUSUM and of OLMo-core's spikes. Factor and rows chosen.
    """

    condition = "drifting"
    adjective = "changed abruptly"
    only_alone = True
    symptom = True
    explains: ClassVar = {"drifting": comes_first}

    def applies(self, info: LayerInfo) -> bool:
        """Every type, except probabilities, which crowd at a bound as they become certain."""
        return info.layer_type not in layer_types.PROBABILITIES

    def needs(self, thresholds: DriftingThresholds) -> int:
        """The rows before and after."""
        return thresholds.drift_rows + thresholds.recent_rows

    def check(self, layer: LayerView, network: Network, thresholds: DriftingThresholds) -> Finding | Outcome:
        """The change in the window, if there is one. Most layers have not moved by the factor at all."""
        if len(layer.rows) < self.needs(thresholds):
            return Outcome.NOT_ENOUGH_DATA
        if not network.range[layer.place] >= thresholds.drift_factor:
            return Outcome.NOT_FOUND
        scale = rms(layer.rows)
        known = np.isfinite(scale) & (scale > 0.0)
        steps, logs = layer.rows["step"][known], np.log(scale[known])
        if len(logs) < self.needs(thresholds):
            return Outcome.NOT_ENOUGH_DATA
        found = shift(logs)
        change = found.after - found.before
        least = math.log(thresholds.drift_factor)
        still = _median(logs[-thresholds.min_rows :]) - found.before
        place, near = found.place, thresholds.min_rows
        if (
            place < max(thresholds.drift_rows, near)
            or len(logs) - place < thresholds.recent_rows
            or found.chance > thresholds.drift_chance
            or abs(change) < least
            or abs(change) < thresholds.drift_deviations * found.deviation
            or abs(_median(logs[place : place + near]) - _median(logs[place - near : place])) < least
            or still * math.copysign(1.0, change) < least
        ):
            return Outcome.NOT_FOUND
        step = int(steps[place])
        before, after = math.exp(found.before), math.exp(found.after)
        evidence = Evidence(
            rms_before=before, rms_after=after, factor=math.exp(change),
            deviations=abs(change) / found.deviation if found.deviation > 0.0 else None, chance=found.chance,
            rows_before=place, rows_after=len(logs) - place
        )  # fmt: skip
        message = (
            f"{layer.name} changed abruptly at step {step}: the rms of its outputs "
            f"{'rose' if change > 0.0 else 'fell'} from {number(before)} to {number(after)} and stayed there."
        )
        return Finding(layer.info.name, self.condition, "warning", step, evidence, message, _CAUSE, _REMEDIES)


_CAUSE: Final = (
    "Something changed at that step (the data, the learning rate, training or evaluation mode, which layers are "
    "frozen), or an update was too large."
)
_LOOK: Final = "look at what changed at that step: the data, a schedule, a checkpoint, a switch to evaluation"
_REMEDIES: Final = (_LOOK, CLIP_GRADIENTS, LOWER_RATE)


class Shift(NamedTuple):
    """The likeliest change in a series.

    Attributes:
        place: the first place after it.
        chance: how likely so large a statistic is without any change, at most (Pettitt's approximation).
        before, after: the medians of the two sides.
        deviation: 1.4826 times the median absolute deviation of both sides around their own medians.
    """

    place: int
    chance: float
    before: float
    after: float
    deviation: float


def shift(values: npt.NDArray[np.float64]) -> Shift:
    """Finds the likeliest place of a change by Pettitt's test (`Drifting`): float64, shape (n,), finite, n >= 2.

    Example:
        >>> found = shift(np.array([1.0, 1.1, 0.9, 1.0, 5.0, 5.1, 4.9, 5.0]))
        >>> found.place, found.before, found.after
        (4, 1.0, 5.0)
    """
    count = len(values)
    ordered = np.sort(values)
    # Values that are equal have one rank, the mean of their places.
    ranks = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") + 1) / 2.0
    statistic = np.abs(2.0 * np.cumsum(ranks)[:-1] - np.arange(1, count) * (count + 1.0))
    place = int(statistic.argmax()) + 1
    top = float(statistic[place - 1])
    chance = min(2.0 * math.exp(-6.0 * top * top / (float(count) ** 3 + float(count) ** 2)), 1.0)
    before, after = _median(values[:place]), _median(values[place:])
    off = np.concatenate((np.abs(values[:place] - before), np.abs(values[place:] - after)))
    return Shift(place, chance, before, after, _MAD * _median(off))


def _median(values: npt.NDArray[np.float64]) -> float:
    """np.median without what it does for other shapes and NaN, in a tenth of the time."""
    ordered = np.sort(values)
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2.0
