"""Which modules are known to call no function that is recorded, and that nothing is missed where nobody listens."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import relu

import fastact
from fastact.torch import watch
from fastact.torch.silent import is_silent


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.shortcut, self.scale, self.other = nn.Linear(4, 4), nn.Identity(), 0.5, None
        self.act: Callable[[torch.Tensor], torch.Tensor] = functional.relu
        self.view = relu


class Adds(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.inner(x)
        if self.other is not None:
            y = self.other(y)
        y += self.shortcut(x) * self.scale
        return torch.cat([y, y], 1).flatten(1)


class CallsItsOwn(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.helper(x)

    def helper(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.inner(x)
        return y.mean(0)


class Function(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.inner(x))


class Imported(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return relu(self.inner(x))


class Method(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.inner(x)
        return y.relu()


class OfTorch(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.inner(x))


class Attribute(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.inner(x))


class Shadowed(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.view(self.inner(x))


class Handed(Base):
    def forward(self, x: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor] = relu) -> torch.Tensor:
        return function(self.inner(x))


class Helped(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.helper(x)

    def helper(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([relu(each) for each in self.inner(x)])


class Inside(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import gelu

        return gelu(self.inner(x))


class Picks(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner.weight[x.argmax(1)]


LOUD = (Function, Imported, Method, OfTorch, Attribute, Shadowed, Handed, Helped, Inside, Picks)


@pytest.mark.parametrize("kind", [Adds, CallsItsOwn])
def test_what_calls_layers_and_adds_up_is_silent(kind: type[Base]) -> None:
    assert is_silent(kind())


@pytest.mark.parametrize("kind", LOUD)
def test_what_may_call_a_function_is_not(kind: type[Base]) -> None:
    assert not is_silent(kind())


def test_what_was_changed_is_not() -> None:
    model = Adds()
    model.forward = lambda x: relu(x)  # type: ignore[method-assign]
    assert not is_silent(model)
    model = Adds()
    model.register_forward_hook(lambda *_: None)
    assert not is_silent(model)


@pytest.mark.parametrize("kind", [each for each in LOUD if each is not Picks])
def test_functions_are_recorded_wherever_one_may_be_called(kind: type[Base]) -> None:
    model = nn.Sequential(Adds(), nn.Linear(8, 4), kind())
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, loss=False):
        for _ in range(3):
            model(torch.ones(2, 4))
            monitor.step()
        assert {"2.relu", "2.gelu"} & set(monitor.history)


def test_nothing_is_listened_to_where_all_are_silent_and_the_rows_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> dict[str, Any]:
        torch.manual_seed(0)
        model = nn.Sequential(Adds(), nn.Linear(8, 4), nn.ReLU(), nn.Dropout(0.5))
        with fastact.ActivationMonitor() as monitor, watch(model, monitor) as handle:
            for _ in range(3):
                functional.cross_entropy(model(torch.randn(6, 4)), torch.tensor([0, 1, 2, 3, 0, 1])).backward()
                monitor.step()
            listening.append(handle._function_mode is not None)
            return {name: layer["mean"].tolist() for name, layer in monitor.history.items()}

    listening: list[bool] = []
    silent = rows()
    monkeypatch.setattr("fastact.torch.scopes.is_silent", lambda _: False)
    assert rows() == silent
    assert listening == [False, True]
    assert {"0.inner", "1", "2", "3", "loss"} <= set(silent)


def test_a_loss_within_the_model_is_seen() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.criterion = nn.Linear(4, 4), nn.CrossEntropyLoss()

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.criterion(self.inner(x), y)
            return found

    model = Model()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor):
        for _ in range(3):
            model(torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])).backward()
            monitor.step()
        assert len(monitor.history["loss"]["mean"]) == 3
        assert "loss:target" in monitor.history
