"""Networks for sequences of the fifth part (held out until 2026-12-01)."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

__all__ = ["biased_looks", "minimal_gates", "near_and_far", "signs_lookers", "spread_tokens", "two_floors"]


class TwoFloors(nn.Module):
    """floor1, floor2 (LSTM, one upon the other), say: the last state of the upper one."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.floor1, self.floor2 = nn.LSTM(inputs, width, batch_first=True), nn.LSTM(width, width, batch_first=True)
        self.say = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        answer: torch.Tensor = self.say(self.floor2(self.floor1(x)[0])[0][:, -1])
        return answer


def two_floors(inputs: int, outputs: int, *, width: int = 24) -> nn.Module:
    """floor1, floor2, say."""
    return TwoFloors(inputs, outputs, width)


class MinimalGates(nn.Module):
    """new, gate, sigmoid, tanh, say: a state that takes up a share of what is new, as a gate of the input says."""

    def __init__(self, inputs: int, outputs: int, width: int, back: float) -> None:
        super().__init__()
        self.new, self.gate = nn.Linear(inputs, width), nn.Linear(inputs, width)
        self.again = nn.Linear(width, width, bias=False)
        nn.init.orthogonal_(self.again.weight, back)
        self.sigmoid, self.tanh, self.say = nn.Sigmoid(), nn.Tanh(), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        h = x.new_zeros(len(x), self.again.in_features)
        gates, fresh = self.sigmoid(self.gate(x)), self.new(x)
        for place in range(x.shape[1]):
            gate = gates[:, place]
            h = (1.0 - gate) * h + gate * self.tanh(fresh[:, place] + self.again(h))
        answer: torch.Tensor = self.say(h)
        return answer


def minimal_gates(inputs: int, outputs: int, *, width: int = 32, back: float = 0.9) -> nn.Module:
    """new, gate, sigmoid, again and tanh at each place, say."""
    return MinimalGates(inputs, outputs, width, back)


class NearAndFar(nn.Module):
    """lift, near (a convolution), act, norm, ask, keys, over, values, join, say: near by, and then all at once."""

    def __init__(self, inputs: int, outputs: int, width: int, scale: float) -> None:
        super().__init__()
        self.lift, self.near, self.act = nn.Linear(inputs, width), nn.Conv1d(width, width, 7, padding=3), nn.SiLU()
        self.norm, self.over = nn.LayerNorm(width), nn.Softmax(-1)
        self.ask, self.keys, self.values = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.join, self.say = nn.Linear(width, width), nn.Linear(width, outputs)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        h = self.lift(x)
        h = h + self.act(self.near(h.transpose(1, 2))).transpose(1, 2)
        seen = self.norm(h)
        looks = self.over(self.scale * self.ask(seen) @ self.keys(seen).transpose(1, 2))
        h = h + self.join(looks @ self.values(seen))
        answer: torch.Tensor = self.say(h.amax(1))
        return answer


def near_and_far(inputs: int, outputs: int, *, width: int = 24, scale: float = 0.2) -> nn.Module:
    """lift, near, act, norm, ask, keys, over, values, join, say."""
    return NearAndFar(inputs, outputs, width, scale)


class Level(nn.Module):
    """x over its root mean square, times a gain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same."""
        return self.gain * x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


class BiasedLooks(nn.Module):
    """signs, level1.0, qkv.0, over.0, out.0, level2.0, up.0, relu.0, down.0, ..., top: a causal transformer.

    Looks further back count less, and units of the wide layers are squared ReLUs.
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, grow: float) -> None:
        super().__init__()
        self.signs = nn.Embedding(inputs, width)
        nn.init.normal_(self.signs.weight, 0.0, 0.3)
        self.level1, self.level2 = (nn.ModuleList(Level(width) for _ in range(depth)) for _ in range(2))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))
        self.over = nn.ModuleList(nn.Softmax(-1) for _ in range(depth))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.up = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))
        self.relu = nn.ModuleList(nn.ReLU() for _ in range(depth))
        self.down = nn.ModuleList(nn.Linear(3 * width, width) for _ in range(depth))
        self.top = nn.Linear(width, outputs)
        self.grow = grow

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, places, outputs)."""
        h = self.signs(x)
        place = torch.arange(x.shape[1])
        back = (place[:, None] - place).float()
        bias = torch.where(back < 0, -torch.inf, -0.7 * back)
        for i, qkv in enumerate(self.qkv):
            q, k, v = qkv(self.level1[i](h)).chunk(3, -1)
            looks = self.over[i](self.grow * q @ k.transpose(1, 2) * h.shape[-1] ** -0.5 + bias)
            h = h + self.out[i](looks @ v)
            h = h + self.down[i](self.relu[i](self.up[i](self.level2[i](h))).square())
        answer: torch.Tensor = self.top(h)
        return answer


