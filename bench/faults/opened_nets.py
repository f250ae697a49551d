"""The networks of the opened programs, which were held out until 2026-11-30 and have been tuned on since."""

from typing import Any

import torch
from torch import nn

from bench.faults.run import Data, tensors


class Forecaster(nn.Module):
    """An LSTM over single numbers, and the next one."""

    def __init__(self, *, width: int = 16, last: nn.Module | None = None) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, width, batch_first=True)
        self.out = nn.Linear(width, 1)
        self.last = last or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(x)
        return self.last(self.out(states[:, -1]))


class Transformer(nn.Module):
    """Characters, one block of attention before a norm, and a class for the piece or for each place."""

    def __init__(self, classes: int, *, places: int = 48, each: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.each = each
        self.embed = nn.Embedding(70, 32)
        self.place = nn.Parameter(0.02 * torch.randn(places, 32))
        self.block = nn.TransformerEncoderLayer(
            32, 4, 64, dropout=dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.each else None
        states = self.norm(self.block(self.embed(x) + self.place[: x.shape[1]], src_mask=mask))
        return self.head(states if self.each else states.mean(1))


class PatchCNN(nn.Module):
    """Convolutions with strides, an average over the picture, and a head."""

    def __init__(self, channels: int, units: int, last: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.SiLU())
        self.body = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.SiLU())
        self.head = nn.Linear(16, units)
        self.last = last or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.head(self.body(self.stem(x)).mean((2, 3))))


class EveryPlace(nn.Module):
    """Says the classes of each place of a text along axis 1, as CrossEntropyLoss wants them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x).transpose(1, 2)


def letters(of: str = "bfgkvwxy") -> Data:
    """Pieces of 32 characters, and which of eight letters occur in each."""
    from bench.zoo.data import ALPHABET

    made = tensors("reference_text")
    codes = torch.tensor([ALPHABET.index(letter) for letter in of])
    y, test_y = ((x[:, :, None] == codes).any(1).float() for x in (made.x, made.test_x))
    return Data(made.x, y, made.test_x, test_y)


def bright(task: str = "portrait_or_scan") -> Data:
    """Grey patches with noise, and the mask of what is brighter than their mean without it."""
    made = tensors(task)
    parts: list[Any] = []
    for x in (made.x, made.test_x):
        parts += [x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(len(x))), (x > 0).float()]
    return Data(*parts)


def gain(model: nn.Module, factor: float) -> None:
    """Multiplies all weights."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(factor)
