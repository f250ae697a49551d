"""Trains mutants, and asks the rules about each as its log grows."""

import dataclasses
import hashlib
import importlib
import json
import math
import pkgutil
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import bench.faults
from bench.faults.case import CASES, Case, Part, _part
from bench.faults.causes import CAUSES
from bench.faults.judge import SOON, Said, names_cause, said
from bench.faults.mutants import building, feeding, learning
from bench.faults.mutants.drawn import drawn
from bench.faults.mutants.injection import Injection, MutantRun, injected
from bench.faults.mutants.operator import OPERATORS, Operator
from bench.faults.mutants.profile import Profile, profile, quiet
from bench.zoo.score import growing
from fastact.diagnosis.finding import Finding

__all__ = ["Mutant", "bases", "mutant_by_name", "pairs", "profile_by_name", "shuffled", "trained", "twin_by_name"]

#: Modules whose operators are on the list once they are imported.
MODULES: Final = (learning, building, feeding)
#: Recorded steps after which a diagnosis is asked for, beside each twentieth and the last.
ASKED: Final = frozenset({1, 2, 5, 10, 15, 20, 30})
EVERY: Final = 20


@dataclass(frozen=True, slots=True)
class Mutant:
    """What came of one mistake in one program.

    Attributes:
        operator, base: the mistake, and the program.
        family: of the program's architecture.
        unfit: why nothing is to be learned of it; "" otherwise.
        skill, twin: its skill, and that of the program without the mistake.
        harmful: whether the mistake does harm, or is one by itself.
        causes: accepted ones.
        said: what was said of it.
        misleads: whether what stands first at the end is of another kind than the mistake; of a harmless one any such
            finding does.
    """

    operator: str
    base: str
    family: str
    unfit: str = ""
    skill: float = math.nan
    twin: float = math.nan
    harmful: bool = False
    causes: tuple[str, ...] = ()
    said: Said | None = None
    misleads: bool = False

    def plain(self) -> dict[str, Any]:
        """As it goes into a file."""
        return asdict(self)

    @property
    def soon(self) -> bool:
        """Whether it was found within twenty steps."""
        return self.said is not None and self.said.found is not None and self.said.found < SOON


def bases(parts: Sequence[Part]) -> list[str]:
    """The PyTorch programs of these parts that have a repaired twin; modules for Keras are not imported."""
    for module in pkgutil.iter_modules(bench.faults.__path__):
        if _part(module.name) in parts and "torch" in module.name:
            importlib.import_module(f"bench.faults.{module.name}")
    return [name for name, case in CASES.items() if case.part in parts and case.framework == "torch" and case.causes]


def shuffled(names: Sequence[str], seed: str) -> list[str]:
    """The names in an order that the seed decides, and each name by itself: others come and go without a change."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).hexdigest())


def pairs(profiles: dict[str, Profile], sample: int, seed: int) -> list[tuple[str, str]]:
    """Mistakes and programs, in turn of each mistake one, as many as are wanted or there are."""
    queues = []
    for name, it in OPERATORS.items():
        fit = [base for base, found in profiles.items() if it.causes(found)]
        queues.append([(name, base) for base in shuffled(fit, f"{seed} {name}")])
    turns = (queue[turn] for turn in range(len(profiles)) for queue in queues if turn < len(queue))
    return [pair for pair, _ in zip(turns, range(sample), strict=False)]


def program(base: str, part: Part) -> Case:
    """The program of a name: a draw, or one of a part."""
    if (case := drawn(base)) is not None:
        return case
    bases([part])
    return CASES[base]


def profile_by_name(base: str, part: Part, *, logs: Path) -> Profile:
    """The profile of a program, kept in a folder."""
    place = logs / "bases" / f"{base}.json"
    if place.is_file():
        return Profile(**json.loads(place.read_text(encoding="utf-8")))
    found = profile(program(base, part))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


def twin_by_name(base: str, part: Part, *, logs: Path) -> bool:
    """Trains a program without a mistake, where its log is not there; whether it learns."""
    case = program(base, part)
    told = _trained(case, logs / "twins" / base, Injection())
    return not told["unfit"] and case.learns(told["skill"])


def mutant_by_name(pair: tuple[str, str], part: Part, *, logs: Path) -> Mutant:
    """One mutant, trained where its log is not there, and judged."""
    name, base = pair
    case, operator = program(base, part), OPERATORS[name]
    it = profile_by_name(base, part, logs=logs)
    blank = Mutant(name, base, it.family)
    twin = _trained(case, logs / "twins" / base, Injection())
    if twin["unfit"] or not case.learns(twin["skill"]):
        return dataclasses.replace(blank, unfit="the twin does not learn")
    place = logs / "mutants" / f"{name}@{base}"
    told = _trained(case, place, operator.make(it))
    if told["unfit"]:
        return dataclasses.replace(blank, unfit=told["unfit"])
    truth = _truth(case, operator, it)
    heard = _heard(place / "log")
    words = said(truth, heard)
    last = [each for each in heard[-1][1] if each.consequence_of is None] if heard else []
    off = bool(last) and not (last[0].condition in truth.conditions and names_cause(truth, last[0]))
    harmful = operator.plain or truth.harmed(told["skill"], twin["skill"])
    return dataclasses.replace(
        blank, skill=told["skill"], twin=twin["skill"], harmful=harmful, causes=truth.causes, said=words, misleads=off
    )


def _truth(case: Case, operator: Operator, it: Profile) -> Case:
    causes = tuple(operator.causes(it).split())
    accepted = frozenset(operator.conditions.split()).union(*(CAUSES[name].conditions for name in causes))
    return dataclasses.replace(
        case, causes=causes, conditions=accepted, layers=None, since=operator.since, worse=0.2, says=operator.says
    )


def _trained(case: Case, place: Path, injection: Injection) -> dict[str, Any]:
    """The skill of a program with a mistake; its log is kept in a folder, and trained there where it is not."""
    done = place / "skill.json"
    if not done.is_file():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        done.write_text(json.dumps(trained(case, place / "log", injection)), encoding="utf-8")
    return dict(json.loads(done.read_text(encoding="utf-8")))


def trained(case: Case, path: Path, injection: Injection, kind: type[MutantRun] = MutantRun) -> dict[str, Any]:
    """Trains a program with a mistake: its skill, why it shows nothing, and its steps; the log is at `path`."""
    unfit, skill = "", math.nan
    with quiet(), injected(injection):
        run = kind(path, injection)
        try:
            skill = case.program(run, False)
        except Exception as error:  # noqa: BLE001 (what raises is no silent fault)
            unfit = f"raises {type(error).__name__}: {str(error)[:120]}"
        finally:
            run.close()
    if not unfit and type(injection) is not Injection and not injection.touched:
        unfit = "nothing was changed"
    return {"skill": skill, "unfit": unfit, "steps": injection.step}


def _heard(path: Path) -> list[tuple[int, Sequence[Finding]]]:
    return [
        (step, diagnoser.diagnose().findings)
        for step, diagnoser, count in growing(path)
        if count in ASKED or count % EVERY == 0  # the last has 0
    ]
