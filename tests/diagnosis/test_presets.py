"""Presets: the published rules of others, over the same rows."""

import math
from typing import Any

import pytest
from synthetic import nothing_finite, row, watch

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.presets import PRESETS
from fastact.errors import ArgumentValueError

STEPS = range(30)


def conditions(preset: str, kind: str, rows: list[Any]) -> list[tuple[str, int]]:
    """What a preset says of one layer: (condition, first step)."""
    return [(f.condition, f.first_step) for f in watch({"0": (kind, rows)}).diagnose(preset).findings]


@pytest.mark.parametrize(
    ("preset", "kind", "numbers", "wanted"),
    [
        ("naive", "ReLU", {"zeros": 2049}, "dead"),
        ("naive", "ReLU", {"zeros": 2048}, None),
        ("naive", "Linear", {"saturated": 410}, "saturated"),
        ("naive", "Linear", {"saturated": 409}, None),
        ("sagemaker", "ReLU", {"silent_neurons": 33}, "dead"),
        ("sagemaker", "ReLU", {"silent_neurons": 32}, None),
        ("sagemaker", "Linear", {"silent_neurons": 64}, None),
        ("sagemaker", "Linear", {"zeros": 4096}, "dead"),
        ("sagemaker", "Tanh", {"saturated_neurons": 33}, "saturated"),
        ("sagemaker", "Linear", {"saturated_neurons": 33}, None),
        ("sagemaker", "Linear", {"nans": 1}, "non_finite"),
        ("sagemaker", "Linear", {"std": 3.2}, "exploding"),
        ("sagemaker", "Linear", {"std": 3.1}, None),
        ("sagemaker", "Linear", {"std": 3e-3}, "vanishing"),
        ("sagemaker", "Linear", {"abs_mean": 9e-8}, "vanishing"),
        ("sagemaker", "ReLU", {"zeros": 4096, "silent_neurons": 64}, "dead"),  # told once
        ("deepdiagnosis", "ReLU", {"zeros": 2868}, "dead"),
        ("deepdiagnosis", "ReLU", {"zeros": 2867}, None),
        ("deepdiagnosis", "Sigmoid", {"saturated": 2049}, "saturated"),
        ("deepdiagnosis", "Linear", {"neg_infs": 1}, "non_finite"),
        ("torchmortem", "Linear", {"silent_neurons": 33}, "dead"),
        ("torchmortem", "Linear", {"zeros": 3000, "neurons": 0, "within_std": math.nan}, "dead"),
        ("torchmortem", "Linear", {"saturated": 2049}, "saturated"),
        ("torchmortem", "Linear", {"saturated": 2048}, None),
        ("autotrainer", "ReLU", {"zeros": 2868}, "dead"),
        ("autotrainer", "Linear", {"zeros": 4096}, None),
    ],
)
def test_presets_have_the_published_thresholds(
    preset: str, kind: str, numbers: dict[str, float], wanted: str | None
) -> None:
    said = [condition for condition, _ in conditions(preset, kind, [row(step, **numbers) for step in STEPS])]
    assert said == ([wanted] if wanted else [])


def test_when_a_preset_fires() -> None:
    once = [row(step, std=9.0 if step == 12 else 1.0) for step in STEPS]
    assert conditions("sagemaker", "Linear", once) == [("exploding", 12)]  # any row
    late = [row(step, zeros=4096 if step >= 24 else 0) for step in STEPS]
    assert conditions("naive", "ReLU", late) == [("dead", 20)]  # six of the last ten
    assert conditions("torchmortem", "ReLU", [row(step, silent_neurons=64 * (step >= 22)) for step in STEPS]) == [
        ("dead", 22)
    ]  # eight of the later fifteen
    assert conditions("torchmortem", "ReLU", [row(step, silent_neurons=64 * (step >= 23)) for step in STEPS]) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_reports_like_any_diagnosis_and_takes_any_rows(preset: str) -> None:
    odd = [nothing_finite(0), row(1, count=0, neurons=0), row(2, std=1e300, nans=2**62, pos_infs=2**62)]
    diagnosis = watch({"0": ("ReLU", odd), "1": ("Tanh", odd), "2": ("", odd)}).diagnose(preset)
    assert str(diagnosis)
    assert diagnosis.to_json()
    assert all(f.evidence["preset"] == preset and f.consequence_of is None for f in diagnosis.findings)
    steps = [f.first_step for f in diagnosis.findings]
    assert steps == sorted(steps)
    assert not Diagnoser().diagnose(preset).findings


def test_an_unknown_preset_is_told_by_name() -> None:
    with pytest.raises(ArgumentValueError, match="preset: got 'sage', want one of naive, sagemaker"):
        Diagnoser().diagnose("sage")


def test_a_preset_changes_nothing() -> None:
    diagnoser = watch({"0": ("Linear", [row(step, std=9.0) for step in STEPS])})
    before = diagnoser.diagnose()
    diagnoser.diagnose("naive")
    assert diagnoser.diagnose() == before
