"""How fast a positive number grows from step to step, and when it will reach a bound: a robust log-linear fit."""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

#: Standard deviations to either side that hold 95% of a normal distribution.
_Z95: Final = 1.959964


class Trend(NamedTuple):
    """A number's growth: the change of its natural logarithm per step.

    Attributes:
        top: the step of its largest value, up to which it was fitted.
        rate: the median of the slopes.
        low: lower 95% bound of the rate; NaN with fewer than six slopes, which bound nothing.
        high: upper 95% bound of the rate; NaN likewise.
    """

    top: int
    rate: float
    low: float
    high: float

    def evidence(self) -> dict[str, float | None]:
        """The growth per step and its bounds as factors, for a finding's evidence."""
        low, high = _factor(self.low), _factor(self.high)
        return {"growth_per_step": _factor(self.rate), "growth_per_step_low": low, "growth_per_step_high": high}


def _factor(rate: float) -> float | None:
    return round(math.exp(rate), 12) if rate < 700.0 else None


def reaches(limit: float, step: int, value: float, rate: float) -> int | None:
    """The first step at which what is `value` at `step` and grows at `rate` is at least `limit`; None if it never is.

    Example:
        >>> reaches(65504.0, step=5, value=1000.0, rate=math.log(10.0))
        7
    """
    left = math.log(limit) - math.log(value)
    if left <= 0.0:
        return step
    if not rate > 0.0:  # NaN too
        return None
    ahead = left / rate
    return step + math.ceil(ahead) if ahead < 2.0**53 else None


def growth(steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> Trend | None:
    """Fits the way of a positive number to its top; None where there is no way to tell.

    Formula:
        Theil's incomplete method: of the n rows up to the largest value, row i is paired with row i + n/2, and the
        rate is the median of the pairs' slopes of log value over step. The pairs share no row, so the slopes are
        independent and the median lies between their order statistics (m - 1 -+ 1.96 sqrt(m))/2 with 95% confidence,
        whatever the distribution. Up to 29% of the rows may be anything.

    Source:
        Theil, A rank-invariant method of linear and polynomial regression analysis, 1950. Thompson, On confidence
        ranges for the median, Annals of Mathematical Statistics 1936.

    Args:
        steps: int64, shape (rows,), rising.
        values: float64, shape (rows,); rows that are not finite and positive are left out.

    Example:
        >>> trend = growth(np.arange(6), 10.0 ** np.arange(6))
        >>> round(math.exp(trend.rate), 6), trend.top
        (10.0, 5)
    """
    good = (values > 0.0) & (values < np.inf)
    if np.count_nonzero(good) < max(len(values), 2):
        steps, values = steps[good], values[good]
        if len(values) < 2:
            return None
    logs = np.log(values)
    return _fitted(steps[None], logs[None], int(logs.argmax()) + 1)[0]


def growths(steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> list[Trend | None]:
    """`growth` of several numbers with as many rows each: both arrays have shape (numbers, rows)."""
    whole = np.asarray(((values > 0.0) & (values < np.inf)).all(axis=1))
    found = [None if fine else growth(steps[at], values[at]) for at, fine in enumerate(whole.tolist())]
    places = np.flatnonzero(whole)
    if not len(places) or values.shape[1] < 2:
        return found
    logs = np.log(values[places])
    tops = logs.argmax(axis=1) + 1
    for top in set(tops.tolist()):
        own = tops == top
        for place, trend in zip(places[own].tolist(), _fitted(steps[places[own]], logs[own], top), strict=True):
            found[place] = trend
    return found


def _fitted(steps: npt.NDArray[np.int64], logs: npt.NDArray[np.float64], top: int) -> list[Trend | None]:
    """The trends of numbers, given their logarithms, that all have their top in the same row."""
    half = top // 2
    if half == 0:
        return [None] * len(logs)
    gap = steps[:, half:top] - steps[:, : top - half]
    apart = (gap != 0).all(axis=1)  # not of rows of one step
    with np.errstate(all="ignore"):
        slopes = (logs[:, half:top] - logs[:, : top - half]) / gap
    slopes.sort(axis=1)
    count = slopes.shape[1]
    low = high = [math.nan] * len(logs)
    if count >= 6:  # the extremes of six bound the median at 97%, those of five at 94%
        place = max(math.floor((count - 1 - _Z95 * math.sqrt(count)) / 2.0), 0)
        low, high = slopes[:, place].tolist(), slopes[:, count - 1 - place].tolist()
    rates = ((slopes[:, (count - 1) // 2] + slopes[:, count // 2]) / 2.0).tolist()
    each = zip(steps[:, top - 1].tolist(), rates, low, high, apart.tolist(), strict=True)
    return [Trend(*trend) if fine else None for *trend, fine in each]
