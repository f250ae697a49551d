"""How the rows that ranks have of one layer in one step differ."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: How a rank can differ: its rms is above or below the others', more of its neurons are dead, its mean is off.
LARGE: Final = "large"
SMALL: Final = "small"
DEAD: Final = "dead"
ABOVE: Final = "above"
BELOW: Final = "below"
KINDS: Final = (LARGE, SMALL, DEAD, ABOVE, BELOW)

#: Ranks of which the median and the spread between them say something about one of them.
_MANY: Final = 4
#: What is the same of equal tensors, and what is so up to rounding.
EXACT: Final = ("count", "nans", "zeros", "min", "max")
MOMENTS: Final = ("mean", "std", "abs_mean")
#: What is the same of equal tensors and of hardly any others; 0 where it was not taken.
BITS: Final = "bit_sum"


class Limits(NamedTuple):
    """What makes a difference: see `rules.rank_differs.RankDiffersThresholds`."""

    ratio: float
    shift: float
    dead: float
    deviations: float


class Found(NamedTuple):
    """Of each kind whether it holds, the rank's number and the median; and which rows say yes or no at all."""

    kinds: dict[str, tuple[Bools, Any, Any]]
    decided: Bools


def differences(columns: dict[str, npt.NDArray[Any]], is_input: Bools, limits: Limits) -> Found:
    """How each rank differs from the others: arrays of shape (groups, ranks)."""
    count, mean, std = columns["count"].astype(np.float64), columns["mean"], columns["std"]
    with np.errstate(all="ignore"):
        scale = np.hypot(mean, std)
        # The last batch of an epoch may be short on some ranks, and says little.
        decided = ~np.isnan(scale) & (2.0 * count >= _median(count))
        scale = np.where(decided, scale, np.nan)
        usual = _usual(scale)
        away = np.log(scale) - np.log(usual)
        away = np.where((scale == 0.0) & (usual == 0.0), 0.0, away)
        far = np.abs(away) >= np.log(limits.ratio)
        if far.any():
            # Far off, but no farther than the others may be: that says neither yes nor no.
            beyond = np.abs(away) >= limits.deviations * _spread(away)
            decided &= beyond | ~far
            far &= beyond
        kinds: dict[str, tuple[Bools, Any, Any]] = {
            LARGE: (far & (away > 0.0) & (usual > 0.0), scale, usual),
            SMALL: (far & (away < 0.0), scale, usual),
        }
        neurons = columns["neurons"].astype(np.float64)
        if columns["dead_neurons"].any():
            share = np.where(decided & (neurons > 0), columns["dead_neurons"] / neurons, np.nan)
            kinds[DEAD] = share - _usual(share) >= limits.dead, share, _usual(share)
        if is_input.any():
            level = np.where(decided & is_input[:, None], mean, np.nan)
            middle, width = _usual(level), _median(np.where(decided, std, np.nan))
            off = level - middle
            shifted = (np.abs(off) >= limits.shift * width) & (np.abs(off) >= limits.deviations * _spread(off))
            shifted &= width > 0.0
            kinds[ABOVE] = shifted & (off > 0.0), level, middle
            kinds[BELOW] = shifted & (off < 0.0), level, middle
    return Found(kinds, decided)


def _median(values: Floats) -> Floats:
    """The lower median of each line's numbers, shape (groups, 1); NaN where there is none."""
    ordered = np.sort(values, axis=1)  # NaN last
    known = np.count_nonzero(~np.isnan(values), axis=1)
    middle: Floats = ordered[np.arange(len(ordered)), np.maximum(known - 1, 0) // 2]
    return middle[:, None]


def _usual(values: Floats) -> Floats:
    """What a rank is compared with: the median of all; the other one of two."""
    return values[:, ::-1] if values.shape[1] == 2 else _median(values)


def _spread(away: Floats) -> Floats | float:
    """The typical distance of a rank from the median, as a standard deviation; 0 where they are few."""
    return 1.4826 * _median(np.abs(away)) if away.shape[1] >= _MANY else 0.0


def unlike_most(rows: Mapping[str, npt.NDArray[Any]]) -> Ints:
    """The places of the rows that are unlike most; all, where no more than half are alike."""
    exact = (*EXACT, BITS) if rows[BITS].all() else EXACT
    kept = np.stack([rows[name].view(np.int64) for name in exact], 1)
    _, which, count = np.unique(kept, axis=0, return_inverse=True, return_counts=True)
    if len(count) == 1:  # the moments alone tell them apart
        kept = np.stack([np.round(rows[name] / np.abs(rows[name]).max(initial=1e-300), 11) for name in MOMENTS], 1)
        _, which, count = np.unique(kept, axis=0, return_inverse=True, return_counts=True)
    top = int(count.argmax())
    which = which.reshape(-1)
    return np.flatnonzero(which != top) if 2 * int(count[top]) > len(which) else np.arange(len(which))
