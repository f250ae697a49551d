"""What is true and does no harm: taken out of the findings, and told in one line for each condition."""

from collections.abc import Mapping, Sequence
from typing import Final

from fastact.diagnosis.finding import NOTE, Finding
from fastact.diagnosis.network import LayerView
from fastact.diagnosis.report import Note
from fastact.text import shown

#: Layers that a note names.
_MOST: Final = 3


def split(findings: Sequence[Finding], views: Mapping[str, LayerView]) -> tuple[tuple[Finding, ...], tuple[Note, ...]]:
    """The findings that a user should act on, and notes on the rest.

    A culprit that is a note takes what follows from it along; a note that follows from a finding is left out, since
    the finding says it.
    """
    kept: list[Finding] = []
    noted: dict[str, list[Finding]] = {}
    harmless = False
    for finding in findings:
        if finding.consequence_of is None:
            harmless = finding.severity == NOTE
        if harmless and finding.severity == NOTE:
            noted.setdefault(finding.condition, []).append(finding)
        if not harmless and finding.severity != NOTE:
            kept.append(finding)
    return tuple(kept), tuple(_note(condition, each, views) for condition, each in noted.items())


def _note(condition: str, findings: Sequence[Finding], views: Mapping[str, LayerView]) -> Note:
    ordered = sorted(findings, key=lambda finding: views[finding.layer].info.order)
    layers = tuple(finding.layer for finding in ordered)
    rest = len(layers) - 1
    message = ordered[0].message
    if rest:
        few = ", ".join(shown(name, 40) for name in layers[1 : 1 + _MOST])
        more = f" and {rest - _MOST} more" if rest > _MOST else ""
        message += f" Similar in {few}{more}."
    return Note(condition, layers, min(finding.first_step for finding in ordered), message)
