"""Networks of features of the fourth part (held out until 2026-11-30)."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

__all__ = ["crossed", "doors", "fourier", "menu", "pyramid", "skipping", "snakes", "squares", "two_experts"]


def pyramid(inputs: int, outputs: int, *, sizes: tuple[int, ...] = (96, 48, 24), times: float = 1.0) -> nn.Module:
    """narrow1, bend1, narrow2, bend2, ..., top: each layer half as wide, by Softsign."""
    net = nn.Sequential()
    for i, size in enumerate(sizes, 1):
        layer = nn.Linear(inputs, size)
        nn.init.xavier_normal_(layer.weight, times * 1.5)
        net.add_module(f"narrow{i}", layer)
        net.add_module(f"bend{i}", nn.Softsign())
        inputs = size
    net.add_module("top", nn.Linear(inputs, outputs))
    return net


class Crossed(nn.Module):
    """lift, cross.0, cross.1, ..., norm, top: the first features times a mix of all, added on, again and again."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.lift = nn.Linear(inputs, width)
        self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.top = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        first = h = F.silu(self.lift(x))
        for layer in self.cross:
            h = first * layer(h) + h
        answer: torch.Tensor = self.top(h)
        return answer


def crossed(inputs: int, outputs: int, *, width: int = 32, depth: int = 3) -> nn.Module:
    """lift, cross.0, cross.1, ..., top."""
    return Crossed(inputs, outputs, width, depth)


class Skipping(nn.Module):
    """enter, norms.0, wide.0, back.0, ..., last, top: branches that are left out at random while it trains."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, kept: float, norm: bool) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) if norm else nn.Identity() for _ in range(depth))
        self.wide = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.back = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(depth))
        self.last, self.top = nn.LayerNorm(width), nn.Linear(width, outputs)
        self.kept = kept

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h = self.enter(x)
        for norm, wide, back in zip(self.norms, self.wide, self.back, strict=True):
            change = back(F.gelu(wide(norm(h))))
            if self.training:
                change = change * (torch.rand(len(x), 1) < self.kept).float() / self.kept
            h = h + change
        answer: torch.Tensor = self.top(self.last(h))
        return answer


def skipping(
    inputs: int, outputs: int, *, width: int = 24, depth: int = 4, kept: float = 0.9, norm: bool = True
) -> nn.Module:
    """enter, norms.0, wide.0, back.0, ..., last, top."""
    return Skipping(inputs, outputs, width, depth, kept, norm)


class Waves(nn.Module):
    """Cosines and sines of features in random directions, which are never trained."""

    directions: torch.Tensor

    def __init__(self, inputs: int, count: int, sharp: float) -> None:
        super().__init__()
        self.register_buffer("directions", sharp * torch.randn(inputs, count))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, twice the count)."""
        turned = x @ self.directions
        return torch.cat([turned.cos(), turned.sin()], -1)


def fourier(inputs: int, outputs: int, *, count: int = 48, sharp: float = 1.0, width: int = 48) -> nn.Module:
    """waves, mix, elu, top."""
    net = nn.Sequential()
    net.add_module("waves", Waves(inputs, count, sharp))
    net.add_module("mix", nn.Linear(2 * count, width))
    net.add_module("elu", nn.ELU())
    net.add_module("top", nn.Linear(width, outputs))
    return net


class Snake(nn.Module):
    """x + sin²(x)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same."""
        return x + torch.sin(x).square()


def snakes(inputs: int, outputs: int, *, width: int = 40, depth: int = 3) -> nn.Module:
    """coil1, snake1, coil2, snake2, ..., top."""
    net = nn.Sequential()
    for i in range(1, depth + 1):
        net.add_module(f"coil{i}", nn.Linear(inputs if i == 1 else width, width))
        net.add_module(f"snake{i}", Snake())
    net.add_module("top", nn.Linear(width, outputs))
    return net


class Square(nn.Module):
    """relu(x)², in x's own type."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same."""
        return F.relu(x).square()


def squares(inputs: int, outputs: int, *, width: int = 40, depth: int = 2, norm: bool = True) -> nn.Module:
    """flat1, square1, level1, flat2, square2, level2, ..., top; level is a LayerNorm, or nothing."""
    net = nn.Sequential()
    for i in range(1, depth + 1):
        net.add_module(f"flat{i}", nn.Linear(inputs if i == 1 else width, width))
        net.add_module(f"square{i}", Square())
        net.add_module(f"level{i}", nn.LayerNorm(width) if norm else nn.Identity())
    net.add_module("top", nn.Linear(width, outputs))
    return net


class Doors(nn.Module):
    """fan1, door1, fan2, door2, top: units times a hard sigmoid of other units."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.fan1, self.door1 = nn.Linear(inputs, width), nn.Linear(inputs, width)
        self.fan2, self.door2 = nn.Linear(width, width), nn.Linear(width, width)
        self.open1, self.open2 = nn.Hardsigmoid(), nn.Hardsigmoid()
        self.top = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h = F.hardswish(self.fan1(x)) * self.open1(self.door1(x))
        h = F.hardswish(self.fan2(h)) * self.open2(self.door2(h))
        answer: torch.Tensor = self.top(h)
        return answer


def doors(inputs: int, outputs: int, *, width: int = 48) -> nn.Module:
    """fan1, door1, open1, fan2, door2, open2, top."""
    return Doors(inputs, outputs, width)


class Menu(nn.Module):
    """dishes (a table for all columns), bias, join, top."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.dishes = nn.Embedding(inputs, size)
        self.bias = nn.Embedding(inputs, 1)
        self.join, self.top = nn.Linear(4 * size, 48), nn.Linear(48, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 4) to (samples, outputs)."""
        h = F.leaky_relu(self.join(self.dishes(x).flatten(1)), 0.1)
        answer: torch.Tensor = self.top(h) + self.bias(x).sum(1)
        return answer


def menu(inputs: int, outputs: int, *, size: int = 6) -> nn.Module:
    """dishes, bias, join, top."""
    return Menu(inputs, outputs, size)


class TwoExperts(nn.Module):
    """read, router, experts.0 to experts.n, top: the best two of all experts answer for a sample."""

    def __init__(self, inputs: int, outputs: int, width: int, count: int) -> None:
        super().__init__()
        self.read = nn.Linear(inputs, width)
        self.router = nn.Linear(width, count)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 16), nn.Tanh(), nn.Linear(16, width)) for _ in range(count)
        )
        self.top = nn.Linear(width, outputs)
        self.shares = torch.zeros(count)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h = torch.tanh(self.read(x))
        chances = self.router(h).softmax(-1)
        best, places = chances.topk(2, -1)
        self.shares = chances.mean(0)
        out = h
        for place, expert in enumerate(self.experts):
            asked, rank = torch.nonzero(places == place, as_tuple=True)
            if len(asked):
                out = out.index_add(0, asked, best[asked, rank, None] * expert(h[asked]))
        answer: torch.Tensor = self.top(out)
        return answer


def two_experts(inputs: int, outputs: int, *, width: int = 24, count: int = 6) -> nn.Module:
    """read, router, experts.0.0, .1, .2, ..., top."""
    return TwoExperts(inputs, outputs, width, count)
