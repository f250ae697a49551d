"""Oscillation: outputs that swing up and down from step to step, as regularly as no noise does."""

import math
from typing import ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.network import LayerView, Network, rms
from fastact.diagnosis.remedies import LOWER_RATE
from fastact.diagnosis.rule import Outcome, Rule, comes_first
from fastact.diagnosis.thresholds import CommonThresholds, count_field, factor_field, positive_field, share_field
from fastact.history import LayerInfo
from fastact.text import number

#: 1.4826 MAD is the standard deviation of a normal distribution; further than so many is no swing but a spike.
_CLIP: Final = 3.0 * 1.4826
#: The largest share of the largest value that rounding may explain.
_ROUNDING: Final = 1e-9
#: Standard deviations by which an autocorrelation has to differ from that of independent rows.
_DEVIATIONS: Final = 4.0


class OscillatingThresholds(CommonThresholds):
    """What `Oscillating` compares with."""

    oscillate_rows: int = count_field(20, "rows; oscillating: the swings must cover this many. Chosen")
    oscillate_factor: float = factor_field(1.5, "factor; oscillating: the rms swings by this much, up and down. Chosen")
    oscillate_deviations: float = positive_field(
        1.0, "standard deviations of the outputs; oscillating: their mean swings by this many. Chosen"
    )
    oscillate_share: float = share_field(
        0.2, "swings a row; oscillating: at least this many. AUTOTRAINER's share of epochs in which the loss oscillates"
    )
    oscillate_regularity: float = share_field(
        0.66,
        "autocorrelation; oscillating: minus that at half a period, or that at a whole one, is at least this. Chosen",
    )


