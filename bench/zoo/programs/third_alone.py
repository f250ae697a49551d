"""Trainings of the third part (held out until 2026-11-30): equations, codes, graphs, actions, odd loaders."""

import copy
import math
import re
from collections import Counter
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

from bench.zoo.data import load
from bench.zoo.data_task import source_of
from bench.zoo.programs.program import Program, Supervised, explained, spread_of

__all__ = [
    "KINDS", "Equation", "Letters", "Neighbours", "OneClass", "OthersOptimizer", "Process", "Reward", "SameBatch",
    "Selected", "Skipgram",
]  # fmt: skip


class Equation(Program):
    """A network that solves u'' = -pi² sin(pi x), zero at both ends. Its skill: R² of the solution."""

    def build(self) -> nn.Module:
        """Options: width."""
        width = self.it.options.get("width", 24)
        net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
        for layer in net:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
        return net

    def loss(self) -> torch.Tensor:
        """What the equation leaves over, and both ends."""
        x = 2.0 * torch.rand(self.it.batch, 1, generator=self.order) - 1.0
        x.requires_grad_()
        u = self.model(self.training.feed(x))
        slope = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
        bend = torch.autograd.grad(slope.sum(), x, create_graph=True)[0]
        rest = bend / math.pi**2 + torch.sin(math.pi * x)
        ends = self.model(self.training.feed(torch.tensor([[-1.0], [1.0]])))
        loss: torch.Tensor = rest.square().mean() + 5.0 * ends.square().mean()
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        x = torch.linspace(-1.0, 1.0, 101)[:, None]
        return explained(self.model(self.training.feed(x)), torch.sin(math.pi * x))


def _ink() -> tuple[torch.Tensor, torch.Tensor]:
    """The letters' images with pixels from 0 to 1."""
    task = load("glyphs")
    low, high = task.train[0].min(), task.train[0].max()
    return (task.train[0] - low) / (high - low), (task.test[0] - low) / (high - low)


class LettersNet(nn.Module):
    """down1, down2, mean, log_variance, up0, up1, up2: a variational coder by convolutions."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(1, 8, 4, stride=2, padding=1)
        self.down2 = nn.Conv2d(8, 16, 4, stride=2, padding=1)
        self.mean, self.log_variance = nn.Linear(144, code), nn.Linear(144, code)
        self.up0 = nn.Linear(code, 144)
        self.up1 = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(samples, 1, 12, 12) to logits of copies, means and logarithms of variances."""
        h = F.silu(self.down2(F.silu(self.down1(x)))).flatten(1)
        mean, log_variance = self.mean(h), self.log_variance(h)
        code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean) if self.training else mean
        h = F.silu(self.up0(code)).view(-1, 16, 3, 3)
        return self.up2(F.silu(self.up1(h))), mean, log_variance


class Letters(Program):
    """A variational coder of letters. Its skill: R² of copies of test images from the mean code."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: code, reduction (of the copies' error, the divergence is a sum)."""
        self.data, self.test = _ink()
        return LettersNet(self.it.options.get("code", 8))

    def loss(self) -> torch.Tensor:
        """Binary cross entropy of pixels plus the divergence."""
        x = self.training.feed(self.data[self.draw(len(self.data))])
        logits, mean, log_variance = self.model(x)
        error = F.binary_cross_entropy_with_logits(logits, x)
        if self.it.options.get("reduction", "sum") == "sum":
            error = error * x[0].numel()
        loss: torch.Tensor = error + 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1).mean()
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        self.model.eval()
        copies = torch.sigmoid(self.model(self.training.feed(self.test))[0])
        return explained(copies.flatten(1), self.test.flatten(1))


