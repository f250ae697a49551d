"""What the tests of parameters and of optimisers in PyTorch share: a batch, a step, and the rows of it."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

_ALL: dict[str, Any] = {"weights": True, "gradients": "parameters", "updates": True, "parameters_every": 1}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Any:
    """No hook of an optimiser survives a test; those of other files' tests, which ran before it, may be there."""
    hooks: list[Any] = [_global_optimizer_pre_hooks, _global_optimizer_post_hooks]
    before = [set(each) for each in hooks]
    yield
    assert [set(each) - known for each, known in zip(hooks, before, strict=True)] == [set(), set()]


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(16, 4, generator=made), torch.randint(3, (16,), generator=made)


def weight_of(model: nn.Module) -> nn.Parameter:
    return model.get_parameter("0.weight")


def learn(model: nn.Module, optimiser: Any, steps: int = 1, monitor: Any = None) -> None:
    for step in range(steps):
        x, y = batch(step)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
        if monitor is not None:
            monitor.step()


def sgd(model: nn.Module, **options: Any) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), **{"lr": 0.1, **options})


def rows_of(history: Any, name: str) -> dict[str, Any]:
    return {field: history[name][field].tolist() for field in ("step", "mean", "count", "zeros", "neurons")}
