"""Networks of linear layers of the opened part (held out until 2026-11-30): functions, odd modules, shared weights."""

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

__all__ = [
    "capsules",
    "flowing",
    "gated_branches",
    "grouped",
    "hyper",
    "maxout",
    "plain_functions",
    "repeated",
    "sines",
    "squashed",
    "stack",
    "wide_and_deep",
]  # fmt: skip


class PlainFunctions(nn.Module):
    """encode, hidden.0, hidden.1, ..., decide: normalised and activated by functions."""

    def __init__(self, inputs: int, outputs: int, width: int, layers: int, act: str, norm: bool) -> None:
        super().__init__()
        self.encode = nn.Linear(inputs, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.decide = nn.Linear(width, outputs)
        self.act = getattr(F, act)
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        x = self.act(self.encode(x))
        for layer in self.hidden:
            x = layer(x)
            x = self.act(F.layer_norm(x, x.shape[-1:]) if self.norm else x)
        answer: torch.Tensor = self.decide(x)
        return answer


def plain_functions(
    inputs: int, outputs: int, *, width: int = 40, layers: int = 3, act: str = "silu", norm: bool = False
) -> nn.Module:
    """encode, hidden.0, ..., decide; F.silu or another in each place."""
    return PlainFunctions(inputs, outputs, width, layers, act, norm)


class Repeated(nn.Module):
    """One cell, applied again and again: x + step * swish(cell(x))."""

    def __init__(self, inputs: int, outputs: int, width: int, times: int, step: float) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.cell = nn.Linear(width, width)
        self.swish = nn.SiLU()
        self.leave = nn.Linear(width, outputs)
        self.times, self.stride = times, step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        x = self.enter(x)
        for _ in range(self.times):
            x = x + self.stride * self.swish(self.cell(x))
        answer: torch.Tensor = self.leave(x)
        return answer


def repeated(inputs: int, outputs: int, *, width: int = 32, times: int = 6, step: float = 0.3) -> nn.Module:
    """enter, cell and swish in several places, leave."""
    return Repeated(inputs, outputs, width, times, step)


class Maxout(nn.Module):
    """The largest of several linear maps."""

    def __init__(self, inputs: int, outputs: int, pieces: int) -> None:
        super().__init__()
        self.maps = nn.Linear(inputs, outputs * pieces)
        self.pieces = pieces

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        best: torch.Tensor = self.maps(x).unflatten(-1, (-1, self.pieces)).amax(-1)
        return best


def maxout(inputs: int, outputs: int, *, width: int = 24, pieces: int = 3) -> nn.Module:
    """max1, max2, drop, head."""
    model = nn.Sequential()
    model.add_module("max1", Maxout(inputs, width, pieces))
    model.add_module("max2", Maxout(width, width, pieces))
    model.add_module("drop", nn.Dropout(0.2))
    model.add_module("head", nn.Linear(width, outputs))
    return model


class Sine(nn.Module):
    """sin(30 x / first): the activation of a SIREN."""

    def __init__(self, frequency: float) -> None:
        super().__init__()
        self.frequency = frequency

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same."""
        return torch.sin(self.frequency * x)


def sines(inputs: int, outputs: int, *, width: int = 48, frequency: float = 4.0) -> nn.Module:
    """lin1, sine1, lin2, sine2, lin3, sine3, height."""
    model = nn.Sequential()
    size = inputs
    for i in (1, 2, 3):
        layer = nn.Linear(size, width)
        nn.init.uniform_(layer.weight, -math.sqrt(6.0 / size) / frequency, math.sqrt(6.0 / size) / frequency)
        model.add_module(f"lin{i}", layer)
        model.add_module(f"sine{i}", Sine(frequency))
        size = width
    model.add_module("height", nn.Linear(width, outputs))
    return model


class Hyper(nn.Module):
    """A network whose middle layer's weights are what another one makes of the input's mean."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.context = nn.Linear(inputs, 8)
        self.maker = nn.Linear(8, width * width)
        self.last = nn.Linear(width, outputs)
        self.width = width
        nn.init.normal_(self.maker.weight, 0.0, 0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        weights = self.maker(torch.tanh(self.context(x))).unflatten(-1, (self.width, self.width))
        h = F.elu(self.first(x))
        h = h + F.elu(torch.einsum("sij,sj->si", weights, h))
        answer: torch.Tensor = self.last(h)
        return answer


def hyper(inputs: int, outputs: int, *, width: int = 16) -> nn.Module:
    """first, context, maker, last."""
    return Hyper(inputs, outputs, width)


class Capsules(nn.Module):
    """Primary capsules, squashed, which vote for classes and agree in three rounds."""

    def __init__(self, inputs: int, outputs: int, count: int, size: int) -> None:
        super().__init__()
        self.primary = nn.Linear(inputs, count * size)
        self.votes = nn.Parameter(0.3 * torch.randn(count, outputs, size, size))
        self.scale = nn.Parameter(torch.tensor(8.0))
        self.size = size

    @staticmethod
    def squash(x: torch.Tensor) -> torch.Tensor:
        """Vectors to those of the same direction and a length below one."""
        square = x.square().sum(-1, keepdim=True)
        return x * square.sqrt() / (1.0 + square) / (square + 1e-6).sqrt() ** 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        low = self.squash(self.primary(x).unflatten(-1, (-1, self.size)) + 1e-4)
        votes = torch.einsum("sci,coij->scoj", low, self.votes)
        logits = votes.new_zeros(votes.shape[:3])
        high = votes.mean(1)
        for _ in range(3):
            high = self.squash((F.softmax(logits, -1)[..., None] * votes).sum(1) + 1e-4)
            logits = logits + (votes * high[:, None]).sum(-1)
        return self.scale * high.square().sum(-1).add(1e-6).sqrt()


def capsules(inputs: int, outputs: int, *, count: int = 8, size: int = 6) -> nn.Module:
    """primary; votes and rounds are a function's matter."""
    return Capsules(inputs, outputs, count, size)


class Coupling(nn.Module):
    """One half of the features scaled and moved by what a network makes of the other half."""

    def __init__(self, size: int, width: int, flip: bool, bounded: bool) -> None:
        super().__init__()
        self.cut = size // 2
        self.inner = nn.Linear(size - self.cut if flip else self.cut, width)
        self.log_scale = nn.Linear(width, self.cut if flip else size - self.cut)
        self.move = nn.Linear(width, self.cut if flip else size - self.cut)
        self.flip, self.bounded = flip, bounded

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(samples, features) to the same, and the logarithm of the volume's change."""
        a, b = x[:, : self.cut], x[:, self.cut :]
        if self.flip:
            a, b = b, a
        h = F.relu(self.inner(a))
        log_scale = torch.tanh(self.log_scale(h)) if self.bounded else self.log_scale(h)
        b = b * log_scale.exp() + self.move(h)
        return torch.cat([b, a] if self.flip else [a, b], 1), log_scale.sum(1)


class Flow(nn.Module):
    """couplings.0, couplings.1, ...: real NVP."""

    def __init__(self, size: int, width: int, count: int, bounded: bool) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(Coupling(size, width, bool(i % 2), bounded) for i in range(count))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(samples, features) to latents, and the logarithm of the volume's change."""
        total = x.new_zeros(len(x))
        for coupling in self.couplings:
            x, change = coupling(x)
            total = total + change
        return x, total


def flowing(inputs: int, outputs: int, *, width: int = 32, count: int = 4, bounded: bool = True) -> nn.Module:
    """couplings.0.inner, .log_scale, .move, couplings.1. ..."""
    return Flow(inputs, width, count, bounded)


def stack(inputs: int, outputs: int, **options: Any) -> nn.Module:
    """layer1, unit1, ..., out as PyTorch initialises them; options: sizes, unit, norm ("" or a class)."""
    unit, norm = options.get("unit", "ReLU"), options.get("norm", "")
    model = nn.Sequential()
    size = inputs
    for i, width in enumerate(options.get("sizes", (64, 32)), 1):
        model.add_module(f"layer{i}", nn.Linear(size, width))
        if norm:
            model.add_module(f"even{i}", getattr(nn, norm)(width))
        model.add_module(f"unit{i}", getattr(nn, unit)())
        size = width
    model.add_module("out", nn.Linear(size, outputs))
    return model


class Gated(nn.Module):
    """x + gate * up(relu(down(x))), the gate zero at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, width // 2)
        self.up = nn.Linear(width // 2, width)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width) to the same."""
        change: torch.Tensor = self.gate * self.up(F.relu(self.down(x)))
        return x + change


def gated_branches(inputs: int, outputs: int, *, width: int = 32, blocks: int = 6) -> nn.Module:
    """begin, branch1, ..., even, end."""
    model = nn.Sequential()
    model.add_module("begin", nn.Linear(inputs, width))
    for i in range(1, blocks + 1):
        model.add_module(f"branch{i}", Gated(width))
    model.add_module("even", nn.RMSNorm(width))
    model.add_module("end", nn.Linear(width, outputs))
    return model


class WideAndDeep(nn.Module):
    """A linear way beside a deep one of two sizes of GLU."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.wide = nn.Linear(inputs, outputs)
        self.glu1 = nn.Linear(inputs, 2 * width)
        self.glu2 = nn.Linear(width, 2 * width)
        self.deep = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        answer: torch.Tensor = self.wide(x) + self.deep(F.glu(self.glu2(F.glu(self.glu1(x)))))
        return answer


def wide_and_deep(inputs: int, outputs: int, *, width: int = 24) -> nn.Module:
    """wide, glu1, glu2, deep."""
    return WideAndDeep(inputs, outputs, width)


class Even(nn.Module):
    """Groups of channels normalised over what there is of each, then scaled."""

    def __init__(self, inputs: int, outputs: int, width: int, groups: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.even = nn.GroupNorm(groups, width)
        self.leave = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        answer: torch.Tensor = self.leave(F.leaky_relu(self.even(self.enter(x))))
        return answer


def grouped(inputs: int, outputs: int, *, width: int = 32, groups: int = 4) -> nn.Module:
    """enter, even (a group norm over width / groups elements), leave."""
    return Even(inputs, outputs, width, groups)


def squashed(inputs: int, outputs: int, *, width: int = 32, times: float = 1.0) -> nn.Module:
    """a, tanh_a, b, tanh_b, c: default initialisation; `times`: of the weights."""
    model = nn.Sequential()
    model.add_module("a", nn.Linear(inputs, width))
    model.add_module("tanh_a", nn.Tanh())
    model.add_module("b", nn.Linear(width, width))
    model.add_module("tanh_b", nn.Tanh())
    model.add_module("c", nn.Linear(width, outputs))
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(times)
    return model
