"""Networks of images of the fourth part (held out until 2026-11-30)."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

__all__ = ["cleaner", "fires", "heat_maps", "looking_round", "tower"]


class Fire(nn.Module):
    """squeeze, small, large: few channels, and then many by two sizes of windows."""

    def __init__(self, inputs: int, few: int, many: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, few, 1)
        self.small, self.large = nn.Conv2d(few, many, 1), nn.Conv2d(few, many, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, rows, columns) to (samples, 2 many, rows, columns)."""
        h = F.relu6(self.squeeze(x))
        return torch.cat([F.relu6(self.small(h)), F.relu6(self.large(h))], 1)


def fires(inputs: int, outputs: int, *, few: int = 6, many: int = 10) -> nn.Module:
    """begin, act, fire1, pool, fire2, mean, flat, top."""
    net = nn.Sequential()
    net.add_module("begin", nn.Conv2d(inputs, 12, 3, padding=1))
    net.add_module("act", nn.ReLU6())
    net.add_module("fire1", Fire(12, few, many))
    net.add_module("pool", nn.MaxPool2d(2))
    net.add_module("fire2", Fire(2 * many, few, many))
    net.add_module("mean", nn.AdaptiveMaxPool2d(1))
    net.add_module("flat", nn.Flatten())
    net.add_module("top", nn.Linear(2 * many, outputs))
    return net


def tower(inputs: int, outputs: int, *, width: int = 10, stages: int = 3) -> nn.Module:
    """conv1, bn1, relu1, conv2, ..., flat, top: the plain tower with batch norms."""
    net = nn.Sequential()
    for i in range(1, stages + 1):
        net.add_module(f"conv{i}", nn.Conv2d(inputs if i == 1 else width, width, 3, stride=1 + (i > 1), padding=1))
        net.add_module(f"bn{i}", nn.BatchNorm2d(width))
        net.add_module(f"relu{i}", nn.ReLU(inplace=True))
    net.add_module("flat", nn.Flatten())
    net.add_module("top", nn.LazyLinear(outputs))
    return net


class Cleaner(nn.Module):
    """near, even1, far, even2, back, out: dilated windows between instance norms, added to what came in."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(inputs, width, 3, padding=1)
        self.even1 = nn.InstanceNorm2d(width, affine=True)
        self.far = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.even2 = nn.InstanceNorm2d(width, affine=True)
        self.back = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(width, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, rows, columns) to (samples, outputs, rows, columns)."""
        h = F.mish(self.even1(self.near(x)))
        h = F.mish(self.even2(self.far(h)))
        answer: torch.Tensor = x + self.out(F.mish(self.back(h)))
        return answer


def cleaner(inputs: int, outputs: int, *, width: int = 10) -> nn.Module:
    """near, even1, far, even2, back, out."""
    return Cleaner(inputs, outputs, width)


class HeatMaps(nn.Module):
    """conv1, conv2, maps, mix, top: where each map is warmest by a softmax over places, and how warm it is there."""

    def __init__(self, inputs: int, outputs: int, count: int, sharp: float) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(inputs, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.maps = nn.Conv2d(12, count, 1)
        self.over = nn.Softmax(-1)
        self.mix, self.top = nn.Linear(3 * count, 32), nn.Linear(32, outputs)
        self.sharp = sharp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, rows, columns) to (samples, outputs)."""
        maps = self.maps(F.elu(self.conv2(F.elu(self.conv1(x)))))
        rows, columns = maps.shape[-2:]
        warm = self.over(self.sharp * maps.flatten(2))
        down = torch.linspace(-1, 1, rows).repeat_interleave(columns)
        right = torch.linspace(-1, 1, columns).repeat(rows)
        found = torch.cat([(warm * down).sum(-1), (warm * right).sum(-1), (warm * maps.flatten(2)).sum(-1)], 1)
        answer: torch.Tensor = self.top(F.elu(self.mix(found)))
        return answer


def heat_maps(inputs: int, outputs: int, *, count: int = 8, sharp: float = 1.0) -> nn.Module:
    """conv1, conv2, maps, over, mix, top."""
    return HeatMaps(inputs, outputs, count, sharp)


class LookingRound(nn.Module):
    """stem, theta, phi, value, round, gain, top: each place adds what like places have, all over the image."""

    def __init__(self, inputs: int, outputs: int, width: int, scale: float) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, width, 3, stride=2, padding=1)
        self.theta, self.phi, self.value = (nn.Conv2d(width, width, 1) for _ in range(3))
        self.round = nn.Softmax(-1)
        self.gain = nn.Parameter(torch.tensor(0.5))
        self.after = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.top = nn.Linear(width * 9, outputs)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, rows, columns) to (samples, outputs)."""
        h = F.relu(self.stem(x))
        theta, phi, value = (layer(h).flatten(2) for layer in (self.theta, self.phi, self.value))
        weights = self.round(self.scale * theta.transpose(1, 2) @ phi)
        h = h + self.gain * (value @ weights.transpose(1, 2)).view_as(h)
        answer: torch.Tensor = self.top(F.relu(self.after(h)).flatten(1))
        return answer


def looking_round(inputs: int, outputs: int, *, width: int = 12, scale: float = 0.3) -> nn.Module:
    """stem, theta, phi, value, round, after, top."""
    return LookingRound(inputs, outputs, width, scale)
