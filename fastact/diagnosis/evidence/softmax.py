"""What the state of a softmax tells: how many places its rows look at, and where it says the same of every sample.

The outputs of a softmax sum to 1 in each of its rows, so that moments over all elements are moments over rows:

    length        = 1 / E[x]         how many places it chooses between
    rows          = count * E[x]
    concentration = E[x²] / E[x]     1 where each row is one place alone, 1/length where it is all of them alike

Each is a ratio of sums over all elements, so it is exact when parts of a step, or ranks, are merged.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.diagnosis.row_conditions import Cells, Holds, Row
from fastact.fields import COLUMN
from fastact.history import LayerInfo

_COUNT, _NEURONS, _MEAN, _STD = COLUMN["count"], COLUMN["neurons"], COLUMN["mean"], COLUMN["std"]
_MIN, _MAX, _WITHIN = COLUMN["min"], COLUMN["max"], COLUMN["within_std"]


def is_softmax(info: LayerInfo) -> bool:
    """Whether the rows are those of a softmax: its own, or the weights that attention returns with its output."""
    if info.layer_type == "MultiheadAttention":
        return "[1]" in info.name
    return info.layer_type in ("Softmax", "Softmax2d", "Softmin")


def concentration(rows: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    """E[x²] / E[x] of each row; NaN where it is no softmax's."""
    with np.errstate(all="ignore"):
        value = (rows["mean"] ** 2 + rows["std"] ** 2) / rows["mean"]
        result: npt.NDArray[np.float64] = np.where((rows["mean"] > 0.0) & (rows["min"] >= 0.0), value, np.nan)
    return result


def row_concentration(row: Row) -> float:
    """`concentration` of one row."""
    mean = row[_MEAN]
    return (mean * mean + row[_STD] * row[_STD]) / mean if mean > 0.0 and row[_MIN] >= 0.0 else math.nan


def length(row: Row) -> float:
    """How many places a row of the softmax chooses between; NaN where it is no softmax's."""
    mean = row[_MEAN]
    return 1.0 / mean if 0.0 < mean <= 1.0 else math.nan


def of_one(value: float) -> Holds:
    """Whether all outputs of a row are `value`: 1 for a softmax over one place, 0 for the logarithm of one."""

    def holds(cells: Cells) -> Any:
        return (cells[_MIN] == value) & (cells[_MAX] == value) & (cells[_COUNT] > 0)

    return holds


def one_class(cells: Cells) -> Any:
    """Whether all samples have one class, with a probability of 1 but for a thousandth."""
    mean, std = cells[_MEAN], cells[_STD]
    sure = mean * mean + std * std >= 0.999 * mean
    enough = (cells[_NEURONS] > 1) & (cells[_COUNT] >= 8 * cells[_NEURONS])
    return sure & enough & (mean < 0.9) & (cells[_MIN] >= 0.0) & (cells[_WITHIN] <= 1e-3 * std)
