"""Trainings of the fifth part (held out until 2026-12-01): codes, matches, sounds, finders."""

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

from bench.zoo.data import load
from bench.zoo.programs.fourth import Balanced
from bench.zoo.programs.program import Program, explained

__all__ = ["KINDS", "GridFinder", "Heard", "HiddenParts", "Matched", "Molecules", "SharedOut", "Sketched"]


class SharedOut(Balanced):
    """One expert for each place, and a loss that shares places out. Its skill: the task's, or the experts' in use.

    Options of the network, and of the program: even (how much an even share counts).
    """

    _even = 0.3

    def unevenness(self, shares: torch.Tensor) -> torch.Tensor:
        """Of the shares, as the network weighs them."""
        return shares.sum()

    def asked(self) -> int:
        """How many places experts are asked for in the test."""
        return self.task.test[0].numel()


class Ears(nn.Module):
    """low, act, gru, says: frames to scores of five signs and of none (0)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.low, self.act = nn.Conv1d(6, width, 3, padding=1), nn.ReLU()
        self.gru, self.says = nn.GRU(width, width, batch_first=True, bidirectional=True), nn.Linear(2 * width, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 18, 6) to (samples, 18, 6)."""
        h = self.act(self.low(x.transpose(1, 2))).transpose(1, 2)
        scores: torch.Tensor = self.says(self.gru(h)[0])
        return scores


class Heard(Program):
    """Four signs, each a few frames long, by CTC. Its skill: the share of signs that are heard in their order."""

    def build(self) -> nn.Module:
        """Options: width."""
        generator = torch.Generator().manual_seed(60)
        self.y = torch.randint(1, 6, (1400, 4), generator=generator)
        long = torch.randint(2, 5, (1400, 4), generator=generator)
        tones = torch.randn(6, 6, generator=generator)
        tones[0] = 0.0
        self.x = 0.3 * torch.randn(1400, 18, 6, generator=generator)
        for sample in range(1400):
            at = 0
            for sign, size in zip(self.y[sample].tolist(), long[sample].tolist(), strict=True):
                self.x[sample, at : at + size - 1] += 1.5 * tones[sign]
                at += size
        return Ears(self.it.options.get("width", 24))

    def loss(self) -> torch.Tensor:
        """CTC of a new batch."""
        some = self.draw(1100)
        chances = self.model(self.training.feed(self.x[some])).log_softmax(-1).transpose(0, 1)
        frames, signs = torch.full((len(some),), 18), torch.full((len(some),), 4)
        return F.ctc_loss(chances, self.y[some], frames, signs)

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        scores = self.model(self.training.feed(self.x[1100:]))
        if not bool(scores.isfinite().all()):
            return 0.0
        hits = 0
        for best, wanted in zip(scores.argmax(-1), self.y[1100:], strict=True):
            heard = [int(sign) for sign in best.unique_consecutive() if sign]
            hits += sum(a == b for a, b in zip(heard, wanted.tolist(), strict=False))
        return hits / self.y[1100:].numel()


class Towers(nn.Module):
    """seen1, act1, seen2, act2, flat, seen3; read1, act3, read2; scale: images and tables to codes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.seen1, self.act1 = nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU()
        self.seen2, self.act2 = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()
        self.flat, self.seen3 = nn.Flatten(), nn.Linear(256, size)
        self.read1, self.act3, self.read2 = nn.Linear(7, 48), nn.ReLU(), nn.Linear(48, size)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Images (samples, 1, 14, 14) and tables (samples, 7) to scores (samples, samples)."""
        a = F.normalize(self.seen3(self.flat(self.act2(self.seen2(self.act1(self.seen1(x)))))), dim=-1)
        b = F.normalize(self.read2(self.act3(self.read1(told))), dim=-1)
        return self.scale.exp() * a @ b.T


class Matched(Program):
    """Images of stamps, and what is told of them: which belongs to which? Its skill: of 16 that are told, the right.

    What is told is the kind, the height and the place of the ink.
    """

    def build(self) -> nn.Module:
        """Options: size (of codes), scale (the first logarithm of what scores are multiplied by)."""
        task = load("stamps")
        self.x = torch.cat([task.train[0], task.test[0]])
        kinds = F.one_hot(torch.cat([task.train[1], task.test[1]]), 5).float()
        ink = self.x[:, 0].clamp_min(1.0)
        place = torch.arange(14.0)
        down, across = ((ink - 1.0).sum(axis) @ place / (ink - 1.0).sum((1, 2)) for axis in (2, 1))
        told = torch.stack([down, across], 1)
        self.told = torch.cat([kinds, (told - told.mean(0)) / told.std(0)], 1)
        net = Towers(self.it.options.get("size", 16))
        with torch.no_grad():
            net.scale.fill_(self.it.options.get("scale", 2.0))
        return net

    def loss(self) -> torch.Tensor:
        """Cross entropy of a batch, either way."""
        some = torch.randperm(1100, generator=self.order)[: self.it.batch]
        scores = self.model(self.training.feed(self.x[some]), self.told[some])
        own = torch.arange(len(some))
        return 0.5 * (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own))

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        x, told = self.x[1100:1484].split(16), self.told[1100:1484].split(16)
        own = torch.arange(16)
        hits = [
            float((self.model(self.training.feed(a), b).argmax(1) == own).float().mean())
            for a, b in zip(x, told, strict=True)
        ]
        return (16.0 * sum(hits) / len(hits) - 1.0) / 15.0


