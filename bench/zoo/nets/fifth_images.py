"""Networks of images of the fifth part (held out until 2026-12-01)."""

import torch
from torch import nn

__all__ = ["bulk", "grouped_levels", "squeezed", "sub_pixels", "windows"]


def bulk(
    inputs: int, outputs: int, *, width: int = 10, norm: bool = False, drop: float = 0.2, act: str = "ReLU"
) -> nn.Module:
    """conv1, (norm1,) act1, conv2, act2, pool1, conv3, act3, conv4, act4, pool2, flat, fc, act5, drop, head."""
    net, before = nn.Sequential(), inputs
    for i, size in enumerate((width, width, 2 * width, 2 * width), 1):
        net.add_module(f"conv{i}", nn.Conv2d(before, size, 3, padding=1))
        if norm:
            net.add_module(f"norm{i}", nn.BatchNorm2d(size))
        net.add_module(f"act{i}", getattr(nn, act)())
        if i % 2 == 0:
            net.add_module(f"pool{i // 2}", nn.MaxPool2d(2))
        before = size
    net.add_module("flat", nn.Flatten())
    net.add_module("fc", nn.LazyLinear(32))
    net.add_module("act5", getattr(nn, act)())
    net.add_module("drop", nn.Dropout(drop))
    net.add_module("head", nn.Linear(32, outputs))
    return net


class Block(nn.Module):
    """wide, act1, deep, act2, ask1, act3, ask2, gate, thin: depthwise, and channels times a gate of their means."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide, self.act1 = nn.Conv2d(width, 2 * width, 1), nn.Hardswish()
        self.deep, self.act2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width), nn.Hardswish()
        self.ask1, self.act3, self.ask2 = nn.Conv2d(2 * width, 8, 1), nn.ReLU(), nn.Conv2d(8, 2 * width, 1)
        self.gate, self.thin = nn.Hardsigmoid(), nn.Conv2d(2 * width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width, rows, columns) to the same."""
        h = self.act2(self.deep(self.act1(self.wide(x))))
        gate = self.gate(self.ask2(self.act3(self.ask1(h.mean((2, 3), keepdim=True)))))
        result: torch.Tensor = x + self.thin(gate * h)
        return result


class Squeezed(nn.Module):
    """stem, blocks.0.wide to blocks.0.thin, ..., down, head."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, width, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.down, self.act = nn.Conv2d(width, 2 * width, 3, stride=2), nn.Hardswish()
        self.head = nn.Linear(2 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, rows, columns) to (samples, outputs)."""
        answer: torch.Tensor = self.head(self.act(self.down(self.blocks(self.stem(x)))).amax((2, 3)))
        return answer


def squeezed(inputs: int, outputs: int, *, width: int = 10, depth: int = 2) -> nn.Module:
    """stem, blocks.0.wide, .act1, .deep, .act2, .ask1, .act3, .ask2, .gate, .thin, ..., down, act, head."""
    return Squeezed(inputs, outputs, width, depth)


def grouped_levels(inputs: int, outputs: int, *, width: int = 16, level: bool = True, depth: int = 3) -> nn.Module:
    """conv1, level1 (GroupNorm), act1 (ELU), ..., pool, flat, head."""
    net = nn.Sequential()
    for i in range(1, depth + 1):
        stride = 2 if i in (1, 3) else 1
        net.add_module(f"conv{i}", nn.Conv2d(inputs if i == 1 else width, width, 3, stride=stride, padding=1))
        net.add_module(f"level{i}", nn.GroupNorm(4, width) if level else nn.Identity())
        net.add_module(f"act{i}", nn.ELU())
    net.add_module("pool", nn.AdaptiveMaxPool2d(1))
    net.add_module("flat", nn.Flatten())
    net.add_module("head", nn.Linear(width, outputs))
    return net


class SubPixels(nn.Module):
    """down, act1, mid, act2, up, shuffle: at half the size, and back by moving channels to pixels; added on."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.near, self.act0 = nn.Conv2d(inputs, width, 3, padding=1), nn.Softplus()
        self.down, self.act1 = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)
        self.mid, self.act2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.LeakyReLU(0.2)
        self.up, self.shuffle = nn.Conv2d(2 * width, 4 * width, 1), nn.PixelShuffle(2)
        self.out = nn.Conv2d(2 * width, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, rows, columns) to (samples, outputs, rows, columns)."""
        near = self.act0(self.near(x))
        far = self.shuffle(self.up(self.act2(self.mid(self.act1(self.down(near))))))
        answer: torch.Tensor = self.out(torch.cat([near, far], 1))
        return answer


def sub_pixels(inputs: int, outputs: int, *, width: int = 10) -> nn.Module:
    """near, act0, down, act1, mid, act2, up, shuffle, out."""
    return SubPixels(inputs, outputs, width)


class Windows(nn.Module):
    """cut, norm, ask, keys, over, values, mix, act, head: attention within each quarter of an image."""

    def __init__(self, inputs: int, outputs: int, width: int, scale: float, mean: bool) -> None:
        super().__init__()
        self.cut = nn.Conv2d(inputs, width, 5, stride=2, padding=2)
        self.norm, self.over = nn.LayerNorm(width), nn.Softmax(-1)
        self.ask, self.keys, self.values = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.mix, self.act, self.head = nn.Linear(width, 2 * width), nn.Mish(), nn.Linear(2 * width, outputs)
        self.places = nn.Parameter(0.1 * torch.randn(64, width))
        self.scale, self.mean = scale, mean

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, 14, 14) to (samples, outputs)."""
        h = nn.functional.pad(self.cut(x), (0, 1, 0, 1))
        h = h.unflatten(3, (2, 4)).unflatten(2, (2, 4)).permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)
        seen = self.norm(h + self.places.view(4, 16, -1))
        scores = self.scale * self.ask(seen) @ self.keys(seen).transpose(-1, -2)
        h = self.act(self.mix(h + self.over(scores) @ self.values(seen)))
        answer: torch.Tensor = self.head(h.mean((1, 2)) if self.mean else h.amax((1, 2)))
        return answer


def windows(inputs: int, outputs: int, *, width: int = 20, scale: float = 0.22, mean: bool = False) -> nn.Module:
    """cut, norm, ask, keys, over, values, mix, act, head."""
    return Windows(inputs, outputs, width, scale, mean)
