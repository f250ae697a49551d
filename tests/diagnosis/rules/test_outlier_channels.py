"""Outlier channels: one and the same channel far above the typical one."""

import math
from typing import Any

import pytest
from synthetic import found, nothing_finite, plain, row, watch

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.history import LayerInfo

STEPS = range(40)


def channel(step: int, ratio: float = 150.0, which: int = 3, **more: float) -> Any:
    return row(step, peak_neuron=which, max=ratio * 2.0, typical_peak=2.0, **more)


def layers(rows: list[Any], kind: str = "Linear") -> dict[str, Any]:
    return {"0": (kind, rows), "1": ("Linear", [row(step) for step in range(len(rows))])}


@pytest.mark.parametrize(
    ("ratio", "severity"), [(19.9, None), (20.0, None), (100.0, "warning"), (999.0, "warning"), (1000.0, "serious")]
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


def test_an_outlier_that_the_dtype_has_room_for_is_a_note() -> None:
    diagnosis = watch(layers([channel(step, 50.0) for step in STEPS])).diagnose()
    assert (diagnosis.findings, [(note.condition, note.layers) for note in diagnosis.notes]) == (
        (),
        [("outlier_channels", ("0",))],
    )
    diagnoser = Diagnoser()
    for order, name in enumerate("01"):
        diagnoser.add(LayerInfo(name, order, "Linear", "float16"))
        for step in STEPS:
            diagnoser.append(name, row(step) if order else channel(step, 50.0))
    assert [f.severity for f in diagnoser.diagnose().findings] == ["warning"]


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
        "0 (Linear) has had an outlier channel since step 0: channel 3 reaches 300, which is 150 times the peak "
        "of a typical channel; it is the largest in 100% of the recorded steps."
    )
    assert "add a normalisation before this layer" in finding.remedies
    (finding,) = watch(layers([channel(step) for step in STEPS], "LayerNorm")).diagnose().findings
    assert finding.remedies[0] == "use weight decay on the norm's gains"
    assert not any("add a normalisation" in remedy for remedy in finding.remedies)
    assert "outlier channels (warning)" in str(watch(layers([channel(step) for step in STEPS])).diagnose())


@pytest.mark.parametrize(
    ("loss", "ratio", "told"),
    [(0.1, 150.0, None), (0.9, 150.0, None), (1.0, 150.0, "warning"), (0.1, 1500.0, "serious")],
)
def test_a_warning_is_a_note_while_the_network_learns(loss: float, ratio: float, told: str | None) -> None:
    """A loss of which a constant answer's is 1."""
    steps = range(60)

    def numbers(value: float) -> list[Any]:
        return [plain(step, count=1, mean=value, min=value, max=value, std=0.0) for step in steps]

    watched = layers([channel(step, ratio) for step in steps])
    watched |= {"loss": ("Loss", numbers(loss)), "loss:baseline": ("Baseline", numbers(1.0))}
    diagnosis = watch(watched).diagnose()
    severities = [f.severity for f in diagnosis.findings if f.condition == "outlier_channels"]
    assert severities == ([told] if told else [])
    assert [note.layers for note in diagnosis.notes] == ([] if told else [("0",)])
