"""Networks for sequences of symbols or numbers."""

import torch
from torch import nn

from bench.zoo.nets.parts import activation

__all__ = ["bag", "encoder", "recurrent", "transformer"]


class Recurrent(nn.Module):
    """Symbols or numbers, in sequence; an answer for each place, or for the last one alone."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        cell: str,
        width: int,
        layers: int,
        symbols: bool,
        each: bool,
        both: bool,
        more: dict[str, str],
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(inputs, width) if symbols else nn.Linear(inputs, width)
        self.rnn: nn.RNNBase = getattr(nn, cell)(width, width, layers, batch_first=True, bidirectional=both, **more)
        self.head = nn.Linear(width * (1 + both), outputs)
        self.each = each

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places[, numbers]) to (samples[, places], outputs)."""
        y, _ = self.rnn(self.embed(x))
        answer: torch.Tensor = self.head(y if self.each else y[:, -1])
        return answer


def recurrent(
    inputs: int,
    outputs: int,
    *,
    cell: str = "GRU",
    width: int = 64,
    layers: int = 1,
    symbols: bool = True,
    each: bool = True,
    both: bool = False,
    **more: str,
) -> nn.Module:
    """embed, rnn, head; more: `nonlinearity`."""
    return Recurrent(inputs, outputs, cell, width, layers, symbols, each, both, more)


class Block(nn.Module):
    """One layer of a transformer, its normalisations before (`pre`) or after the residual sums."""

    def __init__(self, width: int, heads: int, act: str, pre: bool, norm: bool, dropout: float) -> None:
        super().__init__()
        self.pre = pre
        self.norm1 = nn.LayerNorm(width) if norm else nn.Identity()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width) if norm else nn.Identity()
        self.fc1 = nn.Linear(width, 4 * width)
        self.act = activation(act)
        self.fc2 = nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None, blank: torch.Tensor | None) -> torch.Tensor:
        """(samples, places, width) to the same."""

        def attend(x: torch.Tensor) -> torch.Tensor:
            y, _ = self.attn(x, x, x, attn_mask=mask, key_padding_mask=blank, need_weights=False)
            return self.drop(y)  # type: ignore[no-any-return]

        def think(x: torch.Tensor) -> torch.Tensor:
            return self.drop(self.fc2(self.act(self.fc1(x))))  # type: ignore[no-any-return]

        if self.pre:
            x = x + attend(self.norm1(x))
            return x + think(self.norm2(x))
        x = self.norm1(x + attend(x))
        return self.norm2(x + think(x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """embed (symbols and places), block0, ..., norm, head; causal where it answers at each place."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        heads: int,
        blocks: int,
        act: str,
        pre: bool,
        norm: bool,
        each: bool,
        blank: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(inputs, width)
        self.places = nn.Embedding(64, width)
        self.blocks = nn.ModuleList(Block(width, heads, act, pre, norm, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width) if pre and norm else nn.Identity()
        self.head = nn.Linear(width, outputs)
        self.each, self.blank = each, blank
        for table in (self.embed, self.places):
            nn.init.normal_(table.weight, 0.0, 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples[, places], outputs)."""
        length = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=x.device) if self.each else None
        # Symbol 0 is a blank, which nobody attends to.
        blank = x == 0 if self.blank else None
        h = self.embed(x) + self.places(torch.arange(length, device=x.device))
        for block in self.blocks:
            h = block(h, mask, blank)
        h = self.norm(h)
        answer: torch.Tensor = self.head(h if self.each else h.mean(1))
        return answer


def transformer(
    inputs: int,
    outputs: int,
    *,
    width: int = 32,
    heads: int = 4,
    blocks: int = 2,
    act: str = "GELU",
    pre: bool = True,
    norm: bool = True,
    each: bool = True,
    blank: bool = False,
    dropout: float = 0.0,
) -> nn.Module:
    """embed, places, blocks.0.norm1, .attn, .norm2, .fc1, .act, .fc2, .drop, blocks.1. ..., norm, head."""
    return Transformer(inputs, outputs, width, heads, blocks, act, pre, norm, each, blank, dropout)


class Bag(nn.Module):
    """The mean of the symbols' embeddings, then two layers."""

    def __init__(self, inputs: int, outputs: int, width: int, act: str) -> None:
        super().__init__()
        self.embed = nn.EmbeddingBag(inputs, width, mode="mean")
        self.fc = nn.Linear(width, width)
        self.act = activation(act)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        answer: torch.Tensor = self.head(self.act(self.fc(self.embed(x))))
        return answer


def bag(inputs: int, outputs: int, *, width: int = 48, act: str = "ReLU") -> nn.Module:
    """embed, fc, act, head."""
    return Bag(inputs, outputs, width, act)


class Encoder(nn.Module):
    """embed, layers (PyTorch's own), head: the mean over the places answers."""

    def __init__(self, inputs: int, outputs: int, width: int, layers: int, pre: bool) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, width)
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True, norm_first=pre)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, numbers) to (samples, outputs)."""
        answer: torch.Tensor = self.head(self.layers(self.embed(x)).mean(1))
        return answer


def encoder(inputs: int, outputs: int, *, width: int = 24, layers: int = 12, pre: bool = True) -> nn.Module:
    """embed, layers.layers.0.self_attn, .linear1, ..., head."""
    return Encoder(inputs, outputs, width, layers, pre)
