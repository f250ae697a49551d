"""Runs a drawn training, watched, and keeps its log and what came of it."""

import dataclasses
import json
import math
import shutil
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import torch
from torch import Tensor, nn, optim

import fastact.torch
from bench.sound.families import network
from bench.sound.losses import LOSSES, answers
from bench.sound.setup import Setup
from bench.sound.sources import SOURCES
from bench.sound.task import Goal, prepared, skill
from fastact.monitor.monitor import ActivationMonitor

__all__ = ["OPTIMIZERS", "SCHEDULES", "Course", "Outcome", "gone_through", "kept", "train", "trained"]


class Optimizer(NamedTuple):
    """An optimiser.

    Attributes:
        make: of parameters; takes ``lr`` and ``weight_decay``.
        rates: the least and the largest usual learning rate, and some beyond: not all of them work everywhere.
        how: its further arguments.
    """

    make: Callable[..., optim.Optimizer]
    rates: tuple[float, float]
    how: Mapping[str, Any] = MappingProxyType({})


#: By name.
OPTIMIZERS: Final[dict[str, Optimizer]] = {
    "SGD": Optimizer(optim.SGD, (1e-2, 1.0)),
    "SGD with momentum": Optimizer(optim.SGD, (3e-3, 0.3), {"momentum": 0.9}),
    "SGD with Nesterov's momentum": Optimizer(optim.SGD, (3e-3, 0.3), {"momentum": 0.9, "nesterov": True}),
    "Adam": Optimizer(optim.Adam, (5e-4, 3e-2)),
    "AdamW": Optimizer(optim.AdamW, (5e-4, 3e-2)),
    "AMSGrad": Optimizer(optim.Adam, (5e-4, 3e-2), {"amsgrad": True}),
    "NAdam": Optimizer(optim.NAdam, (5e-4, 3e-2)),
    "RAdam": Optimizer(optim.RAdam, (5e-4, 3e-2)),
    "Adamax": Optimizer(optim.Adamax, (1e-3, 5e-2)),
    "Adagrad": Optimizer(optim.Adagrad, (1e-2, 0.3)),
    "RMSprop": Optimizer(optim.RMSprop, (3e-4, 1e-2)),
    "Adadelta": Optimizer(optim.Adadelta, (0.3, 3.0)),
}
SCHEDULES: Final = ("", "cosine", "steps", "exponential", "warm-up", "one cycle", "plateau")


