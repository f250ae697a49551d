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


def scale_of(values: Sequence[Floats], kind: str, shape: Shape | None = None) -> tuple[Scale, bool, bool]:
    """The scale for some numbers of a kind of statistic ("share", "size" or "signed").

    Returns the scale, and whether numbers lie below and above it: the outermost 0.5% of linear scales may.
    """
    known = np.concatenate([part[np.isfinite(part)].ravel() for part in values] or [np.zeros(0)])
    if not len(known):
        return Scale("linear", 0.0, 1.0), False, False
    low, high = float(known.min()), float(known.max())
    if kind == "share":
        top = 1.0 if high > 0.3 else high or 1.0
        return Scale("linear", 0.0, top), False, False
    if kind == "size":
        positive = known[known > 0.0]
        least = float(positive.min()) if len(positive) else 1.0
        if shape == "log" or (shape is None and high > _WIDE * least):
            # Twelve powers of ten are told apart; below that all is nothing.
            bottom = max(least, high * 1e-12)
            return Scale("log", bottom, max(high, bottom * 1.0001)), low < bottom, False
        low = 0.0 if low < 0.5 * high else low
    largest = max(abs(low), abs(high))
    if kind == "signed":
        typical = float(np.median(np.abs(known)))
        if shape == "symlog" or (shape is None and largest > _WIDE * typical > 0.0):
            return Scale("symlog", -largest or -1.0, largest or 1.0), False, False
        low, high = -largest, largest
    if high <= low:
        low, high = low - abs(low) * 0.5 - 1e-12, high + abs(high) * 0.5 + 1e-12
    return Scale("linear", low, high), False, False


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
