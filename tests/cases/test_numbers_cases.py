"""NaN, Inf and numbers that their dtype cannot hold, each beside its repaired twin."""

from typing import Any

import pytest
import torch
from situations import DIGITS, PIXELS, adam, perceptron, said, train
from torch import nn


class Logarithm(nn.Module):
    """Takes the logarithm of what a ReLU gives, where nothing records it."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act, self.last = nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
        self.epsilon = epsilon

    def forward(self, x: torch.Tensor) -> Any:
        return self.last(torch.log(self.act(self.first(x)) + self.epsilon))


class Attention(nn.Module):
    """One head of attention over the 8 rows of an image."""

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.softmax, self.head = nn.Linear(8, 32), nn.Softmax(-1), nn.Linear(32, 10)
        self.mask = mask

    def forward(self, x: torch.Tensor) -> Any:
        h = self.embed(x)
        scores = (h @ h.transpose(1, 2) / 32**0.5).masked_fill(self.mask, float("-inf"))
        return self.head((self.softmax(scores) @ h).mean(1))


def test_the_logarithm_of_a_relu_is_no_uninitialised_memory() -> None:
    assert said(train(Logarithm(0.0), steps=15))[0][1:] == ("non_finite", "numerics")


def test_a_logarithm_with_an_epsilon_is_healthy() -> None:
    assert not train(Logarithm(1e-2), steps=40).findings


@pytest.mark.parametrize(("diagonal", "first"), [(0, [("softmax", "non_finite", "masked_row")]), (1, [])])
def test_a_row_that_is_masked_as_a_whole(diagonal: int, first: list[tuple[str, str, str]]) -> None:
    mask = torch.triu(torch.ones(8, 8, dtype=torch.bool), diagonal)
    assert said(train(Attention(mask), shape=(8, 8), steps=30))[:1] == first


@pytest.mark.parametrize("epsilon", [1e-8, 1e-4])
def test_the_epsilon_of_adam_in_float16(epsilon: float) -> None:
    diagnosis = train(
        perceptron().half(),
        PIXELS.half(),
        loss=lambda out, y: nn.functional.cross_entropy(out.float(), y),
        update=adam(1e-3, epsilon),
        steps=25,
    )
    assert said(diagnosis) == ([("0", "non_finite", "optimizer_epsilon")] if epsilon == 1e-8 else [])


def test_nan_in_the_data_is_told_of_the_input() -> None:
    def spoil(step: int, x: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.arange(64) == 5, float("nan"), x) if step == 22 else x

    ((layer, condition, cause),) = said(train(perceptron(), data=spoil, steps=40))
    assert (layer, condition, cause) == ("input", "non_finite", "inputs_not_finite")


def entropy_regularised(careful: bool) -> list[tuple[str, str, str]]:
    """Rewards the entropy of the outputs; without care 0 log 0 has no derivative."""

    def loss(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        kept = p if careful else p * (p > 0.02)
        entropy = -(kept * torch.log(kept + 1e-8 * careful)).sum(-1).mean()
        return nn.functional.nll_loss(torch.log(p + 1e-8), y) - 0.01 * entropy

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(-1))
    return said(train(model, loss=loss, update=adam(3e-3), gradients=True))


def test_zero_times_the_logarithm_of_zero_in_the_loss() -> None:
    ((layer, condition, cause),) = entropy_regularised(careful=False)
    assert (layer.partition(":")[0], condition, cause) == ("loss", "not_learning", "loss_not_finite")
    assert entropy_regularised(careful=True) == []


@pytest.mark.parametrize("scale", [1e-6, 1.0])
def test_gradients_that_all_underflow_to_zero(scale: float) -> None:
    diagnosis = train(
        perceptron().half(),
        PIXELS.half(),
        DIGITS,
        loss=lambda out, y: nn.functional.cross_entropy(out.float(), y) * scale,
        update=lambda model: torch.optim.SGD(model.parameters(), 0.1),
        gradients=True,
        steps=30,
    )
    told = [each for each in said(diagnosis) if each[0].endswith(":grad")]
    assert told == ([("4:grad", "underflow_risk", "loss_scale")] if scale < 1 else [])


def test_inputs_that_are_next_to_nothing() -> None:
    diagnosis = train(perceptron(), (PIXELS * 3e-8).half().float())
    assert said(diagnosis)[0][2] in ("dtype_range", "inputs_zero", "inputs_not_normalised")


class Exponential(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(x)


@pytest.mark.parametrize("bias", [120.0, 0.0])
def test_an_exponential_that_overflows_from_the_first_row_on(bias: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 16), Exponential(), nn.Linear(16, 10))
    with torch.no_grad():
        model.get_parameter("0.bias").add_(bias)
    assert said(train(model, steps=20))[:1] == ([("1", "non_finite", "log_variance")] if bias else [])
