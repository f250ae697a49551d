"""Trainings of the fifth part (held out until 2026-12-01): actions, opponents, flows, a teacher."""

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

from bench.zoo.data import load
from bench.zoo.programs.pairs import distance
from bench.zoo.programs.program import Program

__all__ = ["KINDS", "ClippedPolicy", "Corridor", "Duel", "Pupil", "Straightened"]


def _crescent(count: int, generator: torch.Generator) -> torch.Tensor:
    """Points of a crescent, (count, 2)."""
    angle = 3.4 * torch.rand(count, generator=generator)
    away = 1.0 + 0.12 * torch.randn(count, generator=generator)
    return torch.stack([1.4 * away * angle.cos(), 1.4 * away * angle.sin() - 0.6], 1)


class ClippedPolicy(Program):
    """One of four moves by what is seen, learned from rewards alone. Its skill: the share of best moves.

    A policy and a value of one trunk, by the clipped ratio of new chances to old ones, four times a batch.
    """

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: worth (of a reward), values (what their error counts), doubt (what an entropy counts)."""
        options = {"worth": 1.0, "values": 0.5, "doubt": 0.01, **self.it.options}
        self.worth, self.values, self.doubt = options["worth"], options["values"], options["doubt"]
        net = nn.ModuleDict({"trunk": nn.Sequential(), "policy": nn.Linear(48, 4), "value": nn.Linear(48, 1)})
        for i, (a, b) in enumerate(((3, 48), (48, 48)), 1):
            net["trunk"].add_module(f"lin{i}", nn.Linear(a, b))
            net["trunk"].add_module(f"tanh{i}", nn.Tanh())
        return net

    def ask(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(samples, 3) to logarithms of the moves' chances and values."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        h = net["trunk"](state)
        return net["policy"](h).log_softmax(-1), net["value"](h)[:, 0]

    @staticmethod
    def best(state: torch.Tensor) -> torch.Tensor:
        """The best of four moves."""
        return (state[:, 0] > 0).long() + 2 * (state[:, 1] + 0.5 * state[:, 2] > 0).long()

    def step(self, step: int) -> float:
        """A batch of moves, and four updates."""
        state = torch.randn(self.it.batch, 3, generator=self.order)
        seen = self.training.feed(state)
        with torch.no_grad():
            before, foretold = self.ask(seen)
            if not bool(before.isfinite().all()):
                before = torch.zeros_like(before)
            move = before.exp().clamp_min(1e-12).multinomial(1)[:, 0]
            reward = self.worth * (move == self.best(state)).float()
            gain = reward - foretold
            gain = (gain - gain.mean()) / (gain.std() + 1e-6)
        own = torch.arange(len(move))
        total = 0.0
        for _ in range(4):
            after, value = self.ask(seen)
            ratio = (after[own, move] - before[own, move]).exp()
            policy = -torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
            doubt = -(after.exp() * after).sum(1).mean()
            loss = policy + self.values * F.mse_loss(value, reward) - self.doubt * doubt
            self.training.optimizer.zero_grad()
            loss.backward()
            self.training.optimizer.step()
            total = float(loss.detach())
        return total

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        state = torch.randn(500, 3, generator=torch.Generator().manual_seed(5))
        chances = self.ask(self.training.feed(state))[0]
        if not bool(chances.isfinite().all()):
            return 0.0
        return (4.0 * float((chances.argmax(-1) == self.best(state)).float().mean()) - 1.0) / 3.0


class Corridor(Program):
    """A walk of nine rooms, whose last one pays: values of two moves, by a target network.

    Its skill: the share of rooms in which the move to the pay is worth more.
    """

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: pay, discount, follow (steps from one copy of the target network to the next)."""
        options = {"pay": 1.0, "discount": 0.9, "follow": 5, "ends": True, **self.it.options}
        self.pay, self.discount, self.follow = options["pay"], options["discount"], options["follow"]
        self.ends = options["ends"]
        net = nn.Sequential()
        for i, (a, b) in enumerate(((9, 40), (40, 40)), 1):
            net.add_module(f"lin{i}", nn.Linear(a, b))
            net.add_module(f"relu{i}", nn.ReLU())
        net.add_module("worth", nn.Linear(40, 2))
        self.kept = {name: value.clone() for name, value in net.state_dict().items()}
        self.turn = 0
        return net

    def loss(self) -> torch.Tensor:
        """Smooth error of the moves that were made, beside what the target network foretells."""
        room = torch.randint(8, (self.it.batch,), generator=self.order)
        move = torch.randint(2, (self.it.batch,), generator=self.order)
        then = (room + 2 * move - 1).clamp(0, 8)
        every = torch.eye(9)
        with torch.no_grad():
            later = torch.func.functional_call(self.model, self.kept, (self.training.feed(every[then]),)).amax(1)
            goes_on = (then < 8).float() if self.ends else 1.0
            wanted = self.pay * (then == 8).float() + self.discount * goes_on * later
        said = self.model(self.training.feed(every[room]))[torch.arange(len(room)), move]
        self.turn += 1
        if self.turn % self.follow == 0:
            self.kept = {name: value.clone() for name, value in self.model.state_dict().items()}
        return F.mse_loss(said, wanted)

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        worth = self.model(self.training.feed(torch.eye(9)[:8]))
        return float((worth[:, 1] > worth[:, 0]).float().mean()) if bool(worth.isfinite().all()) else 0.0


