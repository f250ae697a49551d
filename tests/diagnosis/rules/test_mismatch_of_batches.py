"""What batches show of samples and targets besides their range: copies, padding, masks, a softmax over the samples."""

import math
from typing import Any

import numpy as np
import pytest
from supervised import Given, layer, loss, noisy, optimiser, parameter, seen
from synthetic import plain, row

from fastact.history import LayerInfo

BATCH = 32


def causes(*parts: Given) -> list[str]:
    return [f.cause_name for f in seen(*parts).diagnose().culprits if f.condition == "output_mismatch"]


def compared(given: Given, source: str, targets: dict[str, Any], **prediction: Any) -> Given:
    """A loss with what is known of its predictions and targets."""
    (info, rows), (target, target_rows) = given["loss"], given["loss:target"]
    facts = {**(info.facts or {}), "framework": "torch", "prediction": prediction}
    named = LayerInfo("loss", 0, "Loss", "float64", source=source, facts=facts)
    return given | {
        "loss": (named, rows),
        "loss:target": (LayerInfo("loss:target", 0, "Target", target.dtype, facts=targets), target_rows),
    }


def moved(size: float = 1e-3) -> list[Given]:
    return [parameter("0.weight", update=size), optimiser()]


@pytest.mark.parametrize(
    ("facts", "extremes", "told"),
    [
        ({"duplicate_samples": 0.9, "whole": False}, 0.0, ["same_batch"]),
        ({"duplicate_samples": 0.9, "whole": True}, 0.0, []),
        ({"duplicate_samples": 0.4, "whole": False}, 0.0, []),
        ({"duplicate_samples": 0.9, "whole": False}, 1.0, []),  # other samples in other batches
        ({}, 0.0, []),
    ],
)
def test_a_few_samples_that_come_again_and_again(facts: dict[str, Any], extremes: float, told: list[str]) -> None:
    rows = [plain(s, mean=0.1 * (s % 3), std=1.0, min=-2.0 - extremes * s, max=2.0) for s in range(20)]
    given = layer("input", rows, "Input", shape=[BATCH, 64], **facts)
    falls = compared(loss(noisy(np.linspace(2.0, 0.1, 20))), "out", {"shape": [BATCH]}, shape=[BATCH, 10], units=10)
    assert causes(given, layer("out", [row(s) for s in range(20)]), falls, *moved()) == told


@pytest.mark.parametrize(("within", "told"), [(0.4, ["same_batch"]), (0.0, [])])
def test_one_sample_in_all_batches_shows_where_its_places_differ(within: float, told: list[str]) -> None:
    # Without places the input is constant, which is a finding of its own.
    rows = [row(s, mean=0.1, std=1.0, min=-2.0, max=2.0, within_std=within, neurons=4) for s in range(20)]
    one: dict[str, Any] = {"duplicate_samples": 1.0 - 1.0 / BATCH, "whole": False}
    given = layer("input", rows, "Input", shape=[BATCH, 10, 4], **one)
    falls = compared(loss(noisy(np.linspace(2.0, 0.1, 20))), "out", {"shape": [BATCH]}, shape=[BATCH, 10], units=10)
    assert causes(given, layer("out", [row(s) for s in range(20)]), falls, *moved()) == told


#: Places that are padding; a class of the others costs ln 8.
SHARE = 0.8
REST = (1.0 - SHARE) * math.log(8.0)
CONSTANT = REST - SHARE * math.log(SHARE) - (1.0 - SHARE) * math.log(1.0 - SHARE)


@pytest.mark.parametrize(
    ("level", "share", "rows", "told"),
    [
        (1.2 * REST, SHARE, 60, ["padding_counted"]),
        (0.5 * REST, SHARE, 60, []),  # it learns the others as well
        (1.2 * REST, SHARE, 45, []),
        (1.2 * REST, None, 60, []),  # the commonest class, but no padding
    ],
)
def test_padding_that_is_all_that_is_learned(level: float, share: float | None, rows: int, told: list[str]) -> None:
    targets: dict[str, Any] = {"shape": [BATCH, 16], "dtype": "int64", "whole": True, "commonest": SHARE}
    targets |= {"padding": {"value": 0.0, "share": share}} if share else {}
    learns = np.linspace(1.5 * level, level, rows)
    given = compared(loss(noisy(learns), CONSTANT, batch=BATCH), "out", targets, shape=[BATCH, 9, 16], units=9)
    assert causes(layer("out", [row(s) for s in range(rows)]), given, *moved()) == told


@pytest.mark.parametrize(
    ("largest", "level", "weighted", "told"),
    [
        (-1.0, 0.9, False, ["unbalanced_labels"]),
        (0.5, 0.9, False, []),
        (-1.0, 0.6, False, []),  # it learns them
        (-1.0, 0.9, True, []),
    ],
)
def test_masks_of_which_no_place_is_found(largest: float, level: float, weighted: bool, told: list[str]) -> None:
    constant, shape = 0.2, [16, 1, 16, 16]
    target = {"mean": 0.05, "std": 0.22, "min": 0.0, "max": 1.0}
    made = loss(
        noisy(np.linspace(level + 0.05, level, 60) * constant), constant, function="binary_cross_entropy_with_logits",
        targets=target,
    )  # fmt: skip
    made = compared(made, "out", {"shape": shape, "whole": True, "distinct": [0.0, 1.0]}, shape=shape, units=1)
    if weighted:
        info, rows = made["loss"]
        made["loss"] = (
            LayerInfo("loss", 0, "Loss", "float64", source="out", facts={**info.facts, "weighted": True}),
            rows,
        )
    out = layer("out", [plain(s, mean=-4.0, std=1.0, min=-8.0, max=largest) for s in range(60)], "Conv2d")
    assert causes(out, made, *moved()) == told


