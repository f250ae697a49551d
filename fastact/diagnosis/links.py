"""Tells causes from consequences: each finding that another one explains is put behind its culprit."""

from collections.abc import Sequence
from typing import Any

from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.network import LayerView
from fastact.diagnosis.rule import Circumstances, Explains, Rule, key, not_after


def link(
    findings: Sequence[Finding], views: Sequence[LayerView], rules: Sequence[Rule[Any]], min_rows: int
) -> tuple[Finding, ...]:
    """The findings with each culprit before what follows from it, the first culprit first.

    A finding is a consequence of the earliest one that explains it (`Rule.explains`); chains end at their first cause.
    There are no circles: an explanation goes from an earlier to a later condition of `rules`, or down the network
    (from vanishing to underflow to a layer strictly after), or within one condition on in time; one that would close a
    circle is left out.

    Args:
        findings: in any order, one for each layer and condition.
        views: the layers, in forward order.
        rules: causes before consequences.
        min_rows: rows within which onsets are not told apart.
    """
    by_condition = {rule.condition: rule for rule in rules}
    rank = {condition: place for place, condition in enumerate(by_condition)}
    place = {view.info.name: place for place, view in enumerate(views)}
    type_of = {view.info.name: view.info.layer_type for view in views}
    passing = {name for name, layer_type in type_of.items() if layer_types.is_passing(layer_type)}
    # Dropout and pooling make no NaN, they hand it on. One dropout that serves a block in several places counts from
    # its first one, so that it seems to come before the layer whose NaN it got.
    born = {
        (f.condition, f.first_step)
        for f in findings
        if by_condition[f.condition].handed_on and f.layer not in passing
    }  # fmt: skip

    def in_order(finding: Finding) -> tuple[int, bool, int, int]:
        handed_on = finding.layer in passing and (finding.condition, finding.first_step) in born
        return finding.first_step, handed_on, place[finding.layer], rank[finding.condition]

    ordered = sorted(findings, key=in_order)
    around = Circumstances(
        place=place,
        order={key(finding): i for i, finding in enumerate(ordered)},
        source=_sources(views),
        slack=min_rows * max((_stride(view) for view in views), default=1.0),
    )
    parent = _parents(ordered, by_condition, rank, around)
    consequences: dict[tuple[str, str], list[Finding]] = {}
    for finding in ordered:
        if key(finding) in parent:
            consequences.setdefault(_root(key(finding), parent), []).append(finding)
    result: list[Finding] = []
    for culprit in ordered:
        if key(culprit) in parent:
            continue
        follow = consequences.get(key(culprit), [])
        if not follow and not by_condition[culprit.condition].stands_alone(culprit, type_of[culprit.layer]):
            continue
        result.append(culprit)
        result += [finding.following(culprit.layer) for finding in follow]
    return tuple(result)


def _parents(
    ordered: list[Finding], by_condition: dict[str, Rule[Any]], rank: dict[str, int], around: Circumstances
) -> dict[tuple[str, str], tuple[str, str]]:
    """For each finding that another one explains, the earliest one that does; by `key`."""
    first = {finding.condition: finding for finding in reversed(ordered)}
    causes = [f for f in ordered if not by_condition[f.condition].first_explains_all or f is first[f.condition]]
    able: dict[str, list[tuple[Finding, Explains]]] = {}
    for condition in first:
        judges = {other: _judge(by_condition[other], by_condition[condition], rank) for other in first}
        able[condition] = [(cause, judge) for cause in causes if (judge := judges[cause.condition]) is not None]
    parent: dict[tuple[str, str], tuple[str, str]] = {}
    for effect in ordered:
        for cause, explains in able[effect.condition]:
            # Nothing follows from what began later. The last condition keeps a rule that explains in a circle from
            # hanging a training.
            if (
                cause.first_step <= effect.first_step
                and explains(cause, effect, around)
                and _root(key(cause), parent) != key(effect)
            ):
                parent[key(effect)] = key(cause)
                break
    return parent


def _judge(cause: Rule[Any], effect: Rule[Any], rank: dict[str, int]) -> Explains | None:
    """What decides whether a finding of one rule explains one of another; None where it never does."""
    explains = cause.explains.get(effect.condition) or effect.explained_by.get(cause.condition)
    if explains is None and effect.symptom and rank[cause.condition] < rank[effect.condition]:
        return _leaves_a_symptom
    return explains


def _leaves_a_symptom(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    return cause.first_step <= effect.first_step or not_after(cause, effect, around)


def _root(name: tuple[str, str], parent: dict[tuple[str, str], tuple[str, str]]) -> tuple[str, str]:
    while name in parent:
        name = parent[name]
    return name


def _stride(view: LayerView) -> float:
    """The steps from one row to the next, on average over the window."""
    return (int(view.rows[-1]["step"]) - int(view.rows[0]["step"])) / max(len(view.rows) - 1, 1)


def _sources(views: Sequence[LayerView]) -> dict[str, str]:
    """For each layer that follows its input, the nearest layer before it that does not just hand on."""
    sources = {}
    source = ""
    for view in views:
        layer_type = view.info.layer_type
        if layer_types.follows_input(layer_type):
            sources[view.info.name] = source
        if not layer_types.is_passing(layer_type):
            source = view.info.name
    return sources
