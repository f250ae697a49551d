"""Trainings of two networks against each other, or of two views of one sample."""

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

from bench.zoo.data import load
from bench.zoo.programs.program import Program, spread_of

__all__ = ["KINDS", "Adversaries", "Siamese"]


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """The energy distance of two clouds of points: 0 where they are one distribution."""
    between = torch.cdist(a, b).mean()
    return float(2.0 * between - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())


class Adversaries(Program):
    """Generator and discriminator of digits, as two networks of linear layers.

    Its skill: the share of the way from first drafts to real digits, as the energy distance has it.
    """

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: width, ahead (by how much the discriminator's rate is larger), rounds (of it to one)."""
        self.data = load("digit_copies").train[0]
        width = self.it.options.get("width", 64)
        self.rounds = self.it.options.get("rounds", 1)
        generator = nn.Sequential()
        generator.add_module("fc1", nn.Linear(16, width))
        generator.add_module("act1", nn.ReLU())
        generator.add_module("fc2", nn.Linear(width, width))
        generator.add_module("act2", nn.ReLU())
        generator.add_module("out", nn.Linear(width, 64))
        generator.add_module("pixels", nn.Sigmoid())
        critic = nn.Sequential()
        critic.add_module("fc1", nn.Linear(64, width))
        critic.add_module("act1", nn.LeakyReLU(0.2))
        critic.add_module("fc2", nn.Linear(width, width))
        critic.add_module("act2", nn.LeakyReLU(0.2))
        critic.add_module("score", nn.Linear(width, 1))
        critic.add_module("real", nn.Sigmoid())
        self.generator, self.critic = generator, critic
        self.other = torch.optim.Adam(
            critic.parameters(), lr=self.it.rate * self.it.options.get("ahead", 1.0), betas=(0.5, 0.999)
        )
        with torch.no_grad():
            self.first = distance(generator(torch.randn(300, 16)), self.data[:300])
        return nn.ModuleDict({"generator": generator, "critic": critic})

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The generator's."""
        return torch.optim.Adam(self.generator.parameters(), lr=self.it.rate, betas=(0.5, 0.999))

    def step(self, step: int) -> float:
        """The critic's step, or several, then the generator's."""
        wanted = torch.full((self.it.batch, 1), self.it.options.get("smooth", 0.9))
        for _ in range(self.rounds):
            real = self.training.feed(self.data[self.draw(len(self.data))])
            with torch.no_grad():
                fake = self.generator(torch.randn(self.it.batch, 16))
            lost = F.binary_cross_entropy(self.critic(real), wanted)
            lost = lost + F.binary_cross_entropy(self.critic(fake), torch.zeros(self.it.batch, 1))
            self.other.zero_grad()
            lost.backward()
            self.other.step()
        fooled = self.critic(self.generator(torch.randn(self.it.batch, 16)))
        loss = F.binary_cross_entropy(fooled, torch.ones(self.it.batch, 1))
        self.training.optimizer.zero_grad()
        loss.backward()
        self.training.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def skill(self) -> float:
        """0 for first drafts, 1 for digits."""
        drafts = self.generator(torch.randn(300, 16))
        return 1.0 - distance(drafts, self.data[:300]) / self.first


class SiameseNet(nn.Module):
    """encoder (fc1, norm1, act1, fc2), predictor (fc1, act1, fc2)."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential()
        self.encoder.add_module("fc1", nn.Linear(64, width))
        self.encoder.add_module("norm1", nn.BatchNorm1d(width))
        self.encoder.add_module("act1", nn.ReLU())
        self.encoder.add_module("fc2", nn.Linear(width, code))
        self.predictor = nn.Sequential()
        self.predictor.add_module("fc1", nn.Linear(code, code // 2))
        self.predictor.add_module("act1", nn.ReLU())
        self.predictor.add_module("fc2", nn.Linear(code // 2, code))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Views to codes and what is predicted from them."""
        code = self.encoder(x)
        return code, self.predictor(code)


class Siamese(Program):
    """Two noisy views of a digit shall have one code. Its skill: what the codes of digits differ by, of their size."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: width, code, stop (whether the target's gradient is stopped)."""
        self.data = load("digits").train[0]
        self.stop = self.it.options.get("stop", True)
        return SiameseNet(self.it.options.get("width", 64), self.it.options.get("code", 32))

    def loss(self) -> torch.Tensor:
        """Minus the mean cosine of prediction and code."""
        x = self.data[self.draw(len(self.data))]
        one, two = (self.training.feed(x + 0.3 * torch.randn_like(x)) for _ in range(2))
        (code1, guess1), (code2, guess2) = self.model(one), self.model(two)
        if self.stop:
            code1, code2 = code1.detach(), code2.detach()
        return -(F.cosine_similarity(guess1, code2).mean() + F.cosine_similarity(guess2, code1).mean()) / 2.0

    @torch.no_grad()
    def skill(self) -> float:
        """1 where codes point everywhere, 0 where all are one."""
        self.model.eval()
        return spread_of(F.normalize(self.model(self.data[:500])[0]))


KINDS: Final = {"adversaries": "Adversaries", "siamese": "Siamese"}