class Duel(Program):
    """Points of a crescent by two networks and hinges. Its skill: as `pairs.Adversaries` has it."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: bound (spectral norms of the judge), faster (the judge's rate), noise."""
        self.points = _crescent(1500, torch.Generator().manual_seed(63))
        options = {"bound": True, "faster": 1.5, "noise": 1.0, **self.it.options}
        self.noise = options["noise"]
        self.maker, self.judge = nn.Sequential(), nn.Sequential()
        for net, first, last in ((self.maker, 4, 2), (self.judge, 2, 1)):
            for i, (a, b) in enumerate(((first, 48), (48, 48), (48, last)), 1):
                layer = nn.Linear(a, b)
                bound = net is self.judge and options["bound"]
                net.add_module(f"lin{i}", nn.utils.parametrizations.spectral_norm(layer) if bound else layer)
                if i < 3:
                    net.add_module(f"leak{i}", nn.LeakyReLU(0.2))
        rate = self.it.rate * options["faster"]
        self.other = torch.optim.Adam(self.judge.parameters(), rate, betas=(0.0, 0.9))
        with torch.no_grad():
            self.first = distance(self.maker(torch.randn(400, 4)), self.points[:400])
        return nn.ModuleDict({"maker": self.maker, "judge": self.judge})

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The maker's."""
        return torch.optim.Adam(self.maker.parameters(), self.it.rate, betas=(0.0, 0.9))

    def step(self, step: int) -> float:
        """The judge's two turns, then the maker's."""
        for _ in range(2):
            real = self.training.feed(self.points[self.draw(len(self.points))])
            fake = self.maker(self.noise * torch.randn(len(real), 4)).detach()
            loss = F.relu(1.0 - self.judge(real)).mean() + F.relu(1.0 + self.judge(fake)).mean()
            self.other.zero_grad()
            loss.backward()
            self.other.step()
        made = -self.judge(self.maker(self.noise * torch.randn(self.it.batch, 4))).mean()
        self.training.optimizer.zero_grad()
        made.backward()
        self.training.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        made = self.maker(self.noise * torch.randn(400, 4))
        return 1.0 - distance(made, self.points[:400]) / self.first if bool(made.isfinite().all()) else 0.0


class Straightened(Program):
    """Straight ways from noise to the points of a crescent. Its skill: 1 less the distance over that of noise."""

    def build(self) -> nn.Module:
        """Options: width, time (what the moment is multiplied by)."""
        self.points = _crescent(1500, torch.Generator().manual_seed(64))
        width = self.it.options.get("width", 64)
        self.time = self.it.options.get("time", 1.0)
        net = nn.Sequential()
        for i, (a, b) in enumerate(((5, width), (width, width)), 1):
            net.add_module(f"lin{i}", nn.Linear(a, b))
            net.add_module(f"silu{i}", nn.SiLU())
        net.add_module("speed", nn.Linear(width, 2))
        return net

    def speed(self, x: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
        """Points (samples, 2) and moments (samples, 1) to speeds (samples, 2)."""
        when = self.time * moment
        return self.model(torch.cat([x, when, (3.0 * when).sin(), (3.0 * when).cos()], 1))  # type: ignore[no-any-return]

    def loss(self) -> torch.Tensor:
        """Squared error of the speed on the straight way."""
        end = self.training.feed(self.points[self.draw(len(self.points))])
        start, moment = torch.randn_like(end), torch.rand(len(end), 1)
        return F.mse_loss(self.speed(torch.lerp(start, end, moment), moment), end - start)

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        x = noise = torch.randn(400, 2, generator=torch.Generator().manual_seed(6))
        for moment in range(12):
            x = x + self.speed(x, torch.full((400, 1), moment / 12.0)) / 12.0
        if not bool(x.isfinite().all()):
            return 0.0
        return 1.0 - distance(x, self.points[:400]) / distance(noise, self.points[:400])


class Pupil(Program):
    """A small network is told the softened answers of a large one. Its skill: the task's, on the test part."""

    def build(self) -> nn.Module:
        """Options: heat (that softens both), teacher (the steps that it learned)."""
        self.task = load("ring_in_space")
        self.heat = self.it.options.get("heat", 2.0)
        x, y = self.task.train
        teacher = nn.Sequential(nn.Linear(6, 96), nn.Tanh(), nn.Linear(96, 96), nn.Tanh(), nn.Linear(96, 3))
        learn = torch.optim.Adam(teacher.parameters(), 0.01)
        for _ in range(self.it.options.get("teacher", 150)):
            some = torch.randint(len(x), (128,))
            learn.zero_grad()
            F.cross_entropy(teacher(x[some]), y[some]).backward()
            learn.step()
        self.teacher = teacher.eval().requires_grad_(requires_grad=False)
        net = nn.Sequential()
        for i, (a, b) in enumerate(((6, 32), (32, 32)), 1):
            net.add_module(f"small{i}", nn.Linear(a, b))
            net.add_module(f"act{i}", nn.GELU())
        net.add_module("says", nn.Linear(32, 3))
        return net

    def samples(self) -> torch.Tensor | None:
        """The inputs of the training part."""
        return self.task.train[0]

    def loss(self) -> torch.Tensor:
        """The divergence of both softened answers."""
        x = self.task.train[0][self.draw(len(self.task.train[0]))]
        wanted = (self.teacher(x) / self.heat).softmax(-1)
        said = (self.model(self.training.feed(x)) / self.heat).log_softmax(-1)
        loss: torch.Tensor = self.heat**2 * F.kl_div(said, wanted, reduction="batchmean")
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        x, y = self.task.test
        return self.task.skill(self.model(self.training.feed(x)), y)


KINDS: Final = {
    "clipped_policy": "ClippedPolicy",
    "corridor": "Corridor",
    "duel": "Duel",
    "straightened": "Straightened",
    "pupil": "Pupil",
}
