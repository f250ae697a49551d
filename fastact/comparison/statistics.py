"""The statistics that two runs are compared by, and the scale on which a difference of each means the same anywhere.

Sizes (such as std) are compared by their logarithm, so that 10% more is 10% more in every layer. Shares are compared by
the arcsine of their square root, on which the sampling noise of a share does not depend on the share (Anscombe 1948).
What has a sign (mean, min, max) is compared in units of the layer's own size at the beginning, and by the logarithm
where it is many times that: by the inverse hyperbolic sine.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.heatmap.statistics import STATISTICS, Floats

Rows = npt.NDArray[np.void]

#: What is compared. Where several part in the same step of a layer by as much, the first is told.
NAMES: Final = (
    "non_finite_ratio", "mean", "std", "abs_mean", "signal", "min", "max",
    "zero_ratio", "saturation_ratio", "silent_ratio", "dead_ratio", "constant_ratio",
)  # fmt: skip
KINDS: Final = tuple(STATISTICS[name].kind for name in NAMES)
NON_FINITE: Final = NAMES.index("non_finite_ratio")
SATURATION: Final = NAMES.index("saturation_ratio")
#: Those that neither a single element nor a single neuron moves by much.
MOMENTS: Final = tuple(NAMES.index(name) for name in ("mean", "std", "abs_mean", "signal"))
#: Those that grow with the number of elements that a row stands for.
EXTREMES: Final = (NAMES.index("min"), NAMES.index("max"))
MEAN, _STD = NAMES.index("mean"), NAMES.index("std")
#: Sizes below this share of the layer's own at the beginning are as good as zero.
_FLOOR: Final = 1e-3
#: Where logarithms of what is nearly infinite end.
_LARGEST: Final = 700.0


def measure(rows: Rows) -> Floats:
    """The statistics of rows of `fields.ROW_DTYPE`: shape (rows, statistics); NaN where there is nothing to measure."""
    return np.stack([STATISTICS[name].of(rows) for name in NAMES], axis=1)


def references(values: Floats) -> Floats:
    """What positions and sizes are relative to, from rows of both runs: the larger of the two.

    Args:
        values: shape (2, rows, statistics), as `measure` has them.

    Returns:
        shape (2, rows): for all but the mean, the root mean square; for the mean, the standard deviation. NaN where
        the rows do not tell.
    """
    mean, std = np.abs(values[..., MEAN]), values[..., _STD]
    with np.errstate(all="ignore"):
        # What is one number, such as a loss, has no spread: it is its own measure.
        own = np.where(std >= 0.01 * mean, std, mean)
        found = np.stack([np.fmax(*np.hypot(mean, std)), np.fmax(*own)])
    found[~((found > 0.0) & np.isfinite(found))] = np.nan
    return found


def scaled(values: Floats, reference: Floats) -> Floats:
    """The statistics on the scale that they are compared on; NaN stays.

    Args:
        values: shape (rows, statistics).
        reference: shape (2, rows), as `references` has it.
    """
    result = np.empty_like(values)
    for place, kind in enumerate(KINDS):
        value, own = values[:, place], reference[int(place == MEAN)]
        with np.errstate(all="ignore"):
            if kind == "share":
                result[:, place] = np.arcsin(np.sqrt(value))
            elif kind == "size":
                result[:, place] = np.log(value / own + _FLOOR)
            else:
                result[:, place] = np.arcsinh(value / own)
    clipped: Floats = np.clip(result, -_LARGEST, _LARGEST)
    return clipped


def unscaled(value: float, statistic: int, reference: Floats) -> float:
    """A number of `scaled` as it was measured, up to rounding; `reference` is the layer's, shape (2,)."""
    own = float(reference[int(statistic == MEAN)])
    kind = KINDS[statistic]
    with np.errstate(all="ignore"):
        if kind == "share":
            return float(np.sin(value) ** 2)
        if kind == "size":
            return max(float(np.exp(value)) - _FLOOR, 0.0) * own
        return float(np.sinh(value)) * own
