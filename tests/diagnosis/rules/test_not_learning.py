"""Losses that stay, rise, or have no number; parameters that nothing moves; and all that learns, slowly or by now."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from not_learning import FLAT, falling, findings, only
from supervised import LN10, layer, loss, noisy, optimiser, parameter, seen, values
from synthetic import nothing_finite, plain, row

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.rules import Thresholds
from fastact.history import LayerInfo


def test_a_loss_that_stays_at_a_constant_answer_s() -> None:
    finding = only(loss(FLAT))
    assert (finding.layer, finding.severity, finding.first_step) == ("loss", "serious", 0)
    assert finding.message == (
        "loss (cross_entropy) has not fallen since step 0: it is 2.3 on average; the best constant answer, the "
        "same for every sample, gets 2.3."
    )
    assert (finding.cause_name, finding.confidence) == ("constant_answer", "possible")
    assert finding.evidence["constant_answer"] == pytest.approx(LN10)
    assert only(loss(noisy(np.full(400, LN10)))).first_step == 0  # long after it left the window


def test_it_takes_enough_rows_and_enough_samples() -> None:
    assert findings(loss(FLAT[:99])) == []
    assert len(findings(loss(FLAT[:100]))) == 1
    assert findings(loss(FLAT[:149], batch=20)) == []
    assert len(findings(loss(FLAT[:150], batch=20))) == 1
    # A plateau is as long as its steps, of which a row stands for several; but for a few rows.
    assert findings(loss(FLAT[:49], stride=2)) == []
    assert len(findings(loss(FLAT[:50], stride=2))) == 1
    assert findings(loss(FLAT[:29], stride=10)) == []
    assert len(findings(loss(FLAT[:30], stride=10))) == 1
    not_judged = {each.name: each.not_judged for each in seen(loss(FLAT[:20])).diagnose().layers}["loss"]
    assert not_judged == ("not_learning",)


@pytest.mark.parametrize(
    "levels",
    [
        falling(150),
        falling(400, rate=200.0),
        falling(150, rate=400.0),  # slow, and it shows
        np.full(150, 0.3 * LN10),  # fine-tuned, or converged
        np.concatenate([np.full(60, LN10), falling(60)]),  # a plateau, then a drop
        LN10 * (0.5 + 20.0 * np.exp(-np.arange(150) / 30.0)),  # from far above
        falling(150) + 0.2 * np.sin(np.arange(150) / 10.0),  # a cyclic rate
        np.full(1200, 0.9 * LN10),  # better than a constant answer for long
        np.full(1200, 0.953 * LN10),  # perhaps better
        np.full(150, 0.985 * LN10),  # it has begun to fall, which can take long
    ],
)
def test_what_learns_or_has_learned_is_not_told(levels: Any) -> None:
    assert findings(loss(noisy(levels))) == []
    assert findings(loss(noisy(levels, 0.3), batch=4)) == []


def test_a_loss_that_falls_too_slowly_to_get_anywhere() -> None:
    rows = LN10 * (1.05 - 2e-5 * np.arange(150))
    finding = only(loss(rows.tolist()))
    assert (finding.severity, finding.cause_name, finding.confidence) == ("warning", "rate_too_small", "likely")
    assert finding.because == ("the loss falls all the time, and hardly at all",)
    assert findings(loss((LN10 * (1.05 - 3e-4 * np.arange(150))).tolist())) == []


def test_a_loss_that_diverges() -> None:
    levels = np.concatenate([falling(60), np.full(40, 8.0)])
    finding = only(loss(noisy(levels)))
    assert (finding.severity, finding.first_step, finding.cause_name) == ("serious", 60, "rate_too_large")
    assert "has diverged since step 60: it rose from 2.4" in finding.message
    assert only(loss(noisy(np.concatenate([falling(60), np.full(40, 80.0)])))).severity == "critical"
    spike = np.concatenate([falling(60), np.full(15, 80.0), np.full(25, 0.6)])
    assert findings(loss(noisy(spike))) == []
    recovers = np.concatenate([falling(60), 60.0 - np.arange(40)])
    assert only(loss(noisy(recovers))).first_step == 60  # it is not back yet
    assert findings(loss(noisy(np.concatenate([recovers, np.full(20, 2.0)])))) == []
    assert findings(loss(noisy(np.concatenate([falling(60), 20.0 - np.arange(18)])))) == []


def test_a_loss_that_is_back_where_it_started() -> None:
    levels = np.concatenate([falling(60, rate=10.0), np.full(60, LN10)])
    finding = only(loss(noisy(levels)))
    assert (finding.severity, finding.first_step) == ("serious", 60)
    assert "has lost what it had learned" in finding.message
    assert findings(loss(noisy(levels[:100]))) == []
    dip = np.concatenate([np.full(40, 0.97 * LN10), np.full(9, 0.6 * LN10), np.full(60, LN10)])  # easy batches
    assert findings(loss(noisy(dip))) == []


def test_worse_than_a_constant_answer_unless_something_else_is_in_it() -> None:
    finding = only(loss(noisy(np.full(120, 6.0))))
    assert "is worse than that of a constant answer since step 0" in finding.message
    # A penalty on the weights has no constant answer: what falls by so much learns.
    assert findings(loss(noisy(3.0 + falling(300, start=1.5)))) == []


@pytest.mark.parametrize(("value", "said"), [(math.nan, "NaN"), (math.inf, "Inf")])
def test_a_loss_without_a_number(value: float, said: str) -> None:
    finding = only(loss([2.3, 2.2, 2.1, value]))
    assert (finding.severity, finding.first_step, finding.cause_name) == ("critical", 3, "loss_not_finite")
    assert finding.message == f"loss (cross_entropy) has been {said} since step 3."
    passing = only(loss([2.3, value, 2.1]))
    assert (passing.severity, passing.first_step) == ("warning", 1)
    assert passing.message == f"loss (cross_entropy) was {said} in 1 of 3 rows, first in step 1."
    assert only(loss([2.3, 2.2, 2.4, 900.0, value])).cause_name == "rate_too_large"
    # A squared error is infinite where it overflows, and takes no logarithm.
    squared = only(loss([2.3, 2.2, 2.1, value], function="mean_squared_error"))
    assert squared.cause_name == ("rate_too_large" if value == math.inf else "loss_not_finite")


@pytest.mark.parametrize(("since", "cause"), [(4, "rate_too_large"), (3, "loss_not_finite")])
def test_an_error_of_numbers_has_one_unless_it_overflows(since: int, cause: str) -> None:
    """Long after: the rows in which the loss grew have left the window."""
    given = loss([2.3, 2.2, 2.1, *[math.nan] * 147], function="mean_squared_error")
    info, rows = given["loss"]
    given["loss"] = dataclasses.replace(info, source="out"), rows
    out = layer("out", [row(step) if step < since else nothing_finite(step) for step in range(150)])
    found = findings(out, given)
    assert [each.cause_name for each in found] == [cause]


def test_targets_without_a_number() -> None:
    given = loss([2.3, 2.2, math.nan])
    info, rows = given["loss:target"]
    given["loss:target"] = info, [*rows[:2], row(2, nans=3)]
    finding = only(given)
    assert (finding.cause_name, finding.confidence) == ("targets_not_finite", "certain")


def test_nan_of_a_layer_explains_that_of_the_loss_and_the_other_way_round() -> None:
    healthy = [row(step) for step in range(6)]
    broken = layer("fc", [*healthy[:3], *map(nothing_finite, range(3, 6))])
    both = seen(broken, loss([2.3, 2.2, 2.1, *[math.nan] * 3])).diagnose().findings
    assert [(f.layer, f.condition, f.consequence_of) for f in both] == [
        ("fc", "non_finite", None), ("loss", "not_learning", "fc"),
    ]  # fmt: skip
    later = layer("fc", [*healthy[:4], *map(nothing_finite, range(4, 6))])
    both = seen(later, loss([2.3, 2.2, 2.1, *[math.nan] * 3])).diagnose().findings
    assert [(f.layer, f.consequence_of) for f in both] == [("loss", None), ("fc", "loss")]


def test_where_the_constant_answer_is_not_known_a_flat_loss_is_a_note() -> None:
    diagnosis = seen(loss(noisy(np.full(120, 0.7)), None, function="")).diagnose()
    assert diagnosis.healthy
    assert [note.condition for note in diagnosis.notes] == ["not_learning"]
    assert seen(loss(noisy(falling(120)), None)).diagnose().notes == ()
    same = only(loss([0.7] * 20, None))
    assert (same.severity, same.first_step) == ("critical", 0)
    assert findings(loss([0.7] * 19, None)) == []
    both = seen(loss([0.7] * 20, None, name="penalty"), loss(noisy(falling(20)), name="loss")).diagnose()
    assert (both.healthy, [note.layers for note in both.notes]) == (True, [("penalty",)])
    assert findings(loss([0.0] * 60, None)) == []  # hinge losses end there


def test_a_sum_over_a_smaller_last_batch_is_measured_by_those_before() -> None:
    given = loss(noisy(np.full(120, 32 * 0.6 * LN10)), function="cross_entropy")
    given["loss:baseline"] = given["loss:baseline"][0], values([32 * LN10] * 119 + [3 * LN10])
    assert findings(given) == []


def test_targets_that_are_made_up_in_each_step_are_no_standard() -> None:
    critic = loss(noisy(np.full(150, 0.69)), 0.69, function="binary_cross_entropy_with_logits", name="critic")
    assert len(findings(critic)) == 1
    ones = loss(noisy(np.full(150, 0.69)), None, function="binary_cross_entropy_with_logits", name="generator")
    target = loss([0.69] * 150, 0.0, name="generator", targets={"mean": 1.0, "std": 0.0, "min": 1.0, "max": 1.0})
    ones["generator:target"] = target["generator:target"]
    assert findings(critic, ones) == []
    pairs = {"mean": 31.5, "std": math.sqrt((64**2 - 1) / 12), "min": 0.0, "max": 63.0}
    assert findings(loss(noisy(np.full(150, math.log(64))), math.log(64), targets=pairs)) == []


def test_targets_far_from_zero_take_long() -> None:
    """A regression on raw targets falls all the time, by way of its last bias."""
    levels = 29000.0 - 60.0 * np.arange(120)
    raw = {"mean": 152.0, "std": 77.0, "min": 25.0, "max": 346.0}
    finding = only(loss(noisy(levels), 5930.0, function="mean_squared_error", targets=raw))
    assert (finding.severity, finding.first_step, finding.cause_name) == ("warning", 0, "targets_not_scaled")
    assert "is still worse than that of a constant answer after 120 steps" in finding.message
    unit = {"mean": 1.52, "std": 0.77, "min": 0.25, "max": 3.46}
    assert findings(loss(noisy(levels / 1e4), 0.593, function="mean_squared_error", targets=unit)) == []
    slow = loss(noisy(29000.0 - np.arange(30)), 5930.0, function="mean_squared_error", targets=raw)
    assert [f.severity for f in findings(slow)] == ["warning"]
    fast = np.maximum(levels - 250.0 * np.arange(120), 3000.0)
    assert findings(loss(noisy(fast), 5930.0, function="mean_squared_error", targets=raw)) == []
    on_its_way = loss(noisy(fast[:45]), 5930.0, function="mean_squared_error", targets=raw)
    assert findings(on_its_way) == []  # it takes less than it has taken


def test_batches_of_a_sample_each_are_noisy() -> None:
    """Each pulls its own way, by updates that are large for it, until it has been seen again and again."""
    jumps = parameter("fc.weight", rows=50, weight=0.1, update=0.02)

    def told(batch: int) -> list[str]:
        given = loss(noisy(np.full(50, LN10), 0.05), batch=batch)
        return [f.cause_name for f in findings(given, jumps, optimiser(rate=0.5, rows=50))]

    assert told(64) == ["rate_too_large"]
    assert told(1) == []


def test_a_loss_that_has_begun_to_fall_is_on_its_way_however_far_the_weights_have_gone() -> None:
    def told(levels: Any) -> list[str]:
        parts = loss(noisy(levels, 0.005), batch=80), parameter("0.weight", rows=40, update=4e-3), optimiser(rows=40)
        return [finding.cause_name for finding in findings(*parts)]

    assert told(np.full(40, LN10)) == ["constant_answer"]
    assert told(LN10 * np.r_[np.full(20, 1.0), np.linspace(1.0, 0.93, 20)]) == []


def dead(steps: range) -> list[Any]:
    return [row(s, zeros=4096, mean=0.0, std=0.0, min=0.0, max=0.0, abs_mean=0.0, silent_neurons=64, dead_neurons=64,
                within_std=0.0, peak_neuron=0) for s in steps]  # fmt: skip


def test_a_dead_layer_explains_it_and_else_the_loss_is_told_first() -> None:
    act = layer("act", dead(range(150)), "ReLU")
    found = seen(layer("fc", [row(s) for s in range(150)]), act, loss(FLAT)).diagnose().findings
    assert [(f.layer, f.condition, f.consequence_of) for f in found] == [
        ("act", "dead", None), ("loss", "not_learning", "act"),
    ]  # fmt: skip
    # A loss that stays is one that has stayed since its first row, though the layer died after some.
    soon = layer("act", [row(s) for s in range(30)] + dead(range(30, 150)), "ReLU")
    found = seen(layer("fc", [row(s) for s in range(150)]), soon, loss(FLAT)).diagnose().findings
    assert [(f.layer, f.consequence_of) for f in found] == [("act", None), ("loss", "act")]
    # What no layer can bring about stands for itself, and first.
    still = parameter("fc.weight", update=0.0)
    found = seen(layer("fc", [row(s) for s in range(150)]), act, loss(FLAT), still).diagnose().findings
    assert [(f.layer, f.consequence_of) for f in found] == [("loss", None), ("act", None)]
    # One that died long after is another matter: what is said first is that nothing was learned before.
    late = layer("act", [row(s) for s in range(100)] + dead(range(100, 150)), "ReLU")
    found = seen(layer("fc", [row(s) for s in range(150)]), late, loss(FLAT)).diagnose().findings
    assert [(f.layer, f.consequence_of) for f in found] == [("loss", None), ("act", None)]


def test_thresholds_are_used() -> None:
    diagnoser = Diagnoser(thresholds=Thresholds(learn_rows=50, learn_samples=100))
    for info, rows in loss(FLAT[:60]).values():
        diagnoser.add(info)
        for each in rows:
            diagnoser.append(info.name, each)
    assert [f.condition for f in diagnoser.diagnose().findings] == ["not_learning"]


def test_the_loss_in_evaluation_is_not_judged() -> None:
    assert seen(loss(FLAT, name="loss")).diagnose().findings
    info, rows = loss(FLAT)["loss"]
    diagnoser = Diagnoser()
    diagnoser.add(type(info)("loss:eval", 0, "Loss", mode="evaluation", facts=info.facts))
    for each in rows:
        diagnoser.append("loss:eval", each)
    assert diagnoser.diagnose().healthy
    assert values([1.0])[0]


def test_inputs_that_drown_in_one_feature_are_told_where_the_loss_is_far_off() -> None:
    def given(stds: list[float], moves: float = 0.01) -> Any:
        made = layer("input", [row(s, mean=moves * s, std=stds[2]) for s in range(50)], "Input")
        (info, rows) = made["input"]
        facts = {"features": 10, "feature_std": stds, "constant_features": 0, "duplicate_features": 0}
        return {"input": (LayerInfo("input", 0, info.layer_type, "float32", facts=facts), rows)}

    # It falls by orders of magnitude, so that its first rows say nothing of the noise of its last.
    falling = noisy(np.geomspace(4e7, 4e5, 50), 0.3)
    far = loss(falling, 1.0, function="mean_squared_error", targets={"mean": 0.0, "std": 1.0, "min": -2.0, "max": 2.0})
    drowned = [0.8, 1.0, 1e5]
    (finding,) = findings(given(drowned), far)
    assert (finding.severity, finding.first_step, finding.cause_name) == ("warning", 0, "feature_scales")
    assert findings(given([0.8, 1.0, 20.0]), far) == []
    near = loss(falling[:29], 1.0, function="mean_squared_error")
    assert findings(given(drowned), near) == []  # too soon
    assert findings(given(drowned), loss(noisy(np.geomspace(400.0, 2.0, 50)), 1.0)) == []


def test_inputs_that_stay_while_targets_change_are_told_where_nothing_is_learned() -> None:
    def given(moves: float) -> Any:
        return layer("input", [row(s, mean=moves * s, std=1.0) for s in range(50)], "Input")

    def compared(level: float, moves: float) -> Any:
        made = loss(noisy(np.full(50, level)), LN10)
        info = made["loss:target"][0]
        made["loss:target"] = info, [plain(s, count=64, mean=4.5 + moves * s, std=2.9, min=0, max=9) for s in range(50)]
        return made

    (finding,) = findings(given(0.0), compared(LN10, 0.01))
    assert (finding.cause_name, finding.confidence) == ("same_batch", "certain")
    assert findings(given(0.01), compared(LN10, 0.01)) == []
    assert findings(given(0.0), compared(LN10, 0.0)) == []  # one batch, learned by heart
    assert findings(given(0.0), compared(0.5 * LN10, 0.01)) == []


@pytest.mark.parametrize(
    ("levels", "update", "cause"),
    [
        (np.linspace(1.0, 12.0, 40) * LN10, 3e-3, "wrong_sign"),
        (np.linspace(1.0, 12.0, 40) * LN10, 3e-2, "rate_too_large"),  # updates of 0.3 of the weights
        (np.concatenate([[LN10], np.linspace(9.0, 12.0, 39) * LN10]), 3e-3, "rate_too_large"),  # a jump
        (np.concatenate([np.linspace(1.0, 0.3, 20), np.linspace(1.0, 12.0, 30)]) * LN10, 3e-3, "rate_too_large"),
    ],
)
def test_a_loss_that_is_made_large_rises_from_the_first_rows_on(levels: Any, update: float, cause: str) -> None:
    assert only(loss(noisy(levels)), parameter("0.weight", update=update), optimiser()).cause_name == cause


def test_a_term_that_rises_while_the_sum_falls_is_a_note() -> None:
    rises = loss(noisy(np.linspace(0.0, 3.0, 60)), 0.5, function="mean_squared_error", name="loss:mse_loss")
    info, rows = rises["loss:mse_loss"]
    part = LayerInfo("loss:mse_loss", 0, "Loss", "float64", facts={**(info.facts or {}), "part": True})
    parts = rises | {"loss:mse_loss": (part, rows)}
    falls = loss(noisy(np.linspace(4.0, 1.0, 60)), None, function="")
    assert findings(falls, parts) == []
    assert [f.layer for f in findings(loss(noisy(np.full(60, 4.0)), None, function=""), parts)] == ["loss:mse_loss"]
