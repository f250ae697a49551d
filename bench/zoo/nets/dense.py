"""Networks of linear layers: plain, residual, highway, and a variational coder that classifies."""

from typing import Any

import torch
from torch import nn

from bench.zoo.nets.parts import activation, he, normalisation, xavier

__all__ = ["adapted", "bottleneck", "coder", "highway", "mlp", "resnet", "scaled"]


def mlp(
    inputs: int,
    outputs: int,
    *,
    depth: int = 3,
    width: int = 64,
    act: str = "ReLU",
    norm: str = "",
    dropout: float = 0.0,
    init: str = "he",
    last: str = "",
) -> nn.Module:
    """fc1, norm1, act1, drop1, fc2, ..., head. `last`: an activation after the head."""
    model = nn.Sequential()
    size = inputs
    for i in range(1, depth + 1):
        model.add_module(f"fc{i}", nn.Linear(size, width))
        if norm:
            model.add_module(f"norm{i}", normalisation(norm, width))
        model.add_module(f"act{i}", activation(act))
        if dropout:
            model.add_module(f"drop{i}", nn.Dropout(dropout))
        size = width
    model.add_module("head", nn.Linear(size, outputs))
    if init:
        {"he": he, "xavier": xavier}[init](model)
    if last:
        model.add_module("last", activation(last))
    return model


class Standardize(nn.Module):
    """Each feature by its mean and deviation over the batch, without the epsilon."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, features) to the same."""
        return (x - x.mean(0)) / x.std(0)


def scaled(inputs: int, outputs: int, **options: Any) -> nn.Module:
    """An MLP behind a standardisation of its own, which divides by zero where a feature is constant."""
    model = nn.Sequential()
    model.add_module("scale", Standardize())
    for name, layer in mlp(inputs, outputs, **options).named_children():
        model.add_module(name, layer)
    return model


class Residual(nn.Module):
    """x + fc2(act(fc1(norm(x)))), or without the x."""

    def __init__(self, width: int, act: str, norm: str, skip: bool, gain: float) -> None:
        super().__init__()
        self.norm = normalisation(norm, width) if norm else nn.Identity()
        self.fc1 = nn.Linear(width, width)
        self.act = activation(act)
        self.fc2 = nn.Linear(width, width)
        self.skip = skip
        with torch.no_grad():
            self.fc2.weight.mul_(gain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width) to the same."""
        change: torch.Tensor = self.fc2(self.act(self.fc1(self.norm(x))))
        return x + change if self.skip else change


def resnet(
    inputs: int,
    outputs: int,
    *,
    blocks: int = 6,
    width: int = 48,
    act: str = "SiLU",
    norm: str = "layer",
    skip: bool = True,
    gain: float = 1.0,
) -> nn.Module:
    """stem, block1, ..., norm, head: a residual stream with the normalisation inside the branches."""
    model = nn.Sequential()
    model.add_module("stem", nn.Linear(inputs, width))
    for i in range(1, blocks + 1):
        model.add_module(f"block{i}", Residual(width, act, norm, skip, gain))
    if norm:
        model.add_module("norm", normalisation(norm, width))
    model.add_module("head", nn.Linear(width, outputs))
    return model


class Highway(nn.Module):
    """g * act(fc(x)) + (1 - g) * x with g = sigmoid(choose(x))."""

    def __init__(self, width: int, act: str) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.act = activation(act)
        self.choose = nn.Linear(width, width)
        self.gate = nn.Sigmoid()
        nn.init.constant_(self.choose.bias, -1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width) to the same."""
        share = self.gate(self.choose(x))
        return share * self.act(self.fc(x)) + (1.0 - share) * x  # type: ignore[no-any-return]


def highway(inputs: int, outputs: int, *, blocks: int = 5, width: int = 40, act: str = "Tanh") -> nn.Module:
    """stem, block1, ..., head."""
    model = nn.Sequential()
    model.add_module("stem", nn.Linear(inputs, width))
    for i in range(1, blocks + 1):
        model.add_module(f"block{i}", Highway(width, act))
    model.add_module("head", nn.Linear(width, outputs))
    return model


class Coder(nn.Module):
    """A variational autoencoder that also classifies: enc, act1, mean, logvar, exp, dec, act2, head."""

    def __init__(self, inputs: int, outputs: int, width: int, code: int, act: str) -> None:
        super().__init__()
        self.enc = nn.Linear(inputs, width)
        self.act1 = activation(act)
        self.mean = nn.Linear(width, code)
        self.logvar = nn.Linear(width, code)
        self.exp = Exponential()
        self.dec = nn.Linear(code, width)
        self.act2 = activation(act)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h = self.act1(self.enc(x))
        code = self.mean(h)
        deviation = self.exp(self.logvar(h))
        if self.training:
            code = code + deviation * torch.randn_like(code)
        answer: torch.Tensor = self.head(self.act2(self.dec(code)))
        return answer


class Exponential(nn.Module):
    """exp(x / 2): a deviation of the logarithm of a variance."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same."""
        return (0.5 * x).exp()


def coder(inputs: int, outputs: int, *, width: int = 64, code: int = 8, act: str = "ReLU") -> nn.Module:
    """enc, act1, mean, logvar, exp, dec, act2, head."""
    return Coder(inputs, outputs, width, code, act)


def bottleneck(
    inputs: int, outputs: int, *, width: int = 32, narrow: int = 2, act: str = "Tanh", norm: bool = False
) -> nn.Module:
    """fc1, act1, narrow, norm (over the narrow units), fc2, act2, head."""
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(inputs, width))
    model.add_module("act1", activation(act))
    model.add_module("narrow", nn.Linear(width, narrow))
    if norm:
        model.add_module("norm", nn.LayerNorm(narrow))
    model.add_module("fc2", nn.Linear(narrow, width))
    model.add_module("act2", activation(act))
    model.add_module("head", nn.Linear(width, outputs))
    return model


class Adapted(nn.Module):
    """A frozen layer beside a branch of low rank that starts at zero: down, up."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs)
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=False)
        nn.init.zeros_(self.up.weight)
        self.base.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        answer: torch.Tensor = self.base(x) + self.up(self.down(x))
        return answer


def adapted(inputs: int, outputs: int, *, width: int = 64, rank: int = 4, act: str = "GELU") -> nn.Module:
    """fc1 (base, down, up), act1, fc2, act2, head (base, down, up)."""
    model = nn.Sequential()
    model.add_module("fc1", Adapted(inputs, width, rank))
    model.add_module("act1", activation(act))
    model.add_module("fc2", Adapted(width, width, rank))
    model.add_module("act2", activation(act))
    model.add_module("head", Adapted(width, outputs, rank))
    return model
