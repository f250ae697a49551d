"""Numbers as text: a line of blocks, or a curve of several lines in dots of Braille."""

import math
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: As `heatmap.statistics.Kind`: what the scale of a statistic is.
Kind = Literal["share", "size", "signed"]

BLOCKS: Final = "▁▂▃▄▅▆▇█"
#: What stands where a row has no number, as a layer has none without a finite element.
NOTHING: Final = "×"
#: From this ratio of the largest to the smallest on, sizes are drawn by their logarithm.
LOGARITHMIC: Final = 30.0
#: Numbers that differ by less than this share of the largest fill only a part of the height: noise is no drama.
FLAT: Final = 0.1
#: The dots of a Braille sign, column by column from the bottom up.
_DOTS: Final = np.array([[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]])


class Scale(NamedTuple):
    """The range of a curve. With `log` it is that of the logarithms."""

    low: float
    high: float
    log: bool

    def heights(self, values: Floats) -> Floats:
        """Where values lie between `low` and `high`, 0 to 1; NaN stays NaN."""
        with np.errstate(all="ignore"):
            found = np.log(values) if self.log else values
            heights: Floats = np.clip((found - self.low) / (self.high - self.low), 0.0, 1.0)
        return heights

    @property
    def ends(self) -> tuple[float, float]:
        """The values at the bottom and at the top."""
        return (math.exp(self.low), math.exp(self.high)) if self.log else (self.low, self.high)


def scale(values: Floats, kind: Kind) -> Scale:
    """The scale for values: 0 to 1 for shares, of logarithms for sizes of several orders of magnitude.

    Example:
        >>> scale(np.array([1.0, 1000.0]), "size").log, scale(np.array([0.1]), "share")[:2]
        (True, (0.0, 1.0))
    """
    if kind == "share":
        return Scale(0.0, 1.0, False)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Scale(0.0, 1.0, False)
    low, high = float(finite.min()), float(finite.max())
    if low == high == 0.0 and kind == "size":
        return Scale(0.0, 1.0, False)
    if kind == "size" and low > 0.0 and high > LOGARITHMIC * low:
        return Scale(math.log(low), math.log(high), True)
    # In halves, which do not overflow.
    missing = FLAT * (max(abs(low), abs(high)) or 1.0) / 2.0 - (high / 2.0 - low / 2.0)
    if missing > 0.0:
        low, high = low - missing, high + missing
    return Scale(low, high, False)


def binned(values: Floats, columns: int) -> tuple[Floats, Floats]:
    """The least and the largest value of each of so many columns, in order; fewer values than columns stay as many.

    NaN is left out; a column of nothing else is NaN.
    """
    if len(values) <= columns:
        return values, values
    starts = np.arange(columns) * len(values) // columns
    return np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)


def sparkline(values: Floats, width: int, kind: Kind = "signed", whole: Scale | None = None) -> str:
    """Values as one line of blocks, at most `width` wide: the largest of those that share a place.

    Example:
        >>> sparkline(np.array([0.0, 0.5, 1.0, math.nan]), 8, "share")
        '▁▅█×'
    """
    if width < 1 or not len(values):
        return ""
    _, high = binned(np.asarray(values, np.float64), width)
    heights = (whole or scale(high, kind)).heights(high)
    signs = np.where(np.isnan(heights), len(BLOCKS), np.nan_to_num(heights) * (len(BLOCKS) - 1) + 0.5).astype(np.int64)
    return "".join((BLOCKS + NOTHING)[sign] for sign in signs)


def curve(low: Floats, high: Floats, width: int, height: int, on: Scale) -> list[str]:
    """A curve in Braille: `height` lines of `width` signs, each two dots wide and four high.

    What lies between `low` and `high` is filled, and neighbouring columns are joined.

    Args:
        low: the least value at each place, left to right; NaN where there is none.
        high: the largest.
        width: signs of a line.
        height: lines.
        on: what the bottom and the top stand for.
    """
    columns, rows = 2 * width, 4 * height
    places = np.arange(columns) * len(low) // columns if len(low) else np.zeros(0, np.int64)
    if len(low) > columns:
        low, _ = binned(low, columns)
        _, high = binned(high, columns)
        places = np.arange(columns)
    signs = np.zeros((height, width), np.int64)
    before: tuple[int, int] | None = None
    for column, place in enumerate(places):
        ends = on.heights(np.array([low[place], high[place]]))
        if np.isnan(ends).any():
            before = None
            continue
        bottom, top = (int(end * (rows - 1) + 0.5) for end in ends)
        own = bottom, top
        if before is not None:  # joined to the column before it
            bottom, top = min(bottom, before[1]), max(top, before[0])
        before = own
        for dot in range(bottom, top + 1):
            signs[height - 1 - dot // 4, column // 2] |= _DOTS[column % 2, dot % 4]
    return ["".join(chr(0x2800 + sign) for sign in line) for line in signs]
