"""Outputs, losses and targets that do not fit each other, and all that looks like it and does."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import loss_rows, plain

import fastact
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import Evidence, Finding, Severity
from fastact.diagnosis.rule import Circumstances
from fastact.diagnosis.rules.output_mismatch import OutputMismatch
from fastact.history import LayerInfo
from fastact.losses import LOSSES

CLASSES = {"shape": [32], "dtype": "int64", "whole": True, "distinct": [0.0, 1.0, 2.0], "rows": {"max": 2.0}}
COLUMN = {**CLASSES, "shape": [32, 1]}
ONE_HOT = {"shape": [32, 3], "whole": True, "distinct": [0.0, 1.0], "sums_to_one": True, "one_hot": True,
           "rows": {"mean": 1 / 3}}  # fmt: skip
SOFT = {"shape": [32, 3], "whole": False, "sums_to_one": True, "one_hot": False, "rows": {"mean": 1 / 3, "max": 0.9}}
BINARY = {"shape": [32, 1], "whole": True, "distinct": [0.0, 1.0]}
MANY_LABELS = {"shape": [32, 3], "whole": True, "distinct": [0.0, 1.0], "sums_to_one": False, "one_hot": False}
ROWS = {"std": 1.0, "mean": 0.0, "abs_mean": 0.8, "min": -2.5, "max": 2.5}
VALUES = {"shape": [32, 1], "whole": False, "rows": ROWS}
POSITIVE = {"shape": [32, 1], "whole": False, "rows": {"mean": 1.0, "std": 0.5, "min": 0.0, "max": 3.0}}
PIXELS = {"shape": [32, 64], "whole": False, "rows": {"mean": 0.3, "min": 0.0, "max": 1.0}}
BYTES = {"shape": [32, 64], "whole": True, "rows": {"mean": 70.0, "std": 60.0, "max": 255.0, "saturated": 1500}}

LOGITS: tuple[str, dict[str, float]] = ("Linear", {})
SOFTMAX = ("Softmax", {"min": 0.05, "max": 0.9, "mean": 1 / 3, "std": 0.1})
SIGMOID = ("Sigmoid", {"min": 0.05, "max": 0.9, "mean": 0.4, "std": 0.1})
TANH = ("Tanh", {"min": -0.9, "max": 0.9})
RELU = ("ReLU", {"min": 0.0, "max": 3.0, "zeros": 20})
LOG_SOFTMAX = ("LogSoftmax", {"min": -4.0, "max": -0.1, "mean": -1.5, "std": 0.5})
ONE = ("Softmax", {"min": 1.0, "max": 1.0, "mean": 1.0, "std": 0.0, "within_std": 0.0})
OF_3, OF_1, OF_64 = {"shape": [32, 3]}, {"shape": [32, 1]}, {"shape": [32, 64]}
SUMS = {**OF_3, "sums_to_one": True}
LOGARITHMS = {**OF_3, "exp_sums_to_one": True}

OVER_ONE = ("softmax_over_one_unit", "critical")
TWICE = ("double_softmax", "serious")
OTHER = ("wrong_output_activation", "serious")
BEYOND = ("target_out_of_range", "critical")
AXIS = ("softmax_axis", "critical")
NONE = ("missing_softmax", "serious")
NO_SIGMOID = ("missing_sigmoid", "serious")
CUT = ("relu_output", "serious")
NO_UNIT = ("class_out_of_range", "critical")
NUMBERS = ("one_hot_or_classes", "critical")
NO_LOG = ("missing_log_softmax", "critical")
BROADCAST = ("broadcast_shapes", "critical")
SPARSE, BINARY_KERAS = "sparse_categorical_crossentropy", "binary_crossentropy"
THREE = {**COLUMN, "distinct": [1.0, 2.0, 3.0], "rows": {"min": 1.0, "max": 3.0}}
ONE_OR_TWO = {**BINARY, "distinct": [1.0, 2.0], "rows": {"min": 1.0, "max": 2.0, "saturated": 16}}


def found(diagnoser: Diagnoser) -> list[Finding]:
    return [finding for finding in diagnoser.diagnose().findings if finding.condition == "output_mismatch"]


def said(diagnoser: Diagnoser) -> list[tuple[str, str]]:
    return [(finding.cause_name, finding.severity) for finding in found(diagnoser)]


@pytest.mark.parametrize(
    ("function", "output", "prediction", "target", "framework", "told", "fix"),
    [
        # A softmax over one unit, or too many of them
        ("BCELoss", ONE, OF_1, BINARY, "torch", OVER_ONE, "nn.BCEWithLogitsLoss()"),
        (BINARY_KERAS, ONE, OF_1, BINARY, "keras", OVER_ONE, "Dense(1, activation='sigmoid')"),
        ("mse", ONE, OF_1, VALUES, "keras", OVER_ONE, "Dense(1) without"),
        ("categorical_crossentropy", SIGMOID, OF_1, BINARY, "keras", OVER_ONE, "'sigmoid'"),
        ("CrossEntropyLoss", LOGITS, OF_1, {**CLASSES, "distinct": [0.0]}, "torch", OVER_ONE, "BCEWith"),
        ("", ONE, OF_1, BINARY, "torch", OVER_ONE, "nn.BCEWithLogitsLoss()"),
        ("cross_entropy", SOFTMAX, SUMS, CLASSES, "torch", TWICE, "remove the softmax"),
        ("cross_entropy", SOFTMAX, SUMS, ONE_HOT, "torch", TWICE, "remove the softmax"),
        ("categorical_crossentropy_of_logits", SOFTMAX, SUMS, ONE_HOT, "keras", TWICE, "from_logits=False"),
        ("cross_entropy", SIGMOID, OF_3, CLASSES, "torch", OTHER, "remove the sigmoid"),
        ("bce_with_logits", SIGMOID, OF_1, BINARY, "torch", ("double_sigmoid", "serious"), "nn.BCELoss()"),
        ("bce_with_logits", SOFTMAX, SUMS, ONE_HOT, "torch", OTHER, "remove the sigmoid"),
        ("cross_entropy", ("Softmax", SOFTMAX[1]), OF_3, CLASSES, "torch", AXIS, "remove the softmax"),
        ("nll_loss", LOG_SOFTMAX, OF_3, CLASSES, "torch", AXIS, "dim=1"),
        # None, where the loss applies none
        ("NLLLoss", LOGITS, OF_3, CLASSES, "torch", NO_LOG, "nn.CrossEntropyLoss()"),
        ("NLLLoss", SOFTMAX, SUMS, CLASSES, "torch", ("missing_log_softmax", "serious"), "nn.LogSoftmax"),
        ("KLDivLoss", SOFTMAX, SUMS, SOFT, "torch", ("missing_log_softmax", "serious"), "F.log_softmax"),
        (SPARSE, ("Dense", {}), OF_3, COLUMN, "keras", NONE, "from_logits=True"),
        ("categorical_crossentropy", SIGMOID, OF_3, ONE_HOT, "keras", (OTHER[0], "warning"), "softmax"),
        ("categorical_crossentropy", RELU, OF_3, ONE_HOT, "keras", CUT, "softmax"),
        (BINARY_KERAS, ("Dense", {}), OF_1, BINARY, "keras", NO_SIGMOID, "activation='sigmoid'"),
        (BINARY_KERAS, TANH, OF_1, BINARY, "keras", OTHER, "activation='sigmoid'"),
        (BINARY_KERAS, RELU, OF_1, BINARY, "keras", CUT, "activation='sigmoid'"),
        ("BCELoss", SOFTMAX, SUMS, MANY_LABELS, "torch", OTHER, "nn.BCEWithLogitsLoss()"),
        (BINARY_KERAS, SOFTMAX, SUMS, MANY_LABELS, "keras", OTHER, "activation='sigmoid'"),
        # What cuts or squeezes
        ("cross_entropy", RELU, OF_3, CLASSES, "torch", ("relu_output", "warning"), "remove the ReLU"),
        ("bce_with_logits", RELU, OF_1, BINARY, "torch", CUT, "remove the ReLU"),
        ("cross_entropy", TANH, OF_3, CLASSES, "torch", ("wrong_output_activation", "warning"), "remove the tanh"),
        ("mse_loss", RELU, OF_1, VALUES, "torch", CUT, "nn.MSELoss()"),
        # Targets beyond
        ("mse_loss", TANH, OF_1, VALUES, "torch", ("target_out_of_range", "serious"), "remove the tanh"),
        ("mse_loss", SIGMOID, OF_64, BYTES, "torch", BEYOND, "scale the targets to 0 to 1"),
        ("mse_loss", SOFTMAX, SUMS, {"shape": [32, 3], "sums_to_one": False, "rows": {"mean": 0.5}}, "torch",
         OTHER, "nn.Linear(..., 3)"),
        ("BCELoss", SIGMOID, OF_64, BYTES, "torch", BEYOND, "scale the targets to 0 to 1"),
        ("bce_with_logits", LOGITS, OF_1, {**BINARY, "distinct": [-1.0, 1.0], "rows": {"min": -1.0, "saturated": 16}},
         "torch", BEYOND, "(y + 1) / 2"),
        (BINARY_KERAS, SIGMOID, OF_1, {**COLUMN, "rows": {"max": 2.0, "saturated": 10}}, "keras",
         ("binary_loss_on_classes", "critical"), "Dense(3, activation='softmax')"),
        (BINARY_KERAS, SIGMOID, OF_1, ONE_OR_TWO,
         "keras", BEYOND, "y - 1"),
        ("hinge_loss", LOGITS, OF_1, BINARY, "jax", ("target_out_of_range", "serious"), "2 * y - 1"),
        ("PoissonNLLLoss", LOGITS, OF_1, VALUES, "torch", BEYOND, "nn.MSELoss()"),
        ("poisson", LOGITS, OF_1, VALUES, "keras", BEYOND, "'mse'"),
        ("msle", LOGITS, OF_1, VALUES, "keras", ("target_out_of_range", "serious"), "'mse'"),
        (SPARSE, SOFTMAX, SUMS, THREE,
         "keras", NO_UNIT, "subtract 1"),
        (SPARSE, SOFTMAX, SUMS, {**COLUMN, "whole": False, "rows": {"max": 2.5}},
         "keras", ("classes_not_whole", "critical"), "'mse'"),
        ("categorical_crossentropy", SOFTMAX, SUMS, {**MANY_LABELS, "rows": {"mean": 0.6}}, "keras",
         ("multi_label_targets", "warning"), "'binary_crossentropy'"),
        # Shapes, and numbers that are classes
        ("mse_loss", LOGITS, OF_1, {**VALUES, "shape": [32]}, "torch", BROADCAST, "squeeze(1)"),
        ("squared_error", LOGITS, OF_1, {**VALUES, "shape": [32]}, "jax", BROADCAST, "[:, None]"),
        ("mse", ("Dense", {}), OF_3, COLUMN, "keras", NUMBERS, "Dense(3, activation='softmax')"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_fix(
    function: str,
    output: tuple[str, dict[str, float]],
    prediction: dict[str, Any],
    target: dict[str, Any],
    framework: str,
    told: tuple[str, str],
    fix: str,
) -> None:
    rows = loss_rows(function, prediction, target, output, framework=framework, steps=1)
    (finding,) = found(rows)
    assert (finding.cause_name, finding.severity, finding.layer, finding.first_step) == (*told, "out", 0)
    assert any(fix in remedy for remedy in finding.remedies), finding.remedies
    assert finding.confidence == "certain"
    assert finding.message.startswith(f"out ({output[0]}) has not fitted its loss since step 0: ")


@pytest.mark.parametrize(
    ("function", "output", "prediction", "target", "framework", "known"),
    [
        ("cross_entropy", LOGITS, OF_3, CLASSES, "torch", {}),
        ("cross_entropy", LOGITS, OF_3, SOFT, "torch", {"weighted": True}),  # label smoothing, mixing
        ("cross_entropy", LOG_SOFTMAX, LOGARITHMS, CLASSES, "torch", {}),  # a second one changes nothing
        ("cross_entropy", LOGITS, {"shape": [3], "units": 1}, {**CLASSES, "shape": []}, "torch", {}),  # without a batch
        ("cross_entropy", LOGITS, {"shape": [8, 5, 6, 6], "units": 5}, {"shape": [8, 6, 6], "whole": True,
         "distinct": [0.0, 255.0], "rows": {"max": 255.0}}, "torch", {}),  # left out is 255
        ("cross_entropy", LOGITS, OF_3, {**CLASSES, "distinct": [-100.0, 1.0], "rows": {"min": -100.0}}, "torch", {}),
        ("cross_entropy", LOGITS, OF_3, {**CLASSES, "dtype": "float32"}, "jax", {}),
        ("cross_entropy", LOGITS, {"shape": [96, 3]}, {**CLASSES, "shape": [32, 3]}, "torch", {}),  # flattened later
        ("nll_loss", LOG_SOFTMAX, LOGARITHMS, CLASSES, "torch", {}),
        ("kl_div", LOG_SOFTMAX, LOGARITHMS, SOFT, "torch", {}),  # distillation
        ("bce_with_logits", LOGITS, OF_1, BINARY, "torch", {}),
        ("bce_with_logits", LOGITS, OF_3, MANY_LABELS, "torch", {}),
        ("bce_with_logits", LOGITS, OF_3, {**MANY_LABELS, "distinct": [], "rows": {"max": 1.2}}, "torch", {}),  # noisy
        ("BCELoss", SIGMOID, OF_64, PIXELS, "torch", {}),
        ("BCELoss", SOFTMAX, {"shape": [32]}, {**BINARY, "shape": [32]}, "torch", {}),  # the second of two classes
        ("binary_crossentropy", SOFTMAX, SUMS, ONE_HOT, "keras", {}),
        ("binary_crossentropy", ("Dense", SIGMOID[1]), OF_1, BINARY, "keras", {}),  # a sigmoid of one's own
        ("binary_crossentropy", SIGMOID, OF_1, {**BINARY, "shape": [32]}, "keras", {}),  # Keras makes one shape of them
        ("sparse_categorical_crossentropy", SOFTMAX, SUMS, COLUMN, "keras", {}),
        ("sparse_categorical_crossentropy", SOFTMAX, {}, {**COLUMN, "shape": []}, "keras", {}),  # traced: no shapes
        ("sparse_categorical_crossentropy", SOFTMAX, SUMS, {**CLASSES, "distinct": [0.0, 3.0], "rows": {"max": 3.0}},
         "keras", {"ignore_index": 3}),
        ("categorical_crossentropy", SOFTMAX, SUMS, ONE_HOT, "keras", {}),
        ("categorical_crossentropy", ("Softplus", {"min": 0.1, "max": 9.0}), OF_3, ONE_HOT, "keras", {}),
        ("mse_loss", LOGITS, OF_1, VALUES, "torch", {}),
        ("PoissonNLLLoss", LOGITS, OF_1, {**POSITIVE, "whole": True, "distinct": [0.0, 1.0, 2.0]}, "torch", {}),
        ("mse_loss", SOFTMAX, SUMS, ONE_HOT, "torch", {}),
        ("mse_loss", SIGMOID, OF_64, PIXELS, "torch", {}),
        ("mse_loss", SIGMOID, OF_1, BINARY, "torch", {}),
        ("mse_loss", TANH, OF_1, {**VALUES, "rows": {**ROWS, "min": -1.0, "max": 1.2}}, "torch", {}),
        ("mse_loss", RELU, OF_1, POSITIVE, "torch", {}),
        ("mse_loss", LOGITS, {"shape": [4, 32]}, {**VALUES, "shape": [32]}, "torch", {}),  # four critics, one target
        ("smooth_l1_loss", LOGITS, {"shape": [32, 1, 8]}, {**VALUES, "shape": [32, 8, 1]}, "torch", {}),
        ("mse", ("Dense", {}), OF_1, {**VALUES, "shape": [32]}, "keras", {}),
        ("mse_loss", LOGITS, OF_1, {**VALUES, "whole": True, "distinct": [1.0, 2.0, 3.0, 4.0, 5.0]}, "torch", {}),
        ("mse_loss", LOGITS, OF_3, ONE_HOT, "torch", {}),
        ("hinge", ("Dense", {}), OF_1, BINARY, "keras", {}),  # Keras makes -1 of 0
        ("hinge_loss", LOGITS, OF_1, {**BINARY, "distinct": [-1.0, 1.0], "rows": {"min": -1.0}}, "jax", {}),
        ("", SIGMOID, OF_64, BYTES, "torch", {}),  # a loss of one's own
        ("", SOFTMAX, SUMS, CLASSES, "torch", {}),
    ],
)  # fmt: skip
def test_what_fits_is_silent(
    function: str,
    output: tuple[str, dict[str, float]],
    prediction: dict[str, Any],
    target: dict[str, Any],
    framework: str,
    known: dict[str, Any],
) -> None:
    diagnosis = loss_rows(function, prediction, target, output, framework=framework, known=known).diagnose()
    assert diagnosis.findings == ()
    assert diagnosis.notes == ()


@pytest.mark.parametrize("function", ["sparse_categorical_crossentropy", "cross_entropy", ""])
def test_a_softmax_that_is_seen_by_its_sums_alone(function: str) -> None:
    given = {**OF_3, "sums_to_one": False, "exp_sums_to_one": False}
    squeezed = ("Dense", {"min": 0.01, "max": 0.2, "mean": 1 / 32, "std": 0.02})
    assert said(loss_rows(function, {**given, "sums_over": 0}, CLASSES, squeezed, steps=1)) == [AXIS]
    assert AXIS not in said(loss_rows(function, given, CLASSES, squeezed, steps=1))
    assert AXIS not in said(loss_rows(function, {**given, "sums_over": 0}, SOFT, squeezed, steps=1)) or function


def test_a_likelihood_without_its_minus_sign_is_found_once_it_is_driven() -> None:
    def judged(values: list[float], target: dict[str, Any] = CLASSES) -> list[tuple[str, str]]:
        return said(loss_rows("", SUMS, target, SOFTMAX, values=values, constant=None, steps=len(values)))

    falling = [-1.1 - 0.5 * step for step in range(8)]
    assert judged(falling) == [("wrong_sign", "critical")]
    assert judged(falling, ONE_HOT) == [("wrong_sign", "critical")]
    assert judged(falling[:4]) == []  # too soon to tell
    assert judged(falling, VALUES) == []  # a density's logarithm may be above zero
    assert judged([-0.4 - 0.07 * step for step in range(8)]) == []  # minus the share of right answers
    assert judged([-value for value in falling]) == []


def test_what_may_be_meant_is_a_note_until_it_does_harm() -> None:
    ratings = {**COLUMN, "dtype": "float32"}

    def judged(values: list[float]) -> Diagnoser:
        return loss_rows("mse_loss", OF_1, ratings, values=values, constant=0.67, steps=len(values))

    falling = judged([0.67 * 0.95**step for step in range(80)])
    assert found(falling) == []
    assert [note.condition for note in falling.diagnose().notes] == ["output_mismatch"]
    assert said(judged([0.66] * 40)) == []
    assert said(judged([0.66] * 60)) == [("regression_on_classes", "warning")]
    ten = {"shape": [32, 1], "whole": True, "distinct": [float(value) for value in range(10)]}
    for mean, std, steps, told in ((4.4, 2.9, 40, True), (4.4, 2.9, 39, False), (2.0, 1.4, 40, False)):
        rows = {"max": 9.0, "mean": mean, "std": std}
        one = loss_rows("mse_loss", OF_1, {**ten, "rows": rows}, values=[5.0] * 40, constant=8.0, steps=steps)
        assert bool(said(one)) == told


@pytest.mark.parametrize("output", [RELU, TANH])
def test_logits_that_learn_in_spite_of_an_activation_are_noted(output: tuple[str, dict[str, float]]) -> None:
    def judged(values: list[float]) -> Diagnoser:
        return loss_rows("cross_entropy", OF_3, CLASSES, output, values=values, constant=1.1, steps=len(values))

    assert [severity for _, severity in said(judged([1.1] * 9))] == ["warning"]
    learned = judged([0.9**step for step in range(20)])
    assert found(learned) == []
    assert [note.condition for note in learned.diagnose().notes] == ["output_mismatch"]


def test_a_class_that_a_relu_has_cut_for_good_is_found_whatever_else_is_learned() -> None:
    values = [0.9**step for step in range(20)]
    lost = ("ReLU", {**RELU[1], "silent_neurons": 1})
    rows = loss_rows("cross_entropy", OF_3, CLASSES, lost, values=values, constant=1.1, steps=20)
    assert said(rows) == [("relu_output", "serious")]


@pytest.mark.parametrize(
    ("least", "steps", "loss", "told"),
    [
        (0.5, 20, 0.5, [("relu_output", "serious")]),
        (0.5, 20, 0.1, []),  # a note
        (0.5001, 20, 0.5, []),
        (0.5, 4, 0.5, []),
    ],
)
def test_a_sigmoid_behind_a_relu_cannot_say_no(
    least: float, steps: int, loss: float, told: list[tuple[str, str]]
) -> None:
    output = ("Sigmoid", {"min": least, "max": 0.999, "mean": 0.7, "std": 0.1})
    rows = loss_rows("BCELoss", OF_1, BINARY, output, values=[loss] * steps, constant=0.65, steps=steps)
    assert said(rows) == told


def test_where_nobody_knows_the_layer_its_loss_has_the_finding() -> None:
    rows = loss_rows("cross_entropy", SUMS, CLASSES, SOFTMAX)
    (layer,) = [info for info in (tracker.layer.info for tracker in rows._trackers.values()) if info.name == "loss"]
    object.__setattr__(layer, "source", "")
    (finding,) = found(rows)
    assert (finding.layer, finding.cause_name) == ("loss", "double_softmax")
    assert finding.message.startswith("loss (Loss) has not fitted what it compares since step 0: cross_entropy takes")


def test_one_class_alone_is_found_after_enough_batches() -> None:
    one = {**CLASSES, "distinct": [2.0], "rows": {"min": 2.0, "max": 2.0, "mean": 2.0, "std": 0.0}}
    assert said(loss_rows("cross_entropy", OF_3, one, steps=19)) == []
    assert said(loss_rows("cross_entropy", OF_3, one, steps=20)) == [("constant_labels", "serious")]
    yes = {**BINARY, "distinct": [1.0], "rows": {"min": 1.0, "mean": 1.0, "std": 0.0}}
    assert said(loss_rows("bce_with_logits", OF_1, yes, steps=20)) == [("constant_labels", "serious")]
    critic = loss_rows("bce_with_logits", OF_1, yes, steps=20)
    critic.add(LayerInfo("loss:2", 9, "Loss"))  # of what is made up
    critic.append("loss:2", plain(0, count=1))
    assert said(critic) == []
    # The first of its candidates is the one that is looked for, by the product of two towers: no layer's output.
    assert said(loss_rows("cross_entropy", OF_3, one, ("", {}), steps=30)) == []


def test_batches_of_one_class_here_and_there_are_those_of_sorted_data() -> None:
    def batches(share: float, size: int = 32) -> list[tuple[str, str]]:
        diagnoser = loss_rows("cross_entropy", OF_3, CLASSES, steps=1)
        for step in range(1, 30):
            one = float(3 * step // 30)
            alike = {"min": one, "max": one, "mean": one, "std": 0.0} if step % 10 < 10 * share else {}
            diagnoser.append("loss:target", plain(step, **{"min": 0.0, "max": 2.0, **alike, "count": size}))
            for name in ("out", "loss"):
                diagnoser.append(name, plain(step))
        return said(diagnoser)

    assert batches(0.5) == [("sorted_by_class", "serious")]
    assert batches(0.1) == []
    assert batches(0.5, size=2) == []  # of two samples they often are


@pytest.mark.parametrize(("kinds", "odd", "told"), [(3, False, ["sorted_by_class"]), (2, False, []), (3, True, [])])
@pytest.mark.parametrize("columns", [True, False])
def test_classes_that_take_turns_batch_by_batch_are_those_of_sorted_data(
    kinds: int, odd: bool, told: list[str], columns: bool
) -> None:
    with fastact.ActivationMonitor() as monitor:
        for step in range(24):
            classes = np.full(8, step % kinds)
            classes[0] = (step + odd) % kinds
            logits = np.random.default_rng(step).normal(size=(8, 3))
            targets = np.eye(3)[classes] if columns else classes
            monitor.record_loss(1.0, predictions=logits, targets=targets, function="cross_entropy")
            monitor.step()
        assert [finding.cause_name for finding in monitor.diagnose().findings] == told


@pytest.mark.parametrize(
    ("share", "level", "known", "told"),
    [
        (0.99, 1.1, {}, [("unbalanced_labels", "warning")]),
        (0.99, 0.3, {}, []),  # the rare ones are told
        (0.9, 1.1, {}, []),
        (0.99, 1.1, {"weighted": True}, []),
    ],
)
def test_a_class_that_is_too_rare_to_be_learned(share: float, level: float, known: Any, told: Any) -> None:
    target = {**BINARY, "rows": {"mean": share, "min": 0.0, "max": 1.0}}
    given = {"values": [0.06 * level] * 30, "constant": 0.06, "known": known}
    assert said(loss_rows("bce_with_logits", OF_1, target, steps=30, **given)) == told
    assert said(loss_rows("bce_with_logits", OF_1, target, steps=29, **given)) == []
    alike = {**target, "rows": {"mean": share, "min": share, "max": share}}  # smoothed ones, as a critic has them
    assert said(loss_rows("bce_with_logits", OF_1, alike, steps=30, **given)) == []


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"min": -2.0, "max": 2.0}, [("wrong_loss", "serious")]),
        ({"min": 0.0, "max": 2.0, "zeros": 8}, [("wrong_loss", "serious")]),
        ({"min": 0.5, "max": 2.0, "mean": 1.0}, []),
    ],
)
def test_a_share_of_a_target_near_zero_is_no_measure(rows: Any, told: Any) -> None:
    assert said(loss_rows("mape", OF_1, {**VALUES, "rows": {**ROWS, **rows}}, framework="keras")) == told


@pytest.mark.parametrize(("kind", "told"), [(SIGMOID, [OTHER]), (RELU, [OTHER]), (TANH, []), (LOGITS, [])])
def test_a_hinge_wants_a_no_below_zero(kind: Any, told: Any) -> None:
    signs = {**BINARY, "distinct": [-1.0, 1.0], "rows": {"min": -1.0, "max": 1.0}}
    assert said(loss_rows("hinge", OF_1, signs, kind, framework="keras")) == told


@pytest.mark.parametrize(
    ("power", "sign", "told"), [(2, -1.0, True), (1, -1.0, True), (2, 1.0, False), (2, -1.3, False)]
)
def test_minus_an_error_is_made_large_without_end(power: int, sign: float, told: bool) -> None:
    """The outputs run away from targets around zero, and the loss is minus what that comes to."""
    diagnoser = loss_rows("", OF_1, VALUES, steps=1, values=[sign * 1.4], framework="keras")
    for step in range(1, 12):
        away = 2.0**step
        size = away**power + (1.0 if power == 2 else 0.0)
        diagnoser.append("out", plain(step, mean=away, std=0.1, min=away - 1.0, max=away + 1.0, count=32))
        diagnoser.append("loss", plain(step, mean=sign * size, std=0.0, count=1))
        diagnoser.append("loss:target", plain(step, **ROWS, count=32))
    assert said(diagnoser) == ([("wrong_sign", "critical")] if told else [])


@pytest.mark.parametrize(("steps", "told"), [(40, [("same_batch", "warning")]), (1, []), (None, [])])
def test_an_epoch_of_batches_that_are_all_the_same(steps: int | None, told: Any) -> None:
    known = {} if steps is None else {"steps": steps}
    diagnoser = loss_rows("cross_entropy", OF_3, CLASSES, steps=12, framework="keras", known=known)
    diagnoser.add(LayerInfo("input", 9, "Input", "float32"))
    for step in range(12):
        diagnoser.append("input", plain(step, mean=0.1, std=1.0))
    assert said(diagnoser) == told


def test_keras_takes_the_logarithm_of_predictions_as_they_are() -> None:
    counts = {**VALUES, "rows": {"mean": 1.0, "std": 1.0, "min": 0.0, "max": 5.0}}
    for function in ("poisson", "msle"):
        assert said(loss_rows(function, OF_1, counts, framework="keras")) == [OTHER]
        assert said(loss_rows(function, OF_1, counts, ("Dense", {"min": 0.1, "max": 5.0}), framework="keras")) == []
        assert said(loss_rows(function, OF_1, counts)) == []  # PyTorch's takes the logarithm itself, or wants it


@pytest.mark.parametrize(("metrics", "told"), [(["accuracy"], [("regression_on_classes", "warning")]), (["mae"], [])])
def test_a_metric_says_that_numbers_are_classes(metrics: list[str], told: Any) -> None:
    assert said(loss_rows("mse", OF_1, COLUMN, framework="keras", known={"metrics": metrics})) == told


CHAIN = {"input": ("Input", ""), "0": ("Linear", "input"), "1": ("Dropout", "0"), "2": ("Linear", "1")}


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        (CHAIN, True),
        ({**CHAIN, "1": ("ReLU", "0")}, False),
        ({**CHAIN, "1": ("BatchNorm1d", "0")}, True),
        ({**CHAIN, "1": ("LayerNorm", "0")}, False),
        ({**CHAIN, "2": ("Linear", "")}, False),  # what lies between was not seen
        ({**CHAIN, "side": ("GELU", "0")}, False),  # an activation somewhere: some of it is linear on purpose
        ({"input": ("Input", "")}, False),  # one layer
    ],
)
def test_linear_layers_in_a_row_are_noted_and_found_where_the_loss_stands_still(
    layers: dict[str, tuple[str, str]], told: bool
) -> None:
    order = dict(layers)
    if "2" in order:
        order["2"] = order.pop("2")  # the last one feeds the output
    flat, falling = [0.7] * 80, [0.7 * 0.95**step for step in range(80)]
    for values, severe in ((flat, True), (falling, False)):
        rows = loss_rows("cross_entropy", OF_3, CLASSES, values=values, constant=0.8, steps=80, before=order)
        assert said(rows) == ([("no_nonlinearity", "serious")] if told and severe else [])
        notes = [note for note in rows.diagnose().notes if note.condition == "output_mismatch"]
        assert len(notes) == int(told and not severe)


def test_linear_layers_beside_an_activation_that_never_ran_are_found_though_the_loss_falls() -> None:
    falling = [0.7 * 0.95**step for step in range(80)]
    before = {"0": ("Linear", ""), "2": ("Linear", "0")}
    for name, reason, told in (
        ("act", "its hook never ran: it was not called", True),
        ("2", "its hook never ran: it was not called", False),  # it has rows
        ("act", "its output holds no tensor", False),
    ):
        rows = loss_rows("cross_entropy", OF_3, CLASSES, values=falling, constant=0.8, steps=80, before=before)
        rows.unseen = {name: reason}
        assert said(rows) == [("no_nonlinearity", "warning")] * told


def test_a_linear_autoencoder_is_linear_on_purpose() -> None:
    wide = {"shape": [32, 64]}
    rows = loss_rows("mse_loss", wide, {**PIXELS}, before=CHAIN, constant=0.1, values=[0.09] * 80, steps=80)
    assert rows.diagnose().findings == ()
    assert rows.diagnose().notes == ()


def test_what_follows_from_a_softmax_of_one_is_its_consequence() -> None:
    diagnosis = loss_rows("BCELoss", OF_1, BINARY, ONE, steps=30, values=[30.0] * 30, constant=0.69).diagnose()
    led, *rest = diagnosis.findings
    assert (led.condition, led.consequence_of) == ("output_mismatch", None)
    assert {finding.condition for finding in rest} >= {"constant"}
    assert {finding.consequence_of for finding in rest} == {"out"}


@pytest.mark.parametrize(("cause", "effect", "layer", "step", "explained"), [
    ("double_softmax", "saturated", "act", 7, False),  # which has a reason of its own
    ("target_out_of_range", "saturated", "act", 7, True),
    ("target_out_of_range", "saturated", "act", 0, False),  # before any update
    ("double_softmax", "collapsed", "out", 0, False),
    ("double_softmax", "collapsed", "out", 7, True),
    ("relu_output", "dead", "out", 0, True),
    ("softmax_over_one_unit", "vanishing", "act:grad", 0, True),
])  # fmt: skip
def test_a_mismatch_explains_what_it_can_have_brought_about(
    cause: str, effect: str, layer: str, step: int, explained: bool
) -> None:
    told = Finding("out", "output_mismatch", "critical", 0, Evidence(), "", "", (), None, cause)
    other = Finding(layer, effect, "serious", step, Evidence(), "", "", ())
    around = Circumstances({"act": 0, "out": 1}, {}, {}, 5.0, 20.0, {})
    assert OutputMismatch.explains[effect](told, other, around) == explained


@pytest.mark.parametrize(("severity", "cause", "explained"), [
    ("serious", "constant_answer", True), ("serious", "not_in_optimiser", False), ("critical", "no_gradient", True),
])  # fmt: skip
def test_what_is_not_trained_at_all_is_not_for_its_output(severity: Severity, cause: str, explained: bool) -> None:
    told = Finding("out", "output_mismatch", severity, 0, Evidence(), "", "", (), None, "double_softmax")
    other = Finding("loss", "not_learning", "critical", 0, Evidence(), "", "", (), None, cause)
    around = Circumstances({"out": 0, "loss": 1}, {}, {}, 5.0, 20.0, {})
    assert OutputMismatch.explains["not_learning"](told, other, around) == explained


SIZES = st.lists(st.integers(0, 5), max_size=4)
ANYTHING = st.one_of(
    st.none(), st.text(max_size=3), st.floats(), st.integers(), SIZES, st.dictionaries(st.text(), SIZES)
)
FACTS = st.fixed_dictionaries({}, optional={
    "shape": st.one_of(SIZES, ANYTHING), "units": st.one_of(st.integers(0, 5), ANYTHING),
    "distinct": st.one_of(st.lists(st.floats(), max_size=3), ANYTHING), "whole": st.one_of(st.booleans(), ANYTHING),
    "sums_to_one": st.booleans(), "exp_sums_to_one": st.booleans(), "one_hot": st.booleans(), "commonest": ANYTHING,
})  # fmt: skip


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None, derandomize=True)
@given(
    st.sampled_from([*LOSSES, "", "mine"]),
    st.one_of(FACTS, ANYTHING),
    FACTS,
    st.sampled_from(
        [LOGITS, SOFTMAX, SIGMOID, TANH, RELU, LOG_SOFTMAX, ONE, ("", {"min": math.inf, "max": -math.inf})]
    ),
    st.sampled_from(["torch", "keras", "jax", ""]),
    st.sampled_from([{}, {"min": math.nan, "max": math.nan, "mean": math.nan}, {"max": 1e300}, {"count": 0}]),
)
def test_whatever_a_log_says_of_a_loss_is_judged(
    function: str, prediction: Any, target: Any, output: Any, framework: str, numbers: Any
) -> None:
    rows = loss_rows(function, OF_3, {"rows": numbers}, output, framework=framework, constant=1.0)
    for tracker in rows._trackers.values():
        name, info = tracker.layer.info.name, tracker.layer.info
        facts = {**info.facts, "prediction": prediction} if name == "loss" else target if name == "loss:target" else {}
        object.__setattr__(info, "facts", facts)
    diagnosis = rows.diagnose()
    assert json.loads(diagnosis.to_json())["findings"] is not None
    assert str(diagnosis)


def by_hand(values: list[float], **facts: Any) -> Diagnoser:
    """A loss of one's own, of which only its values and its graph are known."""
    diagnoser = Diagnoser()
    diagnoser.add(LayerInfo("loss", 0, "Loss", "float32", facts={"function": "", "framework": "torch", **facts}))
    for step, value in enumerate(values):
        diagnoser.append("loss", plain(step, count=1, mean=value, std=0.0, min=value, max=value))
    return diagnoser


