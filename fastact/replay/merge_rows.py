"""Many rows to one: each number of a row merges as its field in `fastact.fields` says (`Field.merge`)."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.cpu.sweep import merge_kernel
from fastact.fields import NEURON, ROW, STATE
from fastact.replay.blocks import Ints, Rows

__all__ = ["merge_rows"]

#: The state's numbers in the order of the kernel that merges them.
_COUNTS: Final = [field.name for field in STATE if field.merge == "sum"]
_MOMENTS: Final = [field.name for field in STATE if field.merge == "moment"]
_EXTREMES: Final = [field.name for field in STATE if field.merge in ("min", "max")]


def merge_rows(rows: Rows, starts: Ints) -> Rows:
    """One row for each group of rows; group i is ``rows[starts[i]:starts[i + 1]]``, none is empty.

    `fields.STATE` merges as in `arithmetic.merge`: exact in counts, min and max, and to rounding in the moments.

    Of `fields.NEURON` some numbers are exact and some are bounds, since a row does not say which neurons it counted. A
    neuron is silent (dead, saturated, constant) in the whole only if it is so in every part, so at most the least
    number of any part is. `within_std` pools the parts' variances by their finite elements, and is the spread between
    samples within a part. `peak_neuron` is exact; `typical_peak` is the largest of any part, which is the least that
    it can be. Where one part was not swept per neuron, the whole was not. The step is the first row's, the time the
    latest.
    """
    sizes = np.diff(starts, append=len(rows))
    merged = rows[starts]
    if sizes.max(initial=1) == 1:
        return merged
    _merge_states(rows, sizes, merged)
    for field in ROW:
        if field not in STATE and field.merge in _MERGE:
            merged[field.name] = _MERGE[field.merge](rows, field.name, starts)
    for field in NEURON:
        if field.merge == "equal":
            same = np.minimum.reduceat(rows[field.name], starts) == np.maximum.reduceat(rows[field.name], starts)
            for other in NEURON:
                merged[other.name][~same] = other.nothing
    return merged


def _merge_states(rows: Rows, sizes: Ints, merged: Rows) -> None:
    """Merges `fields.STATE` of groups of these sizes."""
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


def _pooled_std(rows: Rows, name: str, starts: Ints) -> npt.NDArray[Any]:
    finite = (rows["count"] - rows["nans"] - rows["pos_infs"] - rows["neg_infs"]).astype(np.float64)
    # A part without a finite element has nothing to say. Relative to the largest, so that no square overflows.
    weights = np.where(np.isnan(rows[name]), 0.0, finite)
    values = np.where(weights > 0.0, rows[name], 0.0)
    scale = np.maximum.reduceat(values, starts)
    total = np.add.reduceat(weights, starts)
    parts = np.divide(
        values, np.repeat(scale, np.diff(starts, append=len(rows))), where=values > 0.0, out=np.zeros(len(rows))
    )
    squares = np.add.reduceat(weights * parts * parts, starts)
    mean = np.divide(squares, total, where=total > 0.0, out=np.full(len(total), np.nan))
    pooled: npt.NDArray[Any] = scale * np.sqrt(mean)
    return pooled


def _of_the_peak(rows: Rows, name: str, starts: Ints) -> npt.NDArray[Any]:
    peaks = np.fmax(np.fmax(-rows["min"], rows["max"]), -np.inf)
    highest = peaks == np.repeat(np.maximum.reduceat(peaks, starts), np.diff(starts, append=len(rows)))
    # Of equals the first neuron: the lowest number.
    return np.minimum.reduceat(np.where(highest, rows[name], np.iinfo(np.int64).max), starts)


#: How fields outside of the state merge; "first" and "equal" keep what the group's first row has.
_MERGE: Final[dict[str, Callable[[Rows, str, Ints], npt.NDArray[Any]]]] = {
    "min": lambda rows, name, starts: np.fmin.reduceat(rows[name], starts),
    "max": lambda rows, name, starts: np.fmax.reduceat(rows[name], starts),
    "pooled": _pooled_std,
    "of the peak": _of_the_peak,
}
