"""Oscillation: swings of any form that are large, last and repeat; noise, trends, steps and spikes are none."""

import math
from typing import Any

import numpy as np
import pytest
from synthetic import found, nothing_finite, row, watch

from fastact.diagnosis.report import Diagnosis

STEADY = ("Linear", [row(step) for step in range(120)])


def scaled(values: Any, first: int = 0) -> list[Any]:
    return [row(first + i, mean=0.0, std=float(x), within_std=float(x)) for i, x in enumerate(values)]


def moved(values: Any) -> list[Any]:
    return [row(i, mean=float(x)) for i, x in enumerate(values)]


def judged(rows: list[Any], kind: str = "Linear") -> list[tuple[str, str, str, int]]:
    return found(watch({"0": (kind, rows)}))


def wave(form: str, period: int, rows: int) -> Any:
    """Repeats itself between 0 and 1."""
    time = np.arange(rows)
    return {
        "square": time % period < period / 2,
        "saw": time % period / max(period - 1, 1),
        "pulse": time % period == 0,
        "cosine": 0.5 + 0.5 * np.cos(2.0 * np.pi * time / period),
    }[form] * 1.0


@pytest.mark.parametrize("form", ["square", "saw", "pulse", "cosine"])
@pytest.mark.parametrize("period", [2, 3, 5, 8, 13])
@pytest.mark.parametrize("quiet", [0, 30])
def test_a_scale_that_swings_in_any_form_is_found_since_it_began(form: str, period: int, quiet: int) -> None:
    noise = np.random.default_rng(period).standard_normal(70 + quiet)
    if form == "pulse" and period > 8:
        period = 8  # rarer ones take more rows

    def rows(factor: float) -> list[Any]:
        logs = np.concatenate([np.zeros(quiet), wave(form, period, 70)]) * math.log(factor)
        return scaled(np.exp(logs + 0.03 * noise))

    ((_, condition, severity, first),) = judged(rows(6.0))
    assert (condition, severity) == ("oscillating", "warning")
    assert quiet - 6 - period <= first <= quiet + 2 * period
    ((_, _, severity, _),) = judged(rows(40.0))
    assert severity == "serious"
    assert judged(rows(2.5)) == []
    # One that has ended is none.
    assert judged(rows(6.0) + scaled([1.0] * 22, first=70 + quiet)) == []


def test_long_waves_and_rare_pulses_are_found_in_a_whole_window() -> None:
    for form, period in (("square", 25), ("cosine", 25), ("saw", 33), ("pulse", 12)):
        ((_, condition, _, _),) = judged(scaled(6.0 ** wave(form, period, 100)))
        assert condition == "oscillating", form


def test_a_mean_that_swings_is_found_though_the_rms_stays() -> None:
    rows = moved(np.where(np.arange(40) % 2, 1.6, -1.6))
    assert judged(rows) == [("0", "oscillating", "warning", 1)]
    assert judged(moved(np.where(np.arange(40) % 2, 1.4, -1.4))) == []
    assert judged(rows[:19]) == []
    # An odd number of rows has one of the two levels as its median, give or take what rounding does on this machine.
    for count in (20, 21, 22, 35):
        for level in (1.8, 1.7, 2.0, 6.6e-5 * 2**15):
            rows = moved(np.where(np.arange(count) % 2, level, -level))
            assert judged(rows) == [("0", "oscillating", "warning", 1)], (count, level)


def test_less_than_twenty_rows_are_not_enough_data() -> None:
    rows = scaled(np.where(np.arange(19) % 2, 1.0, 5.0))
    diagnosis = watch({"0": ("Linear", rows)}).diagnose()
    assert diagnosis.healthy
    assert "oscillating" in diagnosis.layers[0].not_judged