class SelectedNet(nn.Module):
    """look, choose, codes, draw1, draw2: four choices among sixteen codes each, by Gumbel's softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Linear(144, 64)
        self.choose = nn.Linear(64, 4 * 16)
        self.codes = nn.Linear(4 * 16, 32, bias=False)
        self.draw1 = nn.Linear(32, 64)
        self.draw2 = nn.Linear(64, 144)

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 144) to (samples, 4, 16)."""
        scores: torch.Tensor = self.choose(F.gelu(self.look(x))).view(-1, 4, 16)
        return scores

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 144) to copies."""
        chosen = F.gumbel_softmax(self.scores(x), tau=1.0, hard=not self.training)
        copy: torch.Tensor = self.draw2(F.gelu(self.draw1(self.codes(chosen.flatten(1)))))
        return copy


class Selected(Program):
    """A coder of letters with choices for codes. Its skill: the lesser of R² and twice the share of codes in use."""

    def build(self) -> nn.Module:
        """Options: prefer (by how much the first code of each choice is preferred)."""
        self.data, self.test = (part.flatten(1) for part in _ink())
        net = SelectedNet()
        with torch.no_grad():
            net.choose.bias[::16] += self.it.options.get("prefer", 0.0)
        return net

    def loss(self) -> torch.Tensor:
        """Squared error of all pixels."""
        x = self.training.feed(self.data[self.draw(len(self.data))])
        return F.mse_loss(self.model(x), x, reduction="sum") / len(x)

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        net = self.model
        assert isinstance(net, SelectedNet)
        places = net.scores(self.data).argmax(-1)
        used = sum(len(column.unique()) for column in places.T) / 64.0
        torch.manual_seed(0)
        probable = net.scores(self.test).softmax(-1).flatten(1)
        return min(explained(net.draw2(F.gelu(net.draw1(net.codes(probable)))), self.test), 2.0 * used)


class Skipgram(Program):
    """Words and their neighbours in source code. Its skill: the lesser of how words differ, and pairs told rightly."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: others (words that a pair is told from)."""
        words = re.findall(r"[a-z]+", source_of("heapq", "random", "bisect", "calendar").lower())
        kept = {word: place for place, (word, _) in enumerate(Counter(words).most_common(300))}
        text = torch.tensor([kept[word] for word in words if word in kept])
        self.pairs = torch.cat([torch.stack([text[:-gap], text[gap:]], 1) for gap in (1, 2)])
        self.others = self.it.options.get("others", 4)
        net = nn.ModuleDict({"centre": nn.Embedding(300, 16), "context": nn.Embedding(300, 16)})
        for table in net.values():
            nn.init.normal_(table.weight, 0.0, 0.05)  # type: ignore[arg-type]
        return net

    def scores(self, centre: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """(pairs,) and (pairs, ...) to (pairs, ...)."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        scores: torch.Tensor = (net["centre"](centre)[:, None] * net["context"](context)).sum(-1)
        return scores

    def loss(self) -> torch.Tensor:
        """Real pairs against those of random words."""
        centre, context = self.training.feed(self.pairs[self.draw(len(self.pairs))]).T
        loss = -F.logsigmoid(self.scores(centre, context[:, None])).mean()
        if self.others:
            random = torch.randint(300, (len(centre), self.others), generator=self.order)
            loss = loss - F.logsigmoid(-self.scores(centre, random)).sum(1).mean()
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        some = self.pairs[::7]
        random = torch.randint(300, (len(some), 1), generator=self.order)
        right = (self.scores(some[:, 0], some[:, 1:]) > self.scores(some[:, 0], random)).float().mean()
        return min(spread_of(F.normalize(self.model.get_submodule("centre").weight)), 2.0 * float(right) - 1.0)  # type: ignore[arg-type]


class NeighboursNet(nn.Module):
    """enter, value.0, ask.0, tell.0, ..., say: neighbours by attention, or summed up."""

    def __init__(self, inputs: int, width: int, layers: int, summed: bool, joined: torch.Tensor) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.value = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.ask = nn.ModuleList(nn.Linear(width, 1) for _ in range(layers))
        self.tell = nn.ModuleList(nn.Linear(width, 1) for _ in range(layers))
        self.say = nn.Linear(width, 4)
        self.joined, self.summed = joined, summed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(nodes, inputs) to (nodes, 4)."""
        h = F.elu(self.enter(x))
        for value, ask, tell in zip(self.value, self.ask, self.tell, strict=True):
            v = value(h)
            scores = F.leaky_relu(ask(v) + tell(v).T, 0.2).masked_fill(~self.joined, float("-inf"))
            h = F.elu((self.joined.float() if self.summed else F.softmax(scores, -1)) @ v)
        answer: torch.Tensor = self.say(h)
        return answer


class Neighbours(Program):
    """Which of four circles is a node of? Its skill: of nodes that were not told, the errors avoided."""

    def build(self) -> nn.Module:
        """Options: layers, width, summed (neighbours are added, not weighed)."""
        generator = torch.Generator().manual_seed(5)
        self.y = torch.arange(160) % 4
        same = self.y[:, None] == self.y
        joined = torch.rand(160, 160, generator=generator) < torch.where(same, 0.15, 0.02)
        joined = joined | joined.T | torch.eye(160, dtype=torch.bool)
        self.x = 0.7 * F.one_hot(self.y, 8).float() + torch.randn(160, 8, generator=generator)
        self.told = torch.rand(160, generator=generator) < 0.5
        options = {"layers": 2, "width": 24, "summed": False, **self.it.options}
        return NeighboursNet(8, options["width"], options["layers"], options["summed"], joined)

    def loss(self) -> torch.Tensor:
        """That of the nodes that are told."""
        return F.cross_entropy(self.model(self.training.feed(self.x))[self.told], self.y[self.told])

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        answer = self.model(self.training.feed(self.x))[~self.told]
        hits = float((answer.argmax(1) == self.y[~self.told]).float().mean())
        return (4.0 * hits - 1.0) / 3.0 if bool(answer.isfinite().all()) else 0.0


class Reward(Program):
    """REINFORCE: four actions in twelve states, one of them rewarded. Its skill: the share of rewards beyond chance."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: worth (of a reward), least (added to a probability before its logarithm)."""
        options = {"worth": 1.0, "least": 1e-8, **self.it.options}
        self.worth, self.least = options["worth"], options["least"]
        net = nn.Sequential()
        net.add_module("state", nn.Linear(12, 24))
        net.add_module("tanh", nn.Tanh())
        net.add_module("action", nn.Linear(24, 4))
        net.add_module("probabilities", nn.Softmax(-1))
        return net

    def loss(self) -> torch.Tensor:
        """Minus rewards times logarithms of probabilities, and a little entropy."""
        state = torch.randint(12, (self.it.batch,), generator=self.order)
        chances = self.model(self.training.feed(F.one_hot(state, 12).float()))
        action = chances.nan_to_num(0.25).detach().multinomial(1, generator=self.order)[:, 0]
        reward = self.worth * (action == state % 4).float()
        logs = (chances + self.least).log()
        gain = (logs.gather(1, action[:, None])[:, 0] * (reward - 0.25 * self.worth)).mean()
        loss: torch.Tensor = -gain + 0.02 * (chances * logs).sum(1).mean()
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        chances = self.model(self.training.feed(torch.eye(12)))
        right = float(chances.gather(1, (torch.arange(12) % 4)[:, None]).mean())
        return (4.0 * right - 1.0) / 3.0 if math.isfinite(right) else 0.0


class Process(Program):
    """A neural process: some points of a wave tell the others. Its skill: R² of the mean, in new waves."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: width."""
        width = self.it.options.get("width", 40)
        net = nn.ModuleDict()
        net["read"] = nn.Sequential(nn.Linear(2, width), nn.LeakyReLU(), nn.Linear(width, width))
        net["tell"] = nn.Sequential(
            nn.Linear(width + 1, width), nn.LeakyReLU(), nn.Linear(width, width), nn.LeakyReLU()
        )
        net["mean"], net["spread"] = nn.Linear(width, 1), nn.Linear(width, 1)
        return net

    def guess(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Means, spreads and what is right, of new waves."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        x = 4.0 * torch.rand(count, 20, 1, generator=self.order) - 2.0
        size, phase = torch.rand(2, count, 1, 1, generator=self.order)
        y = (0.5 + size) * torch.sin(1.5 * x + 3.0 * phase)
        seen = self.training.feed(torch.cat([x, y], -1)[:, :10])
        known = net["read"](seen).mean(1, keepdim=True).expand(-1, 10, -1)
        h = net["tell"](torch.cat([x[:, 10:], known], -1))
        return net["mean"](h), 0.1 + F.softplus(net["spread"](h)), y[:, 10:]

    def loss(self) -> torch.Tensor:
        """Minus the log-likelihood."""
        mean, spread, y = self.guess(self.it.batch)
        return (spread.log() + 0.5 * ((y - mean) / spread).square()).mean()

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        mean, _, y = self.guess(200)
        return explained(mean.flatten()[:, None], y.flatten()[:, None])


class OneClass(Supervised):
    """Each batch is of one class: the samples lie in the order of their classes, and nobody shuffles them."""

    turn = 0

    def draw(self, size: int) -> torch.Tensor:
        """Places of samples of one class, of the next class in the next batch."""
        mine = torch.nonzero(self.task.train[1] == self.turn % self.task.outputs)[:, 0]
        self.turn += 1
        return mine[torch.randint(len(mine), (self.it.batch,), generator=self.order)]


class SameBatch(Supervised):
    """The loader begins anew in each step, and gives its first batch."""

    def draw(self, size: int) -> torch.Tensor:
        """The first batch."""
        return torch.arange(self.it.batch)


class OthersOptimizer(Supervised):
    """The optimiser was made for the network of before: what is trained is a copy, and the optimiser has the other."""

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """That of a network that nobody uses."""
        return super().optimizer(copy.deepcopy(model))


KINDS: Final = {
    "equation": "Equation",
    "letters": "Letters",
    "selected": "Selected",
    "skipgram": "Skipgram",
    "neighbours": "Neighbours",
    "reward": "Reward",
    "process": "Process",
    "one_class": "OneClass",
    "same_batch": "SameBatch",
    "others_optimizer": "OthersOptimizer",
}
