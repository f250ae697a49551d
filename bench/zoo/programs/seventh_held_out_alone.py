"""Held out: trainings of the seventh part that guess how likely samples are, who is whose, tags, and ties."""

import math
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

from bench.zoo.programs.program import Program
from bench.zoo.programs.seventh_held_out import stack

__all__ = ["KINDS", "Kin", "Knows", "OneByOne", "Tags"]


def _told(right: torch.Tensor, wrong: torch.Tensor) -> float:
    """The share of pairs of which the right one is ahead, from -1 to 1; 0 where scores are not finite."""
    if not bool(right.isfinite().all() and wrong.isfinite().all()):
        return 0.0
    ahead = right[:, None] - wrong
    return float((ahead > 0).float().mean() - (ahead < 0).float().mean())


class MaskedLinear(nn.Linear):
    """A linear layer some of whose weights are zero for good."""

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        return F.linear(x, self.mask * self.weight, self.bias)


class OneByOne(Program):
    """How likely a sample is, number after number (MADE). Its skill: nats a number above four independent bells."""

    def build(self) -> nn.Module:
        """Options: bound (whether logarithms of deviations are held within three)."""
        generator = torch.Generator().manual_seed(99)
        z = torch.randn(1600, 4, generator=generator)
        x = torch.stack([z[:, 0], z[:, 0] ** 2 + 0.3 * z[:, 1], 0.5 * z[:, 0] + 0.2 * z[:, 2], 0.4 * z[:, 3]], 1)
        x[:, 3] = x[:, 3] + (2.0 * x[:, 0]).sin()
        self.x = (x - x.mean(0)) / x.std(0)
        self.bound = self.it.options.get("bound", True)
        order = torch.arange(48) % 3
        first, second = order[:, None] >= torch.arange(4), order[:, None] >= order
        last = torch.arange(4)[:, None] > order
        net = nn.Sequential()
        net.add_module("lin1", MaskedLinear(first.float()))
        net.add_module("act1", nn.SiLU())
        net.add_module("lin2", MaskedLinear(second.float()))
        net.add_module("act2", nn.SiLU())
        net.add_module("both", MaskedLinear(torch.cat([last, last]).float()))
        return net

    def surprise(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 4) to nats a number."""
        mean, size = self.model(x).chunk(2, -1)
        if self.bound:
            size = 3.0 * (size / 3.0).tanh()
        nats: torch.Tensor = 0.5 * ((x - mean) * (-size).exp()).square() + size + 0.5 * math.log(2.0 * math.pi)
        return nats.mean()

    def loss(self) -> torch.Tensor:
        """The nats of a batch."""
        return self.surprise(self.training.feed(self.x[self.draw(1200)]))

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says, -1 at the least."""
        ahead = 0.5 * (1.0 + math.log(2.0 * math.pi)) - float(self.surprise(self.training.feed(self.x[1200:])))
        return max(ahead, -1.0) if math.isfinite(ahead) else 0.0


class Kin(Program):
    """Who is whose, in thirty people and five ties, as a way from one to the other (TransE). Its skill: pairs told."""

    def build(self) -> nn.Module:
        """Options: least (added before the root of a distance), zero (whether ties begin at zero), std (of people)."""
        generator = torch.Generator().manual_seed(100)
        at = torch.randn(30, 3, generator=generator)
        ways = torch.cat([torch.zeros(1, 3), torch.randn(4, 3, generator=generator)])
        head, tie = torch.randint(30, (1500,), generator=generator), torch.randint(5, (1500,), generator=generator)
        tail = torch.cdist(at[head] + ways[tie], at).argmin(1)
        self.known = torch.stack([head, tie, tail], 1)
        options = {"least": 1e-6, "zero": False, "std": 0.4, **self.it.options}
        self.least = options["least"]
        net = nn.ModuleDict({"people": nn.Embedding(30, 12), "ties": nn.Embedding(5, 12)})
        for name, std in (("people", options["std"]), ("ties", 0.0 if options["zero"] else 0.2)):
            table = net[name]
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, 0.0, std)
        return net

    def away(self, known: torch.Tensor) -> torch.Tensor:
        """(samples, 3) to how far the way leads from where it should."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        known = self.training.feed(known)
        off = net["people"](known[:, 0]) + net["ties"](known[:, 1]) - net["people"](known[:, 2])
        away: torch.Tensor = (off.square().sum(-1) + self.least).sqrt()
        return away

    def loss(self) -> torch.Tensor:
        """By how much the right one is not nearer than another, by one at least."""
        right = self.known[self.draw(1100)]
        wrong = right.clone()
        wrong[:, 2] = torch.randint(30, (len(right),), generator=self.order)
        return F.relu(1.0 + self.away(right) - self.away(wrong)).mean()

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says, from -1 to 1."""
        right = self.known[1100:]
        wrong = right.clone()
        wrong[:, 2] = torch.randint(30, (len(right),), generator=torch.Generator().manual_seed(101))
        told = self.away(wrong) - self.away(right)
        return float(told.sign().mean()) if bool(told.isfinite().all()) else 0.0


