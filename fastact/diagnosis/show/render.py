"""How a diagnosis is shown: as plain text, and as a rich renderable for a terminal.

First the first culprit, in full; then the table of layers; then all else. Nothing here judges: it tells a value.

Names and types of layers come from outside and are escaped: they can hold terminal escapes or markup.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Finding, gravity
from fastact.diagnosis.layer_types import BASELINE, EVALUATION_SUFFIX, GRADIENT, INPUT, LOSS, USAGE, VOCABULARY
from fastact.diagnosis.report import Diagnosis, LayerHealth
from fastact.diagnosis.rules import adjective
from fastact.diagnosis.timeline import Episode, came_and_went
from fastact.text import number, percent, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS: Final = ("layer", "type", "mean", "std", "dead", "saturated", "status")
_MOST_NAMES: Final = 3
#: Findings of one cause that are told one by one.
_MOST_ALIKE: Final = 5
#: Lines of what came and went.
_MOST_GONE: Final = 8
_CAUSE: Final = {
    "certain": "Cause", "likely": "Likely cause", "possible": "Possible cause", "unknown": "Cause unknown"
}  # fmt: skip
#: What the rows of a table are, by their type: one, and several.
_KINDS: Final = {
    "": ("layer", "layers"), INPUT: ("input", "inputs"), GRADIENT: ("gradient", "gradients"),
    USAGE: ("codebook", "codebooks"), VOCABULARY: ("vocabulary", "vocabularies"), LOSS: ("loss", "losses"),
}  # fmt: skip
#: Rows that are many, or belong to others: evidence, which the table has only where something was found in them.
_EVIDENCE: Final = frozenset({
    BASELINE, layer_types.PREDICTION, layer_types.TARGET, layer_types.PARAMETER, layer_types.PARAMETER_GRADIENT,
    layer_types.UPDATE, layer_types.OPTIMISER,
})  # fmt: skip
_STYLES: Final = {"": "green", "note": "dim", "warning": "yellow", "serious": "bold yellow", "critical": "bold red"}

#: A line as pieces of text, each with its style.
_Line = list[tuple[str, str]]


@dataclass(slots=True)
class Entry:
    """A culprit with what is told together with it.

    Attributes:
        culprit: the first one.
        alike: the other layers that have the same since that step, be it by themselves or as a consequence.
        later: the layers that have had the same since a later step.
        others: what else follows: how a condition is said of a layer -> the layers.
        layers: all of these.
    """

    culprit: Finding
    alike: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)
    others: dict[str, list[str]] = field(default_factory=dict)
    layers: set[str] = field(default_factory=set)


def headline(diagnosis: Diagnosis) -> list[str]:
    """The first lines: the first culprit, what follows from it, why and what to try; or what was found to be fine."""
    entries = entries_of(diagnosis.findings)
    return [told(entries[0], diagnosis), *advice(entries[0].culprit)] if entries else [nothing_found(diagnosis)]


def advice(finding: Finding) -> list[str]:
    """Why it is so, how sure that is, what speaks for it, and what to try: a line each.

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
    lines = [f"{_CAUSE[finding.confidence]}: {cause}"]
    if finding.because:
        lines.append(f"Evidence: {'; '.join(finding.because)}.")
    if finding.remedies:
        lines.append(f"Try: {'; '.join(finding.remedies)}.")
    return lines


def entries_of(findings: Iterable[Finding]) -> list[Entry]:
    """The culprits, those that differ in nothing but the layer as one; each layer once, by what it has first."""
    entries: dict[tuple[object, ...], Entry] = {}
    entry: Entry | None = None
    for finding in findings:
        if finding.consequence_of is None:
            same = (finding.condition, finding.severity, finding.first_step, *advice(finding))
            entry = entries.get(same)
            if entry is None:
                entry = entries[same] = Entry(finding)
            else:
                entry.alike.append(finding.layer)
            entry.layers.add(finding.layer)
        elif entry is not None and finding.layer not in entry.layers:
            entry.layers.add(finding.layer)
            if finding.condition == entry.culprit.condition:
                (entry.later if finding.first_step > entry.culprit.first_step else entry.alike).append(finding.layer)
            else:
                entry.others.setdefault(adjective(finding.condition), []).append(finding.layer)
    return list(entries.values())


