"""Trainings of the fourth part (held out until 2026-11-30): experts, twins, adversaries, codes, games."""

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

from bench.zoo.data import load
from bench.zoo.programs.pairs import distance
from bench.zoo.programs.program import Program, Supervised, explained, spread_of

__all__ = ["KINDS", "Balanced", "Codes", "Decorrelated", "Earth", "Glider", "Translator", "Weaver"]


class Balanced(Supervised):
    """Two experts for each sample, and a loss that shares samples out. Its skill: the task's, or the experts' in use.

    Options of the network, and of the program: even (how much an even share counts).
    """

    _even = 0.1

    def build(self) -> nn.Module:
        """The network of the recipe, without what is the program's."""
        options = dict(self.it.options)
        self.even = options.pop("even", self._even)
        from bench.zoo.nets import NETS

        return NETS[self.it.net](self.task.inputs, self.task.outputs, **options)

    def loss(self) -> torch.Tensor:
        """The task's, and how uneven the experts' chances are."""
        loss = super().loss()
        shares: torch.Tensor = self.model.shares  # type: ignore[assignment]
        total: torch.Tensor = loss + self.even * len(shares) * self.unevenness(shares)
        return total

    def unevenness(self, shares: torch.Tensor) -> torch.Tensor:
        """Of the experts' chances; least where all are alike."""
        return shares.square().sum()

    def asked(self) -> int:
        """How many samples experts are asked for in the test: two for each."""
        return 2 * len(self.task.test[0])

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        met: dict[str, int] = {}

        def meet(name: str) -> Callable[..., None]:
            return lambda module, args, output: met.update({name: met.get(name, 0) + len(output)})

        experts = dict(self.model.get_submodule("experts").named_children())
        handles = [expert.register_forward_hook(meet(name)) for name, expert in experts.items()]
        skill = super().skill()
        for handle in handles:
            handle.remove()
        return min(skill, sum(count > 0.02 * self.asked() for count in met.values()) / len(experts))


class Decorrelated(Program):
    """Two views alike in each feature, and no two features alike. Its skill: how codes differ, as a share of size."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: apart (how much it counts that no two features are alike, and that each varies at all)."""
        self.data = load("cloth").train[0]
        self.apart = self.it.options.get("apart", 1.0)
        net = nn.Sequential()
        net.add_module("see1", nn.Conv2d(3, 12, 3, stride=2, padding=1))
        net.add_module("silu1", nn.SiLU())
        net.add_module("see2", nn.Conv2d(12, 16, 3, stride=2, padding=1))
        net.add_module("silu2", nn.SiLU())
        net.add_module("flat", nn.Flatten())
        net.add_module("code", nn.Linear(144, 16))
        return net

    def view(self, x: torch.Tensor) -> torch.Tensor:
        """Moved by up to two pixels, with noise."""
        moved = x.roll((int(torch.randint(3, ())), int(torch.randint(3, ()))), (2, 3))
        return self.training.feed(moved + 0.2 * torch.randn_like(x))

    def loss(self) -> torch.Tensor:
        """The correlations between two views: one for a feature with itself, zero with others."""
        x = self.data[self.draw(len(self.data))]
        a, b = self.model(self.view(x)), self.model(self.view(x))
        if not self.apart:
            return F.mse_loss(a, b)
        a, b = ((code - code.mean(0)) / (code.std(0) + 1e-4) for code in (a, b))
        both = a.T @ b / len(x)
        own = (1.0 - both.diagonal()).square().sum()
        loss: torch.Tensor = own + 0.05 * self.apart * (both.square().sum() - both.diagonal().square().sum())
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        return spread_of(self.model(self.training.feed(self.data[:400])))


class Earth(Program):
    """Points of a board by a generator and a critic without a bound. Its skill: as `pairs.Adversaries` has it."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: penalty (on the critic's slopes), turns (of the critic to one of the generator's), faster."""
        x, y = load("board").train
        self.data = x[y == 1]
        options = {"penalty": 0.4, "turns": 3, "faster": 1.0, "noise": 1.0, **self.it.options}
        self.penalty, self.turns, self.noise = options["penalty"], options["turns"], options["noise"]
        self.maker, self.critic = nn.Sequential(), nn.Sequential()
        for net, first, last in ((self.maker, 6, 2), (self.critic, 2, 1)):
            for i, (a, b) in enumerate(((first, 40), (40, 40), (40, last)), 1):
                net.add_module(f"lin{i}", nn.Linear(a, b))
                if i < 3:
                    net.add_module(f"soft{i}", nn.Softplus(3.0))
        self.other = torch.optim.Adam(self.critic.parameters(), self.it.rate * options["faster"], betas=(0.5, 0.9))
        with torch.no_grad():
            self.first = distance(self.maker(torch.randn(400, 6)), self.data[:400])
        return nn.ModuleDict({"maker": self.maker, "critic": self.critic})

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The generator's."""
        return torch.optim.Adam(self.maker.parameters(), self.it.rate, betas=(0.5, 0.9))

    def step(self, step: int) -> float:
        """The critic's turns, then the generator's."""
        for _ in range(self.turns):
            real = self.training.feed(self.data[self.draw(len(self.data))])
            fake = self.maker(self.noise * torch.randn(len(real), 6)).detach()
            between = torch.lerp(real, fake, torch.rand(len(real), 1)).requires_grad_()
            slope = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)[0]
            steep = (slope.square().sum(1) + 1e-12).sqrt() - 1.0
            loss = self.critic(fake).mean() - self.critic(real).mean() + self.penalty * steep.square().mean()
            self.other.zero_grad()
            loss.backward()
            self.other.step()
        loss = -self.critic(self.maker(self.noise * torch.randn(self.it.batch, 6))).mean()
        self.training.optimizer.zero_grad()
        loss.backward()
        self.training.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        made = self.maker(self.noise * torch.randn(400, 6))
        return 1.0 - distance(made, self.data[:400]) / self.first if bool(made.isfinite().all()) else 0.0


