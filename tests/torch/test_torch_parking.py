"""Hooks are off while a step is not recorded, and nothing is lost by it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import _global_optimizer_pre_hooks

import fastact
from fastact.torch import watch
from fastact.torch.evaluating import Sentinel


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(x) + x
        return found


def inner(model: nn.Module) -> nn.Module:
    return model.get_submodule("0.inner.0")


def hooks(model: nn.Module) -> int:
    """How many there are, but for the one that waits for an evaluation, and what it is in a copy."""
    tables = [table for module in model.modules() for table in (module._forward_hooks, module._forward_pre_hooks)]
    found = [hook for table in tables for hook in table.values()]
    return sum(not isinstance(hook, Sentinel) and "nullcontext" not in repr(hook) for hook in found)


def test_hooks_are_off_in_steps_that_are_not_recorded_and_rows_are_the_same() -> None:
    model = nn.Sequential(Block(), Block())
    before = hooks(model)
    with fastact.ActivationMonitor(every=3) as monitor, watch(model, monitor):
        on = hooks(model)
        counts = []
        for _ in range(7):
            model(torch.ones(2, 4)).sum().backward()
            counts.append(hooks(model))
            monitor.step()
        assert counts[0] == counts[3] == counts[6] == on
        assert [counts[1], counts[2], counts[4], counts[5]] == [0, 0, 0, 0]
        assert not hooks(model)
        assert not hooks(copy.deepcopy(model))
        assert {name: layer["step"].tolist() for name, layer in monitor.history.items() if name != "optimiser"} == {
            name: [0, 3, 6] for name in ("input", "0.inner.0", "0.inner.1", "1.inner.0", "1.inner.1", "loss")
        }
    assert hooks(model) == before == 0


def test_a_part_that_is_called_by_itself_brings_them_back() -> None:
    model = nn.Sequential(Block(), Block())
    with fastact.ActivationMonitor(every=2) as monitor, watch(model, monitor):
        model(torch.ones(2, 4))
        monitor.step()
        model[0](torch.ones(2, 4))
        assert not hooks(model)
        monitor.step()
        assert hooks(model)
        model[0](torch.ones(2, 4))
        monitor.step()
        assert monitor.history["0.inner.0"]["step"].tolist() == [0, 2]
        assert monitor.history["1.inner.0"]["step"].tolist() == [0]


def test_what_others_hook_meanwhile_stays_and_can_be_taken_off() -> None:
    model, called = nn.Sequential(Block(), Block()), []

    def theirs(*_: Any) -> None:
        called.append(1)

    with fastact.ActivationMonitor(every=2) as monitor:
        with watch(model, monitor):
            for _ in range(2):
                model(torch.ones(2, 4))
                monitor.step()
            handle = inner(model).register_forward_hook(theirs)
            for _ in range(4):
                model(torch.ones(2, 4))
                monitor.step()
            assert monitor.history["0.inner.0"]["step"].tolist() == [0, 2, 4]
            assert len(called) == 4
        assert list(inner(model)._forward_hooks.values()) == [theirs]
        handle.remove()
    assert hooks(model) == 0


def test_a_module_that_others_have_hooked_is_left_as_it_is() -> None:
    model = nn.Sequential(Block(), Block())
    theirs: Callable[..., None] = lambda *_: None  # noqa: E731
    handle = inner(model).register_forward_hook(theirs)
    with fastact.ActivationMonitor(every=2) as monitor, watch(model, monitor):
        model(torch.ones(2, 4))
        monitor.step()
        assert len(inner(model)._forward_hooks) == 2
        assert not model.get_submodule("1.inner.0")._forward_hooks
    handle.remove()
    assert hooks(model) == 0


def test_the_watch_may_end_while_they_are_off_and_the_model_too() -> None:
    model = nn.Sequential(Block())
    with fastact.ActivationMonitor(every=2) as monitor:
        handle = watch(model, monitor)
        model(torch.ones(2, 4))
        monitor.step()
        assert hooks(model) == 0
        handle.remove()
        assert hooks(model) == 0
        monitor.step()
        assert hooks(model) == 0
        again = watch(model, monitor)
        model(torch.ones(2, 4))
        monitor.step()
        again.remove()
        assert monitor.history["0.inner.0"]["step"].tolist() == [0, 2]


class Observed(nn.Sequential):
    """Ends the monitor's step while it runs."""

    monitor: fastact.ActivationMonitor
    ends = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.ends:
            self.monitor.step()
        for part in self:
            x = part(x)
        return torch.relu(x)


def test_a_pass_in_whose_middle_the_step_ends_keeps_them_until_it_has_ended() -> None:
    model = Observed(Block(), Block())
    with fastact.ActivationMonitor(every=3) as monitor, watch(model, monitor) as handle:
        on, model.monitor, model.ends = hooks(model), monitor, True
        model(torch.ones(2, 4))
        assert hooks(model) == on
        assert handle._passes.outermost is None
        model.ends = False
        model(torch.ones(2, 4))  # is not recorded, whether or not they are there
        monitor.step()
        assert hooks(model) == 0
        monitor.step()
        model(torch.ones(2, 4))
        monitor.step()
        assert monitor.history["input"]["step"].tolist() == [0, 3]
        assert monitor.history["relu"]["step"].tolist() == [3]


def test_a_plan_is_asked_when_a_step_begins_and_one_that_fails_is_told_of() -> None:
    model, asked = nn.Sequential(Block()), []

    def plan(step: int) -> bool:
        asked.append(step)
        if step == 2:
            raise ValueError("as was asked")
        return step != 1

    with fastact.ActivationMonitor() as monitor, watch(model, monitor, every=plan) as handle:
        for expected in (True, False, True):
            assert bool(hooks(model)) == expected
            if len(asked) < 3:
                model(torch.ones(2, 4))
            else:
                with pytest.warns(RuntimeWarning, match="as was asked"):
                    model(torch.ones(2, 4))
            monitor.step()
        assert handle.failures == 1
        assert asked[:3] == [0, 1, 2]
        assert hooks(model)
        assert "1" not in monitor.history
        assert monitor.history["0.inner.0"]["step"].tolist() == [0]


def test_optimisers_are_not_followed_either_and_their_rows_are_the_same() -> None:
    before = len(_global_optimizer_pre_hooks)  # of watches that nobody has ended

    def rows(every: int) -> tuple[list[int], list[int]]:
        torch.manual_seed(0)
        model, followed = nn.Sequential(Block()), []
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        with fastact.ActivationMonitor(every=every) as monitor, watch(model, monitor, updates=True, parameters_every=2):
            for _ in range(45):
                optimiser.zero_grad()
                model(torch.ones(2, 4)).sum().backward()
                optimiser.step()
                monitor.step()
                followed.append(len(_global_optimizer_pre_hooks) - before)
            return monitor.history["optimiser"]["step"].tolist(), followed

    steps, followed = rows(4)
    assert steps == list(range(0, 45, 8))
    assert (followed[0], followed[43], followed[44]) == (1, 1, 0)  # at first it is looked how gradients are cleared
    assert rows(1)[0] == list(range(0, 45, 2))


def test_the_watch_of_a_closed_monitor_has_them_again_and_tells_so() -> None:
    model = nn.Sequential(Block())
    monitor = fastact.ActivationMonitor(every=2)
    with watch(model, monitor):
        model(torch.ones(2, 4))
        monitor.step()
        assert not hooks(model)
        monitor.close()
        with pytest.warns(RuntimeWarning, match="monitor is closed"):
            model(torch.ones(2, 4))
