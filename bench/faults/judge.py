"""Runs a case with its fault and repaired, asks the rules as the log grows, and says what they told and when."""

import contextlib
import io
import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.faults.case import CASES, Case, cases
from bench.faults.causes import CAUSES
from bench.faults.run import Run
from bench.zoo.score import JUDGES, growing
from fastact.diagnosis.finding import Finding

__all__ = ["SOON", "Judged", "Said", "Skills", "judged", "judged_by_name", "said", "trained", "trained_by_name"]

#: A fault should be found before this step, counted from when it can be known.
SOON: Final = 20
#: Recorded steps from one diagnosis to the next; the first is after the first step, the last after the last.
EVERY: Final = 5


@dataclass(frozen=True, slots=True)
class Said:
    """What a judge said of a run while it went on.

    Attributes:
        found: steps from when it can be known to the first finding of an accepted condition; None: never.
        right: whether such a finding, at any time, named an accepted cause as well.
        layer: whether such a finding was of an accepted layer; None: any is, or it was not found.
        first: whether the first culprit at the end has an accepted condition and cause.
        alarms: conditions and layers that were named at any time; of a twin they are false alarms.
        words: the first culprits at the end.
        confidence: how sure the first of them is; "" where there is none.
    """

    found: int | None
    right: bool
    layer: bool | None
    first: bool
    alarms: tuple[tuple[str, str], ...]
    words: tuple[str, ...]
    confidence: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A case with what its two runs came to, and what each judge said of them.

    Attributes:
        case: its name.
        skill, twin_skill: of the faulty variant, None for a look-alike; and of the twin.
        fit: "" if the fault does harm and the twin learns, otherwise what is amiss with the case.
        faulty, twin: by judge.
    """

    case: str
    skill: float | None
    twin_skill: float
    fit: str
    faulty: dict[str, Said]
    twin: dict[str, Said]

    def plain(self) -> dict[str, Any]:
        """As it goes into the results' file."""
        return asdict(self)


def trained(case: Case, path: Path, *, faulty: bool) -> float:
    """The skill of one variant, trained on the same seed as the other; its log is at `path`."""
    return _trained(case, Run(path), faulty=faulty)


def _trained(case: Case, run: Run, *, faulty: bool) -> float:
    # Who makes a mistake has also overlooked the warning of it.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            return case.program(run, faulty)
        finally:
            run.close()


def judged(case: Case, logs: Path | None = None) -> Judged:
    """Both variants, trained and judged.

    Args:
        case: what is run.
        logs: a folder where the logs are kept, and found again: what was trained into it is judged without training.
            None: they are judged and thrown away.
    """
    skills: dict[bool, float] = {}
    told: dict[bool, dict[str, Said]] = {True: {}, False: {}}
    with tempfile.TemporaryDirectory() as folder:
        for faulty in (True, False) if case.causes else (False,):
            place = Path(logs or folder, f"{case.name}-{faulty:d}")
            skills[faulty] = _kept(case, place, faulty=faulty)
            told[faulty] = _all_said(case, place / "log")
    return Judged(case.name, skills.get(True), skills[False], _fit(case, skills), told[True], told[False])


def judged_by_name(name: str, logs: Path | None = None) -> Judged:
    """The same in a process of its own."""
    return judged(_named(name), logs)


def _kept(case: Case, place: Path, *, faulty: bool) -> float:
    """The skill of a variant whose log is kept in a folder, and is trained there where it is not."""
    done = place / "skill.json"
    if not done.is_file():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        done.write_text(json.dumps(trained(case, place / "log", faulty=faulty)), encoding="utf-8")
    return float(json.loads(done.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Skills:
    """What the two runs of a case came to, of which no rule was asked.

    Attributes:
        skill, twin_skill, fit: as `Judged` has them.
        steps: of the longer run, as far as the program told its losses.
        seconds: that both took together.
    """

    skill: float | None
    twin_skill: float
    fit: str
    steps: int
    seconds: float


def trained_by_name(name: str, logs: Path | None = None) -> Skills:
    """Both variants trained, and none judged: whoever writes programs looks whether faults harm and twins learn.

    Args:
        name: of a case.
        logs: a folder where the logs are kept, as `judged` has it; the steps are then not counted.
    """
    case = _named(name)
    skills: dict[bool, float] = {}
    steps = 0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for faulty in (True, False) if case.causes else (False,):
            if logs is not None:
                skills[faulty] = _kept(case, Path(logs, f"{name}-{faulty:d}"), faulty=faulty)
                continue
            run = Run(Path(folder, str(faulty)))
            skills[faulty] = _trained(case, run, faulty=faulty)
            steps = max(steps, len(run.losses))
    return Skills(skills.get(True), skills[False], _fit(case, skills), steps, time.perf_counter() - began)


def _named(name: str) -> Case:
    if name not in CASES:
        cases()
    return CASES[name]


def _fit(case: Case, skills: dict[bool, float]) -> str:
    if case.causes and not case.harmed(skills[True], skills[False]):
        return f"no harm: {skills[True]:.2f}, twin {skills[False]:.2f}"
    return "" if case.learns(skills[False]) else f"twin has a skill of {skills[False]:.2f}"


def _all_said(case: Case, path: Path) -> dict[str, Said]:
    heard: dict[str, list[tuple[int, Sequence[Finding]]]] = {name: [] for name in JUDGES}
    for step, diagnoser, count in growing(path):
        if count in (0, 1) or count % EVERY == 0:
            for name, judge in JUDGES.items():
                heard[name].append((step, judge(diagnoser).findings))
    return {name: said(case, findings) for name, findings in heard.items()}


def said(case: Case, heard: Sequence[tuple[int, Sequence[Finding]]]) -> Said:
    """What a judge's findings amount to.

    Args:
        case: its truth.
        heard: steps, rising, each with the findings after it.
    """
    found: int | None = None
    right = False
    layer: bool | None = None
    alarms: dict[tuple[str, str], None] = {}
    for step, findings in heard:
        alarms |= dict.fromkeys((it.condition, it.layer) for it in findings)
        fit = [it for it in findings if it.condition in case.conditions and step >= case.since]
        if fit and found is None:
            found = step - case.since
        right |= any(map(partial(names_cause, case), fit))
        if fit and case.layers is not None:
            layer = layer or any(fnmatchcase(it.layer, pattern) for it in fit for pattern in case.layers)
    last = [it for it in heard[-1][1] if it.consequence_of is None] if heard else []
    first = bool(last) and last[0].condition in case.conditions and names_cause(case, last[0])
    words = tuple(f"{it.condition} in {it.layer} since {it.first_step} ({it.cause_name or 'unknown'})" for it in last)
    return Said(found, right, layer, first, tuple(alarms), words[:3], last[0].confidence if last else "")


def names_cause(case: Case, finding: Finding) -> bool:
    """Whether a finding names an accepted cause, by its name or in words of its own."""
    causes = [CAUSES[name] for name in case.causes]
    return any(finding.cause_name in cause.also or cause.told(finding.cause) for cause in causes)
