"""Outlier channels and underflow risk, on rows made by hand."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from synthetic import found, nothing_finite, plain, row, watch

import fastact
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import Finding
from fastact.history import LayerInfo

STEPS = range(40)

# --- outlier channels


def channel(step: int, ratio: float = 50.0, which: int = 3, **more: float) -> Any:
    return row(step, peak_neuron=which, max=ratio * 2.0, typical_peak=2.0, **more)


def layers(rows: list[Any], kind: str = "Linear") -> dict[str, Any]:
    return {"0": (kind, rows), "1": ("Linear", [row(step) for step in range(len(rows))])}


@pytest.mark.parametrize(
    ("ratio", "severity"), [(19.9, None), (20.0, "warning"), (999.0, "warning"), (1000.0, "serious")]
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_channel_that_dwarfs_the_others_is_an_outlier(ratio: float, severity: str | None, sign: float) -> None:
    def sick(step: int) -> Any:
        low, high = sorted((2.0 * ratio * sign, 0.5))
        return row(step, peak_neuron=3, min=low, max=high, typical_peak=2.0)

    rows = [sick(step) if step >= 7 else row(step) for step in STEPS]
    assert found(watch(layers(rows))) == ([("0", "outlier_channels", severity, 7)] if severity else [])
    assert found(watch(layers(rows[:16]))) == []  # nine rows
    assert len(found(watch(layers(rows[:17])))) == bool(severity)
    assert found(watch(layers([*rows, row(40)]))) == []  # it has gone


def test_the_channel_has_to_be_the_same() -> None:
    assert found(watch(layers([channel(step, which=step % 2) for step in STEPS]))) == []
    once = [channel(step, which=5 if step == 20 else 3) for step in STEPS]
    (finding,) = watch(layers(once)).diagnose().findings
    assert finding.evidence["channel"] == 3
    assert finding.evidence["share_of_rows"] == 39 / 40


def test_rows_that_say_nothing_end_no_run_and_make_none() -> None:
    gaps = [nothing_finite(step) if step % 5 == 4 else channel(step) for step in STEPS]
    both = [("0", "outlier_channels", "warning", 0), ("0", "non_finite", "critical", 4)]
    assert found(watch(layers(gaps))) == both
    mostly = [channel(step) if step < 5 else row(step, typical_peak=math.nan, peak_neuron=-1) for step in STEPS]
    diagnosis = watch(layers(mostly)).diagnose()
    assert diagnosis.healthy
    assert "outlier_channels" in diagnosis.layers[0].not_judged
    assert found(watch(layers([plain(step, max=1e6) for step in STEPS]))) == []


@pytest.mark.parametrize("kind", ["Softmax", "AttentionScores", "GELU", "Dropout", "Input", "Flatten"])
def test_what_is_large_by_design_or_hands_on_is_not_judged(kind: str) -> None:
    assert found(watch(layers([channel(step) for step in STEPS], kind))) == []


def test_the_output_layer_and_narrow_layers_are_not_judged() -> None:
    sick = [channel(step) for step in STEPS]
    assert found(watch({"0": ("Linear", [row(step) for step in STEPS]), "1": ("Linear", sick)})) == []
    assert found(watch(layers([channel(step, neurons=7) for step in STEPS]))) == []


def test_layers_that_take_the_outlier_over_are_its_consequence() -> None:
    sick = [channel(step) for step in STEPS]
    diagnoser = watch({"0": ("Linear", sick), "1": ("LayerNorm", sick), "2": ("Linear", [row(s) for s in STEPS])})
    assert [(f.layer, f.consequence_of) for f in diagnoser.diagnose().findings] == [("0", None), ("1", "0")]


def test_the_text_of_an_outlier_channel() -> None:
    (finding,) = watch(layers([channel(step) for step in STEPS])).diagnose().findings
    assert finding.message == (
        "0 (Linear) has had an outlier channel since step 0: channel 3 reaches 100, 50 times what the others do, in "
        "100% of the recorded steps."
    )
    assert "add a normalisation before this layer" in finding.remedies
    (finding,) = watch(layers([channel(step) for step in STEPS], "LayerNorm")).diagnose().findings
    assert finding.remedies[0] == "use weight decay on the norm's gains"
    assert not any("add a normalisation" in remedy for remedy in finding.remedies)
    assert "outlier channels (warning)" in str(watch(layers([channel(step) for step in STEPS])).diagnose())


# --- underflow risk

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
        "0 (Gradient) has been close to underflow since step 5: its values other than zero are 1.03e-06 on average, "
        "and float16 has fewer digits below 6.1e-05 and nothing below 5.96e-08; zeros have grown from 0% to 2%."
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
