"""Held out: networks of images of the seventh part."""

from typing import Any

import torch
from torch import nn

__all__ = ["axial", "borrowed", "ghosts", "pool_mixer", "spikes", "spotted_out", "top_down", "with_places"]


class Ghosts(nn.Module):
    """few1, act1, cheap1, few2, act2, cheap2, pool, say: half of the channels are made of the others, one by one."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.few1, self.act1 = nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()
        self.cheap1 = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.few2, self.act2 = nn.Conv2d(2 * width, width, 3, stride=2, padding=1), nn.ReLU()
        self.cheap2 = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.pool, self.say = nn.AdaptiveMaxPool2d(2), nn.Linear(8 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, rows, columns) to (samples, outputs)."""
        h = self.act1(self.few1(x))
        h = self.act2(self.few2(torch.cat([h, self.cheap1(h)], 1)))
        answer: torch.Tensor = self.say(self.pool(torch.cat([h, self.cheap2(h)], 1)).flatten(1))
        return answer


def ghosts(inputs: int, outputs: int, *, width: int = 10) -> nn.Module:
    """few1, act1, cheap1, few2, act2, cheap2, pool, say."""
    return Ghosts(inputs, outputs, width)


class WithPlaces(nn.Module):
    """near1, act1, near2, act2, near3, act3, say: each pixel is told its row and column; the brightest answers."""

    def __init__(self, inputs: int, outputs: int, width: int, act: str) -> None:
        super().__init__()
        self.near1, self.act1 = nn.Conv2d(inputs + 2, width, 3, padding=1), getattr(nn, act)()
        self.near2, self.act2 = nn.Conv2d(width, width, 3, padding=1), getattr(nn, act)()
        self.near3, self.act3 = nn.Conv2d(width, width, 3, stride=2), getattr(nn, act)()
        self.say = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, rows, columns) to (samples, outputs)."""
        rows, columns = (torch.linspace(-1.0, 1.0, size, dtype=x.dtype) for size in x.shape[2:])
        places = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(x), -1, -1, -1)
        h = self.act2(self.near2(self.act1(self.near1(torch.cat([x, places], 1)))))
        answer: torch.Tensor = self.say(self.act3(self.near3(h)).amax((2, 3)))
        return answer


def with_places(inputs: int, outputs: int, *, width: int = 16, act: str = "Hardswish") -> nn.Module:
    """near1, act1, near2, act2, near3, act3, say."""
    return WithPlaces(inputs, outputs, width, act)


def spotted_out(inputs: int, outputs: int, *, width: int = 24, drop: float = 0.4, norm: bool = True) -> nn.Module:
    """conv1, norm1, act1, drop1, conv2, norm2, act2, drop2, pool, flat, say: whole channels are dropped."""
    net = nn.Sequential()
    for i in (1, 2):
        net.add_module(f"conv{i}", nn.Conv2d(inputs if i == 1 else width, width, 3, padding=1))
        if norm:
            net.add_module(f"norm{i}", nn.BatchNorm2d(width))
        net.add_module(f"act{i}", nn.ReLU())
        net.add_module(f"drop{i}", nn.Dropout2d(drop))
    net.add_module("pool", nn.AdaptiveMaxPool2d(2))
    net.add_module("flat", nn.Flatten())
    net.add_module("say", nn.Linear(4 * width, outputs))
    return net


class PoolBlock(nn.Module):
    """norm1, pool, norm2, up, gelu, down: each place less than the mean about it, then each place by itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.pool = nn.GroupNorm(1, width), nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.norm2, self.up, self.gelu = nn.GroupNorm(1, width), nn.Conv2d(width, 2 * width, 1), nn.GELU()
        self.down = nn.Conv2d(2 * width, width, 1)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """(samples, width, rows, columns) to the same."""
        level = self.norm1(h)
        h = h + self.pool(level) - level
        new: torch.Tensor = h + self.down(self.gelu(self.up(self.norm2(h))))
        return new


class PoolMixer(nn.Module):
    """cut, blocks.0, ..., last, say: means over the neighbourhood in the place of attention."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.cut, self.blocks = nn.Conv2d(inputs, width, 3, stride=2, padding=1), nn.ModuleList()
        self.blocks.extend(PoolBlock(width) for _ in range(depth))
        self.last, self.say = nn.GroupNorm(1, width), nn.Linear(2 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, rows, columns) to (samples, outputs)."""
        h = self.cut(x)
        for block in self.blocks:
            h = block(h)
        h = self.last(h)
        answer: torch.Tensor = self.say(torch.cat([h.mean((2, 3)), h.amax((2, 3))], 1))
        return answer


def pool_mixer(inputs: int, outputs: int, *, width: int = 20, depth: int = 2) -> nn.Module:
    """cut, blocks.0.norm1, .pool, .norm2, .up, .gelu, .down, ..., last, say."""
    return PoolMixer(inputs, outputs, width, depth)


