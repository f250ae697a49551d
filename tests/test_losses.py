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
        "kl_divergence": lambda x, y: functional.kl_div(x.log_softmax(1), y, reduction="batchmean"),
        "poisson_nll": functional.poisson_nll_loss,
        "soft_margin": functional.soft_margin_loss,
        "gaussian_nll": lambda x, y: functional.gaussian_nll_loss(x[:, :1], y, x[:, 1:].exp()),
        "log_cosh": lambda x, y: (x - y).cosh().log().mean(),
        "mean_squared_logarithmic_error": lambda x, y: functional.mse_loss(x, y.log1p()),
        "squared_hinge": lambda x, y: functional.relu(1.0 - x * y).square().mean(),
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
        ("kl_divergence", RANDOM.dirichlet(np.ones(4), 50), 4),
        ("poisson_nll", RANDOM.poisson(1.5, (60, 2)).astype(float), 2),
        ("soft_margin", RANDOM.choice([-1.0, 1.0], (60, 2), p=[0.3, 0.7]), 2),
        ("squared_hinge", RANDOM.choice([-1.0, 1.0], (60, 2), p=[0.3, 0.7]), 2),
        ("gaussian_nll", RANDOM.normal(5.0, 3.0, (60, 1)), 2),
        ("log_cosh", RANDOM.exponential(2.0, (60, 2)), 2),
        ("mean_squared_logarithmic_error", RANDOM.exponential(2.0, (60, 2)), 2),
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
        ("hinge", np.array([0.0, 1.0])),
        ("poisson_nll", np.array([-1.0, 1.0])),
        ("gaussian_nll", np.array([1.0, 1.0])),
        ("categorical_crossentropy", np.array([0.0, 2.0, 1.0])),
        ("nll", np.array([0.5, 1.5])),
        ("cross_entropy", np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])),  # several classes of each sample
    ],
)
def test_what_no_formula_fits_has_no_constant_answer(name: str, targets: np.ndarray) -> None:
    assert losses.constant_answer(losses.LOSSES[name], targets) is None


@pytest.mark.parametrize("margin", [0.3, 1.0])
def test_what_samples_that_are_all_alike_come_to(margin: float) -> None:
    """Pairs or triplets at one distance: the least loss over all distances, or over all cosines."""
    signs = RANDOM.choice([-1.0, 1.0], 50, p=[0.3, 0.7])
    y, alike = torch.from_numpy(signs), torch.zeros(50, 4)

    def worth(name: str) -> float | None:
        return losses.constant_answer(losses.LOSSES[name], signs, {"margin": margin})

    distances = torch.linspace(0.0, 2.0, 201)
    pairs = [functional.hinge_embedding_loss(d.expand(50), y, margin=margin) for d in distances]
    assert worth("hinge_embedding") == pytest.approx(float(min(pairs)), rel=1e-3)
    turned = [(d.sin(), d.cos()) for d in torch.linspace(0.0, 3.1416, 2001)]
    one = torch.tensor([0.0, 1.0]).expand(50, 2)
    cosines = [functional.cosine_embedding_loss(one, torch.stack(t).expand(50, 2), y, margin=margin) for t in turned]
    assert worth("cosine_embedding") == pytest.approx(float(min(cosines)), abs=2e-3)
    triplets = functional.triplet_margin_loss(alike, alike, alike, margin=margin)
    assert worth("triplet_margin") == worth("margin_ranking") == pytest.approx(float(triplets))


@pytest.mark.parametrize("width", [0.2, 3.0])
def test_the_width_of_a_huber_loss(width: float) -> None:
    targets = RANDOM.exponential(2.0, (101, 1))
    worth = losses.constant_answer(losses.LOSSES["huber"], targets, {"width": width})
    y = torch.from_numpy(targets)
    tried = [functional.huber_loss(torch.full_like(y, x), y, delta=width) for x in np.linspace(0.0, 6.0, 6001)]
    assert worth == pytest.approx(float(min(tried)), rel=1e-4)
