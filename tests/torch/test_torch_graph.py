"""Weights that an output is computed from, and that neither the model nor an optimiser has."""

from typing import Any

import pytest
import torch
from torch import nn

import fastact
from fastact.torch import watch
from fastact.torch.graph import leaves


class Listed(nn.Module):
    """A head on a layer that is kept in a list of some kind."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = layers
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.layers[0](x)))  # type: ignore[no-any-return]


def strays(model: nn.Module, *others: torch.optim.Optimizer) -> tuple[Any, Any]:
    """The facts on them, after two steps of training."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = fastact.ActivationMonitor()
    criterion = nn.CrossEntropyLoss()
    with monitor, watch(model, monitor, loss=criterion, updates=True):
        for _ in range(2):
            optimiser.zero_grad()
            criterion(model(torch.randn(8, 4)), torch.randint(3, (8,))).backward()
            for each in (optimiser, *others):
                each.step()
            monitor.step()
        facts = monitor.history["optimiser"].info.facts
    return facts.get("strays_tensors"), facts.get("strays_elements")


def test_layers_in_a_plain_list_are_strays() -> None:
    torch.manual_seed(0)
    assert strays(Listed([nn.Linear(4, 6)])) == (2, 30)
    assert strays(Listed(nn.ModuleList([nn.Linear(4, 6)]))) == (None, None)


def test_another_model_with_an_optimiser_of_its_own_is_none_nor_is_one_that_is_frozen() -> None:
    torch.manual_seed(0)
    features = nn.Linear(4, 6)
    assert strays(Listed([features]), torch.optim.SGD(features.parameters(), lr=0.1)) == (None, None)
    assert strays(Listed([nn.Linear(4, 6).requires_grad_(requires_grad=False)])) == (None, None)


@pytest.mark.parametrize("x", [torch.ones(2), torch.ones(2, requires_grad=True) * 2])
def test_what_is_no_parameter_is_no_leaf(x: torch.Tensor) -> None:
    assert leaves(x) == []
