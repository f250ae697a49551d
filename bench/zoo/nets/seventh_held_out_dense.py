"""Held out: networks of features and codes of the seventh part."""

import itertools

import torch
from torch import nn

__all__ = [
    "bagged", "both_sides", "half_lost", "hashed", "likeness", "long_way", "meeting", "narrow_way", "powers", "settled",
    "shrunk", "signs_only", "sorted_pairs", "valley",
]  # fmt: skip


class Sides(nn.Module):
    """What is above zero, and what is below it: twice as many features."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width) to (samples, 2 * width)."""
        return torch.cat([x.clamp_min(0.0), (-x).clamp_min(0.0)], -1)


def both_sides(inputs: int, outputs: int, *, width: int = 20, depth: int = 2) -> nn.Module:
    """lay1, sides1, lay2, sides2, ..., say: both halves of each feature go on."""
    net = nn.Sequential()
    for i in range(1, depth + 1):
        net.add_module(f"lay{i}", nn.Linear(inputs if i == 1 else 2 * width, width))
        net.add_module(f"sides{i}", Sides())
    net.add_module("say", nn.Linear(2 * width, outputs))
    return net


class Settled(nn.Module):
    """feed, back and tanh several times, say: a state that comes to rest."""

    def __init__(self, inputs: int, outputs: int, width: int, gain: float, times: int) -> None:
        super().__init__()
        self.feed, self.back, self.tanh = nn.Linear(inputs, width), nn.Linear(width, width, bias=False), nn.Tanh()
        nn.init.orthogonal_(self.back.weight, gain)
        self.say, self.times = nn.Linear(width, outputs), times

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        fed = self.feed(x)
        rest = self.tanh(fed)
        for _ in range(self.times):
            rest = self.tanh(fed + self.back(rest))
        answer: torch.Tensor = self.say(rest)
        return answer


def settled(inputs: int, outputs: int, *, width: int = 36, gain: float = 0.6, times: int = 5) -> nn.Module:
    """feed, back, tanh, say."""
    return Settled(inputs, outputs, width, gain, times)


class Sort(nn.Module):
    """Each two features in order: the larger one, and the smaller one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width) to the same."""
        pairs: torch.Tensor = x.unflatten(-1, (-1, 2))
        return pairs.sort(-1).values.flatten(-2)


def sorted_pairs(inputs: int, outputs: int, *, width: int = 48, depth: int = 2) -> nn.Module:
    """lin1, sort1, lin2, sort2, ..., say: no feature is ever lost."""
    net = nn.Sequential()
    for i in range(1, depth + 1):
        net.add_module(f"lin{i}", nn.Linear(inputs if i == 1 else width, width))
        net.add_module(f"sort{i}", Sort())
    net.add_module("say", nn.Linear(width, outputs))
    return net