def told(entry: Entry, diagnosis: Diagnosis) -> str:
    """What is wrong in a layer, where else, and what follows from it."""
    places = {layer.name: place for place, layer in enumerate(diagnosis.layers)}

    def in_order(names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: places.get(name, len(places)))

    said = [entry.culprit.message]
    also = [_counted(in_order(entry.alike))] if entry.alike else []
    also += [f"later {_counted(in_order(entry.later))}"] if entry.later else []
    if also:
        said.append(f"Also {adjective(entry.culprit.condition)}: {'; '.join(also)}.")
    if entry.others:
        own = places.get(entry.culprit.layer, 0)
        after = all(places.get(name, own + 1) > own for names in entry.others.values() for name in names)
        parts = [f"{_names(in_order(names))} ({condition})" for condition, names in entry.others.items()]
        said.append(f"{'Downstream' if after else 'It also explains'}: {', '.join(parts)}.")
    return " ".join(said)


def _counted(names: Sequence[str]) -> str:
    if len(names) <= _MOST_NAMES + 1:
        return _names(names)
    return f"{len(names)} more layers, such as {_names(names[:_MOST_NAMES])}"


def _names(names: Sequence[str]) -> str:
    """The first few names as they can be shown, and how many more there are, if it is more than one."""
    most = len(names) if len(names) <= _MOST_NAMES + 1 else _MOST_NAMES
    few = ", ".join(shown(name, 40) for name in names[:most])
    return few if most == len(names) else f"{few} and {len(names) - most} more"


def _judged(diagnosis: Diagnosis) -> list[LayerHealth]:
    return [it for it in diagnosis.layers if it.kind not in _EVIDENCE and it.status != "not enough data"]


def has_judged(diagnosis: Diagnosis) -> bool:
    """Whether there was enough to judge any layer by, so that nothing found says something."""
    return any(layer.rows for layer in _judged(diagnosis))


def nothing_found(diagnosis: Diagnosis) -> str:
    """That nothing was found, and in what."""
    judged = _judged(diagnosis)
    if not diagnosis.layers or not any(layer.rows for layer in diagnosis.layers):
        why = (
            "see below for what was watched" if diagnosis.unseen else "no layer has been recorded in a step that ended"
        )
        return f"Nothing was recorded, so nothing could be judged: {why}."
    if not judged:
        return "Not enough data yet to judge any layer."
    if sick := sum(bool(layer.severity) for layer in diagnosis.layers):
        began = f"{sick} layers that were" if sick > 1 else "1 layer that was"
        return f"No problem began in the steps that were asked for, besides those of {began} sick before."
    first = min((layer.first_step for layer in judged if layer.first_step is not None), default=None)
    last = max((layer.last_step for layer in judged if layer.last_step is not None), default=None)
    steps = "" if first is None else f", in step {first}" if first == last else f", over steps {first} to {last}"
    besides = ", besides what is accepted" if diagnosis.accepted else ""
    unknown = sum(layer.kind not in _EVIDENCE for layer in diagnosis.layers) - len(judged)
    rest = f"; not enough data yet for {unknown} more" if unknown else ""
    early = [layer.rows for layer in judged if layer.kind == LOSS and "not_learning" in layer.not_judged]
    learns = f"; whether it learns is not known yet, after {max(early):,} rows of the loss" if early else ""
    return f"No problems found in {_looked_at(judged)}{steps}{besides}{rest}{learns}."


def _looked_at(layers: Sequence[LayerHealth]) -> str:
    """How many layers, gradients and so on: "12 layers, 3 of them in evaluation too, and 12 gradients"."""
    names = {layer.name for layer in layers}
    counts, twice = dict.fromkeys(_KINDS, 0), dict.fromkeys(_KINDS, 0)
    for layer in layers:
        again = layer.name.endswith(EVALUATION_SUFFIX) and layer.name.removesuffix(EVALUATION_SUFFIX) in names
        (twice if again else counts)[layer.kind if layer.kind in _KINDS else ""] += 1
    kinds = [kind for kind, count in counts.items() if count]
    parts = [f"{counts[kind]} {_KINDS[kind][counts[kind] > 1]}" for kind in kinds]
    if more := twice[kinds[0]]:
        parts[0] += f" ({more} of them in evaluation too)"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _cells(layer: LayerHealth) -> tuple[str, ...]:
    def value(x: float | None) -> str:
        return "-" if x is None else number(x)

    def share(x: float | None) -> str:
        return "-" if x is None else percent(x)

    numbers = value(layer.mean), value(layer.std), share(layer.dead), share(layer.saturated)
    return shown(layer.name, 40), shown(layer.kind, 24), *numbers, status_of(layer)


