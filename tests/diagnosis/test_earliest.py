"""Of thousands of findings a few are asked what explains another one: the answer is that of asking each."""

import random
from collections.abc import Collection
from typing import Any

import pytest

from fastact.diagnosis import links, rules
from fastact.diagnosis.earliest import Line
from fastact.diagnosis.experts import expert_of, side_by_side
from fastact.diagnosis.finding import Evidence, Finding, gravity
from fastact.diagnosis.network import LayerView
from fastact.diagnosis.rule import Circumstances, Rule, key
from fastact.diagnosis.rules import Thresholds
from fastact.history import LayerInfo

_NAMES = (
    [f"blocks.{i}.act" for i in range(8)]
    + [f"moe.experts.{i}.{part}" for i in range(3) for part in ("up", "down")]
    + [f"late.experts.{i}" for i in range(3)]
    + ["head", "input"]
)
_STEPS = [0, 1, 2, 5, 9, 30, 70, 200]
_CAUSES = (
    "", "learning_rate", "data_changed", "weights_replaced", "own_outputs", "router", "codes_never_chosen",
    "softmax_of_one", "sources_in_turns", "handed_on", "rate_too_large", "loss_not_finite", "weight_decay",
)  # fmt: skip


def one_by_one(
    ordered: list[Finding], by_condition: dict[str, Rule[Any]], rank: dict[str, int], around: Circumstances,
    twins: dict[Any, Any], accepted: Collection[Any],
) -> dict[Any, Any]:  # fmt: skip
    """`links._parents` by its definition: each cause is asked about each effect."""
    first = {finding.condition: finding for finding in reversed(ordered)}
    causes = [f for f in ordered if not by_condition[f.condition].first_explains_all or f is first[f.condition]]
    group = {
        key(f): (f.condition, f.cause_name or f.cause, gravity(f.severity) > 0, key(f) in accepted) for f in ordered
    }
    heads: dict[Any, list[Finding]] = {}
    parent = dict(twins)

    def root(name: Any) -> Any:
        while name in parent:
            name = parent[name]
        return name

    for effect in ordered:
        own = key(effect)
        if own in parent:
            continue
        kin = heads.setdefault(group[own], [])
        head = next(
            (
                each
                for each in kin
                if effect.first_step - each.first_step <= around.slack
                and (
                    around.place[each.layer] < around.place[effect.layer]
                    if effect.cause_name in links._OF_ALL
                    else around.before(each.layer, effect.layer)
                )
                and links._can_reach(each.layer, effect.layer, around)
            ),
            None,
        )
        latest = effect.first_step + (around.near if by_condition[effect.condition].gradual else 0.0)
        for cause in causes:
            judge = links._judge(by_condition[cause.condition], by_condition[effect.condition], rank)
            if judge is None or (head is not None and group[key(cause)] == group[own]) or cause.first_step > latest:
                continue
            if (
                gravity(cause.severity) >= min(gravity(effect.severity), 1)
                and links._can_reach(cause.layer, effect.layer, around)
                and judge(cause, effect, around)
                and root(key(cause)) != own
            ):
                parent[own] = key(cause)
                break
        if own not in parent and head is not None and root(key(head)) != own:
            parent[own] = key(head)
        if head is None:
            kin.append(effect)
    return parent


def findings_and_views(draw: random.Random) -> tuple[list[Finding], list[LayerView]]:
    names = draw.sample(_NAMES, draw.randint(2, len(_NAMES)))
    names += [name + ":gradient" for name in names if draw.random() < 0.2]
    modes = [(name, "") for name in names] + [(name + ":eval", "evaluation") for name in names if draw.random() < 0.3]
    views = []
    for place, (name, mode) in enumerate(modes):
        kind = "Input" if name == "input" else draw.choice(["Linear", "ReLU", "Dropout", "Tanh"])
        info = LayerInfo(name, place, kind, "float16", mode=mode)  # type: ignore[arg-type]
        last = (draw.randint(40, 60),)
        views.append(LayerView(info, [0] * 20, last, 0, 0, last, {}, place))  # type: ignore[arg-type]
    conditions = draw.sample([rule.condition for rule in rules.RULES], draw.randint(1, 6))
    found = []
    for view in views:
        for condition in conditions:
            if draw.random() < 0.5:
                continue
            evidence: dict[str, Any] = {
                "dead_ratio": draw.choice([0.3, 0.9, 1.0]), "reference_layer": draw.choice([view.info.name, "x"]),
                "concentration": draw.choice([None, 1.0]), "rms_first_layer": draw.choice([None, 1.0]),
            }  # fmt: skip
            if condition == "unused":
                evidence |= {"mixture": draw.choice(["moe.experts.", "late.experts."]), "unused": "0, 2"}
            severity: Any = draw.choice(["note", "warning", "serious", "critical"])
            found.append(
                Finding(
                    view.info.name, condition, severity, draw.choice(_STEPS), Evidence(**evidence),
                    "", "why", (), cause_name=draw.choice(_CAUSES),
                )
            )  # fmt: skip
    return found, views


def test_few_that_are_asked_answer_for_all() -> None:
    draw = random.Random(1)
    linked = 0
    for _ in range(400):
        findings, views = findings_and_views(draw)
        if not findings:
            continue
        seen: list[Any] = []
        parents = links._parents

        def record(*given: Any, parents: Any = parents, seen: list[Any] = seen) -> Any:
            seen.append((given, parents(*given)))
            return seen[-1][1]

        accepted = frozenset(key(finding) for finding in findings if draw.random() < 0.1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(links, "_parents", record)
            links.link(findings, views, rules.RULES, Thresholds(), accepted)
        ((given, found),) = seen
        want = one_by_one(*given)
        assert {name: links._root(name, found) for name in found} == {name: links._root(name, want) for name in want}
        linked += len(want)
    assert linked > 5000


def test_the_first_before_a_place_is_found_among_many() -> None:
    draw = random.Random(2)
    for size in (1, 2, 3, 17, 64, 65):
        line, added = Line(), []
        for number in range(size):
            name = draw.choice(
                [f"m.experts.{draw.randint(0, 2)}", f"n.experts.{draw.randint(0, 2)}", f"plain.{number}"]
            )
            added.append((draw.randint(0, 40), expert_of(name)))
            line.append(number, *added[-1])
            place, since = draw.randint(0, 45), draw.randint(0, number + 1)
            expert = expert_of(draw.choice(["m.experts.0", "n.experts.1", "plain"]))
            fits = (
                i for i in range(since, number + 1)
                if added[i][0] < place and not side_by_side(added[i][1], expert)
            )  # fmt: skip
            assert line.first_before(place, expert, since) == next(fits, None)
