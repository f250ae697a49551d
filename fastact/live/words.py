"""What the terminal view says: heads, lines and pages as rich text. Names come from outside and are shown escaped."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from rich.text import Text

from fastact.diagnosis.finding import Finding
from fastact.diagnosis.report import Diagnosis, LayerHealth, Note
from fastact.diagnosis.show.render import advice, status_of
from fastact.heatmap.statistics import STATISTICS, Floats
from fastact.history import LayerInfo
from fastact.live.following import Following, Rank
from fastact.live.sparks import curve, scale, sparkline
from fastact.text import number, percent, shown

#: Colours are an aid: each severity is also said in words.
STYLES: Final = {"": "green", "note": "dim", "warning": "yellow", "serious": "bold yellow", "critical": "bold red"}
_DIM: Final = "dim"


def value(statistic: str, x: float) -> str:
    """A statistic's value in words: a share in per cent.

    Example:
        >>> value("dead_ratio", 0.25), value("rms", 1234.0), value("rms", float("nan"))
        ('25%', '1,230', '-')
    """
    if not math.isfinite(x):
        return "-"
    return percent(x) if STATISTICS[statistic].kind == "share" else number(x)


def head(following: Following, width: int, settings: str) -> Text:
    """The lines at the top: run, rank, state; step and speed; the losses."""
    rank = following.shown
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(shown(str(following.path), max(20, width - 50)), "bold")
    if rank.number is not None:
        text.append(f"  {rank.label} of {len(following.ranks) + following.left_out}")
        sick = [str(each.number) for each in following.ranks if each.gravest]
        if sick:
            more = f" and {len(sick) - 4} more" if len(sick) > 5 else ""
            text.append(f"  sick: {', '.join(sick[: 4 if more else 5])}{more}", STYLES["serious"])
    bad = rank.error or "killed" in rank.state
    text.append(f"  {shown(rank.state, 80)}", STYLES["critical"] if bad else "green")
    tail, diagnosis = rank.tail, rank.diagnosis
    step = "-" if tail.step is None else f"{tail.step:,}"
    text.append(f"\nstep {step}  {tail.rows:,} rows, {tail.rate:,.0f}/s  ")
    if diagnosis is not None:
        text.append(f"{len(diagnosis.layers):,} layers, ")
        text.append(f"{rank.sick:,} sick" if rank.sick else "none sick", STYLES[rank.gravest])
    if following.lost:
        text.append(f"  {following.lost:,} warning{'s' * (following.lost > 1)} (m)", STYLES["warning"])
    text.append(f"  {settings}", _DIM)
    text.append("\n")
    text.append_text(_losses(rank, width))
    return text


def _losses(rank: Rank, width: int) -> Text:
    losses = rank.losses()
    if not losses:
        return Text("no loss was recorded", _DIM)
    text = Text(no_wrap=True, overflow="ellipsis")
    few = list(losses.items())[:2]
    for name, (last, values) in few:
        label = f"{shown(name, 24)} {number(last) if math.isfinite(last) else 'not finite'} "
        room = max(8, (width - 4) // len(few) - len(label) - 2)
        text.append(label, "bold" if math.isfinite(last) else STYLES["critical"])
        text.append(sparkline(values, room, "size") + "  ", "cyan")
    if len(losses) > len(few):
        text.append(f"and {len(losses) - len(few)} more")
    return text


def line(finding: Finding, follow: int, *, new: bool = False) -> Text:
    """A culprit as one line: how severe, since when, where and what, how sure its cause is, how many follow."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{finding.severity:<8} ", STYLES[finding.severity])
    text.append(f"step {finding.first_step:<7,} ")
    text.append(f"{shown(finding.layer, 40)}: {finding.condition}", "bold")
    text.append(f"  cause {finding.confidence}" if finding.confidence != "unknown" else "  cause unknown", _DIM)
    if follow:
        text.append(f"  +{follow} follow", _DIM)
    if new:
        text.append("  new", "reverse")
    return text


def note_line(note: Note) -> Text:
    """A note as one line."""
    said = f"note     step {note.first_step:<7,} {note.message}"
    return Text(said, STYLES["note"], no_wrap=True, overflow="ellipsis")


def followers(diagnosis: Diagnosis) -> dict[tuple[str, str], list[Finding]]:
    """What follows from each culprit, by its layer and condition: the consequences that come after it in the list."""
    found: dict[tuple[str, str], list[Finding]] = {}
    own: list[Finding] = []
    for finding in diagnosis.findings:
        if finding.consequence_of is None:
            own = found[finding.layer, finding.condition] = []
        else:
            own.append(finding)
    return found