class GridNet(nn.Module):
    """low, act1, mid, act2, out: an image of 14 rows to 7 by 7 cells of (there is one, two offsets)."""

    def __init__(self, width: int, sure: float) -> None:
        super().__init__()
        self.low, self.act1 = nn.Conv2d(1, width, 5, padding=2), nn.LeakyReLU(0.1)
        self.mid, self.act2 = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.1)
        self.out = nn.Conv2d(2 * width, 3, 5, padding=2)
        with torch.no_grad():
            bias = self.out.bias
            assert bias is not None
            bias[0] = sure

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 1, 14, 14) to (samples, 3, 7, 7)."""
        cells: torch.Tensor = self.out(self.act2(self.mid(self.act1(self.low(x)))))
        return cells


class GridFinder(Program):
    """Where on a plate is the bright square? Its skill: the share whose likeliest cell and place are right."""

    def build(self) -> nn.Module:
        """Options: width, sure (the first bias of "there is one"), boxes (what their error counts)."""
        generator = torch.Generator().manual_seed(61)
        self.place = 1.5 + 11.0 * torch.rand(1400, 2, generator=generator)
        steps = torch.arange(14.0)
        near = [(steps - self.place[:, i, None]).abs().neg().add(2.0).clamp(0.0, 1.0) for i in (0, 1)]
        noise = 0.35 * torch.randn(1400, 1, 14, 14, generator=generator)
        self.x = 2.0 * (near[0][:, :, None] * near[1][:, None])[:, None] + noise
        self.boxes = self.it.options.get("boxes", 1.0)
        return GridNet(self.it.options.get("width", 8), self.it.options.get("sure", -3.0))

    def loss(self) -> torch.Tensor:
        """Binary cross entropy of all cells, and squared error of the place within the right one."""
        some = self.draw(1100)
        cells = self.model(self.training.feed(self.x[some]))
        row, column = (self.place[some] / 2.0).long().clamp(0, 6).unbind(1)
        every = torch.arange(len(some))
        there = torch.zeros(len(some), 7, 7)
        there[every, row, column] = 1.0
        off = self.place[some] / 2.0 - torch.stack([row, column], 1)
        found = F.binary_cross_entropy_with_logits(cells[:, 0], there, reduction="sum") / len(some)
        loss: torch.Tensor = found + self.boxes * F.mse_loss(cells[every, 1:, row, column], off)
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        cells = self.model(self.training.feed(self.x[1100:]))
        if not bool(cells.isfinite().all()):
            return 0.0
        best = cells[:, 0].flatten(1).argmax(1)
        row, column = best // 7, best % 7
        every = torch.arange(len(best))
        said = 2.0 * (cells[every, 1:, row, column] + torch.stack([row, column], 1))
        return float(((said - self.place[1100:]).abs().amax(1) < 1.2).float().mean())


class Bonds(nn.Module):
    """atoms, sums.0.1, .2, .3, ..., head: each atom is given the sum of those it is bound to, again and again."""

    def __init__(self, width: int, depth: int, norm: bool) -> None:
        super().__init__()
        self.atoms = nn.Embedding(4, width)
        self.sums = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width),
                nn.LayerNorm(width) if norm else nn.Identity(),
            )
            for _ in range(depth)
        )  # fmt: skip
        self.head = nn.Linear(width, 3)

    def forward(self, atoms: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
        """(samples, 10) atoms and (samples, 10, 10) bonds to (samples, 3)."""
        h = self.atoms(atoms)
        for layer in self.sums:
            h = layer(h + bound @ h)
        answer: torch.Tensor = self.head(h.sum(1))
        return answer


class Molecules(Program):
    """Ten atoms and bonds at random: how many bonds join the first two kinds? Its skill: R² of one, two and all."""

    def build(self) -> nn.Module:
        """Options: width, depth, norm."""
        generator = torch.Generator().manual_seed(62)
        self.atoms = torch.randint(4, (1400, 10), generator=generator)
        upper = (torch.rand(1400, 10, 10, generator=generator) < 0.2).float().triu(1)
        self.bound = upper + upper.transpose(1, 2)
        first, second = (self.atoms == 0).float(), (self.atoms == 1).float()
        joined = torch.stack(
            [(a[:, None] @ self.bound @ b[..., None]).flatten() for a, b in ((first, second), (first, first))]
            + [self.bound.sum((1, 2))],
            1,
        )
        self.y = (joined - joined.mean(0)) / joined.std(0)
        options = {"width": 24, "depth": 2, "norm": True, **self.it.options}
        return Bonds(**options)

    def loss(self) -> torch.Tensor:
        """Squared error of a new batch."""
        some = self.draw(1100)
        return F.mse_loss(self.model(self.atoms[some], self.training.feed(self.bound[some])), self.y[some])

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        return explained(self.model(self.atoms[1100:], self.training.feed(self.bound[1100:])), self.y[1100:])


class SketchNet(nn.Module):
    """in1, act1, in2, act2, mean, spread (logarithms), out1, act3, out2: a variational coder of a series."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.in1, self.act1 = nn.Conv1d(1, 12, 5, stride=2, padding=2), nn.ReLU()
        self.in2, self.act2 = nn.Linear(144, 48), nn.ReLU()
        self.mean, self.spread = nn.Linear(48, code), nn.Linear(48, code)
        self.out1, self.act3, self.out2 = nn.Linear(code, 64), nn.ReLU(), nn.Linear(64, 24)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(samples, 24, 1) to copies, means and logarithms of variances."""
        h = self.act2(self.in2(self.act1(self.in1(x.transpose(1, 2))).flatten(1)))
        mean, spread = self.mean(h), self.spread(h)
        code = mean + (0.5 * spread).exp() * torch.randn_like(mean) if self.training else mean
        return self.out2(self.act3(self.out1(code))), mean, spread


class Sketched(Program):
    """A variational coder of tides. Its skill: R² of copies from the mean code."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: code, beta (of the divergence)."""
        task = load("tides")
        self.data, self.test = task.train[0], task.test[0]
        self.beta = self.it.options.get("beta", 0.02)
        return SketchNet(self.it.options.get("code", 6))

    def loss(self) -> torch.Tensor:
        """Squared error of the copies, and the divergence."""
        x = self.training.feed(self.data[self.draw(len(self.data))])
        copy, mean, spread = self.model(x)
        away = 0.5 * (mean.square() + spread.exp() - 1.0 - spread).sum(1).mean()
        loss: torch.Tensor = F.mse_loss(copy, x[..., 0]) + self.beta * away
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        self.model.eval()
        copies = self.model(self.training.feed(self.test))[0]
        self.model.train()
        return explained(copies, self.test[..., 0])


