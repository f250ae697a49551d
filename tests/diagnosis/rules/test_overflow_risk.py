"""Overflow risk in float16, with the step of overflow foretold."""

import math
from typing import Any

import pytest
from synthetic import found, row

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.history import LayerInfo

STEPS = range(30)


def float16(rows: list[Any], dtype: str = "float16") -> Diagnoser:
    """One Linear layer of a dtype."""
    diagnoser = Diagnoser()
    diagnoser.add(LayerInfo("0", 0, "Linear", dtype))
    for one in rows:
        diagnoser.append("0", one)
    return diagnoser


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
