"""`summarize` against the oracle: every dtype, nasty data, the options and their refusal."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracle import ERROR, check, nasty

import fastact
from fastact import summarize
from fastact.cpu.sweep import SMALL

FLOATS: dict[str, Any] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}


@pytest.mark.parametrize(("dtype", "name"), [(dtype, name) for dtype in FLOATS for name in nasty(FLOATS[dtype])])
def test_nasty_data(dtype: str, name: str) -> None:
    x = nasty(FLOATS[dtype])[name]
    check(summarize(x), x, ERROR[dtype])


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integers(name: str) -> None:
    info = np.iinfo(name)
    x = np.random.default_rng(3).integers(info.min, info.max, 9001, dtype=name, endpoint=True)
    x[:3] = info.min, info.max, 0
    stats = summarize(x)
    check(stats, x, 1e-6 if info.bits <= 16 else 1e-13)
    assert (stats.min, stats.max) == (info.min, info.max)  # exact, where float64 would round
    assert isinstance(stats.count, int)


def test_bool() -> None:
    x = np.arange(9001) % 3 == 0
    check(summarize(x), x, 1e-6)


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_every_float8_value(dtype: Any) -> None:
    every = np.arange(256, dtype=np.uint8).view(dtype)
    check(summarize(every), every, 1e-6)
    for value in every:
        one = np.array([value])
        check(summarize(one), one, 0.0)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_every_16_bit_value(dtype: Any) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    stats = summarize(every)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        want = every.astype(np.float64)
    finite = want[np.isfinite(want)]
    assert stats.nans == np.isnan(want).sum()
    assert stats.infs == np.isinf(want).sum() == 2
    assert (stats.min, stats.max) == (finite.min(), finite.max())
    assert stats.zeros == 2
    wide = finite.astype(np.longdouble)
    assert stats.std == pytest.approx(float(np.sqrt((wide * wide).mean())), rel=1e-6)


def test_longer_than_a_chunk() -> None:
    x = np.random.default_rng(5).standard_normal(3 * SMALL + 77).astype(np.float32) + np.float32(100)
    x[SMALL + 5] = np.nan
    check(summarize(x), x, 1e-6)


def test_options() -> None:
    x = np.array([-1.0, 0.005, 0.01, 0.5, 0.99, 5.99, 6.0, np.nan, np.inf, -np.inf], np.float32)
    for saturation in [(0.01, 0.99), (-math.inf, 5.99), (0.0, 0.0), (-1e300, 1e300), (1e300, 1e300)]:
        for zero_tol in [0.0, 0.01, 1.0, 1e300]:
            stats = summarize(x, saturation=saturation, zero_tol=zero_tol)
            check(stats, x, 1e-6, saturation=saturation, zero_tol=zero_tol)
            assert (stats.saturation, stats.zero_tol) == (saturation, zero_tol)


def test_bounds_are_compared_exactly_not_rounded_to_the_dtype() -> None:
    above = np.float32(0.99)  # 0.9900000095, more than 0.99
    assert summarize(np.array([above, -above])).saturated == 2
    below = np.nextafter(above, np.float32(0))
    assert summarize(np.array([below, -below])).saturated == 0
    assert summarize(np.array([0.1], np.float32), zero_tol=0.1).zeros == 0  # float32's 0.1 is more than 0.1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"saturation": 3}, TypeError, "saturation"),
        ({"saturation": (1.0, -1.0)}, ValueError, "saturation"),
        ({"saturation": (math.nan, 1.0)}, ValueError, "saturation"),
        ({"saturation": ("a", "b")}, TypeError, "saturation"),
        ({"zero_tol": -1.0}, ValueError, "zero_tol"),
        ({"zero_tol": math.nan}, ValueError, "zero_tol"),
        ({"zero_tol": "a"}, TypeError, "zero_tol"),
        ({"axis": 2}, ValueError, "axis"),
        ({"axis": (0, 0)}, ValueError, "axis"),
        ({"axis": ()}, ValueError, "axis"),
        ({"axis": 0.5}, TypeError, "axis"),
        ({"axis": True}, TypeError, "axis"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        summarize(np.zeros((2, 2)), **options)
    assert isinstance(caught.value, fastact.FastactError)


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.float16]),
        hnp.array_shapes(max_dims=3, max_side=40),
        elements={"allow_nan": True, "allow_infinity": True, "allow_subnormal": True},
    )
)
def test_any_floats(x: Any) -> None:
    check(summarize(x), x, 1e-5 if x.dtype != np.float64 else 1e-12)
