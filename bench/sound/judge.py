"""What is said of drawn trainings while they go on, and the figures that it comes to."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.sound.setup import Setup
from bench.sound.training import Outcome, kept, train
from bench.zoo.figures import poisson, wilson
from bench.zoo.score import growing

__all__ = ["EVERY", "Alarm", "Verdict", "figures", "judged", "verdict"]

#: Recorded steps from one diagnosis to the next.
EVERY: Final = 3


@dataclass(frozen=True, slots=True)
class Alarm:
    """A culprit that was named: a layer and a condition, at the first step at which it was.

    Attributes:
        layer, condition, cause, severity: of the finding, as it was first told; no cause where it is unknown.
        step: after which it was told.
        kept: whether it is still told at the end.
        says: its message.
    """

    layer: str
    condition: str
    cause: str
    severity: str
    step: int
    kept: bool
    says: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said of a training.

    Attributes:
        name, source, family: of the setup.
        skill: that it reached.
        sound: whether it has learned; see `Outcome.sound`.
        broken: what it raised.
        alarms: distinct culprits, each at any step.
        notes: lines of notes at the end.
    """

    name: str
    source: str
    family: str
    skill: float
    sound: bool
    broken: str
    alarms: tuple[Alarm, ...]
    notes: int

    def plain(self) -> dict[str, Any]:
        """As it goes into a file."""
        return asdict(self)


def judged(setup: Setup, *, folder: Path, stored: bool, judge: bool) -> Verdict | None:
    """The verdict on a draw, trained where its log is not there; None where none is stored or none is wanted."""
    outcome = kept(setup, folder) if stored else train(setup, folder)
    return verdict(outcome) if judge and outcome is not None else None


def verdict(outcome: Outcome) -> Verdict:
    """Asks after each third recorded step, and after the last."""
    heard: dict[tuple[str, str], dict[str, Any]] = {}
    notes = 0
    if not outcome.broken:
        for step, diagnoser, count in growing(outcome.path):
            if count and count % EVERY:
                continue
            diagnosis = diagnoser.diagnose()
            notes = len(diagnosis.notes)
            culprits = {(it.layer, it.condition): it for it in diagnosis.findings if it.consequence_of is None}
            for what, it in culprits.items():
                heard.setdefault(
                    what,
                    {
                        "layer": it.layer,
                        "condition": it.condition,
                        "cause": it.cause_name or "",
                        "severity": it.severity,
                        "step": step,
                        "says": it.message,
                    },
                )
            for what, facts in heard.items():
                facts["kept"] = what in culprits
    setup = outcome.setup
    return Verdict(
        setup.name,
        setup.source,
        setup.family,
        outcome.skill,
        outcome.sound,
        outcome.broken,
        tuple(Alarm(**facts) for facts in heard.values()),
        notes,
    )


def figures(verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """Alarms a sound run, by family and by kind, and how many of the others were diagnosed; with 95% intervals."""
    every = list(verdicts)
    ran = [it for it in every if not it.broken]
    sound, unsound = [it for it in ran if it.sound], [it for it in ran if not it.sound]
    alarms = [alarm for it in sound for alarm in it.alarms]
    alarmed = sum(bool(it.alarms) for it in sound)
    told = sum(any(alarm.kept for alarm in it.alarms) for it in unsound)
    families = {
        name: {
            "sound": len(of := [it for it in sound if it.family == name]),
            "alarmed": sum(bool(it.alarms) for it in of),
            "alarms": sum(len(it.alarms) for it in of),
            "unsound": len(others := [it for it in unsound if it.family == name]),
            "diagnosed": sum(any(alarm.kept for alarm in it.alarms) for it in others),
        }
        for name in sorted({it.family for it in ran})
    }
    return {
        "drawn": len(every),
        "broken": len(every) - len(ran),
        "sound": len(sound),
        "alarms": len(alarms),
        "alarms_per_sound_run": _share(len(alarms), len(sound)),
        "alarms_poisson": poisson(len(alarms), len(sound)),
        "alarmed": alarmed,
        "alarmed_share": _share(alarmed, len(sound)),
        "alarmed_wilson": wilson(alarmed, len(sound)),
        "notes_per_sound_run": _share(sum(it.notes for it in sound), len(sound)),
        "unsound": len(unsound),
        "diagnosed": _share(told, len(unsound)),
        "diagnosed_wilson": wilson(told, len(unsound)),
        "families": families,
        "kinds": dict(Counter(f"{it.condition} ({it.cause or 'cause unknown'})" for it in alarms).most_common()),
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
