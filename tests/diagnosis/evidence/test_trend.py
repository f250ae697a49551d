"""The fit of growth behind a forecast: robust, with bounds that hold what they say."""

import math

import numpy as np
import pytest

from fastact.diagnosis.evidence.trend import growth, reaches


def test_the_fit_of_growth_is_robust_and_bounded() -> None:
    steps = np.arange(0, 60, 2)
    values = 1.1 ** steps.astype(float)
    values[7] = 1e-6
    trend = growth(steps, values)
    assert trend is not None
    assert math.exp(trend.rate) == pytest.approx(1.1)
    assert trend.low <= trend.rate <= trend.high
    assert trend.evidence()["growth_per_step"] == pytest.approx(1.1)
    assert growth(steps[:1], values[:1]) is None
    assert growth(np.zeros(4, np.int64), np.arange(1.0, 5.0)) is None
    few = growth(steps[:6], values[:6])
    assert few is not None
    assert math.isnan(few.low)


def test_the_bounds_of_growth_hold_the_truth_as_often_as_they_say() -> None:
    random, inside = np.random.default_rng(0), 0
    for _ in range(400):
        # The largest value ends the fit: it is put last, so that what is tested is the interval alone.
        logs = 0.05 * np.arange(60) + random.standard_t(2, 60) * 0.1
        logs[-1] = 100.0
        trend = growth(np.arange(60), np.exp(logs))
        assert trend is not None
        inside += trend.low <= 0.05 <= trend.high
    assert inside >= 0.93 * 400


def test_what_does_not_grow_reaches_nothing() -> None:
    assert reaches(65504.0, 3, 70000.0, 0.0) == 3
    for rate in (0.0, -1.0, math.nan, 1e-300):
        assert reaches(65504.0, 3, 1.0, rate) is None
