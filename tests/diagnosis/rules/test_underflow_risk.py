"""Underflow risk: values and gradients too small for their dtype."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from synthetic import nothing_finite, row

import fastact
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import Finding
from fastact.history import LayerInfo

STEPS = range(40)


NORMAL, SUBNORMAL = 2.0**-14, 2.0**-24


def narrow(rows: list[Any], dtype: str = "float16", kind: str = "Linear") -> Diagnoser:
    """One layer of a dtype."""
    diagnoser = Diagnoser()
    diagnoser.add(LayerInfo("0", 0, kind, dtype))
    for one in rows:
        diagnoser.append("0", one)
    return diagnoser


def underflows(diagnoser: Diagnoser) -> list[Finding]:
    return [finding for finding in diagnoser.diagnose().findings if finding.condition == "underflow_risk"]


@pytest.mark.parametrize(
    ("dtype", "normal", "subnormal"),
    [
        ("float16", NORMAL, SUBNORMAL),
        ("bfloat16", 2.0**-126, 2.0**-133),
        ("float8_e4m3fn", 2.0**-6, 2.0**-9),
        ("float8_e5m2", 2.0**-14, 2.0**-16),
    ],
)
def test_values_below_the_normal_numbers_of_their_dtype_are_a_risk(dtype: str, normal: float, subnormal: float) -> None:
    def rows(typical: float, zeros: int = 0) -> list[Any]:
        mean = typical * (4096 - zeros) / 4096
        return [row(step, **({"abs_mean": mean, "zeros": zeros} if step >= 7 else {})) for step in STEPS]

    for zeros in (0, 2048):
        assert underflows(narrow(rows(1.01 * normal, zeros), dtype)) == []
        (finding,) = underflows(narrow(rows(normal, zeros), dtype))
        assert finding.first_step == 7
        assert finding.evidence["typical"] == pytest.approx(normal)
        assert finding.evidence["bits_left"] == pytest.approx(math.log2(normal / subnormal))
        (finding,) = underflows(narrow(rows(min(8.0 * subnormal, normal), zeros), dtype))
        assert finding.severity == "serious"
    assert underflows(narrow(rows(normal)[:11], dtype)) == []  # four rows
    assert underflows(narrow([*rows(normal), row(40)], dtype)) == []
    assert underflows(narrow(rows(normal), "float32")) == []
    assert underflows(narrow(rows(normal), dtype, "Softmax")) == []


def test_what_has_underflowed_to_zero_is_still_underflow() -> None:
    rows = [row(step, abs_mean=10.0 ** -min(step, 7), std=0.1, within_std=0.1) for step in range(10)]
    rows += [row(step, zeros=4096, mean=0.0, std=0.0, abs_mean=0.0, within_std=0.0, typical_peak=math.nan,
                 dead_neurons=64 * (step >= 29), silent_neurons=64) for step in range(10, 40)]  # fmt: skip
    diagnosis = narrow(rows).diagnose()
    assert [(f.condition, f.severity, f.first_step, f.consequence_of) for f in diagnosis.findings] == [
        ("underflow_risk", "critical", 5, None),
        ("dead", "critical", 10, "0"),
        ("vanishing", "critical", 10, "0"),
    ]
    # Zeros from the outset tell nothing of underflow.
    assert underflows(narrow(rows[10:])) == []


def test_nan_and_zeros_neither_end_nor_begin_underflow() -> None:
    rows = [nothing_finite(step) if step % 4 == 3 else row(step, abs_mean=1e-6) for step in STEPS]
    (finding,) = underflows(narrow(rows))
    assert finding.first_step == 0
    assert underflows(narrow([nothing_finite(step) for step in STEPS])) == []


def test_gradients_are_judged_for_underflow() -> None:
    rows = [row(step, abs_mean=1e-6 if step >= 5 else 1e-3, zeros=100 * (step >= 20)) for step in STEPS]
    (finding,) = narrow(rows, kind="Gradient").diagnose().findings
    assert (finding.condition, finding.severity, finding.first_step) == ("underflow_risk", "warning", 5)
    assert finding.remedies[0].startswith("scale the loss up")
    assert finding.message == (
        "0 (Gradient) has been close to underflow since step 5: its non-zero values are 1.03e-06 on average, and "
        "float16 loses digits below 6.1e-05 and everything below 5.96e-08; the share of zeros has grown from 0% to 2%."
    )


@pytest.mark.parametrize("dtype", ["float16", "float8_e5m2"])
def test_what_is_scaled_down_underflows_when_the_dtype_says_so(dtype: str) -> None:
    """Real elements, halved in each step, as their dtype rounds them."""
    x = np.random.default_rng(0).standard_normal((64, 16))
    kind = np.dtype(dtype) if dtype == "float16" else np.dtype(getattr(ml_dtypes, dtype))
    with fastact.ActivationMonitor() as monitor:
        for step in range(40):
            monitor.record("a", (x * 0.5**step).astype(kind), axis=-1, kind="Linear")
            monitor.step()
            if step in (18, 24):
                severity = [f.severity for f in monitor.diagnose().findings if f.condition == "underflow_risk"]
                want = {"float16": {18: "warning", 24: "serious"}, "float8_e5m2": {18: "serious", 24: "critical"}}
                assert severity == [want[dtype][step]]
        (finding,) = [f for f in monitor.diagnose().findings if f.condition == "underflow_risk"]
    typical = [float(np.abs(y[y != 0]).mean()) for y in ((x * 0.5**s).astype(kind).astype(float) for s in range(16))]
    assert finding.severity == "critical"
    assert finding.first_step == next(step for step, value in enumerate(typical) if value <= 2.0**-14)


def test_underflow_after_a_layer_that_vanishes_is_its_consequence() -> None:
    diagnoser = Diagnoser()
    for order, scale in enumerate((1.0, 1e-4, 1e-6)):
        diagnoser.add(LayerInfo(str(order), order, "Linear", "float16"))
        for step in STEPS:
            numbers = {"std": scale, "within_std": scale, "mean": 0.0, "abs_mean": scale}
            diagnoser.append(str(order), row(step, **numbers))
    found = [(f.layer, f.condition, f.consequence_of) for f in diagnoser.diagnose().findings]
    assert ("1", "vanishing", None) in found
    assert ("2", "underflow_risk", "1") in found
