"""What was found on the way and is gone again: episodes of findings and notes.

The rows are judged now and then, at steps that follow from the rows alone, so that a live run and a replay of its log
come to one timeline: after 16 recorded steps, then after a quarter more steps each time, and at least 16. So it costs
some 16 diagnoses in the first thousand steps, and 10 for each time that a run is ten times as long.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from fastact.diagnosis.finding import Severity, gravity
from fastact.diagnosis.frozen import made_quickly

#: Recorded steps between two looks, at least; and a look comes after one in so many of the steps so far.
_AT_LEAST, _SHARE = 16, 4
#: Episodes that are kept; beyond, the oldest that are over go.
_MOST: Final = 500


@made_quickly
@dataclass(frozen=True, slots=True)
class Episode:
    """For how long a layer had a condition, as far as it was looked at.

    Attributes:
        layer: the layer.
        condition: as in `Finding`.
        severity: the gravest that it had; "note" where it was never more.
        first_step: the step since which it held, as it was found first.
        last_step: the last step at which it was looked for and found.
        resolved: the step at which it was looked for and not found any more; None while it holds on.
    """

    layer: str
    condition: str
    severity: Severity
    first_step: int
    last_step: int
    resolved: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain text and numbers."""
        return {name: getattr(self, name) for name in self.__slots__}


#: (layer, condition) -> severity and first step.
Found = Mapping[tuple[str, str], tuple[Severity, int]]


class Timeline:
    """Takes what was found at each look."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Episode] = {}
        self._over: list[Episode] = []

    def take(self, step: int, found: Found) -> None:
        """Takes in what holds at a step; a step that was taken already changes nothing that is over."""
        self._open, self._over = self._with(step, found)

    def episodes(self, step: int, found: Found) -> tuple[Episode, ...]:
        """The episodes if this were the next look, those that began first before others. Changes nothing."""
        now, over = self._with(step, found)
        return tuple(sorted((*over, *now.values()), key=lambda each: (each.first_step, each.last_step)))

    def _with(self, step: int, found: Found) -> tuple[dict[tuple[str, str], Episode], list[Episode]]:
        now: dict[tuple[str, str], Episode] = {}
        for (layer, condition), (severity, first_step) in found.items():
            before = self._open.get((layer, condition))
            if before is None:
                now[layer, condition] = Episode(layer, condition, severity, first_step, step)
            else:
                gravest = before.severity if gravity(before.severity) >= gravity(severity) else severity
                now[layer, condition] = Episode(layer, condition, gravest, before.first_step, step)
        over = [replace(each, resolved=step) for name, each in self._open.items() if name not in now]
        return now, [*self._over, *over][-_MOST:]


def next_look(steps: int) -> int:
    """The number of recorded steps after which to look again, after a look that came after `steps` of them."""
    return steps + max(_AT_LEAST, steps // _SHARE)


def came_and_went(episodes: Iterable[Episode]) -> list[Episode]:
    """Those that are over."""
    return [each for each in episodes if each.resolved is not None]