class Course:
    """What goes on around a drawn training. By itself nothing: it is not watched, and its data stay as they are."""

    def begins(self, model: nn.Module, criterion: Any) -> None:
        """The first step is about to begin."""

    def data(self, inputs: tuple[Tensor, ...], wanted: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """All that is trained on, before batches are drawn of it."""
        return inputs, wanted

    def batch(self, inputs: tuple[Tensor, ...], wanted: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """One batch."""
        return inputs, wanted

    def asked(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What an evaluation goes by."""
        return inputs

    def stepped(self, loss: float) -> None:
        """A step has ended."""

    def ended(self) -> None:
        """The last step has ended; also where one raised."""

    def answered(self, given: Tensor) -> Tensor:
        """What the trained network says."""
        return given


class _Watched(Course):
    """A training that is recorded, as the draw has it."""

    def __init__(self, setup: Setup, path: Path) -> None:
        self.setup = setup
        self.monitor = ActivationMonitor(path)
        self.watch: fastact.torch.Watch | None = None

    def begins(self, model: nn.Module, criterion: Any) -> None:
        """Attaches fastact."""
        how = dict(self.setup.watch)
        if how["loss"] == "criterion":
            own = isinstance(criterion, nn.Module) or getattr(criterion, "__module__", "") == "torch.nn.functional"
            how["loss"] = criterion if own else None
        self.watch = fastact.torch.watch(model, self.monitor, **how)

    def stepped(self, loss: float) -> None:
        """Ends a step."""
        self.monitor.step()

    def ended(self) -> None:
        """Ends the recording."""
        watch, self.watch = self.watch, None
        if watch is not None:
            watch.remove()
        self.monitor.close()
        if watch is not None and watch.failures:
            raise AssertionError(f"{self.setup.name}: outputs were not recorded")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a training.

    Attributes:
        setup: what was drawn.
        path: of its log.
        skill: on held-out samples; see `task.skill`.
        losses: of each step; None where it is not finite.
        broken: what was raised, "" if nothing was.
    """

    setup: Setup
    path: Path
    skill: float
    losses: tuple[float | None, ...]
    broken: str = ""

    @property
    def fell(self) -> bool:
        """Whether the loss of the last fifth lies below that of the first steps."""
        some = max(len(self.losses) // 20, 3)
        first, last = self.losses[:some], self.losses[-len(self.losses) // 5 :]
        if None in first or None in last or not last:
            return False
        return statistics.median(cast("tuple[float, ...]", last)) < statistics.median(cast("tuple[float, ...]", first))

    @property
    def sound(self) -> bool:
        """Whether it has learned what can be learned, or most of it."""
        return not self.broken and self.fell and self.skill >= SOURCES[self.setup.source].bar


def kept(setup: Setup, folder: Path) -> Outcome | None:
    """The outcome of before, where the same was drawn."""
    place = folder / setup.name
    if not (place / "outcome.json").is_file():
        return None
    found = json.loads((place / "outcome.json").read_text(encoding="utf-8"))
    if found["setup"] != dataclasses.asdict(setup):
        return None
    return Outcome(setup, place / "log", found["skill"], tuple(found["losses"]), found["broken"])


def train(setup: Setup, folder: Path) -> Outcome:
    """The outcome, trained anew where another was drawn; its log is kept in a folder of its own."""
    if (found := kept(setup, folder)) is not None:
        return found
    place = folder / setup.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    it = trained(setup, place / "log")
    facts = {"setup": dataclasses.asdict(setup), "skill": it.skill, "losses": it.losses, "broken": it.broken}
    (place / "outcome.json").write_text(json.dumps(facts), encoding="utf-8")
    return it


def trained(setup: Setup, path: Path | None) -> Outcome:
    """Trains, watched where there is a path, and measures."""
    losses: list[float | None] = []
    course = Course() if path is None else _Watched(setup, path)
    with warnings.catch_warnings():
        # PyTorch warns of order of schedules and of shapes that it takes all the same: as in other people's terminals.
        warnings.simplefilter("ignore")
        try:
            reached = gone_through(setup, course, losses)
        except (ValueError, RuntimeError) as error:
            return Outcome(setup, path or Path(), 0.0, tuple(losses), f"{type(error).__name__}: {str(error)[:200]}")
    return Outcome(setup, path or Path(), round(reached, 4), tuple(losses))


def gone_through(setup: Setup, course: Course, losses: list[float | None]) -> float:
    """Trains, and gives the skill that is reached; losses of the steps go into a list."""
    task = prepared(SOURCES[setup.source], setup.scale, factor=setup.factor, offset=setup.offset)
    fit = LOSSES[setup.loss]
    model = network(setup, task, fit.last() if fit.last else None)
    criterion = fit.criterion(task)
    how = OPTIMIZERS[setup.optimizer]
    optimizer = how.make(model.parameters(), lr=setup.rate, weight_decay=setup.decay, **how.how)
    schedule = _schedule(setup, optimizer)

    def loss_of(inputs: tuple[Tensor, ...], wanted: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=setup.bfloat16):
            given = model(*inputs)
        given, wanted = answers(task.goal, given.float(), wanted)
        loss: Tensor = criterion(given, wanted)
        if setup.family == "vae":
            loss = loss + 1e-3 * cast("Any", model).divergence
        return loss

    def step(at: int) -> float:
        optimizer.zero_grad()
        total = 0.0
        for _ in range(setup.accumulate):
            loss = loss_of(*course.batch(*next(batches)))
            (loss / setup.accumulate).backward()
            total += loss.item() / setup.accumulate
        if setup.clip == "norm":
            nn.utils.clip_grad_norm_(model.parameters(), setup.clip_at)
        elif setup.clip == "value":
            nn.utils.clip_grad_value_(model.parameters(), setup.clip_at)
        optimizer.step()
        if isinstance(schedule, optim.lr_scheduler.ReduceLROnPlateau):
            if at % 10 == 9:
                schedule.step(total)
        elif schedule is not None:
            schedule.step()
        if setup.evaluate and at % setup.evaluate == setup.evaluate - 1:
            model.eval()
            with torch.no_grad():
                loss_of(course.asked(tuple(each[:256] for each in task.test[0])), task.test[1][:256])
            model.train()
        return total

    model.train()
    course.begins(model, criterion)
    batches = _batches(setup, task.goal, *course.data(*task.train))
    try:
        for at in range(setup.steps):
            total = step(at)
            losses.append(_plain(total))
            course.stepped(total)
    finally:
        course.ended()
    return skill(task.goal, fit.plain(course.answered(_said(model, course.asked(task.test[0])))), task.test[1])


def _said(model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """What a network says in evaluation."""
    model.eval()
    with torch.no_grad():
        parts = [model(*(each[at : at + 256] for each in inputs)) for at in range(0, len(inputs[0]), 256)]
    return torch.cat(parts)


def _plain(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def _batches(
    setup: Setup, goal: Goal, inputs: tuple[Tensor, ...], wanted: Tensor
) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
    """Batches without end; a smaller one at an epoch's end is left out where norms want several samples."""
    chance = torch.Generator().manual_seed(setup.seed + 1)
    many = len(wanted)
    size = min(setup.batch, many)
    whole = setup.norm == "batch" or goal == "pair"
    while True:
        order = torch.randperm(many, generator=chance)
        for first in range(0, many - size + 1 if whole else many, size):
            at = order[first : first + size]
            if not setup.epochs:
                at = torch.randint(many, (size,), generator=chance)
            yield tuple(each[at] for each in inputs), wanted[at]


def _schedule(setup: Setup, optimizer: optim.Optimizer) -> Any:
    """The schedule of the rate; one that has an end ends with the training."""
    kinds, steps = optim.lr_scheduler, setup.steps
    made: dict[str, Callable[[], Any]] = {
        "cosine": lambda: kinds.CosineAnnealingLR(optimizer, steps),
        "steps": lambda: kinds.StepLR(optimizer, max(steps // 3, 1), 0.3),
        "exponential": lambda: kinds.ExponentialLR(optimizer, 0.99),
        "warm-up": lambda: kinds.LinearLR(optimizer, 0.1, 1.0, max(steps // 10, 1)),
        "one cycle": lambda: kinds.OneCycleLR(
            optimizer, setup.rate, total_steps=steps + 1, cycle_momentum="momentum" in setup.optimizer
        ),
        "plateau": lambda: kinds.ReduceLROnPlateau(optimizer, factor=0.5, patience=2),
    }
    return made[setup.schedule]() if setup.schedule else None
