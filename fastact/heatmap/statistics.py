"""The statistics that a heat map can show: each a number of a row, computed for many rows at once."""

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.errors import ArgumentValueError

Floats = npt.NDArray[np.float64]
#: "share": between 0 and 1. "size": zero or more, often over many orders of magnitude. "signed": of either sign.
Kind = Literal["share", "size", "signed"]


class Statistic(NamedTuple):
    """One number of a row of `fields.ROW_DTYPE`: NaN where there was nothing to measure."""

    name: str
    kind: Kind
    meaning: str
    of: Callable[[Any], Floats]


def _field(name: str) -> Callable[[Any], Floats]:
    def of(rows: Any) -> Floats:
        values = np.array(rows[name], np.float64)
        values[~np.isfinite(values)] = np.nan
        return values

    return of


def _share(*names: str, of: str = "count") -> Callable[[Any], Floats]:
    def share(rows: Any) -> Floats:
        part = sum(rows[name].astype(np.float64) for name in names)
        whole = rows[of].astype(np.float64)
        whole[whole <= 0.0] = np.nan
        found: Floats = np.minimum(part / whole, 1.0)
        return found

    return share


def _rms(rows: Any) -> Floats:
    with np.errstate(over="ignore"):
        return _finite(np.hypot(rows["mean"], rows["std"]))


def _absmax(rows: Any) -> Floats:
    return _finite(np.maximum(np.abs(rows["min"]), np.abs(rows["max"])))


def _quotient(above: Callable[[Any], Floats], below: Callable[[Any], Floats]) -> Callable[[Any], Floats]:
    def quotient(rows: Any) -> Floats:
        divisor = below(rows)
        divisor[divisor <= 0.0] = np.nan
        with np.errstate(over="ignore"):
            return _finite(above(rows) / divisor)

    return quotient


def _finite(values: Any) -> Floats:
    found: Floats = np.where(np.isfinite(values), values, np.nan)
    return found


#: Every statistic that can be shown, by name; those that a summary has go by the names of `ActivationStats`.
STATISTICS: Final = {
    each.name: each
    for each in (
        Statistic("rms", "size", "root mean square of the finite elements", _rms),
        Statistic("std", "size", "standard deviation of the finite elements", _field("std")),
        Statistic("mean", "signed", "mean of the finite elements", _field("mean")),
        Statistic("abs_mean", "size", "mean of |x| over the finite elements", _field("abs_mean")),
        Statistic("absmax", "size", "largest |x| of the finite elements", _absmax),
        Statistic("min", "signed", "smallest finite element", _field("min")),
        Statistic("max", "signed", "largest finite element", _field("max")),
        Statistic("zero_ratio", "share", "share of elements that are zero", _share("zeros")),
        Statistic("saturation_ratio", "share", "share of elements outside the saturation interval",
                  _share("saturated")),
        Statistic("non_finite_ratio", "share", "share of elements that are NaN or Inf",
                  _share("nans", "pos_infs", "neg_infs")),
        Statistic("dead_ratio", "share", "share of neurons that are dead", _share("dead_neurons", of="neurons")),
        Statistic("silent_ratio", "share", "share of neurons without a non-zero element in the step",
                  _share("silent_neurons", of="neurons")),
        Statistic("constant_ratio", "share", "share of neurons with one non-zero value for every sample",
                  _share("constant_neurons", of="neurons")),
        Statistic("signal", "size", "what the samples differ by: root mean variance of a neuron", _field("within_std")),
        Statistic("likeness", "size", "signal / std: of all that elements differ by, the part between samples",
                  _quotient(_field("within_std"), _field("std"))),
        Statistic("peak_ratio", "size", "absmax over the typical neuron's largest |x|",
                  _quotient(_absmax, _field("typical_peak"))),
    )
}  # fmt: skip


def statistic_of(name: object) -> Statistic:
    """The statistic of a name. Raises ArgumentValueError where there is none."""
    if not isinstance(name, str) or name not in STATISTICS:
        raise ArgumentValueError(f"statistic: got {name!r}, want one of {', '.join(STATISTICS)}")
    return STATISTICS[name]
