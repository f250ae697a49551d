"""What a constant answer is worth where classes are weighted, labels smoothed or left out, against a search for it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import fastact.torch
from fastact import losses
from fastact.monitor.monitor import ActivationMonitor
from fastact.torch import criteria

FOUR = torch.tensor([1.0, 2.0, 0.5, 7.0], dtype=torch.float64)
CLASSES = torch.tensor([0] * 50 + [1] * 30 + [3] * 20)  # and none of class 2
MADE = torch.Generator().manual_seed(0)
SHARES = torch.softmax(torch.randn(80, 4, generator=MADE, dtype=torch.float64), -1)
YES = (torch.rand(80, 4, generator=MADE) < 0.2).double()
NUMBERS = 3.0 * torch.randn(80, 4, generator=MADE, dtype=torch.float64)

CASES = [
    (nn.CrossEntropyLoss(label_smoothing=0.1), CLASSES),
    (nn.CrossEntropyLoss(weight=FOUR), CLASSES),
    (nn.CrossEntropyLoss(weight=FOUR, label_smoothing=0.2, ignore_index=1), CLASSES),
    (nn.CrossEntropyLoss(ignore_index=0), CLASSES),
    (nn.CrossEntropyLoss(weight=FOUR, label_smoothing=0.2), SHARES),
    (nn.BCEWithLogitsLoss(pos_weight=torch.tensor(5.0)), YES),
    (nn.BCEWithLogitsLoss(pos_weight=FOUR), YES),
    (nn.SmoothL1Loss(beta=0.3), NUMBERS),
]


def least(criterion: nn.Module, targets: torch.Tensor) -> float:
    """The least loss of one answer for all, as L-BFGS finds it."""
    answer = torch.zeros(4, requires_grad=True, dtype=torch.float64)
    search = torch.optim.LBFGS([answer], max_iter=500, tolerance_change=1e-15, line_search_fn="strong_wolfe")

    def again() -> torch.Tensor:
        search.zero_grad()
        loss: torch.Tensor = criterion(answer.expand(len(targets), 4), targets)
        loss.backward()
        return loss

    for _ in range(5):
        search.step(again)
    return float(again().detach())


@pytest.mark.parametrize(("criterion", "targets"), CASES)
def test_no_constant_answer_is_better(criterion: nn.Module, targets: torch.Tensor) -> None:
    options = criteria.options(criterion, {})
    assert options["weighted"]
    function = losses.find(type(criterion).__name__)
    assert function is not None
    worth = losses.constant_answer(function, targets.numpy(), {**options, "units": 4})
    assert worth == pytest.approx(least(criterion, targets), rel=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"weight": torch.ones(3, 4)},  # of each number of a batch
        {"weight": torch.ones(2000)},
        {"full": True},
    ],
)
def test_what_is_not_told_has_no_constant_answer(options: dict[str, Any]) -> None:
    assert "weights_told" not in criteria.options(None, options)


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, -1.0, 1.0, 1.0]])
def test_weights_that_do_not_fit_have_none(weights: list[float]) -> None:
    known = {"weights_told": True, "class_weights": weights, "units": 4}
    assert losses.constant_answer(losses.LOSSES["cross_entropy"], CLASSES.numpy(), known) is None


@pytest.mark.parametrize("functional_call", [False, True])
def test_a_training_with_weights_has_its_row(functional_call: bool) -> None:
    model, criterion = nn.Linear(5, 4), nn.CrossEntropyLoss(weight=FOUR.float(), label_smoothing=0.1)
    with ActivationMonitor() as monitor:
        with fastact.torch.watch(model, monitor, loss=None if functional_call else criterion):
            for _ in range(3):
                scores = model(torch.randn(100, 5))
                if functional_call:
                    loss = functional.cross_entropy(scores, CLASSES, weight=FOUR.float(), label_smoothing=0.1)
                else:
                    loss = criterion(scores, CLASSES)
                loss.backward()
                monitor.step()
        (name,) = [name for name in monitor.history if name.endswith(":baseline")]
        worth = float(np.median(monitor.history[name]["mean"]))
    assert worth == pytest.approx(least(nn.CrossEntropyLoss(weight=FOUR, label_smoothing=0.1), CLASSES), rel=1e-6)


@pytest.mark.parametrize(("sign", "smoothing", "told"), [(-1.0, 0.0, True), (1.0, 0.0, False), (1.0, 0.1, False)])
def test_the_sign_of_a_weighted_loss_shows_in_its_gradient(sign: float, smoothing: float, told: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(100, 5) + functional.one_hot(CLASSES, 5)
    model, criterion = nn.Linear(5, 4), nn.CrossEntropyLoss(weight=FOUR.float(), label_smoothing=smoothing)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    with ActivationMonitor() as monitor:
        with fastact.torch.watch(model, monitor, loss=criterion, gradients=True):
            for _ in range(20):
                optimizer.zero_grad()
                (sign * criterion(model(x), CLASSES)).backward()
                optimizer.step()
                monitor.step()
        causes = {(it.cause_name, it.confidence) for it in monitor.diagnose().findings}
    assert (("wrong_sign", "certain") in causes) == told
