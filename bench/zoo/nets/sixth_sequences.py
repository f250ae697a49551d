"""Networks for sequences of the sixth part (held out until 2026-12-01)."""

import torch
from torch import nn

__all__ = ["asked_once", "level_gru", "longer_steps", "moved_gates", "rotated_blocks", "shared_experts", "wave_halves"]


class LevelGru(nn.Module):
    """low (GRU), level, high (GRU), say: two recurrent layers, and a norm between them."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.low, self.level = nn.GRU(inputs, width, batch_first=True), nn.LayerNorm(width)
        self.high, self.say = nn.GRU(width, width, batch_first=True), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        h = self.high(self.level(self.low(x)[0]))[0]
        answer: torch.Tensor = self.say(torch.cat([h[:, -1:], h.mean(1, keepdim=True)], 1).mean(1))
        return answer


def level_gru(inputs: int, outputs: int, *, width: int = 20) -> nn.Module:
    """low, level, high, say."""
    return LevelGru(inputs, outputs, width)


class LongerSteps(nn.Module):
    """enter, again, tanh, say: a state that is changed a little at each place, by tanh of itself and what comes."""

    def __init__(self, inputs: int, outputs: int, width: int, step: float, back: float) -> None:
        super().__init__()
        self.enter, self.again = nn.Linear(inputs, width), nn.Linear(width, width, bias=False)
        nn.init.orthogonal_(self.again.weight, back)
        self.tanh, self.say = nn.Tanh(), nn.Linear(width, outputs)
        self.step = step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        into = self.enter(x)
        h = x.new_zeros(len(x), into.shape[-1])
        for place in range(x.shape[1]):
            h = h + self.step * (self.tanh(into[:, place] + self.again(h)) - 0.3 * h)
        answer: torch.Tensor = self.say(h)
        return answer


def longer_steps(inputs: int, outputs: int, *, width: int = 28, step: float = 0.5, back: float = 0.8) -> nn.Module:
    """enter, again, tanh, say."""
    return LongerSteps(inputs, outputs, width, step, back)


class WaveHalves(nn.Module):
    """down.0.(conv, norm, act), down.1, ..., say: each convolution halves the length."""

    def __init__(self, inputs: int, outputs: int, width: int, norm: bool, act: str) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.ModuleDict({
                "conv": nn.Conv1d(width if i else inputs, width, 4, stride=2, padding=1),
                "norm": nn.BatchNorm1d(width) if norm else nn.Identity(), "act": getattr(nn, act)(),
            })
            for i in range(3)
        )  # fmt: skip
        self.say = nn.LazyLinear(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        h = x.transpose(1, 2)
        for part in self.down:
            assert isinstance(part, nn.ModuleDict)
            h = part["act"](part["norm"](part["conv"](h)))
        answer: torch.Tensor = self.say(h.flatten(1))
        return answer


def wave_halves(inputs: int, outputs: int, *, width: int = 16, norm: bool = True, act: str = "ReLU") -> nn.Module:
    """down.0.conv, down.0.norm, down.0.act, down.1.conv, ..., say."""
    return WaveHalves(inputs, outputs, width, norm, act)


class Block(nn.Module):
    """norm1, qkv, over, join, norm2, one, silu, other, back: attention and a gated layer, behind RMS norms."""

    def __init__(self, width: int, sharp: float) -> None:
        super().__init__()
        self.norm1, self.qkv, self.over = nn.RMSNorm(width), nn.Linear(width, 3 * width), nn.Softmax(-1)
        self.join, self.norm2 = nn.Linear(width, width), nn.RMSNorm(width)
        self.one, self.silu, self.other = nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(width, 2 * width)
        self.back, self.sharp = nn.Linear(2 * width, width), sharp

    def forward(self, h: torch.Tensor, blank: torch.Tensor, fill: float) -> torch.Tensor:
        """(samples, places, width) to the same."""
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in self.qkv(self.norm1(h)).chunk(3, -1))
        scores = self.sharp * q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        looks = self.over(scores.masked_fill(blank[:, None, None], fill))
        h = h + self.join((looks @ v).transpose(1, 2).flatten(-2))
        seen = self.norm2(h)
        new: torch.Tensor = h + self.back(self.silu(self.one(seen)) * self.other(seen))
        return new


class RotatedBlocks(nn.Module):
    """codes, places, blocks.0, ..., last, say: signs by attention; each place answers, or the mean of all."""

    def __init__(
        self, inputs: int, outputs: int, width: int, depth: int, sharp: float, each: bool, fill: float, flip: bool
    ) -> None:
        super().__init__()
        self.codes, self.places = nn.Embedding(inputs, width), nn.Parameter(0.5 * torch.randn(14, width))
        self.blocks = nn.ModuleList(Block(width, sharp) for _ in range(depth))
        self.last, self.say = nn.RMSNorm(width), nn.Linear(width, outputs)
        self.each, self.fill, self.flip = each, fill, flip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs) or (samples, places, outputs)."""
        blank = (x > 0) if self.flip else (x == 0)
        h = self.codes(x) + self.places[: x.shape[1]]
        for block in self.blocks:
            h = block(h, blank, self.fill)
        h = self.last(h)
        if not self.each:
            there = (x > 0).to(h.dtype)[..., None]
            h = (h * there).sum(1) / there.sum(1).clamp_min(1.0)
        answer: torch.Tensor = self.say(h)
        return answer


