"""A loss that is made large, proved by the gradient of what it was given."""

from typing import Any

import numpy as np
import pytest
from supervised import Given, layer, loss, noisy, optimiser, seen
from synthetic import plain

from fastact.diagnosis.learning import rates
from fastact.diagnosis.network import Network
from fastact.history import LayerInfo

ROWS, BATCH = 40, 64


def causes(numbers: list[float], gradient: dict[str, float], function: str, facts: dict[str, Any]) -> list[str]:
    made = loss(numbers, 1.0, function=function, batch=BATCH, targets={"mean": 1.0, "std": 1.0})
    info, rows = made["loss"]
    made["loss"] = LayerInfo("loss", 0, "Loss", "float64", source="out", facts={**(info.facts or {}), **facts}), rows
    pull = [plain(s, **{"count": BATCH, "std": 0.1, **gradient}) for s in range(ROWS)]
    out: Given = layer("out", [plain(s, count=BATCH, mean=3.0, std=1.0) for s in range(ROWS)]) | layer(
        "out:grad", pull, "Gradient"
    )
    found = seen(out, made, optimiser(1e-3, ROWS)).diagnose().culprits
    return [f.cause_name for f in found if f.condition == "not_learning"]


@pytest.mark.parametrize(("up", "down", "told"), [(0.9, -0.1, ["wrong_sign"]), (0.1, -0.9, []), (0.5, -0.5, [])])
def test_a_cross_entropy_pulls_up_one_class_by_what_it_pushes_down_the_others(
    up: float, down: float, told: list[str]
) -> None:
    facts = {"prediction": {"shape": [BATCH, 10], "units": 10}, "reduction": "mean"}
    numbers = noisy(np.linspace(2.3, 2.5, ROWS), 0.003)
    found = causes(numbers, {"mean": 0.0, "min": down, "max": up}, "cross_entropy", facts)
    assert ("wrong_sign" in found) == bool(told)


@pytest.mark.parametrize(("pull", "rise", "told"), [(-0.1, 0.5, True), (0.1, 0.5, False), (-0.1, -0.5, False)])
def test_squares_pull_predictions_towards_the_targets(pull: float, rise: float, told: bool) -> None:
    facts = {"prediction": {"shape": [BATCH], "units": 1}, "reduction": "mean"}
    numbers = noisy(np.linspace(1.0, 1.0 + rise, ROWS), 0.003)
    found = causes(numbers, {"mean": pull, "min": -0.3, "max": 0.3}, "mean_squared_error", facts)
    assert ("wrong_sign" in found) == told


def test_all_weights_at_zero_and_all_far_too_small() -> None:
    def named(size: float) -> list[str]:
        given: Given = {}
        for name in ("a.weight", "b.weight"):
            rows = [plain(s, count=32, zeros=0 if size else 32, mean=0.0, std=size, neurons=8) for s in range(3)]
            given[name] = LayerInfo(name, 0, "Parameter", "float32", facts={"shape": [8, 4], "layer": name[0]}), rows
        views = seen(given).views()
        network = Network(list(views.values()), recent_rows=10, min_samples=32, everything=views)
        return [cause.name for cause in rates.causes(network) if cause.speaks_for]

    assert named(0.0) == ["weights_zero"]
    assert named(0.01) == ["initialisation"]
    assert named(0.3) == []
