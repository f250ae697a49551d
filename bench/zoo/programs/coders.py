"""Trainings of the opened part (held out until 2026-11-30) that code, generate or estimate."""

import math
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

from bench.zoo.data import load
from bench.zoo.nets import NETS
from bench.zoo.programs.program import Program, explained

__all__ = ["KINDS", "Dictionary", "Diffusion", "Flow", "Imagination", "Mixture", "Quantised"]


class ImaginationNet(nn.Module):
    """look (convolution), squeeze, centre, spread, unfold, draw: a variational coder of grey patches, by functions."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.squeeze = nn.Linear(200, 48)
        self.centre = nn.Linear(48, code)
        self.spread = nn.Linear(48, code)
        self.unfold = nn.Linear(code, 64)
        self.draw = nn.Linear(64, 100)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(samples, 100) to copies, means and logarithms of variances."""
        h = F.leaky_relu(self.look(x.view(-1, 1, 10, 10))).flatten(1)
        h = F.leaky_relu(self.squeeze(h))
        mean, log_variance = self.centre(h), self.spread(h)
        code = mean + torch.exp(log_variance / 2.0) * torch.randn_like(mean) if self.training else mean
        copy: torch.Tensor = self.draw(F.leaky_relu(self.unfold(code)))
        return copy, mean, log_variance


