"""What a notebook shows of a diagnosis."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis.finding import SEVERITIES
from fastact.diagnosis.report import Diagnosis
from fastact.diagnosis.show.render import (
    accepted_lines,
    advice,
    entries_of,
    gone_lines,
    headline,
    in_table,
    loss_lines,
    status_of,
    told,
    unseen_lines,
)
from fastact.html.notebook import Card, Line, Table, Told, small_curve
from fastact.text import number, percent, shown

#: Findings, and layers, that a card has room for.
_MOST_FINDINGS: Final = 20
_MOST_LAYERS: Final = 30


def card(
    diagnosis: Diagnosis, above: str = "", curves: Mapping[str, npt.NDArray[np.float64]] | None = None, what: str = ""
) -> Card:
    """A card: the first culprit in full, the other findings, the layers with the sick ones first, all else folded.

    Args:
        diagnosis: what to show.
        above: what it is of.
        curves: numbers of each layer in their order, to be drawn in its line.
        what: what those numbers are.
    """

    def value(x: float | None) -> str:
        return "-" if x is None else number(x)

    def share(x: float | None) -> str:
        return "-" if x is None else percent(x)

    first, *why = headline(diagnosis)
    entries = entries_of(diagnosis.findings)
    judged = any(layer.status not in ("not enough data", "") for layer in diagnosis.layers)
    gravest = max((each.severity for each in diagnosis.findings), key=SEVERITIES.index, default="")
    layers = sorted(in_table(diagnosis), key=lambda layer: -1 if layer.severity else 0)
    lines = [
        Line(
            (
                *(shown(layer.name, 60), shown(layer.kind, 24), value(layer.mean), value(layer.std)),
                *(share(layer.dead), share(layer.saturated), status_of(layer)),
            ),
            layer.severity or ("healthy" if layer.status == "healthy" else "unknown"),
            small_curve(curves[layer.name]) if curves and layer.name in curves else "",
        )
        for layer in layers[:_MOST_LAYERS]
    ]
    numbers = [(title, True) for title in ("mean", "std", "dead", "saturated")]
    head = [("layer", False), ("type", False), *numbers, ("status", False)]
    table = Table(head, lines, what if curves else "", max(0, len(layers) - _MOST_LAYERS), len(head) - 1)
    more = len(entries) - 1 - _MOST_FINDINGS
    return Card(
        first,
        above,
        gravest or ("healthy" if judged else "unknown"),
        _pairs(why),
        [
            Told(each.culprit.severity, told(each, diagnosis), _pairs(advice(each.culprit)))
            for each in entries[1 : 1 + _MOST_FINDINGS]
        ],
        table if lines else None,
        [
            ("Further findings", [f"{more} more, which print(diagnosis) tells"] if more > 0 else []),
            ("Losses", loss_lines(diagnosis)),
            ("Accepted, not counted", accepted_lines(diagnosis)),
            ("Notes: true, and no harm seen", [note.message for note in diagnosis.notes]),
            ("Came and went", gone_lines(diagnosis)),
            ("Not looked at", unseen_lines(diagnosis)),
        ],
    )


def _pairs(lines: list[str]) -> list[tuple[str, str]]:
    """Lines such as "Try: use a lower learning rate." as pairs."""
    found = [line.partition(": ") for line in lines]
    return [(what, text) if mark else ("", what) for what, mark, text in found]
