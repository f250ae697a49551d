"""How a loss goes: its level now and how sure that is, whether it falls, how long that takes, and since when.

A loss is noisy, since batches differ, and all that is known of long ago is its first row. So each number comes with its
error, and where that is too large to tell, nothing is told.
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

#: Rows of which fewer tell neither a level nor a slope.
LEAST: Final = 8
#: Standard errors by which a loss must fall to be falling: noise alone does so in 1 of 160.
_SURE: Final = 2.5
#: Share by which sums round, however little the noise.
_ROUNDING: Final = 1e-9
#: Rows whose mean is one level, in the search for when it was another one.
_BLOCK: Final = 8


class Progress(NamedTuple):
    """A loss over its recent rows.

    Attributes:
        rows: finite rows.
        now: the mean of their later half.
        error: its standard error, from the differences of neighbouring rows, which a trend hardly changes.
        noise: the standard deviation of a row about the trend.
        pace: by how much it falls from row to row, where that is more than noise: the larger of those over all rows and
            over the later half; 0 where it does not fall.
        rises: whether it rises by more than noise.
    """

    rows: int
    now: float
    error: float
    noise: float
    pace: float
    rises: bool

    @property
    def least(self) -> float:
        """What it is at least, with 97.5% confidence."""
        return self.now - 2.0 * self.error

    @property
    def most(self) -> float:
        """What it is at most, likewise."""
        return self.now + 2.0 * self.error

    def rows_to(self, level: float) -> float:
        """How many more rows it takes to fall to a level at this pace; inf where it does not fall."""
        left = self.now - level
        if left <= 0.0:
            return 0.0
        return left / self.pace if self.pace > 0.0 else math.inf


def progress(values: npt.NDArray[np.float64]) -> Progress | None:
    """How a loss goes over its recent rows; None where there are too few finite ones.

    Formula:
        noise² = mean (x[i+1] - x[i])² / 2 (von Neumann), the error of the mean of m rows noise / sqrt(m), the slope by
        least squares, with the standard error noise sqrt(12 / n³).

    Source:
        von Neumann, Kent, Bellinson, Hart, The mean square successive difference, Ann. Math. Statist. 1941.

    Args:
        values: float64, shape (rows,), oldest first; what is not finite is left out.

    Example:
        >>> round(progress(np.linspace(2.0, 1.0, 51)).rows_to(0.0), 6)
        62.5
    """
    values = values[np.isfinite(values)]
    count = len(values)
    if count < LEAST:
        return None
    later = values[count // 2 :]
    with np.errstate(over="ignore", invalid="ignore"):
        noise = math.sqrt(float(np.square(np.diff(values)).mean()) / 2.0)
        slopes = [_slope(values, noise), _slope(later, noise)]
        now = float(later.mean())
    if not math.isfinite(noise) or not math.isfinite(now):
        return None
    least = _ROUNDING * abs(now) / count
    pace = max([-slope for slope, error in slopes if -slope > max(_SURE * error, least)], default=0.0)
    slope, error = slopes[0]
    return Progress(count, now, noise / math.sqrt(len(later)), noise, pace, slope > max(_SURE * error, least))


def _slope(values: npt.NDArray[np.float64], noise: float) -> tuple[float, float]:
    """The change from row to row, and its standard error."""
    count = len(values)
    place = np.arange(count) - (count - 1) / 2.0
    spread = float(np.square(place).sum())
    return float(place @ values) / spread, noise / math.sqrt(spread)


def rows_at_last(values: npt.NDArray[np.float64], level: float) -> float:
    """How many more rows a loss takes to fall to a level at the pace of its later half; inf for never.

    Example:
        >>> rows_at_last(np.r_[np.linspace(4.0, 2.0, 20), np.full(20, 2.0)], 1.0)
        inf
    """
    late = progress(values[len(values) // 2 :])
    return math.inf if late is None else late.rows_to(level)


def rows_by_factors(values: npt.NDArray[np.float64], level: float) -> float:
    """How many more rows a loss takes to a level above zero at the pace, in factors, of its later half; inf for never.

    Example:
        >>> round(rows_by_factors(0.5 ** np.arange(40.0), 0.5**60))
        25
    """
    later = values[len(values) // 2 :]
    later = np.log(later[np.isfinite(later) & (later > 0.0)])
    if len(later) < LEAST or level <= 0.0:
        return math.inf
    slope, _ = _slope(later, 0.0)
    left = float(later[len(later) // 2 :].mean()) - math.log(level)
    return max(left, 0.0) / -slope if slope < 0.0 else math.inf


def since(values: npt.NDArray[np.float64], level: float) -> int:
    """The place of the row since which a loss has been at a level or above, but for noise; 0 where it always was.

    Blocks of rows are asked, so that a single batch ends nothing.

    Example:
        >>> since(np.array([1.0] * 20 + [2.0] * 20), 1.8)
        20
    """
    if len(values) <= _BLOCK:
        return 0
    filled = np.where(np.isfinite(values), values, level)
    means = np.convolve(filled, np.full(_BLOCK, 1.0 / _BLOCK), mode="valid")  # means[i] is that of rows i to i + block
    below = np.flatnonzero(means < level)
    if not len(below):
        return 0
    # The last block that lies below ends in rows that are above: it began with the first of these.
    start = int(below[-1])
    inside = np.flatnonzero(filled[start : start + _BLOCK] < level)
    return min(start + int(inside[-1]) + 1, len(values) - 1)
