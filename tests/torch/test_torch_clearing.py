"""Gradients that are not cleared between two steps, or are before a step; and all that clears them as it should."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fastact
from fastact.torch import watch

NEVER, EARLY, THROWN = "optimiser.zero_grad", "optimiser.gradients", "optimiser.backward"


def told(each: Callable[[nn.Module, Any, Callable[[], torch.Tensor]], None], steps: int = 5) -> set[str]:
    """What is said not to have been seen of gradients, after some steps of a loop."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))

    monitor = fastact.ActivationMonitor()
    with monitor, watch(model, monitor):
        for _ in range(steps):
            each(model, optimiser, loss)
            monitor.step()
        names = set(monitor.unseen) & {NEVER, EARLY, THROWN}
    assert not any(parameter._backward_hooks for parameter in model.parameters())
    return names


def usual(model: nn.Module, optimiser: Any, loss: Any, **options: Any) -> None:
    optimiser.zero_grad(**options)
    loss().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()


def in_place(model: nn.Module, optimiser: Any, loss: Any) -> None:
    usual(model, optimiser, loss, set_to_none=False)


def after_the_step(model: nn.Module, optimiser: Any, loss: Any) -> None:
    loss().backward()
    optimiser.step()
    model.zero_grad()


def accumulated(model: nn.Module, optimiser: Any, loss: Any) -> None:
    for _ in range(3):
        (loss() / 3).backward()
    optimiser.step()
    optimiser.zero_grad()


def by_another_loss(model: nn.Module, optimiser: Any, loss: Any, **options: Any) -> None:
    """As a generator's loss leaves gradients in its critic, which are cleared before the critic's own."""
    usual(model, optimiser, loss, **options)
    loss().backward()


def by_another_loss_in_place(model: nn.Module, optimiser: Any, loss: Any) -> None:
    by_another_loss(model, optimiser, loss, set_to_none=False)


def in_a_closure(model: nn.Module, optimiser: Any, loss: Any) -> None:
    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value: torch.Tensor = loss()
        value.backward()
        return value

    optimiser.step(closure)


@pytest.mark.parametrize(
    "loop",
    [usual, in_place, after_the_step, accumulated, by_another_loss, by_another_loss_in_place, in_a_closure],
)
def test_gradients_that_are_cleared(loop: Any) -> None:
    assert told(loop) == set()


def never(model: nn.Module, optimiser: Any, loss: Any) -> None:
    loss().backward()
    optimiser.step()


def never_and_clipped(model: nn.Module, optimiser: Any, loss: Any) -> None:
    loss().backward()
    loss().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()


@pytest.mark.parametrize("loop", [never, never_and_clipped])
def test_gradients_that_are_never_cleared(loop: Any) -> None:
    assert told(loop) == {NEVER}
    assert told(loop, steps=10) == {NEVER}
    assert told(loop, steps=3) == set()  # of the first step nothing is known


def before_the_step(model: nn.Module, optimiser: Any, loss: Any) -> None:
    loss().backward()
    model.zero_grad()
    optimiser.step()


def step_first(model: nn.Module, optimiser: Any, loss: Any) -> None:
    optimiser.zero_grad()
    optimiser.step()
    loss().backward()


@pytest.mark.parametrize("loop", [before_the_step, step_first])
def test_gradients_that_are_gone_before_the_step(loop: Any) -> None:
    assert told(loop) == {EARLY}


def once_in_a_while(model: nn.Module, optimiser: Any, loss: Any) -> None:
    for _ in range(4):
        optimiser.zero_grad()
        loss().backward()
    optimiser.step()


def by_many_closures(model: nn.Module, optimiser: Any, loss: Any) -> None:
    for _ in range(4):
        in_a_closure(model, optimiser, loss)


def test_gradients_that_no_step_uses() -> None:
    assert told(once_in_a_while) == {THROWN}
    assert told(once_in_a_while, steps=2) == set()
    assert told(by_many_closures) == set()


def no_backward(model: nn.Module, optimiser: Any, loss: Any) -> None:
    loss()
    optimiser.step()


def test_without_a_backward_pass_nothing_is_said_of_clearing() -> None:
    assert told(no_backward) == set()


def test_the_finding_names_zero_grad() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = fastact.ActivationMonitor()
    with monitor, watch(model, monitor, weights=True, parameters_every=1):
        for _ in range(8):
            nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,))).backward()
            optimiser.step()
            monitor.step()
        first = monitor.diagnose().culprits[0]
    assert (first.layer, first.condition, first.cause_name) == ("optimiser", "not_learning", "no_zero_grad")
    assert first.remedies[0].startswith("call optimizer.zero_grad()")


def test_a_model_is_copied_and_stored_while_its_gradients_are_looked_at() -> None:
    model = nn.Linear(4, 3)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = fastact.ActivationMonitor()
    with monitor, watch(model, monitor):
        model(torch.ones(2, 4)).sum().backward()
        optimiser.step()
        monitor.step()
        assert any(parameter._backward_hooks for parameter in model.parameters())
        copies = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
        assert not any(parameter._backward_hooks for each in copies for parameter in each.parameters())