@pytest.mark.parametrize(
    ("axis", "count", "mean", "told"),
    [
        (0, BATCH * 12, 1.0 / BATCH, ["softmax_axis"]),
        (1, BATCH * 12, 1.0 / 12.0, []),
        (0, BATCH * 12, 1.0 / 12.0, []),  # steps come first, and the batch after them
        (0, BATCH * BATCH, 1.0 / BATCH, []),  # each sample with each
        (0, BATCH, 1.0 / BATCH, []),
    ],
)
def test_a_softmax_over_the_samples_of_a_batch(axis: int, count: int, mean: float, told: list[str]) -> None:
    weighs = [plain(s, count=count, mean=mean, std=0.01, min=0.0, max=0.1) for s in range(5)]
    given = compared(loss([2.3] * 5), "out", {"shape": [BATCH]}, shape=[BATCH, 10], units=10)
    parts = layer("softmax", weighs, "Softmax", axis=axis), layer("out", [row(s) for s in range(5)]), given
    assert causes(*parts) == told


@pytest.mark.parametrize(
    ("largest", "layer_type", "told"),
    [(-5.6, "LogSoftmax", ["softmax_axis"]), (-2.2, "LogSoftmax", []), (-5.6, "Linear", [])],
)
def test_logarithms_of_which_the_likeliest_class_has_too_little(
    largest: float, layer_type: str, told: list[str]
) -> None:
    some = [plain(s, count=10 * BATCH, mean=-5.7, std=0.1, min=-5.9, max=largest) for s in range(5)]
    made = compared(loss([5.7] * 5, function="nll"), "picked", {"shape": [BATCH]}, shape=[BATCH, 10], units=10)
    parts = layer("softmax", [row(s) for s in range(5)], layer_type), layer("picked", some, "Prediction"), made
    assert causes(*parts) == told


def test_minus_a_yes_or_no_is_of_the_wrong_sign_where_no_other_player_wants_it() -> None:
    made = loss(noisy(np.linspace(-0.7, -9.0, 20)), None, function="")
    facts = {"form": "binary_cross_entropy", "factor": -1.0, "function": "", "spelled": ""}
    target = [plain(s, count=BATCH, mean=0.5, std=0.5, min=0.0, max=1.0) for s in range(20)]
    made["loss:target"] = LayerInfo("loss:target", 0, "Target", facts={"shape": [BATCH, 1]}), target
    made["loss"] = LayerInfo("loss", 0, "Loss", "float64", source="out", facts=facts), made["loss"][1]
    out = layer("out", [plain(s, mean=0.5, std=0.1, min=0.2, max=0.8) for s in range(20)], "Sigmoid")
    assert causes(out, made, *moved()) == ["wrong_sign"]
    other = {"critic.optimiser": (LayerInfo("critic.optimiser", 0, "Optimiser"), optimiser()["optimiser"][1])}
    assert causes(out, made, *moved(), other) == []
    alike = [plain(s, count=BATCH, mean=1.0, std=0.0, min=1.0, max=1.0) for s in range(20)]
    assert causes(out, made | {"loss:target": (made["loss:target"][0], alike)}, *moved()) == []


@pytest.mark.parametrize(
    ("far", "targets", "spelled", "told"),
    [
        (9.0, {"whole": False}, "likeness", ["wrong_sign"]),
        (2.0, {"whole": False}, "likeness", []),
        (9.0, {"whole": False}, "pearson_correlation", []),  # which sets no scale
        (9.0, {"whole": True, "distinct": [0.0, 1.0]}, "likeness", []),  # logits of a yes or no
    ],
)
def test_a_loss_that_falls_while_outputs_leave_the_targets(
    far: float, targets: dict[str, Any], spelled: str, told: list[str]
) -> None:
    made = loss(noisy(np.linspace(0.4, 0.05, 40)), None, function="")
    target = [plain(s, count=BATCH, mean=0.0, std=1.0, min=-2.0, max=2.0) for s in range(40)]
    made["loss:target"] = LayerInfo("loss:target", 0, "Target", facts={"shape": [BATCH, 1], **targets}), target
    facts = {"function": "", "spelled": spelled, "prediction": {"shape": [BATCH, 1], "units": 1}}
    made["loss"] = LayerInfo("loss", 0, "Loss", "float64", source="out", facts=facts), made["loss"][1]
    out = layer("out", [plain(s, count=BATCH, mean=0.5 + far * s / 40, std=1.0) for s in range(40)])
    assert causes(out, made, *moved()) == told


def test_what_is_made_large_on_purpose_has_no_wrong_sign() -> None:
    made = loss(noisy(np.linspace(-0.7, -0.1, 20)), None, function="")
    facts = {"form": "mean_squared_error", "factor": -1.0, "function": "", "spelled": ""}
    made["loss"] = LayerInfo("loss", 0, "Loss", "float64", source="out", facts=facts), made["loss"][1]

    def leaning(sign: float) -> Given:
        given = parameter("0.weight")
        means = {"0.weight:grad": 5e-4, "0.weight:update": sign * 5e-5}
        return {
            name: (info, [plain(s, count=32, mean=means.get(name, 0.0), std=1e-3) for s in range(len(rows))])
            for name, (info, rows) in given.items()
        }

    out = layer("out", [row(s) for s in range(20)])
    assert causes(out, made, leaning(-1.0), optimiser()) == ["wrong_sign"]
    assert causes(out, made, leaning(1.0), optimiser()) == []
