"""Outputs, losses and targets that do not fit each other, and all that looks like it and does."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mismatch import BINARY, CLASSES, OF_1, OF_3, OF_64, ONE, ONE_HOT, PIXELS, ROWS, SOFTMAX, SUMS, VALUES, found, said
from synthetic import loss_rows

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.losses import LOSSES

COLUMN = {**CLASSES, "shape": [32, 1]}
SOFT = {"shape": [32, 3], "whole": False, "sums_to_one": True, "one_hot": False, "rows": {"mean": 1 / 3, "max": 0.9}}
MANY_LABELS = {"shape": [32, 3], "whole": True, "distinct": [0.0, 1.0], "sums_to_one": False, "one_hot": False}
POSITIVE = {"shape": [32, 1], "whole": False, "rows": {"mean": 1.0, "std": 0.5, "min": 0.0, "max": 3.0}}
BYTES = {"shape": [32, 64], "whole": True, "rows": {"mean": 70.0, "std": 60.0, "max": 255.0, "saturated": 1500}}

LOGITS: tuple[str, dict[str, float]] = ("Linear", {})
SIGMOID = ("Sigmoid", {"min": 0.05, "max": 0.9, "mean": 0.4, "std": 0.1})
TANH = ("Tanh", {"min": -0.9, "max": 0.9})
RELU = ("ReLU", {"min": 0.0, "max": 3.0, "zeros": 20})
LOG_SOFTMAX = ("LogSoftmax", {"min": -4.0, "max": -0.1, "mean": -1.5, "std": 0.5})
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


def test_keras_takes_the_logarithm_of_predictions_as_they_are() -> None:
    counts = {**VALUES, "rows": {"mean": 1.0, "std": 1.0, "min": 0.0, "max": 5.0}}
    for function in ("poisson", "msle"):
        assert said(loss_rows(function, OF_1, counts, framework="keras")) == [OTHER]
        assert said(loss_rows(function, OF_1, counts, ("Dense", {"min": 0.1, "max": 5.0}), framework="keras")) == []
        assert said(loss_rows(function, OF_1, counts)) == []  # PyTorch's takes the logarithm itself, or wants it


@pytest.mark.parametrize(("metrics", "told"), [(["accuracy"], [("regression_on_classes", "warning")]), (["mae"], [])])
def test_a_metric_says_that_numbers_are_classes(metrics: list[str], told: Any) -> None:
    assert said(loss_rows("mse", OF_1, COLUMN, framework="keras", known={"metrics": metrics})) == told


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
