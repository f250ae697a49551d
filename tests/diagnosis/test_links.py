"""Causes and consequences: which finding explains which, and in which order they are told."""

from typing import Any, ClassVar

import pytest
from any_rows import fill, layers_and_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import found, nothing_finite, plain, row, watch

from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.links import link
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.rule import Outcome, Rule, same_layer, upstream
from fastact.diagnosis.rules import RULES, Thresholds
from fastact.history import LayerInfo


@settings(max_examples=100)
@given(layers_and_rows(), st.integers(1, 30))
def test_consequences_follow_their_culprit(
    given_rows: tuple[list[LayerInfo], list[list[tuple[Any, ...]]]], window_size: int
) -> None:
    findings = fill(*given_rows, window_size).diagnose().findings
    assert len({(f.layer, f.condition) for f in findings}) == len(findings)
    culprit = None
    for finding in findings:
        assert finding.severity != "note"
        if finding.consequence_of is None:
            assert culprit is None or culprit.first_step <= finding.first_step
            culprit = finding
        else:
            assert culprit is not None
            assert finding.consequence_of == culprit.layer
            assert culprit.first_step <= finding.first_step  # nothing follows from what began later
            assert not culprit.layer.endswith(":eval") or finding.layer.endswith(":eval")


def swinging(steps: int, since: int) -> list[Any]:
    return [row(s, mean=0.0, std=3.0 if s >= since and s % 2 else 1.0) for s in range(steps)]


def test_only_a_grave_finding_that_is_near_explains_an_oscillation() -> None:
    end = ("Linear", healthy(120))
    swings = ("Linear", swinging(120, 60))
    for share, since, explained in ((0.1, 55, False), (0.97, 55, True), (0.97, 30, False), (0.97, 62, False)):
        dead = [row(s, dead_neurons=int(64 * share) if s >= since + 19 else 0) for s in range(120)]
        findings = watch({"0": ("ReLU", dead), "1": swings, "2": end}).diagnose().findings
        (found_,) = (f for f in findings if f.condition == "oscillating")
        assert (found_.consequence_of == "0") == explained, (share, since)


def test_what_evaluation_shares_with_training_is_no_finding_of_its_own() -> None:
    def dead(since: int) -> list[Any]:
        return [row(s, dead_neurons=60 if s >= since else 0) for s in range(60)]

    for since, told in ((30, [("0", None), ("0:eval", "0")]), (25, [("0", None)])):
        diagnoser = watch({"0": ("ReLU", dead(30)), "1": ("Linear", healthy(60))})
        diagnoser.add(LayerInfo("0:eval", 2, "ReLU", "float32", mode="evaluation"))
        for one in dead(since):
            diagnoser.append("0:eval", one)
        assert [(f.layer, f.consequence_of) for f in diagnoser.diagnose().findings] == told


def test_nothing_in_training_follows_from_evaluation() -> None:
    diagnoser = watch({"0": ("Linear", healthy(60)), "1": ("Linear", [row(s, nans=int(s >= 40)) for s in range(60)])})
    diagnoser.add(LayerInfo("0:eval", 2, "Linear", "float32", mode="evaluation"))
    for s in range(60):
        diagnoser.append("0:eval", row(s, nans=int(s >= 20)))
    assert {f.layer: f.consequence_of for f in diagnoser.diagnose().findings} == {"0:eval": None, "1": None}


def test_a_note_explains_no_finding() -> None:
    views = list(watch({"a": ("Linear", healthy()), "b": ("Linear", healthy())}).views().values())

    class Always(_One):
        explains: ClassVar = {"one": upstream}

    for severity, told in (("note", [("a", None), ("b", None)]), ("warning", [("a", None), ("b", "a")])):
        first = Finding("a", "one", severity, 2, Evidence(), "", "rate", ())  # type: ignore[arg-type]
        second = Finding("b", "one", "warning", 2, Evidence(), "", "data", ())
        linked = link([first, second], views, (Always(),), Thresholds())
        assert [(f.layer, f.consequence_of) for f in linked] == told


