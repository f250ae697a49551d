"""Whole tensors of 16 and 8 bits, which are swept in the bits they are stored in: beside NumPy in float64."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from fastact import summarize

HALVES: dict[str, Any] = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
#: Longer than what is read as two stretches far apart, with a block and some elements left over.
LONG = (1 << 17) + (1 << 15) + 77
BOUNDS = [
    (-0.99, 0.99), (-0.5, 0.5), (-math.inf, 5.99), (-1.5, math.inf), (-0.25, 1.0), (0.01, 0.99), (-2.0, -0.5),
    (0.0, 0.0), (0.7, 0.70001), (-math.inf, math.inf), (3e38, 3.1e38),
]  # fmt: skip
NORMAL = np.random.default_rng(5).standard_normal(LONG)


def agrees(x: npt.NDArray[Any], error: float, bounds: tuple[float, float] = (-0.99, 0.99), tol: float = 0.0) -> None:
    """The stats of `x` are those of its numbers in float64; `error` as in the oracle's `check`."""
    stats = summarize(x, saturation=bounds, zero_tol=tol)
    with np.errstate(invalid="ignore"):
        wide = x.astype(np.float64)
    lo, hi = bounds
    assert stats.count == x.size
    assert stats.nans == np.isnan(wide).sum()
    assert stats.infs == np.isinf(wide).sum()
    assert stats.zeros == (abs(wide) <= tol).sum()
    assert stats.saturated == ((wide < lo) | (wide > hi)).sum()
    finite = wide[np.isfinite(wide)]
    assert (stats.min, stats.max) == (finite.min(), finite.max())
    mean, std = finite.mean(), finite.std()
    assert abs(stats.mean - mean) <= error * max(abs(mean), std)
    assert abs(stats.std - std) <= error * std
    assert abs(stats.abs_mean - abs(finite).mean()) <= error * abs(finite).mean()


@pytest.mark.parametrize("name", HALVES)
def test_every_finite_value_within_any_bounds(name: str) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(HALVES[name])
    with np.errstate(invalid="ignore"):  # signalling NaNs
        every = every[np.isfinite(every)]
    middle = every[abs(every.astype(np.float32)) < 8.0]
    for bounds in BOUNDS:
        for x in (every, middle):
            stats = summarize(x, saturation=bounds, zero_tol=abs(bounds[0]) if bounds[0] > -9 else 0.0)
            wide = x.astype(np.float64)
            assert stats.saturated == ((wide < bounds[0]) | (wide > bounds[1])).sum(), bounds
            assert stats.zeros == (abs(wide) <= (abs(bounds[0]) if bounds[0] > -9 else 0.0)).sum(), bounds
            assert (stats.min, stats.max) == (wide.min(), wide.max())


@pytest.mark.parametrize("name", HALVES)
def test_means_near_zero_and_far_from_it(name: str) -> None:
    for offset in (0.0, 1.0, -1.9, 2.5, 40.0, -900.0):
        agrees((NORMAL + offset).astype(HALVES[name]), 1e-6)
    agrees(np.sort(NORMAL * 30).astype(HALVES[name]), 1e-6)  # each block has a mean of its own
    agrees((np.abs(NORMAL) + 1e-3).astype(HALVES[name]), 1e-6)
    agrees((-np.abs(NORMAL) - 1e-3).astype(HALVES[name]), 1e-6, (-math.inf, 5.99))


@pytest.mark.parametrize("name", HALVES)
def test_equal_squares_whose_rounding_errors_never_cancel(name: str) -> None:
    for value in (1.1, 0.7, 1.3333, 0.33):
        agrees(np.where(NORMAL > 0.0, value, -value).astype(HALVES[name]), 1e-6)


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("place", [0, 5000, LONG // 2 + 9000, LONG - 40_000, LONG - 1])
def test_what_is_not_finite_wherever_it_stands(name: str, place: int) -> None:
    for value in (np.nan, -np.nan, np.inf, -np.inf):
        for offset in (0.0, 30.0):
            x = (NORMAL + offset).astype(HALVES[name])
            x[place] = value
            agrees(x, 1e-6)


@pytest.mark.parametrize("name", HALVES)
def test_any_length(name: str) -> None:
    for size in (1, 2, 15, 31, 32, 63, 64, 65, 129, 1000, 16_384, 16_385, 40_001):
        agrees(NORMAL[:size].astype(HALVES[name]), 1e-6)


def test_squares_that_leave_float32() -> None:
    for scale in (1e-25, 1e-38, 1e30, 3e37):
        agrees((NORMAL[:70_000] * scale).astype(ml_dtypes.bfloat16), 1e-6)


@pytest.mark.parametrize("name", ["int8", "uint8", "bool"])
def test_whole_numbers_are_exact(name: str) -> None:
    rng = np.random.default_rng(2)
    for size in (1, 2, 63, 64, 65, 127, 128, 129, 1000, 32_600, 70_001, LONG):
        bits = rng.integers(0, 2 if name == "bool" else 256, size, np.uint8)
        x = bits.view(name)
        for bounds, tol in (
            ((-0.99, 0.99), 0.0),
            ((-100.0, 99.5), 3.7),
            ((0.1, 0.9), 1e300),
            ((-math.inf, 5.0), 127.0),
        ):
            agrees(x, 1e-14, bounds, tol)
    for value in (0, 1) if name == "bool" else (0, 127, 128, 255):
        x = np.full(LONG, value, np.uint8).view(name)
        agrees(x, 0.0)
        x = np.append(x, x[:1] ^ x.dtype.type(1))
        agrees(x, 1e-12)  # of a std of 1 / sqrt(n)


def test_bytes_that_are_neither_zero_nor_one_are_true() -> None:
    stats = summarize(np.arange(256, dtype=np.uint8).repeat(3).view(np.bool_))
    assert (stats.count, stats.zeros, stats.mean, stats.max) == (768, 3, 255 / 256, 1.0)
