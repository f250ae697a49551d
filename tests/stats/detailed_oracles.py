"""Oracles of the extras: moments, shares of a cast, quantiles and outliers by definition."""

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from fastact import DetailedStats

FLOATS: dict[str, Any] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}


def finite_of(x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        wide = np.asarray(x).astype(np.float64).reshape(-1)
    return wide[np.isfinite(wide)]


def shares(s: DetailedStats, dtype: Any) -> tuple[float, float, float]:
    return s.overflow_share(dtype), s.underflow_share(dtype), s.denormal_share(dtype)


QUANTILES = np.array([0.0, 1e-4, 0.01, 0.25, 0.5, 0.7773, 0.99, 1.0])


def check_quantiles(s: DetailedStats, x: npt.NDArray[Any]) -> None:
    finite = finite_of(x)
    if not finite.size:
        assert np.isnan(s.quantile(QUANTILES)).all()
        return
    got = s.quantile(QUANTILES)
    finite.sort()
    place = QUANTILES * (finite.size - 1)
    low = finite[np.floor(place).astype(int)]
    high = finite[np.ceil(place).astype(int)]
    part = place - np.floor(place)
    want = low * (1.0 - part) + high * part
    # Each of the two is known to `quantile_error`; float64 below 2^-1029 is 0.
    error = s.quantile_error * (np.abs(low) * (1.0 - part) + np.abs(high) * part) + 2.0**-1029
    assert (np.abs(got - want) <= error + 1e-15 * np.abs(want)).all(), (got, want)
    assert (got[0], got[-1]) == (finite[0], finite[-1])
