"""Repetition in a series, of any form: the period after which it comes back to itself, and the rate of false alarms."""

import math
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

#: 1.4826 MAD is the standard deviation of a normal distribution; what is further than so many is cut.
_CLIP: Final = 3.0 * 1.4826
#: The largest share of the largest value that rounding may explain.
_ROUNDING: Final = 1e-9
#: By how much the autocorrelation must have been lower at a shorter lag: what merely changes slowly is no repetition.
_DIP: Final = 0.33
#: A shorter period whose autocorrelation is less by no more than this is taken.
_TIE: Final = 0.1
#: Rows of the ends of a series that are tried, besides all of it.
_TAILS: Final = (60, 40, 28, 20)
#: A block of rows repeats the one a period later when they differ by less than this share of their variance.
_SAME: Final = 0.75

Table = npt.NDArray[np.float64]


class Period(NamedTuple):
    """What repeats at the end of a series.

    Attributes:
        rows: the period.
        first: the place since which it has repeated.
        low, high: the ends of the swing, in the series' unit.
        regularity: the autocorrelation at the period.
        chance: that noise looks as regular at any period that was tried, at most.
    """

    rows: int
    first: int
    low: float
    high: float
    regularity: float
    chance: float


def repetitions(table: Table, regularity: float, chance: float, longest: int) -> list[Period | None]:
    """The repetition at the end of each series.

    Formula:
        Of the last m rows (all, 60, 40, 28 and 20) a linear trend is taken off; r(P) is the correlation of the rows
        with those P rows before, for P from 2 to m / 3 and `longest`. P is taken when r(P) >= regularity, at a peak,
        after r has been at least 0.33 lower at a shorter lag, and when noise would reach r(P) with a probability of no
        more than `chance`: atanh r(P) is normal with variance 1 / (n - 3), where n = (m - P) (1 - a^2) / (1 + a^2) for
        noise whose neighbours have the correlation a = max(r(1), 0) (Bartlett); where it has come back four times or
        more, n = m - P. All lags and tails that are tried count. Both are asked of the series with spikes cut to three
        robust standard deviations, so that noise is normal, and then of the series as it is, where rare pulses are what
        repeats, four times at least.

    Args:
        table: float64, shape (series, rows), finite.
        regularity: the least autocorrelation.
        chance: the largest probability.
        longest: rows of the longest period.

    Example:
        >>> pulses = np.array([[5.0 if row % 5 == 0 else 1.0 for row in range(40)]])
        >>> repetitions(pulses, 0.66, 1e-4, 40)[0].rows
        5
    """
    count, rows = table.shape
    found: list[Period | None] = [None] * count
    tails = [tail for tail in dict.fromkeys((rows, *_TAILS)) if _TAILS[-1] <= tail <= rows]
    left = np.arange(count)
    for tail in tails:
        if not len(left):
            break
        period, likeness, probability = _search(table[left, rows - tail :], regularity, chance / len(tails), longest)
        tries = len(tails) * min(tail // 3, longest)
        for lag in set(period[period > 0].tolist()):
            alike = np.flatnonzero(period == lag)
            for i, dated in zip(alike, _dated(table[left[alike]], lag, tail, chance / tries), strict=True):
                if dated is not None:
                    found[left[i]] = Period(lag, *dated, float(likeness[i]), len(tails) * float(probability[i]))
        left = np.array([i for i in left if found[i] is None], np.int64)
    return found


def _search(table: Table, regularity: float, chance: float, longest: int) -> tuple[Any, Any, Any]:
    """For each series the period (0 where there is none), the autocorrelation there, and its probability in noise."""
    rows = table.shape[1]
    table = _straightened(table)
    period = np.zeros(len(table), np.int64)
    likeness, probability = np.zeros(len(table)), np.ones(len(table))
    for clipped in (True, False):
        open_ = np.flatnonzero(period == 0)
        if not len(open_):
            break
        values = _clipped(table[open_]) if clipped else table[open_]
        least = 3 if clipped else 4
        lags = min(rows // least, longest)
        if lags < 2:
            break
        r = _autocorrelations(values, lags + 1)
        lag = np.arange(lags + 1)
        quantile = NormalDist().inv_cdf(1.0 - chance / (2.0 * lags))
        neighbours = np.clip(r[:, 1:2], 0.0, 0.99)
        shrunk = (1.0 - neighbours**2) / (1.0 + neighbours**2)
        free = np.where(lag * 4 <= rows, 1.0, shrunk) * (rows - lag)
        inner = r[:, : lags + 1]
        deviations = np.arctanh(np.clip(inner, 0.0, 1.0 - 1e-9)) * np.sqrt(np.maximum(free - 3.0, 0.0))
        before = np.minimum.accumulate(inner, axis=1)
        good = (inner >= regularity) & (deviations >= quantile) & (inner >= inner[:, 2:].max(axis=1)[:, None] - _TIE)
        good &= inner >= r[:, 1:]
        good[:, :2] = False
        good[:, 2:] &= before[:, 1:-1] <= inner[:, 2:] - _DIP
        hit = good.any(axis=1)
        best = good.argmax(axis=1)
        period[open_[hit]] = best[hit]
        likeness[open_[hit]] = inner[hit, best[hit]]
        tail = [0.5 * math.erfc(float(z) / math.sqrt(2.0)) * 2.0 * lags for z in deviations[hit, best[hit]]]
        probability[open_[hit]] = tail
    return period, likeness, probability


def _straightened(table: Table) -> Table:
    """Each series without its linear trend."""
    rows = table.shape[1]
    time = np.arange(0.5 - 0.5 * rows, 0.5 * rows)
    level = table.sum(axis=1) / rows
    slope = table @ time / float(time @ time)
    result: Table = table - level[:, None] - slope[:, None] * time
    return result


def _clipped(table: Table) -> Table:
    """Each series cut to three robust standard deviations around zero."""
    middle = table.shape[1] // 2
    sizes = np.sort(np.abs(table), axis=1)
    median = np.sort(table, axis=1)[:, middle]
    deviation = np.sort(np.abs(table - median[:, None]), axis=1)[:, middle]
    # Of two levels in turns one is the median, from which half of the values differ by rounding.
    reach = _CLIP * np.where(deviation > _ROUNDING * sizes[:, -1], deviation, sizes[:, middle])[:, None]
    result: Table = np.clip(table, -reach, reach)
    return result


def _autocorrelations(table: Table, lags: int) -> Table:
    """The correlation of each series with itself, for lags from 0 to `lags`; 0 where there is nothing to compare."""
    rows = table.shape[1]
    spectrum = np.fft.rfft(table, 1 << (2 * rows - 1).bit_length(), axis=1)
    products = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, axis=1)[:, : lags + 1]
    energy = np.zeros((len(table), rows + 1))
    np.cumsum(table * table, axis=1, out=energy[:, 1:])
    total = energy[:, -1:]
    lag = np.arange(lags + 1)
    own = (total - energy[:, lag]) * energy[:, rows - lag]
    with np.errstate(all="ignore"):
        result = products / np.sqrt(own)
    # What is left of a constant by rounding says nothing.
    return np.where(own > (_ROUNDING * total) ** 2, result, 0.0)


def _luck(above: npt.NDArray[np.bool_], lag: int) -> Table:
    """How likely rows above and below a level are as often on one side as the rows a period before, at most.

    For each series. Chernoff's bound of the binomial distribution. Few spikes at equal distances have any
    autocorrelation.
    """
    rows = above.shape[1]
    share = np.count_nonzero(above, axis=1) / rows
    by_chance = share * share + (1.0 - share) * (1.0 - share)
    seen = np.count_nonzero(above[:, lag:] == above[:, :-lag], axis=1) / (rows - lag)
    with np.errstate(all="ignore"):
        other = np.where(seen < 1.0, (1.0 - seen) * np.log((1.0 - seen) / (1.0 - by_chance)), 0.0)
        chance = np.exp(-(seen * np.log(seen / by_chance) + other) * (rows - lag))
    return np.where(seen > by_chance, chance, 1.0)


def _dated(table: Table, lag: int, tail: int, most: float) -> list[tuple[int, float, float] | None]:
    """Since when each series has repeated, and the ends of the swing.

    None where it has ended, or where the few rows of it may be chance, with a probability of more than `most`.
    """
    count, end = table.shape
    tailed, last = table[:, end - tail :], table[:, -max(lag + 3, 10) :]
    ordered = np.sort(tailed, axis=1)
    edge = int(0.5 * tail / lag)
    low, high = ordered[:, edge], ordered[:, -1 - edge]
    swing = high - low
    good = (last.max(axis=1) - last.min(axis=1) >= 0.5 * swing) & (swing > 0.0)
    # A third of the way up and two thirds: a value of its own may lie on the middle.
    luck = [_luck(tailed > (low + part * swing)[:, None], lag) for part in (1.0 / 3.0, 2.0 / 3.0)]
    good &= np.minimum(*luck) <= most
    # Blocks of whole periods, from the end on: one may be out of step if the one before it is not.
    block = lag * -(-6 // lag)
    blocks = (end - lag) // block
    begin = end - lag - blocks * block
    there = table[:, begin + lag :].reshape(count, blocks, block)
    off = np.square(table[:, begin : end - lag].reshape(count, blocks, block) - there).sum(axis=2)
    moved = np.square(there).sum(axis=2) - np.square(there.sum(axis=2)) / block
    same = (off < _SAME * moved) & (moved >= 0.25 * moved[:, -1:])
    return [
        (_first(values, begin, block, lag, 0.5 * (up - down), repeats), down, up) if fine else None
        for values, down, up, repeats, fine in zip(
            table, low.tolist(), high.tolist(), same.tolist(), good.tolist(), strict=True
        )
    ]


def _first(values: Table, begin: int, block: int, lag: int, half: float, same: list[bool]) -> int:
    """The place since which a series has repeated; `half` of its swing, and which blocks repeat."""
    first = len(same)
    while first > 0 and (same[first - 1] or (first > 1 and same[first - 2])):
        first -= 1
    first = begin + first * block
    # The block in which it began repeats in part.
    for _ in range(min(block, first)):
        turn = values[first - 1 : first - 1 + lag]
        off_step = abs(values[first - 1] - values[first - 1 + lag]) > 0.7 * half
        if off_step or float(turn.max() - turn.min()) < half:
            break
        first -= 1
    return first


def in_step(one: int, other: int) -> bool:
    """Whether two periods in rows are the same or one is a multiple of the other, give or take a fifth of the shorter.

    Example:
        >>> in_step(4, 12), in_step(5, 8)
        (True, False)
    """
    short, long = sorted((one, other))
    return abs(long - short * round(long / short)) <= short // 5


def likeness(one: Table, other: Table) -> float:
    """The size of the correlation of two series; 0 where one of them is constant.

    Example:
        >>> round(likeness(np.array([1.0, 2.0, 1.0]), np.array([5.0, 3.0, 5.0])), 6)
        1.0
    """
    one, other = one - one.mean(), other - other.mean()
    size = math.sqrt(float(one @ one)) * math.sqrt(float(other @ other))
    return abs(float(one @ other)) / size if size > 0.0 else 0.0