class PatchNet(nn.Module):
    """lift, norm, seen (attention), up, act, down, give: patches of a series, some of which are hidden."""

    def __init__(self, width: int, blank: float) -> None:
        super().__init__()
        self.lift, self.norm = nn.Linear(4, width), nn.LayerNorm(width)
        self.hidden = nn.Parameter(torch.full((width,), blank))
        self.places = nn.Parameter(0.3 * torch.randn(6, width))
        self.seen = nn.MultiheadAttention(width, 2, batch_first=True)
        self.up, self.act, self.down = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        self.give = nn.Linear(width, 4)

    def forward(self, x: torch.Tensor, hide: torch.Tensor) -> torch.Tensor:
        """(samples, 6, 4) patches and (samples, 6) which are hidden, to (samples, 6, 4)."""
        h = torch.where(hide[..., None], self.hidden, self.lift(x)) + self.places
        seen = self.norm(h)
        h = h + self.seen(seen, seen, seen, need_weights=False)[0]
        given: torch.Tensor = self.give(h + self.down(self.act(self.up(h))))
        return given


class HiddenParts(Program):
    """Of six patches of a tide some are hidden, and told from the others. Its skill: R² of those that are hidden."""

    def build(self) -> nn.Module:
        """Options: width, share (that is hidden), blank (what the hidden begin as)."""
        task = load("tides")
        self.data, self.test = (part[..., 0].unflatten(1, (6, 4)) for part in (task.train[0], task.test[0]))
        options = {"width": 32, "share": 0.34, "blank": 0.0, **self.it.options}
        self.share = options["share"]
        return PatchNet(options["width"], options["blank"])

    def hide(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Which patches of each sample are hidden: at least one."""
        drawn = torch.rand(count, 6, generator=generator)
        return drawn <= drawn.sort(1).values[:, max(round(6 * self.share) - 1, 0), None]

    def loss(self) -> torch.Tensor:
        """Squared error of what is hidden."""
        x = self.data[self.draw(len(self.data))]
        hide = self.hide(len(x), self.order)
        return F.mse_loss(self.model(self.training.feed(x), hide)[hide], x[hide])

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        hide = self.hide(len(self.test), torch.Generator().manual_seed(9))
        return explained(self.model(self.training.feed(self.test), hide)[hide], self.test[hide])


KINDS: Final = {
    "shared_out": "SharedOut",
    "heard": "Heard",
    "matched": "Matched",
    "grid_finder": "GridFinder",
    "molecules": "Molecules",
    "sketched": "Sketched",
    "hidden_parts": "HiddenParts",
}
