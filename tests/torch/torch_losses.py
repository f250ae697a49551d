"""What the tests of losses in PyTorch share: a small network, and a training of a few steps."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode_stack

import fastact
from fastact.torch import watch

X, Y = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


class Net(nn.Module):
    """Logits of three classes, or their probabilities."""

    def __init__(self, *, softmax: bool = False, criterion: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 3)
        self.softmax = softmax
        self.criterion = criterion

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        y: torch.Tensor = self.fc2(torch.relu(self.fc1(x)))
        if labels is not None:
            return functional.cross_entropy(y, labels)
        return functional.softmax(y, dim=1) if self.softmax else y


class Trained:
    """A training of a few steps, its monitor, and the losses that it has come to."""

    def __init__(
        self, loss_of: Callable[[Any], torch.Tensor], model: nn.Module | None = None, steps: int = 2, **options: Any
    ) -> None:
        self.model = model or Net()
        self.losses = []
        optimiser = torch.optim.SGD(self.model.parameters(), 0.1)
        with fastact.ActivationMonitor() as self.monitor:
            self.watch = watch(self.model, self.monitor, strict=True, **options)
            for _ in range(steps):
                loss = loss_of(self.model)
                loss.backward()
                assert not _get_current_function_mode_stack()
                optimiser.step()
                optimiser.zero_grad()
                self.losses.append(loss.item())
                self.monitor.step()
            self.watch.remove()
            self.unseen = self.monitor.unseen
        self.rows = self.monitor.history

    def names(self) -> list[str]:
        """The rows of losses and what belongs to them."""
        return [name for name in self.rows if name.startswith("loss")]

    def facts(self, name: str = "loss") -> dict[str, Any]:
        """What is known of a loss."""
        return dict(self.rows[name].info.facts or {})


@pytest.fixture(autouse=True)
def no_mode_is_left() -> Iterator[None]:
    """Whatever happens in a test, PyTorch asks nobody after it."""
    yield
    assert not _get_current_function_mode_stack()
