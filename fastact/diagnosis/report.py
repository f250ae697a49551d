"""A diagnosis as a value, and how it is shown: dict, JSON, plain text, and a rich renderable for a terminal.

Nothing here computes: it shows what `diagnosis.Diagnoser` found.

Names and types of layers come from outside and are escaped: they can hold terminal escapes or markup.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastact.diagnosis.finding import Finding
from fastact.diagnosis.layer_types import EVALUATION_SUFFIX, GRADIENT, INPUT, USAGE, VOCABULARY
from fastact.diagnosis.rules import adjective
from fastact.text import number, percent, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS: Final = ("layer", "type", "mean", "std", "dead", "saturated", "status")
_MOST_NAMES: Final = 3
_CAUSE: Final = {
    "certain": "Cause", "likely": "Likely cause", "possible": "Possible cause", "unknown": "Cause unknown"
}  # fmt: skip
#: What lines of the table are, by their type.
_KINDS: Final = {"": "layer", INPUT: "input", GRADIENT: "gradient", USAGE: "codebook", VOCABULARY: "vocabulary"}
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
        status: the condition of its gravest finding; without one "accepted" where findings were accepted, "not enough
            data", or "healthy".
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
        accepted: findings that the user has accepted, and what follows from them.
        unseen: what was watched and not recorded, as pairs of a name and the reason.
        accepted_in_vain: what was accepted and not found, such as "encoder.3: dead", so that it may be out of date.
    """

    findings: tuple[Finding, ...]
    layers: tuple[LayerHealth, ...]
    notes: tuple[Note, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    unseen: tuple[tuple[str, str], ...] = ()
    accepted_in_vain: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing was found that counts. `LayerHealth.status` tells healthy from not enough data."""
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
            "accepted_in_vain": list(self.accepted_in_vain),
        }

    def to_json(self, indent: int | None = None) -> str:
        """The diagnosis as strict JSON (ASCII, no NaN, no Infinity)."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def __str__(self) -> str:
        return render_text(self)


def sentence(diagnosis: Diagnosis) -> str:
    """The diagnosis in a few sentences: the first culprit, what follows from it, why, what to try; or what is fine."""
    if not diagnosis.culprits:
        return _nothing_found(diagnosis)
    first = diagnosis.culprits[0]
    return " ".join([first.message, *_follows(diagnosis.findings, first, _places(diagnosis)), *advice(first)])


def advice(finding: Finding) -> list[str]:
    """Why it is so, how sure that is, what speaks for it, and what to try: a sentence each.

    Example:
        >>> from fastact.diagnosis.finding import Evidence
        >>> finding = Finding("a", "dead", "serious", 0, Evidence(), "a is dead.", "An update was too large.",
        ...     ("use a lower learning rate",), because=("its rms grew 30-fold in step 7",), confidence="likely")
        >>> for line in advice(finding):
        ...     print(line)
        Likely cause: An update was too large.
        Evidence: its rms grew 30-fold in step 7.
        Try: use a lower learning rate.
    """
    cause = finding.cause
    if finding.confidence == "unknown":
        cause = cause[:1].lower() + cause[1:]
    said = [f"{_CAUSE[finding.confidence]}: {cause}"]
    if finding.because:
        said.append(f"Evidence: {'; '.join(finding.because)}.")
    if finding.remedies:
        said.append(f"Try: {'; '.join(finding.remedies)}.")
    return said


def _nothing_found(diagnosis: Diagnosis) -> str:
    """That nothing was found, in what, and what could not be judged or seen."""
    judged = [layer for layer in diagnosis.layers if layer.status != "not enough data"]
    hidden = " What was not seen is listed below." if diagnosis.unseen else ""
    if not judged:
        return f"Not enough data yet to judge any layer.{hidden}"
    first = min((layer.first_step for layer in judged if layer.first_step is not None), default=None)
    last = max((layer.last_step for layer in judged if layer.last_step is not None), default=None)
    steps = "" if first is None else f", in step {first}" if first == last else f", over steps {first} to {last}"
    unknown = len(diagnosis.layers) - len(judged)
    rest = f"; not enough data yet for {unknown} more" if unknown else ""
    besides = " besides what is accepted" if diagnosis.accepted else ""
    return f"No problems found{besides} in {_looked_at(judged)}{steps}{rest}.{hidden}"


def _looked_at(layers: Sequence[LayerHealth]) -> str:
    """How many layers, gradients and so on there are: "12 layers, 3 of them in evaluation too, and 12 gradients"."""
    counts = dict.fromkeys(_KINDS, 0)
    names = {layer.name for layer in layers}
    twice = 0
    for layer in layers:
        of = layer.name.removesuffix(EVALUATION_SUFFIX)
        if of != layer.name and of in names:
            twice += 1
        else:
            counts[layer.kind if layer.kind in _KINDS else ""] += 1
    parts = []
    for kind, count in counts.items():
        if count:
            parts.append(f"{count} {_KINDS[kind]}{'s' if count > 1 else ''}")
        if not kind and twice:
            parts.append(f"{twice} of them in evaluation too")
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _places(diagnosis: Diagnosis) -> dict[str, int]:
    return {layer.name: place for place, layer in enumerate(diagnosis.layers)}


def _follows(findings: Iterable[Finding], culprit: Finding, places: Mapping[str, int]) -> list[str]:
    """What follows from a culprit, in sentences if anything does: each other layer once, by its first condition."""
    alike: list[str] = []
    group: dict[str, list[str]] = {}
    told = {culprit.layer}
    seen = False
    after = True
    for finding in findings:
        if finding.consequence_of is None:
            seen = finding == culprit
        elif seen and finding.layer not in told:
            told.add(finding.layer)
            if finding.condition == culprit.condition:
                alike.append(finding.layer)
            else:
                group.setdefault(adjective(finding.condition), []).append(finding.layer)
                after &= places.get(finding.layer, 0) > places.get(culprit.layer, 0)
    said = []
    if alike:
        more = f"{len(alike)} more layers: {_names(alike)}" if len(alike) > _MOST_NAMES else _names(alike)
        said.append(f"The same in {more}.")
    if group:
        parts = [f"{_names(names)} ({condition})" for condition, names in group.items()]
        said.append(f"{'Downstream' if after else 'It also explains'}: {', '.join(parts)}.")
    return said


def _names(names: Sequence[str]) -> str:
    """The first few names as they can be shown, and how many more there are."""
    few = ", ".join(shown(name, 40) for name in names[:_MOST_NAMES])
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
    """What follows the table, in blocks with an empty line before each."""
    yield from _findings(diagnosis)
    yield from _block("Accepted, not counted:", _accepted(diagnosis))
    yield from _block("Notes (no harm seen):", [note.message for note in diagnosis.notes])
    yield from _block("Not seen:", _unseen(diagnosis.unseen))
    conditions = dict.fromkeys(
        [culprit.condition for culprit in diagnosis.culprits] + [note.condition for note in diagnosis.notes]
    )
    if conditions:
        yield from ([], [(f"More: fastact explain {' '.join(conditions)}", "dim")])


def _block(head: str, lines: Sequence[str]) -> Iterator[_Line]:
    if lines:
        yield from ([], [(head, "")])
        yield from ([(f"- {line}", "dim")] for line in lines)


def _findings(diagnosis: Diagnosis) -> Iterator[_Line]:
    """The culprits one by one, those with the same cause and remedies together.

    What the sentence at the top says of the first one is not repeated.
    """
    places = _places(diagnosis)
    groups: dict[tuple[object, ...], list[tuple[int, Finding]]] = {}
    for place, culprit in enumerate(diagnosis.culprits, 1):
        groups.setdefault((culprit.condition, *advice(culprit)), []).append((place, culprit))
    for group in groups.values():
        yield []
        first = group[0][0] == 1
        for place, culprit in group:
            said = f"{shown(culprit.layer)}: see above." if place == 1 else culprit.message
            yield [(f"{place}. ", ""), (f"[{culprit.severity}]", _STYLES[culprit.severity]), (f" {said}", "")]
            if place > 1:
                yield from ([(f"   {line}", "")] for line in _follows(diagnosis.findings, culprit, places))
        if not first:
            for line in advice(group[0][1]):
                yield [(f"   {line}", "cyan" if line.startswith("Try: ") else "")]
        elif len(group) > 1:
            yield [("   Cause and remedies of all of these: see above.", "")]


def _accepted(diagnosis: Diagnosis) -> list[str]:
    """A line for each accepted culprit and one for what was accepted in vain."""
    found = [each.finding for each in diagnosis.accepted]
    culprits = {(finding.layer, None) for finding in found if finding.consequence_of is None}
    lines = []
    for each in diagnosis.accepted:
        finding = each.finding
        if (finding.consequence_of, None) not in culprits:  # else its culprit's line tells it
            follows = _follows(found, finding, _places(diagnosis)) if finding.consequence_of is None else []
            reason = [f"Reason: {shown(each.reason, 400).rstrip('.')}."] if each.reason else []
            lines.append(" ".join([finding.message, *follows, *reason]))
    if diagnosis.accepted_in_vain:
        names = [shown(name) for name in diagnosis.accepted_in_vain]
        lines.append(f"Accepted, but not found: {', '.join(names)}.")
    return lines


def _unseen(unseen: Sequence[tuple[str, str]]) -> list[str]:
    """A line for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, reason in unseen:
        reasons.setdefault(reason, []).append(name)
    return [f"{_names(names)}: {shown(reason, 400).rstrip('.')}." for reason, names in reasons.items()]


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
