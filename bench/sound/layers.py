"""The layers that drawn networks are made of."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.sound.setup import FUNCTIONS, Setup

__all__ = ["Attention", "Block", "Dense", "Mix", "Residual", "activation", "convolution", "initialised", "norm"]

#: How functions are called where their name is not that of the module in small letters.
_CALLED = {"LeakyReLU": "leaky_relu"}


def activation(setup: Setup) -> nn.Module:
    """The activation as a module."""
    name = setup.activation
    if name == "GELU tanh":
        return nn.GELU(approximate="tanh")
    if name == "Threshold":
        return nn.Threshold(0.0, 0.0)
    kind: type[nn.Module] = getattr(nn, name)
    return kind()


def function(setup: Setup) -> Callable[[Tensor], Tensor]:
    """The activation as it is called in a forward pass: a module, or a function of `torch.nn.functional`."""
    if setup.functional and setup.activation in FUNCTIONS:
        called: Callable[[Tensor], Tensor] = getattr(
            nn.functional, _CALLED.get(setup.activation, setup.activation.lower())
        )
        return called
    return activation(setup)


def norm(kind: str, width: int, dimensions: int = 0) -> nn.Module:
    """A norm over `width` channels or features; `dimensions`: axes behind the channels; 0: features come last."""
    if kind == "batch":
        return (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)[dimensions](width)
    if kind == "instance" and dimensions:
        return (nn.InstanceNorm1d, nn.InstanceNorm2d)[dimensions - 1](width, affine=True)
    if kind == "group" or (kind in ("layer", "instance") and dimensions):
        # A group of a single number would always be 0.
        return nn.GroupNorm(math.gcd(width, 4) if kind == "group" and width >= 8 else 1, width)
    if kind in ("layer", "instance"):
        return nn.LayerNorm(width)
    return nn.RMSNorm(width) if kind == "rms" and not dimensions else nn.Identity()


class Dense(nn.Module):
    """Linear, norm, activation, dropout."""

    def __init__(self, setup: Setup, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=setup.norm != "batch")
        self.norm = norm(setup.norm, outputs) if setup.norm else None
        self.act = function(setup)
        self.drop = nn.Dropout(setup.dropout) if setup.dropout else None

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        x = self.linear(x)
        if self.norm is not None:
            x = self.norm(x)
        x = self.act(x)
        return torch.as_tensor(x if self.drop is None else self.drop(x))


class Residual(nn.Module):
    """What a branch gives is added to what it was given."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        return x + torch.as_tensor(self.branch(x))


def convolution(setup: Setup, inputs: int, outputs: int, dimensions: int, *, stride: int = 1) -> nn.Sequential:
    """Convolution, norm, activation."""
    kind = (nn.Conv1d, nn.Conv2d)[dimensions - 1]
    parts: list[nn.Module] = [kind(inputs, outputs, 3, stride=stride, padding=1, bias=setup.norm != "batch")]
    if setup.norm:
        parts.append(norm(setup.norm, outputs, dimensions))
    return nn.Sequential(*parts, activation(setup))


class Attention(nn.Module):
    """Queries, keys and values by one linear layer; PyTorch's attention, or softmax written out."""

    def __init__(self, width: int, *, causal: bool = False, written: bool = False) -> None:
        super().__init__()
        self.heads = 4 if width % 4 == 0 and width >= 16 else 1
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.causal, self.written = causal, written

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        samples, places, width = x.shape
        cut = (samples, places, self.heads, width // self.heads)
        q, k, v = (each.reshape(cut).transpose(1, 2) for each in self.qkv(x).chunk(3, dim=-1))
        if self.written and not self.causal:
            weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(cut[-1]), dim=-1)
            y = weights @ v
        else:
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        out: Tensor = self.out(y.transpose(1, 2).reshape(x.shape))
        return out


class Block(nn.Module):
    """A transformer's block, its norms before the branches or behind the sums."""

    def __init__(self, setup: Setup, *, causal: bool = False) -> None:
        super().__init__()
        width, self.first = setup.width, setup.norm_first
        kind = "rms" if setup.norm == "rms" else "layer"
        self.norm1, self.norm2 = norm(kind, width), norm(kind, width)
        self.attention = Attention(width, causal=causal, written=setup.functional)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), activation(setup), nn.Linear(2 * width, width))
        self.drop = nn.Dropout(setup.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        if self.first:
            x = x + self.drop(self.attention(self.norm1(x)))
            return x + torch.as_tensor(self.drop(self.mlp(self.norm2(x))))
        x = self.norm1(x + self.drop(self.attention(x)))
        return torch.as_tensor(self.norm2(x + self.drop(self.mlp(x))))


class Mix(nn.Module):
    """A mixer's block: over places, then over features."""

    def __init__(self, setup: Setup, places: int) -> None:
        super().__init__()
        width = setup.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.places = nn.Sequential(nn.Linear(places, width), activation(setup), nn.Linear(width, places))
        self.features = nn.Sequential(nn.Linear(width, 2 * width), activation(setup), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        x = x + self.places(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + torch.as_tensor(self.features(self.norm2(x)))


def initialised(model: nn.Module, scheme: str) -> nn.Module:
    """The model with the weights of its linear and convolutional layers drawn by a scheme, and biases of zero."""
    if not scheme:
        return model
    start: Callable[..., Tensor] = getattr(nn.init, f"{scheme}_")
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)):
            if scheme == "trunc_normal":
                start(module.weight, std=0.02)
            else:
                start(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model
