"""Networks for images."""

import torch
from torch import nn

from bench.zoo.nets.parts import activation

__all__ = ["cnn", "mixer", "separable", "unet"]


class Squeeze(nn.Module):
    """Each channel times a gate that looks at the means of all channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, width // 4)
        self.act = nn.SiLU()
        self.up = nn.Linear(width // 4, width)
        self.gate = nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to the same."""
        share: torch.Tensor = self.gate(self.up(self.act(self.down(x.mean((2, 3))))))
        return x * share[:, :, None, None]


def cnn(
    inputs: int,
    outputs: int,
    *,
    channels: tuple[int, ...] = (16, 32),
    act: str = "ReLU",
    norm: bool = False,
    dropout: float = 0.0,
    hidden: int = 64,
    squeeze: bool = False,
) -> nn.Module:
    """conv1, norm1, act1, squeeze1, pool1, ..., flatten, fc, act, drop, head."""
    model = nn.Sequential()
    size = inputs
    for i, width in enumerate(channels, 1):
        model.add_module(f"conv{i}", nn.Conv2d(size, width, 3, padding=1, bias=not norm))
        if norm:
            model.add_module(f"norm{i}", nn.BatchNorm2d(width))
        model.add_module(f"act{i}", activation(act))
        if squeeze:
            model.add_module(f"squeeze{i}", Squeeze(width))
        model.add_module(f"pool{i}", nn.MaxPool2d(2))
        size = width
    model.add_module("flatten", nn.Flatten())
    model.add_module("fc", nn.LazyLinear(hidden))
    model.add_module("act", activation(act))
    if dropout:
        model.add_module("drop", nn.Dropout(dropout))
    model.add_module("head", nn.Linear(hidden, outputs))
    return model


def separable(inputs: int, outputs: int, *, width: int = 24, act: str = "ReLU6", groups: int = 4) -> nn.Module:
    """stem, then depthwise and pointwise convolutions with group norms, a mean over the image, head."""
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(inputs, width, 3, padding=1))
    for i in (1, 2, 3):
        model.add_module(f"depth{i}", nn.Conv2d(width, width, 3, padding=1, groups=width, stride=1 + (i == 2)))
        model.add_module(f"point{i}", nn.Conv2d(width, width, 1))
        model.add_module(f"norm{i}", nn.GroupNorm(groups, width))
        model.add_module(f"act{i}", activation(act))
    model.add_module("mean", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("head", nn.Linear(width, outputs))
    return model


class Denoiser(nn.Module):
    """A small U-net: down, across, up, with the image at full size handed over the middle."""

    def __init__(self, inputs: int, outputs: int, width: int, act: str) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, width, 3, padding=1)
        self.act1 = activation(act)
        self.down = nn.Conv2d(width, 2 * width, 3, padding=1, stride=2)
        self.act2 = activation(act)
        self.middle = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.act3 = activation(act)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.act4 = activation(act)
        self.leave = nn.Conv2d(2 * width, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to the same."""
        top = self.act1(self.enter(x))
        low = self.act3(self.middle(self.act2(self.down(top))))
        return self.leave(torch.cat([top, self.act4(self.up(low))], 1))  # type: ignore[no-any-return]


def unet(inputs: int, outputs: int, *, width: int = 12, act: str = "LeakyReLU") -> nn.Module:
    """enter, act1, down, act2, middle, act3, up, act4, leave."""
    return Denoiser(inputs, outputs, width, act)


class Mixer(nn.Module):
    """Patches (3, 3) of an image, mixed over the places and over the features, with residual sums."""

    def __init__(self, inputs: int, outputs: int, width: int, places: int, act: str) -> None:
        super().__init__()
        self.embed = nn.Conv2d(inputs, width, 3, stride=3)
        self.norm1 = nn.LayerNorm(width)
        self.mix = nn.Linear(places, places)
        self.act1 = activation(act)
        self.norm2 = nn.LayerNorm(width)
        self.fc = nn.Linear(width, width)
        self.act2 = activation(act)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to (samples, outputs)."""
        h = self.embed(x).flatten(2).transpose(1, 2)
        h = h + self.act1(self.mix(self.norm1(h).transpose(1, 2))).transpose(1, 2)
        h = h + self.act2(self.fc(self.norm2(h)))
        answer: torch.Tensor = self.head(self.norm(h).mean(1))
        return answer


def mixer(inputs: int, outputs: int, *, width: int = 32, places: int = 16, act: str = "GELU") -> nn.Module:
    """embed, norm1, mix, act1, norm2, fc, act2, norm, head."""
    return Mixer(inputs, outputs, width, places, act)
