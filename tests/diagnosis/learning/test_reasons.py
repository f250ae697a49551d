"""Why a loss stays, where several things seem to say so: what is proved, what came first, and what only follows."""

from typing import Any

import numpy as np
import pytest
from supervised import LN10, Given, layer, loss, noisy, optimiser, parameter, seen
from synthetic import plain, row

from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.rule import Circumstances
from fastact.diagnosis.rules.not_learning import NotLearning
from fastact.history import LayerInfo

FLAT = noisy(np.full(150, LN10))


def findings(*parts: Given, **more: Any) -> list[Finding]:
    return [f for f in seen(*parts, **more).diagnose().findings if f.condition == "not_learning"]


def only(*parts: Given, **more: Any) -> Finding:
    (finding,) = findings(*parts, **more)
    return finding


def test_noise_that_seems_to_fall_does_not_hide_that_no_optimiser_ever_stepped() -> None:
    """The later rows are lower by chance: less than what is beyond doubt."""
    rows = 100
    levels = np.linspace(1.075, 0.925, rows) + 0.12 * np.random.default_rng(0).normal(size=rows)
    levels += 1.0 - levels[50:].mean()
    graded = {"fc:grad": (LayerInfo("fc:grad", 0, "Gradient"), [plain(s, std=0.1) for s in range(rows)])}
    given = loss(levels.tolist(), 1.0, function="mean_squared_error", targets={"mean": 0.0, "std": 1.0}, batch=8)
    assert only(given, graded, unseen={"optimiser": "no step"}).cause_name == "no_update"
    assert findings(given, graded, optimiser(rows=rows)) == []


def test_whole_layers_without_a_gradient_are_told_however_seldom_parameters_are_recorded() -> None:
    def told(rows: int) -> list[str]:
        there = layer("into", [row(s) for s in range(rows)]) | layer("out", [row(s) for s in range(rows)])
        flat = parameter("into.weight", layer="into", gradient=0.0, update=0.0, rows=4)
        moves = parameter("out.weight", layer="out", rows=4)
        given = loss(noisy(np.full(rows, 0.7 * LN10)))
        return [f.cause_name for f in findings(given, there, flat, moves, optimiser(rows=4))]

    assert told(90) == ["zero_gradients"]
    assert told(30) == []


def test_all_steps_of_a_rate_together() -> None:
    """Of Adagrad T steps come to twice the rate times the root of T, at most."""

    def told(function: str, rate: float) -> list[str]:
        parts = loss(FLAT), optimiser(rate=rate, rows=150, function=function)
        return [f.cause_name for f in findings(*parts)]

    assert told("Adagrad", 1e-4) == ["rate_too_small"]
    assert told("Adagrad", 1e-2) == ["constant_answer"]
    assert told("Adam", 1e-5) == ["rate_too_small"]
    assert told("Adam", 1e-3) == ["constant_answer"]


def test_updates_that_are_small_since_one_feature_drowns_all_others() -> None:
    falling = noisy(np.geomspace(4e7, 4e5, 50), 0.3)
    far = loss(falling, 1.0, function="mean_squared_error", targets={"mean": 0.0, "std": 1.0})
    given = layer("input", [row(s, std=1e5) for s in range(50)], "Input", feature_std=[0.8, 1.0, 1e5])
    small = parameter("0.weight", update=1e-7, rows=50)
    assert [f.cause_name for f in findings(given, far, small, optimiser(rows=50))] == ["feature_scales"]


@pytest.mark.parametrize(
    ("told", "other", "step", "first"),
    [
        ("targets_not_scaled", "saturated", 18, "loss"),
        ("weight_decay", "dead", 39, "loss"),
        ("constant_answer", "dead", 39, "layer"),
        ("targets_not_scaled", "dead", 0, "layer"),
    ],
)
def test_what_is_far_off_from_the_first_step_on_makes_layers_sick_later(
    told: str, other: str, step: int, first: str
) -> None:
    learns = Finding("loss", "not_learning", "serious", 0, Evidence(), "", "", (), None, told)
    sick = Finding("act", other, "serious", step, Evidence(), "", "", (), None, "learning_rate")
    around = Circumstances({"act": 0, "loss": 1}, {}, {}, 5.0, 20.0, {})
    assert NotLearning.explains[other](learns, sick, around) == (first == "loss")
    assert NotLearning.explained_by[other](sick, learns, around) == (first == "layer")


def test_places_that_are_added_are_no_weights_that_began_too_large() -> None:
    def told(name: str) -> list[str]:
        given = parameter(name, update=5e-3, rows=15, shape=[64, 32])
        given[name] = given[name][0], [row(s, count=2048, neurons=64, std=5.0 + s / 1e6) for s in range(15)]
        return [f.cause_name for f in findings(loss(FLAT), given, optimiser(rows=15))]

    assert told("attention.in_proj_weight") == ["initialisation"]
    assert told("block.W_q") == ["initialisation"]
    assert told("places") == ["constant_answer"]


@pytest.mark.parametrize(
    ("between", "after", "cause"),
    [
        ("Softmax", "Linear", "hidden_softmax"),
        ("ReLU", "Linear", "constant_answer"),
        ("Softmax", "Flatten", "constant_answer"),  # nothing with weights learns from it
    ],
)
def test_a_softmax_between_two_layers_with_weights(between: str, after: str, cause: str) -> None:
    rows = [row(s, min=0.0 if between == "ReLU" else -3.0) for s in range(150)]
    chain = layer("fc1", rows) | layer("act", rows, between, "fc1") | layer("next", rows, after, "act")
    assert only(chain, loss(FLAT)).cause_name == cause
