"""From what was said to figures: found, right kind, how soon, and alarms on repaired twins, by kind and by judge."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from bench.faults.case import Case
from bench.faults.causes import KINDS
from bench.faults.judge import SOON, Judged, Said
from bench.zoo.figures import by_confidence, wilson
from bench.zoo.score import JUDGES

__all__ = ["LOOK_ALIKE", "figures"]

LOOK_ALIKE: Final = "look-alike"

#: By name: what is counted of each faulty variant; None where it is not asked.
_SHARES: Final[dict[str, Callable[[Said], bool | None]]] = {
    "found": lambda said: said.found is not None,
    "right": lambda said: said.right,
    "first": lambda said: said.first,
    "soon": lambda said: said.found is not None and said.found < SOON,
    "layer": lambda said: said.layer,
}


def figures(pairs: Iterable[tuple[Case, Judged]]) -> dict[str, Any]:
    """What is stored of a part: the figures of each judge, and fastact's by kind and framework. No verdict of a case.

    Args:
        pairs: cases with what came of them; those that do not fit are left out, and counted.
    """
    every = list(pairs)
    fit = [(case, it) for case, it in every if not it.fit]
    faulty = [(case, it) for case, it in fit if case.causes]
    return {
        "cases": len(fit),
        "left_out": sorted(f"{case.name}: {it.fit}" for case, it in every if it.fit),
        "judges": {name: _counted(fit, name) for name in JUDGES},
        "kinds": {
            kind: _counted(chosen, "fastact")
            for kind in (*KINDS, LOOK_ALIKE)
            if (chosen := [(case, it) for case, it in fit if case.kind == kind])
        },
        "frameworks": {
            name: _counted([(case, it) for case, it in fit if case.framework == name], "fastact")
            for name in sorted({case.framework for case, _ in faulty})
        },
    }


def _counted(pairs: Sequence[tuple[Case, Judged]], judge: str) -> dict[str, Any]:
    said = [it.faulty[judge] for case, it in pairs if case.causes]
    steps = [each.found for each in said if each.found is not None]
    result: dict[str, Any] = {"faulty": len(said)}
    for name, value in _SHARES.items():
        values = [x for x in map(value, said) if x is not None]
        result |= _share(name, sum(values), len(values))
    twins = [it.twin[judge] for case, it in pairs if case.causes]
    odd = [it.twin[judge] for case, it in pairs if not case.causes]
    result |= _share("twins_alarmed", sum(bool(each.alarms) for each in twins), len(twins))
    result |= _share("look_alikes_alarmed", sum(bool(each.alarms) for each in odd), len(odd))
    result["confidence"] = by_confidence((each.confidence, each.first) for each in said if each.confidence)
    result["median_step"] = statistics.median(steps) if steps else None
    return result


def _share(name: str, part: int, whole: int) -> dict[str, Any]:
    share = round(part / whole, 4) if whole else None
    return {name: share, f"{name}_of": whole, f"{name}_wilson": wilson(part, whole)}
