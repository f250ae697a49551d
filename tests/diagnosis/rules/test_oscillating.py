"""Oscillation: swings that are large, last and are regular; noise, trends, steps and spikes are none."""

import math
from typing import Any

import numpy as np
import pytest
from synthetic import found, nothing_finite, row, watch

from fastact.diagnosis.rules import Thresholds
from fastact.diagnosis.rules.oscillating import swings


def scaled(values: Any, first: int = 0) -> list[Any]:
    return [row(first + i, mean=0.0, std=float(x), within_std=float(x)) for i, x in enumerate(values)]


def moved(values: Any) -> list[Any]:
    return [row(i, mean=float(x)) for i, x in enumerate(values)]


def judged(rows: list[Any], kind: str = "Linear") -> list[tuple[str, str, str, int]]:
    return found(watch({"0": (kind, rows)}))


@pytest.mark.parametrize("period", [2, 3, 4, 6, 9])
@pytest.mark.parametrize("quiet", [0, 30])
def test_a_scale_that_swings_is_found_since_its_first_turning_point(period: int, quiet: int) -> None:
    random = np.random.default_rng(period)
    waves = 1.0 + 0.5 * np.cos(2.0 * np.pi * np.arange(60) / period)
    values = np.concatenate([np.full(quiet, 1.5), waves]) * (1.0 + 0.03 * random.standard_normal(60 + quiet))
    ((_, condition, severity, first),) = judged(scaled(values))
    assert (condition, severity) == ("oscillating", "warning")
    assert quiet - 2 <= first <= quiet + period
    # A wave of 50% and less is none, nor is one that has ended.
    assert judged(scaled(1.0 + 0.15 * np.cos(2.0 * np.pi * np.arange(60) / period))) == []
    assert judged(scaled(np.concatenate([waves, np.full(12, 1.5)]))) == []


def test_a_mean_that_swings_is_found_though_the_rms_stays() -> None:
    rows = moved(np.where(np.arange(40) % 2, 0.8, -0.8))
    assert judged(rows) == [("0", "oscillating", "warning", 0)]
    assert judged(moved(np.where(np.arange(40) % 2, 0.4, -0.4))) == []
    assert judged(rows[:19]) == []
    # An odd number of rows has one of the two levels as its median, give or take what rounding does on this machine.
    for count in (20, 21, 22, 35):
        for level in (0.8, 0.7, 1.0, 3.3e-5 * 2**15):
            rows = moved(np.where(np.arange(count) % 2, level, -level))
            assert judged(rows) == [("0", "oscillating", "warning", 0)], (count, level)


def test_swings_found_in_twenty_rows_of_the_window_are_enough_and_less_are_not_enough_data() -> None:
    rows = scaled(np.where(np.arange(19) % 2, 1.0, 3.0))
    diagnosis = watch({"0": ("Linear", rows)}).diagnose()
    assert diagnosis.healthy
    assert "oscillating" in diagnosis.layers[0].not_judged


@pytest.mark.parametrize("spread", [0.1, 0.3, 1.0, 3.0])
def test_noise_is_no_oscillation(spread: float) -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        assert judged(scaled(np.exp(spread * random.standard_normal(100)))) == []


def test_trends_steps_spikes_and_slow_waves_are_no_oscillation() -> None:
    time = np.arange(100)
    assert judged(scaled(np.exp(0.05 * time))) == []
    assert "oscillating" not in [f[1] for f in judged(scaled(np.where(time < 50, 1.0, 9.0)))]
    assert judged(scaled(np.where(time % 9 == 5, 4.0, 1.0))) == []  # a spike now and then
    assert judged(scaled(2.0 + np.cos(2.0 * np.pi * time / 40))) == []


def test_nan_changes_nothing() -> None:
    rows = scaled(np.where(np.arange(60) % 2, 1.0, 3.0))
    rows[20:24] = [nothing_finite(step) for step in range(20, 24)]
    names = [(f.condition, f.first_step) for f in watch({"0": ("Linear", rows)}, window_size=30).diagnose().findings]
    assert names == [("oscillating", 30)]  # the NaN has left the window, as has the beginning
    broken = [row(step, std=math.inf, mean=math.inf if step % 2 else -math.inf) for step in range(60)]
    assert "oscillating" not in [f[1] for f in judged(broken)]


@pytest.mark.parametrize(("kind", "said"), [("Softmax", False), ("Dropout", False), ("Input", True), ("", True)])
def test_kinds(kind: str, said: bool) -> None:
    assert bool(judged(scaled(np.where(np.arange(40) % 2, 1.0, 3.0)), kind)) == said


def test_layers_that_swing_together_have_one_culprit_and_a_text() -> None:
    rows = scaled(np.where(np.arange(40) % 2, 1.0, 3.0))
    diagnosis = watch({"0": ("Linear", rows), "1": ("Tanh", rows)}).diagnose()
    first, second = diagnosis.findings
    assert (first.consequence_of, second.consequence_of) == (None, "0")
    assert first.message == (
        "0 (Linear) has been oscillating since step 0: the rms of its outputs swings between 1 and 3 with a "
        "period of 2 steps."
    )
    assert first.remedies[0] == "use a lower learning rate"
    (data,) = watch({"0": ("Input", rows)}).diagnose().findings
    assert not any("rate" in remedy for remedy in data.remedies)


def test_swings_need_turning_points() -> None:
    for values in ([], [1.0], [1.0] * 50, list(range(50))):
        assert swings(np.array(values, float), 0.5, Thresholds()) is None
