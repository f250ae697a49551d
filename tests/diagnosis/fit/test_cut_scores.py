"""Scores that are cut to 0 and 1, so that a loss of probabilities takes them."""

from dataclasses import replace
from typing import Any

import pytest
from supervised import Given, layer, loss, seen
from synthetic import row

from fastact.history import LayerInfo

ROWS = range(6)


def got(low: float, high: float, function: str = "binary_cross_entropy", **given: float) -> list[str]:
    """What is said of a last layer with scores in this range, where the loss got what is within 0 and 1."""
    made = layer("out", [row(s, count=32, neurons=1, min=low, max=high + s / 100) for s in ROWS])
    cut: dict[str, Any] = {"min": max(low, 0.0), **given}
    facts = {"shape": [32, 1], "units": 1, "sums_to_one": False}
    predicted: Given = {
        "loss:prediction": (
            LayerInfo("loss:prediction", 0, "Prediction", "float32"),
            [row(s, count=32, neurons=1, **{"max": min(high + s / 100, 1.0), **cut}) for s in ROWS],
        )
    }
    known = loss([0.7] * len(ROWS), 0.69, function=function, batch=32, targets={"mean": 0.5, "std": 0.5, "max": 1.0})
    of_target, wanted = known["loss:target"]
    labels = {"shape": [32, 1], "whole": True, "distinct": [0.0, 1.0]}
    known["loss:target"] = replace(of_target, facts=labels), wanted
    info, rows = known["loss"]
    known["loss"] = (
        LayerInfo("loss", 0, "Loss", "float64", source="loss:prediction", facts={**info.facts, "prediction": facts}),
        rows,
    )
    found = seen(made, predicted, known).diagnose().findings
    return [finding.cause_name for finding in found if finding.condition == "output_mismatch"]


@pytest.mark.parametrize(("low", "high"), [(-0.4, 0.6), (-2.0, 3.0)])
def test_scores_that_are_cut_to_0_and_1(low: float, high: float) -> None:
    assert got(low, high) == ["missing_sigmoid"]


def test_what_is_no_cut() -> None:
    assert got(0.1, 0.8) == []  # nothing is beyond
    assert got(-2.0, 3.0, min=0.12, max=0.95) == []  # a sigmoid
    assert got(-2.0, 3.0, function="mean_squared_error") == []  # a loss that takes any values
