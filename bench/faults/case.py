"""A case: a program that can be run with its fault and without, and what a fair judge may say of it."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from bench.faults.causes import CAUSES
from bench.faults.run import Run

__all__ = ["CASES", "PARTS", "Case", "Framework", "Part", "cases", "fault", "look_alike"]

Part = Literal["tuning", "questions", "opened", "opened-2", "opened-3", "opened-4", "opened-5", "held-out"]
Framework = Literal["torch", "keras"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)

#: Builds, trains and scores: its skill, 1 is perfect and 0 what a constant answer reaches.
Program = Callable[[Run, bool], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A program with a fault and its repaired twin; or a look-alike, in which nothing is wrong.

    Attributes:
        name: unique among all.
        says: what is wrong, or what looks odd and is right.
        part: the part that it belongs to.
        framework: what it is written in.
        program: what is run; its second argument says whether with the fault.
        causes: accepted causes, names in `causes.CAUSES`, the truest first; empty for a look-alike.
        conditions: accepted conditions.
        layers: patterns of accepted layers; None: any is.
        since: the step from which on it can be known.
        good: the skill that the twin reaches at least.
        worse: by how much the faulty variant's skill is less at least. None: the fault is plain by itself, though
            the network may learn around it.
    """

    name: str
    says: str
    part: Part
    framework: Framework
    program: Program
    causes: tuple[str, ...] = ()
    conditions: frozenset[str] = frozenset()
    layers: tuple[str, ...] | None = None
    since: int = 0
    good: float = 0.5
    worse: float | None = 0.2

    @property
    def kind(self) -> str:
        """The kind of fault, by which results are told apart."""
        return CAUSES[self.causes[0]].kind if self.causes else "look-alike"

    def learns(self, skill: float) -> bool:
        """Whether the twin, or the look-alike, does what it should."""
        return skill >= self.good

    def harmed(self, skill: float, twin: float) -> bool:
        """Whether the fault does harm, by the skills of both; NaN is harm."""
        return self.worse is None or not skill > twin - self.worse


CASES: Final[dict[str, Case]] = {}


def fault(
    framework: Framework,
    *causes: str,
    conditions: str = "",
    layers: str | None = None,
    since: int = 0,
    good: float = 0.5,
    worse: float | None = 0.2,
) -> Callable[[Program], Program]:
    """Puts a program on the list, under the name of its function.

    Args:
        framework: what it is written in.
        causes: accepted causes, the truest first.
        conditions: accepted conditions, beside those of the causes.
        layers: patterns of accepted layers, separated by spaces; None: any is.
        since: the step from which on it can be known.
        good: the skill that the twin reaches at least.
        worse: by how much the faulty variant's skill is less at least; None: the fault is plain by itself.
    """

    def add(program: Program) -> Program:
        accepted = frozenset(conditions.split()).union(*(CAUSES[name].conditions for name in causes))
        places = None if layers is None else tuple(layers.split())
        limits: dict[str, Any] = {"layers": places, "since": since, "good": good, "worse": worse}
        _put(program, program, framework, causes=causes, conditions=accepted, **limits)
        return program

    return add


def look_alike(
    framework: Framework, *, good: float = 0.5
) -> Callable[[Callable[[Run], float]], Callable[[Run], float]]:
    """Puts a program on the list that looks odd, and in which nothing is wrong."""

    def add(program: Callable[[Run], float]) -> Callable[[Run], float]:
        _put(program, _Sound(program), framework, good=good)
        return program

    return add


@dataclass(frozen=True, slots=True)
class _Sound:
    """A program without a faulty variant, that is called as the others are."""

    program: Callable[[Run], float]

    def __call__(self, run: Run, faulty: bool) -> float:
        return self.program(run)


def _part(module: str) -> Part | None:
    """The part of a module, by how its name begins; None where it holds no programs."""
    starts = {part.replace("-", "_") + "_": part for part in PARTS}
    return starts[max(fit, key=len)] if (fit := [start for start in starts if module.startswith(start)]) else None


def _put(function: Any, program: Program, framework: Framework, **truth: Any) -> None:
    module = function.__module__.rpartition(".")[2]
    part = _part(module)
    assert part is not None
    name = function.__name__
    if name in CASES:
        raise ValueError(f"{name}: is there twice")
    says = " ".join((function.__doc__ or "").split())
    CASES[name] = Case(name=name, says=says, part=part, framework=framework, program=program, **truth)


def cases(parts: Iterable[Part] = PARTS) -> list[Case]:
    """All cases of these parts, whose modules, and no others, are imported."""
    wanted = tuple(parts)
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if _part(module.name) in wanted:
            importlib.import_module(f"bench.faults.{module.name}")
    return [case for case in CASES.values() if case.part in wanted]
