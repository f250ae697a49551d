"""Shift in evaluation: what differs between the modes, where it begins, and what differs by design."""

import math
from typing import Any

import pytest
from synthetic import plain, row, watch

from fastact.diagnosis.report import Diagnosis

Sizes = dict[str, tuple[str, float, float]]


def rows(steps: range, size: float, **more: float) -> list[Any]:
    return [row(s, mean=0.0, std=size * (1.0 + 0.1 * math.sin(9.0 * s)), within_std=size, **more) for s in steps]


def network(sizes: Sizes, steps: int = 60, every: int = 5, **more: float) -> Diagnosis:
    """Layers by name: type, size in training, size in evaluation; evaluated after every few steps."""
    layers = {name: (kind, rows(range(steps), trained)) for name, (kind, trained, _) in sizes.items()}
    evaluations = range(every - 1, steps, every)
    layers |= {f"{name}:eval": (kind, rows(evaluations, size, **more)) for name, (kind, _, size) in sizes.items()}
    return watch(layers).diagnose()


def told(diagnosis: Diagnosis) -> list[tuple[str, str, str | None]]:
    return [(f.layer, f.cause_name, f.consequence_of) for f in diagnosis.findings if f.condition == "eval_shift"]


def stale(factor: float) -> Sizes:
    """A normalisation whose running statistics are off, and what comes after it."""
    return {
        "input": ("Input", 1.0, 1.0),
        "0": ("Linear", 5.0, 5.0),
        "1": ("BatchNorm1d", 1.0, factor),
        "2": ("ReLU", 0.6, 0.6 * factor),
        "3": ("Linear", 1.0, factor),
    }


@pytest.mark.parametrize("factor", [30.0, 3.0, 0.3])
def test_a_difference_that_begins_at_a_normalisation_is_one_of_running_statistics(factor: float) -> None:
    diagnosis = network(stale(factor))
    assert told(diagnosis) == [
        ("1", "running_statistics", None),
        ("2", "running_statistics", "1"),
        ("3", "running_statistics", "1"),
    ]
    (culprit,) = diagnosis.culprits
    assert (culprit.first_step, culprit.severity) == (4, "serious" if factor == 30.0 else "warning")
    assert culprit.because == ("its input is of the same scale in both modes",)


def test_it_says_what_differs() -> None:
    (culprit,) = network(stale(30.0)).culprits
    assert culprit.message.startswith(
        "1 (BatchNorm1d) has been different in evaluation since step 4: the rms of its outputs is "
    )
    assert culprit.evidence["factor"] == pytest.approx(30.0, rel=0.3)


@pytest.mark.parametrize("factor", [1.7, 0.7, 1.0])
def test_what_differs_a_little_is_healthy(factor: float) -> None:
    assert network(stale(factor)).healthy


def test_a_few_evaluations_are_needed_wherever_they_lie() -> None:
    assert network(stale(9.0), steps=10).healthy
    assert not network(stale(9.0), steps=15).healthy
    assert not network(stale(9.0), steps=300, every=90).healthy  # only the last lies within the window


def test_statistics_that_catch_up_are_left_to() -> None:
    sizes = stale(1.0)
    layers = {name: (kind, rows(range(60), trained)) for name, (kind, trained, _) in sizes.items()}
    factors = [1.0 + 40.0 * 0.3**i for i in range(4)]
    for after, healthy in ((factors, True), ([9.0, 8.0, 7.0, 6.0], False)):
        off = [row(10 * i, mean=0.0, std=size, within_std=size) for i, size in enumerate(after)]
        evaluated = {f"{name}:eval": (kind, off if name in "123" else rows(range(0, 40, 10), size))
                     for name, (kind, size, _) in sizes.items()}  # fmt: skip
        assert watch(layers | evaluated).diagnose().healthy == healthy


def test_other_data_in_evaluation_is_told_at_the_input() -> None:
    sizes = {"input": ("Input", 1.0, 200.0), "0": ("Linear", 1.0, 200.0), "1": ("BatchNorm1d", 1.0, 200.0)}
    assert told(network(sizes)) == [
        ("input", "data_changed", None),
        ("0", "data_changed", "input"),
        ("1", "data_changed", "input"),
    ]
    # Where the input was not recorded the first layer tells, whose weights are the same.
    del sizes["input"]
    assert told(network(sizes)) == [("0", "data_changed", None), ("1", "data_changed", "0")]
    augmented = {"input": ("Input", 1.0, 0.5), "0": ("Linear", 1.0, 0.5)}
    assert network(augmented).healthy