def test_experts_do_not_explain_each_other() -> None:
    def parts(first: str, second: str) -> list[tuple[str, str | None]]:
        nan = [row(s, dead_neurons=63) for s in range(30)]
        layers = {first: ("ReLU", nan), second: ("ReLU", nan), "out": ("Linear", healthy())}
        return [(f.layer, f.consequence_of) for f in watch(layers).diagnose().findings]

    one, other = "moe.experts.0.act", "moe.experts.1.act"
    assert parts(one, other) == [(one, None), (other, None)]
    assert parts(one, "moe.experts.0.out") == [(one, None), ("moe.experts.0.out", one)]


def test_what_all_have_in_common_makes_experts_sick_as_one() -> None:
    def told(causes: tuple[str, str]) -> list[str | None]:
        names = ("moe.experts.0.act", "moe.experts.1.act")
        views = list(watch({name: ("Tanh", healthy()) for name in names}).views().values())
        findings = [
            Finding(name, "saturated", "serious", 2, Evidence(), "", "", (), None, cause)
            for name, cause in zip(names, causes, strict=True)
        ]
        return [it.consequence_of for it in link(findings, views, RULES, Thresholds())]

    assert told(("learning_rate", "learning_rate")) == [None, "moe.experts.0.act"]
    assert told(("initialisation", "initialisation")) == told(("learning_rate", "weight_decay")) == [None, None]


def healthy(steps: int = 30) -> list[Any]:
    return [row(step) for step in range(steps)]


def test_a_layer_that_hands_on_dead_inputs_is_a_consequence() -> None:
    dead = [row(step, dead_neurons=60) for step in range(30)]
    findings = watch(
        {
            "0": ("Conv2d", healthy()),
            "1": ("ReLU", dead),
            "2": ("MaxPool2d", dead),
            "3": ("ReLU", dead),
            "4": ("Linear", healthy()),
            "5": ("ReLU", dead),
        }
    ).diagnose().findings  # fmt: skip
    assert [(f.layer, f.consequence_of) for f in findings] == [("1", None), ("2", "1"), ("3", "1"), ("5", "1")]
    # Since another time it is another story.
    late = [row(step, dead_neurons=0 if step < 29 else 60) for step in range(30)]
    findings = watch({"0": ("ReLU", dead), "1": ("Linear", healthy()), "2": ("ReLU", late)}).diagnose().findings
    assert [(f.layer, f.consequence_of) for f in findings] == [("0", None), ("2", None)]


def test_all_that_dies_after_a_layer_without_living_neurons_follows_from_it() -> None:
    layers = {
        "0": ("ReLU", [row(step, dead_neurons=64) for step in range(30)]),
        "1": ("Linear", healthy()),
        "2": ("ReLU", [row(step, dead_neurons=60) for step in range(30)]),
    }
    assert [(f.layer, f.consequence_of) for f in watch(layers).diagnose().findings] == [("0", None), ("2", "0")]


def test_vanishing_after_saturation_and_dying_in_an_explosion_are_consequences() -> None:
    saturated = [row(step, saturated=4000, min=-1.0, max=1.0) for step in range(10)]
    layers = {"0": ("Linear", healthy(10)), "1": ("Tanh", saturated)}
    layers |= {str(i): ("Linear", [row(step, within_std=1e-6) for step in range(10)]) for i in (2, 3)}
    assert [(f.layer, f.condition, f.consequence_of) for f in watch(layers).diagnose().findings] == [
        ("1", "saturated", None),
        ("2", "vanishing", "1"),
        ("3", "vanishing", "1"),
    ]
    layers = {
        # What is dead at step 25 has been silent since step 6.
        "0": ("ReLU", [row(step, dead_neurons=60 if step >= 25 else 0) for step in range(30)]),
        "1": ("Linear", [row(step, std=10.0 ** min(max(step - 1, 0), 20)) for step in range(30)]),
        "2": ("Linear", [row(step) if step < 12 else nothing_finite(step) for step in range(30)]),
    }
    assert [(f.layer, f.condition, f.consequence_of) for f in watch(layers).diagnose().findings] == [
        ("1", "exploding", None),
        ("0", "dead", "1"),
        ("2", "non_finite", "1"),
    ]


