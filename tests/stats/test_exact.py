"""How exact: on hard data of many parts, beside numpy, and whatever the number of threads."""

from typing import Any

import numpy as np
import pytest
from oracle import describe

import fastact
from fastact import summarize

N = 200_003
TURNS = np.arange(N) % 2 == 0
NORMAL = np.random.default_rng(11).standard_normal(N)

# After NIST StRD's NumAcc 1 to 4, and harder: large offsets with small spreads, long alternating series, scales whose
# squares leave float64.
HARD: dict[str, Any] = {
    "numacc 1e7": 1e7 + np.where(TURNS, 0.1, 0.3),
    "numacc 1e13": 1e13 + np.where(TURNS, 0.1, 0.3),
    "numacc 1e15": 1e15 + np.where(TURNS, 0.125, 0.375),
    "alternating": np.where(TURNS, 1e8, -1e8) + NORMAL,
    "one ulp": np.where(TURNS, 1.0, np.nextafter(1.0, 2.0)),
    "1e300": NORMAL * 1e300,
    "1e-300": NORMAL * 1e-300,
    "offset 1e8": NORMAL + 1e8,
    "ramp": np.arange(N) * 1.0,
    "lognormal": np.exp(NORMAL * 5),
}


@pytest.mark.parametrize("name", HARD)
def test_float64_has_at_least_as_many_digits_as_numpy(name: str) -> None:
    x = HARD[name]
    want = describe(x)
    stats = summarize(x)
    with np.errstate(all="ignore"):
        theirs = {"std": float(x.std()), "mean": float(x.mean())}
    for field, ours in (("std", stats.std), ("mean", stats.mean)):
        # Both are floats: a correctly rounded answer may be half a unit in the last place off.
        rounding = max(abs(want[field]) * 2e-15, want["std"] * 1e-16)
        assert abs(ours - want[field]) <= max(abs(theirs[field] - want[field]), rounding), field
    assert stats.std == pytest.approx(want["std"], rel=1e-14)


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e2, 1e4, -1e4])
@pytest.mark.parametrize("shape", ["tensor", "columns", "runs"])
def test_float32_std_to_1e6_up_to_a_mean_of_1e4_std(offset: float, shape: str) -> None:
    x = (NORMAL[:200_000] + offset).astype(np.float32)
    wide = x.astype(np.float64)
    if shape == "tensor":
        assert summarize(x).std == pytest.approx(wide.std(), rel=1e-6)
    elif shape == "columns":
        got = summarize(x.reshape(-1, 40), axis=-1).std
        np.testing.assert_allclose(got, wide.reshape(-1, 40).std(0), rtol=1e-6)
    else:
        got = summarize(x.reshape(20, 25, 400), axis=1).std
        np.testing.assert_allclose(got, wide.reshape(20, 25, 400).std((0, 2)), rtol=1e-6)


@pytest.mark.parametrize("value", [1.1, 0.7, 1.3333, 1e-5, 12345.678])
def test_equal_elements_whose_rounding_errors_never_cancel(value: float) -> None:
    """Two values of either sign: each square and each |x| is the same, and so is each rounding."""
    for size in (2048, 65_536, N):
        x = np.where(np.random.default_rng(1).random(size) < 0.5, value, -value).astype(np.float32)
        want = describe(x)
        stats = summarize(x)
        assert stats.std == pytest.approx(want["std"], rel=1e-6)
        assert stats.abs_mean == pytest.approx(want["abs_mean"], rel=4e-6)
        columns = summarize(np.repeat(x[:2000, None], 20, 1), axis=1)
        np.testing.assert_allclose(columns.std, x[:2000].std(dtype=np.float64), rtol=4e-6)


def test_merging_many_parts_loses_nothing() -> None:
    x = HARD["numacc 1e13"]
    merged = fastact.merge(summarize(part) for part in np.array_split(x, 5000))
    assert merged.std == pytest.approx(describe(x)["std"], rel=1e-12)
