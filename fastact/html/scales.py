"""From numbers to places: linear, logarithmic and symmetric-logarithmic scales, and the numbers beside an axis."""

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from fastact.text import number

Floats = npt.NDArray[np.float64]
Shape = Literal["linear", "log", "symlog"]
#: A size that spans at least so many times its least value is drawn on a logarithmic scale.
_WIDE: Final = 30.0
#: The powers of ten that a symmetric logarithm shows on each side of zero.
_DECADES: Final = 6.0
#: The share of the largest number that a logarithmic scale of colours ends at.
_DISTINCT: Final = 1e-12
#: Of fewer numbers none is an outlier.
_FEW: Final = 40


class Scale:
    """Takes numbers to [0, 1] between `low` and `high`; what lies outside goes to the nearer end.

    Args:
        shape: "linear", "log" (for positive numbers), or "symlog": logarithmic on both sides of zero.
        low: the number at 0.
        high: the number at 1, larger than `low`.
    """

    def __init__(self, shape: Shape, low: float, high: float) -> None:
        self.shape, self.low, self.high = shape, low, high
        self._unit = max(abs(low), abs(high)) / 10.0**_DECADES or 1.0
        self._from, self._to = (float(self._bent(np.array(end))) for end in (low, high))

    def __call__(self, values: Floats) -> Floats:
        """Places of the same shape; NaN stays NaN."""
        span = self._to - self._from
        found: Floats = np.clip((self._bent(values) - self._from) / (span or 1.0), 0.0, 1.0)
        return found

    def _bent(self, values: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.shape == "log":
                return np.log(np.maximum(values, self.low))
            if self.shape == "symlog":
                bent: Floats = np.sign(values) * np.log1p(np.abs(values) / self._unit)
                return bent
        return values

    def ticks(self, most: int = 4) -> list[float]:
        """Round numbers between its ends, rising."""
        if self.shape == "symlog":
            half = _powers(
                max(abs(self.low), abs(self.high)) / 10.0 ** (_DECADES / 2), max(abs(self.low), abs(self.high)), 2
            )
            return [x for x in (*(-h for h in reversed(half)), 0.0, *half) if self.low <= x <= self.high]
        if self.shape == "log" and self.high / self.low > 10.0:
            return _powers(self.low, self.high, most)
        return round_numbers(self.low, self.high, most)


def _powers(low: float, high: float, most: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    by = max(1, -(-(last - first + 1) // most))
    return [10.0**power for power in range(first, last + 1, by)]


def round_numbers(low: float, high: float, most: int = 4) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, about `most` of them.

    Example:
        >>> round_numbers(0.0, 299.0)
        [0.0, 100.0, 200.0]
    """
    span = high - low
    if not 0.0 < span < math.inf:
        return [low]
    rough = span / max(most, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    by = next((power * nice for nice in (1.0, 2.0, 5.0) if power * nice >= rough * 0.999), power * 10.0)
    first = math.ceil(low / by - 1e-9)
    return [place * by for place in range(first, math.floor(high / by + 1e-9) + 1)]


def ends_of(values: Floats) -> tuple[float, float]:
    """The least and the largest number, without the few at either end that would leave the others no room.

    Of numbers in units in which distance is what is seen: their logarithms, for a logarithmic scale. Left out is less
    than 5% at an end, beyond three times the spread of the middle half, where it would take two thirds of the scale.

    Example:
        >>> ends_of(np.append(np.linspace(0.0, 1.0, 100), 50.0))
        (0.0, 1.0)
    """
    ordered = np.sort(values, axis=None)
    last = len(ordered) - 1
    low, high = float(ordered[0]), float(ordered[-1])
    if last < _FEW:
        return low, high
    first, lower, upper, final = (float(ordered[int(share * last)]) for share in (0.05, 0.25, 0.75, 0.95))
    reach = 3.0 * (upper - lower)
    inside = ordered[(ordered >= min(first, lower - reach)) & (ordered <= max(final, upper + reach))]
    least, most = float(inside[0]), float(inside[-1])
    room = 2.0 * (most - least)
    if not 0.0 < room < np.inf:
        return low, high
    inside = ordered[(ordered >= least - room) & (ordered <= most + room)]
    return float(inside[0]), float(inside[-1])


def scale_of(
    values: Sequence[Floats], kind: str, shape: Shape | None = None, *, exact: bool = False
) -> tuple[Scale, bool, bool]:
    """The scale for some numbers of a kind of statistic ("share", "size" or "signed").

    Returns the scale, and whether numbers lie below and above it: outliers do, as `ends_of` has it, unless `exact`.
    """
    known = np.concatenate([part[np.isfinite(part)].ravel() for part in values] or [np.zeros(0)])
    if not len(known):
        return Scale("linear", 0.0, 1.0), False, False
    lowest, highest = low, high = float(known.min()), float(known.max())

    def found(shape: Shape, low: float, high: float) -> tuple[Scale, bool, bool]:
        return Scale(shape, low, high), lowest < low, highest > high

    if kind == "share":
        return found("linear", 0.0, 1.0 if high > 0.3 else high or 1.0)
    sizes = np.abs(known)
    least, largest = log_ends_of(sizes[sizes > 0.0], exact=exact)
    if kind == "size":
        if shape == "log" or (shape is None and largest > _WIDE * least):
            return found("log", least, max(largest, least * 1.0001))
        if not exact:
            low, high = ends_of(known)
        low = 0.0 if low < 0.5 * high else low
    if kind == "signed":
        typical = float(np.median(sizes))
        if shape == "symlog" or (shape is None and largest > _WIDE * typical > 0.0):
            return found("symlog", -largest, largest)
        largest = float(sizes.max()) if exact else ends_of(sizes)[1]
        low, high = -largest, largest
    if high <= low:
        low, high = low - abs(low) * 0.5 - 1e-12, high + abs(high) * 0.5 + 1e-12
    return found("linear", low, high)


def log_ends_of(positive: Floats, *, exact: bool = False) -> tuple[float, float]:
    """The ends of a logarithmic scale for positive numbers: as `ends_of` has it of their logarithms.

    Twelve powers of ten are told apart; where there are more, those of most numbers are, and with `exact` all above.

    Example:
        >>> log_ends_of(np.append(np.geomspace(0.1, 10.0, 100), 1e30))
        (0.1, 10.0)
        >>> log_ends_of(np.array([1e-300, 1e-3, 1.0]))
        (1e-12, 1.0)
    """
    if not len(positive):
        return 1.0, 1.0
    ordered = np.sort(positive)
    low, high = float(ordered[0]), float(ordered[-1])
    if not exact:
        first, last = ends_of(np.log(ordered))
        inside = ordered[(np.log(ordered) >= first) & (np.log(ordered) <= last)]
        low, high = float(inside[0]), float(inside[-1])
    bottom = max(low, min(high * _DISTINCT, float(ordered[min(1 + len(ordered) // 100, len(ordered) - 1)])))
    return bottom, high if exact else min(high, bottom / _DISTINCT)


def label(value: float) -> str:
    """A number beside an axis.

    Example:
        >>> label(1e6), label(20000.0), label(0.25), label(-1e-7)
        ('1M', '20k', '0.25', '−1e−07')
    """
    size = abs(value)
    for unit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if unit <= size < unit * 1000.0 and unit < 1e9 * 2:
            return f"{value / unit:.3g}{sign}".replace("-", "−")
    return number(value).replace("-", "−")