class Oscillating(Rule[OscillatingThresholds]):
    """A layer whose scale or mean goes up and down, over and over.

    Formula:
        Two series over the rows of the window: the logarithm of the rms, and the mean in units of the median standard
        deviation. A swing is a way from one turning point to the next of at least a factor oscillate_factor (1.5) in
        the rms, or oscillate_deviations (1) in the mean. Found when the swings at the end of the window, with no more
        than 2 / oscillate_share (10) rows from one turning point to the next, cover oscillate_rows (20) rows or more,
        there is one in at least oscillate_share (20%) of them, and they are regular: the autocorrelation at half a
        period (the mean distance of turning points, in rows) is at most -oscillate_regularity (0.66), or at most half
        of that while at a whole period it is at least oscillate_regularity, as with a period of three rows. For it a
        linear trend is taken off and spikes are cut to three robust standard deviations. The first step is that of the
        first of these turning points.

    The first three conditions say that the swings are large and last, the fourth that they are no noise: of independent
    rows two in three are turning points too, and where a batch is small their swings are as large, but their
    autocorrelation is zero, give or take 1 / sqrt(rows): 4 of these deviations are wanted as well, once in 30,000
    times. Rows of NaN or zeros alone are left out. The window is all that it knows: what has gone on for longer began
    at its first row or before.

    Source:
        A swing in 20% of the epochs is AUTOTRAINER's oscillating loss (0.03 in accuracy there). The rest is chosen:
        no layer of the 140 healthy runs in the zoo's tuning part comes up to 0.5 and 3 deviations.
    """

    condition = "oscillating"
    adjective = "oscillating"
    only_alone = True
    symptom = True
    explains: ClassVar = {"oscillating": comes_first}

    def applies(self, info: LayerInfo) -> bool:
        """Every type, except probabilities and what hands its input on; the network's input is judged."""
        return info.layer_type not in layer_types.PROBABILITIES and (
            info.layer_type == "Input" or not layer_types.is_passing(info.layer_type)
        )

    def needs(self, thresholds: OscillatingThresholds) -> int:
        """`oscillate_rows`."""
        return thresholds.oscillate_rows

    def check(self, layer: LayerView, network: Network, thresholds: OscillatingThresholds) -> Finding | Outcome:
        """The swings at the end of the window. Most layers do not move that much at all within the recent rows."""
        if len(layer.rows) < thresholds.oscillate_rows:
            return Outcome.NOT_ENOUGH_DATA
        if network.swing[layer.place] >= thresholds.oscillate_factor:
            scale = rms(layer.rows)
            known = np.isfinite(scale) & (scale > 0.0)
            found = swings(np.log(scale[known]), math.log(thresholds.oscillate_factor), thresholds)
            if found is not None:
                return self._finding(layer, known, found, "rms", scale)
        if not network.wander[layer.place] >= thresholds.oscillate_deviations:  # `not >=` also refuses NaN
            return Outcome.NOT_FOUND
        mean, std = layer.rows["mean"], layer.rows["std"]
        known = np.isfinite(mean) & (std > 0.0) & np.isfinite(std)
        if known.any():
            spread = np.sort(std[known])
            with np.errstate(all="ignore"):
                series = mean[known] / spread[len(spread) // 2]
            if np.isfinite(series).all():
                found = swings(series, thresholds.oscillate_deviations, thresholds)
                if found is not None:
                    return self._finding(layer, known, found, "mean", mean)
        return Outcome.NOT_FOUND

    def _finding(
        self,
        layer: LayerView,
        known: npt.NDArray[np.bool_],
        found: "Swings",
        what: str,
        series: npt.NDArray[np.float64],
    ) -> Finding:
        steps, values = layer.rows["step"][known], series[known][found.first :]
        step = int(steps[found.first])
        ordered = np.sort(values)
        low, high = float(ordered[len(ordered) // 10]), float(ordered[-1 - len(ordered) // 10])
        every = (int(steps[-1]) - step) / max(found.turns, 1)
        data = layer.info.layer_type == "Input"
        evidence = Evidence(
            low=low, high=high, turning_points=found.turns, rows=len(values), steps_per_period=2.0 * every,
            regularity=found.regularity
        )  # fmt: skip
        message = (
            f"{layer.name} has been oscillating since step {step}: the {what} of its outputs swings between "
            f"{number(low)} and {number(high)} with a period of {number(2.0 * every)} steps."
        )
        cause = _INPUT_CAUSE if data else _CAUSE
        remedies = _INPUT_REMEDIES if data else (LOWER_RATE, "use less momentum", *_INPUT_REMEDIES)
        return Finding(layer.info.name, self.condition, "warning", step, evidence, message, cause, remedies)


_CAUSE: Final = (
    "Each update overshoots and the next one swings back: the learning rate is too high. Or the batches alternate "
    "between different sources, or between training and evaluation mode."
)
_INPUT_CAUSE: Final = "The batches alternate between different sources, or only some of them are normalised."
_INPUT_REMEDIES: Final = ("shuffle the sources into each batch", "normalise every batch in the same way")


class Swings(NamedTuple):
    """Swings at the end of a series.

    Attributes:
        first: the place of the first turning point.
        turns: how many turning points there are.
        regularity: minus the autocorrelation at half a period, or that at a whole one.
    """

    first: int
    turns: int
    regularity: float


def swings(values: npt.NDArray[np.float64], size: float, thresholds: OscillatingThresholds) -> Swings | None:
    """The regular swings of at least `size` at the end of a series, as `Oscillating` has it; None where there are none.

    Args:
        values: float64, shape (n,), finite.
        size: the smallest swing.
        thresholds: what else is compared with.

    Example:
        >>> from fastact import Thresholds
        >>> swings(np.array([0.0, 1.0] * 15), 0.5, Thresholds())
        Swings(first=0, turns=29, regularity=0.966...)
    """
    most = 2.0 / thresholds.oscillate_share
    turns = _turns(values.tolist(), size)
    if not turns or len(values) - 1 - turns[-1] > most:
        return None
    place = len(turns) - 1
    while place > 0 and turns[place] - turns[place - 1] <= most:
        place -= 1
    turns = turns[place:]
    if len(turns) < 3:
        return None
    half = (turns[-1] - turns[1]) / (len(turns) - 2)
    # What comes before the first swing has its highest or lowest value anywhere.
    turns[0] = max(turns[0], turns[1] - max(round(half), 1))
    rows = len(values) - turns[0]
    if rows < thresholds.oscillate_rows or len(turns) < thresholds.oscillate_share * rows:
        return None
    opposite, same = _autocorrelations(values[turns[0] :], max(round(half), 1), max(round(2.0 * half), 2))
    regularity = max(-opposite, same if -opposite >= 0.5 * thresholds.oscillate_regularity else 0.0)
    least = max(thresholds.oscillate_regularity, _DEVIATIONS / math.sqrt(rows))
    return Swings(turns[0], len(turns), regularity) if regularity >= least else None


def _turns(values: list[float], size: float) -> list[int]:
    """The places of the highest and lowest values between which the series moves by at least `size`."""
    turns: list[int] = []
    high = low = 0
    rising: bool | None = None
    for place, value in enumerate(values):
        if value > values[high]:
            high = place
        if value < values[low]:
            low = place
        if rising is not False and values[high] - value >= size:
            turns.append(high)
            rising, low = False, place
        elif rising is not True and value - values[low] >= size:
            turns.append(low)
            rising, high = True, place
    return turns


def _autocorrelations(values: npt.NDArray[np.float64], *lags: int) -> list[float]:
    count = len(values)
    time = np.arange(0.5 - 0.5 * count, 0.5 * count)
    # Sums in place of means and clips, which take numpy ten times as long.
    values = values - (float(values.sum()) / count + time * (float(time @ values) / float(time @ time)))
    middle = count // 2
    sizes = np.sort(np.abs(values))
    deviation = float(np.sort(np.abs(values - np.sort(values)[middle]))[middle])
    # Of two levels in turns one is the median, from which half of the values differ by rounding.
    reach = _CLIP * (deviation if deviation > _ROUNDING * sizes[-1] else float(sizes[middle]))
    if not 0.0 < reach < math.inf:
        return [0.0 for _ in lags]
    values = np.minimum(np.maximum(values, -reach), reach)
    total = float(values @ values)
    return [float(values[lag:] @ values[:-lag]) / total for lag in lags]
