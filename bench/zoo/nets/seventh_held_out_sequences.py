"""Held out: networks for sequences and sets of the seventh part."""

import torch
from torch import nn

__all__ = [
    "edges", "inducing", "projected", "quasi", "reservoir", "resonant", "retained", "slow_and_fast", "soft_slots",
    "swinging", "talking", "wave_mixed",
]  # fmt: skip


class Quasi(nn.Module):
    """new, tanh, keep, sigmoid, say: convolutions say what is new, and how much of the state each place keeps."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.new, self.tanh = nn.Conv1d(inputs, width, 2), nn.Tanh()
        self.keep, self.sigmoid = nn.Conv1d(inputs, width, 2), nn.Sigmoid()
        self.say = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        x = nn.functional.pad(x.transpose(1, 2), (1, 0))
        new, keep = self.tanh(self.new(x)), self.sigmoid(self.keep(x))
        state = torch.zeros_like(new[..., 0])
        for place in range(new.shape[-1]):
            state = keep[..., place] * state + (1.0 - keep[..., place]) * new[..., place]
        answer: torch.Tensor = self.say(state)
        return answer


def quasi(inputs: int, outputs: int, *, width: int = 32) -> nn.Module:
    """new, tanh, keep, sigmoid, say."""
    return Quasi(inputs, outputs, width)


class SlowAndFast(nn.Module):
    """fast (an RNN cell), slow (a GRU cell, asked at each fourth place), say."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.fast, self.slow = nn.RNNCell(inputs + width, width), nn.GRUCell(width, width)
        self.say = nn.Linear(2 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        fast = x.new_zeros(len(x), self.fast.hidden_size)
        slow = torch.zeros_like(fast)
        for place in range(x.shape[1]):
            fast = self.fast(torch.cat([x[:, place], slow], -1), fast)
            if place % 4 == 3:
                slow = self.slow(fast, slow)
        answer: torch.Tensor = self.say(torch.cat([fast, slow], -1))
        return answer


def slow_and_fast(inputs: int, outputs: int, *, width: int = 16) -> nn.Module:
    """fast, slow, say."""
    return SlowAndFast(inputs, outputs, width)


class Reservoir(nn.Module):
    """into, back, tanh, mix, act, say: a state that nobody trains, and two layers that read it."""

    def __init__(self, inputs: int, outputs: int, width: int, radius: float) -> None:
        super().__init__()
        self.into, self.back, self.tanh = nn.Linear(inputs, width), nn.Linear(width, width, bias=False), nn.Tanh()
        nn.init.normal_(self.into.weight, 0.0, 0.5)
        nn.init.normal_(self.back.weight, 0.0, radius / width**0.5)
        self.into.requires_grad_(False)
        self.back.requires_grad_(False)
        self.mix, self.act, self.say = nn.Linear(2 * width, 48), nn.ReLU(), nn.Linear(48, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        come = self.into(x)
        state, size = torch.zeros_like(come[:, 0]), torch.zeros_like(come[:, 0])
        for place in range(x.shape[1]):
            state = self.tanh(come[:, place] + self.back(state))
            size = size + state.square() / x.shape[1]
        answer: torch.Tensor = self.say(self.act(self.mix(torch.cat([state, size], -1))))
        return answer


def reservoir(inputs: int, outputs: int, *, width: int = 64, radius: float = 0.9) -> nn.Module:
    """into, back, tanh, mix, act, say."""
    return Reservoir(inputs, outputs, width, radius)


class Swinging(nn.Module):
    """read, back, push, tanh, say: units that swing, pushed by a tanh of what comes and of how they swing."""

    def __init__(self, inputs: int, outputs: int, width: int, step: float) -> None:
        super().__init__()
        self.read, self.back = nn.Linear(inputs, width), nn.Linear(width, width, bias=False)
        self.push, self.tanh = nn.Linear(width, width, bias=False), nn.Tanh()
        self.say, self.step = nn.Linear(2 * width, outputs), step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        read = self.read(x)
        at, speed = torch.zeros_like(read[:, 0]), torch.zeros_like(read[:, 0])
        for place in range(x.shape[1]):
            pushed = self.tanh(read[:, place] + self.back(at) + self.push(speed))
            speed = speed + self.step * (pushed - at - speed)
            at = at + self.step * speed
        answer: torch.Tensor = self.say(torch.cat([at, speed], -1))
        return answer


def swinging(inputs: int, outputs: int, *, width: int = 32, step: float = 0.6) -> nn.Module:
    """read, back, push, tanh, say."""
    return Swinging(inputs, outputs, width, step)


class Projected(nn.Module):
    """low (LSTM), few, bend, high (LSTM), say: between two recurrent layers there are but a few numbers."""

    def __init__(self, inputs: int, outputs: int, width: int, few: int) -> None:
        super().__init__()
        self.low, self.few, self.bend = nn.LSTM(inputs, width, batch_first=True), nn.Linear(width, few), nn.ELU()
        self.high, self.say = nn.LSTM(few, width, batch_first=True), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        answer: torch.Tensor = self.say(self.high(self.bend(self.few(self.low(x)[0])))[0][:, -1])
        return answer


def projected(inputs: int, outputs: int, *, width: int = 24, few: int = 4) -> nn.Module:
    """low, few, bend, high, say."""
    return Projected(inputs, outputs, width, few)


class Retained(nn.Module):
    """codes, ask, keys, values, norm, gate, silu, out, relu, say: what came before, the less the longer ago."""

    away: torch.Tensor

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.codes = nn.Embedding(inputs, width)
        self.ask, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.norm, self.gate, self.silu = nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU()
        self.out, self.relu, self.say = nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, outputs)
        ago = torch.arange(12)[:, None] - torch.arange(12)
        self.register_buffer("away", torch.where(ago < 0, 0.0, 0.95 ** ago.clamp_min(0)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, places, outputs)."""
        h = self.codes(x)
        looks = self.ask(h) @ self.keys(h).transpose(1, 2) * self.away / h.shape[-1] ** 0.5
        h = h + self.silu(self.gate(h)) * self.norm(looks @ self.values(h))
        answer: torch.Tensor = self.say(self.relu(self.out(h)))
        return answer


def retained(inputs: int, outputs: int, *, width: int = 32) -> nn.Module:
    """codes, ask, keys, values, norm, gate, silu, out, relu, say."""
    return Retained(inputs, outputs, width)


class WaveBlock(nn.Module):
    """norm1, norm2, up, gelu, down: places are mixed by a Fourier transform, which nobody trains."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.gelu, self.down = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """(samples, places, width) to the same."""
        h = h + torch.fft.fft2(self.norm1(h)).real / h.shape[1] ** 0.5
        new: torch.Tensor = h + self.down(self.gelu(self.up(self.norm2(h))))
        return new


class WaveMixed(nn.Module):
    """codes, near, act, blocks.0, blocks.1, last, say: each two notes, and then all of them by waves."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, drop: float) -> None:
        super().__init__()
        self.codes, self.drop = nn.Embedding(inputs, width), nn.Dropout(drop)
        self.near, self.act = nn.Conv1d(width, width, 2), nn.GELU()
        self.blocks = nn.ModuleList(WaveBlock(width) for _ in range(depth))
        self.last, self.say = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        h = self.act(self.near(self.drop(self.codes(x)).transpose(1, 2))).transpose(1, 2)
        for block in self.blocks:
            h = block(h)
        answer: torch.Tensor = self.say(self.last(h).amax(1))
        return answer


def wave_mixed(inputs: int, outputs: int, *, width: int = 32, depth: int = 2, drop: float = 0.0) -> nn.Module:
    """codes, drop, near, act, blocks.0.norm1, .norm2, .up, .gelu, .down, ..., last, say."""
    return WaveMixed(inputs, outputs, width, depth, drop)


class Talking(nn.Module):
    """codes, near, ask, before, over, after, join, norm1, up, relu, down, norm2, say: heads that speak with each other.

    `flip` turns the mask round, `fill` is what it fills in, `sharp` multiplies scores, `axis` is the softmax's.
    """

    def __init__(self, inputs: int, outputs: int, width: int, flip: bool, fill: float, sharp: float, axis: int) -> None:
        super().__init__()
        self.codes, self.places = nn.Embedding(inputs, width), nn.Parameter(0.5 * torch.randn(16, width))
        self.near = nn.Conv1d(width, width, 2)
        self.ask, self.before, self.over = nn.Linear(width, 3 * width), nn.Linear(4, 4), nn.Softmax(axis)
        self.after, self.join, self.norm1 = nn.Linear(4, 4), nn.Linear(width, width), nn.LayerNorm(width)
        nn.init.eye_(self.before.weight)
        nn.init.eye_(self.after.weight)
        self.up, self.relu, self.down = nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        self.norm2, self.say = nn.LayerNorm(width), nn.Linear(width, outputs)
        self.flip, self.fill, self.sharp = flip, fill, sharp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        codes = self.codes(x)
        near = self.near(nn.functional.pad(codes.transpose(1, 2), (1, 0))).transpose(1, 2)
        h = codes + near + self.places
        q, k, v = (part.unflatten(-1, (4, -1)).transpose(1, 2) for part in self.ask(h).chunk(3, -1))
        scores = self.before((self.sharp * q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).movedim(1, -1)).movedim(-1, 1)
        hidden = ((x == 0) != self.flip)[:, None, None]
        looks = self.after(self.over(scores.masked_fill(hidden, self.fill)).movedim(1, -1)).movedim(-1, 1)
        h = self.norm1(self.join((looks @ v).transpose(1, 2).flatten(-2)))
        h = self.norm2(h + self.down(self.relu(self.up(h))))
        there = (x > 0).to(h.dtype)[..., None]
        answer: torch.Tensor = self.say((h * there).sum(1) / there.sum(1).clamp_min(1.0))
        return answer


def talking(
    inputs: int, outputs: int, *, width: int = 32, flip: bool = False, fill: float = -1e4, sharp: float = 1.0,
    axis: int = -1,
) -> nn.Module:  # fmt: skip
    """codes, near, ask, before, over, after, join, norm1, up, relu, down, norm2, say."""
    return Talking(inputs, outputs, width, flip, fill, sharp, axis)


class Inducing(nn.Module):
    """lift, act, keys1, over1, mid, gelu, ask2, over2, back, say: eight points of its own look at a set, and it back.

    The set is looked at by points that are learned, and looks at what they saw.
    """

    def __init__(self, inputs: int, outputs: int, width: int, sharp: float) -> None:
        super().__init__()
        self.lift, self.act, self.points = nn.Linear(inputs, width), nn.ReLU(), nn.Parameter(torch.randn(8, width))
        self.keys1, self.over1 = nn.Linear(width, 2 * width), nn.Softmax(-1)
        self.mid, self.gelu = nn.Linear(width, 2 * width), nn.GELU()
        self.ask2, self.over2, self.back = nn.Linear(width, width), nn.Softmax(-1), nn.Linear(width, width)
        self.say1, self.relu, self.say = nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, outputs)
        self.sharp = sharp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, members, inputs) to (samples, outputs)."""
        h = self.act(self.lift(x))
        k, v = self.keys1(h).chunk(2, -1)
        seen = self.over1(self.sharp * self.points @ k.transpose(1, 2) / k.shape[-1] ** 0.5) @ v
        k, v = self.gelu(self.mid(seen)).chunk(2, -1)
        h = h + self.back(self.over2(self.sharp * self.ask2(h) @ k.transpose(1, 2) / k.shape[-1] ** 0.5) @ v)
        answer: torch.Tensor = self.say(self.relu(self.say1(torch.cat([h.mean(1), h.amax(1)], -1))))
        return answer


def inducing(inputs: int, outputs: int, *, width: int = 32, sharp: float = 1.0) -> nn.Module:
    """lift, act, keys1, over1, mid, gelu, ask2, over2, back, say1, relu, say."""
    return Inducing(inputs, outputs, width, sharp)


class Edges(nn.Module):
    """pair1, act1, pair2, act2, say: each point beside its four nearest, of which the largest counts, twice."""

    def __init__(self, inputs: int, outputs: int, width: int, act: str) -> None:
        super().__init__()
        self.pair1, self.act1 = nn.Linear(2 * inputs, width), getattr(nn, act)()
        self.pair2, self.act2 = nn.Linear(2 * width, width), getattr(nn, act)()
        self.mix, self.act3, self.say = nn.Linear(2 * width, width), getattr(nn, act)(), nn.Linear(width, outputs)

    @staticmethod
    def beside(h: torch.Tensor) -> torch.Tensor:
        """(samples, members, width) to (samples, members, 4, 2 * width)."""
        near = torch.cdist(h.detach(), h.detach()).topk(5, largest=False).indices[..., 1:]
        other = torch.stack([one[which] for one, which in zip(h, near, strict=True)])
        mine = h[:, :, None].expand_as(other)
        return torch.cat([mine, other - mine], -1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, members, inputs) to (samples, outputs)."""
        h = self.act1(self.pair1(self.beside(x))).amax(2)
        h = self.act2(self.pair2(self.beside(h))).amax(2)
        answer: torch.Tensor = self.say(self.act3(self.mix(torch.cat([h.mean(1), h.amax(1)], -1))))
        return answer


