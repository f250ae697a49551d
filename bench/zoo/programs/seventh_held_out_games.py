"""Held out: trainings of the seventh part with opponents, other worlds, and rewards."""

from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

from bench.zoo.programs.pairs import distance
from bench.zoo.programs.program import Program
from bench.zoo.programs.seventh_held_out import stack

__all__ = ["KINDS", "Moulds", "Odds", "Stampers", "Wanderer", "Worlds"]


class Moulds(Program):
    """Points of a spiral by a maker and a critic of bounded weights. Its skill: the share of the way to true ones."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: noise (what the maker is given), bound (of the critic's weights), faster (its rate), sign."""
        generator = torch.Generator().manual_seed(94)
        turn = 1.0 + 4.5 * torch.rand(1500, 1, generator=generator)
        points = 0.35 * turn * torch.cat([turn.cos(), turn.sin()], 1)
        self.points = points + 0.08 * torch.randn(1500, 2, generator=generator)
        options = {"noise": 1.0, "bound": 0.2, "faster": 1.0, "sign": 1.0, **self.it.options}
        self.noise, self.bound, self.sign = options["noise"], options["bound"], options["sign"]
        self.maker, self.critic = stack(4, 48, 48, 2), stack(2, 48, 48, 1, act=nn.LeakyReLU)
        self.other = torch.optim.RMSprop(self.critic.parameters(), self.it.rate * options["faster"])
        with torch.no_grad():
            self.first = distance(self.maker(torch.randn(400, 4)), self.points[:400])
        return nn.ModuleDict({"maker": self.maker, "critic": self.critic})

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The maker's."""
        return torch.optim.RMSprop(self.maker.parameters(), self.it.rate)

    def step(self, step: int) -> float:
        """The critic's four turns, then the maker's."""
        for _ in range(4):
            real = self.training.feed(self.points[self.draw(len(self.points))])
            fake = self.maker(self.noise * torch.randn(len(real), 4)).detach()
            loss = self.critic(fake).mean() - self.critic(real).mean()
            self.other.zero_grad()
            loss.backward()
            self.other.step()
            if self.bound:
                with torch.no_grad():
                    for value in self.critic.parameters():
                        value.clamp_(-self.bound, self.bound)
        made = -self.sign * self.critic(self.maker(self.noise * torch.randn(self.it.batch, 4))).mean()
        self.training.optimizer.zero_grad()
        made.backward()
        self.training.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        made = self.maker(self.noise * torch.randn(400, 4))
        return 1.0 - distance(made, self.points[:400]) / self.first if bool(made.isfinite().all()) else 0.0


class Stampers(Program):
    """Images of one lamp, by a maker and a judge, with squared errors. Its skill: as `Moulds` has it."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: noise (what the maker is given), faster (the judge's rate), judged (whether the judge learns)."""
        generator = torch.Generator().manual_seed(95)
        row, column = (6.0 * torch.rand(1200, 1, 1, generator=generator) + 0.5 for _ in range(2))
        rows, columns = torch.arange(8.0)[:, None], torch.arange(8.0)
        self.x = 1.6 * (-((rows - row).square() + (columns - column).square()) / 4.0).exp()[:, None] - 0.3
        options = {"noise": 1.0, "faster": 1.0, "judged": True, **self.it.options}
        self.noise, self.judged = options["noise"], options["judged"]
        self.maker = nn.Sequential()
        self.maker.add_module("lin", nn.Linear(6, 256))
        self.maker.add_module("shape", nn.Unflatten(1, (16, 4, 4)))
        self.maker.add_module("norm", nn.BatchNorm2d(16))
        self.maker.add_module("relu", nn.ReLU())
        self.maker.add_module("up", nn.ConvTranspose2d(16, 12, 4, stride=2, padding=1))
        self.maker.add_module("relu2", nn.ReLU())
        self.maker.add_module("out", nn.Conv2d(12, 1, 3, padding=1))
        self.judge = nn.Sequential()
        self.judge.add_module("down1", nn.Conv2d(1, 12, 4, stride=2, padding=1))
        self.judge.add_module("leaky1", nn.LeakyReLU(0.2))
        self.judge.add_module("down2", nn.Conv2d(12, 16, 4, stride=2, padding=1))
        self.judge.add_module("leaky2", nn.LeakyReLU(0.2))
        self.judge.add_module("flat", nn.Flatten())
        self.judge.add_module("say", nn.Linear(64, 1))
        self.other = torch.optim.Adam(self.judge.parameters(), self.it.rate * options["faster"], betas=(0.5, 0.99))
        with torch.no_grad():
            self.first = distance(self.maker(torch.randn(300, 6)).flatten(1), self.x[:300].flatten(1))
        return nn.ModuleDict({"maker": self.maker, "judge": self.judge})

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The maker's."""
        return torch.optim.Adam(self.maker.parameters(), self.it.rate, betas=(0.5, 0.99))

    def step(self, step: int) -> float:
        """The judge's turn, then the maker's."""
        real = self.training.feed(self.x[self.draw(len(self.x))])
        fake = self.maker(self.noise * torch.randn(len(real), 6))
        loss = (self.judge(real) - 1.0).square().mean() + self.judge(fake.detach()).square().mean()
        if self.judged:
            self.other.zero_grad()
            loss.backward()
            self.other.step()
        made = (self.judge(fake) - 1.0).square().mean()
        self.training.optimizer.zero_grad()
        made.backward()
        self.training.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        made = self.maker(self.noise * torch.randn(300, 6)).flatten(1)
        return 1.0 - distance(made, self.x[:300].flatten(1)) / self.first if bool(made.isfinite().all()) else 0.0