def rotated_blocks(
    inputs: int, outputs: int, *, width: int = 32, depth: int = 2, sharp: float = 1.0, each: bool = False,
    fill: float = -1e4, flip: bool = False,
) -> nn.Module:  # fmt: skip
    """codes, blocks.0.norm1, .qkv, .over, .join, .norm2, .one, .silu, .other, .back, ..., last, say."""
    return RotatedBlocks(inputs, outputs, width, depth, sharp, each, fill, flip)


class MovedGates(nn.Module):
    """codes, mix (depthwise), gate, sigmoid, value, out, say: gated convolutions over what came before."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.codes = nn.Embedding(inputs, width)
        self.mix = nn.Conv1d(width, width, 3, groups=width)
        self.gate, self.sigmoid, self.value = nn.Linear(width, 2 * width), nn.Sigmoid(), nn.Linear(width, 2 * width)
        self.out, self.say = nn.Linear(2 * width, width), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, places, outputs)."""
        h = self.codes(x)
        near = self.mix(nn.functional.pad(h.transpose(1, 2), (2, 0))).transpose(1, 2)
        answer: torch.Tensor = self.say(near + self.out(self.sigmoid(self.gate(near)) * self.value(near)))
        return answer


def moved_gates(inputs: int, outputs: int, *, width: int = 24) -> nn.Module:
    """codes, mix, gate, sigmoid, value, out, say."""
    return MovedGates(inputs, outputs, width)


class AskedOnce(nn.Module):
    """codes, before (LSTM), score, over, say: the states of a recurrent layer, of which one question takes some."""

    def __init__(self, inputs: int, outputs: int, width: int, drop: float) -> None:
        super().__init__()
        self.codes, self.drop = nn.Embedding(inputs, width), nn.Dropout(drop)
        self.before = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.score, self.over, self.say = nn.Linear(2 * width, 1), nn.Softmax(1), nn.Linear(2 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        h = self.before(self.drop(self.codes(x)))[0]
        looks = self.over(self.score(h))
        answer: torch.Tensor = self.say((looks * h).sum(1))
        return answer


def asked_once(inputs: int, outputs: int, *, width: int = 16, drop: float = 0.0) -> nn.Module:
    """codes, drop, before, score, over, say."""
    return AskedOnce(inputs, outputs, width, drop)


class SharedExperts(nn.Module):
    """codes, near, router, softmax, always, experts.0, ..., say: one expert sees all, and of four each place one."""

    def __init__(self, inputs: int, outputs: int, width: int, experts: int) -> None:
        super().__init__()
        self.codes, self.near = nn.Embedding(inputs, width), nn.Conv1d(width, width, 3)
        self.router, self.softmax = nn.Linear(width, experts), nn.Softmax(-1)
        self.always = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(experts)
        )
        self.say = nn.Linear(width, outputs)
        self.shares = torch.zeros(experts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, places, outputs); `shares`: what experts are given, times what is asked."""
        h = self.near(nn.functional.pad(self.codes(x).transpose(1, 2), (2, 0))).transpose(1, 2)
        flat = h.flatten(0, 1)
        chance = self.softmax(self.router(flat))
        best = chance.argmax(-1)
        given = torch.nn.functional.one_hot(best, chance.shape[-1]).to(chance.dtype).mean(0)
        self.shares = len(given) * given * chance.mean(0)
        new = self.always(flat)
        for place, expert in enumerate(self.experts):
            mine = (best == place).nonzero()[:, 0]
            if len(mine):
                new = new.index_add(0, mine, chance[mine, place, None] * expert(flat[mine]))
        answer: torch.Tensor = self.say(h + new.unflatten(0, h.shape[:2]))
        return answer


def shared_experts(inputs: int, outputs: int, *, width: int = 24, experts: int = 4) -> nn.Module:
    """codes, near, router, softmax, always.0, experts.0.0, ..., say."""
    return SharedExperts(inputs, outputs, width, experts)
