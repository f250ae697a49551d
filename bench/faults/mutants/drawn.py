"""Trainings drawn at random as programs that mistakes are put into: nobody chose the networks that a rule meets."""

from typing import Any, Final

import torch
from torch import Tensor, nn

from bench.faults.case import Case
from bench.faults.mutants.injection import MutantRun
from bench.faults.run import Run
from bench.sound.draw import draw
from bench.sound.setup import Setup
from bench.sound.sources import SOURCES
from bench.sound.training import Course, gone_through

__all__ = ["drawn", "drawn_names"]

_START: Final = "drawn-"


def drawn_names(seed: int, count: int) -> list[str]:
    """The names of so many draws that mistakes can be put into: those with one tensor as input."""
    named: list[str] = []
    at = 0
    while len(named) < count:
        source = SOURCES[draw(seed, at).source]
        if source.form != "graph" and source.goal != "pair":
            named.append(f"{_START}{seed}-{at}")
        at += 1
    return named


def drawn(name: str) -> Case | None:
    """The program of a draw, by its name; None of other names."""
    if not name.startswith(_START):
        return None
    seed, at = name.removeprefix(_START).split("-")
    setup = draw(int(seed), int(at))
    return Case(
        name=name,
        says=f"{setup.family} on {setup.source}",
        part="tuning",
        framework="torch",
        program=_Program(setup),
        causes=("rate_too_large",),  # by which it is told from a look-alike; each mistake has its own
        good=SOURCES[setup.source].bar,
    )


class _Program:
    """Trains what was drawn."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def __call__(self, run: Run, faulty: bool) -> float:
        assert isinstance(run, MutantRun)
        return gone_through(self.setup, _Told(run), [])


class _Told(Course):
    """Tells a run, and by it an injection, of what happens."""

    def __init__(self, run: MutantRun) -> None:
        self.run = run

    def begins(self, model: nn.Module, criterion: Any) -> None:
        """The first step is about to begin."""
        self.run.watch(model, criterion if isinstance(criterion, nn.Module) else None)

    def data(self, inputs: tuple[Tensor, ...], wanted: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """All that is trained on."""
        (x,) = inputs
        x, y = self.run.injection.data(x, wanted)
        return (x,), y

    def batch(self, inputs: tuple[Tensor, ...], wanted: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """One batch."""
        (x,) = inputs
        x, y = self.run.injection.batch(x, wanted)
        return (x,), y

    def asked(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What an evaluation goes by."""
        return (self.run.injection.asked(*inputs),)

    def stepped(self, loss: float) -> None:
        """A step has ended."""
        self.run.step(torch.tensor(loss))

    def ended(self) -> None:
        """The last step has ended."""
        self.run.close()

    def answered(self, given: Tensor) -> Tensor:
        """What the trained network says."""
        return self.run.injection.answered(given)
