"""What `summarize(x, extras=...)` makes of parts, threads, layouts and what was not asked for."""

import copy
import math
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from detailed_oracles import FLOATS, check_quantiles, finite_of, shares
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastact
from fastact import DetailedStats, summarize
from fastact.cpu.sweep import SMALL

ALL = ("shape", "exponents", "quantiles", "outliers")


def same(a: DetailedStats, b: DetailedStats, dtype: str) -> None:
    """Equal in what is exact, close in what is rounded."""
    assert a._details[0] == b._details[0]
    assert a._details[2:4] == b._details[2:4]
    assert np.array_equal(a._details.values, b._details.values)
    assert np.array_equal(a._details.counts, b._details.counts)
    error = 1e-9 if dtype == "float64" else 1e-4
    assert a.skewness == pytest.approx(b.skewness, rel=error, abs=error * (abs(b.kurtosis) + 3.0), nan_ok=True)
    assert a.kurtosis + 3.0 == pytest.approx(b.kurtosis + 3.0, rel=error, nan_ok=True)


@given(
    hnp.arrays(st.sampled_from([np.float16, np.int32, np.float32, np.float64]), st.integers(0, 200)),
    st.integers(0, 200),
)
def test_merging_parts_is_sweeping_the_whole(x: Any, cut: int) -> None:
    a, b = summarize(x[:cut], extras=ALL), summarize(x[cut:], extras=ALL)
    whole = summarize(x, extras=ALL)
    assert (a | b).count == whole.count
    spread = whole.std > 1e-4 * max(abs(whole.min), abs(whole.max)) if whole.finite else False
    if spread:  # otherwise rounding of the mean decides
        same(a | b, whole, x.dtype.name)
    same(a | b, b | a, "float32")


@pytest.mark.parametrize("dtype", FLOATS)
def test_many_parts_and_threads(dtype: str) -> None:
    x = (np.random.default_rng(6).standard_gamma(2.0, 21 * SMALL + 77) - 1.0).astype(FLOATS[dtype])
    x[SMALL + 5], x[-3] = np.nan, np.inf
    before = fastact.get_num_threads()
    try:
        fastact.set_num_threads(1)
        one = summarize(x, extras=ALL)
        for threads in (2, 5):
            fastact.set_num_threads(threads)
            assert summarize(x, extras=ALL) == one
    finally:
        fastact.set_num_threads(before)
    parts = fastact.merge([summarize(part, extras=ALL) for part in np.array_split(x, 7)])
    assert isinstance(parts, DetailedStats)
    same(parts, one, "float32")
    accumulator = fastact.Accumulator(extras=ALL)
    assert isinstance(accumulator.stats, DetailedStats)
    for part in np.array_split(x, 7):
        accumulator.update(part)
    assert accumulator.stats == parts
    finite = finite_of(x)
    z = (finite - finite.mean()) / finite.std()
    assert one.skewness == pytest.approx((z**3).mean(), rel=1e-5)
    assert one.kurtosis == pytest.approx((z**4).mean() - 3.0, rel=1e-5)
    check_quantiles(one, x)


def test_parts_of_different_types_merge() -> None:
    x = np.random.default_rng(7).standard_normal(3000)
    parts: list[Any] = [x[:1000].astype(np.float16), x[1000:2000].astype(np.float32), np.arange(-50, 50, dtype=np.int8)]
    stats = [summarize(part, extras=ALL) for part in parts]
    whole = np.concatenate([part.astype(np.float64) for part in parts])
    want = summarize(whole, extras=ALL)
    same(stats[0] | stats[1] | stats[2], want, "float32")
    narrow = stats[0] | stats[2]
    assert narrow.quantile_error == 0.0
    check_quantiles(narrow, np.concatenate([parts[0].astype(np.float64), parts[2]]))


def test_layouts_and_owners() -> None:
    x = np.random.default_rng(8).standard_normal((60, 70, 80)).astype(np.float32)
    for view in (x[::2, :, ::3], x.T, x[::-1], x[:0]):
        same(summarize(view, extras=ALL), summarize(np.ascontiguousarray(view), extras=ALL), "float32")
    assert summarize(torch.from_numpy(x), extras=ALL) == summarize(x, extras=ALL)
    bits = torch.from_numpy(x).to(torch.bfloat16)
    assert summarize(bits, extras=ALL) == summarize(x.astype(ml_dtypes.bfloat16), extras=ALL)