def _threads() -> tuple[torch.Tensor, torch.Tensor]:
    """The first colour of cloth as 144 numbers, to train on and to measure on."""
    task = load("cloth")
    return task.train[0][:, 0].flatten(1), task.test[0][:, 0].flatten(1)


class CodesNet(nn.Module):
    """inward, narrow, codes (a table), widen, outward: each of four parts of a code is the nearest of 24."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.inward, self.narrow = nn.Linear(144, 64), nn.Linear(64, 16)
        self.codes = nn.Embedding(24, 4)
        nn.init.normal_(self.codes.weight, 0.0, start)
        self.codes.weight.requires_grad = False
        self.widen, self.outward = nn.Linear(16, 64), nn.Linear(64, 144)

    def look(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 144) to (samples, 4, 4)."""
        looked: torch.Tensor = self.narrow(F.relu(self.inward(x))).unflatten(-1, (4, 4))
        return looked

    def nearest(self, looked: torch.Tensor) -> torch.Tensor:
        """The places of the nearest codes, (samples, 4)."""
        places: torch.Tensor = torch.cdist(looked.flatten(0, 1), self.codes.weight).argmin(1)
        return places.view(-1, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(samples, 144) to copies, what was looked at, and places."""
        looked = self.look(x)
        places = self.nearest(looked.detach())
        chosen = looked + (self.codes(places) - looked).detach()
        return self.outward(F.relu(self.widen(chosen.flatten(1)))), looked, places


class Codes(Program):
    """Codes that follow the mean of what chooses them. Its skill: the lesser of R² and twice the share in use."""

    def build(self) -> nn.Module:
        """Options: start (the codes' deviation), renew (whether a code that nobody chooses moves to a sample)."""
        self.data, self.test = _threads()
        options = {"start": 0.3, "renew": True, **self.it.options}
        self.renew = options["renew"]
        self.counts, self.sums = torch.ones(24), torch.zeros(24, 4)
        net = CodesNet(options["start"])
        self.sums += net.codes.weight
        return net

    def loss(self) -> torch.Tensor:
        """Squared error, and the way to the nearest code; then the codes move."""
        net = self.model
        assert isinstance(net, CodesNet)
        x = self.training.feed(self.data[self.draw(len(self.data))])
        copy, looked, places = net(x)
        loss = F.mse_loss(copy, x) + 0.25 * F.mse_loss(looked, net.codes.weight[places])
        with torch.no_grad():
            chosen = F.one_hot(places.flatten(), 24).float()
            self.counts.mul_(0.9).add_(0.1 * chosen.sum(0))
            self.sums.mul_(0.9).add_(0.1 * chosen.T @ looked.flatten(0, 1))
            moved = self.sums / self.counts.clamp_min(1e-3)[:, None]
            used = self.counts > 0.05
            net.codes.weight[used] = moved[used]
            if self.renew and bool((~used).any()):
                some = looked.flatten(0, 1)[torch.randint(looked.shape[0] * 4, (24,))]
                net.codes.weight[~used] = some[~used]
                self.counts[~used], self.sums[~used] = 1.0, some[~used]
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        net = self.model
        assert isinstance(net, CodesNet)
        used = len(net(self.data)[2].unique()) / 24.0
        return min(explained(net(self.test)[0], self.test), 2.0 * used)


class WeaverNet(nn.Module):
    """in1, in2, middle, width (logarithms), out1, out2: a variational coder of cloth."""

    def __init__(self, code: int, deep: int) -> None:
        super().__init__()
        self.in1, self.in2 = nn.Linear(144, 64), nn.Linear(64, 32)
        self.middle, self.width = nn.Linear(32, code), nn.Linear(32, code)
        self.out1 = nn.Linear(code, 64)
        self.more = nn.ModuleList(nn.Linear(64, 64) for _ in range(deep))
        self.out2 = nn.Linear(64, 144)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(samples, 144) to copies, means and logarithms of deviations."""
        h = F.elu(self.in2(F.elu(self.in1(x))))
        middle, width = self.middle(h), self.width(h)
        code = middle + width.exp() * torch.randn_like(middle) if self.training else middle
        h = F.elu(self.out1(code))
        for layer in self.more:
            h = h + F.elu(layer(h))
        return self.out2(h), middle, width


class Weaver(Program):
    """A variational coder of cloth. Its skill: R² of copies of test samples from the mean code."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: code, deep, beta (of the divergence)."""
        self.data, self.test = _threads()
        self.beta = self.it.options.get("beta", 0.3)
        return WeaverNet(self.it.options.get("code", 8), self.it.options.get("deep", 0))

    def loss(self) -> torch.Tensor:
        """Half the squared error of all pixels, and the divergence."""
        x = self.training.feed(self.data[self.draw(len(self.data))])
        copy, middle, width = self.model(x)
        away = 0.5 * (middle.square() + (2.0 * width).exp() - 1.0 - 2.0 * width).sum(1).mean()
        loss: torch.Tensor = 0.5 * (copy - x).square().sum(1).mean() + self.beta * away
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        self.model.eval()
        copies = self.model(self.training.feed(self.test))[0]
        self.model.train()
        return explained(copies, self.test)


class Glider(Program):
    """An actor steers, a critic foretells the reward. Its skill: R² of the rudder beside the best one."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: worth (of a reward), spread (of the tries about the actor's own)."""
        options = {"worth": 1.0, "spread": 0.4, **self.it.options}
        self.worth, self.spread = options["worth"], options["spread"]
        self.actor, self.critic = nn.Sequential(), nn.Sequential()
        for net, sizes in ((self.actor, (3, 32, 32, 1)), (self.critic, (4, 48, 48, 1))):
            for i in range(3):
                net.add_module(f"full{i + 1}", nn.Linear(sizes[i], sizes[i + 1]))
                if i < 2:
                    net.add_module(f"bend{i + 1}", nn.CELU())
        self.actor.add_module("rudder", nn.Tanh())
        self.other = torch.optim.Adam(self.critic.parameters(), 2.0 * self.it.rate)
        return nn.ModuleDict({"actor": self.actor, "critic": self.critic})

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The actor's."""
        return super().optimizer(self.actor)

    @staticmethod
    def best(state: torch.Tensor) -> torch.Tensor:
        """The best rudder, from -1 to 1."""
        return torch.sin(state[:, :1] + 0.5 * state[:, 1:2] * state[:, 2:])

    def step(self, step: int) -> float:
        """The critic's turn, then the actor's."""
        state = torch.randn(self.it.batch, 3, generator=self.order)
        seen = self.training.feed(state)
        tried = self.actor(seen).detach() + self.spread * torch.randn(self.it.batch, 1)
        reward = -self.worth * (tried - self.best(state)).square()
        foretold = F.mse_loss(self.critic(torch.cat([seen, tried], 1)), reward)
        self.other.zero_grad()
        foretold.backward()
        self.other.step()
        loss = -self.critic(torch.cat([seen, self.actor(seen)], 1)).mean()
        self.training.optimizer.zero_grad()
        loss.backward()
        self.training.optimizer.step()
        return float(foretold.detach())

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        state = torch.randn(400, 3, generator=torch.Generator().manual_seed(4))
        return explained(self.actor(self.training.feed(state)), self.best(state))


class TranslatorNet(nn.Module):
    """heard, listen, said, speak, top: one GRU reads, another one writes what it is told so far."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heard, self.said = nn.Embedding(13, width), nn.Embedding(13, width)
        self.listen, self.speak = nn.GRU(width, width, batch_first=True), nn.GRU(width, width, batch_first=True)
        self.top = nn.Linear(width, 13)

    def forward(self, x: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """(samples, places) twice to (samples, places, 13)."""
        state = self.listen(self.heard(x))[1]
        answer: torch.Tensor = self.top(self.speak(self.said(before), state)[0])
        return answer


class Translator(Program):
    """Four symbols, each moved by three and said from the last to the first. Its skill: of symbols, told what was."""

    def build(self) -> nn.Module:
        """Options: width."""
        generator = torch.Generator().manual_seed(49)
        self.x = torch.randint(1, 13, (2000, 4), generator=generator)
        self.y = ((self.x.flip(1) + 2) % 12) + 1
        return TranslatorNet(self.it.options.get("width", 40))

    def answer(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Scores of each symbol, told those before it."""
        scores: torch.Tensor = self.model(self.training.feed(x), F.pad(y[:, :-1], (1, 0)))
        return scores

    def loss(self) -> torch.Tensor:
        """Cross entropy of each symbol."""
        some = self.draw(1600)
        return F.cross_entropy(self.answer(self.x[some], self.y[some]).flatten(0, 1), self.y[some].flatten())

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        scores = self.answer(self.x[1600:], self.y[1600:])
        hits = float((scores.argmax(-1) == self.y[1600:]).float().mean())
        return (12.0 * hits - 1.0) / 11.0 if bool(scores.isfinite().all()) else 0.0


KINDS: Final = {
    "balanced": "Balanced",
    "decorrelated": "Decorrelated",
    "earth": "Earth",
    "codes": "Codes",
    "weaver": "Weaver",
    "glider": "Glider",
    "translator": "Translator",
}
