"""Networks with an attention of their own, as modules: scores, softmax, sums."""

import torch
from torch import nn

from bench.zoo.nets.parts import activation

__all__ = ["pooled", "self_attention"]


class Attention(nn.Module):
    """query, key, value, softmax, join: one head; blanks are masked where they are told."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.softmax = nn.Softmax(-1)
        self.join = nn.Linear(width, width)
        self.scale = scale

    def forward(self, x: torch.Tensor, blank: torch.Tensor) -> torch.Tensor:
        """(samples, places, width) to the same."""
        scores = self.scale * self.query(x) @ self.key(x).transpose(1, 2)
        weights = self.softmax(scores.masked_fill(blank[:, None], float("-inf")))
        answer: torch.Tensor = self.join(weights @ self.value(x))
        return answer


class Looker(nn.Module):
    """embed, norm, attention, fc, act, head."""

    def __init__(self, inputs: int, outputs: int, width: int, scale: float, spread: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(inputs, width)
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, scale)
        self.fc = nn.Linear(width, width)
        self.act = nn.GELU()
        self.head = nn.Linear(width, outputs)
        for layer in (self.attention.query, self.attention.key):
            nn.init.normal_(layer.weight, 0.0, spread)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        h = self.norm(self.embed(x))
        h = h + self.attention(h, x == 0)
        answer: torch.Tensor = self.head(self.act(self.fc(h)).mean(1))
        return answer


def self_attention(
    inputs: int, outputs: int, *, width: int = 64, scaled: bool = True, spread: float = 0.15
) -> nn.Module:
    """embed, norm, attention.query, .key, .value, .softmax, .join, fc, act, head."""
    return Looker(inputs, outputs, width, width**-0.5 if scaled else 1.0, spread)


class Pooled(nn.Module):
    """embed, fc, act, score, softmax, head: a weighted mean over the places; `axis` of the softmax."""

    def __init__(self, inputs: int, outputs: int, width: int, act: str, axis: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(inputs, width)
        self.fc = nn.Linear(width, width)
        self.act = activation(act)
        self.score = nn.Linear(width, 1)
        self.softmax = nn.Softmax(axis)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        h = self.act(self.fc(self.embed(x)))
        answer: torch.Tensor = self.head((self.softmax(self.score(h)) * h).sum(1))
        return answer


def pooled(inputs: int, outputs: int, *, width: int = 32, act: str = "Tanh", axis: int = 1) -> nn.Module:
    """embed, fc, act, score, softmax, head."""
    return Pooled(inputs, outputs, width, act, axis)
