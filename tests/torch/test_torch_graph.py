"""Weights that an output is computed from, and that neither the model nor an optimiser has."""

from typing import Any

import pytest
import torch
from torch import nn

import fastact
from fastact.torch import watch
from fastact.torch.graph import facts_of_loss, leaves


class Listed(nn.Module):
    """A head on a layer that is kept in a list of some kind."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = layers
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.layers[0](x)))  # type: ignore[no-any-return]


class Outside(Listed):
    """It is given what its layer made of the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(x))  # type: ignore[no-any-return]


def strays(model: nn.Module, *others: torch.optim.Optimizer) -> tuple[Any, Any]:
    """The facts on them, after two steps of training."""
    facts = facts_of(model, *others)
    return facts.get("strays_tensors"), facts.get("strays_elements")


def facts_of(model: nn.Module, *others: torch.optim.Optimizer, first: Any = None) -> Any:
    """The facts of its optimiser."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = fastact.ActivationMonitor()
    criterion = nn.CrossEntropyLoss()
    with monitor, watch(model, monitor, loss=criterion, updates=True):
        for _ in range(2):
            optimiser.zero_grad()
            x = torch.randn(8, 4)
            criterion(model(x if first is None else first(x)), torch.randint(3, (8,))).backward()
            for each in (optimiser, *others):
                each.step()
            monitor.step()
        return monitor.history["optimiser"].info.facts


def test_layers_in_a_plain_list_are_strays() -> None:
    torch.manual_seed(0)
    assert strays(Listed([nn.Linear(4, 6)])) == (2, 30)
    assert strays(Listed(nn.ModuleList([nn.Linear(4, 6)]))) == (None, None)


def test_another_model_with_an_optimiser_of_its_own_is_none_nor_is_one_that_is_frozen() -> None:
    torch.manual_seed(0)
    features = nn.Linear(4, 6)
    assert strays(Listed([features]), torch.optim.SGD(features.parameters(), lr=0.1)) == (None, None)
    assert strays(Listed([nn.Linear(4, 6).requires_grad_(requires_grad=False)])) == (None, None)


class Ends(nn.Module):
    """All but its first layer is in a dict, and its output is no output of a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.heads = {"last": nn.Linear(6, 3)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.heads["last"](torch.relu(self.first(x)))  # type: ignore[no-any-return]


def test_strays_are_inside_where_the_model_was_given_nothing_that_has_a_graph() -> None:
    torch.manual_seed(0)
    facts = facts_of(Ends())
    assert (facts["strays_tensors"], facts["strays_inside"]) == (2, True)
    features = nn.Linear(4, 6)
    facts = facts_of(Outside([]), first=features)
    assert (facts["strays_tensors"], facts["strays_inside"]) == (2, False)


def test_the_finding_of_a_layer_in_a_dict() -> None:
    torch.manual_seed(0)
    model = Ends()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = fastact.ActivationMonitor()
    with monitor, watch(model, monitor, parameters_every=1):
        for _ in range(3):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,))).backward()
            optimiser.step()
            monitor.step()
        (finding,) = monitor.diagnose().findings
    assert (finding.layer, finding.cause_name, finding.severity) == ("optimiser", "not_in_optimiser", "warning")
    assert "2 trainable tensors (21 numbers)" in finding.message


LAYER, CLASSES = nn.Linear(2, 1), nn.Linear(2, 3)
X, Y, CHOSEN = torch.ones(5, 2), torch.zeros(5, 1), torch.zeros(5, dtype=torch.long)


def likelihood() -> torch.Tensor:
    return torch.log_softmax(CLASSES(X), 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda: ((LAYER(X).flatten() - Y) ** 2).mean(), {"broadcast": [[5], [5, 5]]}),
        (lambda: (Y[:, 0] - LAYER(X)).abs().sum(), {"broadcast": [[5, 1], [5, 5]]}),
        (lambda: (((LAYER(X) - Y) ** 2) * torch.ones(5)).mean(), {"weights_broadcast": [[5, 1], [5, 5]]}),
        (lambda: (((LAYER(X) - Y) ** 2) * torch.ones(5, 1)).mean(), {}),
        (lambda: ((LAYER(X) - Y) ** 2).mean(), {}),
        (lambda: ((LAYER(X) - LAYER(X).t()) ** 2).mean(), {}),  # all pairs of predictions
        (lambda: (LAYER(X) - torch.zeros(4)).abs().mean(), {}),  # quantiles
        (lambda: likelihood().gather(1, CHOSEN[:, None]).mean(), {"turned": "log-probability"}),
        (lambda: likelihood()[range(5), CHOSEN].sum(), {"turned": "log-probability"}),
        (lambda: torch.softmax(CLASSES(X), 1)[range(5), CHOSEN].log().mean(), {"turned": "log-probability"}),
        (lambda: -likelihood()[range(5), CHOSEN].mean(), {}),
        (lambda: (1.0 - likelihood()[range(5), CHOSEN]).mean(), {}),
        (lambda: (likelihood()[range(5), CHOSEN] * torch.randn(5)).mean(), {}),  # rewards have any sign
        (lambda: likelihood().mean(), {}),
        (lambda: torch.ones(3, requires_grad=True).log().sum(), {}),
    ],
)
def test_what_the_graph_of_a_loss_tells(value: Any, expected: Any) -> None:
    assert facts_of_loss(value()) == expected


@pytest.mark.parametrize("x", [torch.ones(2), torch.ones(2, requires_grad=True) * 2])
def test_what_is_no_parameter_is_no_leaf(x: torch.Tensor) -> None:
    assert leaves(x) == []
