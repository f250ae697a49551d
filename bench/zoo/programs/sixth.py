"""Trainings of the sixth part (held out until 2026-12-01): they rank, outlive, draw, shoot, copy, and share out."""

import itertools
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

from bench.zoo.data import load
from bench.zoo.programs.fourth import Balanced
from bench.zoo.programs.pairs import distance
from bench.zoo.programs.program import Program, explained, spread_of

__all__ = [
    "KINDS", "Archer", "Banded", "Counterfeit", "EvenExperts", "FaintCopies", "NoisySlopes", "Outlived", "Ranked",
    "TwoViews",
]  # fmt: skip


def _stack(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """lin1, act1, lin2, ..., of these sizes."""
    net = nn.Sequential()
    for i, (a, b) in enumerate(itertools.pairwise(sizes), 1):
        net.add_module(f"lin{i}", nn.Linear(a, b))
        if i < len(sizes) - 1:
            net.add_module(f"act{i}", act())
    return net


class EvenExperts(Balanced):
    """One expert for each place beside one for all. Its skill: the task's, or the experts' in use."""

    _even = 0.3

    def unevenness(self, shares: torch.Tensor) -> torch.Tensor:
        """Of the shares, as the network weighs them."""
        return shares.sum() / (self.it.batch * self.task.test[0].shape[1])

    def asked(self) -> int:
        """How many places experts are asked for in the test."""
        return self.task.test[0].numel()


class Ranked(Program):
    """Which of two is better? Learned from pairs alone. Its skill: rank correlation with what they are worth."""

    def build(self) -> nn.Module:
        """Options: width, act."""
        generator = torch.Generator().manual_seed(70)
        self.x = torch.randn(1500, 6, generator=generator)
        self.y = (1.3 * self.x[:, 0]).sin() + self.x[:, 1] * self.x[:, 2] - 0.4 * self.x[:, 3].abs()
        width = self.it.options.get("width", 40)
        return _stack(6, width, width, 1, act=getattr(nn, self.it.options.get("act", "Tanh")))

    def samples(self) -> torch.Tensor | None:
        """The inputs of the training part."""
        return self.x[:1100]

    def loss(self) -> torch.Tensor:
        """Binary cross entropy of the difference of two scores."""
        one, other = self.draw(1100), self.draw(1100)
        ahead = self.model(self.training.feed(self.x[one])) - self.model(self.training.feed(self.x[other]))
        return F.binary_cross_entropy_with_logits(ahead[:, 0], (self.y[one] > self.y[other]).float())

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        said = self.model(self.training.feed(self.x[1100:]))[:, 0]
        if not bool(said.isfinite().all()) or not float(said.std()) > 0:
            return 0.0
        ranks = torch.stack([part.argsort().argsort().float() for part in (said, self.y[1100:])])
        return float(torch.corrcoef(ranks)[0, 1])


class Outlived(Program):
    """Who outlives whom, where some are lost from sight, by a partial likelihood. Its skill: pairs that are right."""

    def build(self) -> nn.Module:
        """Options: width."""
        generator = torch.Generator().manual_seed(71)
        self.x = torch.randn(1500, 5, generator=generator)
        self.risk = self.x[:, 0] * self.x[:, 1] + 0.8 * self.x[:, 2].tanh()
        drawn = torch.empty(1500).exponential_(generator=generator)
        self.time = drawn * (-1.4 * self.risk).exp()
        self.seen = torch.rand(1500, generator=generator) < 0.7
        return _stack(5, self.it.options.get("width", 40), 24, 1, act=nn.SELU)

    def samples(self) -> torch.Tensor | None:
        """The inputs of the training part."""
        return self.x[:1100]

    def loss(self) -> torch.Tensor:
        """Of each who was seen to the end: their risk among those still there."""
        some = self.draw(1100)
        some = some[self.time[some].argsort(descending=True)]
        risk = self.model(self.training.feed(self.x[some]))[:, 0]
        seen = self.seen[some].float()
        loss: torch.Tensor = -((risk - risk.logcumsumexp(0)) * seen).sum() / seen.sum().clamp_min(1.0)
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        said, true = self.model(self.training.feed(self.x[1100:]))[:, 0], self.risk[1100:]
        if not bool(said.isfinite().all()):
            return 0.0
        right = ((said[:, None] - said) * (true[:, None] - true) > 0).float()
        return 2.0 * float(right.sum() / (len(said) * (len(said) - 1))) - 1.0


class Banded(Program):
    """Three quantiles of a river's height, by the pinball loss. Its skill: R² of the middle one."""

    def build(self) -> nn.Module:
        """Options: width, times (of the inputs' first layer)."""
        self.task = load("tank")
        return _stack(5, self.it.options.get("width", 48), 32, 3, act=nn.GELU)

    def samples(self) -> torch.Tensor | None:
        """The inputs of the training part."""
        return self.task.train[0]

    def loss(self) -> torch.Tensor:
        """The pinball loss of a new batch."""
        x, y = self.task.train
        some = self.draw(len(x))
        rest = y[some, :1] - self.model(self.training.feed(x[some]))
        share = torch.tensor([0.1, 0.5, 0.9])
        return torch.maximum(share * rest, (share - 1.0) * rest).mean()

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        x, y = self.task.test
        return explained(self.model(self.training.feed(x))[:, 1:2], y[:, :1])


class NoisySlopes(Program):
    """Which way leads from a point under noise to the ring it came from? Its skill: R² of ways."""

    def build(self) -> nn.Module:
        """Options: width."""
        generator = torch.Generator().manual_seed(72)
        turn = 6.3 * torch.rand(1500, generator=generator)
        self.points = torch.stack([1.6 * turn.cos(), turn.sin()], 1)
        self.size = torch.empty(1500, 1).uniform_(0.1, 0.6, generator=generator)
        self.noise = torch.randn(1500, 2, generator=generator)
        width = self.it.options.get("width", 48)
        return _stack(3, width, width, 2, act=nn.SiLU)

    def given(self, some: torch.Tensor | slice) -> torch.Tensor:
        """What the network sees: a point under noise, and how much of it."""
        blurred = self.points[some] + self.size[some] * self.noise[some]
        return self.training.feed(torch.cat([blurred, self.size[some]], 1))

    def loss(self) -> torch.Tensor:
        """Squared error of the noise."""
        some = self.draw(1100)
        self.noise[some] = torch.randn(len(some), 2, generator=self.order)
        return F.mse_loss(self.model(self.given(some)), self.noise[some])

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says: of noise that can be told at all, about a half."""
        return explained(self.model(self.given(slice(1100, None))), self.noise[1100:])


class Counterfeit(Program):
    """Coins, as points of two heaps, by a forger and a bank. Its skill: the share of the way to the true ones."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: noise (what the forger is given), faster (the bank's rate), turns (of the bank), sure (its loss)."""
        generator = torch.Generator().manual_seed(73)
        heap = torch.randint(2, (1500, 1), generator=generator) * 2.0 - 1.0
        self.points = heap * torch.tensor([[0.9, 0.5]]) + 0.25 * torch.randn(1500, 2, generator=generator) + 0.8
        options = {"noise": 1.0, "faster": 1.0, "turns": 1, "sure": False, **self.it.options}
        self.noise, self.turns, self.sure = options["noise"], options["turns"], options["sure"]
        self.forger, self.bank = _stack(4, 40, 40, 2), _stack(2, 40, 40, 1, act=nn.Tanh)
        self.other = torch.optim.Adam(self.bank.parameters(), self.it.rate * options["faster"], betas=(0.5, 0.9))
        with torch.no_grad():
            self.first = distance(self.forger(torch.randn(400, 4)), self.points[:400])
        return nn.ModuleDict({"forger": self.forger, "bank": self.bank})

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The forger's."""
        return torch.optim.Adam(self.forger.parameters(), self.it.rate, betas=(0.5, 0.9))

    def step(self, step: int) -> float:
        """The bank's turns, then the forger's."""
        for _ in range(self.turns):
            real = self.training.feed(self.points[self.draw(len(self.points))])
            fake = self.forger(self.noise * torch.randn(len(real), 4)).detach()
            loss = F.softplus(-self.bank(real)).mean() + F.softplus(self.bank(fake)).mean()
            self.other.zero_grad()
            loss.backward()
            self.other.step()
        said = self.bank(self.forger(self.noise * torch.randn(self.it.batch, 4)))
        made = -F.softplus(said).mean() if self.sure else F.softplus(-said).mean()
        self.training.optimizer.zero_grad()
        made.backward()
        self.training.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        made = self.forger(self.noise * torch.randn(400, 4))
        return 1.0 - distance(made, self.points[:400]) / self.first if bool(made.isfinite().all()) else 0.0


class Archer(Program):
    """How far to draw a bow, learned by what a shot is worth alone. Its skill: R² of the best draws."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: worth (what rewards are multiplied by), base (whether their mean is taken off)."""
        options = {"worth": 1.0, "base": True, **self.it.options}
        self.worth, self.base = options["worth"], options["base"]
        generator = torch.Generator().manual_seed(74)
        self.x = torch.randn(1200, 4, generator=generator)
        self.best = (0.8 * self.x[:, :1] + 0.5 * self.x[:, 1:2] * self.x[:, 2:3]).tanh()
        return _stack(4, 40, 40, 1, act=nn.Tanh)

    def loss(self) -> torch.Tensor:
        """Minus what draws about the mean are worth, times their likelihood."""
        some = self.draw(900)
        mean = self.model(self.training.feed(self.x[some]))
        draw = (mean + 0.4 * torch.randn(mean.shape, generator=self.order)).detach()
        worth = -self.worth * (draw - self.best[some]).square()
        if self.base:
            worth = (worth - worth.mean()) / (worth.std() + 1e-6)
        loss: torch.Tensor = (0.5 * ((draw - mean) / 0.4).square() * worth).mean()
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        return explained(self.model(self.training.feed(self.x[900:])), self.best[900:])


class FaintNet(nn.Module):
    """in1, act1, in2, act2, mean, spread (logarithms), out1, act3, out2: a variational coder of images."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.in1, self.act1 = nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.SiLU()
        self.in2, self.act2 = nn.Linear(288, 48), nn.SiLU()
        self.mean, self.spread = nn.Linear(48, code), nn.Linear(48, code)
        self.out1, self.act3, self.out2 = nn.Linear(code, 64), nn.SiLU(), nn.Linear(64, 144)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(samples, 1, 12, 12) to copies (samples, 144), means and logarithms of variances."""
        h = self.act2(self.in2(self.act1(self.in1(x)).flatten(1)))
        mean, spread = self.mean(h), self.spread(h)
        code = mean + (0.5 * spread).exp() * torch.randn_like(mean) if self.training else mean
        return self.out2(self.act3(self.out1(code))), mean, spread


class FaintCopies(Program):
    """A variational coder of where seals lie. Its skill: R² of copies from the mean code."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: code, beta (of the divergence)."""
        task = load("seals")
        blur = nn.AvgPool2d(5, 1, 2)
        self.data, self.test = (2.5 * blur(part[0]) for part in (task.train, task.test))
        self.beta = self.it.options.get("beta", 0.01)
        return FaintNet(self.it.options.get("code", 6))

    def loss(self) -> torch.Tensor:
        """Squared error of the copies, and the divergence."""
        x = self.training.feed(self.data[self.draw(len(self.data))])
        copy, mean, spread = self.model(x)
        away = 0.5 * (mean.square() + spread.exp() - 1.0 - spread).sum(1).mean()
        loss: torch.Tensor = F.mse_loss(copy, x.flatten(1)) + self.beta * away
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        self.model.eval()
        copies = self.model(self.training.feed(self.test))[0]
        self.model.train()
        return explained(copies, self.test.flatten(1))


class TwoViews(Program):
    """Two views of a tremor alike, each feature spread out, none like another. Its skill: how codes differ."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: spread (what it counts that features vary)."""
        self.data = load("tremors").train[0].flatten(1)
        self.spread = self.it.options.get("spread", 1.0)
        return _stack(64, 48, 32, 12, act=nn.ReLU)

    def loss(self) -> torch.Tensor:
        """How views differ, how far each feature's deviation is below one, and covariances."""
        x = self.data[self.draw(len(self.data))]
        codes = [self.model(self.training.feed(x + 0.3 * torch.randn(x.shape, generator=self.order))) for _ in "ab"]
        loss: torch.Tensor = F.mse_loss(codes[0], codes[1])
        for code in codes if self.spread else ():
            loss = loss + self.spread * F.relu(1.0 - (code.var(0) + 1e-4).sqrt()).mean()
            both = code.T.cov()
            loss = loss + 0.04 * self.spread * (both.square().sum() - both.diagonal().square().sum()) / len(both)
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        return spread_of(self.model(self.training.feed(self.data[:400])))


KINDS: Final = {
    "even_experts": "EvenExperts",
    "ranked": "Ranked",
    "outlived": "Outlived",
    "banded": "Banded",
    "noisy_slopes": "NoisySlopes",
    "counterfeit": "Counterfeit",
    "archer": "Archer",
    "faint_copies": "FaintCopies",
    "two_views": "TwoViews",
}
