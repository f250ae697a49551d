"""A diagnosis as a value, and how it is shown: dict, JSON, plain text, and a rich renderable for a terminal.

Nothing here computes: it shows what `diagnosis.Diagnoser` found.

Names and types of layers come from outside and are escaped: they can hold terminal escapes or markup.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastact.diagnosis.finding import Finding
from fastact.diagnosis.rules import adjective
from fastact.text import number, percent, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS: Final = ("layer", "type", "mean", "std", "dead", "saturated", "status")
_MOST_NAMES: Final = 3
_STYLES: Final = {"": "green", "note": "dim", "warning": "yellow", "serious": "bold yellow", "critical": "bold red"}


@dataclass(frozen=True, slots=True)
class LayerHealth:
    """One layer's line in the health table.

    Attributes:
        name: the layer's name.
        kind: its type; "" when unknown.
        mean: mean of the finite elements in its last row; None where there is none.
        std: their population standard deviation; None where there is none.
        dead: share of dead neurons in its last row; without per-neuron rows 1.0 for a layer that is all zero; None
            where unknown.
        saturated: share of saturated elements over the recent rows; None for types without bounds.
        status: "healthy", "not enough data", or the condition of its gravest finding.
        severity: that finding's severity; "" without one.
        not_judged: conditions for which there was not enough data.
        rows: rows seen since the start, those that have left the window included.
        first_step: the step of its first row; None without rows.
        last_step: the step of its last row; None without rows.
    """

    name: str
    kind: str
    mean: float | None
    std: float | None
    dead: float | None
    saturated: float | None
    status: str
    severity: str
    not_judged: tuple[str, ...]
    rows: int
    first_step: int | None
    last_step: int | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain lists, strings and finite numbers; None where there is none."""
        result = {name: getattr(self, name) for name in self.__slots__}
        result["not_judged"] = list(self.not_judged)
        return result


@dataclass(frozen=True, slots=True)
class Note:
    """What is true of some layers and does no harm: one line for the whole network.

    Attributes:
        condition: as in `Finding`.
        layers: the layers, in forward order.
        first_step: the step since which it has held in the first of them.
        message: one sentence.
    """

    condition: str
    layers: tuple[str, ...]
    first_step: int
    message: str

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain lists, strings and numbers."""
        return {name: getattr(self, name) for name in self.__slots__} | {"layers": list(self.layers)}

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Accepted:
    """A finding that the user has accepted: it is shown apart, and does not count.

    Attributes:
        finding: what was found.
        reason: why it is accepted, in the user's words; "" where none was given.
    """

    finding: Finding
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The finding's fields and the reason."""
        return self.finding.to_dict() | {"reason": self.reason}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong, where, since when and why. Two diagnoses of the same rows are equal.

    Attributes:
        findings: the first culprit first, each culprit followed by its consequences.
        layers: one entry per layer in forward order.
        notes: what is true and does no harm, a line each.
        accepted: findings that the user has accepted.
        unseen: what was watched and not recorded, as pairs of a name and the reason.
    """

    findings: tuple[Finding, ...]
    layers: tuple[LayerHealth, ...]
    notes: tuple[Note, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    unseen: tuple[tuple[str, str], ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing was found. `LayerHealth.status` tells healthy from not enough data."""
        return not self.findings

    @property
    def culprits(self) -> tuple[Finding, ...]:
        """The findings that no other one explains, the first culprit first."""
        return tuple(finding for finding in self.findings if finding.consequence_of is None)

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as plain dicts, lists, strings, finite numbers and None."""
        return {
            "healthy": self.healthy,
            "findings": [finding.to_dict() for finding in self.findings],
            "layers": [layer.to_dict() for layer in self.layers],
            "notes": [note.to_dict() for note in self.notes],
            "accepted": [accepted.to_dict() for accepted in self.accepted],
            "unseen": dict(self.unseen),
        }

    def to_json(self, indent: int | None = None) -> str:
        """The diagnosis as strict JSON (ASCII, no NaN, no Infinity)."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def __str__(self) -> str:
        return render_text(self)


def sentence(diagnosis: Diagnosis) -> str:
    """The diagnosis in a few sentences: the first culprit, what follows from it, its likely cause, what to try."""
    culprits = diagnosis.culprits
    if not culprits:
        judged = sum(layer.status == "healthy" for layer in diagnosis.layers)
        if judged == 0:
            return "Not enough data yet to judge any layer."
        unknown = len(diagnosis.layers) - judged
        rest = f"; not enough data yet for {unknown} more" if unknown else ""
        return f"No problems found in {judged} layer{'s' if judged > 1 else ''}{rest}."
    first = culprits[0]
    return " ".join(
        [first.message, *_follows(diagnosis, first), f"Likely cause: {first.cause} Try: {'; '.join(first.remedies)}."]
    )