@pytest.mark.parametrize("memory", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_noise_is_no_oscillation_whether_rows_depend_on_each_other_or_not(spread: float, memory: float) -> None:
    random = np.random.default_rng(0)
    for _ in range(40):
        values = [0.0]
        for push in random.standard_normal(99):
            values.append(memory * values[-1] + push)
        said = judged(scaled(np.exp(spread * np.array(values))))
        assert "oscillating" not in [condition for _, condition, _, _ in said]


def test_trends_steps_and_spikes_are_no_oscillation() -> None:
    time = np.arange(100)
    random = np.random.default_rng(1)
    assert judged(scaled(np.exp(0.05 * time))) == []
    assert "oscillating" not in [f[1] for f in judged(scaled(np.where(time < 50, 1.0, 9.0)))]
    assert judged(scaled(2.0 + np.cos(2.0 * np.pi * time / 40))) == []  # less than three periods
    for share in (0.05, 0.1, 0.2, 0.5):
        for _ in range(40):
            assert judged(scaled(np.where(random.random(100) < share, 5.0, 1.0))) == [], share


def test_batches_that_differ_in_size_swing_and_are_healthy() -> None:
    counts = np.where(np.arange(60) % 4 < 2, 4096, 16384)
    rows = [row(s, mean=0.0, std=1e-3 * int(n), within_std=1e-3 * int(n), count=int(n)) for s, n in enumerate(counts)]
    assert judged(rows) == []
    assert judged([row(s, mean=0.0, std=1e-3 * int(n), within_std=1e-3 * int(n)) for s, n in enumerate(counts)]) != []


def test_nan_changes_nothing() -> None:
    rows = scaled(np.where(np.arange(60) % 2, 1.0, 5.0))
    rows[20:24] = [nothing_finite(step) for step in range(20, 24)]
    names = [(f.condition, f.first_step) for f in watch({"0": ("Linear", rows)}, window_size=30).diagnose().findings]
    assert names == [("oscillating", 30)]  # the NaN has left the window, as has the beginning
    broken = [row(step, std=math.inf, mean=math.inf if step % 2 else -math.inf) for step in range(60)]
    assert "oscillating" not in [f[1] for f in judged(broken)]


@pytest.mark.parametrize(("kind", "said"), [("Softmax", False), ("Dropout", False), ("Input", True), ("", True)])
def test_kinds(kind: str, said: bool) -> None:
    assert bool(judged(scaled(np.where(np.arange(40) % 2, 1.0, 5.0)), kind)) == said


def network(given: float, layers: float, given_type: str = "Input") -> Diagnosis:
    """A network whose input swings by a factor in turns, as do its layers."""
    turns = np.arange(60) % 3 == 0
    first = scaled(np.where(turns, given, 1.0))
    second = scaled(np.where(turns, layers, 1.0))
    return watch({"input": (given_type, first), "0": ("Linear", second), "1": ("Tanh", second)}).diagnose()


def test_where_the_input_swings_it_is_the_finding_and_the_layers_follow() -> None:
    diagnosis = network(20.0, 20.0)
    (culprit,) = diagnosis.culprits
    assert (culprit.layer, culprit.cause_name, culprit.confidence) == ("input", "sources_in_turns", "certain")
    assert (culprit.severity, culprit.first_step) == ("serious", 0)
    assert [(f.layer, f.consequence_of, f.cause_name) for f in diagnosis.findings[1:]] == [
        ("0", "input", "sources_in_turns"),
        ("1", "input", "sources_in_turns"),
    ]
    assert culprit.message == (
        "input (Input) has been oscillating since step 0: the rms of its values swings between 1 and 20 with a period "
        "of 3 steps."
    )


def test_sources_that_differ_little_are_noted_at_most() -> None:
    diagnosis = network(2.0, 20.0)
    assert diagnosis.findings == ()
    assert [(note.condition, note.layers) for note in diagnosis.notes] == [("oscillating", ("input",))]
    diagnosis = network(1.3, 1.3)
    assert (diagnosis.findings, diagnosis.notes) == ((), ())


def test_where_the_input_stays_as_it_is_the_updates_overshoot() -> None:
    diagnosis = network(1.0, 5.0)
    (culprit,) = diagnosis.culprits
    assert (culprit.layer, culprit.cause_name, culprit.first_step) == ("0", "learning_rate", 1)
    assert culprit.because == ("the input does not swing",)
    assert culprit.remedies[0] == "use a lower learning rate"
    # Weights cannot change so much and back; without the input it is the first layer that tells.
    assert network(5.0, 5.0, "Linear").culprits[0].cause_name == "sources_in_turns"


def test_what_sources_in_turns_do_to_layers_follows_from_them() -> None:
    turns = np.arange(60) % 2 == 0
    flat = [row(s, saturated=4000, min=-1.0, max=1.0) for s in range(60)]
    layers = {"input": ("Input", scaled(np.where(turns, 99.0, 1.0))), "0": ("Tanh", flat), "1": STEADY}
    findings = watch(layers).diagnose().findings
    assert [(f.layer, f.condition, f.consequence_of) for f in findings] == [
        ("input", "oscillating", None),
        ("0", "saturated", "input"),
    ]
