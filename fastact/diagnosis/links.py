"""Tells causes from consequences: each finding that another one explains is put behind its culprit."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.experts import expert_of, side_by_side
from fastact.diagnosis.finding import Finding, gravity
from fastact.diagnosis.network import LayerView
from fastact.diagnosis.rule import Circumstances, Explains, Rule, key, not_after
from fastact.diagnosis.thresholds import CommonThresholds
from fastact.history import LayerInfo

#: From here on a finding brings others about in layers that it does not feed.
_GRAVE: Final = gravity("serious")

#: Causes of an input's findings that lie in the model, which made what a part of it is given, or what comes next.
_MADE: Final = frozenset({"handed_on", "own_outputs"})

_Key = tuple[str, str]
#: Of a finding the condition, the cause, whether it is more than a note, and whether it is accepted.
_Group = tuple[str, str, bool, bool]


def link(
    findings: Sequence[Finding],
    views: Sequence[LayerView],
    rules: Sequence[Rule[Any]],
    thresholds: CommonThresholds,
    accepted: Collection[_Key] = (),
) -> tuple[Finding, ...]:
    """The findings with each culprit before what follows from it, the first culprit first.

    A finding is a consequence of the earliest one that explains it (`Rule.explains`); chains end at their first cause.
    Nothing follows from what began later (`Rule.gradual` apart), and no finding from a note. Layers that have one
    condition for one reason since about the same time are one finding: that of the first, which the others follow
    from. What training has too is no finding of evaluation. A link that would close a circle is left out.

    Args:
        findings: in any order, one for each layer and condition.
        views: the layers, in forward order; then gradients, and the layers in evaluation.
        rules: causes before consequences.
        thresholds: within how many rows onsets are not told apart, and for how long a finding brings symptoms about.
        accepted: findings that the user has accepted, by `key`: what only has a cause in common does not follow from
            one of them, since it would be accepted with it.
    """
    if not findings:
        return ()
    by_condition = {rule.condition: rule for rule in rules}
    rank = {condition: place for place, condition in enumerate(by_condition)}
    info_of = {view.info.name: view.info for view in views}
    place = _places(views)
    findings, twins = _of_both_modes(findings, info_of)

    def in_order(finding: Finding) -> tuple[int, bool, bool, int, int]:
        # One dropout that serves a block in several places counts from its first one, so that it seems to come before
        # the layer whose NaN it got; and a function's place is before that of the module that calls it.
        handed_on = by_condition[finding.condition].handed_on and finding.cause_name == "handed_on"
        other_mode = bool(info_of[finding.layer].mode)
        return finding.first_step, handed_on, other_mode, place[finding.layer], rank[finding.condition]

    ordered = sorted(findings, key=in_order)
    stride = max((view.stride for view in views if not view.info.mode), default=1.0)
    around = Circumstances(
        place=place,
        order={key(finding): i for i, finding in enumerate(ordered)},
        source=_sources(views),
        slack=thresholds.min_rows * stride,
        near=thresholds.near_rows * stride,
        expert={f.layer: expert for f in findings if (expert := expert_of(f.layer)) is not None},
        evaluation=frozenset(name for name, info in info_of.items() if info.mode),
        given=frozenset(
            name for name, info in info_of.items() if info.layer_type == layer_types.INPUT and not info.source
        )
        - {finding.layer for finding in findings if finding.cause_name in _MADE},
    )
    parent = _parents(ordered, by_condition, rank, around, twins, accepted)
    consequences: dict[_Key, list[Finding]] = {}
    for finding in ordered:
        if key(finding) in parent:
            consequences.setdefault(_root(key(finding), parent), []).append(finding)
    result: list[Finding] = []
    for culprit in sorted(ordered, key=lambda finding: not by_condition[finding.condition].leads):
        if key(culprit) in parent:
            continue
        follow = consequences.get(key(culprit), [])
        layer_type = info_of[culprit.layer].layer_type
        if not follow and not by_condition[culprit.condition].stands_alone(culprit, layer_type):
            continue
        result.append(culprit)
        result += [finding.following(culprit.layer) for finding in follow]
    return tuple(result)


def _of_both_modes(
    findings: Sequence[Finding], info_of: Mapping[str, LayerInfo]
) -> tuple[Sequence[Finding], dict[_Key, _Key]]:
    """Takes out what evaluation has since before training had it too; and of the rest, what follows from training's."""
    if not any(info.mode for info in info_of.values()):
        return findings, {}
    both = {
        (layer_types.without_mode(finding.layer), finding.condition): finding
        for finding in findings
        if not info_of[finding.layer].mode
    }
    kept, twins = [], {}
    for finding in findings:
        if info_of[finding.layer].mode:
            own = both.get((layer_types.without_mode(finding.layer), finding.condition))
            if own is not None:
                if own.first_step > finding.first_step or gravity(own.severity) < min(gravity(finding.severity), 1):
                    continue
                twins[key(finding)] = key(own)
        kept.append(finding)
    return kept, twins


