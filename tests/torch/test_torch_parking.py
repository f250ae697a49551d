"""Hooks are off while a step is not recorded, and nothing is lost by it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fastact
from fastact.torch import watch


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
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


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
        assert max(counts[1], counts[2], counts[4]) < on
        assert not inner(copy.deepcopy(model))._forward_hooks or counts[-1] == on
        assert {name: layer["step"].tolist() for name, layer in monitor.history.items() if name != "optimiser"} == {
            name: [0, 3, 6] for name in ("input", "0.inner.0", "0.inner.1", "1.inner.0", "1.inner.1", "loss")
        }
    assert hooks(model) == before == 0


def test_a_part_that_is_called_by_itself_brings_them_back() -> None:
    model = nn.Sequential(Block(), Block())
    with fastact.ActivationMonitor(every=2) as monitor, watch(model, monitor):
        for _ in range(2):
            model(torch.ones(2, 4))
            monitor.step()
        assert not inner(model)._forward_hooks
        model[0](torch.ones(2, 4))
        assert inner(model)._forward_hooks
        monitor.step()
        assert monitor.history["0.inner.0"]["step"].tolist() == [0, 2]


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
        for _ in range(2):
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
        for _ in range(2):
            model(torch.ones(2, 4))
            monitor.step()
        assert not inner(model)._forward_hooks
        handle.remove()
        assert hooks(model) == 0
        again = watch(model, monitor)
        model(torch.ones(2, 4))
        monitor.step()
        again.remove()
        assert monitor.history["0.inner.0"]["step"].tolist() == [0, 2]


class Observed(nn.Sequential):
    """Notes how many hooks its parts have while it runs, and may fail."""

    fails = False

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__(*parts)
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(sum(map(hooks, self)))
        if self.fails:
            raise ValueError("as was asked")
        for part in self:
            x = part(x)
        return x


def test_parts_with_which_a_pass_may_begin_have_theirs_again_when_it_ends() -> None:
    model = Observed(Block(), Block())
    with fastact.ActivationMonitor(every=3) as monitor, watch(model, monitor):
        model(torch.ones(2, 4))
        on = sum(map(hooks, model))
        monitor.step()
        model(torch.ones(2, 4))
        assert model.seen == [on, 0]
        left = len(model[0]._forward_hooks)
        assert left > 0
        model.fails = True
        with pytest.raises(ValueError, match="as was asked"):
            model(torch.ones(2, 4))
        assert model.seen == [on, 0, 0]
        assert len(model[0]._forward_hooks) == left
        model.fails = False
        for _ in range(2):
            monitor.step()
        model[1](torch.ones(2, 4))
        monitor.step()
        assert monitor.history["1.inner.0"]["step"].tolist() == [0, 3]
        assert monitor.history["0.inner.0"]["step"].tolist() == [0]
    assert hooks(model) == 0
