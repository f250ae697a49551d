"""Held out: trainings of the seventh part that group, compare, code, dream, and swing."""

import itertools
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

from bench.zoo.data import load
from bench.zoo.programs.program import Program, explained, spread_of

__all__ = ["KINDS", "Centred", "Dreamt", "Kept", "Levels", "LikeWithLike", "TwoCodes", "stack"]


def stack(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """lin1, act1, lin2, ..., of these sizes."""
    net = nn.Sequential()
    for i, (a, b) in enumerate(itertools.pairwise(sizes), 1):
        net.add_module(f"lin{i}", nn.Linear(a, b))
        if i < len(sizes) - 1:
            net.add_module(f"act{i}", act())
    return net


class Centred(Program):
    """A student tells a slowly following teacher's groups of two views (DINO). Its skill: how codes differ."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: centre (whether a mean is taken off), follow (what a teacher keeps of itself), heat (of groups)."""
        self.data = load("tiles").train[0].flatten(1)
        options = {"centre": True, "follow": 0.95, "heat": 0.08, **self.it.options}
        self.centre, self.follow, self.heat = options["centre"], options["follow"], options["heat"]
        self.student, self.teacher = stack(100, 64, 32, 24, act=nn.GELU), stack(100, 64, 32, 24, act=nn.GELU)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        self.middle = torch.zeros(24)
        return nn.ModuleDict({"student": self.student, "teacher": self.teacher})

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The student's."""
        return torch.optim.AdamW(self.student.parameters(), self.it.rate)

    def loss(self) -> torch.Tensor:
        """Cross entropy of the teacher's groups of one view and the student's of the other."""
        x = self.data[self.draw(len(self.data))]
        one, two = (self.training.feed(x + 0.4 * torch.randn(x.shape, generator=self.order)) for _ in "ab")
        with torch.no_grad():
            told = self.teacher(one)
            groups = ((told - self.middle) / self.heat).softmax(-1)
            if self.centre:
                self.middle = 0.9 * self.middle + 0.1 * told.mean(0)
        loss: torch.Tensor = -(groups * (self.student(two) / 0.2).log_softmax(-1)).sum(-1).mean()
        return loss

    @torch.no_grad()
    def step(self, step: int) -> float:
        """The student's step, and then the teacher's."""
        with torch.enable_grad():
            loss = super().step(step)
        for own, other in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            own.lerp_(other, 1.0 - self.follow)
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        codes = self.student(self.training.feed(self.data[:400]))
        return spread_of((codes / 0.2).softmax(-1)) if bool(codes.isfinite().all()) else 0.0


class LikeWithLike(Program):
    """Codes of a class near each other, apart from others (SupCon). Its skill: errors that the nearest mean avoids."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: heat (of the softmax), unit (whether codes are of length one)."""
        self.task = load("tiles")
        options = {"heat": 0.3, "unit": True, **self.it.options}
        self.heat, self.unit = options["heat"], options["unit"]
        return stack(100, 64, 48, 16)

    def samples(self) -> torch.Tensor | None:
        """The inputs of the training part."""
        return self.task.train[0].flatten(1)

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 1, 10, 10) to (samples, 16)."""
        codes: torch.Tensor = self.model(self.training.feed(x.flatten(1)))
        return F.normalize(codes, dim=-1) if self.unit else codes

    def loss(self) -> torch.Tensor:
        """Minus the chance that a sample's like is meant."""
        x, y = self.task.train
        some = self.draw(len(x))
        codes = self.codes(x[some])
        own = torch.eye(len(some), dtype=torch.bool)
        told = (codes @ codes.T / self.heat).masked_fill(own, -1e9).log_softmax(-1)
        like = (y[some][:, None] == y[some]) & ~own
        loss: torch.Tensor = -(told * like).sum(-1).div(like.sum(-1).clamp_min(1)).mean()
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        (x, y), (other, true) = self.task.train, self.task.test
        codes = self.codes(x)
        means = torch.stack([codes[y == kind].mean(0) for kind in range(4)])
        return self.task.skill(-torch.cdist(self.codes(other), means), true)


class Levels(Program):
    """A coder of lamps, each number of whose code is one of nine. Its skill: R² of copies of test samples."""

    def build(self) -> nn.Module:
        """Options: code, wide (by how much what is rounded is multiplied before its tanh)."""
        task = load("lamps")
        self.data, self.test = task.train[0].flatten(1), task.test[0].flatten(1)
        options = {"code": 10, "wide": 1.0, **self.it.options}
        self.wide = options["wide"]
        net = nn.ModuleDict({"into": stack(192, 64, options["code"]), "tanh": nn.Tanh()})
        net["out"] = stack(options["code"], 64, 192)
        return net

    def copies(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 192) to the same."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        soft = 4.0 * net["tanh"](self.wide * net["into"](x))
        copies: torch.Tensor = net["out"](0.25 * (soft + (soft.round() - soft).detach()))
        return copies

    def loss(self) -> torch.Tensor:
        """Squared error of the copies."""
        x = self.training.feed(self.data[self.draw(len(self.data))])
        return F.mse_loss(self.copies(x), x)

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        return explained(self.copies(self.training.feed(self.test)), self.test)