def told(finding: Finding, follow: Iterable[Finding] = ()) -> Text:
    """A finding in full: what, since when, why and how sure that is, the numbers behind it, what to try."""
    text = Text()
    text.append(f"{finding.severity}", STYLES[finding.severity])
    text.append(f"  {shown(finding.layer)}: {finding.condition}, since step {finding.first_step:,}\n\n", "bold")
    text.append(f"{finding.message}\n")
    for said in advice(finding):
        text.append(f"{said}\n", "cyan" if said.startswith("Try: ") else "")
    if finding.evidence:
        text.append("\nNumbers: ", "bold")
        numbers = (
            f"{name} {number(x) if isinstance(x, float) else shown(str(x), 40)}" for name, x in finding.evidence.items()
        )
        text.append(f"{', '.join(numbers)}\n")
    if finding.consequence_of is not None:
        text.append(f"\nIt follows from what {shown(finding.consequence_of)} has.\n")
    names = list(dict.fromkeys(f"{shown(each.layer, 40)} ({each.condition})" for each in follow))
    if names:
        more = f" and {len(names) - 12} more" if len(names) > 13 else ""
        text.append("\nWhat follows from it: ", "bold")
        text.append(f"{', '.join(names[: 12 if more else 13])}{more}\n")
    text.append(f"\nMore: fastact explain {finding.condition}\n", _DIM)
    return text


def facts(info: LayerInfo, health: LayerHealth | None) -> Text:
    """What is known of a layer besides its numbers."""
    text = Text()
    text.append(shown(info.name, 200), "bold")
    if health is not None:
        text.append(f"  {status_of(health)}", STYLES[health.severity] if health.status != "not enough data" else _DIM)
    kind = ", ".join(shown(word, 40) for word in (info.layer_type, info.dtype, info.mode) if word)
    text.append(f"\n{kind or 'of unknown type'}; number {info.order} in forward order")
    if info.source:
        text.append(f"; given the output of {shown(info.source)}")
    if health is not None and health.rows:
        text.append(f"\n{health.rows:,} rows, steps {health.first_step:,} to {health.last_step:,}")
    if health is not None and health.not_judged:
        text.append(f"; too little data yet for: {', '.join(health.not_judged)}")
    for name, fact in _flat(info.facts):
        text.append(f"\n{shown(name)}: {shown(str(fact), 100)}", _DIM)
    return text


def _flat(known: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, fact in known.items():
        if isinstance(fact, Mapping):
            yield from _flat(fact, f"{prefix}{name}.")
        elif fact not in ("", None, [], ()):
            yield prefix + str(name), fact


def numbers(rows: Any, width: int) -> Text:
    """Every statistic of a layer: its last value, and its sparkline over the rows."""
    text = Text(no_wrap=True)
    last = rows[-1]
    for name, statistic in STATISTICS.items():
        values = statistic.of(rows)
        if np.isnan(values).all():
            continue
        text.append(f"{name:<17}{value(name, float(values[-1])):>10}  ")
        text.append(sparkline(values, max(8, width - 31), statistic.kind) + "\n", "cyan")
    text.append(f"{'elements':<17}{int(last['count']):>10,}\n")
    for name in ("nans", "pos_infs", "neg_infs"):
        if last[name]:
            text.append(f"{name:<17}{int(last[name]):>10,}\n", STYLES["critical"])
    neurons = int(last["neurons"])
    if not neurons:
        text.append("It was not swept per neuron.\n", _DIM)
        return text
    kinds = ("silent", "dead", "saturated", "constant")
    found = ", ".join(f"{int(last[f'{kind}_neurons']):,} {kind}" for kind in kinds)
    text.append(f"{neurons:,} neurons: {found}")
    if last["peak_neuron"] >= 0:
        text.append(f"; the largest |x| is of neuron {int(last['peak_neuron'])}")
    text.append("\n")
    return text


def picture(steps: Any, low: Floats, high: Floats, statistic: str, width: int, height: int) -> Text:
    """A curve with its ends and steps written beside it."""
    text = Text(no_wrap=True)
    if not len(low) or np.isnan(low).all():
        text.append(f"no {statistic} to draw\n", _DIM)
        return text
    on = scale(np.concatenate((low, high)), STATISTICS[statistic].kind)
    room = max(10, width - 12)
    lines = curve(low, high, room, height, on)
    bottom, top = (value(statistic, end) for end in on.ends)
    labels = [top, *[""] * (len(lines) - 2), bottom]
    for label, drawn in zip(labels, lines, strict=True):
        text.append(f"{label:>10} ", _DIM)
        text.append(drawn + "\n", "cyan")
    first, last = f"{int(steps[0]):,}", f"{int(steps[-1]):,}"
    text.append(f"{'step':>10} {first}{last:>{max(1, room - len(first))}}\n", _DIM)
    if on.log:
        text.append(f"{'':>10} by logarithms\n", _DIM)
    return text
