"""How a mistake gets into a program from outside: hooks around batches, model, loss, gradients and optimiser."""

import contextlib
import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from bench.faults import run as runs
from bench.faults.run import Run
from fastact.monitor.monitor import ActivationMonitor

__all__ = ["Injection", "MutantRun", "Unrecorded", "copied", "injected", "replaced", "without_functions"]

#: Names of functions that networks call as hidden activations, and where.
FUNCTIONS = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "celu", "mish", "hardswish")


class Injection:
    """One mistake while it is put into one run. By itself it changes nothing.

    Attributes:
        watching: whether the training that is recorded has begun.
        step: training steps that have ended.
        touched: how often it has changed something; a run in which it never did shows nothing.
        optimisers: those that the program has made.
        model: the first that is watched.
        profile: of the program.
    """

    profile: Any = None

    def __init__(self) -> None:
        self.watching = False
        self.step = 0
        self.touched = 0
        self.optimisers: list[Optimizer] = []
        self.model: nn.Module | None = None

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        """The training of a model is about to begin."""

    def data(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All data, before batches are drawn from them."""
        return x, y

    def batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One batch."""
        return x, y

    def asked(self, x: Any) -> Any:
        """What the trained model is given in the end."""
        return x

    def answered(self, answer: torch.Tensor) -> torch.Tensor:
        """What it answers."""
        return answer

    def made(self, optimiser: Optimizer) -> None:
        """An optimiser is about to step for the first time since the model is watched."""

    def update(self, optimiser: Optimizer, step: Callable[[], Any]) -> Any:
        """An optimiser's step."""
        return step()

    def clear(self, clear: Callable[[], Any]) -> Any:
        """A call of `zero_grad`."""
        return clear()

    def backward(self, loss: torch.Tensor) -> torch.Tensor | None:
        """The tensor whose backward pass is run; None: none is."""
        return loss

    def ended(self) -> None:
        """A training step has ended."""


class MutantRun(Run):
    """A run that tells an injection of what happens."""

    def __init__(self, path: Path, injection: Injection, seed: int = 0) -> None:
        self.monitor = ActivationMonitor(path)
        self.losses = []
        self._watches = []
        # No Keras: its session, if there is one, need not be cleared.
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (users shuffle by it)
        self.injection = injection

    def watch(self, model: nn.Module, loss: nn.Module | None = None, prefix: str = "") -> None:
        """Attaches fastact, after the mistake was put into the model."""
        self.put_into(model, loss)
        super().watch(model, loss, prefix)

    def put_into(self, model: nn.Module, loss: nn.Module | None) -> None:
        """Puts the mistake into a model, whose training begins."""
        it = self.injection
        it.model = it.model or model
        it.watching = True
        it.watched(model, loss)

    def step(self, loss: torch.Tensor) -> None:
        """Ends a step."""
        super().step(loss)
        self.injection.step += 1
        self.injection.ended()

    def answers(self, model: Any, x: Any) -> torch.Tensor:
        """What a trained model says of x, which is prepared as the data for training were."""
        return self.injection.answered(super().answers(model, self.injection.asked(x)))


class Unrecorded(MutantRun):
    """The same without fastact."""

    def watch(self, model: nn.Module, loss: nn.Module | None = None, prefix: str = "") -> None:
        """Puts the mistake into the model, and attaches nothing."""
        self.put_into(model, loss)


@contextlib.contextmanager
def injected(injection: Injection) -> Iterator[None]:
    """While it is entered, whatever a program does goes by this injection."""
    with contextlib.ExitStack() as stack:

        def put(owner: Any, name: str, value: Any) -> None:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)

        draw = _batches(injection)
        for name, module in list(sys.modules.items()):
            if name.startswith("bench.faults.") and getattr(module, "batches", None) is runs.batches:
                stack.callback(setattr, module, "batches", module.batches)
                if module is not runs:
                    module.batches = draw  # type: ignore[attr-defined]
        put(runs, "batches", draw)
        put(Optimizer, "__init__", _made(injection, Optimizer.__init__))
        for owner in (Optimizer, nn.Module):
            put(owner, "zero_grad", _cleared(injection, owner.zero_grad))
        put(torch.Tensor, "backward", _backward(injection, torch.Tensor.backward))
        yield


def _batches(injection: Injection) -> Callable[..., Iterator[tuple[Any, Any]]]:
    original = runs.batches

    def batches(x: torch.Tensor, y: torch.Tensor, *, size: int = 32, steps: int = 40) -> Iterator[tuple[Any, Any]]:
        if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor) or not injection.watching:
            yield from original(x, y, size=size, steps=steps)
            return
        x, y = injection.data(x, y)
        for each in original(x, y, size=size, steps=steps):
            yield injection.batch(*each)

    return batches


def _made(injection: Injection, original: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Optimizer, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        injection.optimisers.append(self)
        begun = False

        def step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
            nonlocal begun
            if not injection.watching:
                return type(self).step(self, *args, **kwargs)
            if not begun:
                begun = True
                injection.made(self)
            return injection.update(self, lambda: type(self).step(self, *args, **kwargs))

        self.step = MethodType(step, self)  # type: ignore[method-assign]

    return __init__


def _cleared(injection: Injection, original: Callable[..., None]) -> Callable[..., None]:
    def zero_grad(self: Any, *args: Any, **kwargs: Any) -> None:
        if injection.watching:
            injection.clear(lambda: original(self, *args, **kwargs))
        else:
            original(self, *args, **kwargs)

    return zero_grad


def _backward(injection: Injection, original: Callable[..., None]) -> Callable[..., None]:
    def backward(self: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        # PyTorch looks its own method up by name, to tell others of the call.
        torch.Tensor.backward = original  # type: ignore[method-assign]
        try:
            loss = injection.backward(self) if injection.watching else self
            if loss is not None:
                loss.backward(*args, **kwargs)
        finally:
            torch.Tensor.backward = backward  # type: ignore[method-assign]

    return backward


@contextlib.contextmanager
def without_functions() -> Iterator[None]:
    """Activations that are called as functions give what they are given."""
    places = [(owner, name) for owner in (torch, nn.functional) for name in FUNCTIONS if hasattr(owner, name)]
    before = [getattr(owner, name) for owner, name in places]
    for owner, name in places:
        setattr(owner, name, lambda x, *args, **kwargs: x)
    try:
        yield
    finally:
        for (owner, name), function in zip(places, before, strict=True):
            setattr(owner, name, function)


def replaced(model: nn.Module, name: str, change: Callable[[nn.Module], nn.Module]) -> None:
    """Puts another module in the place of one, by its name in the model."""
    parent, _, last = name.rpartition(".")
    owner = model.get_submodule(parent)
    setattr(owner, last, change(getattr(owner, last)))


def copied(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """New parameters of the same values."""
    return [nn.Parameter(copy.deepcopy(parameter.detach())) for parameter in parameters]