class Valley(nn.Module):
    """down1, act1, down2, act2, low, act3, up2, act4, up1, act5, say: narrower, wider again, added to what was."""

    def __init__(self, inputs: int, outputs: int, width: int, cut: bool) -> None:
        super().__init__()
        self.down1, self.act1 = nn.Linear(inputs, width), nn.LeakyReLU(0.1)
        self.down2, self.act2 = nn.Linear(width, width // 2), nn.LeakyReLU(0.1)
        self.low, self.act3 = nn.Linear(width // 2, width // 4), nn.LeakyReLU(0.1)
        self.up2, self.act4 = nn.Linear(width // 4, width // 2), nn.LeakyReLU(0.1)
        self.up1, self.act5 = nn.Linear(width // 2, width), nn.LeakyReLU(0.1)
        self.say, self.cut = nn.Linear(width, outputs), cut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        one = self.act1(self.down1(x))
        two = self.act2(self.down2(one))
        low = self.act3(self.low(two))
        two = two + self.act4(self.up2(low))
        one = one + self.act5(self.up1(two))
        answer: torch.Tensor = self.say(one.detach() if self.cut else one)
        return answer


def valley(inputs: int, outputs: int, *, width: int = 40, cut: bool = False) -> nn.Module:
    """down1, act1, down2, act2, low, act3, up2, act4, up1, act5, say."""
    return Valley(inputs, outputs, width, cut)


def half_lost(inputs: int, outputs: int, *, width: int = 160, drop: float = 0.6, norm: str = "", last: float = 0.0
              ) -> nn.Module:  # fmt: skip
    """wide1, norm1, act1, drop1, wide2, ..., say, gone: heavy dropout; the norm before or "after" it."""
    net = nn.Sequential()
    for i in (1, 2):
        net.add_module(f"wide{i}", nn.Linear(inputs if i == 1 else width, width))
        if norm == "before":
            net.add_module(f"norm{i}", nn.BatchNorm1d(width))
        net.add_module(f"act{i}", nn.ReLU())
        net.add_module(f"drop{i}", nn.Dropout(drop))
        if norm == "after":
            net.add_module(f"norm{i}", nn.BatchNorm1d(width))
    net.add_module("say", nn.Linear(width, outputs))
    if last:
        net.add_module("gone", nn.Dropout(last))
    return net


def narrow_way(inputs: int, outputs: int, *, sizes: tuple[int, ...] = (7, 5), act: str = "Tanh") -> nn.Module:
    """in1, bend1, in2, bend2, ..., say: a handful of units."""
    net = nn.Sequential()
    for i, (a, b) in enumerate(itertools.pairwise((inputs, *sizes)), 1):
        net.add_module(f"in{i}", nn.Linear(a, b))
        net.add_module(f"bend{i}", getattr(nn, act)())
    net.add_module("say", nn.Linear(sizes[-1], outputs))
    return net


def long_way(inputs: int, outputs: int, *, width: int = 32, depth: int = 14, act: str = "ReLU", gain: float = 2.0**0.5
             ) -> nn.Module:  # fmt: skip
    """hop1, act1, hop2, act2, ..., say: many layers and no norm, with weights that suit their depth."""
    net = nn.Sequential()
    for i in range(1, depth + 1):
        hop = nn.Linear(inputs if i == 1 else width, width)
        nn.init.orthogonal_(hop.weight, gain)
        nn.init.zeros_(hop.bias)
        net.add_module(f"hop{i}", hop)
        net.add_module(f"act{i}", getattr(nn, act)())
    net.add_module("say", nn.Linear(width, outputs))
    return net


class Near(nn.Module):
    """Minus the squared distances from some places, or the distances themselves."""

    def __init__(self, width: int, count: int, root: bool) -> None:
        super().__init__()
        self.places, self.root = nn.Parameter(0.5 * torch.randn(count, width)), root

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width) to (samples, count)."""
        away = (x[:, None] - self.places).square().sum(-1)
        return -away.sqrt() if self.root else -away


def likeness(inputs: int, outputs: int, *, width: int = 40, code: int = 6, root: bool = False) -> nn.Module:
    """enc1, act1, enc2, near: which of some places is the nearest?"""
    net = nn.Sequential()
    net.add_module("enc1", nn.Linear(inputs, width))
    net.add_module("act1", nn.SiLU())
    net.add_module("enc2", nn.Linear(width, code))
    net.add_module("near", Near(code, outputs, root))
    return net


class Shrunk(nn.Module):
    """read, back and shrink several times, say: a code most of which is zero."""

    def __init__(self, inputs: int, outputs: int, width: int, least: float) -> None:
        super().__init__()
        self.read, self.back, self.shrink = nn.Linear(inputs, width), nn.Linear(width, width), nn.Softshrink(least)
        nn.init.normal_(self.back.weight, 0.0, 0.3 / width**0.5)
        self.say = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        read = self.read(x)
        code = self.shrink(read)
        for _ in range(3):
            code = self.shrink(read + self.back(code))
        answer: torch.Tensor = self.say(code)
        return answer


def shrunk(inputs: int, outputs: int, *, width: int = 64, least: float = 0.6) -> nn.Module:
    """read, back, shrink, say."""
    return Shrunk(inputs, outputs, width, least)


class Powers(nn.Module):
    """first, times.0, times.1, ..., say: products of linear maps of the same features."""

    def __init__(self, inputs: int, outputs: int, width: int, degree: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.times = nn.ModuleList(nn.Linear(inputs, width) for _ in range(degree - 1))
        self.say = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        power = self.first(x)
        for times in self.times:
            power = power + power * times(x)
        answer: torch.Tensor = self.say(power)
        return answer


def powers(inputs: int, outputs: int, *, width: int = 40, degree: int = 3) -> nn.Module:
    """first, times.0, times.1, ..., say."""
    return Powers(inputs, outputs, width, degree)


class Sign(nn.Module):
    """-1 or 1; gradients pass where what came in is between them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same."""
        soft = x.clamp(-1.0, 1.0)
        return soft + (torch.where(x < 0, -1.0, 1.0) - soft).detach()


def signs_only(inputs: int, outputs: int, *, width: int = 96) -> nn.Module:
    """lin1, norm1, sign1, lin2, norm2, sign2, say: units that know two numbers."""
    net = nn.Sequential()
    for i in (1, 2):
        net.add_module(f"lin{i}", nn.Linear(inputs if i == 1 else width, width))
        net.add_module(f"norm{i}", nn.BatchNorm1d(width))
        net.add_module(f"sign{i}", Sign())
    net.add_module("say", nn.Linear(width, outputs))
    return net


class Bagged(nn.Module):
    """bag (one table for all columns, summed), norm, act, say."""

    def __init__(self, inputs: int, outputs: int, width: int, drop: float) -> None:
        super().__init__()
        self.bag, self.norm, self.act = nn.EmbeddingBag(inputs, width, mode="sum"), nn.LayerNorm(width), nn.GELU()
        self.drop, self.say = nn.Dropout(drop), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, columns) to (samples, outputs)."""
        answer: torch.Tensor = self.say(self.act(self.norm(self.drop(self.bag(x)))))
        return answer


def bagged(inputs: int, outputs: int, *, width: int = 12, drop: float = 0.1) -> nn.Module:
    """bag, drop, norm, act, say."""
    return Bagged(inputs, outputs, width, drop)


class Meeting(nn.Module):
    """codes, top1, act, top2: how the codes of each two columns go together, beside their sum."""

    def __init__(self, inputs: int, outputs: int, width: int, std: float) -> None:
        super().__init__()
        self.codes = nn.Embedding(inputs, width)
        nn.init.normal_(self.codes.weight, 0.0, std)
        self.top1, self.act, self.top2 = nn.Linear(10 + width, 24), nn.ReLU(), nn.Linear(24, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 5) to (samples, outputs)."""
        codes = self.codes(x)
        one, other = torch.triu_indices(5, 5, 1)
        met = (codes @ codes.transpose(1, 2))[:, one, other]
        answer: torch.Tensor = self.top2(self.act(self.top1(torch.cat([met, codes.sum(1)], -1))))
        return answer


def meeting(inputs: int, outputs: int, *, width: int = 8, std: float = 0.4) -> nn.Module:
    """codes, top1, act, top2."""
    return Meeting(inputs, outputs, width, std)


class Hashed(nn.Module):
    """one, other (tables that symbols share, each in its own way), act, say."""

    def __init__(self, inputs: int, outputs: int, width: int, rows: int, kept: int) -> None:
        super().__init__()
        self.one, self.other = nn.Embedding(rows, width), nn.Embedding(rows, width)
        self.act, self.say = nn.SiLU(), nn.Linear(5 * width, outputs)
        self.rows, self.kept = rows, kept

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 5) to (samples, outputs)."""
        first, second = (7 * x + 3) % self.rows % self.kept, (x // 3 + 11 * x) % self.rows % self.kept
        answer: torch.Tensor = self.say(self.act((self.one(first) + self.other(second)).flatten(1)))
        return answer


def hashed(inputs: int, outputs: int, *, width: int = 8, rows: int = 31, kept: int = 31) -> nn.Module:
    """one, other, act, say."""
    return Hashed(inputs, outputs, width, rows, kept)
