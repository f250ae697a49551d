"""What rows of drawn samples say of all samples: estimates, with their standard errors.

Rows hold what was swept (`fields.DRAWN` says what was left out), since that merges and is exact: a NaN that was seen
was there, a neuron that fired is alive. What a whole batch would have given follows from it.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from fastact.errors import ArgumentValueError
from fastact.fields import STATE

#: The numbers of `fields.STATE` that are estimated: counts, and moments. Extremes are those of what was swept.
COUNTS: Final = tuple(field.name for field in STATE if field.merge == "sum")
MOMENTS: Final = tuple(field.name for field in STATE if field.merge == "moment")


class Estimate(NamedTuple):
    """An estimate of all samples of a step's batch.

    Attributes:
        value: the estimate; of counts scaled to all elements.
        error: its standard error, at most: as if all elements of a sample moved together. 0 where all were swept.
    """

    value: Any
    error: Any


def estimate(rows: Mapping[str, Any] | Any, name: str) -> Estimate:
    """What a number of rows is of all samples there were, the ones that were not drawn included.

    Formula:
        With s of S elements swept, in n samples that were drawn, and f = s / S: a count c is c / f, with an error of
        S·sqrt(p(1 - p)·(1 - f) / (n - 1)) for p = c / s. A moment is what it is, with an error of
        sqrt(v·(1 - f) / (n - 1)), where v is the variance of what it is the mean of: of the elements within a neuron
        for `mean` (within_std², or std²), of |x| for `abs_mean` (mean² + std² - abs_mean²); for `std` it is at most
        (M² - std²) / 4, where M is the largest distance from the mean. Counts and means are right on average; std² is
        too small by up to one part in n, which is so where all elements of a sample move together.

    Args:
        rows: numbers by the names of `fields.ROW`: a structured array of rows, or a mapping to numbers or arrays.
        name: one of `COUNTS` or `MOMENTS`.

    Raises:
        ArgumentValueError: there is no such number, or it is none that is estimated.

    Example:
        >>> row = dict(count=800, left_out=7200, drawn=8, zeros=400, mean=0.5, std=1.0, within_std=0.7)
        >>> value, error = estimate(row, "zeros")
        >>> value, round(error)
        (4000.0, 1434)
    """
    if name not in COUNTS and name not in MOMENTS:
        raise ArgumentValueError(f"name: got {name!r}, want one of {', '.join((*COUNTS, *MOMENTS))}")
    count, left_out, drawn = (np.asarray(rows[each], np.float64) for each in ("count", "left_out", "drawn"))
    number = np.asarray(rows[name], np.float64)
    with np.errstate(all="ignore"):
        whole = count + left_out
        # Of one sample nothing is known of what samples differ by.
        spread = np.where(left_out > 0, left_out / whole / (drawn - 1.0), 0.0)
        if name in COUNTS:
            share = number / count
            found: tuple[Any, Any] = (
                np.where(count > 0, share * whole, number),
                whole * np.sqrt(share * (1.0 - share) * spread),
            )
        else:
            found = number, np.sqrt(_variance(rows, name, number) * spread)
    value, error = np.where(left_out > 0, found[0], number), np.where(left_out > 0, found[1], 0.0)
    return Estimate(*(each if each.ndim else each.item() for each in (value, error)))


def _variance(rows: Any, name: str, number: Any) -> Any:
    """The variance of what a moment is the mean of, at most."""
    mean, std = (np.asarray(rows[each], np.float64) for each in ("mean", "std"))
    if name == "mean":
        within = np.asarray(rows["within_std"], np.float64)
        return np.where(np.isnan(within), std, within) ** 2
    if name == "abs_mean":
        return np.maximum(mean**2 + std**2 - number**2, 0.0)
    far = np.maximum(np.asarray(rows["max"], np.float64) - mean, mean - np.asarray(rows["min"], np.float64))
    return np.maximum(far**2 - std**2, 0.0) / 4.0


def share_swept(rows: Any) -> float:
    """The share of the elements of some rows that was swept; NaN of none."""
    count, left_out = (np.asarray(rows[each]).astype(np.float64).sum() for each in ("count", "left_out"))
    return float(count / (count + left_out)) if count + left_out else math.nan
