"""Trainings of the opened part (held out until 2026-11-30) with several networks, agents or graphs."""

import math
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

from bench.zoo.data import load
from bench.zoo.data_second import people
from bench.zoo.programs.pairs import distance
from bench.zoo.programs.program import Program, Supervised, spread_of

__all__ = ["KINDS", "Actor", "Circles", "Contrast", "Forgers", "Growing", "Momentum", "Values"]


class ForgerNet(nn.Module):
    """One network that forges, or that judges: lin1, lin2, lin3 and functions."""

    def __init__(self, inputs: int, width: int, outputs: int, judge: bool) -> None:
        super().__init__()
        self.lin1 = nn.Linear(inputs, width)
        self.lin2 = nn.Linear(width, width)
        self.lin3 = nn.Linear(width, outputs)
        self.judge = judge

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        act = F.leaky_relu if self.judge else F.silu
        x = self.lin3(act(self.lin2(act(self.lin1(x)))))
        return torch.sigmoid(x) if self.judge else x


class Forgers(Program):
    """Forged wines. Its skill: the share of the way from first drafts to real wines, by energy distance."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: smooth, faster (by how much the judge learns faster)."""
        self.data = load("wine").train[0]
        self.forger, self.judge = ForgerNet(6, 40, 13, False), ForgerNet(13, 40, 1, True)
        faster = self.it.options.get("faster", 1.0)
        self.other = torch.optim.Adam(self.judge.parameters(), self.it.rate * faster, betas=(0.5, 0.9))
        with torch.no_grad():
            self.first = distance(self.forger(torch.randn(130, 6)), self.data)
        return nn.ModuleDict({"forger": self.forger, "judge": self.judge})

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The forger's."""
        return torch.optim.Adam(self.forger.parameters(), self.it.rate, betas=(0.5, 0.9))

    def step(self, step: int) -> float:
        """The judge's turn, then the forger's."""
        real = self.training.feed(self.data[self.draw(len(self.data))])
        fake = self.forger(torch.randn(self.it.batch, 6))
        yes, no = self.judge(real), self.judge(fake.detach())
        wanted = self.it.options.get("smooth", 0.9)
        self.other.zero_grad()
        (F.binary_cross_entropy(yes, torch.full_like(yes, wanted)) + F.binary_cross_entropy(no, 0.0 * no)).backward()
        self.other.step()
        fooled = self.judge(fake)
        loss = F.binary_cross_entropy(fooled, torch.ones_like(fooled))
        self.training.optimizer.zero_grad()
        loss.backward()
        self.training.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        return 1.0 - distance(self.forger(torch.randn(130, 6)), self.data) / self.first


class ViewNet(nn.Module):
    """conv1, conv2, project1, project2: images to codes."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.project1 = nn.Linear(144, 48)
        self.project2 = nn.Linear(48, code)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 1, 12, 12) to (samples, code)."""
        h = F.relu(self.conv2(F.relu(self.conv1(x)))).flatten(1)
        code: torch.Tensor = self.project2(F.relu(self.project1(h)))
        return code


class Contrast(Program):
    """Two views of a patch shall be alike, unlike those of others. Its skill: what codes differ by, of their size."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: others (whether other samples push away), code."""
        self.data = load("portrait_or_scan").train[0]
        self.others = self.it.options.get("others", True)
        return ViewNet(self.it.options.get("code", 16))

    def views(self, x: torch.Tensor) -> torch.Tensor:
        """Turned over or not, a bit darker or lighter, with noise."""
        x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(-1), x)
        return self.training.feed(x + 0.2 * torch.randn(len(x), 1, 1, 1) + 0.1 * torch.randn_like(x))

    def loss(self) -> torch.Tensor:
        """NT-Xent; without others the mean distance alone."""
        x = self.data[self.draw(len(self.data))]
        a, b = (F.normalize(self.model(self.views(x))) for _ in range(2))
        if not self.others:
            return 1.0 - (a * b).sum(1).mean()
        return F.cross_entropy(a @ b.T / 0.2, torch.arange(len(x)))

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        return spread_of(F.normalize(self.model(self.data[:400])))


class Momentum(Contrast):
    """A predictor looks for the code of a slowly following copy (BYOL)."""

    def build(self) -> nn.Module:
        """Options: predict (whether there is a predictor), code."""
        self.data = load("portrait_or_scan").train[0]
        size = self.it.options.get("code", 16)
        self.net, self.copy = ViewNet(size), ViewNet(size)
        self.copy.load_state_dict(self.net.state_dict())
        self.copy.requires_grad_(False)
        self.predict = self.it.options.get("predict", True)
        self.predictor = nn.Sequential(nn.Linear(size, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, size))
        parts = {"online": self.net, "target": self.copy, "predictor": self.predictor}
        return nn.ModuleDict(parts if self.predict else dict(list(parts.items())[:2]))

    def loss(self) -> torch.Tensor:
        """Distance of the guess from the copy's code."""
        x = self.data[self.draw(len(self.data))]
        with torch.no_grad():
            for slow, fast in zip(self.copy.parameters(), self.net.parameters(), strict=True):
                slow.lerp_(fast, 0.02)
            wanted = F.normalize(self.copy(self.views(x)))
        code = self.net(self.views(x))
        guess = F.normalize(self.predictor(code) if self.predict else code)
        return 2.0 - 2.0 * (guess * wanted).sum(1).mean()

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        return spread_of(F.normalize(self.net(self.data[:400])))


