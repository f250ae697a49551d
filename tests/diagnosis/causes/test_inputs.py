"""Causes in the data: what the first batch of inputs and the targets' rows say."""

from typing import Any

import pytest
from synthetic import loss_rows, row

from fastact.diagnosis.causes import inputs
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.network import LayerView, Network
from fastact.history import LayerInfo

OF_1 = {"shape": [32, 1]}
VALUES = {"shape": [32, 1], "whole": False}
BINARY = {"shape": [32, 1], "whole": True, "distinct": [0.0, 1.0], "commonest": 0.5}


def seen(diagnoser: Diagnoser) -> tuple[LayerView, Network]:
    """The loss's view, and the network, as rules get them."""
    views = diagnoser.views()
    layers = [view for view in views.values() if view.info.layer_type in ("Input", "ReLU", "Linear")]
    return views["loss"], Network(layers, recent_rows=10, min_samples=32, everything=views)


def told(diagnoser: Diagnoser) -> list[str]:
    return [cause.name for cause in inputs.causes_of_data(*seen(diagnoser))]


def trained(
    given: dict[str, Any], target: dict[str, Any], *, steps: int = 12, function: str = "mse_loss", moves: float = 0.01,
    **numbers: float,
) -> Diagnoser:  # fmt: skip
    """A network whose input has these facts and numbers, which move a little from row to row."""
    diagnoser = loss_rows(function, OF_1, target, steps=steps, before={"in": ("Input", ""), "0": ("ReLU", "in")})
    made = Diagnoser()
    for name, view in diagnoser.views().items():
        info = view.info
        made.add(
            LayerInfo(
                name, info.order, info.layer_type, source=info.source, facts=given if name == "in" else info.facts
            )
        )
        for step, one in enumerate(view.rows.tolist()):
            made.append(name, row(step, **{"mean": moves * step, **numbers}) if name == "in" else one)
    return made


USUAL = {"features": 8, "feature_std": [0.8, 1.0, 1.3], "constant_features": 0, "duplicate_features": 0}
SCALED = {**VALUES, "rows": {"mean": 0.0, "std": 1.0, "min": -2.0, "max": 2.0}}


def test_usual_data_is_no_cause() -> None:
    assert told(trained(USUAL, SCALED)) == []
    assert told(trained({}, SCALED)) == []


def test_a_code_for_missing_values_is_a_cause_where_it_dominates() -> None:
    code = {"value": -999.0, "share": 0.05, "std_without": 1.0}
    assert told(trained({**USUAL, "code": code}, SCALED, std=218.0, min=-999.0))[0] == "missing_value_codes"
    assert told(trained({**USUAL, "code": {**code, "value": 9.0}}, SCALED, std=1.5)) == []
    (said,) = inputs.missing_value_codes(seen(trained({"code": code}, SCALED, std=218.0))[1]).speaks_for
    assert said.startswith("5% of the first inputs are -999, far from all others")


@pytest.mark.parametrize(
    ("stds", "cause"),
    [
        ([0.5, 1.0, 1000.0], True),
        ([0.0001, 1.0, 1.5], False),  # a small one among the others
        ([1.0, 1.0, 900.0], False),
        ([300.0, 1000.0, 1000.0], False),
    ],
)
def test_scales_of_features_that_are_far_apart_are_a_cause(stds: list[float], cause: bool) -> None:
    assert ("feature_scales" in told(trained({**USUAL, "feature_std": stds}, SCALED))) == cause


@pytest.mark.parametrize(
    ("mean", "std", "cause"),
    [
        (0.0, 1.0, False),
        (150.0, 77.0, True),
        (22.0, 9.0, False),
        (0.0, 1e-4, True),
        (25.0, 0.1, True),
        (0.5, 0.0, False),
    ],
)
def test_targets_far_from_unit_scale_are_a_cause_in_a_regression(mean: float, std: float, cause: bool) -> None:
    target = {**VALUES, "rows": {"mean": mean, "std": std}}
    assert ("targets_not_scaled" in told(trained(USUAL, target))) == cause
    assert told(trained(USUAL, target, function="cross_entropy")) == []


@pytest.mark.parametrize(("mean", "cause"), [(0.97, True), (0.03, True), (0.6, False)])
def test_labels_of_one_class_nearly_all_are_a_cause(mean: float, cause: bool) -> None:
    target = {**BINARY, "rows": {"mean": mean}}
    assert ("unbalanced_labels" in told(trained(USUAL, target, function="bce_with_logits"))) == cause


def test_labels_that_are_all_one_are_a_cause() -> None:
    target = {**BINARY, "distinct": [1.0], "commonest": 1.0, "rows": {"min": 1.0, "mean": 1.0, "std": 0.0}}
    assert told(trained(USUAL, target, function="bce_with_logits")) == ["constant_labels"]


def test_one_batch_over_and_over_is_a_cause_after_ten_rows() -> None:
    assert told(trained(USUAL, SCALED, moves=0.0)) == ["same_batch"]
    assert told(trained(USUAL, SCALED, moves=0.0, steps=9)) == []
    rows = inputs.same_batch(*seen(trained(USUAL, SCALED)))
    assert rows.refuted_by == ("the batches differ",)


def test_inputs_that_nobody_recorded_say_nothing() -> None:
    assert told(loss_rows("mse_loss", OF_1, SCALED)) == []