class TwoCodes(Program):
    """A code that is the sum of two, each the nearest of sixteen. Its skill: the lesser of R² and of codes in use."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: start (the codes' deviation), commit (what it counts that codes are near)."""
        generator = torch.Generator().manual_seed(91)
        heaps = 1.5 * torch.randn(16, 8, generator=generator)
        which = torch.randint(16, (1600,), generator=generator)
        self.x = heaps[which] + 0.4 * torch.randn(1600, 8, generator=generator)
        options = {"start": 0.5, "commit": 0.25, **self.it.options}
        self.commit = options["commit"]
        net = nn.ModuleDict({"into": stack(8, 40, 4), "first": nn.Embedding(16, 4), "second": nn.Embedding(16, 4)})
        for name in ("first", "second"):
            table = net[name]
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, 0.0, options["start"])
        net["out"] = stack(4, 40, 8)
        return net

    def copies(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """(samples, 8) to copies, how far codes are away, and places in both tables."""
        net = self.model
        assert isinstance(net, nn.ModuleDict)
        left = code = net["into"](x)
        lost, places = torch.zeros(()), []
        for name in ("first", "second"):
            table: Any = net[name]
            places.append(torch.cdist(left.detach(), table.weight.detach()).argmin(-1))
            near = table(places[-1])
            lost = lost + F.mse_loss(near, left.detach()) + self.commit * F.mse_loss(left, near.detach())
            left = left - near.detach()
        return net["out"](code - left.detach()), lost, places

    def loss(self) -> torch.Tensor:
        """Squared error of the copies, and how far codes are away."""
        x = self.training.feed(self.x[self.draw(1200)])
        copies, lost, _ = self.copies(x)
        return F.mse_loss(copies, x) + lost

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        x = self.training.feed(self.x[1200:])
        copies, _, places = self.copies(x)
        used = min(len(part.unique()) for part in places) / 16.0
        return min(explained(copies, self.x[1200:]), 2.0 * used)


class DreamtNet(nn.Module):
    """hear (GRU), mean, spread (logarithms), begin, speak (GRU), say: a variational coder of sequences."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.hear, self.mean, self.spread = nn.GRU(1, 28, batch_first=True), nn.Linear(28, code), nn.Linear(28, code)
        self.begin, self.speak = nn.Linear(code, 28), nn.GRU(code, 28, batch_first=True)
        self.say = nn.Linear(28, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(samples, places, 1) to copies, means and logarithms of variances."""
        h = self.hear(x)[0][:, -1]
        mean, spread = self.mean(h), self.spread(h)
        code = mean + (0.5 * spread).exp() * torch.randn_like(mean) if self.training else mean
        told = code[:, None].expand(-1, x.shape[1], -1).contiguous()
        return self.say(self.speak(told, self.begin(code)[None])[0]), mean, spread


class Dreamt(Program):
    """A variational coder of slow waves. Its skill: R² of copies of test samples from the mean code."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: code, beta (of the divergence)."""
        generator = torch.Generator().manual_seed(92)
        speed, phase, size = (torch.rand(1500, 1, generator=generator) for _ in range(3))
        along = torch.arange(14) / 14.0
        self.x = ((0.5 + size) * (6.3 * (phase + (0.4 + speed) * along)).sin())[..., None]
        self.beta = self.it.options.get("beta", 0.003)
        return DreamtNet(self.it.options.get("code", 6))

    def loss(self) -> torch.Tensor:
        """Squared error of the copies, and the divergence."""
        x = self.training.feed(self.x[self.draw(1100)])
        copies, mean, spread = self.model(x)
        away = 0.5 * (mean.square() + spread.exp() - 1.0 - spread).sum(1).mean()
        loss: torch.Tensor = F.mse_loss(copies, x) + self.beta * away
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        self.model.eval()
        copies = self.model(self.training.feed(self.x[1100:]))[0]
        self.model.train()
        return explained(copies, self.x[1100:])


class Kept(Program):
    """How a pendulum moves, from a learned energy's slopes (a Hamiltonian network). Its skill: R² of the motion."""

    def build(self) -> nn.Module:
        """Options: width."""
        generator = torch.Generator().manual_seed(93)
        self.x = 3.0 * torch.rand(1500, 2, generator=generator) - 1.5
        self.y = torch.stack([self.x[:, 1], -(2.0 * self.x[:, 0]).sin()], 1)
        return stack(2, self.it.options.get("width", 48), 48, 1, act=nn.Tanh)

    def motion(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 2) to the same."""
        x = self.training.feed(x).detach().requires_grad_()
        with torch.enable_grad():
            slope = torch.autograd.grad(self.model(x).sum(), x, create_graph=True)[0]
        return torch.stack([slope[:, 1], -slope[:, 0]], 1)

    def loss(self) -> torch.Tensor:
        """Squared error of the motion."""
        some = self.draw(1100)
        return F.mse_loss(self.motion(self.x[some]), self.y[some])

    def skill(self) -> float:
        """As the class says."""
        return explained(self.motion(self.x[1100:]).detach(), self.y[1100:])


KINDS: Final = {
    "centred": "Centred",
    "like_with_like": "LikeWithLike",
    "levels": "Levels",
    "two_codes": "TwoCodes",
    "dreamt": "Dreamt",
    "kept": "Kept",
}
