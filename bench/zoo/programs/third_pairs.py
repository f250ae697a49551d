"""Trainings of two networks or of several views of the third part (held out until 2026-11-30)."""

import math
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

from bench.zoo.data import load
from bench.zoo.programs.pairs import distance
from bench.zoo.programs.program import Program, spread_of

__all__ = ["KINDS", "Ring", "Triplets", "Variances"]


class Ring(Program):
    """Eight heaps of points on a ring, by a generator and a critic. Its skill: as `pairs.Adversaries` has it."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: noise (of the generator's input), every (steps from one of the critic's to its next)."""
        generator = torch.Generator().manual_seed(7)
        angle = torch.randint(8, (1500,), generator=generator) * math.pi / 4.0
        heaps = 1.5 * torch.stack([angle.cos(), angle.sin()], 1)
        self.data = heaps + 0.08 * torch.randn(1500, 2, generator=generator)
        options = {"noise": 1.0, "every": 1, **self.it.options}
        self.noise, self.every = options["noise"], options["every"]
        self.generator, self.critic = nn.Sequential(), nn.Sequential()
        for net, sizes in ((self.generator, (8, 48, 48, 2)), (self.critic, (2, 48, 48, 1))):
            for i in range(3):
                net.add_module(f"fc{i + 1}", nn.Linear(sizes[i], sizes[i + 1]))
                if i < 2:
                    net.add_module(f"elu{i + 1}", nn.ELU())
        self.other = torch.optim.Adam(self.critic.parameters(), self.it.rate, betas=(0.5, 0.99))
        with torch.no_grad():
            self.first = distance(self.generator(torch.randn(400, 8)), self.data[:400])
        return nn.ModuleDict({"generator": self.generator, "critic": self.critic})

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The generator's."""
        return torch.optim.Adam(self.generator.parameters(), self.it.rate, betas=(0.5, 0.99))

    def forged(self, count: int) -> torch.Tensor:
        """New points."""
        points: torch.Tensor = self.generator(self.noise * torch.randn(count, 8))
        return points

    def step(self, step: int) -> float:
        """The critic's turn with a hinge, then the generator's."""
        real = self.training.feed(self.data[self.draw(len(self.data))])
        fake = self.forged(self.it.batch)
        judged = F.relu(1.0 - self.critic(real)).mean() + F.relu(1.0 + self.critic(fake.detach())).mean()
        self.other.zero_grad()
        judged.backward()
        if step % self.every == 0:
            self.other.step()
        loss = -self.critic(fake).mean()
        self.training.optimizer.zero_grad()
        loss.backward()
        self.training.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        return 1.0 - distance(self.forged(400), self.data[:400]) / self.first


def _encoder(code: int) -> nn.Sequential:
    """conv1, prelu1, conv2, prelu2, flat, code."""
    net = nn.Sequential()
    net.add_module("conv1", nn.Conv2d(1, 8, 3, stride=2, padding=1))
    net.add_module("prelu1", nn.PReLU())
    net.add_module("conv2", nn.Conv2d(8, 16, 3, stride=2, padding=1))
    net.add_module("prelu2", nn.PReLU())
    net.add_module("flat", nn.Flatten())
    net.add_module("code", nn.Linear(144, code))
    return net


class Variances(Program):
    """VICReg: two views alike, codes of deviation one that go each their own way. Its skill: how codes differ."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: push (how much deviations and covariances count)."""
        self.data = load("glyphs").train[0]
        self.push = self.it.options.get("push", 1.0)
        net = nn.Sequential()
        net.add_module("encoder", _encoder(24))
        net.add_module("act", nn.PReLU())
        net.add_module("expander", nn.Linear(24, 24))
        return net

    def loss(self) -> torch.Tensor:
        """What views differ by, what deviations lack, and covariances."""
        x = self.data[self.draw(len(self.data))]
        a, b = (self.model(self.training.feed(x + 0.3 * torch.randn_like(x))) for _ in range(2))
        loss = F.mse_loss(a, b)
        if self.push:
            for code in (a, b):
                middle = code - code.mean(0)
                spread = (middle.square().mean(0) + 1e-4).sqrt()
                covariance = (middle.T @ middle) / (len(x) - 1)
                apart = (covariance.square().sum() - covariance.diagonal().square().sum()) / covariance.shape[0]
                loss = loss + self.push * (F.relu(1.0 - spread).mean() + 0.04 * apart)
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        return spread_of(self.model(self.data[:400]))


class Triplets(Program):
    """A letter nearer to its like than to another, by a margin. Its skill: letters whose nearest is alike."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: least (added before the root of a distance)."""
        task = load("glyphs")
        self.data, self.test = task.train, task.test
        self.least = self.it.options.get("least", 1e-6)
        return _encoder(12)

    def apart(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Distances of pairs."""
        far: torch.Tensor = ((a - b).square().sum(1) + self.least).sqrt()
        return far

    def loss(self) -> torch.Tensor:
        """The hinge of all triplets."""
        x, y = self.data
        anchor, other = self.draw(len(x)), self.draw(len(x))
        # Another of its letter, or itself by chance.
        like = (torch.rand(len(anchor), len(x), generator=self.order) * (y[anchor, None] == y)).argmax(1)
        a, b, c = (self.model(self.training.feed(x[places])) for places in (anchor, like, other))
        kept = (y[anchor] != y[other]).float()
        return (kept * F.relu(self.apart(a, b) - self.apart(a, c) + 1.0)).mean()

    @torch.no_grad()
    def skill(self) -> float:
        """Seven eighths of the letters are of another kind."""
        known, new = self.model(self.data[0]), self.model(self.test[0])
        if not bool(new.isfinite().all()):
            return 0.0
        hit = self.data[1][torch.cdist(new, known).argmin(1)] == self.test[1]
        return (8.0 * float(hit.float().mean()) - 1.0) / 7.0


KINDS: Final = {"ring": "Ring", "variances": "Variances", "triplets": "Triplets"}
