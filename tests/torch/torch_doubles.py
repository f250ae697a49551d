"""What the tests of `fastact.torch` share: a monitor that notes what it is given, and two small networks."""

from typing import Any, NamedTuple

import torch
from torch import nn

from fastact.torch import watch


class Call(NamedTuple):
    name: str
    shape: tuple[int, ...]
    axis: int | None
    kind: str


class Recorder:
    """The least that `watch` takes: it notes what it is given, and keeps a copy."""

    def __init__(self, *, active: bool = True, broken: tuple[str, ...] = ()) -> None:
        self.active = active
        self.broken = broken
        self.calls: list[Call] = []
        self.given: dict[str, list[torch.Tensor]] = {}
        self.about: dict[str, tuple[int | None, str]] = {}

    def record(self, name: str, x: Any, /, *, axis: int | None = None, kind: str = "") -> None:
        if name in self.broken:
            raise OSError("no room")
        self.calls.append(Call(name, tuple(x.shape), axis, kind))
        self.given.setdefault(name, []).append(x.detach().clone())
        self.about[name] = axis, kind

    def axes(self) -> dict[str, int | None]:
        return {call.name: call.axis for call in self.calls if not call.name.endswith(":usage")}


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Tanh())


def mlp_in_place() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 3))


def seen(model: nn.Module, *args: Any, layers: Any = None) -> Recorder:
    recorder = Recorder()
    with watch(model, recorder, layers=layers, inputs=False):
        model(*args)
    return recorder


def hooks(model: nn.Module) -> int:
    """How many hooks there are on the model and inside."""
    modules = list(model.modules())
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)
