"""How a comparison is told: one sentence first, then where each layer parts, then what only one run has."""

from collections.abc import Iterable, Iterator
from typing import Final

from fastact.comparison.report import Comparison, Parting
from fastact.comparison.statistics import NAMES
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.layer_types import OPTIMISER
from fastact.text import number, percent, shown

#: Layers that are told one by one.
_MOST: Final = 12
_MOST_NAMES: Final = 6
#: How the statistics are called in a sentence.
_SAID: Final = {name: name for name in NAMES} | {
    "non_finite_ratio": "share of NaN and Inf", "abs_mean": "mean of |x|", "signal": "spread between samples",
    "min": "minimum", "max": "maximum", "zero_ratio": "share of zeros", "saturation_ratio": "saturated share",
    "silent_ratio": "share of silent neurons", "dead_ratio": "share of dead neurons",
    "constant_ratio": "share of constant neurons",
}  # fmt: skip


def summary(comparison: Comparison) -> str:
    """The answer in one sentence."""
    first, steps = comparison.first, comparison.steps
    if not comparison.layers:
        counts = len(comparison.only_in_a), len(comparison.only_in_b)
        return f"The runs have no layer in common: {counts[0]} are only in a, {counts[1]} only in b."
    if not steps:
        return "The runs have no step in common, so that nothing can be compared."
    compared = f"{_many(len(comparison.layers), 'layer')} in {_many(steps, 'step')}"
    noise = "their own noise explains" if comparison.noise == "own" else "the seeds differ by"
    if first is None:
        if comparison.first_unequal is None:
            return f"The runs are the same bit for bit: {compared}."
        return f"The runs do not part: {_equal(comparison)}differ by no more than {noise} ({compared})."
    kind = _kind(comparison, first.layer)
    where = f"{shown(first.layer)} ({shown(kind, 60)})" if kind else f"layer {shown(first.layer)}"
    what = f"{_values(first, comparison)}{_excess(first, comparison)}"
    if first.from_start:
        return f"The runs differ from the first step that both have, {first.step}, in {where}: {what}."
    before = f"; before step {comparison.first_unequal} they are the same bit for bit"
    if comparison.first_unequal is None or comparison.first_unequal == comparison.first_step:
        before = ""
    return f"The runs part at step {first.step} in {where}: {what}{before}."


def render_text(comparison: Comparison) -> str:
    """The whole comparison as text; names are shown escaped."""
    return "\n".join(_lines(comparison))


def _lines(comparison: Comparison) -> Iterator[str]:
    yield comparison.summary
    yield ""
    yield f"a: {shown(comparison.a)}"
    yield f"b: {shown(comparison.b)}"
    parted: dict[str, list[Parting]] = {}
    for parting in comparison.partings:
        parted.setdefault(parting.layer, []).append(parting)
    if parted:
        yield ""
        yield f"{len(parted)} of {_many(len(comparison.layers), 'layer')} part{'s' * (len(parted) == 1)}:"
        for own in list(parted.values())[:_MOST]:
            others = ", ".join(_SAID[each.statistic] for each in own[1:])
            more = f"; also {others}" if others else ""
            yield f"- step {own[0].step}: {shown(own[0].layer)}, {_values(own[0], comparison)}{more}"
        if len(parted) > _MOST:
            yield f"- and {len(parted) - _MOST} more"
    for name, layers in (("a", comparison.only_in_a), ("b", comparison.only_in_b)):
        if layers:
            yield f"Layers only in {name}: {_names(layers)}."
    changed = [it for it in comparison.layers if it.kind != it.kind_b]
    if changed:
        yield f"Types that differ: {_some(f'{shown(it.name)} ({it.kind} and {it.kind_b})' for it in changed)}."
    other = [it for it in comparison.layers if it.dtype != it.dtype_b]
    if other:
        yield f"Dtypes that differ: {_some(f'{shown(it.name)} ({it.dtype} and {it.dtype_b})' for it in other)}."
    for name, findings in (("a", comparison.findings_only_in_a), ("b", comparison.findings_only_in_b)):
        if findings:
            yield f"Found only in {name}: {_some(map(_finding, findings))}."
    for note in comparison.notes:
        yield f"Note: {note}"


def _equal(comparison: Comparison) -> str:
    if comparison.first_unequal == comparison.first_step:
        return "they "
    return f"they are the same bit for bit before step {comparison.first_unequal}, and from then on "


def _values(parting: Parting, comparison: Comparison) -> str:
    name = "learning rate" if _kind(comparison, parting.layer) == OPTIMISER else _SAID[parting.statistic]
    share = parting.statistic.endswith("_ratio")
    a, b = ("nothing" if x is None else percent(x) if share else number(x) for x in (parting.a, parting.b))
    return f"its {name} is {a} in a and {b} in b"


def _excess(parting: Parting, comparison: Comparison) -> str:
    if parting.excess is None:
        return ""
    whose = "noise explains" if comparison.noise == "own" else "the seeds differ by"
    return f", {number(parting.excess)} times what {whose}"


def _kind(comparison: Comparison, layer: str) -> str:
    """The layer's type, or both where the runs have layers of other types under one name."""
    for it in comparison.layers:
        if it.name == layer:
            return it.kind if it.kind == it.kind_b else f"{it.kind or 'unknown'} in a, {it.kind_b or 'unknown'} in b"
    return ""


def _finding(finding: Finding) -> str:
    return f"{shown(finding.layer)}: {finding.condition} ({finding.severity}, since step {finding.first_step})"


def _names(names: Iterable[str]) -> str:
    return _some(map(shown, names))


def _some(texts: Iterable[str]) -> str:
    every = list(texts)
    rest = len(every) - _MOST_NAMES
    return "; ".join(every[:_MOST_NAMES]) + (f"; and {rest} more" if rest > 0 else "")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
