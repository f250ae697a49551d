"""Networks of features, codes and sets of the sixth part (held out until 2026-12-01)."""

import torch
from torch import nn

__all__ = [
    "committee", "doors_of_halves", "forked", "gated_sets", "hats", "levelled", "pillars", "relations", "thin",
    "three_tables", "two_says",
]  # fmt: skip


def pillars(inputs: int, outputs: int, *, width: int = 40, depth: int = 3, norm: str = "batch", act: str = "ReLU",
            drop: float = 0.0) -> nn.Module:  # fmt: skip
    """flat1, norm1, act1, drop1, flat2, ..., top: linear, a norm ("batch", "layer" or ""), an activation, dropout."""
    net = nn.Sequential()
    for i in range(1, depth + 1):
        net.add_module(f"flat{i}", nn.Linear(inputs if i == 1 else width, width))
        if norm:
            net.add_module(f"norm{i}", nn.BatchNorm1d(width) if norm == "batch" else nn.LayerNorm(width))
        net.add_module(f"act{i}", getattr(nn, act)())
        if drop:
            net.add_module(f"drop{i}", nn.Dropout(drop))
    net.add_module("top", nn.Linear(width, outputs))
    return net


class Forked(nn.Module):
    """straight; down, tanh, down2, tanh2, end: a linear path and a bent one, whose answers are summed."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.straight = nn.Linear(inputs, outputs)
        self.down, self.tanh = nn.Linear(inputs, width), nn.Tanh()
        self.down2, self.tanh2, self.end = nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        bent: torch.Tensor = self.end(self.tanh2(self.down2(self.tanh(self.down(x)))))
        answer: torch.Tensor = bent + self.straight(x)
        return answer


def forked(inputs: int, outputs: int, *, width: int = 40) -> nn.Module:
    """straight; down, tanh, down2, tanh2, end."""
    return Forked(inputs, outputs, width)


def doors_of_halves(inputs: int, outputs: int, *, width: int = 40, depth: int = 2) -> nn.Module:
    """wide1, glu1, wide2, glu2, ..., top: a half of each layer gates the other."""
    net = nn.Sequential()
    for i in range(1, depth + 1):
        net.add_module(f"wide{i}", nn.Linear(inputs if i == 1 else width, 2 * width))
        net.add_module(f"glu{i}", nn.GLU())
    net.add_module("top", nn.Linear(width, outputs))
    return net


class Hats(nn.Module):
    """peaks, mix, level, bend, top: each feature by hats at nine places, and a layer on top."""

    places: torch.Tensor

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.register_buffer("places", torch.linspace(-2.0, 2.0, 9))
        self.peaks, self.mix = nn.ReLU(), nn.Linear(9 * inputs, width)
        self.level, self.bend, self.top = nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        hats = self.peaks(1.0 - 2.0 * (x[..., None] - self.places).abs()).flatten(1)
        answer: torch.Tensor = self.top(self.bend(self.level(self.mix(hats))))
        return answer


def hats(inputs: int, outputs: int, *, width: int = 48) -> nn.Module:
    """peaks, mix, level, bend, top."""
    return Hats(inputs, outputs, width)


def thin(inputs: int, outputs: int, *, width: int = 48, rank: int = 10, depth: int = 2, act: str = "Hardswish"
         ) -> nn.Module:  # fmt: skip
    """in1, out1, act1, in2, ..., top: each layer is a product of two thin ones."""
    net = nn.Sequential()
    for i in range(1, depth + 1):
        net.add_module(f"in{i}", nn.Linear(inputs if i == 1 else width, rank, bias=False))
        net.add_module(f"out{i}", nn.Linear(rank, width))
        net.add_module(f"act{i}", getattr(nn, act)())
    net.add_module("top", nn.Linear(width, outputs))
    return net


class TwoSays(nn.Module):
    """base1, relu1, base2, relu2, worth, better: what all answers are worth, and what each is above the mean."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.base1, self.relu1 = nn.Linear(inputs, width), nn.ReLU()
        self.base2, self.relu2 = nn.Linear(width, width), nn.ReLU()
        self.worth, self.better = nn.Linear(width, 1), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h = self.relu2(self.base2(self.relu1(self.base1(x))))
        better = self.better(h)
        answer: torch.Tensor = self.worth(h) + better - better.mean(-1, keepdim=True)
        return answer


def two_says(inputs: int, outputs: int, *, width: int = 48) -> nn.Module:
    """base1, relu1, base2, relu2, worth, better."""
    return TwoSays(inputs, outputs, width)