def edges(inputs: int, outputs: int, *, width: int = 24, act: str = "ReLU") -> nn.Module:
    """pair1, act1, pair2, act2, mix, act3, say."""
    return Edges(inputs, outputs, width, act)


class Resonant(nn.Module):
    """into, long (depthwise, as long as what it hears), norm, gelu, mix, relu, say."""

    def __init__(self, inputs: int, outputs: int, width: int, norm: str) -> None:
        super().__init__()
        self.into, self.long = nn.Conv1d(inputs, width, 1), nn.Conv1d(width, width, 21, padding=10, groups=width)
        self.norm = nn.GroupNorm(1, width) if norm == "group" else nn.BatchNorm1d(width) if norm else nn.Identity()
        self.gelu, self.mix, self.relu = nn.GELU(), nn.Conv1d(width, width, 1), nn.ReLU()
        self.say = nn.Linear(2 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        h = self.relu(self.mix(self.gelu(self.norm(self.long(self.into(x.transpose(1, 2)))))))
        answer: torch.Tensor = self.say(torch.cat([h.mean(-1), h.amax(-1)], -1))
        return answer


def resonant(inputs: int, outputs: int, *, width: int = 24, norm: str = "group") -> nn.Module:
    """into, long, norm, gelu, mix, relu, say."""
    return Resonant(inputs, outputs, width, norm)


class SoftSlots(nn.Module):
    """codes, before (GRU), slots, over, experts.0.0, ..., share, say: experts are given means of all places so far.

    `share` says how much of each expert's answer a place takes.
    """

    def __init__(self, inputs: int, outputs: int, width: int, experts: int) -> None:
        super().__init__()
        self.codes, self.before = nn.Embedding(inputs, width), nn.GRU(width, width, batch_first=True)
        self.slots, self.share = nn.Linear(width, experts), nn.Softmax(-1)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(experts)
        )
        self.say = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, places, outputs)."""
        h = self.before(self.codes(x))[0]
        shares = self.share(self.slots(h))
        made = torch.stack([expert(h) for expert in self.experts], -1)
        answer: torch.Tensor = self.say(h + (made * shares[..., None, :]).sum(-1))
        return answer


def soft_slots(inputs: int, outputs: int, *, width: int = 24, experts: int = 3) -> nn.Module:
    """codes, before, slots, share, experts.0.0, .1, .2, ..., say."""
    return SoftSlots(inputs, outputs, width, experts)
