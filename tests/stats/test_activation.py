"""`ActivationStats`: derived numbers, no elements, comparison, immutability, pickles."""

import math
import pickle

import numpy as np
import pytest

import fastact
from fastact import summarize


def test_derived_numbers() -> None:
    x = np.array([-3.0, 0.0, 1.0, 4.0, np.nan])
    s = summarize(x)
    finite = x[:4]
    assert s.var == pytest.approx(finite.var())
    assert s.rms == pytest.approx(math.sqrt((finite**2).mean()))
    assert s.abs_mean == np.abs(finite).mean()
    assert s.absmax == 4.0
    assert (s.finite, s.zero_ratio, s.saturation_ratio) == (4, 0.2, 0.6)
    assert (s.total_elements, s.num_zeros, s.num_saturated) == (s.count, s.zeros, s.saturated)
    assert (s.min_val, s.max_val) == (s.min, s.max)
    assert fastact.compute_activation_stats is summarize


def test_stats_are_immutable_comparable_and_picklable() -> None:
    s = summarize(np.array([1.0, np.nan]))
    for name in ("mean", "_state", "other"):
        with pytest.raises(AttributeError):
            setattr(s, name, 1)
    with pytest.raises(AttributeError):
        del s._state
    assert s == summarize(np.array([1.0, np.nan])) != summarize(np.array([1.0]))
    assert hash(s) == hash(summarize(np.array([1.0, np.nan])))
    empty = summarize(np.array([]))
    assert pickle.loads(pickle.dumps(s)) == s
    assert pickle.loads(pickle.dumps(empty)) == empty
    assert s != "stats"
    assert fastact.ActivationStats.from_state(s.state) == s


def test_no_elements() -> None:
    s = summarize(np.zeros((0, 3)))
    assert (s.count, s.zeros) == (0, 0)
    assert all(math.isnan(v) for v in (s.mean, s.std, s.min, s.max, s.absmax, s.rms, s.zero_ratio, s.saturation_ratio))
