"""`summarize(x, extras=...)` against oracles that share nothing with it: exact integers, real casts, NumPy's sort."""

import math
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import numpy.typing as npt
import pytest
import torch
from detailed_oracles import FLOATS, QUANTILES, check_quantiles, finite_of, shares
from oracle import nasty

import fastact
from fastact import summarize

NARROW: dict[str, Any] = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}
CASES = [(dtype, name) for dtype in FLOATS for name in nasty(FLOATS[dtype])]


def shape_of(x: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Skewness, kurtosis and the mean of |z|^3, from exact sums of the elements' integer multiples."""
    ratios = [float(v).as_integer_ratio() for v in finite_of(x)]
    scale = max(denominator for _, denominator in ratios)
    integers = [numerator * (scale // denominator) for numerator, denominator in ratios]
    n = len(integers)
    total = sum(integers)
    centred = [n * i - total for i in integers]
    m2, m3, m4 = (sum(c**k for c in centred) for k in (2, 3, 4))
    if m2 == 0:
        return math.nan, math.nan, math.nan
    with mpmath.workprec(300):
        second = mpmath.mpf(m2) / n
        third = [mpmath.mpf(m) / n / second ** mpmath.mpf(1.5) for m in (m3, sum(abs(c) ** 3 for c in centred))]
        return float(third[0]), float(mpmath.mpf(m4) / n / second**2 - 3), float(third[1])


@pytest.mark.parametrize(("dtype", "name"), CASES)
def test_shape_of_nasty_data(dtype: str, name: str) -> None:
    x = nasty(FLOATS[dtype])[name]
    s = summarize(x, extras="shape")
    if not finite_of(x).size:
        assert math.isnan(s.skewness)
        assert math.isnan(s.kurtosis)
        return
    skewness, kurtosis, cubes = shape_of(x)
    error = 1e-12 if dtype == "float64" else 2e-6
    if s.std < 1e-310:  # it has few digits itself
        error = 1e-2
    assert s.skewness == pytest.approx(skewness, abs=error * cubes, nan_ok=True)
    assert s.kurtosis + 3.0 == pytest.approx(kurtosis + 3.0, rel=error, nan_ok=True)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.uint64, np.bool_])
def test_shape_of_integers(dtype: Any) -> None:
    x = np.random.default_rng(1).exponential(20.0, 20_001).clip(0.0, 120.0)
    x = (x > 30.0 if dtype is np.bool_ else x).astype(dtype)
    skewness, kurtosis, cubes = shape_of(x)
    s = summarize(x, extras="shape")
    assert s.skewness == pytest.approx(skewness, abs=2e-6 * cubes)
    assert s.kurtosis == pytest.approx(kurtosis, rel=1e-5)


def lost(x: npt.NDArray[Any], dtype: Any) -> tuple[int, int, int]:
    """How many finite elements a cast loses, how many non-zero ones become zero and how many denormal."""
    x = x[np.isfinite(x.astype(np.float64))]
    with np.errstate(over="ignore", under="ignore"):
        cast = x.astype(dtype)
    size = np.abs(cast.astype(np.float64))
    nonzero = x.astype(np.float64) != 0.0
    smallest = float(ml_dtypes.finfo(dtype).smallest_normal)  # type: ignore[no-untyped-call]
    return (
        int((~np.isfinite(size)).sum()),
        int((nonzero & (size == 0)).sum()),
        int(((size > 0) & (size < smallest)).sum()),
    )


def around_the_limits() -> npt.NDArray[np.float32]:
    """float32s within two steps of all powers of two and of all halves between neighbours at the ends of each type."""
    ends = [2.0**e for e in range(-149, 128)] + [65520.0, 65504.0, 448.0, 464.0, 480.0, 57344.0, 61440.0]
    ends += [2.0**-14 - 2.0**-25, 2.0**-126 - 2.0**-134, 2.0**-6 - 2.0**-10, 2.0**-14 - 2.0**-17, 2.0**128 - 2.0**119]
    bits = np.array(ends, np.float32).view(np.uint32)[:, None] + np.arange(-2, 3).astype(np.uint32)
    size = bits.reshape(-1).view(np.float32)
    size = size[np.isfinite(size)]
    return np.concatenate([size, -size, np.array([0.0, -0.0, np.nan, np.inf, -np.inf], np.float32)])


@pytest.mark.parametrize("target", NARROW)
def test_shares_are_those_of_a_cast(target: str) -> None:
    cast = NARROW[target]
    edges = around_the_limits()
    sources: list[Any] = [
        edges,
        edges[::-1].copy(),
        np.random.default_rng(2).standard_normal(30_000, np.float32) * 1e-3,
    ]
    sources += [np.arange(1 << 16, dtype=np.uint16).view(NARROW[name]) for name in ("float16", "bfloat16")]
    sources += [np.arange(1 << 8, dtype=np.uint8).view(NARROW[name]) for name in ("float8_e4m3fn", "float8_e5m2")]
    for x in sources:
        with np.errstate(invalid="ignore"):
            # To float32 first: it holds all of these, and casts from there round once.
            over, under, denormal = lost(x.astype(np.float32), cast)
        s = summarize(x, extras="exponents")
        nonzero = s.finite - s.zeros
        assert shares(s, target) == (over / s.finite, under / nonzero, denormal / nonzero)
        assert shares(s, cast) == shares(s, target)


def test_shares_of_float64_round_once() -> None:
    above = np.nextafter(464.0, 500.0)
    s = summarize(np.array([464.0, above, np.nextafter(65520.0, 0.0), 65520.0]), extras="exponents")
    assert s.overflow_share("float8_e4m3fn") == 0.75  # by way of float32, 464 and a bit would be 464
    assert s.overflow_share(np.float16) == 0.25
    assert s.overflow_share(torch.bfloat16) == 0.0
    tiny = summarize(np.array([2.0**-25, np.nextafter(2.0**-25, 1.0), 1.0]), extras="exponents")
    assert tiny.underflow_share("float16") == 1 / 3
    assert tiny.denormal_share("float16") == 1 / 3


@pytest.mark.parametrize(("dtype", "name"), CASES)
def test_exponents_of_nasty_data(dtype: str, name: str) -> None:
    x = nasty(FLOATS[dtype])[name]
    finite = finite_of(x)
    exponents = np.frexp(finite[np.abs(finite) >= 2.0**-1029])[1] - 1
    found = summarize(x, extras="exponents").exponents
    assert found.counts.sum() == exponents.size
    if exponents.size:
        assert np.array_equal(found.exponent, np.arange(exponents.min(), exponents.max() + 1))
        assert np.array_equal(found.counts, np.bincount(exponents - exponents.min()))


@pytest.mark.parametrize(("dtype", "name"), CASES)
def test_quantiles_of_nasty_data(dtype: str, name: str) -> None:
    x = nasty(FLOATS[dtype])[name]
    s = summarize(x, extras="quantiles")
    assert s.quantile_error == (0.0 if dtype in NARROW else 2.0**-7)
    check_quantiles(s, x)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_quantiles_of_integers(dtype: Any) -> None:
    info = np.iinfo(dtype)
    x = np.random.default_rng(3).integers(info.min, info.max, 9001, dtype=dtype, endpoint=True)
    x[:4] = info.min, info.max, 0, 1
    s = summarize(x, extras="quantiles")
    check_quantiles(s, x)
    if info.bits <= 16:
        assert np.array_equal(s.quantile(QUANTILES), np.quantile(x, QUANTILES))


def test_every_narrow_value_is_its_own() -> None:
    for name, dtype in NARROW.items():
        bits = np.uint16 if name in ("float16", "bfloat16") else np.uint8
        every = np.arange(np.iinfo(bits).max + 1, dtype=bits).view(dtype)
        check_quantiles(summarize(every, extras="quantiles"), every)
    assert summarize(np.array([True, False, True]), extras="quantiles").quantile(0.5) == 1.0


def test_quantiles_between_many_elements_are_much_closer_than_the_bound() -> None:
    x = np.random.default_rng(4).standard_normal(200_000, np.float32)
    q = [0.01, 0.1, 0.4, 0.6, 0.9, 0.999]
    got = summarize(x, extras="quantiles").quantile(q)
    assert np.abs(got / np.quantile(x, q) - 1.0).max() < 5e-4


@pytest.mark.parametrize(("dtype", "name"), CASES)
def test_outliers_of_nasty_data(dtype: str, name: str) -> None:
    x = nasty(FLOATS[dtype])[name]
    s = summarize(x, extras="outliers")
    finite = finite_of(x)
    finite[np.abs(finite) < 2.0**-1029] = 0.0  # as documented
    for threshold in (0.5, 3.0, 6.0):
        distance = np.abs(0.5 * finite - 0.5 * s.mean) if finite.size else finite
        beyond = int((distance > threshold * (0.5 * s.std)).sum())
        found = s.outliers(threshold)
        assert found.at_least <= beyond <= found.at_most
        if dtype in NARROW:
            assert found.at_least == found.at_most
        found = s.outliers(threshold, absolute=True)
        assert found == (int((np.abs(finite) >= threshold).sum()),) * 2
    found = s.outliers(5.4321, absolute=True)
    assert found.at_least <= int((np.abs(finite) >= 5.4321).sum()) <= found.at_most


def test_outliers_per_neuron() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((500, 6)).astype(np.float32) + np.float32(100.0)
    x[3, 1], x[4, 2], x[5, 3] = 50.0, 200.0, np.nan
    x[:, 4] = np.inf
    c = summarize(x, axis=-1)
    assert c.outliers().tolist() == [False, True, True, False, False, False]
    assert c.outliers(1e6).tolist() == [False] * 6
    assert summarize(x.reshape(500, 2, 3), axis=(1, 2)).outliers().shape == (2, 3)
    for bad, error in ((-1.0, fastact.ArgumentValueError), (math.nan, fastact.ArgumentValueError)):
        with pytest.raises(error, match="threshold"):
            c.outliers(bad)
    with pytest.raises(fastact.ArgumentTypeError, match="threshold"):
        c.outliers("six")  # type: ignore[arg-type]