def test_plain_numbers_stay_what_they_are() -> None:
    x = np.random.default_rng(9).standard_normal(5000).astype(np.float32)
    plain = summarize(x, saturation=(-2.0, 2.0), zero_tol=0.1)
    detailed = summarize(x, saturation=(-2.0, 2.0), zero_tol=0.1, extras="shape")
    assert detailed.state == plain.state
    assert detailed != plain
    assert plain != detailed
    assert (detailed.saturation, detailed.zero_tol) == (plain.saturation, plain.zero_tol)
    assert type(summarize(x, extras=())) is fastact.ActivationStats
    assert type(summarize(x, extras=[])) is fastact.ActivationStats


def test_asking_for_what_was_not_made() -> None:
    x = np.arange(10.0)
    plain = summarize(x)
    for extra, names in {
        "shape": ["skewness", "kurtosis"],
        "exponents": ["exponents", "overflow_share", "underflow_share", "denormal_share"],
        "quantiles": ["quantile", "quantile_error"],
        "outliers": ["outliers"],
    }.items():
        others = summarize(x, extras=[e for e in ALL if e != extra])
        for name in names:
            with pytest.raises(AttributeError, match=f"{name}.*extras='{extra}'"):
                getattr(plain, name)
            with pytest.raises(AttributeError, match=f"{name}.*extras='{extra}'"):
                getattr(others, name)(0.5)
    with pytest.raises(AttributeError, match="no attribute 'medium'"):
        plain.medium  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("error", "extras"),
    [
        (fastact.ArgumentValueError, "median"),
        (fastact.ArgumentValueError, ["shape", "quantile"]),
        (fastact.ArgumentTypeError, 3),
        (fastact.ArgumentTypeError, None),
        (fastact.ArgumentTypeError, [1]),
    ],
)
def test_unknown_extras(error: type[Exception], extras: Any) -> None:
    with pytest.raises(error, match="extras"):
        summarize(np.zeros(3), extras=extras)
    with pytest.raises(error, match="extras"):
        fastact.Accumulator(extras=extras)


def test_refusals() -> None:
    s = summarize(np.arange(4.0), extras=ALL)
    with pytest.raises(fastact.ArgumentValueError, match=r"extras.*axis"):
        summarize(np.zeros((2, 2)), axis=0, extras="shape")
    for bad in ("float32", np.float64, object(), 7):
        with pytest.raises(fastact.ArgumentValueError, match="dtype"):
            s.overflow_share(bad)
    for q in (-0.1, 1.1, math.nan, [0.5, 2.0]):
        with pytest.raises(fastact.ArgumentValueError, match="q: got"):
            s.quantile(q)
    with pytest.raises(fastact.ArgumentTypeError, match="q: got"):
        s.quantile("half")  # type: ignore[arg-type]
    with pytest.raises(fastact.ArgumentValueError, match="threshold"):
        s.outliers(-1.0)
    with pytest.raises(fastact.ArgumentTypeError, match="threshold"):
        s.outliers(None)  # type: ignore[arg-type]
    other = summarize(np.arange(4.0), extras="shape")
    for left, right in ((s, other), (s, summarize(np.arange(4.0))), (summarize(np.arange(4.0)), s)):
        with pytest.raises(fastact.ArgumentValueError, match="extras"):
            left | right
    with pytest.raises(fastact.ArgumentValueError, match="zero_tol"):
        s | summarize(np.arange(4.0), extras=ALL, zero_tol=1.0)
    empty = summarize(np.zeros(0))
    assert (s | empty) == s == (empty | s)


def test_immutable_comparable_and_picklable() -> None:
    x = np.array([1.0, 2.0, 4.0, np.nan])
    s = summarize(x, extras=ALL)
    with pytest.raises(AttributeError):
        s.skewness = 1.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        s._details.counts[0] = 7
    for twin in (pickle.loads(pickle.dumps(s)), copy.deepcopy(s), summarize(x, extras=reversed(ALL))):
        assert twin == s
        assert hash(twin) == hash(s)
        assert twin.quantile(0.5) == s.quantile(0.5)
    assert s != summarize(x[:3], extras=ALL)
    assert repr(s).startswith("DetailedStats(count=4, ")
    assert len(pickle.dumps(summarize(np.random.default_rng(0).standard_normal(10**5), extras=ALL))) < 100_000


def test_no_elements() -> None:
    for x in (np.zeros((0, 3)), np.array([np.nan, np.inf])):
        s = summarize(x, extras=ALL)
        nothing = [s.skewness, s.kurtosis, s.quantile(0.5), *shares(s, "float16")]
        assert all(math.isnan(v) for v in nothing)
        assert s.outliers() == s.outliers(absolute=True) == (0, 0)
        assert s.exponents.counts.size == 0
    assert s.quantile([0.1, 0.2]).shape == (2,)
