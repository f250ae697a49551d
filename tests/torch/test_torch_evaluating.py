"""A pass in evaluation mode is recorded in whatever step it comes: once between two steps of training."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack

import fastact
from fastact.torch import watch


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())

    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        found: torch.Tensor = self.inner(x) * scale
        return found


def trained(monitor: Any, options: dict[str, Any], after: tuple[int, ...] = (6, 14, 21), batch: int = 32) -> nn.Module:
    """25 steps; after some of them three passes in evaluation, of 50 samples each."""
    torch.manual_seed(0)
    model = Scaled()
    with watch(model, monitor, **options):
        for step in range(25):
            model(torch.randn(batch, 4)).sum().backward()
            monitor.step()
            if step in after:
                model.eval()
                with torch.no_grad():
                    for _ in range(3):
                        model(torch.randn(50, 4), scale=2.0)
                model.train()
    return model


def steps(monitor: fastact.ActivationMonitor, name: str) -> list[int]:
    return monitor.history[name]["step"].tolist() if name in monitor.history else []


def test_an_evaluation_in_a_step_that_is_not_recorded_has_it_recorded_with_its_first_pass() -> None:
    monitor = fastact.ActivationMonitor(every=5)
    model = trained(monitor, {})
    assert steps(monitor, "inner.2:eval") == steps(monitor, "input:eval") == [7, 15, 22]
    # In step 15, which is recorded anyway, all three.
    assert monitor.history["inner.2:eval"]["count"].tolist() == [400, 1200, 400]
    assert steps(monitor, "inner.2") == [0, 5, 7, 10, 15, 20, 22]
    assert not monitor.failures
    assert not any(len(it._forward_hooks) + len(it._forward_pre_hooks) for it in model.modules())


@pytest.mark.parametrize(("batch", "share"), [(8, 0.1), (64, 0.02)])
def test_it_is_where_few_steps_are_drawn_from_too(batch: int, share: float) -> None:
    monitor = fastact.ActivationMonitor()
    trained(monitor, {"sample": share}, batch=batch)
    assert steps(monitor, "inner.2:eval") == [7, 15, 22]
    assert len(steps(monitor, "inner.2")) < 12


def test_whoever_names_the_steps_or_wants_training_alone_gets_these() -> None:
    for options in ({"every": 5}, {"every": lambda step: step % 5 == 0}):
        monitor = fastact.ActivationMonitor()
        trained(monitor, options)
        assert (steps(monitor, "inner.2:eval"), steps(monitor, "inner.2")) == ([15], [0, 5, 10, 15, 20])
    monitor = fastact.ActivationMonitor(every=5)
    trained(monitor, {"training_only": True})
    assert (steps(monitor, "inner.2:eval"), steps(monitor, "inner.2")) == ([], [0, 5, 10, 15, 20])


def test_all_ranks_record_the_same_steps() -> None:
    monitor = fastact.ActivationMonitor(every=5, rank=0, ranks=2)
    trained(monitor, {})
    assert (steps(monitor, "inner.2:eval"), steps(monitor, "inner.2")) == ([15], [0, 5, 10, 15, 20])


def test_while_hooks_are_off_copies_and_the_hooks_of_others_are_as_ever() -> None:
    called = []
    model = Scaled()
    with fastact.ActivationMonitor(every=5) as monitor, watch(model, monitor):
        for _ in range(2):
            model(torch.randn(8, 4)).sum().backward()
            monitor.step()
        copied = copy.deepcopy(model).eval()
        copied(torch.randn(8, 4))
        handle = model.register_forward_pre_hook(lambda *_: called.append(1))
        model.eval()(torch.randn(8, 4), scale=3.0)
        assert called == [1]
        model.train()
        monitor.step()
        model(torch.randn(8, 4))
        assert called == [1, 1]
        assert monitor.history["inner.0:eval"]["count"].tolist() == [64]
    assert list(model._forward_pre_hooks) == [handle.id]
    assert not any(it._forward_hooks for it in model.modules())


def test_nothing_waits_for_a_loss_after_an_evaluation_with_which_the_monitor_ends() -> None:
    model = Scaled()
    monitor = fastact.ActivationMonitor()
    handle = watch(model, monitor)
    model(torch.randn(8, 4)).sum().backward()
    monitor.step()
    with torch.no_grad():
        model.eval()(torch.randn(8, 4))
    assert _get_current_function_mode_stack()
    monitor.close()
    assert not _get_current_function_mode_stack()
    handle.remove()
