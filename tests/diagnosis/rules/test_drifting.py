"""Drift: sudden changes that last, and what is small, slow, early or over."""

import math
from typing import Any

import numpy as np
import pytest
from synthetic import found, only, row, watch

from fastact.diagnosis.finding import Finding
from fastact.diagnosis.network import Network
from fastact.diagnosis.rules import RULES


def scales(*parts: tuple[int, float], noise: float = 0.02) -> list[Any]:
    """Rows whose rms holds a level for so many rows each, but for a little noise."""
    levels = [level for rows, level in parts for _ in range(rows)]
    sizes = [level * (1.0 + noise * math.sin(7.0 * i)) for i, level in enumerate(levels)]
    return [row(i, mean=0.0, std=size, within_std=size) for i, size in enumerate(sizes)]


STEADY = ("Linear", [row(step) for step in range(100)])


@pytest.mark.parametrize("factor", [200.0, 5.0, 0.2, 0.1])
def test_a_sudden_change_that_lasts_is_drift(factor: float) -> None:
    rows = scales((60, 1.0), (40, factor))
    # All of 60 rows on one side of four others are a chance of 3e-6, and of five others one of 2e-7.
    assert found(watch({"fc": ("Linear", rows[:64])})) == []
    finding = only({"fc": ("Linear", rows[:65])})
    assert (finding.condition, finding.severity, finding.first_step) == ("drifting", "warning", 60)
    assert finding.evidence["factor"] == pytest.approx(factor, rel=0.1)
    assert ("rose" if factor > 1.0 else "fell") in finding.message
    assert only({"fc": ("Linear", rows)}).first_step == 60


def test_other_data_is_told_at_the_input_and_what_follows_follows_from_it() -> None:
    jump = scales((60, 1.0), (20, 50.0))
    flat = [row(s, saturated=4000 if s >= 60 else 0, min=-1.0, max=1.0) for s in range(80)]
    layers = {"input": ("Input", jump), "0": ("Linear", jump), "1": ("Tanh", flat), "2": STEADY}
    findings = watch(layers).diagnose().findings
    assert [(f.layer, f.condition, f.severity, f.cause_name, f.consequence_of) for f in findings] == [
        ("input", "drifting", "serious", "data_changed", None),
        ("0", "drifting", "warning", "data_changed", "input"),
        ("1", "saturated", "critical", findings[2].cause_name, "input"),
    ]
    assert findings[0].confidence == "certain"
    moved = [row(s, mean=0.0 if s < 60 else 3.5) for s in range(80)]
    finding = only({"input": ("Input", moved), "0": STEADY})
    assert finding.message == (
        "input (Input) changed abruptly at step 60: the mean of its values moved from 0 to 3.5 and stayed there."
    )
    assert watch({"input": ("Input", [row(s, mean=0.0 if s < 60 else 2.5) for s in range(80)])}).diagnose().healthy


def test_a_layer_alone_that_changes_was_changed_from_outside_and_a_mild_change_is_a_note() -> None:
    steady = {"input": ("Input", scales((90, 1.0))), "0": STEADY}
    finding = only(steady | {"1": ("Linear", scales((60, 1.0), (30, 0.02)))})
    assert (finding.layer, finding.cause_name, finding.severity) == ("1", "weights_replaced", "warning")
    assert finding.because == ("the layers before it, which every update moves too, stay as they are",)
    diagnosis = watch(steady | {"1": ("Linear", scales((60, 1.0), (30, 6.0)))}).diagnose()
    assert diagnosis.healthy
    assert [note.condition for note in diagnosis.notes] == ["drifting"]