class Turned(torch.autograd.Function):
    """What comes in; its slopes go back with another sign, times a factor."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:
        """Any shape to the same."""
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        """The slope."""
        return -ctx.factor * slopes[0], None


class Worlds(Program):
    """Classes that are told in one world, and features that shall not tell worlds apart. Its skill: of the other world.

    It is the share of errors avoided there, where no class is told (domain-adversarial training).
    """

    def build(self) -> nn.Module:
        """Options: back (what it counts that worlds cannot be told apart)."""
        generator = torch.Generator().manual_seed(96)
        x = torch.randn(2400, 6, generator=generator)
        self.y = (x[:, 0] + 0.5 * x[:, 1] > 0).long() + (x[:, 2] * x[:, 3].sign() > 0.3).long()
        other = x[1200:] + torch.tensor([0.0, 0.0, 0.0, 0.0, 2.5, -1.5])
        self.x = torch.cat([x[:1200], other])
        self.back = self.it.options.get("back", 0.2)
        return nn.ModuleDict({"trunk": stack(6, 48, 24), "classes": stack(24, 24, 3), "worlds": stack(24, 24, 1)})

    def loss(self) -> torch.Tensor:
        """Cross entropy of the classes in one world, and of the worlds."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        here, there = self.draw(1200), 1200 + self.draw(800)
        codes = net["trunk"](self.training.feed(self.x[torch.cat([here, there])])).relu()
        turned: torch.Tensor = Turned.apply(codes, self.back)  # type: ignore[no-untyped-call]
        which = torch.arange(2).repeat_interleave(len(here)).float()
        told = F.binary_cross_entropy_with_logits(net["worlds"](turned)[:, 0], which)
        return F.cross_entropy(net["classes"](codes[: len(here)]), self.y[here]) + told

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        told, true = net["classes"](net["trunk"](self.training.feed(self.x[2000:])).relu()), self.y[2000:]
        base = float(torch.bincount(true).max()) / len(true)
        hits = float((told.argmax(-1) == true).float().mean()) if bool(told.isfinite().all()) else base
        return (hits - base) / (1.0 - base)


