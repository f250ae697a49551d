"""The table of losses: found by any framework's name; the best constant answer against a search for it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from fastact import losses

RANDOM = np.random.default_rng(4)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("CrossEntropyLoss", "cross_entropy"),
        ("cross_entropy", "cross_entropy"),
        ("softmax_cross_entropy_with_integer_labels", "cross_entropy"),
        ("NLLLoss", "nll"),
        ("KLDivLoss", "kl_divergence"),
        ("BCELoss", "binary_cross_entropy"),
        ("binary_crossentropy", "binary_cross_entropy"),
        ("BinaryCrossentropy", "binary_cross_entropy"),
        ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits"),
        ("binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits"),
        ("categorical_crossentropy", "categorical_crossentropy"),
        ("SparseCategoricalCrossentropy", "sparse_categorical_crossentropy"),
        ("MSELoss", "mean_squared_error"),
        ("mse_loss", "mean_squared_error"),
        ("mean_squared_error", "mean_squared_error"),
        ("L1Loss", "mean_absolute_error"),
        ("SmoothL1Loss", "huber"),
        ("huber_loss", "huber"),
    ],
)
def test_a_loss_is_found_by_the_names_of_all_frameworks(spelled: str, name: str) -> None:
    found = losses.find(spelled)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("spelled", ["", "loss", "my_loss", "ContrastiveLoss", "CTCLoss"])
def test_what_is_not_known_is_no_other_loss(spelled: str) -> None:
    assert losses.find(spelled) is None


def least(loss: str, targets: torch.Tensor, units: int) -> float:
    """The least loss that one answer for all samples can have, found by descent."""
    answer = torch.zeros(units, dtype=torch.float64, requires_grad=True)
    functions: dict[str, Callable[..., torch.Tensor]] = {
        "cross_entropy": functional.cross_entropy,
        "binary_cross_entropy_with_logits": functional.binary_cross_entropy_with_logits,
        "mean_squared_error": functional.mse_loss,
    }
    optimizer = torch.optim.LBFGS([answer], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value: torch.Tensor = functions[loss](answer.expand(len(targets), units), targets)
        value.backward()
        return value

    optimizer.step(closure)
    return float(closure().detach())


@pytest.mark.parametrize(
    ("name", "targets", "units"),
    [
        ("cross_entropy", RANDOM.integers(0, 5, 200), 5),
        ("cross_entropy", (RANDOM.random(300) < 0.1).astype(np.int64), 2),
        ("cross_entropy", RANDOM.dirichlet(np.ones(4), 50), 4),
        ("binary_cross_entropy_with_logits", (RANDOM.random((80, 3)) < 0.2).astype(float), 3),
        ("mean_squared_error", RANDOM.normal(5.0, 3.0, (60, 2)), 2),
    ],
)
def test_no_constant_answer_is_better(name: str, targets: np.ndarray, units: int) -> None:
    worth = losses.constant_answer(losses.LOSSES[name], targets)
    assert worth == pytest.approx(least(name, torch.from_numpy(targets), units), rel=1e-5)


def test_the_median_is_the_best_constant_answer_to_distances() -> None:
    targets = RANDOM.exponential(2.0, 101)
    worth = losses.constant_answer(losses.LOSSES["mean_absolute_error"], targets)
    assert worth == pytest.approx(
        min(np.abs(targets - answer).mean() for answer in np.linspace(0.0, 10.0, 10_001)), rel=1e-4
    )


def test_classes_that_are_left_out_do_not_count() -> None:
    loss = losses.LOSSES["cross_entropy"]
    assert losses.constant_answer(loss, np.array([0, 1, -100, -100])) == pytest.approx(np.log(2.0))


def test_a_language_model_has_one_class_for_each_place() -> None:
    loss = losses.LOSSES["cross_entropy"]
    assert losses.constant_answer(loss, np.arange(12).reshape(3, 4)) == pytest.approx(np.log(12.0))


def test_distributions_have_their_classes_where_the_loss_looks_for_them() -> None:
    shares = RANDOM.dirichlet(np.ones(3), (8, 5))  # samples, places, classes
    own = losses.constant_answer(losses.LOSSES["cross_entropy"], np.moveaxis(shares, -1, 1))
    mean = shares.reshape(-1, 3).mean(axis=0)
    assert own == losses.constant_answer(losses.LOSSES["categorical_crossentropy"], shares)
    assert own == pytest.approx(float(-(mean * np.log(mean)).sum()))


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("binary_cross_entropy", np.array([-1.0, 1.0])),
        ("mean_squared_error", np.array([0.0, np.nan])),
        ("mean_squared_error", np.empty((0, 3))),
        ("hinge", np.array([-1.0, 1.0])),
        ("categorical_crossentropy", np.array([0.0, 2.0, 1.0])),
        ("nll", np.array([0.5, 1.5])),
        ("cross_entropy", np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])),  # several classes of each sample
    ],
)
def test_what_no_formula_fits_has_no_constant_answer(name: str, targets: np.ndarray) -> None:
    assert losses.constant_answer(losses.LOSSES[name], targets) is None
