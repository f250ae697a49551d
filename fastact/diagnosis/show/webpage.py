"""What a report page shows of a diagnosis, and of the rows it was made from: sentences, charts, tables, cells.

How it looks is the business of `fastact.html`; this says what there is. Long lists have a most, which is told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from fastact.diagnosis.finding import SEVERITIES, Finding
from fastact.diagnosis.layer_types import EVALUATION_SUFFIX, LOSS
from fastact.diagnosis.report import Diagnosis, LayerHealth
from fastact.diagnosis.rules import RULES, Thresholds
from fastact.diagnosis.show.neuron_maps import neuron_maps
from fastact.diagnosis.show.picture import picture
from fastact.diagnosis.show.render import (
    Entry,
    accepted_lines,
    advice,
    entries_of,
    gone_lines,
    has_judged,
    headline,
    in_table,
    loss_lines,
    status_of,
    told,
    unseen_lines,
)
from fastact.heatmap.collect import Collection, Level, coarser
from fastact.heatmap.grid import Parts
from fastact.heatmap.statistics import STATISTICS
from fastact.history import LayerInfo
from fastact.html.curves import Chart, Curve
from fastact.html.page import MOST_BYTES, Page, Section, render
from fastact.neurons import Neurons
from fastact.text import number, percent, shown

#: Layers that follow from a finding whose curves are drawn beside its own, and columns of a curve.
_MOST_FOLLOWING: Final = 4
_COLUMNS: Final = 96
#: Bytes of a section's still picture and its labels.
_SLACK: Final = 40_000
_RULES: Final = {rule.condition: rule for rule in RULES}


@dataclass(frozen=True)
class Subject:
    """What a section is made from.

    Attributes:
        name: the run's name.
        diagnosis: what was found.
        collection: the cells of its rows; None where there are no rows.
        thresholds: what was compared with.
        facts: what is known of the run: pairs of what and what it is.
        about: what a reader must know of the rows, a line each: what was merged or is missing.
        neurons: which were dead, of layers that have some, the worst first.
    """

    name: str
    diagnosis: Diagnosis
    collection: Collection | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    facts: Sequence[tuple[str, str]] = ()
    about: Sequence[str] = ()
    neurons: Sequence[Neurons] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is shown of one run at most: what a page of 400 kB has room for, unless names are long."""

    findings: int = 40
    charts: int = 12
    rows: int = 200
    lines: int = 60
    letters: int = 1200
    name: int = 100

    def less(self) -> "Limits":
        """About half of it."""
        return Limits(*(max(1, getattr(self, name) // 2) for name in self.__slots__))


def document(
    subjects: Sequence[Subject], *, comparison: dict[str, Any] | None = None, made: str = "", again: int = 0
) -> str:
    """The page of one run, or of several, as HTML of at most 400 kB for each: what there is no room for is left out.

    Args:
        subjects: the runs.
        comparison: what is told of all of them first: its title and its lines.
        made: when and from what the page was made.
        again: seconds after which a browser loads it anew, 0 for never.
    """
    names = ", ".join(shown(subject.name, 60) for subject in subjects)
    most = MOST_BYTES * max(len(subjects), 1)
    limits = Limits()
    while True:
        # What the text leaves is for the cells, at least a third of the page; where they need more, there is less text.
        bare = [section(subject, i, None, limits) for i, subject in enumerate(subjects)]
        text = len(render(Page(f"{names}: fastact report", bare, made, comparison, again)).encode())
        room = (most - text) // max(len(subjects), 1) - _SLACK
        if room > MOST_BYTES // 3 or limits == limits.less():
            break
        limits = limits.less()
    sections = [section(subject, i, room, limits) for i, subject in enumerate(subjects)]
    return render(Page(f"{names}: fastact report", sections, made, comparison, again))


def section(subject: Subject, place: int, room: int | None, most: Limits) -> Section:
    """A run's part of a page.

    Args:
        subject: what to show.
        place: its place among the sections, from 0.
        room: bytes that its map may take; None leaves the map out.
        most: how much of it is shown.
    """
    diagnosis, collection = subject.diagnosis, subject.collection
    first, *why = headline(diagnosis)
    entries = entries_of(diagnosis.findings)
    # The first sentence, and what is told after it.
    sentence = entries[0].culprit.message if entries else first
    gravest = max((f.severity for f in diagnosis.findings), key=SEVERITIES.index, default="")
    judged = has_judged(diagnosis)
    findings = [_finding(entry, i, place, subject, most) for i, entry in enumerate(entries[: most.findings], 1)]
    table, left_out = _table(diagnosis, {f["layer"]: f["id"] for f in reversed(findings)}, most)
    about = list(subject.about)
    data: dict[str, Any] | None = None
    image, blob = None, ""
    if room is not None and collection is not None and collection.levels:
        data, image, blob, said = picture(collection, diagnosis, findings, room)
        about += said
    return Section(
        name=shown(subject.name, 120),
        severity=gravest or ("healthy" if judged else "unknown"),
        headline=shown(sentence, most.letters),
        besides=shown(first.removeprefix(sentence).strip(), most.letters),
        advice=_advice(why, most),
        findings=findings,
        more=len(entries) - len(findings),
        notes=_lines((note.message for note in diagnosis.notes), most),
        gone=_lines(gone_lines(diagnosis), most),
        accepted=_lines(accepted_lines(diagnosis), most),
        losses=_lines(loss_lines(diagnosis), most),
        table=table,
        left_out=left_out,
        unseen=_lines(unseen_lines(diagnosis), most),
        facts=[(what, shown(text, 200)) for what, text in subject.facts],
        about=about,
        neurons=neuron_maps(subject.neurons, most.name),
        loss=None if collection is None else _loss(collection),
        image=image,
        data=data,
        blob=blob,
    )


def _lines(lines: Iterable[str], most: Limits) -> list[str]:
    found = [shown(line, most.letters) for line in lines]
    more = len(found) - most.lines
    return found if more <= 0 else [*found[: most.lines], f"And {more} more."]


def _advice(lines: Iterable[str], most: Limits) -> list[tuple[str, str]]:
    """Lines such as "Likely cause: ..." as pairs."""
    pairs = (line.partition(": ") for line in lines)
    # Evidence may begin with a layer's name, which stays as it is.
    cased = ((what, said if what == "Evidence" else said[:1].upper() + said[1:]) for what, _, said in pairs)
    return [(what, shown(said, most.letters)) for what, said in cased]


def _finding(entry: Entry, number_: int, place: int, subject: Subject, most: Limits) -> dict[str, Any]:
    finding = entry.culprit
    rule = _RULES[finding.condition]
    following = [f for f in subject.diagnosis.findings if f.layer in entry.layers and f.layer != finding.layer]
    names = list(dict.fromkeys(f.layer for f in following))
    evidence = [(name.replace("_", " "), _value(name, value)) for name, value in finding.evidence.items()]
    return {
        "id": f"run-{place}-finding-{number_}",
        "number": number_,
        "layer": finding.layer,
        "shown": shown(finding.layer, most.name),
        "condition": finding.condition,
        "adjective": rule.adjective,
        "severity": finding.severity,
        "since": finding.first_step,
        "message": shown(told(entry, subject.diagnosis), most.letters),
        "advice": _advice(advice(finding), most),
        "evidence": [(what, shown(str(value), most.name)) for what, value in evidence],
        "statistic": rule.shown(finding),
        "following": [
            (shown(f.layer, most.name), _RULES[f.condition].adjective, f.severity, f.first_step)
            for f in following[: most.lines]
        ],
        "following_more": max(0, len(following) - most.lines),
        "layers": [finding.layer, *names],
        "chart": _chart(finding, names, subject) if number_ <= most.charts else None,
    }


def _value(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    shares = ("ratio", "share", "likeness")
    return percent(value) if name.rsplit("_", maxsplit=1)[-1] in shares and 0.0 <= value <= 1.0 else number(value)


def _chart(finding: Finding, following: Sequence[str], subject: Subject) -> dict[str, Any] | None:
    """The curve that shows a finding, its limits, its first step, and those of the layers that follow."""
    rule = _RULES[finding.condition]
    statistic = rule.shown(finding)
    own = _curve(subject.collection, finding.layer, statistic)
    if own is None or subject.collection is None:
        return None
    alike = {f.layer for f in subject.diagnosis.findings if f.condition == finding.condition}
    first = sorted(following, key=lambda name: name not in alike)
    found = (_curve(subject.collection, name, statistic) for name in first[: 3 * _MOST_FOLLOWING])
    others = [curve for curve in found if curve is not None][:_MOST_FOLLOWING]
    name = shown(finding.layer, 80)
    kind = STATISTICS[statistic].kind
    limits = rule.limits(finding, subject.thresholds)
    title = f"{statistic} of {name} over the steps; {rule.adjective} since step {finding.first_step}"
    return Chart(title, statistic, kind, own, others, limits, finding.first_step, subject.collection.last).drawn()


def _curve(collection: Collection | None, layer: str, statistic: str) -> Curve | None:
    found = None if collection is None else collection.curve(layer, statistic)
    if found is None:
        return None
    level, parts = found
    if np.isnan(parts.median).all():
        return None
    level = Level(((0,),), level.origin, level.width, level.columns, level.count[:1], {statistic: _row(parts)})
    by = -(-level.columns // _COLUMNS)
    if by > 1:
        level = coarser(level, by)
    steps = level.origin + level.width * np.arange(level.columns, dtype=np.int64)
    return Curve(shown(layer, 60), steps, tuple(part[0] for part in level.parts[statistic]))


def _row(parts: Parts) -> Parts:
    return Parts(*(part[None] for part in parts))


def is_loss(info: LayerInfo) -> bool:
    """Whether a layer is a loss, whose curve is drawn over the map, finer than the others."""
    return info.layer_type == LOSS


def _loss(collection: Collection) -> dict[str, Any] | None:
    """The losses over the steps; those of training first."""
    names = [info.name for info in collection.layers if info.layer_type == LOSS]
    names.sort(key=lambda name: name.endswith(EVALUATION_SUFFIX))
    curves = [curve for name in names if (curve := _curve(collection, name, "mean")) is not None]
    if not curves:
        return None
    kind = "size" if all(np.nanmin(curve.values, initial=0.0) >= 0.0 for curve in curves) else "signed"
    others = curves[1 : 1 + _MOST_FOLLOWING]
    title = f"{curves[0].name} over the steps"
    # As wide as the still map beneath it.
    chart = Chart(
        title, "loss", kind, curves[0], others, last=collection.last, width=900, height=120, left=190, right=10
    )
    return chart.drawn()


def _table(diagnosis: Diagnosis, links: dict[str, str], most: Limits) -> tuple[list[tuple[Any, ...]], int]:
    """Lines of the health table, and how many healthy layers are left out: those first where something was found."""
    layers = in_table(diagnosis)
    if len(layers) > most.rows:
        kept = sorted(range(len(layers)), key=lambda i: not layers[i].severity)[: most.rows]
        layers, rest = [layers[i] for i in sorted(kept)], len(layers) - most.rows
    else:
        rest = 0
    return [_line(layer, links.get(layer.name, ""), most.name) for layer in layers], rest


def _line(layer: LayerHealth, link: str, length: int) -> tuple[Any, ...]:
    numbers = ("-" if x is None else number(x) for x in (layer.mean, layer.std))
    shares = ("-" if x is None else percent(x) for x in (layer.dead, layer.saturated))
    group = layer.severity or ("healthy" if layer.status == "healthy" else "unknown")
    return shown(layer.name, length), shown(layer.kind, 30), *numbers, *shares, status_of(layer), group, link