def status_of(layer: LayerHealth) -> str:
    """What the table says of a layer: "dead (critical)"."""
    return layer.status if not layer.severity else f"{adjective(layer.status)} ({layer.severity})"


def _details(diagnosis: Diagnosis) -> Iterator[_Line]:
    """What comes after the table, in blocks with an empty line before each."""
    yield from _block("Losses:", loss_lines(diagnosis))
    yield from _findings(diagnosis)
    yield from _block("Accepted, not counted:", accepted_lines(diagnosis))
    yield from _block("Notes (no harm seen):", [note.message for note in diagnosis.notes])
    yield from _block("Came and went:", gone_lines(diagnosis))
    yield from _block("Not looked at:", unseen_lines(diagnosis))
    conditions = [culprit.condition for culprit in diagnosis.culprits] + [note.condition for note in diagnosis.notes]
    if conditions:
        yield from ([], [(f"More: fastact explain {' '.join(dict.fromkeys(conditions))}", "dim")])


def _block(head: str, lines: Sequence[str]) -> Iterator[_Line]:
    if lines:
        yield from ([], [(head, "")])
        yield from ([(f"- {line}", "")] for line in lines)


def _findings(diagnosis: Diagnosis) -> Iterator[_Line]:
    """All culprits where there are several, those with the same cause and remedies together.

    What the headline says of the first one is not repeated.
    """
    entries = entries_of(diagnosis.findings)
    if len(entries) < 2:
        return
    groups: dict[tuple[str, ...], list[tuple[int, Entry]]] = {}
    for place, entry in enumerate(entries, 1):
        groups.setdefault((entry.culprit.condition, *advice(entry.culprit)), []).append((place, entry))
    for (_, *why), group in groups.items():
        yield []
        for place, entry in group[:_MOST_ALIKE]:
            said = f"{shown(entry.culprit.layer)}: see above." if place == 1 else told(entry, diagnosis)
            severity = entry.culprit.severity
            yield [(f"{place}. ", ""), (f"[{severity}]", _STYLES[severity]), (f" {said}", "")]
        if len(group) > _MOST_ALIKE:
            rest = [entry.culprit.layer for _, entry in group[_MOST_ALIKE:]]
            yield [(f"   {len(rest)} more like these: {_names(rest)}.", "")]
        if group[0][0] > 1:
            yield from ([(f"   {line}", "cyan" if line.startswith("Try: ") else "")] for line in why)
        elif len(group) > 1:
            yield [("   Cause and remedies of all of these: see above.", "")]


def loss_lines(diagnosis: Diagnosis) -> list[str]:
    """A line for each loss: what it is, and what the best constant answer gets."""
    values = {layer.name: layer.mean for layer in diagnosis.layers if layer.kind == BASELINE}
    lines = []
    for layer in diagnosis.layers:
        if layer.kind != LOSS or not layer.rows:
            continue
        name = layer.name.removesuffix(EVALUATION_SUFFIX)
        constant = values.get(name + layer_types.BASELINE_SUFFIX + layer.name[len(name) :])
        value = "no finite number" if layer.mean is None else number(layer.mean)
        besides = "" if constant is None else f"; the best constant answer gets {number(constant)}"
        status = f" [{status_of(layer)}]" if layer.severity or layer.status == "accepted" else ""
        lines.append(f"{shown(layer.name, 40)}: {value} at step {layer.last_step}{besides}{status}")
    return lines


def in_table(diagnosis: Diagnosis) -> list[LayerHealth]:
    """The lines of the table: layers, and what else something was found in; losses have lines of their own."""
    layers = [layer for layer in diagnosis.layers if layer.kind != LOSS]
    return [layer for layer in layers if layer.severity or layer.kind not in _EVIDENCE]