class CirclesNet(nn.Module):
    """GraphSAGE: own0, near0, own1, near1, ..., say; with or without its own features at each layer."""

    def __init__(self, size: int, width: int, layers: int, own: bool, mean: torch.Tensor) -> None:
        super().__init__()
        self.near = nn.ModuleList(nn.Linear(width if i else size, width) for i in range(layers))
        self.own = nn.ModuleList(nn.Linear(width if i else size, width) for i in range(layers)) if own else None
        self.say = nn.Linear(width, 5)
        self.mean = mean

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(people, size) to (people, 5)."""
        for i, near in enumerate(self.near):
            h = near(self.mean @ x)
            x = F.relu(h + self.own[i](x)) if self.own is not None else F.relu(h)
        answer: torch.Tensor = self.say(x)
        return answer


class Circles(Program):
    """Who of Les Misérables belongs to which circle? Its skill: of those who were not told, the errors avoided."""

    def build(self) -> nn.Module:
        """Options: layers, width, own."""
        joined, circles = people()
        near = torch.from_numpy(joined).float() + torch.eye(len(joined))
        mean = near / near.sum(1, keepdim=True)
        generator = torch.Generator().manual_seed(3)
        self.x = torch.cat([torch.eye(len(joined)), torch.randn(len(joined), 8, generator=generator)], 1)
        self.y = torch.from_numpy(circles).long()
        self.told = torch.rand(len(joined), generator=generator) < 0.5
        options = self.it.options
        return CirclesNet(
            self.x.shape[1], options.get("width", 24), options.get("layers", 2), options.get("own", True), mean
        )

    def loss(self) -> torch.Tensor:
        """That of the people who are told."""
        return F.cross_entropy(self.model(self.training.feed(self.x))[self.told], self.y[self.told])

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        hit = self.model(self.training.feed(self.x))[~self.told].argmax(1) == self.y[~self.told]
        base = float(torch.bincount(self.y[~self.told]).max()) / len(hit)
        return (float(hit.float().mean()) - base) / (1.0 - base)


class Actor(Program):
    """A policy with a tanh at its end steers a cart to the middle, by gradients through the cart.

    Its skill: the share of the distance that it takes off, beside doing nothing.
    """

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: width, push (how strong the policy's last weights are)."""
        width = self.it.options.get("width", 32)
        net = nn.Sequential()
        net.add_module("see", nn.Linear(2, width))
        net.add_module("tanh1", nn.Tanh())
        net.add_module("weigh", nn.Linear(width, width))
        net.add_module("tanh2", nn.Tanh())
        net.add_module("act", nn.Linear(width, 1))
        net.add_module("bound", nn.Tanh())
        with torch.no_grad():
            net.get_submodule("act").weight.mul_(0.1)  # type: ignore[operator]
        return net

    def drive(self, state: torch.Tensor, policy: nn.Module | None) -> torch.Tensor:
        """The mean squared distance over twelve moments."""
        place, speed = state.unbind(1)
        total = torch.zeros(())
        for _ in range(12):
            push = policy(self.training.feed(torch.stack([place, speed], 1)))[:, 0] if policy else 0.0 * place
            speed = 0.9 * speed + 0.5 * push
            place = place + 0.5 * speed
            total = total + place.square().mean() / 12.0
        return total

    def loss(self) -> torch.Tensor:
        """That of carts that start anywhere."""
        return self.drive(torch.randn(self.it.batch, 2, generator=self.order), self.model)

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        start = torch.randn(500, 2, generator=torch.Generator().manual_seed(5))
        return float(1.0 - self.drive(start, self.model) / self.drive(start, None))


class Values(Program):
    """A dueling Q network on a line of ten places: walk to the end. Its skill: places with a right choice."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: width."""
        width = self.it.options.get("width", 32)
        net = nn.ModuleDict()
        net["body"] = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        net["state"] = nn.Linear(width, 1)
        net["choice"] = nn.Linear(width, 2)
        return net

    def values(self, place: torch.Tensor) -> torch.Tensor:
        """(samples) to (samples, 2)."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        h = net["body"](self.training.feed(F.one_hot(place, 10).float()))
        choice = net["choice"](h)
        values: torch.Tensor = net["state"](h) + choice - choice.mean(1, keepdim=True)
        return values

    def loss(self) -> torch.Tensor:
        """Squared error from reward and the best of what follows."""
        place = torch.randint(10, (self.it.batch,), generator=self.order)
        choice = torch.randint(2, (self.it.batch,), generator=self.order)
        after = (place + 2 * choice - 1).clamp(0, 9)
        reward = (after == 9).float()
        with torch.no_grad():
            wanted = reward + 0.8 * (1.0 - reward) * self.values(after).amax(1)
        return F.mse_loss(self.values(place)[torch.arange(len(place)), choice], wanted)

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says, from -1 to 1."""
        right = self.values(torch.arange(9)).argmax(1) == 1
        return 2.0 * float(right.float().mean()) - 1.0


class Growing(Supervised):
    """Samples come from few to many: at first one in twenty of the data, at the end all."""

    turn = 0

    def draw(self, size: int) -> torch.Tensor:
        """Places of a batch among those that are open."""
        self.turn += 1
        share = 0.05 + 0.95 * min(1.4 * self.turn / self.it.steps, 1.0)
        return super().draw(max(math.ceil(share * size), 1))


KINDS: Final = {
    "forgers": "Forgers",
    "contrast": "Contrast",
    "momentum": "Momentum",
    "circles": "Circles",
    "actor": "Actor",
    "values": "Values",
    "growing": "Growing",
}
