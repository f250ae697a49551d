"""Replays the zoo's logs, diagnoses as they grow, and tells what was found, where, when and why."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from bench.zoo.recipes import Sick
from bench.zoo.train import Run
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import SEVERITIES, Finding
from fastact.diagnosis.presets import PRESETS
from fastact.diagnosis.report import Diagnosis
from fastact.replay.log import open_log

__all__ = ["ANSWERS", "JUDGES", "Judge", "Verdict", "growing", "plain", "verdict", "verdicts"]

#: What says what is wrong, given a diagnoser that holds the rows so far; the first culprit first.
Judge = Callable[[Diagnoser], Diagnosis]


def _fastact(diagnoser: Diagnoser) -> Diagnosis:
    return diagnoser.diagnose()


def _preset(name: str, diagnoser: Diagnoser) -> Diagnosis:
    return diagnoser.diagnose(name)


#: Fastact's own rules, and the published ones over the same rows.
JUDGES: Final[dict[str, Judge]] = {"fastact": _fastact, **{name: partial(_preset, name) for name in PRESETS}}

#: Recorded steps from one diagnosis to the next. Our own rules are asked at each, so that no alarm that comes and goes
#: is missed; others' more seldom, to save time, which can only favour them.
EVERY: Final = {"fastact": 1}
SELDOM: Final = 10

#: Where the right answer, of an accepted condition, layer and cause, may be at the end of a sick run: it is the first
#: culprit, another one, or put behind one; or the condition is told of an accepted layer for another cause alone, of
#: another layer alone, or not at all; or nothing is told.
ANSWERS: Final = ("first", "later culprit", "consequence", "other cause", "other layer", "other condition", "silent")

#: Functions that a module calls: what they give is recorded under its name and theirs, and is in its place.
FUNCTIONS: Final = frozenset(
    {
        "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "hardswish", "mish", "softplus", "tanh", "sigmoid",
        "hardtanh", "hardsigmoid", "relu6", "celu", "softsign", "softmax", "log_softmax",
        "scaled_dot_product_attention",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of a run while it went on.

    Attributes:
        alarms: distinct culprits (layer, condition, step) that were named where nothing was wrong: at any step of a
            healthy run, before the fault of a sick one.
        harmless: the same that say no more than the truth: dead neurons of a layer that a census of all training data
            found dead as well, and `Network.flaws`.
        found: recorded steps from the onset to the first right condition, that step included; 0 before the onset (of a
            slow fault, but not before it was planted). None: never.
        layer: whether the first culprit was in the right layer when the fault was found; None: any is right, or it
            was not found.
        layer_at_end: the same of the diagnosis at the end of the run.
        condition: whether the first culprit had a right condition when the fault was found; None: it was not found.
        cause: whether the first culprit's cause was right; None: any is, or it was not found.
        first: whether all three were: the first sentence is right.
        kept: whether a right condition is still named at the end; None: it was not found.
        notes: lines of notes at the end of the run.
        confidence: how sure the first culprit of a sick run was at its end; "" where nothing was said.
        sentence: whether its condition, layer and cause were right; None: nothing was said.
        answer: where the right answer was at the end of a sick run, one of `ANSWERS`; "" of a healthy one.
        said: the first culprit in words: when first found, and at the end.
    """

    alarms: tuple[tuple[str, str, int], ...]
    harmless: tuple[tuple[str, str, int], ...]
    found: int | None
    layer: bool | None
    layer_at_end: bool | None
    condition: bool | None = None
    cause: bool | None = None
    first: bool | None = None
    kept: bool | None = None
    notes: int = 0
    confidence: str = ""
    sentence: bool | None = None
    answer: str = ""
    said: tuple[str, str] = ("", "")


