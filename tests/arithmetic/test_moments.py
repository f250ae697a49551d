"""The laws of merging states: the parts make the whole, in any order."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastact
from fastact import ActivationStats, summarize

COUNTS = ("count", "finite", "nans", "infs", "pos_infs", "neg_infs", "zeros", "saturated")


@given(st.data())
def test_merge_law(data: st.DataObject) -> None:
    """Merging the parts equals sweeping the whole, for tensors and for neurons, however they are cut."""
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    n = data.draw(st.integers(1, 300))
    x = rng.standard_normal((n, 3)) * 10.0 ** data.draw(st.integers(-100, 100)) + data.draw(st.floats(-1e3, 1e3))
    x[rng.random(x.shape) < data.draw(st.sampled_from([0.0, 0.1, 1.0]))] = data.draw(
        st.sampled_from([np.nan, np.inf, 0.0])
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=5)))
    parts = np.split(x, cuts)
    for axis in (None, -1):
        whole: Any = summarize(x, axis=axis)
        swept: list[Any] = [summarize(part, axis=axis) for part in parts]
        merged: Any = fastact.merge(swept)
        accumulator = fastact.Accumulator(axis=axis)
        for part in parts:
            accumulator.update(part)
        assert accumulator.stats == merged
        for name in (*COUNTS, "min", "max"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
        np.testing.assert_allclose(merged.std, whole.std, rtol=1e-9, atol=0)
        size = np.maximum(np.abs(whole.mean), whole.std)
        assert np.all((np.abs(merged.mean - whole.mean) <= 1e-12 * size) | np.isnan(size))
        np.testing.assert_allclose(merged.abs_mean, whole.abs_mean, rtol=1e-12)


@given(st.lists(st.lists(st.floats(width=64), max_size=6), min_size=3, max_size=3))
def test_merge_is_commutative_associative_and_has_an_identity(parts: list[list[float]]) -> None:
    a, b, c = (summarize(np.array(part)) for part in parts)
    empty = fastact.merge([])
    assert a | empty == a == empty | a
    for left, right in [(a | b, b | a), ((a | b) | c, a | (b | c))]:
        assert left.state[:6] == right.state[:6]
        for name in ("min", "max"):
            assert getattr(left, name) == pytest.approx(getattr(right, name), rel=0, abs=0, nan_ok=True)
        size = max(left.absmax, 0.0) if left.finite else 0.0
        assert left.mean == pytest.approx(right.mean, abs=1e-14 * size, rel=1e-12, nan_ok=True)
        assert left.std == pytest.approx(right.std, abs=1e-14 * size, rel=1e-12, nan_ok=True)


def test_merge_of_far_apart_means_is_exact() -> None:
    """Two ranks with constants 0 and 2: the variance is +1 (a rival's pooled formula says -1)."""
    a, b = summarize(np.zeros(5)), summarize(np.full(5, 2.0))
    assert ((a | b).mean, (a | b).var) == (1.0, 1.0)
    high, low = summarize(np.array([1.7e308])), summarize(np.array([-1.7e308]))
    assert ((high | low).mean, (high | low).std) == (0.0, 1.7e308)


def test_counts_beyond_32_bits_add_up() -> None:
    state = (2**40, 0, 0, 0, 2**39, 0, 1.0, 1.0, 1.0, 0.0, 2.0)
    stats = ActivationStats.from_state(state)
    assert (stats | stats).count == 2**41
    assert (stats | stats).zero_ratio == 0.5


def test_merge_refuses_what_does_not_add_up() -> None:
    a = summarize(np.ones(3))
    with pytest.raises(fastact.ArgumentValueError, match="saturation"):
        fastact.merge([a, summarize(np.ones(3), saturation=(0.0, 1.0))])
    with pytest.raises(fastact.ArgumentValueError, match="shape"):
        summarize(np.ones((2, 3)), axis=1) | summarize(np.ones((2, 4)), axis=1)
    for bad in ([a, summarize(np.ones((2, 2)), axis=1)], [1.0], 5):
        with pytest.raises(fastact.ArgumentTypeError, match="parts"):
            fastact.merge(bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        a | 3  # type: ignore[operator]
    accumulator = fastact.Accumulator()
    accumulator.update(np.ones(3))
    with pytest.raises(fastact.ArgumentTypeError, match="x"):
        accumulator.update("text")
    assert accumulator.stats.count == 3
    assert fastact.Accumulator(saturation=(0.0, 1.0)).stats.saturation == (0.0, 1.0)