def accepted_lines(diagnosis: Diagnosis) -> list[str]:
    """A line for each finding that is accepted by itself, and one for what was accepted and not found."""
    reasons: dict[str, list[Finding]] = {}
    for each in diagnosis.accepted:
        reasons.setdefault(each.reason, []).append(each.finding)
    lines = []
    for reason, findings in reasons.items():
        culprits = {finding.layer for finding in findings if finding.consequence_of is None}
        # A finding whose culprit is not accepted, or for another reason, stands for itself.
        alone = [finding for finding in findings if finding.consequence_of not in (None, *culprits)]
        entries = entries_of(finding for finding in findings if finding not in alone)
        why = f" Reason: {shown(reason, 400).rstrip('.')}." if reason else ""
        lines += [told(entry, diagnosis) + why for entry in (*entries, *map(Entry, alone))]
    if diagnosis.accepted_in_vain:
        names = [shown(name) for name in diagnosis.accepted_in_vain]
        lines.append(f"Accepted, but not found: {', '.join(names)}.")
    return lines


def gone_lines(diagnosis: Diagnosis) -> list[str]:
    """A line for what several layers had and have no more, in the order in which it began."""
    groups: dict[tuple[str, int, int], list[Episode]] = {}
    for each in came_and_went(diagnosis.timeline):
        groups.setdefault((each.condition, each.last_step, each.resolved or 0), []).append(each)
    lines = []
    for (condition, last_step, resolved), episodes in groups.items():
        gravest = max((each.severity for each in episodes), key=gravity)
        since = min(each.first_step for each in episodes)
        names = _names([each.layer for each in episodes])
        lines.append(
            f"{names}: {adjective(condition)} from step {since} to {last_step} at least [{gravest}], no more at step "
            f"{resolved}."
        )
    rest = len(lines) - _MOST_GONE
    return lines if rest <= 0 else [*lines[-_MOST_GONE:], f"{rest} more before these: `Diagnosis.timeline` has all."]


def unseen_lines(diagnosis: Diagnosis) -> list[str]:
    """What was watched and gave no row, by reason; layers with too few rows; conditions that want more of them."""
    reasons: dict[str, list[str]] = {}
    for name, reason in diagnosis.unseen:
        reasons.setdefault(shown(reason, 400).rstrip("."), []).append(name)
    unseen = {name for name, _ in diagnosis.unseen}
    conditions: dict[str, list[str]] = {}
    for layer in diagnosis.layers:
        if layer.kind in _EVIDENCE:
            continue
        if layer.status == "not enough data":
            if layer.name not in unseen:
                reasons.setdefault("too few rows" if layer.rows else "no rows", []).append(layer.name)
        else:
            for condition in layer.not_judged:
                conditions.setdefault(condition, []).append(layer.name)
    lines = [f"{_names(names)}: {reason}." for reason, names in reasons.items()]
    if conditions:
        few = sorted({name for names in conditions.values() for name in names})
        count = f"{len(few)} layers" if len(few) > 1 else shown(few[0], 40)
        lines.append(f"{', '.join(sorted(conditions))}: too few rows or samples yet in {count}.")
    return lines


def render_text(diagnosis: Diagnosis) -> str:
    """The diagnosis as plain text: the first culprit, the table of layers, then all else.

    Example:
        >>> print(render_text(Diagnosis((), ())))
        Nothing was recorded, so nothing could be judged: no layer has been recorded in a step that ended.
    """
    lines = headline(diagnosis)
    table = in_table(diagnosis)
    rows = [_COLUMNS, *(_cells(layer) for layer in table)]
    if table:
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


def render_rich(diagnosis: Diagnosis) -> "RenderableType":
    """The text of `render_text` for `rich.console.Console.print`: wrapped to the terminal, coloured by severity."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [Text(line) for line in headline(diagnosis)]
    layers = in_table(diagnosis)
    if layers:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for i, column in enumerate(_COLUMNS):
            right = 2 <= i <= 5
            table.add_column(column, justify="right" if right else "left", no_wrap=right, overflow="fold")
        for layer in layers:
            style = "dim" if layer.status in ("not enough data", "accepted") else _STYLES[layer.severity]
            *cells, status = _cells(layer)
            # Text, not str: rich would read a str as markup.
            table.add_row(*(Text(cell) for cell in cells), Text(status, style=style))
        parts += [Text(), table]
    parts += [Text.assemble(*line) for line in _details(diagnosis)]
    return Group(*parts)