def test_a_difference_by_hand_that_broadcasts() -> None:
    (finding,) = found(by_hand([2.0], broadcast=[[32], [32, 32]]))
    assert (finding.layer, finding.cause_name, finding.severity) == ("loss", "broadcast_shapes", "critical")
    assert "predictions of shape (32,) and targets of shape (n, 1) broadcast to (32, 32)" in finding.message
    assert said(by_hand([2.0], broadcast=[])) == []


def test_a_likelihood_that_is_made_small() -> None:
    assert said(by_hand([-1.1], turned="log-probability")) == [("wrong_sign", "serious")]
    assert said(by_hand([-1.1, -1.5, -2.0, -2.6, -3.3], turned="log-probability")) == [("wrong_sign", "critical")]
    assert said(by_hand([-1.1, -1.5, -2.0, -2.6, -3.3])) == []


@pytest.mark.parametrize(("function", "sign", "told"), [
    ("cross_entropy", -1.0, [("wrong_sign", "critical")]), ("cross_entropy", 1.0, []),
    ("binary_cross_entropy_with_logits", -1.0, []),  # as a generator has it
])  # fmt: skip
def test_a_loss_with_a_minus_sign(function: str, sign: float, told: Any) -> None:
    values = [1.1, 1.3, 1.2, 1.5, 1.9, 2.2]
    diagnoser = by_hand([sign * value for value in values], terms=1)
    part = {"function": function, "spelled": function, "part": True}
    diagnoser.add(LayerInfo(f"loss:{function}", 1, "Loss", "float32", facts=part))
    for step, value in enumerate(values):
        diagnoser.append(f"loss:{function}", plain(step, count=1, mean=value, std=0.0, min=value, max=value))
    assert said(diagnoser) == told


@pytest.mark.parametrize(
    ("before", "own", "told"),
    [
        ("Softmax", "Activation", ["double_softmax"]),
        ("Linear", "Activation", []),
        ("Softmax", "Dense", []),  # with weights between them
    ],
)
def test_a_softmax_of_a_softmax(before: str, own: str, told: list[str]) -> None:
    rows = loss_rows(
        "categorical_crossentropy", SUMS, ONE_HOT, SOFTMAX, framework="keras", steps=1, before={"first": (before, "")},
        own={"layer": own},
    )  # fmt: skip
    assert [finding.cause_name for finding in found(rows)] == told
