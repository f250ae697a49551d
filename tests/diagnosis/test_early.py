"""What is told before a window is full: as much as few rows leave no doubt of, and graver as the evidence grows."""

from typing import Any

import numpy as np
import pytest
from synthetic import found, row, watch

from fastact.diagnosis.finding import Finding
from fastact.diagnosis.rules import Thresholds


def only(layers: dict[str, Any], **more: Any) -> Finding:
    """The one finding there is."""
    (finding,) = watch(layers, **more).diagnose().findings
    return finding


# --- dead


def test_the_bound_holds_whichever_neurons_are_silent() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        silent = random.random((5, 64)) < random.uniform(0.7, 1.0)
        rows = [row(i, silent_neurons=int(s.sum()), zeros=64 * int(s.sum())) for i, s in enumerate(silent)]
        truly = int(silent.all(axis=0).sum())
        for finding in watch({"act": ("ReLU", rows)}).diagnose().findings:
            assert 64 * 0.2 <= finding.evidence["dead_neurons"] <= truly  # type: ignore[operator]


@pytest.mark.parametrize(("silent", "severity"), [(64, "critical"), (58, "critical"), (57, "serious"), (53, None)])
def test_many_silent_neurons_need_few_rows(silent: int, severity: str | None) -> None:
    awake = [row(step) for step in range(50)]
    rows = [*awake, *(row(50 + i, silent_neurons=silent, zeros=64 * silent) for i in range(5))]  # 320 samples
    assert found(watch({"act": ("ReLU", rows[:-1])})) == []
    assert found(watch({"act": ("ReLU", rows)})) == ([("act", "dead", severity, 50)] if severity else [])


def test_few_samples_need_more_rows() -> None:
    rows = [row(step, count=64 * 30, silent_neurons=64, zeros=64 * 30) for step in range(10)]  # 30 samples a row
    assert found(watch({"act": ("ReLU", rows[:9])})) == []
    assert found(watch({"act": ("ReLU", rows)})) == [("act", "dead", "critical", 0)]


def test_what_the_neurons_say_themselves_takes_over() -> None:
    rows = [row(i, silent_neurons=60, zeros=3840, dead_neurons=0 if i < 20 else 59) for i in range(40)]
    early, late = only({"act": ("ReLU", rows[:10])}), only({"act": ("ReLU", rows)})
    assert "at least 44 of its 64 neurons (69%) did not fire in the last 5 rows" in early.message
    assert "59 of its 64 neurons (92%) never fire" in late.message


# --- saturated behind a gate


@pytest.mark.parametrize(
    ("kind", "zeros", "condition"),
    [("LSTM", 2000, "saturated"), ("GRUCell", 2000, "saturated"), ("RNN", 2000, None), ("LSTM", 1000, None)],
)
def test_zeros_behind_gates_are_saturated(kind: str, zeros: int, condition: str | None) -> None:
    rows = [row(step, saturated=300, zeros=zeros, min=-1.0, max=1.0) for step in range(8)]
    layers = {"rnn": (kind, rows), "head": ("Linear", [row(step) for step in range(8)])}
    assert [f.condition for f in watch(layers).diagnose().findings] == ([condition] if condition else [])
    if condition:
        assert "exactly zero behind a shut gate" in only(layers).message


def test_a_recurrent_layer_of_zeros_is_dead_and_one_behind_shut_gates_is_saturated_first() -> None:
    head = ("Linear", [row(step) for step in range(30)])
    ends = {"min": -1.0, "max": 1.0}
    zero = {"zeros": 4096, "silent_neurons": 64, "dead_neurons": 64, "mean": 0.0, "std": 0.0, "min": 0.0, "max": 0.0}
    nothing = [row(i, **(zero if i else ends)) for i in range(30)]
    assert {f.condition for f in watch({"rnn": ("LSTM", nothing), "head": head}).diagnose().culprits} == {"dead"}
    shut = [row(i, saturated=900, zeros=3000, dead_neurons=30, min=-1.0, max=1.0) for i in range(30)]
    findings = watch({"rnn": ("LSTM", shut), "head": head}).diagnose().findings
    assert [(f.condition, f.consequence_of) for f in findings] == [("saturated", None), ("dead", "rnn")]
    assert "gates" in findings[1].cause


# --- exploding and vanishing


def scaled(*scales: float) -> list[Any]:
    return [row(i, mean=0.0, std=scale, within_std=scale) for i, scale in enumerate(scales)]


@pytest.mark.parametrize(
    ("top", "severity"), [(290.0, None), (310.0, "warning"), (1100.0, "serious"), (1.1e6, "critical")]
)
def test_an_explosion_gets_graver_as_it_grows(top: float, severity: str | None) -> None:
    layers = {"0": ("Linear", scaled(*[1.0] * 5, *[top] * 5)), "1": ("Linear", scaled(*[1.0] * 10))}
    assert found(watch(layers)) == ([("0", "exploding", severity, 5)] if severity else [])


def test_an_explosion_of_one_step_is_told_from_one_that_grew() -> None:
    steady = only({"0": ("Linear", scaled(*[1.5**i for i in range(20)]))})
    at_once = only({"0": ("Linear", scaled(*[1.0] * 10, *[5e3] * 10))})
    assert "with every update" in steady.cause
    assert "in one step" in at_once.cause
    assert "look at what changed" in at_once.remedies[-1]


@pytest.mark.parametrize(("left", "first", "severity"), [(0.04, 1.0, "warning"), (0.06, 1.0, None), (0.4, 10.0, None)])
def test_a_layer_that_fades_is_told_before_it_has_vanished(left: float, first: float, severity: str | None) -> None:
    fading = [row(i, within_std=first if i < 20 else left) for i in range(40)]
    layers = {"0": ("Linear", [row(i) for i in range(40)]), "1": ("Linear", fading)}
    layers["2"] = ("LayerNorm", [row(i) for i in range(40)])
    assert found(watch(layers)) == ([("1", "vanishing", severity, 20)] if severity else [])
    assert found(watch(layers, thresholds=Thresholds(vanish_fade=0.001))) == []
