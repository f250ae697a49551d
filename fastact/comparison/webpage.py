"""A comparison as a report page shows it: plain text and numbers, names escaped, long lists with a most."""

from collections.abc import Sequence
from typing import Any, Final

from fastact.comparison.report import Comparison, Parting
from fastact.diagnosis.finding import Finding
from fastact.text import number, percent, shown

_MOST: Final = 25
_LENGTH: Final = 100


def view_of(comparison: Comparison) -> dict[str, Any]:
    """The comparison for `html.page.Page`: see `templates/parts.html`."""
    first: dict[str, Parting] = {}
    for parting in comparison.partings:
        first.setdefault(parting.layer, parting)
    partings = list(first.values())
    names = {"a": shown(comparison.a, _LENGTH), "b": shown(comparison.b, _LENGTH)}
    lists = (
        ("Layers in a alone", [shown(name, _LENGTH) for name in comparison.only_in_a]),
        ("Layers in b alone", [shown(name, _LENGTH) for name in comparison.only_in_b]),
        ("Findings in a alone", [_finding(each) for each in comparison.findings_only_in_a]),
        ("Findings in b alone", [_finding(each) for each in comparison.findings_only_in_b]),
        ("What limits the comparison", [shown(note, 600) for note in comparison.notes]),
    )
    return names | {
        "summary": shown(comparison.summary, 1200),
        "parts": bool(partings),
        "partings": [_row(parting) for parting in partings[:_MOST]],
        "more": max(0, len(partings) - _MOST),
        "lists": [(title, _some(lines)) for title, lines in lists if lines],
    }


def _row(parting: Parting) -> tuple[str, ...]:
    values = (_value(parting.statistic, value) for value in (parting.a, parting.b))
    excess = "beyond measure" if parting.excess is None else f"{number(parting.excess)}×"
    since = "from the start" if parting.from_start else f"{parting.step:,}"
    return shown(parting.layer, _LENGTH), parting.statistic, since, *values, excess


def _value(statistic: str, value: float | None) -> str:
    if value is None:
        return "-"
    return percent(value) if statistic.endswith("_ratio") and 0.0 <= value <= 1.0 else number(value)


def _finding(finding: Finding) -> str:
    name = shown(finding.layer, _LENGTH)
    return f"{name}: {finding.condition.replace('_', ' ')} ({finding.severity}, since step {finding.first_step:,})"


def _some(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - _MOST
    return [*lines[:_MOST], f"and {rest:,} more"] if rest > 0 else list(lines)