def test_a_mean_that_moved_is_a_difference_too() -> None:
    sizes = {"input": ("Input", 1.0, 1.0), "0": ("Linear", 1.0, 1.0)}
    layers = {name: (kind, rows(range(60), trained)) for name, (kind, trained, _) in sizes.items()}
    off = {"input:eval": ("Input", [row(s, mean=3.0, std=0.5) for s in range(0, 60, 9)])}
    (finding,) = watch(layers | off).diagnose().findings
    assert (finding.layer, finding.condition, finding.cause_name) == ("input", "eval_shift", "data_changed")
    assert "the mean of its values is 3 there, and 0 in training" in finding.message


def test_dropout_makes_training_larger_than_evaluation_and_is_healthy() -> None:
    sizes: Sizes = {"0": ("Linear", 1.0, 1.0), "1": ("Dropout", 3.0, 1.0), "2": ("Linear", 3.0, 1.0)}
    sizes |= {"3": ("BatchNorm1d", 1.0, 0.3), "4": ("Dropout", 3.0, 0.3), "5": ("Linear", 9.0, 1.0)}
    assert network(sizes).healthy
    # Sampling too: a code that is its mean in evaluation.
    assert network({"0": ("Linear", 1.0, 1.0), "1": ("", 1.0, 0.05), "2": ("Linear", 1.0, 0.05)}).healthy


def test_what_a_layer_learns_between_evaluations_is_healthy() -> None:
    def grown(steps: range) -> list[Any]:
        return [row(s, mean=0.0, std=0.1 * 1.05**s, within_std=0.1 * 1.05**s) for s in steps]

    layers = {"0": ("Linear", grown(range(80))), "0:eval": ("Linear", grown(range(9, 80, 20)))}
    assert watch(layers).diagnose().healthy


def test_a_layer_that_rises_for_no_reason_that_is_seen_has_an_unknown_one() -> None:
    sizes = {"0": ("Linear", 1.0, 1.0), "1": ("", 1.0, 9.0), "2": ("Linear", 1.0, 9.0)}
    assert told(network(sizes)) == [("1", "mode_dependence", None), ("2", "mode_dependence", "1")]


def test_what_goes_wrong_in_evaluation_alone_follows_from_it() -> None:
    sizes = {name: entry for name, entry in stale(30.0).items() if name != "3"}
    diagnosis = network(sizes, dead_neurons=60)
    assert {f.layer: f.consequence_of for f in diagnosis.findings if f.layer in ("1:eval", "2:eval")} == {
        "2:eval": "1",
        "1:eval": "1",
    }


def test_probabilities_and_single_samples_are_not_judged() -> None:
    assert network({"0": ("Linear", 1.0, 1.0), "1": ("Softmax", 1.0, 9.0)}).healthy
    sizes = {"0": ("Linear", 1.0, 1.0), "1": ("BatchNorm1d", 1.0, 1.0)}
    layers = {name: (kind, rows(range(60), 1.0)) for name, (kind, _, _) in sizes.items()}
    one = [row(s, mean=0.0, std=1.0, within_std=0.0, count=64) for s in range(0, 60, 5)]
    assert watch(layers | {"1:eval": ("BatchNorm1d", one)}).diagnose().healthy


@pytest.mark.parametrize(
    ("trained", "optimiser", "drops", "expected"),
    [
        (range(20), range(0, 70, 10), True, True),
        (range(20), range(0, 30, 10), True, False),  # evaluated at the end
        (range(70), range(0, 70, 10), True, False),
        (range(20), range(0, 70, 10), False, False),  # no layer minds
        (range(20), range(0), True, False),
    ],
)
def test_a_model_that_is_trained_on_in_evaluation_mode(
    trained: range, optimiser: range, drops: bool, expected: bool
) -> None:
    kinds = {"0": "Linear", "1": "Dropout" if drops else "ReLU", "2": "Linear"}
    layers = {name: (kind, rows(trained, 1.0)) for name, kind in kinds.items()}
    layers |= {f"{name}:eval": (kind, rows(range(20, 70), 1.0)) for name, kind in kinds.items()}
    if optimiser:
        layers["optimiser"] = ("Optimiser", [plain(step, count=1) for step in optimiser])
    found = [f for f in watch(layers).diagnose().findings if f.condition == "eval_shift"]
    assert [(f.layer, f.first_step, f.cause_name) for f in found] == [("1", 20, "left_in_evaluation")] * expected
