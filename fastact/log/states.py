"""The states of many rows merged at once, group by group, as `arithmetic.merge` merges two."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.cpu.sweep import merge_kernel
from fastact.fields import STATE

#: The state's numbers in the order of the kernel that merges them.
_COUNTS: Final = [field.name for field in STATE if field.merge == "sum"]
_MOMENTS: Final = [field.name for field in STATE if field.merge == "moment"]
_EXTREMES: Final = [field.name for field in STATE if field.merge in ("min", "max")]


def merge_states(rows: npt.NDArray[np.void], sizes: npt.NDArray[np.int64], merged: npt.NDArray[np.void]) -> None:
    """Puts the merged `fields.STATE` of each group of rows into `merged`, which has a row for each.

    Group i is the next ``sizes[i]`` rows, at least one. Counts, min and max are exact, moments up to rounding. Counts
    that add up to more than 64 bits wrap: see `counts_fit`.
    """
    state: tuple[npt.NDArray[Any], ...] = (
        np.stack([rows[name] for name in _COUNTS]),
        # And what rounding took from the mean, which is not kept in a row.
        np.stack([*(rows[name] for name in _MOMENTS), np.zeros(len(rows))]),
        np.stack([rows[name] for name in _EXTREMES]),
    )
    merge = merge_kernel(np.dtype(np.float64))
    # Neighbours in pairs, until each group is one: a few calls, and rounding errors that grow with the logarithm.
    while sizes.max() > 1:
        begins = np.cumsum(sizes) - sizes
        place = np.arange(sizes.sum()) - np.repeat(begins, sizes)
        even = place % 2 == 0
        left = np.flatnonzero(even & (place + 1 < np.repeat(sizes, sizes)))
        pairs = tuple(np.ascontiguousarray(np.stack([part[:, left], part[:, left + 1]], 1)) for part in state)
        merge(*pairs)
        for part, pair in zip(state, pairs, strict=True):
            part[:, left] = pair[:, 0]
        state = tuple(part[:, even] for part in state)
        sizes = (sizes + 1) // 2
    for names, values in zip((_COUNTS, _MOMENTS, _EXTREMES), state, strict=True):
        for name, column in zip(names, values, strict=False):
            merged[name] = column


def counts_fit(rows: npt.NDArray[np.void]) -> bool:
    """Whether the counts of all of these rows together stay within 64 bits, as they do but for made-up rows."""
    return all(np.abs(rows[name].astype(np.float64)).sum() < 2.0**63 for name in _COUNTS)