class Odds(Program):
    """How likely each of 21 returns is, in six rooms, by two doors (C51). Its skill: rooms with the right door."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: worth (of what is in the last room), until (the largest return that can be told)."""
        options = {"worth": 1.0, "until": 1.2, **self.it.options}
        self.worth, self.returns = options["worth"], torch.linspace(-0.2, options["until"], 21)
        self.seen = torch.randn(6, 8, generator=torch.Generator().manual_seed(97))
        self.model_of = stack(8, 48, 48, 42)
        self.old = stack(8, 48, 48, 42).requires_grad_(False)
        return self.model_of

    def odds(self, net: nn.Module, room: torch.Tensor) -> torch.Tensor:
        """(samples) to logarithms of chances (samples, 2, 21)."""
        said: torch.Tensor = net(self.training.feed(self.seen[room])).unflatten(-1, (2, 21)).log_softmax(-1)
        return said

    def loss(self) -> torch.Tensor:
        """Cross entropy of what was and what comes after, in the returns that can be told."""
        room, door = self.draw(5), torch.randint(2, (self.it.batch,), generator=self.order)
        after = (room + 2 * door - 1).clamp_min(0)
        ends = after == 5
        own = torch.arange(len(room))
        with torch.no_grad():
            odds = self.odds(self.old, after.clamp_max(5)).exp()
            best = odds[own, (odds * self.returns).sum(-1).argmax(-1)]
            then = self.worth * ends.float()[:, None] + 0.8 * (~ends).float()[:, None] * self.returns
            gap = self.returns[1] - self.returns[0]
            place = ((then - self.returns[0]) / gap).clamp(0, 20)
            low = place.floor().clamp_max(19)
            wanted = torch.zeros_like(best)
            wanted.scatter_add_(1, low.long(), best * (1.0 - (place - low)))
            wanted.scatter_add_(1, low.long() + 1, best * (place - low))
        return -(wanted * self.odds(self.model, room)[own, door]).sum(-1).mean()

    def step(self, step: int) -> float:
        """One update; each eighth step the network that foretells is renewed."""
        if step % 8 == 0:
            self.old.load_state_dict(self.model.state_dict())
        return super().step(step)

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says, from -1 to 1; doors that are worth the same are half right."""
        value = (self.odds(self.model, torch.arange(5)).exp() * self.returns).sum(-1)
        ahead = value[:, 1] - value[:, 0]
        return float(torch.where(ahead.abs() < 1e-3, 0.0, ahead.sign()).mean()) if bool(value.isfinite().all()) else 0.0


class Wanderer(Program):
    """Which of four ways leads to a hut, by rewards alone: a policy and a value (A2C). Its skill: the best ways."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: worth (of a reward), doubt (what an entropy counts), base (whether a value is taken off)."""
        options = {"worth": 1.0, "doubt": 0.02, "base": True, **self.it.options}
        self.worth, self.doubt, self.base = options["worth"], options["doubt"], options["base"]
        return nn.ModuleDict({"policy": stack(4, 48, 48, 4, act=nn.Tanh), "value": stack(4, 48, 1, act=nn.Tanh)})

    @staticmethod
    def gains(seen: torch.Tensor) -> torch.Tensor:
        """(samples, 4) to how much nearer each of the four ways leads."""
        away = seen[:, :2] - seen[:, 2:]
        return torch.cat([away, -away], 1) / away.square().sum(1, keepdim=True).sqrt().clamp_min(0.1)

    def loss(self) -> torch.Tensor:
        """Minus likelihoods times gains, the value's squared error, and minus a little entropy."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        seen = torch.randn(self.it.batch, 4, generator=self.order)
        fed = self.training.feed(seen)
        chances, value = net["policy"](fed).log_softmax(-1), net["value"](fed)[:, 0]
        safe = chances.detach().exp().nan_to_num(0.25).clamp_min(1e-9)
        way = safe.multinomial(1, generator=self.order)
        gain = self.worth * self.gains(seen).gather(1, way)[:, 0]
        ahead = gain - value.detach() if self.base else gain
        lost: torch.Tensor = -(chances.gather(1, way)[:, 0] * ahead).mean()
        lost = lost + self.doubt * (chances.exp() * chances).sum(-1).mean()
        return lost + 0.5 * F.mse_loss(value, gain) if self.base else lost

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says, of what chance leaves."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        seen = torch.randn(400, 4, generator=torch.Generator().manual_seed(98))
        said = net["policy"](self.training.feed(seen))
        right = (said.argmax(-1) == self.gains(seen).argmax(-1)).float().mean()
        return (float(right) - 0.25) / 0.75 if bool(said.isfinite().all()) else 0.0


KINDS: Final = {
    "moulds": "Moulds",
    "stampers": "Stampers",
    "worlds": "Worlds",
    "odds": "Odds",
    "wanderer": "Wanderer",
}