def test_nan_explains_what_comes_after_it_not_what_was_so_before_it_in_the_same_step() -> None:
    flat = [row(step, saturated=4000, min=-1.0, max=1.0) for step in range(9)]
    broken = [row(step, nans=3) for step in range(9)]
    layers = {"0": ("Tanh", flat), "1": ("Linear", broken), "2": ("Tanh", flat), "3": ("Linear", healthy(9))}
    assert [(f.layer, f.condition, f.consequence_of) for f in watch(layers).diagnose().findings] == [
        ("0", "saturated", None),
        ("1", "non_finite", None),
        ("2", "saturated", "1"),
    ]


def test_neurons_that_are_off_for_samples_that_are_all_alike_are_a_consequence() -> None:
    def faint(dead: int) -> tuple[str, list[Any]]:
        return "ReLU", [row(step, within_std=1e-6, dead_neurons=dead) for step in range(30)]

    layers = {"0": ("Linear", healthy()), "1": faint(6), "2": faint(20), "3": faint(31)}
    diagnosis = watch(layers).diagnose()
    found = [(f.layer, f.condition, f.consequence_of) for f in diagnosis.findings]
    assert found == [("1", "vanishing", None), ("2", "vanishing", "1"), ("3", "vanishing", "1")]
    assert not diagnosis.notes
    layers = {"0": ("Linear", healthy()), "1": faint(40), "2": faint(40)}
    first = watch(layers).diagnose().findings[0]
    assert (first.layer, first.condition) == ("1", "dead")  # nothing gets through


def test_the_first_culprit_is_first_in_time_then_in_forward_order() -> None:
    def tanh(onset: int) -> list[Any]:
        return [row(s, saturated=4000 if s >= onset else 0, min=-1.0, max=1.0) for s in range(30)]

    layers = {"0": ("Tanh", tanh(12)), "1": ("Tanh", tanh(7)), "2": ("Tanh", tanh(7)), "3": ("Linear", healthy())}
    assert [(layer, step) for layer, _, _, step in found(watch(layers))] == [("1", 7), ("2", 7), ("0", 12)]


def test_dropout_hands_nan_on_and_is_not_where_it_was_born() -> None:
    def broken(since: int) -> list[Any]:
        return [nothing_finite(step) if step >= since else row(step) for step in range(12)]

    # One dropout serves the block after its attention and after its second layer, so it counts as before them.
    block = {"drop": ("Dropout", broken(10)), "fc1": ("Linear", broken(10)), "fc2": ("Linear", broken(10))}
    (first, *rest) = watch({"attn": ("Linear", [row(step) for step in range(12)]), **block}).diagnose().findings
    assert (first.layer, first.consequence_of) == ("fc1", None)
    assert {(finding.layer, finding.consequence_of) for finding in rest} == {("drop", "fc1"), ("fc2", "fc1")}
    # A step earlier it is the first that is seen.
    early = {**block, "drop": ("Dropout", broken(9))}
    assert watch(early).diagnose().findings[0].layer == "drop"
    alone = {"drop": ("Dropout", broken(10)), "act": ("Tanh", [row(step) for step in range(12)])}
    assert watch(alone).diagnose().findings[0].layer == "drop"


def test_what_explodes_with_depth_explains_what_comes_after_it_alone() -> None:
    steps = range(10)
    flat = ("Sigmoid", [row(s, saturated=4000) for s in steps])
    layers = {"in": ("Linear", [row(s) for s in steps]), "before": flat}
    layers |= {"big": ("Linear", [row(s, std=5e4) for s in steps]), "after": flat, "out": layers["in"]}
    diagnosis = watch(layers).diagnose()
    assert {f.layer: f.consequence_of for f in diagnosis.findings} == {"before": None, "big": None, "after": "big"}