class Line(nn.Module):
    """norm, ask, over, join: each place of a line looks at the others of it; added to what was."""

    def __init__(self, width: int, sharp: float, axis: int) -> None:
        super().__init__()
        self.norm, self.ask, self.over = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Softmax(axis)
        self.join, self.sharp = nn.Linear(width, width), sharp

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """(samples, lines, places, width) to the same."""
        q, k, v = self.ask(self.norm(h)).chunk(3, -1)
        looks = self.over(self.sharp * q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5)
        new: torch.Tensor = h + self.join(looks @ v)
        return new


class Axial(nn.Module):
    """cut, act, places, along, down, last, say: places look along their row, and then along their column."""

    def __init__(self, inputs: int, outputs: int, width: int, sharp: float, axis: int) -> None:
        super().__init__()
        self.cut, self.act = nn.Conv2d(inputs, width, 4, stride=2, padding=1), nn.GELU()
        self.places = nn.Parameter(0.3 * torch.randn(5, 5, width))
        self.along, self.down = Line(width, sharp, axis), Line(width, sharp, axis)
        self.last, self.say = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, 10, 10) to (samples, outputs)."""
        h = self.act(self.cut(x)).movedim(1, -1) + self.places
        h = self.down(self.along(h).transpose(1, 2))
        answer: torch.Tensor = self.say(self.last(h).mean((1, 2)))
        return answer


def axial(inputs: int, outputs: int, *, width: int = 24, sharp: float = 1.0, axis: int = -1) -> nn.Module:
    """cut, act, along.norm, .ask, .over, .join, down.norm, ..., last, say."""
    return Axial(inputs, outputs, width, sharp, axis)


class TopDown(nn.Module):
    """fine, act1, afar, act2, low, act3, side1, side2, side3, out: what is seen from afar is added to what is near."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.fine, self.act1 = nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()
        self.afar, self.act2 = nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU()
        self.low, self.act3 = nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU()
        self.side1, self.side2, self.side3 = (nn.Conv2d(width, width, 1) for _ in range(3))
        self.wider, self.out = nn.Upsample(scale_factor=2), nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, 12, 12) to (samples, outputs, 12, 12)."""
        fine = self.act1(self.fine(x))
        half = self.act2(self.afar(fine))
        seen = self.side2(half) + self.wider(self.side3(self.act3(self.low(half))))
        answer: torch.Tensor = self.out(self.side1(fine) + self.wider(seen))
        return answer


def top_down(inputs: int, outputs: int, *, width: int = 14) -> nn.Module:
    """fine, act1, afar, act2, low, act3, side1, side2, side3, wider, out."""
    return TopDown(inputs, outputs, width)


def borrowed(inputs: int, outputs: int, *, width: int = 24, gain: float = 2.0) -> nn.Module:
    """eyes1, see1, eyes2, see2, pool, flat, head1, act, head2: the eyes are another one's, and never learn."""
    net = nn.Sequential()
    for i in (1, 2):
        eyes = nn.Conv2d(inputs if i == 1 else width, width, 3, padding=1)
        nn.init.kaiming_normal_(eyes.weight, nonlinearity="relu")
        eyes.weight.data *= gain / 2.0
        eyes.requires_grad_(False)
        net.add_module(f"eyes{i}", eyes)
        net.add_module(f"see{i}", nn.ReLU())
    net.add_module("pool", nn.AdaptiveAvgPool2d(3))
    net.add_module("flat", nn.Flatten())
    net.add_module("head1", nn.Linear(9 * width, 40))
    net.add_module("act", nn.ReLU())
    net.add_module("head2", nn.Linear(40, outputs))
    return net


class Step(torch.autograd.Function):
    """1 above zero, 0 below; its slope is said to be that of a steep bump."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same."""
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        """The slope."""
        (x,) = ctx.saved_tensors
        return slopes[0] / (1.0 + 4.0 * x.abs()).square()


class Fire(nn.Module):
    """1 where a charge is above its threshold."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.least = least

    def forward(self, charge: torch.Tensor) -> torch.Tensor:
        """Any shape to the same."""
        fired: torch.Tensor = Step.apply(charge - self.least)  # type: ignore[no-untyped-call]
        return fired


class Spikes(nn.Module):
    """into, fire1, on, fire2, say: units that gather charge over six moments, fire, and begin again."""

    def __init__(self, inputs: int, outputs: int, width: int, least: float) -> None:
        super().__init__()
        self.into, self.fire1 = nn.LazyLinear(width), Fire(least)
        self.on, self.fire2, self.say = nn.Linear(width, width), Fire(least), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, ...) to (samples, outputs)."""
        come = self.into(x.flatten(1))
        one, two = torch.zeros_like(come), torch.zeros_like(come)
        answers = []
        for _ in range(6):
            one = 0.8 * one + come
            fired = self.fire1(one)
            one, two = one * (1.0 - fired), 0.8 * two + self.on(fired)
            again = self.fire2(two)
            two = two * (1.0 - again)
            answers.append(self.say(again))
        return torch.stack(answers).mean(0)


def spikes(inputs: int, outputs: int, *, width: int = 96, least: float = 1.0) -> nn.Module:
    """into, fire1, on, fire2, say."""
    return Spikes(inputs, outputs, width, least)
