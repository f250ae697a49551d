"""Networks for sequences of the fourth part (held out until 2026-11-30)."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

__all__ = ["both_ways", "causal", "gated_waves", "leaky", "memory", "shared_keys"]


class BothWays(nn.Module):
    """up, gru, score, over, top: a GRU in both directions, and a mean that is weighed by a score of each place."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(inputs, width)
        self.gru = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.score = nn.Linear(2 * width, 1)
        self.over = nn.Softmax(1)
        self.top = nn.Linear(2 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        states, _ = self.gru(torch.tanh(self.up(x)))
        answer: torch.Tensor = self.top((self.over(self.score(states)) * states).sum(1))
        return answer


def both_ways(inputs: int, outputs: int, *, width: int = 16) -> nn.Module:
    """up, gru, score, over, top."""
    return BothWays(inputs, outputs, width)


class GatedWaves(nn.Module):
    """into, filter.0, gate.0, skip.0, ..., out: a tanh times a sigmoid of dilated windows into the past."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.into = nn.Conv1d(inputs, width, 1)
        self.filter = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**i) for i in range(depth))
        self.gate = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**i) for i in range(depth))
        self.skip = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(depth))
        self.out = nn.Conv1d(width, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, places, outputs)."""
        h = self.into(x.transpose(1, 2))
        total = torch.zeros_like(h)
        for i, (filter_, gate, skip) in enumerate(zip(self.filter, self.gate, self.skip, strict=True)):
            past = F.pad(h, (2**i, 0))
            part = skip(torch.tanh(filter_(past)) * torch.sigmoid(gate(past)))
            h, total = h + part, total + part
        answer: torch.Tensor = self.out(F.silu(total)).transpose(1, 2)
        return answer


def gated_waves(inputs: int, outputs: int, *, width: int = 16, depth: int = 3) -> nn.Module:
    """into, filter.0, gate.0, skip.0, ..., out."""
    return GatedWaves(inputs, outputs, width, depth)


class Leaky(nn.Module):
    """read, again, unit, say: states that keep a share of themselves and take up a tanh for the rest."""

    def __init__(self, inputs: int, outputs: int, width: int, keep: float, act: str) -> None:
        super().__init__()
        self.read, self.again = nn.Linear(inputs, width), nn.Linear(width, width, bias=False)
        nn.init.orthogonal_(self.again.weight)
        self.unit = nn.Tanh() if act == "tanh" else nn.Identity()
        self.say = nn.Linear(width, outputs)
        self.keep = keep

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, places, outputs)."""
        h = x.new_zeros(len(x), self.again.in_features)
        states = []
        for now in self.read(x).unbind(1):
            h = self.keep * h + (1.0 - self.keep) * self.unit(now + self.again(h))
            states.append(h)
        answer: torch.Tensor = self.say(torch.stack(states, 1))
        return answer


def leaky(inputs: int, outputs: int, *, width: int = 32, keep: float = 0.2, act: str = "tanh") -> nn.Module:
    """read, again and unit at each place, say."""
    return Leaky(inputs, outputs, width, keep, act)


class Memory(nn.Module):
    """symbols, places, ask, keys, values, over, top: the first symbol asks, all others are what is looked up in."""

    def __init__(self, inputs: int, outputs: int, width: int, scale: float) -> None:
        super().__init__()
        self.symbols = nn.Embedding(inputs, width)
        self.places = nn.Parameter(0.5 * torch.randn(8, width))
        self.ask, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.over = nn.Softmax(-1)
        self.top = nn.Linear(width, outputs)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 9) to (samples, outputs)."""
        h = self.symbols(x)
        kept = h[:, 1:] + self.places
        scores = self.scale * (self.keys(kept) @ self.ask(h[:, 0])[..., None])[..., 0]
        found = (self.over(scores)[..., None] * self.values(kept)).sum(1)
        answer: torch.Tensor = self.top(found)
        return answer


def memory(inputs: int, outputs: int, *, width: int = 32, scale: float = 0.2) -> nn.Module:
    """symbols, ask, keys, values, over, top."""
    return Memory(inputs, outputs, width, scale)


class Level(nn.Module):
    """x over its root mean square, times a gain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) to the same."""
        return self.gain * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class CausalBlock(nn.Module):
    """before, qkv, join, after, up, down."""

    def __init__(self, width: int, heads: int, scale: float, normed: bool) -> None:
        super().__init__()
        self.before, self.after = (Level(width) if normed else nn.Identity() for _ in range(2))
        self.qkv, self.join = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.heads, self.scale = heads, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, width) to the same."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.before(x)).chunk(3, -1)
        )
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)
        x = x + self.join(h.transpose(1, 2).flatten(2))
        changed: torch.Tensor = x + self.down(F.relu(self.up(self.after(x))).square())
        return changed


class Causal(nn.Module):
    """signs, places, blocks.0, blocks.1, last, top."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, scale: float, normed: bool) -> None:
        super().__init__()
        self.signs, self.places = nn.Embedding(inputs, width), nn.Embedding(16, width)
        self.blocks = nn.ModuleList(CausalBlock(width, 2, scale, normed) for _ in range(depth))
        self.last, self.top = Level(width), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, places, outputs)."""
        h = self.signs(x) + self.places(torch.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        answer: torch.Tensor = self.top(self.last(h))
        return answer


def causal(
    inputs: int, outputs: int, *, width: int = 32, depth: int = 2, scale: float = 0.25, normed: bool = True
) -> nn.Module:
    """signs, places, blocks.0.before, .qkv, .join, .after, .up, .down, ..., last, top."""
    return Causal(inputs, outputs, width, depth, scale, normed)


class SharedKeys(nn.Module):
    """into, ask, key, value, over, join, hop, top: many queries of one head of keys, and convolutions beside it."""

    def __init__(self, inputs: int, outputs: int, width: int, drop: float) -> None:
        super().__init__()
        self.into, self.places = nn.Linear(inputs, width), nn.Parameter(0.5 * torch.randn(24, width))
        self.ask, self.key, self.value = nn.Linear(width, width), nn.Linear(width, 8), nn.Linear(width, 8)
        self.over = nn.Softmax(-1)
        self.join = nn.Linear(width, width)
        self.hop = nn.Conv1d(width, width, 3, padding=1, groups=width)
        self.even = nn.LayerNorm(width)
        self.drop = nn.Dropout(drop)
        self.top = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        h = self.into(x) + self.places
        h = h + F.gelu(self.hop(h.transpose(1, 2))).transpose(1, 2)
        asked = self.ask(h).unflatten(-1, (-1, 8)).transpose(1, 2)
        weights = self.over(asked @ self.key(h)[:, None].transpose(-1, -2) / 8**0.5)
        found = (weights @ self.value(h)[:, None]).transpose(1, 2).flatten(2)
        h = self.even(h + self.join(found))
        answer: torch.Tensor = self.top(self.drop(F.gelu(h)).mean(1))
        return answer


def shared_keys(inputs: int, outputs: int, *, width: int = 24, drop: float = 0.1) -> nn.Module:
    """into, hop, ask, key, value, over, join, even, drop, top."""
    return SharedKeys(inputs, outputs, width, drop)