def test_what_is_small_slow_early_or_over_is_no_drift() -> None:
    noise = np.exp(0.6 * np.random.default_rng(0).standard_normal(100)) * np.where(np.arange(100) < 60, 1.0, 6.0)
    noisy = [row(i, mean=0.0, std=x, within_std=x) for i, x in enumerate(noise)]
    for rows in (
        scales((60, 1.0), (40, 3.5)),
        scales((15, 1.0), (60, 10.0)),
        scales((50, 1.0), (20, 10.0), (10, 1.0)),
        noisy,
        [row(i, mean=0.0, std=math.exp(0.05 * i), within_std=math.exp(0.05 * i)) for i in range(100)],
    ):
        assert found(watch({"fc": ("Linear", rows)})) == []


def test_the_end_of_a_plateau_is_no_drift() -> None:
    def learning(rows: int) -> list[Any]:
        """A plateau, a rise to eight times within so many rows, and a plateau."""
        ramp = tuple((1, math.exp(math.log(8.0) * i / rows)) for i in range(rows))
        return scales((45, 1.0), *ramp, (55 - rows, 8.0))

    for rows in (5, 16):
        assert found(watch({"fc": ("Linear", learning(rows))})) == []
    for rows in (1, 2, 3):
        (finding,) = watch({"fc": ("Linear", learning(rows))}).diagnose().findings
        assert (finding.condition, finding.first_step) == ("drifting", 46), rows


def test_drift_leaves_rows_of_nan_out() -> None:
    rows = scales((60, 1.0), (25, 50.0))
    rows[30] = row(30, nans=4096, mean=math.nan, std=math.nan, within_std=math.nan, min=math.inf, max=-math.inf)
    # Some NaN somewhere explains all that comes later, so the rule is asked alone.
    diagnoser = watch({"fc": ("Linear", rows)})
    conditions = [finding.condition for finding in diagnoser.diagnose().findings]
    assert conditions == ["non_finite"]
    rule = next(rule for rule in RULES if rule.condition == "drifting")
    view = diagnoser.views()["fc"]
    finding = rule.check(view, Network([view], recent_rows=10, min_samples=8), diagnoser.thresholds)
    assert isinstance(finding, Finding)
    assert finding.first_step == 60


def test_a_change_of_the_data_outlasts_the_window_while_the_network_has_not_come_back() -> None:
    moved = [row(s, mean=0.0 if s < 60 else 40.0) for s in range(250)]
    thrown = scales((60, 1.0), (190, 30.0))
    back = scales((60, 1.0), (60, 30.0), (130, 1.0))
    finding = only({"input": ("Input", moved), "0": ("Linear", thrown)})
    assert (finding.layer, finding.severity, finding.first_step) == ("input", "serious", 60)
    diagnosis = watch({"input": ("Input", moved), "0": ("Linear", back)}).diagnose()
    assert (diagnosis.healthy, len(diagnosis.notes)) == (True, 1)
    slow = [row(s, mean=min(s, 100) * 0.1) for s in range(250)]
    assert watch({"input": ("Input", slow), "0": ("Linear", thrown)}).diagnose().healthy


@pytest.mark.parametrize("same", [True, False])
def test_what_another_part_makes_is_no_data_but_runs_away(same: bool) -> None:
    def grown(times: float) -> list[Any]:
        sizes = [0.5 * 1.06 ** min(step, 60) for step in range(70)]
        return [row(s, std=x, mean=0.0, within_std=x, min=-3 * x, max=3 * x * times) for s, x in enumerate(sizes)]

    layers = {
        "generator.input": ("Input", STEADY[1][:70]),
        "generator.fc": ("Linear", grown(1.0)),
        "critic.input": ("Input", grown(1.0)),
        "critic.fc": ("Linear", STEADY[1][:70]),
    }
    if not same:  # of other extremes
        layers["generator.fc"] = ("Linear", [row(s, min=-1.0 - s, max=2.0 + s) for s in range(70)])
    told = [(f.layer, f.cause_name) for f in watch(layers).diagnose().findings if f.condition == "drifting"]
    assert told == ([("generator.fc", "learning_rate")] if same else [("critic.input", "data_changed")])