class Tags(Program):
    """Which of six rare tags belong to a sample? Its skill: pairs of samples that a tag's score tells apart."""

    def build(self) -> nn.Module:
        """Options: width, plain (whether logarithms are taken of chances, and not of scores)."""
        generator = torch.Generator().manual_seed(102)
        self.x = torch.randn(2400, 10, generator=generator)
        score = self.x[:, :6] * 1.3 + self.x[:, 1:7].abs() - 0.8 * self.x[:, 2:8]
        self.y = (score > score.quantile(0.94, dim=0)).float()
        self.plain = self.it.options.get("plain", False)
        return stack(10, self.it.options.get("width", 48), 32, 6)

    def samples(self) -> torch.Tensor | None:
        """The inputs of the training part."""
        return self.x[:1800]

    def loss(self) -> torch.Tensor:
        """Binary cross entropy of all tags, less of those that are told well (a focal loss)."""
        some = self.draw(1800)
        said, true = self.model(self.training.feed(self.x[some])), self.y[some]
        if self.plain:
            chance = said.sigmoid()
            plain: torch.Tensor = -4.0 * (true * chance.log() + (1.0 - true) * (1.0 - chance).log()).mean()
            return plain
        lost = F.binary_cross_entropy_with_logits(said, true, reduction="none")
        return 4.0 * ((1.0 - (-lost).exp()) * lost).mean()

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says, from -1 to 1."""
        said, true = self.model(self.training.feed(self.x[1800:])), self.y[1800:] > 0
        return sum(_told(said[true[:, i], i], said[~true[:, i], i]) for i in range(6)) / 6.0


class KnowsNet(nn.Module):
    """hops.0, acts.0, hops.1, ..., code: neighbours' means, layer by layer."""

    def __init__(self, near: torch.Tensor, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.near = near
        self.hops = nn.ModuleList(nn.Linear(width if i else inputs, width) for i in range(depth))
        self.acts = nn.ModuleList(nn.ReLU() for _ in range(depth))
        self.code = nn.Linear(width, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(people, inputs) to (people, 12)."""
        for hop, act in zip(self.hops, self.acts, strict=True):
            x = act(hop(self.near @ x))
        codes: torch.Tensor = self.code(x)
        return codes


class Knows(Program):
    """Who else knows whom, of ninety people in six circles (a graph autoencoder)? Its skill: pairs that are told."""

    def build(self) -> nn.Module:
        """Options: width, depth."""
        generator = torch.Generator().manual_seed(103)
        circle = torch.arange(90) % 6
        alike = circle[:, None] == circle
        ties = (torch.rand(90, 90, generator=generator) < torch.where(alike, 0.5, 0.03)).triu(1)
        pairs = ties.nonzero()
        pairs = pairs[torch.randperm(len(pairs), generator=generator)]
        self.known, self.test = pairs[:-90], pairs[-90:]
        near = torch.eye(90)
        near[self.known[:, 0], self.known[:, 1]] = near[self.known[:, 1], self.known[:, 0]] = 1.0
        self.apart = (~(ties | ties.T | torch.eye(90, dtype=torch.bool))).triu(1).nonzero()
        self.x = F.one_hot(circle, 6).float() @ torch.randn(6, 10, generator=generator)
        self.x = 0.6 * self.x + torch.randn(90, 10, generator=generator)
        return KnowsNet(near / near.sum(1, keepdim=True), 10, self.it.options.get("width", 32),
                        self.it.options.get("depth", 2))  # fmt: skip

    def scores(self, codes: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        """(people, 12) and (pairs, 2) to (pairs)."""
        return (codes[pairs[:, 0]] * codes[pairs[:, 1]]).sum(-1)

    def loss(self) -> torch.Tensor:
        """Binary cross entropy of who knows each other, and as many who do not."""
        codes = self.model(self.training.feed(self.x))
        yes, no = self.known[self.draw(len(self.known))], self.apart[self.draw(len(self.apart))]
        return F.softplus(-self.scores(codes, yes)).mean() + F.softplus(self.scores(codes, no)).mean()

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says, from -1 to 1."""
        codes = self.model(self.training.feed(self.x))
        return _told(self.scores(codes, self.test), self.scores(codes, self.apart[:400]))


KINDS: Final = {"one_by_one": "OneByOne", "kin": "Kin", "tags": "Tags", "knows": "Knows"}