def _follows(diagnosis: Diagnosis, culprit: Finding) -> list[str]:
    """What follows from a culprit, as a sentence if anything does: each other layer once, by its first condition."""
    group: dict[str, list[str]] = {}
    told = {culprit.layer}
    seen = False
    for finding in diagnosis.findings:
        if finding.consequence_of is None:
            seen = finding == culprit
        elif seen and finding.layer not in told:
            told.add(finding.layer)
            group.setdefault(adjective(finding.condition), []).append(shown(finding.layer, 40))
    if not group:
        return []
    parts = [f"{_names(names)} ({condition})" for condition, names in group.items()]
    return [f"Downstream: {', '.join(parts)}."]


def _names(names: list[str]) -> str:
    few = ", ".join(names[:_MOST_NAMES])
    return few if len(names) <= _MOST_NAMES else f"{few} and {len(names) - _MOST_NAMES} more"


def _cells(layer: LayerHealth) -> tuple[str, ...]:
    def value(x: float | None) -> str:
        return "-" if x is None else number(x)

    def share(x: float | None) -> str:
        return "-" if x is None else percent(x)

    status = layer.status if not layer.severity else f"{adjective(layer.status)} ({layer.severity})"
    numbers = value(layer.mean), value(layer.std), share(layer.dead), share(layer.saturated)
    return shown(layer.name, 40), shown(layer.kind, 24), *numbers, status


def render_text(diagnosis: Diagnosis) -> str:
    """The diagnosis as plain text: a sentence on the first culprit, the table of layers, then all culprits.

    Example:
        >>> print(render_text(Diagnosis((), ())))
        Not enough data yet to judge any layer.
    """
    lines = [sentence(diagnosis)]
    rows = [_COLUMNS, *(_cells(layer) for layer in diagnosis.layers)]
    if diagnosis.layers:
        widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
        lines.append("")
        for row in rows:
            # The four columns in the middle are numbers.
            cells = (
                c.rjust(w) if 2 <= i <= 5 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join(cells).rstrip())
    lines += ["".join(text for text, _ in line) for line in _details(diagnosis)]
    return "\n".join(lines)


#: A line as pieces of text, each with its style.
_Line = list[tuple[str, str]]


def _details(diagnosis: Diagnosis) -> Iterator[_Line]:
    """The culprits one by one, those with the same cause and remedies together; an empty line before each group.

    What the sentence at the top says of the first one is not repeated.
    """
    groups: dict[tuple[str, str, tuple[str, ...]], list[tuple[int, Finding]]] = {}
    for place, culprit in enumerate(diagnosis.culprits, 1):
        groups.setdefault((culprit.condition, culprit.cause, culprit.remedies), []).append((place, culprit))
    for (_, cause, remedies), group in groups.items():
        yield []
        first = group[0][0] == 1
        for place, culprit in group:
            said = f"{shown(culprit.layer)}: see above." if place == 1 else culprit.message
            yield [(f"{place}. ", ""), (f"[{culprit.severity}]", _STYLES[culprit.severity]), (f" {said}", "")]
            if place > 1:
                yield from ([(f"   {line}", "")] for line in _follows(diagnosis, culprit))
        if not first:
            yield [(f"   Cause: {cause}", "")]
            yield from ([(f"   Try: {remedy}", "cyan")] for remedy in remedies)
        elif len(group) > 1:
            yield [("   Cause and remedies of all of these: see above.", "")]
    if groups:
        conditions = dict.fromkeys(condition for condition, _, _ in groups)
        yield from ([], [(f"More: fastact explain {' '.join(conditions)}", "dim")])


def render_rich(diagnosis: Diagnosis) -> "RenderableType":
    """The text of `render_text` for `rich.console.Console.print`: wrapped to the terminal, coloured by severity."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [Text(sentence(diagnosis))]
    if diagnosis.layers:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for i, column in enumerate(_COLUMNS):
            right = 2 <= i <= 5
            table.add_column(column, justify="right" if right else "left", no_wrap=right, overflow="fold")
        for layer in diagnosis.layers:
            style = "dim" if layer.status == "not enough data" else _STYLES[layer.severity]
            *cells, status = _cells(layer)
            # Text, not str: rich would read a str as markup.
            table.add_row(*(Text(cell) for cell in cells), Text(status, style=style))
        parts += [Text(), table]
    parts += [Text.assemble(*line) for line in _details(diagnosis)]
    return Group(*parts)
