"""What a loss was multiplied by, by the gradient of what it was given; and what else keeps nothing that is learned."""

import math
from typing import Any

import numpy as np
import pytest
from supervised import Given, layer, loss, noisy, optimiser, parameter, seen
from synthetic import plain, row

from fastact.history import LayerInfo

BATCH, LN2 = 50, math.log(2.0)


def causes(*parts: Given, window_size: int = 100) -> list[str]:
    found = seen(*parts, window_size=window_size).diagnose().culprits
    return [f.cause_name for f in found if f.condition == "not_learning"]


@pytest.mark.parametrize(
    ("weight", "level", "facts", "told"),
    [
        (1e-3, 0.99, {}, ["loss_scaled"]),
        (1.0 / 32.0, 0.99, {}, []),  # as gradients are accumulated
        (1e-3, 0.8, {}, []),  # it learns
        (1e-3, 0.99, {"function": "Adam"}, []),  # which takes no notice
    ],
)
def test_a_loss_that_is_averaged_twice(weight: float, level: float, facts: dict[str, Any], told: list[str]) -> None:
    target = {"mean": 0.5, "std": 0.5, "min": 0.0, "max": 1.0}
    levels = noisy(np.linspace(1.0, level, 60) * LN2, 0.01)
    made = loss(levels, LN2, function="binary_cross_entropy_with_logits", batch=BATCH, targets=target)
    made["loss:target"] = LayerInfo("loss:target", 0, "Target", facts={"shape": [BATCH, 1]}), made["loss:target"][1]
    info, rows = made["loss"]
    known = {**(info.facts or {}), "prediction": {"shape": [BATCH, 1], "units": 1}, "reduction": "mean"}
    made["loss"] = LayerInfo("loss", 0, "Loss", "float64", source="out", facts=known), rows
    size = 0.5 * weight / BATCH
    gradient = [plain(s, count=BATCH, mean=0.0, std=size * (1.0 + 0.1 * (s % 2))) for s in range(60)]
    out = layer("out", [row(s) for s in range(60)]), layer("out:grad", gradient, "Gradient")
    descent = optimiser(0.3, 60, **{"function": "SGD", "momentum": 0.9, **facts})
    assert causes(*out, made, parameter("out.weight", rows=60, update=3e-5), descent) == told


def returning(name: str, places: list[int]) -> Given:
    """A weight that is updated, and begins again from its first numbers in these rows."""
    given = parameter(name, rows=20, update=1e-3)
    began, rows = 0, []
    for place in range(20):
        began = place if place in places else began
        size = 0.1 + 1e-3 * (place - began) if began or place in places else 0.1 + 1.7e-3 * place
        rows.append(plain(10 * place, count=32, zeros=0, mean=0.0, std=size, min=-size, max=size))
    return given | {name: (given[name][0], rows)}


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ([3, 6, 9, 12, 15, 18], ["weights_reset"]),
        ([], []),
        ([10], []),  # once, and it goes on
        ([2, 4], []),  # several ways from one place
    ],
)
def test_first_weights_that_are_put_back_again_and_again(places: list[int], told: list[str]) -> None:
    learns = loss(noisy(np.full(20, 0.8 * LN2), 0.01), LN2, stride=10)
    assert causes(learns, returning("0.weight", places), returning("1.weight", places), optimiser(rows=20)) == told


@pytest.mark.parametrize(
    ("zero", "level", "told"), [(80, 0.3, ["no_update"]), (80, 0.05, []), (40, 0.3, []), (0, 0.3, [])]
)
def test_a_rate_that_is_zero_for_most_of_the_training(zero: int, level: float, told: list[str]) -> None:
    rates = [1e-3] * (100 - zero) + [0.0] * zero
    rows = [plain(s, count=1, zeros=int(x == 0.0), mean=x, std=0.0, min=x, max=x) for s, x in enumerate(rates)]
    info = optimiser()["optimiser"][0]
    falls = loss(noisy(np.r_[np.linspace(1.0, level, 100 - zero), np.full(zero, level)] * LN2, 0.01), LN2)
    assert causes(falls, {"optimiser": (info, rows)}) == told


def test_targets_that_run_away_with_the_answers() -> None:
    sizes = 1.1 ** np.arange(100.0)
    made = loss(noisy(0.005 * sizes**2), None, function="mean_squared_error")
    facts: dict[str, Any] = {"shape": [BATCH], "whole": False}

    def grows(name: str, layer_type: str) -> Given:
        rows = [plain(s, mean=float(x), std=0.1 * float(x), min=0.0, max=2.0 * float(x)) for s, x in enumerate(sizes)]
        return {name: (LayerInfo(name, 0, layer_type, facts=facts), rows)}

    answers = grows("loss:prediction", "Prediction")
    assert causes(made, answers, grows("loss:target", "Target"), optimiser()) == ["moving_targets"]
    still = layer(
        "loss:target", [plain(s, mean=1.0, std=1.0, min=-1.0, max=3.0) for s in range(100)], "Target", **facts
    )
    assert "moving_targets" not in causes(made, answers, still, optimiser())


def test_what_targets_began_with_may_have_left_the_window() -> None:
    """In the window they have grown by a third alone."""
    sizes = np.r_[1.0, np.linspace(10.0, 15.0, 300)]
    made = loss(noisy(0.05 * sizes**2, 0.001), None, function="mean_squared_error")
    rows = [plain(s, mean=float(x), std=0.1 * float(x), min=0.0, max=2.0 * float(x)) for s, x in enumerate(sizes)]
    facts: dict[str, Any] = {"shape": [BATCH], "whole": False}
    given = [
        {name: (LayerInfo(name, 0, kind, facts=facts), rows)}
        for name, kind in (("loss:prediction", "Prediction"), ("loss:target", "Target"))
    ]
    assert causes(made, *given, optimiser(rows=300)) == ["moving_targets"]


def player(name: str, steps: int, losses: int = 1, level: float = 0.6) -> Given:
    """One of two players: its optimiser's rows, and losses whose targets are all alike."""
    info, _ = optimiser()["optimiser"]
    rates = [plain(10 * s, count=1, zeros=0, mean=1e-3, min=1e-3, max=1e-3) for s in range(steps)]
    given: Given = {f"{name}.optimiser": (LayerInfo(f"{name}.optimiser", 0, "Optimiser", facts=info.facts), rates)}
    for number in range(losses):
        own = f"{name}.loss" + (f":{number + 1}" if number else "")
        label = float(number > 0)
        target = {"mean": label, "std": 0.0, "min": label, "max": label}
        given |= loss(
            noisy(np.full(200, level)), 0.0, function="binary_cross_entropy_with_logits", name=own, targets=target
        )
    return given


def test_one_of_two_players_that_was_not_thawed() -> None:
    assert causes(player("critic", 1, 2), player("forger", 20)) == ["frozen_parameters"]
    assert causes(player("critic", 20, 2), player("forger", 20)) == []
    assert causes(player("critic", 1), player("forger", 20)) == []  # trained before the other one


@pytest.mark.parametrize(("losses", "level", "told"), [(3, 0.01, ["wrong_loss"]), (3, 0.6, []), (2, 0.01, [])])
def test_two_players_that_want_the_same(losses: int, level: float, told: list[str]) -> None:
    given = player("critic", 20, losses, level) | player("forger", 20, 0)
    found = seen(given).diagnose().culprits
    assert [f.cause_name for f in found if f.condition == "output_mismatch"] == told
    above = player("critic", 20, losses, level) | player("forger", 20, 1, 4.0)
    assert [f.cause_name for f in seen(above).diagnose().culprits if f.cause_name == "wrong_loss"] == []