class Levelled(nn.Module):
    """lift, steps.0.(norm, up, gelu, down), ..., last, top: residual steps, each times a small learned scale."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, small: float) -> None:
        super().__init__()
        self.lift = nn.Linear(inputs, width)
        self.steps = nn.ModuleList(
            nn.ModuleDict({
                "norm": nn.RMSNorm(width), "up": nn.Linear(width, 2 * width), "gelu": nn.GELU(),
                "down": nn.Linear(2 * width, width),
            })
            for _ in range(depth)
        )  # fmt: skip
        self.small = nn.Parameter(torch.full((depth, width), small))
        self.last, self.top = nn.RMSNorm(width), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h = self.lift(x)
        for step, small in zip(self.steps, self.small, strict=True):
            assert isinstance(step, nn.ModuleDict)
            h = h + small * step["down"](step["gelu"](step["up"](step["norm"](h))))
        answer: torch.Tensor = self.top(self.last(h))
        return answer


def levelled(inputs: int, outputs: int, *, width: int = 32, depth: int = 3, small: float = 0.3) -> nn.Module:
    """lift, steps.0.norm, steps.0.up, steps.0.gelu, steps.0.down, ..., last, top."""
    return Levelled(inputs, outputs, width, depth, small)


class Committee(nn.Module):
    """first, elu, second, by five members at once; their answers are averaged."""

    def __init__(self, inputs: int, outputs: int, width: int, members: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, width), nn.ELU(), nn.Linear(width, outputs)) for _ in range(members)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        answer: torch.Tensor = torch.stack([member(x) for member in self.members]).mean(0)
        return answer


def committee(inputs: int, outputs: int, *, width: int = 24, members: int = 4) -> nn.Module:
    """members.0.0, members.0.1, members.0.2, members.1.0, ..."""
    return Committee(inputs, outputs, width, members)


class ThreeTables(nn.Module):
    """who, mix, act, top: codes of three symbols side by side, from one table."""

    def __init__(self, inputs: int, outputs: int, width: int, std: float) -> None:
        super().__init__()
        self.codes = nn.Embedding(inputs, width)
        nn.init.normal_(self.codes.weight, 0.0, std)
        self.mix, self.act, self.top = nn.Linear(3 * width, 32), nn.LeakyReLU(), nn.Linear(32, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 3) to (samples, outputs)."""
        answer: torch.Tensor = self.top(self.act(self.mix(self.codes(x).flatten(1))))
        return answer


def three_tables(inputs: int, outputs: int, *, width: int = 8, std: float = 0.5) -> nn.Module:
    """codes, mix, act, top."""
    return ThreeTables(inputs, outputs, width, std)


class GatedSets(nn.Module):
    """each1, act1, each2, gate, sigmoid, top1, act2, top2: gated codes of a set's members, summed and at most."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.each1, self.act1, self.each2 = nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width)
        self.gate, self.sigmoid = nn.Linear(width, width), nn.Sigmoid()
        self.top1, self.act2, self.top2 = nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, members, inputs) to (samples, outputs)."""
        h = self.act1(self.each1(x))
        h = self.each2(h) * self.sigmoid(self.gate(h))
        answer: torch.Tensor = self.top2(self.act2(self.top1(torch.cat([h.mean(1), h.amax(1)], -1))))
        return answer


def gated_sets(inputs: int, outputs: int, *, width: int = 32) -> nn.Module:
    """each1, act1, each2, gate, sigmoid, top1, act2, top2."""
    return GatedSets(inputs, outputs, width)


class Relations(nn.Module):
    """pair1, relu1, pair2, relu2, say1, relu3, say2: each member beside each other, and the mean of what is seen."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.pair1, self.relu1 = nn.Linear(2 * inputs, width), nn.ReLU()
        self.pair2, self.relu2 = nn.Linear(width, width), nn.ReLU()
        self.say1, self.relu3, self.say2 = nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, members, inputs) to (samples, outputs)."""
        x = x[:, ::2]
        many = x.shape[1]
        both = torch.cat([x[:, :, None].expand(-1, -1, many, -1), x[:, None].expand(-1, many, -1, -1)], -1)
        seen = self.relu2(self.pair2(self.relu1(self.pair1(both.flatten(1, 2)))))
        answer: torch.Tensor = self.say2(self.relu3(self.say1(torch.cat([seen.mean(1), seen.amax(1)], -1))))
        return answer


def relations(inputs: int, outputs: int, *, width: int = 32) -> nn.Module:
    """pair1, relu1, pair2, relu2, say1, relu3, say2."""
    return Relations(inputs, outputs, width)