def test_an_explosion_after_a_nan_follows_from_it_and_one_before_it_or_with_it_explains_it() -> None:
    broken = [row(s, nans=int(s >= 10)) for s in range(40)]
    for born, culprit in ((8, "exploding"), (10, "exploding"), (12, "non_finite"), (30, "non_finite")):
        large = [row(s, std=1.0 if s < born else 1e5) for s in range(40)]
        layers = {"0": ("Linear", broken), "1": ("Linear", large), "2": ("Linear", [row(s) for s in range(40)])}
        findings = watch(layers).diagnose().findings
        assert [f.condition for f in findings if f.consequence_of is None] == [culprit]
        assert len(findings) == 2


def test_what_fades_later_is_no_reason_for_what_faded_before() -> None:
    def fades(at: int) -> tuple[str, list[Any]]:
        return "Linear", [row(s, within_std=0.9 if s < at else 1e-3) for s in range(60)]

    end = {"norm": ("LayerNorm", [row(s) for s in range(60)])}
    for first, second, culprits in ((20, 22, ["0"]), (20, 40, ["0"]), (40, 20, ["1", "0"])):
        diagnosis = watch({"0": fades(first), "1": fades(second), **end}).diagnose()
        assert [f.layer for f in diagnosis.culprits if f.condition == "vanishing"] == culprits


class _One(Rule[Any]):
    condition = "one"
    adjective = "one"
    explains: ClassVar = {"one": same_layer, "other": same_layer}

    def check(self, layer: LayerView, network: Network, thresholds: Any) -> Outcome:
        return Outcome.NOT_FOUND


class _Other(_One):
    condition = "other"
    explains: ClassVar = {"one": same_layer}


def test_what_gets_no_gradient_any_more_and_fades_later_follows_from_the_layer_that_passes_none() -> None:
    def fading(since: int) -> list[Any]:
        return [row(s, std=0.9**k, within_std=0.9**k, mean=0.0) for s in range(150) for k in [max(s - since, 0)]]

    def dead(since: int) -> list[Any]:
        silent = {
            "zeros": 4096,
            "silent_neurons": 64,
            "mean": 0.0,
            "std": 0.0,
            "within_std": 0.0,
            "min": 0.0,
            "max": 0.0,
        }
        return [row(s, **(silent | {"dead_neurons": 64 * (s >= since + 19)} if s >= since else {})) for s in range(150)]

    for dies, fades, of in ((10, 40, "1"), (70, 20, None)):
        findings = watch({"0": ("Linear", fading(fades)), "1": ("ReLU", dead(dies)), "2": ("Linear", fading(10))})
        told = {(f.layer, f.condition): f.consequence_of for f in findings.diagnose().findings}
        assert told["0", "vanishing"] == of, told


def test_rules_that_explain_each_other_make_no_circle() -> None:
    (view,) = watch({"a": ("Linear", healthy())}).views().values()
    one, other = (
        Finding("a", name, "warning", step, Evidence(), "", "", ()) for name, step in (("one", 2), ("other", 2))
    )
    linked = link([one, other], [view], (_One(), _Other()), Thresholds())
    assert [(f.condition, f.consequence_of) for f in linked] == [("other", None), ("one", "a")]


@pytest.mark.parametrize("of_gradient", [20, 21])
def test_a_gradient_without_a_number_makes_the_loss_of_the_next_step_so_and_has_it_from_its_own(
    of_gradient: int,
) -> None:
    def rows(at: int, good: Any = row) -> list[Any]:
        return [good(step) if step < at else nothing_finite(step) for step in range(25)]

    diagnosis = watch(
        {"0": ("Linear", rows(21)), "0:grad": ("Gradient", rows(of_gradient)), "loss": ("Loss", rows(21, plain))}
    ).diagnose()
    first = {20: ("0:grad", "non_finite", 20), 21: ("0", "non_finite", 21)}[of_gradient]
    culprits = [(each.layer, each.condition, each.first_step) for each in diagnosis.culprits]
    assert culprits == [first]
