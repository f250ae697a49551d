"""Replays the zoo's logs, diagnoses as they grow, and counts what was found, where and when."""

import statistics
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import groupby
from typing import Any, Final

from bench.zoo.recipes import Sick
from bench.zoo.train import Run
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import SEVERITIES, Finding
from fastact.diagnosis.presets import PRESETS
from fastact.replay.log import open_log

__all__ = ["JUDGES", "Judge", "Verdict", "scores", "verdict", "verdicts"]

#: What says what is wrong, given a diagnoser that holds the rows so far; the first culprit first.
Judge = Callable[[Diagnoser], Sequence[Finding]]


def _fastact(diagnoser: Diagnoser) -> Sequence[Finding]:
    return diagnoser.diagnose().findings


def _preset(name: str, diagnoser: Diagnoser) -> Sequence[Finding]:
    return diagnoser.diagnose(name).findings


#: Fastact's own rules, and the published ones over the same rows.
JUDGES: Final[dict[str, Judge]] = {"fastact": _fastact, **{name: partial(_preset, name) for name in PRESETS}}

#: Recorded steps within which a fault should be found.
SOON: Final = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of a run while it went on.

    Attributes:
        alarms: distinct culprits (layer, condition, step) that were named where nothing was wrong: at any step of a
            healthy run, before the fault of a sick one.
        harmless: the same that say no more than the truth: dead neurons of a layer that a census of all training data
            found dead as well.
        found: recorded steps from the onset to the first right condition, that step included; 0 before the onset (of a
            slow fault, but not before it was planted). None: never.
        layer: whether the first culprit was in the right layer when the fault was found; None: any is right, or it
            was not found.
        layer_at_end: the same of the diagnosis at the end of the run.
        said: the conditions and layers of the first culprits, in words: when first found, and at the end.
    """

    alarms: tuple[tuple[str, str, int], ...]
    harmless: tuple[tuple[str, str, int], ...]
    found: int | None
    layer: bool | None
    layer_at_end: bool | None
    said: tuple[str, str]


def verdict(
    judged: Iterable[tuple[int, Sequence[Finding]]], sick: Sick | None, onset: int, dead: Collection[str] = ()
) -> Verdict:
    """The verdict of one run.

    Args:
        judged: each recorded step with the findings after it, steps rising.
        sick: what was planted; None in a healthy run.
        onset: the step from which on it is sick.
        dead: the layers in which a census found dead neurons.
    """
    alarms: dict[tuple[str, str], int] = {}
    gravest: dict[tuple[str, str], int] = {}
    found: int | None = None
    layer: bool | None = None
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
            said = _said(culprits)
    at_end = [finding for finding in news if finding.consequence_of is None]
    right_at_end = _right(at_end, sick) if sick is not None and found is not None else None
    told = [(*what, step) for what, step in alarms.items()]
    true = tuple(alarm for alarm in told if alarm[1] == "dead" and alarm[0] in dead)
    false = tuple(alarm for alarm in told if alarm not in true)
    return Verdict(false, true, found, layer, right_at_end, (said, _said(at_end)))


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
    # Parts of a layer's output, such as "rnn[1]", are that layer.
    name = findings[0].layer.partition("[")[0]
    return any(fnmatchcase(name, pattern) for pattern in sick.layers)


def _said(findings: Sequence[Finding]) -> str:
    return f"{findings[0].condition} in {findings[0].layer} since {findings[0].first_step}" if findings else ""


def verdicts(
    run: Run, onset: int, dead: Collection[str], judges: Mapping[str, Judge] = JUDGES, every: int = 1
) -> dict[str, Verdict]:
    """Replays a run's log and asks each judge after every so many recorded steps, and after the last one.

    Args:
        run: what to judge.
        onset: the step from which on it is sick.
        dead: the layers in which a census of the run, or of its healthy twin, found dead neurons.
        judges: by name.
        every: recorded steps from one diagnosis to the next.
    """
    heard: dict[str, list[tuple[int, Sequence[Finding]]]] = {name: [] for name in judges}
    for step, diagnoser in _growing(run, every):
        for name, judge in judges.items():
            heard[name].append((step, judge(diagnoser)))
    return {name: verdict(said, run.recipe.sick, onset, dead) for name, said in heard.items()}


def _growing(run: Run, every: int) -> Iterator[tuple[int, Diagnoser]]:
    """The diagnoser after every so many recorded steps, and after the last one."""
    diagnoser = Diagnoser()
    count = step = 0
    for step, records in groupby(open_log(run.path).replay(), key=lambda record: record.step):
        for record in records:
            diagnoser.add(record.info)
            diagnoser.append(record.layer, record.row)
        count += 1
        if count % every == 0:
            yield step, diagnoser
    if count % every:
        yield step, diagnoser


def scores(healthy: Sequence[Verdict], sick: Sequence[Verdict]) -> dict[str, Any]:
    """The figures of one judge over healthy and sick runs. None where there is nothing to divide by."""
    found = [verdict for verdict in sick if verdict.found is not None]
    alarmed = [verdict for verdict in healthy if verdict.alarms]
    # Of a sick run all that counts as right was said after the fault; what was said before is an alarm for nothing.
    wrong = len(alarmed) + sum(bool(verdict.alarms) for verdict in sick)
    local = [verdict for verdict in found if verdict.layer is not None]
    steps = [verdict.found for verdict in found if verdict.found is not None]
    return {
        "sick": len(sick),
        "healthy": len(healthy),
        "found": len(found),
        "recall": _share(len(found), len(sick)),
        "precision": _share(len(found), len(found) + wrong),
        "healthy_alarmed": len(alarmed),
        "harmless_per_healthy_run": _share(sum(len(verdict.harmless) for verdict in healthy), len(healthy)),
        "alarms_per_healthy_run": _share(sum(len(verdict.alarms) for verdict in healthy), len(healthy)),
        "judged_for_layer": len(local),
        "right_layer": _share(sum(bool(verdict.layer) for verdict in local), len(local)),
        "right_layer_at_end": _share(sum(bool(verdict.layer_at_end) for verdict in local), len(local)),
        "found_soon": _share(sum(count <= SOON for count in steps), len(sick)),
        "median_steps": statistics.median(steps) if steps else None,
        "slowest_steps": max(steps, default=None),
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def plain(verdict: Verdict) -> dict[str, Any]:
    """As it goes into the results' file."""
    return asdict(verdict)