def verdict(
    judged: Iterable[tuple[int, Sequence[Finding]]],
    sick: Sick | None,
    onset: int,
    dead: Collection[str] = (),
    flaws: Collection[tuple[str, str]] = (),
) -> Verdict:
    """The verdict of one run.

    Args:
        judged: each recorded step with the findings after it, steps rising.
        sick: what was planted; None in a healthy run.
        onset: the step from which on it is sick.
        dead: the layers in which a census found dead neurons.
        flaws: conditions and patterns of layers of which they are true in the healthy network.
    """
    alarms: dict[tuple[str, str], int] = {}
    gravest: dict[tuple[str, str], int] = {}
    found: int | None = None
    layer: bool | None = None
    condition: bool | None = None
    cause: bool | None = None
    said = ""
    rows = 0
    news: list[Finding] = []
    for step, findings in judged:
        rows += step >= onset
        # What was said before the fault is not said of it, unless it has become graver.
        news = [finding for finding in findings if _grave(finding) > gravest.get(_what(finding), -1)]
        culprits = [finding for finding in news if finding.consequence_of is None]
        if sick is None or step < sick.at:
            for finding in culprits:
                alarms.setdefault(_what(finding), step)
                gravest[_what(finding)] = _grave(finding)
        elif found is None and any(finding.condition in sick.conditions for finding in culprits):
            found = rows
            layer = _right(culprits, sick)
            condition = culprits[0].condition in sick.conditions
            cause = culprits[0].cause_name in sick.causes if sick.causes else None
            said = _said(culprits)
    at_end = [finding for finding in news if finding.consequence_of is None]
    right_at_end = _right(at_end, sick) if sick is not None and found is not None else None
    told = [(*what, step) for what, step in alarms.items()]
    true = tuple(
        alarm
        for alarm in told
        if (alarm[1] == "dead" and alarm[0] in dead)
        or any(alarm[1] == condition and fnmatchcase(alarm[0], pattern) for condition, pattern in flaws)
    )
    false = tuple(alarm for alarm in told if alarm not in true)
    first = kept = None
    if sick is not None and found is not None:
        first = bool(condition) and layer is not False and cause is not False
        kept = any(finding.condition in sick.conditions for finding in at_end)
    confidence, sentence, answer = "", None, ""
    if sick is not None:
        answer = _answer(news, sick)
        if at_end:
            confidence, sentence = at_end[0].confidence, answer == ANSWERS[0]
    return Verdict(
        false, true, found, layer, right_at_end, condition, cause, first, kept,
        confidence=confidence, sentence=sentence, answer=answer, said=(said, _said(at_end)),
    )  # fmt: skip


def _answer(findings: Sequence[Finding], sick: Sick) -> str:
    """Where the right answer is among findings, one of `ANSWERS`: it tells what another order of them could win."""
    culprits = [finding for finding in findings if finding.consequence_of is None]
    if not culprits:
        return "silent"
    named = [finding for finding in findings if finding.condition in sick.conditions]
    placed = [finding for finding in named if _right([finding], sick) is not False]
    right = [finding for finding in placed if not sick.causes or finding.cause_name in sick.causes]
    if culprits[0] in right:
        return "first"
    if right:
        return "consequence" if all(finding.consequence_of is not None for finding in right) else "later culprit"
    return "other cause" if placed else "other layer" if named else "other condition"


def _what(finding: Finding) -> tuple[str, str]:
    return finding.layer, finding.condition


def _grave(finding: Finding) -> int:
    return SEVERITIES.index(finding.severity)


def _right(findings: Sequence[Finding], sick: Sick) -> bool | None:
    """Whether the first culprit is in a layer that a fair judge accepts; None where the fault is in all."""
    if not sick.layers:
        return None
    if not findings:
        return False
    return any(fnmatchcase(name, pattern) for name in _places(findings[0].layer) for pattern in sick.layers)


def _places(layer: str) -> list[str]:
    """The names by which a layer may be called: "rnn[1]", "rnn:eval" and "rnn.relu:2" are "rnn" as well."""
    names = [layer, layer.removesuffix(":eval"), layer.partition("[")[0].partition(":")[0]]
    parent, _, last = names[-1].rpartition(".")
    return [*names, parent] if last in FUNCTIONS else names


def _said(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    first = findings[0]
    because = f" ({first.cause_name or 'cause unknown'})"
    return f"{first.condition} in {first.layer} since {first.first_step}{because}"


def verdicts(run: Run, onset: int, dead: Collection[str], judges: Mapping[str, Judge] = JUDGES) -> dict[str, Verdict]:
    """Replays a run's log and asks each judge after every so many recorded steps (`EVERY`), and after the last one.

    Args:
        run: what to judge.
        onset: the step from which on it is sick.
        dead: the layers in which a census of the run, or of its healthy twin, found dead neurons.
        judges: by name.
    """
    heard: dict[str, list[tuple[int, Sequence[Finding]]]] = {name: [] for name in judges}
    notes: dict[str, int] = {}
    for step, diagnoser, count in growing(run.path):
        for name, judge in judges.items():
            if count == 0 or count % EVERY.get(name, SELDOM) == 0:
                diagnosis = judge(diagnoser)
                heard[name].append((step, diagnosis.findings))
                notes[name] = len(diagnosis.notes)
    return {
        name: dataclasses.replace(
            verdict(said, run.recipe.sick, onset, dead, run.recipe.network.flaws), notes=notes[name]
        )
        for name, said in heard.items()
    }


def growing(path: Path) -> Iterator[tuple[int, Diagnoser, int]]:
    """A log's diagnoser after each recorded step, with the number of steps so far; at last once more, with 0."""
    diagnoser, log = Diagnoser(), open_log(path)
    diagnoser.unseen = log.unseen  # what never came until the end had not come before either
    step = 0
    for count, (step, records) in enumerate(groupby(log.replay(), key=lambda record: record.step), 1):
        for record in records:
            diagnoser.add(record.info)
            diagnoser.append(record.layer, record.row)
        yield step, diagnoser, count
    yield step, diagnoser, 0


def plain(verdict: Verdict) -> dict[str, Any]:
    """As it goes into the results' file."""
    return asdict(verdict)
