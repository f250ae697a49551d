"""Vanishing: over depth and over steps, and what is small by design."""

import math

import pytest
from synthetic import found, plain, row, signals, watch

from fastact.diagnosis.rules import Thresholds


def test_vanishing_over_depth_names_the_layer_where_the_signal_is_lost() -> None:
    findings = watch(signals(0.5, 0.1, 0.02, 4e-4, 1e-6, 1e-9)).diagnose().findings
    assert [(f.layer, f.consequence_of) for f in findings] == [("3", None), ("4", "3"), ("5", "3")]
    first = findings[0]
    assert first.severity == "critical"  # by what reaches the end
    assert first.evidence["bits_lost"] == pytest.approx(math.log2(0.5 / 4e-4))
    assert first.evidence["bits_lost_after"] == pytest.approx(math.log2(0.5 / 1e-9))
    assert first.evidence["reference_layer"] == "0"
    assert first.message == (
        "3 (Linear) has been vanishing since step 0: the spread between samples is 0.0004, only 0.08% of the 0.5 in "
        "0 (Linear)."
    )


@pytest.mark.parametrize(
    "values",
    [
        [0.5, 1e-6, 0.5, 0.4],  # small by design, or before a normalisation
        [0.5, 0.1, 0.02, 1e-6],  # the output alone follows its targets
        [2e4, 2e4, 1.0, 1.0],  # large inputs
        [1e-5, 1e-5, 1e-5, 1e-5],  # small inputs
        [0.0, 0.0, 0.0, 0.0],
        [0.26, 0.06, 0.033, 0.0076, 0.0044],  # two sigmoid layers as PyTorch initialises them
    ],
)
def test_what_is_small_has_not_vanished(values: list[float]) -> None:
    assert found(watch(signals(*values))) == []


def test_a_batch_of_few_samples_says_nothing_of_what_they_differ_by() -> None:
    layers = signals(0.5, 0.5, 0.0, 0.0, count=64 * 7)
    diagnosis = watch(layers).diagnose()
    assert diagnosis.healthy
    assert all("vanishing" in layer.not_judged for layer in diagnosis.layers)


def test_collapse_over_steps() -> None:
    rows = [row(step, within_std=1.0 if step < 20 else 1e-4) for step in range(40)]
    layers = {"0": ("Linear", rows), "1": ("LayerNorm", [row(step) for step in range(40)])}
    assert found(watch(layers)) == [("0", "vanishing", "serious", 20)]
    (finding,) = watch(layers).diagnose().findings
    assert finding.message.endswith("the spread between samples is 0.0001, only 0.01% of the 1 at step 0.")


def test_std_stands_in_where_no_layer_was_swept_per_neuron() -> None:
    values = (1.0, 1e-2, 1e-4, 1e-6)
    layers = {str(i): ("Tanh", [plain(step, std=value) for step in range(10)]) for i, value in enumerate(values)}
    assert [f.layer for f in watch(layers).diagnose().culprits] == ["2"]


@pytest.mark.parametrize(("left", "first", "severity"), [(0.04, 1.0, "warning"), (0.06, 1.0, None), (0.4, 10.0, None)])
def test_a_layer_that_fades_is_told_before_it_has_vanished(left: float, first: float, severity: str | None) -> None:
    fading = [row(i, within_std=first if i < 20 else left) for i in range(40)]
    layers = {"0": ("Linear", [row(i) for i in range(40)]), "1": ("Linear", fading)}
    layers["2"] = ("LayerNorm", [row(i) for i in range(40)])
    assert found(watch(layers)) == ([("1", "vanishing", severity, 20)] if severity else [])
    assert found(watch(layers, thresholds=Thresholds(vanish_fade=0.001))) == []