def _parents(
    ordered: list[Finding],
    by_condition: dict[str, Rule[Any]],
    rank: dict[str, int],
    around: Circumstances,
    twins: Mapping[_Key, _Key],
    accepted: Collection[_Key],
) -> dict[_Key, _Key]:
    """For each finding that another one explains, the earliest one that does; by `key`."""
    first = {finding.condition: finding for finding in reversed(ordered)}
    causes = [f for f in ordered if not by_condition[f.condition].first_explains_all or f is first[f.condition]]
    grave = {key(finding): gravity(finding.severity) for finding in ordered}
    groups: dict[_Key, _Group] = {}
    for finding in ordered:
        name = key(finding)
        groups[name] = finding.condition, finding.cause_name or finding.cause, grave[name] > 0, name in accepted
    able: dict[str, list[tuple[Finding, _Key, Explains]]] = {}
    for condition in first:
        judges = {other: _judge(by_condition[other], by_condition[condition], rank) for other in first}
        able[condition] = [
            (cause, key(cause), judge) for cause in causes if (judge := judges[cause.condition]) is not None
        ]
    #: What else may explain the findings of a group.
    others: dict[_Group, list[tuple[Finding, _Key, Explains]]] = {}
    heads: dict[_Group, list[Finding]] = {}
    parent = dict(twins)
    for effect in ordered:
        own = key(effect)
        if own in parent:
            continue
        # Layers with one condition and one cause since about the same time follow from the first of them, unless
        # something else explains them.
        mine = groups[own]
        kin = heads.setdefault(mine, [])
        head = next((each for each in kin if _is_kin(each, effect, around)), None)
        candidates = able[effect.condition]
        if head is not None:
            if mine not in others:
                others[mine] = [each for each in candidates if groups[each[1]] != mine]
            candidates = others[mine]
        least = min(grave[own], 1)
        latest = effect.first_step + (around.near if by_condition[effect.condition].gradual else 0.0)
        for cause, name, explains in candidates:
            if cause.first_step > latest:
                break  # causes are in the order of time: nothing follows from what began later
            # The last condition keeps rules that explain each other from hanging a training.
            if (
                grave[name] >= least
                and _can_reach(cause.layer, effect.layer, around)
                and explains(cause, effect, around)
                and _root(name, parent) != own
            ):
                parent[own] = name
                break
        if own not in parent and head is not None and _root(key(head), parent) != own:
            parent[own] = key(head)
        if head is None:
            kin.append(effect)
    return parent


def _is_kin(head: Finding, finding: Finding, around: Circumstances) -> bool:
    """Whether the first of two findings with one condition and one cause stands for the second one too."""
    near = finding.first_step - head.first_step <= around.slack
    return near and around.before(head.layer, finding.layer) and _can_reach(head.layer, finding.layer, around)


def _can_reach(cause: str, effect: str, around: Circumstances) -> bool:
    """Training takes nothing from evaluation, which makes no update; and data comes from outside."""
    if cause in around.evaluation and effect not in around.evaluation:
        return False
    return effect not in around.given or cause in around.given


def _judge(cause: Rule[Any], effect: Rule[Any], rank: dict[str, int]) -> Explains | None:
    """What decides whether a finding of one rule explains one of another; None where it never does."""
    explains = cause.explains.get(effect.condition) or effect.explained_by.get(cause.condition)
    if explains is None and effect.symptom and rank[cause.condition] < rank[effect.condition]:
        return _leaves_a_symptom
    return explains


def _leaves_a_symptom(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    later = effect.first_step - cause.first_step
    # Within one step only what comes down the network; updates tie all layers together.
    return (
        gravity(cause.severity) >= _GRAVE and later <= around.near and (later > 0 or not_after(cause, effect, around))
    )


def _root(name: _Key, parent: Mapping[_Key, _Key]) -> _Key:
    while name in parent:
        name = parent[name]
    return name


def _places(views: Sequence[LayerView]) -> dict[str, int]:
    """Each layer's place in forward order; in evaluation, that of the layer that it is."""
    place = {view.info.name: i for i, view in enumerate(views)}
    trained = {layer_types.without_mode(view.info.name): i for i, view in enumerate(views) if not view.info.mode}
    for view in views:
        if view.info.mode:
            name = view.info.name
            place[name] = trained.get(layer_types.without_mode(name), place[name])
    return place


def _sources(views: Sequence[LayerView]) -> dict[str, str]:
    """For each layer that follows its input, the nearest layer before it that does not just hand on."""
    sources = {}
    source = ""
    for view in views:
        layer_type = view.info.layer_type
        name = view.info.name
        source = source if view.place else ""  # gradients, and evaluation, begin anew
        if layer_types.follows_input(layer_type):
            sources[name] = "" if side_by_side(expert_of(source), expert_of(name)) else source
        if not layer_types.is_passing(layer_type):
            source = name
    return sources
