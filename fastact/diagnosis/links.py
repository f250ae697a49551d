"""Tells causes from consequences: each finding that another one explains is put behind its culprit."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.earliest import Alike
from fastact.diagnosis.experts import expert_of, side_by_side
from fastact.diagnosis.finding import NOTE, Finding, gravity
from fastact.diagnosis.network import LayerView
from fastact.diagnosis.rule import Circumstances, Explains, Rule, key, not_after
from fastact.diagnosis.thresholds import CommonThresholds
from fastact.fields import COLUMN
from fastact.history import LayerInfo

_STEP: Final = COLUMN["step"]
#: From here on a finding brings others about in layers that it does not feed.
_GRAVE: Final = gravity("serious")

#: Causes of an input's findings that lie in the model, which made what a part of it is given, or what comes next.
_MADE: Final = frozenset({"handed_on", "own_outputs"})

#: Causes that lie in no layer, so that the experts of a mixture have them in common, though none feeds another.
_OF_ALL: Final = frozenset({"learning_rate", "weight_decay", "inputs_not_normalised"})

#: Behind all findings.
_NO_ORDER: Final = 1 << 62

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

    Of culprits, those of rules that lead come first, unless nothing speaks for their cause and another is certain.

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
    evaluation = frozenset(name for name, info in info_of.items() if info.mode)
    findings, twins = _of_both_modes(findings, info_of)

    def in_order(finding: Finding) -> tuple[int, bool, bool, int, int]:
        # One dropout that serves a block in several places counts from its first one, so that it seems to come before
        # the layer whose NaN it got; and a function's place is before that of the module that calls it.
        condition, layer = finding.condition, finding.layer
        handed_on = finding.cause_name == "handed_on" and by_condition[condition].handed_on
        return finding.first_step, handed_on, layer in evaluation, place[layer], rank[condition]

    ordered = sorted(findings, key=in_order)
    names = [key(finding) for finding in ordered]
    # Most layers have rows of the same steps.
    strided = {(view.oldest, view.last[_STEP], len(view.rows)): view for view in views if not view.info.mode}
    stride = max((view.stride for view in strided.values()), default=1.0)
    around = Circumstances(
        place=place,
        order={name: i for i, name in enumerate(names)},
        source=_sources(views),
        slack=thresholds.min_rows * stride,
        near=thresholds.near_rows * stride,
        expert={f.layer: expert for f in findings if (expert := expert_of(f.layer)) is not None},
        evaluation=evaluation,
        given=frozenset(
            name for name, info in info_of.items() if info.layer_type == layer_types.INPUT and not info.source
        )
        - {finding.layer for finding in findings if finding.cause_name in _MADE},
    )
    parent = _parents(ordered, by_condition, rank, around, twins, accepted)
    consequences: dict[_Key, list[Finding]] = {}
    for own, finding in zip(names, ordered, strict=True):
        if own in parent:
            consequences.setdefault(_root(own, parent), []).append(finding)
    result: list[Finding] = []

    def leads(finding: Finding) -> bool:
        return by_condition[finding.condition].leads

    vague = any(leads(finding) and finding.confidence == "possible" for finding in ordered)

    def told(finding: Finding) -> int:
        # What leads for want of a cause that anything speaks for does so after what is certain.
        if leads(finding):
            return 2 if finding.confidence == "possible" else 0
        return 1 if vague and finding.confidence == "certain" and gravity(finding.severity) >= _GRAVE else 3

    culprits = [finding for name, finding in zip(names, ordered, strict=True) if name not in parent]
    for culprit in sorted(culprits, key=told):
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
    """For each finding that another one explains, the earliest one that does, or its first cause; by `key`.

    The work grows with the findings, not with their square (`earliest`).
    """
    causes = _Causes(ordered, by_condition, rank, around, accepted)
    heads: dict[_Group, dict[tuple[bool, bool], Alike]] = {}
    parent = dict(twins)
    for order, effect in enumerate(ordered):
        own = key(effect)
        if own in parent:
            continue
        # Layers with one condition and one cause since about the same time follow from the first of them, unless
        # something else explains them.
        mine = causes.groups[order]
        kin = heads.setdefault(mine, {})
        head = _head(kin, effect, around)
        cause = causes.earliest(effect, parent, without=None if head is None else mine)
        if cause is None and head is not None and _root(key(head), parent) != own:
            cause = head
        if cause is not None:
            parent[own] = key(cause)
        if head is None:
            line = kin.setdefault(_where(effect.layer, around), Alike())
            line.append(effect, order, around.place[effect.layer], around.expert.get(effect.layer))
    return parent


class _Causes:
    """The findings that may explain others, in the order of time."""

    def __init__(
        self,
        ordered: list[Finding],
        by_condition: dict[str, Rule[Any]],
        rank: dict[str, int],
        around: Circumstances,
        accepted: Collection[_Key],
    ) -> None:
        self._rules, self._around, self._accepted = by_condition, around, accepted
        first = {finding.condition: finding for finding in reversed(ordered)}
        alike: dict[tuple[object, ...], Alike] = {}
        #: What each has in common with those that follow from the first of them.
        self.groups = [self._group_of(finding) for finding in ordered]
        self._at: dict[int, list[tuple[int, Finding]]] = {}
        #: Those that speak of the experts of a mixture, by its name.
        self._of_mixture: dict[str, list[tuple[int, Finding]]] = {}
        self._alike: dict[str, list[tuple[_Group, Alike]]] = {}
        for order, finding in enumerate(ordered):
            rule, layer = by_condition[finding.condition], finding.layer
            if rule.first_explains_all and finding is not first[finding.condition]:
                continue
            place = around.place[layer]
            self._at.setdefault(place, []).append((order, finding))
            mixture = finding.evidence.get("mixture")
            if mixture is not None:
                self._of_mixture.setdefault(str(mixture), []).append((order, finding))
            group = self.groups[order]
            gradient = layer.endswith(layer_types.GRADIENT_SUFFIX)
            sort = group, finding.severity, gradient, _where(layer, around), rule.asked(finding)
            if sort not in alike:
                alike[sort] = Alike()
                self._alike.setdefault(finding.condition, []).append((group, alike[sort]))
            alike[sort].append(finding, order, place, around.expert.get(layer))
        self._judges = {
            effect: {
                cause: judge
                for cause in self._alike
                if (judge := _judge(by_condition[cause], by_condition[effect], rank)) is not None
            }
            for effect in first
        }

    def _group_of(self, finding: Finding) -> _Group:
        cause = finding.cause_name or finding.cause
        return finding.condition, cause, finding.severity != NOTE, key(finding) in self._accepted

    def earliest(self, effect: Finding, parent: dict[_Key, _Key], without: _Group | None) -> Finding | None:
        """The earliest finding that explains another one, of those that are not of a group."""
        around, judges = self._around, self._judges[effect.condition]
        if not judges:
            return None
        own, layer, rated = key(effect), effect.layer, effect.severity != NOTE
        # Causes are in the order of time: nothing follows from what began later.
        latest = effect.first_step + (around.near if self._rules[effect.condition].gradual else 0.0)
        best, chosen = _NO_ORDER, None
        anywhere = not around.evaluation and not around.given

        def explains(cause: Finding, judge: Explains) -> bool:
            return (
                cause.first_step <= latest
                and (not rated or cause.severity != NOTE)
                and (anywhere or _can_reach(cause.layer, layer, around))
                and judge(cause, effect, around)
            )

        def is_root(cause: Finding) -> bool:
            """Where it follows from the effect, it may not explain it: rules that do must not hang a training."""
            return _root(key(cause), parent) == own

        place, expert = around.place[layer], around.expert.get(layer)
        for condition, judge in judges.items():
            for group, alike in self._alike[condition]:
                if group == without or alike.orders[0] >= best:
                    continue
                for number in alike.standing_for_all(effect, place, expert, around.near):
                    order, cause = alike.orders[number], alike.findings[number]
                    if order >= best or not explains(cause, judge):
                        continue
                    if not is_root(cause):
                        best, chosen = order, cause
                        continue
                    for order, cause in zip(alike.orders, alike.findings, strict=True):  # then another one may
                        if order < best and explains(cause, judge) and not is_root(cause):
                            best, chosen = order, cause
                            break
        near = self._at.get(place, ())
        if around.source.get(layer):
            near = [*near, *self._at.get(around.place[around.source[layer]], ())]
        if expert is not None:
            near = [*near, *self._of_mixture.get(expert[0], ())]
        for order, cause in near:
            if order >= best or cause is effect:
                continue
            judge_of = judges.get(cause.condition)
            if judge_of is None or self.groups[order] == without:
                continue
            if explains(cause, judge_of) and not is_root(cause):
                best, chosen = order, cause
        return chosen


def _head(kin: Mapping[tuple[bool, bool], Alike], finding: Finding, around: Circumstances) -> Finding | None:
    """The first of findings with one condition and one cause that stands for another one too."""
    place, expert = around.place[finding.layer], around.expert.get(finding.layer)
    if finding.cause_name in _OF_ALL:  # siblings too have it in common
        expert = None
    found: tuple[int, Finding] | None = None
    for alike in kin.values():
        if not _can_reach(alike.findings[0].layer, finding.layer, around):
            continue
        since = alike.line.first_near(finding.first_step, around.slack)
        number = alike.line.first_before(place, expert, since)
        if number is not None and (found is None or alike.orders[number] < found[0]):
            found = alike.orders[number], alike.findings[number]
    return None if found is None else found[1]


def _where(layer: str, around: Circumstances) -> tuple[bool, bool]:
    """What decides which layers a layer can reach (`_can_reach`)."""
    return layer in around.evaluation, layer in around.given


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


def _root(name: _Key, parent: dict[_Key, _Key]) -> _Key:
    root = name
    while root in parent:
        root = parent[root]
    # Long chains are short the next time.
    while name != root:
        parent[name], name = root, parent[name]
    return root


def _places(views: Sequence[LayerView]) -> dict[str, int]:
    """Each layer's place in forward order; in evaluation, that of the layer that it is."""
    place = {view.info.name: i for i, view in enumerate(views)}
    if not any(view.info.mode for view in views):
        return place
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
