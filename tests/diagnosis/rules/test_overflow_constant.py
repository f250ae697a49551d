"""Overflow risk with the fit of growth behind its forecast, and constant outputs."""

import math
from typing import Any

import numpy as np
import pytest
from synthetic import found, row, watch

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.trend import growth, reaches
from fastact.history import LayerInfo

STEPS = range(30)


def float16(rows: list[Any], dtype: str = "float16") -> Diagnoser:
    """One Linear layer of a dtype."""
    diagnoser = Diagnoser()
    diagnoser.add(LayerInfo("0", 0, "Linear", dtype))
    for one in rows:
        diagnoser.append("0", one)
    return diagnoser


# --- overflow risk


@pytest.mark.parametrize(
    ("numbers", "severity"),
    [
        ({"max": 16375.0}, None),
        ({"max": 16376.0}, "warning"),
        ({"min": -16376.0}, "warning"),
        ({"max": 32752.0}, "serious"),
        ({"min": -65504.0}, None),  # a mask
        ({"min": -65504.0, "max": 40000.0}, "serious"),
    ],
)
def test_values_in_the_last_two_bits_of_float16_are_a_risk(numbers: dict[str, float], severity: str | None) -> None:
    rows = [row(step, **(numbers if step >= 7 else {})) for step in STEPS]
    assert found(float16(rows)) == ([("0", "overflow_risk", severity, 7)] if severity else [])
    assert found(float16(rows, "float32")) == []
    assert found(float16(rows[:11])) == []  # four rows


def test_the_step_of_overflow_is_foretold_with_bounds() -> None:
    scale = [400.0 * 1.07**step for step in STEPS]  # reaches 65504 at 10 times the rms
    rows = [row(step, mean=0.0, std=x, max=10.0 * x) for step, x in enumerate(scale)]
    (finding,) = float16(rows).diagnose().findings
    assert finding.condition == "overflow_risk"
    right = math.ceil(math.log(65504 / 4000.0) / math.log(1.07))
    for name in ("overflow_step", "overflow_step_earliest", "overflow_step_latest"):
        assert abs(float(finding.evidence[name]) - right) <= 1
    assert f"step {finding.evidence['overflow_step']}" in finding.message
    steady = [row(step, max=20000.0) for step in STEPS]
    (finding,) = float16(steady).diagnose().findings
    assert "overflow_step" not in finding.evidence


def test_what_has_stopped_growing_has_no_forecast() -> None:
    scale = [400.0 * 1.07 ** min(step, 25) * (1.0 if step < 26 else 0.9) for step in STEPS]
    rows = [row(step, mean=0.0, std=x, max=10.0 * x) for step, x in enumerate(scale)]
    (finding,) = float16(rows).diagnose().findings
    assert finding.condition == "overflow_risk"
    assert "overflow_step" not in finding.evidence


def test_inf_after_the_last_bits_of_float16_is_its_consequence() -> None:
    rows = [row(step, max=40000.0, pos_infs=int(step >= 20)) for step in STEPS]
    assert [(f.condition, f.consequence_of) for f in float16(rows).diagnose().findings] == [
        ("overflow_risk", None),
        ("non_finite", "0"),
    ]


# --- growth


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


# --- constant


def constant(neurons: int, **more: float) -> list[Any]:
    return [row(step, constant_neurons=neurons, **more) for step in STEPS]


def after(signal: str, kind: str, rows: list[Any]) -> dict[str, Any]:
    """A layer after another one whose samples differ or do not."""
    first = [row(step, within_std=0.9 if signal == "differs" else 0.0) for step in STEPS]
    return {"0": ("Linear", first), "1": (kind, rows)}


@pytest.mark.parametrize(("neurons", "severity"), [(31, None), (32, "warning"), (52, "serious"), (64, "critical")])
def test_neurons_that_say_the_same_of_every_sample_are_constant(neurons: int, severity: str | None) -> None:
    assert found(watch(after("differs", "Linear", constant(neurons)))) == (
        [("1", "constant", severity, 0)] if severity else []
    )


def test_what_differs_by_rounding_alone_is_constant_though_the_output_layer() -> None:
    alike = [row(step, within_std=0.5 if step < 9 else 9e-7) for step in STEPS]
    assert found(watch(after("differs", "Linear", alike))) == [("1", "constant", "critical", 9)]
    faint = [row(step, within_std=2e-6) for step in STEPS]
    assert found(watch(after("differs", "Linear", faint))) == []


def test_what_is_constant_by_design_is_healthy() -> None:
    assert found(watch(after("differs", "PositionalEncoding", constant(64)))) == []
    assert found(watch(after("differs", "Softmax", constant(64)))) == []
    assert found(watch(after("differs", "Linear", constant(64, count=64 * 7)))) == []  # few samples
    turned = [row(step, constant_neurons=64 if step >= 9 else 0) for step in STEPS]
    assert found(watch(after("differs", "PositionalEncoding", turned))) == [("1", "constant", "critical", 9)]
    zero = constant(0, mean=0.0, std=0.0, within_std=0.0, zeros=4096)
    assert "constant" not in {condition for _, condition, _, _ in found(watch(after("differs", "Linear", zero)))}


def test_data_that_are_all_alike_are_no_fault_of_the_layers() -> None:
    layers = {str(i): ("Linear", constant(64, within_std=0.0)) for i in range(3)}
    assert found(watch(layers)) == []


def test_a_constant_layer_follows_from_what_starves_it() -> None:
    dead = [row(step, dead_neurons=64) for step in STEPS]
    layers = {"0": ("Linear", [row(s) for s in STEPS]), "1": ("ReLU", dead), "2": ("BatchNorm1d", constant(64))}
    findings = watch(layers | {"3": ("Linear", constant(64))}).diagnose().findings
    assert [(f.layer, f.condition, f.consequence_of) for f in findings] == [
        ("1", "dead", None),
        ("2", "constant", "1"),
        ("3", "constant", "1"),
    ]
