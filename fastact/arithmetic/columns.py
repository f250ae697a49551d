"""States in columns, one a place: `merge` of many pairs at once, in NumPy and without a kernel to compile."""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.fields import DRAWN, STATE

#: The state's numbers by how they merge.
_COUNTS: Final = [field.name for field in STATE if field.merge == "sum"]
_MOMENTS: Final = [field.name for field in STATE if field.merge == "moment"]
_EXTREMES: Final = [field.name for field in STATE if field.merge in ("min", "max")]
_DRAWN: Final = [field.name for field in DRAWN]
#: Counts, shape (6, n); mean, std, abs_mean and the mean's rest, shape (4, n); min and max, shape (2, n).
Columns = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]


def merge_columns(a: Columns, b: Columns) -> Columns:
    """`merge` of each state of `a` with the one at its place in `b`: the same formulas, bit for bit."""
    counts1, (mean1, std1, abs1, rest1), extremes1 = a
    counts2, (mean2, std2, abs2, rest2), extremes2 = b
    n1, n2 = (part[0] - part[1] - part[2] - part[3] for part in (counts1, counts2))
    # As integers: the thread may take denormal numbers for zero in comparisons.
    first, second = _rank(extremes1), _rank(extremes2)
    less, more = second[0] < first[0], second[1] > first[1]
    extremes = np.stack([np.where(less, extremes2[0], extremes1[0]), np.where(more, extremes2[1], extremes1[1])])
    # Where a side has no finite element, what comes of these lines is not used.
    with np.errstate(all="ignore"):
        w1, w2 = n1 / (n1 + n2), n2 / (n1 + n2)
        half = (0.5 * mean2 - 0.5 * mean1) + (0.5 * rest2 - 0.5 * rest1)
        scale = np.maximum(np.maximum(std1, std2), np.abs(half))
        p, q, d = std1 / scale, std2 / scale, half / scale
        std = scale * np.sqrt(w1 * p * p + w2 * q * q + 4.0 * w1 * w2 * d * d)
        larger = n1 >= n2
        origin = np.where(larger, mean1, mean2)
        step = np.where(larger, 2.0 * (half * w2) + rest1, rest2 - 2.0 * (half * w1))
        mean = origin + step
        moments = np.stack([mean, std, abs1 + (abs2 - abs1) * w2, step - (mean - origin)])
        moments[[0, 1, 3]] = np.where(scale > 0.0, moments[[0, 1, 3]], a[1][[0, 1, 3]])
        moments[1] = np.minimum(moments[1], 0.5 * extremes[1] - 0.5 * extremes[0])
    moments = np.where(n1 == 0, b[1], np.where(n2 > 0, moments, a[1]))
    return counts1 + counts2, moments, extremes


def _rank(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Integers in whose order floats come, as their bits have it; both zeros are one."""
    bits = np.ascontiguousarray(numbers).view(np.int64)
    return np.where(bits >= 0, bits, -(bits & np.iinfo(np.int64).max))


def merge_groups(
    rows: npt.NDArray[np.void] | Mapping[str, npt.NDArray[Any]],
    sizes: npt.NDArray[np.int64],
    merged: npt.NDArray[np.void] | MutableMapping[str, npt.NDArray[Any]],
) -> None:
    """Puts the merged `fields.STATE` of each group of rows into `merged`, which has a row for each.

    Rows are of `fields.ROW_DTYPE`, or columns by the names of `fields.STATE`; group i is the next ``sizes[i]`` of them,
    at least one. Counts, min and max are exact, moments up to rounding. Counts that add up to more than 64 bits wrap
    (`counts_fit`).
    """
    state: Columns = (
        np.stack([rows[name] for name in _COUNTS]),
        # And what rounding took from the mean, which is not kept in a row.
        np.stack([*(rows[name] for name in _MOMENTS), np.zeros(int(sizes.sum()))]),
        np.stack([rows[name] for name in _EXTREMES]),
    )
    # Neighbours in pairs, until each group is one: a few calls, and rounding errors that grow with the logarithm.
    while sizes.max(initial=1) > 1:
        begins = np.cumsum(sizes) - sizes
        place = np.arange(sizes.sum()) - np.repeat(begins, sizes)
        even = np.flatnonzero(place % 2 == 0)
        # Of the places that stay, those that have a neighbour to merge with.
        paired = np.flatnonzero(place[even] + 1 < np.repeat(sizes, (sizes + 1) // 2))
        left = even[paired]
        pairs = merge_columns(_take(state, left), _take(state, left + 1))
        if len(paired) < len(even):
            state = _take(state, even)
            for part, pair in zip(state, pairs, strict=True):
                part[:, paired] = pair
        else:
            state = pairs
        sizes = (sizes + 1) // 2
    for names, values in zip((_COUNTS, _MOMENTS, _EXTREMES), state, strict=True):
        for name, column in zip(names, values, strict=False):
            merged[name] = column


def _take(columns: Columns, places: npt.NDArray[np.int64]) -> Columns:
    counts, moments, extremes = columns
    return counts.take(places, 1), moments.take(places, 1), extremes.take(places, 1)


def counts_fit(rows: npt.NDArray[np.void], starts: npt.NDArray[np.int64]) -> bool:
    """Whether the counts of each group of rows stay within 64 bits, as they do but for made-up rows.

    Group i is ``rows[starts[i]:starts[i + 1]]``.
    """
    if not len(rows):
        return True
    counts = (np.abs(rows[name].astype(np.float64)) for name in (*_COUNTS, *_DRAWN))
    return all(np.add.reduceat(count, starts).max() < 2.0**63 for count in counts)