class Imagination(Program):
    """A variational coder of grey patches. Its skill: R² of copies of test patches from the mean code."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: code, beta."""
        task = load("portrait")
        self.data, self.test = task.train[0], task.test[0]
        self.beta = self.it.options.get("beta", 0.1)
        return ImaginationNet(self.it.options.get("code", 6))

    def loss(self) -> torch.Tensor:
        """Squared error plus beta times the divergence."""
        x = self.training.feed(self.data[self.draw(len(self.data))])
        copy, mean, log_variance = self.model(x)
        divergence = -0.5 * (1.0 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        loss: torch.Tensor = F.mse_loss(copy, x, reduction="sum") / len(x) + self.beta * divergence
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        self.model.eval()
        return explained(self.model(self.training.feed(self.test))[0], self.test)


class QuantisedNet(nn.Module):
    """inward, codes, outward: each patch is 25 places of a grid, each place one code."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.inward = nn.Conv2d(1, 16, 2, stride=2)
        self.narrow = nn.Conv2d(16, size, 1)
        self.codes = nn.Embedding(count, size)
        self.outward = nn.ConvTranspose2d(size, 16, 2, stride=2)
        self.paint = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """(samples, 100) to copies, what is coded, what it is rounded to, and the places of the codes."""
        h = self.narrow(F.gelu(self.inward(x.view(-1, 1, 10, 10)))).permute(0, 2, 3, 1)
        flat = h.reshape(-1, h.shape[-1])
        table = self.codes.weight
        gaps = flat.square().sum(1, keepdim=True) - 2.0 * flat @ table.T + table.square().sum(1)
        places = gaps.argmin(1)
        rounded = self.codes(places).view_as(h)
        y = (h + (rounded - h).detach()).permute(0, 3, 1, 2)
        copy: torch.Tensor = self.paint(F.gelu(self.outward(y)))
        return copy.flatten(1), h, rounded, places


class Quantised(Program):
    """A quantised coder of grey patches. Its skill: the lesser of R² and the share of codes in use."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: count, size, start (deviation of codes), revive (steps between restarts of idle codes; 0: none)."""
        options: dict[str, Any] = {"count": 24, "size": 4, "start": 0.3, "revive": 15, **self.it.options}
        task = load("portrait")
        self.data, self.test = task.train[0], task.test[0]
        self.revive, self.turn = options["revive"], 0
        net = QuantisedNet(options["count"], options["size"])
        nn.init.normal_(net.codes.weight, 0.0, options["start"])
        return net

    def loss(self) -> torch.Tensor:
        """Squared error, commitment and codes; idle codes move to what is coded."""
        net = self.model
        assert isinstance(net, QuantisedNet)
        x = self.training.feed(self.data[self.draw(len(self.data))])
        copy, coded, rounded, places = net(x)
        self.turn += 1
        if self.revive and self.turn % self.revive == 1:
            with torch.no_grad():
                idle = torch.bincount(places, minlength=net.codes.num_embeddings) == 0
                flat = coded.reshape(-1, coded.shape[-1])
                net.codes.weight[idle] = flat[torch.randperm(len(flat))[: int(idle.sum())]]
        return F.mse_loss(copy, x) + F.mse_loss(rounded, coded.detach()) + 0.25 * F.mse_loss(coded, rounded.detach())

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        net = self.model
        assert isinstance(net, QuantisedNet)
        used = len(net(self.data)[3].unique()) / net.codes.num_embeddings
        return min(explained(net(self.test)[0], self.test), used)


class DictionaryNet(nn.Module):
    """atoms: a tied dictionary; features by F.relu, with a bias that is taken off first."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.detect = nn.Linear(100, count)
        self.origin = nn.Parameter(torch.zeros(100))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(samples, 100) to copies and features."""
        features = F.relu(self.detect(x - self.origin))
        copy: torch.Tensor = features @ self.detect.weight + self.origin
        return copy, features


class Dictionary(Program):
    """Sparse features of grey patches. Its skill: the lesser of R² and the share of features that ever fire."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: count, cost."""
        task = load("portrait")
        self.data, self.test = task.train[0], task.test[0]
        self.cost = self.it.options.get("cost", 0.03)
        return DictionaryNet(self.it.options.get("count", 240))

    def loss(self) -> torch.Tensor:
        """Squared error plus the cost of all features."""
        x = self.training.feed(self.data[self.draw(len(self.data))])
        copy, features = self.model(x)
        loss: torch.Tensor = (copy - x).square().sum(1).mean() + self.cost * features.sum(1).mean()
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        alive = float((self.model(self.data)[1] > 0).any(0).float().mean())
        return min(explained(self.model(self.test)[0], self.test), alive)


class Flow(Program):
    """A normalising flow over irises. Its skill: 1 - exp(how many nats a feature it is better than a normal fit)."""

    def build(self) -> nn.Module:
        """Options: those of the net."""
        task = load(self.it.task)
        self.data, self.test = task.train[0], task.test[0]
        return NETS[self.it.net](task.inputs, task.outputs, **self.it.options)

    def cost(self, x: torch.Tensor) -> torch.Tensor:
        """Nats a feature beyond those of a standard normal's peak."""
        latent, change = self.model(x)
        cost: torch.Tensor = (0.5 * latent.square().sum(1) - change).mean() / x.shape[1]
        return cost

    def loss(self) -> torch.Tensor:
        """That of a batch, with a little noise."""
        x = self.training.feed(self.data[self.draw(len(self.data))])
        # Above zero, so that losses can be compared by their ratio.
        return self.cost(x + 0.1 * torch.randn_like(x)) + 3.0

    @torch.no_grad()
    def skill(self) -> float:
        """Standardised data costs half a nat a feature under the standard normal."""
        gain = 0.5 - float(self.cost(self.test + 0.1 * torch.randn_like(self.test)))
        return 1.0 - math.exp(-gain) if math.isfinite(gain) and gain > -3.0 else 0.0


class Mixture(Program):
    """A mixture density of the next value of a series. Its skill: R² of the mixture's mean."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: width, count."""
        task = load("shares")
        self.task = task
        width, self.count = self.it.options.get("width", 32), self.it.options.get("count", 4)
        net = nn.ModuleDict()
        net["trunk"] = nn.Sequential(nn.Linear(12, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        net["weights"] = nn.Sequential(nn.Linear(width, self.count), nn.Softmax(-1))
        net["means"] = nn.Linear(width, self.count)
        net["log_spreads"] = nn.Linear(width, self.count)
        return net

    def parts(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weights, means and spreads of the parts."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        h = net["trunk"](x)
        return net["weights"](h), net["means"](h), net["log_spreads"](h).exp()

    def loss(self) -> torch.Tensor:
        """Minus the log-likelihood."""
        x, y = self.task.train
        batch = self.draw(len(x))
        weights, means, spreads = self.parts(self.training.feed(x[batch]))
        each = weights.log() - spreads.log() - 0.5 * ((y[batch] - means) / spreads).square()
        return -each.logsumexp(1).mean()

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        weights, means, _ = self.parts(self.training.feed(self.task.test[0]))
        return explained((weights * means).sum(1, keepdim=True), self.task.test[1])


class Diffusion(Program):
    """Which noise is in a noisy wine, at a strength that is told? Its skill: R² of the noise."""

    def build(self) -> nn.Module:
        """Options: width."""
        self.data = load("wine").train[0]
        width = self.it.options.get("width", 48)
        net = nn.ModuleDict()
        net["time"] = nn.Linear(8, width)
        net["enter"] = nn.Linear(13, width)
        net["middle"] = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        net["leave"] = nn.Linear(width, 13)
        nn.init.zeros_(net["leave"].weight)  # type: ignore[arg-type]
        return net

    def guess(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The noise that is told, and that which was added."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        x = self.training.feed(self.data[batch])
        strength = torch.rand(len(x), 1, generator=self.order)
        noise = torch.randn(x.shape, generator=self.order)
        waves = strength * torch.arange(1, 5) * math.pi
        time = net["time"](torch.cat([waves.sin(), waves.cos()], 1))
        mixed = (1.0 - strength).sqrt() * x + strength.sqrt() * noise
        h = net["enter"](mixed) + time
        return net["leave"](h + net["middle"](h)), noise

    def loss(self) -> torch.Tensor:
        """Squared error."""
        guess, noise = self.guess(self.draw(len(self.data)))
        return F.mse_loss(guess, noise)

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        return explained(*self.guess(torch.arange(len(self.data)).repeat(4)))


KINDS: Final = {
    "imagination": "Imagination",
    "quantised": "Quantised",
    "dictionary": "Dictionary",
    "flow": "Flow",
    "mixture_density": "Mixture",
    "diffusion": "Diffusion",
}