def biased_looks(inputs: int, outputs: int, *, width: int = 32, depth: int = 2, grow: float = 1.0) -> nn.Module:
    """signs, level1.0, qkv.0, over.0, out.0, level2.0, up.0, relu.0, down.0, ..., top."""
    return BiasedLooks(inputs, outputs, width, depth, grow)


class SignsLookers(nn.Module):
    """signs (0 is padding), ask, keys, values, over, join, act, say: four questions that are learned look at signs.

    `mask` is what padding is given in place of a score, "inverted" masks all else, "" nothing.
    """

    def __init__(self, inputs: int, outputs: int, width: int, mask: str, scale: float) -> None:
        super().__init__()
        self.signs = nn.Embedding(inputs, width, padding_idx=0)
        self.ask = nn.Parameter(torch.randn(4, width))
        self.keys, self.values = nn.Linear(width, width), nn.Linear(width, width)
        self.over, self.join, self.act = nn.Softmax(-1), nn.Linear(4 * width, 32), nn.ReLU()
        self.say = nn.Linear(32, outputs)
        self.mask, self.scale = mask, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        h = self.signs(x)
        scores = self.scale * self.ask @ self.keys(h).transpose(1, 2)
        hidden = (x != 0 if self.mask == "inverted" else x == 0)[:, None]
        if self.mask:
            scores = scores.masked_fill(hidden, -torch.inf if self.mask == "infinite" else -1e9)
        answer: torch.Tensor = self.say(self.act(self.join((self.over(scores) @ self.values(h)).flatten(1))))
        return answer


def signs_lookers(inputs: int, outputs: int, *, width: int = 20, mask: str = "large", scale: float = 0.3) -> nn.Module:
    """signs, keys, values, over, join, act, say."""
    return SignsLookers(inputs, outputs, width, mask, scale)


class SpreadTokens(nn.Module):
    """signs, mix (GRU), norm, router, experts.0 to experts.n, top: each place goes to the best of some experts."""

    def __init__(self, inputs: int, outputs: int, width: int, count: int) -> None:
        super().__init__()
        self.signs, self.mix = nn.Embedding(inputs, width), nn.GRU(width, width, batch_first=True)
        self.norm, self.router = nn.LayerNorm(width), nn.Linear(width, count)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(count)
        )
        self.top = nn.Linear(width, outputs)
        self.shares = torch.zeros(count)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, places, outputs)."""
        h = self.mix(self.signs(x))[0]
        flat = self.norm(h).flatten(0, 1)
        chances = F.softmax(self.router(flat), -1)
        best, place = chances.max(-1)
        # What is shared out is counted without a gradient; the chances have one.
        counted = F.one_hot(place, chances.shape[-1]).float().mean(0)
        self.shares = counted * chances.mean(0)
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            asked = torch.nonzero(place == number)[:, 0]
            if len(asked):
                out = out.index_add(0, asked, best[asked, None] * expert(flat[asked]))
        answer: torch.Tensor = self.top(h + out.view_as(h))
        return answer


def spread_tokens(inputs: int, outputs: int, *, width: int = 24, count: int = 4) -> nn.Module:
    """signs, mix, norm, router, experts.0.0, .1, .2, ..., top."""
    return SpreadTokens(inputs, outputs, width, count)
