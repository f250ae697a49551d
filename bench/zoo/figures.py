"""From verdicts to figures: what was found, where, why and how soon, each with the interval that so few runs allow."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, get_args

import numpy as np
from scipy.stats import chi2

from bench.zoo.score import ANSWERS, Verdict
from fastact.diagnosis.finding import Confidence

__all__ = ["SOON", "Interval", "by_architecture", "by_confidence", "poisson", "scores", "wilson"]

Interval = tuple[float, float]
#: Verdicts by the architecture that they are of: runs of one network differ in seeds alone, and are not independent.
Grouped = Mapping[str, Sequence[Verdict]]

#: Recorded steps within which a fault should be found.
SOON: Final = 20
#: Quantile of the normal distribution that leaves 2.5% above it.
_Z: Final = 1.959964
_DRAWS: Final = 2000


def wilson(part: int, whole: int) -> Interval | None:
    """Wilson's 95% interval of a share; None of nothing."""
    if not whole:
        return None
    share, square = part / whole, _Z * _Z / whole
    middle = (share + square / 2.0) / (1.0 + square)
    half = _Z * math.sqrt(share * (1.0 - share) / whole + square / whole / 4.0) / (1.0 + square)
    return round(max(middle - half, 0.0), 4), round(min(middle + half, 1.0), 4)


def poisson(count: int, runs: int) -> Interval | None:
    """Garwood's exact 95% interval of a rate of independent events; None of nothing."""
    if not runs:
        return None
    low = float(chi2.ppf(0.025, 2 * count)) / 2.0 if count else 0.0
    return round(low / runs, 4), round(float(chi2.ppf(0.975, 2 * count + 2)) / 2.0 / runs, 4)


def by_architecture(groups: Grouped, value: Callable[[Verdict], float | None]) -> Interval | None:
    """The 95% interval of a mean when whole architectures are drawn anew, again and again."""
    sums = [[x for x in map(value, verdicts) if x is not None] for verdicts in groups.values()]
    totals = np.array([[sum(values), len(values)] for values in sums if values], dtype=float)
    if not len(totals):
        return None
    drawn = totals[np.random.default_rng(0).integers(0, len(totals), (_DRAWS, len(totals)))].sum(1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
    return round(float(low), 4), round(float(high), 4)


def by_confidence(sentences: Iterable[tuple[str, bool]]) -> dict[str, dict[str, Any]]:
    """How often first sentences were right, by how sure they were: `sentences` are confidences, and whether right."""
    every = list(sentences)
    told = {sure: [right for confidence, right in every if confidence == sure] for sure in get_args(Confidence)}
    return {
        sure: {"told": len(rights), "right": sum(rights), "wilson": wilson(sum(rights), len(rights))}
        for sure, rights in told.items()
        if rights
    }


def scores(healthy: Grouped, sick: Grouped) -> dict[str, Any]:
    """The figures of one judge over healthy and sick runs by architecture; None where there is nothing to divide by."""
    well = [verdict for verdicts in healthy.values() for verdict in verdicts]
    ill = [verdict for verdicts in sick.values() for verdict in verdicts]
    found = [verdict for verdict in ill if verdict.found is not None]
    alarmed = [verdict for verdict in well if verdict.alarms]
    alarms = sum(len(verdict.alarms) for verdict in well)
    # Of a sick run all that counts as right was said after the fault; what was said before is an alarm for nothing.
    wrong = len(alarmed) + sum(bool(verdict.alarms) for verdict in ill)
    steps = [verdict.found for verdict in found if verdict.found is not None]
    result: dict[str, Any] = {
        "sick": len(ill),
        "healthy": len(well),
        "found": len(found),
        "precision": _share(len(found), len(found) + wrong),
        "healthy_alarmed": len(alarmed),
        "alarms": alarms,
        "alarms_per_healthy_run": _share(alarms, len(well)),
        "harmless_per_healthy_run": _share(sum(len(verdict.harmless) for verdict in well), len(well)),
        "notes_per_healthy_run": _share(sum(verdict.notes for verdict in well), len(well)),
        "median_steps": statistics.median(steps) if steps else None,
        "slowest_steps": max(steps, default=None),
    }
    for name, value in _SHARES.items():
        values = [x for x in map(value, ill) if x is not None]
        result[name] = _share(sum(values), len(values))
        result[f"{name}_of"] = len(values)
        result[f"{name}_wilson"] = wilson(sum(values), len(values))
        result[f"{name}_by_architecture"] = by_architecture(sick, value)
    result["confidence"] = by_confidence((it.confidence, it.sentence) for it in ill if it.sentence is not None)
    result["answers"] = {answer: sum(it.answer == answer for it in ill) for answer in ANSWERS}
    result["alarms_poisson"] = poisson(alarms, len(well))
    result["alarms_by_architecture"] = by_architecture(healthy, lambda verdict: len(verdict.alarms))
    result["notes_by_architecture"] = by_architecture(healthy, lambda verdict: verdict.notes)
    return result


#: By name: what is counted of each sick run; None where it is not asked.
_SHARES: Final[dict[str, Callable[[Verdict], bool | None]]] = {
    "recall": lambda verdict: verdict.found is not None,
    "right_layer": lambda verdict: verdict.layer,
    "right_layer_at_end": lambda verdict: verdict.layer_at_end,
    "right_condition": lambda verdict: verdict.condition,
    "right_cause": lambda verdict: verdict.cause,
    "right_first": lambda verdict: bool(verdict.first),
    "found_soon": lambda verdict: verdict.found is not None and verdict.found <= SOON,
    "kept": lambda verdict: verdict.kept,
}


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
