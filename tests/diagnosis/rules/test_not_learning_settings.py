"""Losses that stay for what the optimiser is set to, for decay, dropout, weights that are alike or out of its reach."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from supervised import LN10, Given, layer, loss, noisy, optimiser, parameter, seen, values
from synthetic import row

from fastact.diagnosis.finding import Finding
from fastact.history import LayerInfo

FLAT = noisy(np.full(60, LN10))
#: It falls, and has left a constant answer's soon.
LEARNS = noisy(LN10 * (0.2 + 0.8 * np.exp(-np.arange(60) / 10.0)))


def findings(*parts: Given, **more: Any) -> list[Finding]:
    return [f for f in seen(*parts, **more).diagnose().findings if f.condition == "not_learning"]


def causes(*parts: Given, **more: Any) -> list[str]:
    return [f.cause_name for f in findings(*parts, **more)]


def rates(numbers: Any, function: str = "Adam", **facts: Any) -> Given:
    given = optimiser(function=function, **facts)
    return {"optimiser": (given["optimiser"][0], values(numbers))}


def network(sizes: Any, spread: float = 1.0, layer_type: str = "Linear") -> Given:
    """An input and two layers whose outputs have these sizes; the last one's samples differ by a share of them."""
    given = layer("input", [row(s) for s in range(len(sizes))], "Input")
    for name in ("fc", "out"):
        of = [spread**s if name == "out" else 1.0 for s in range(len(sizes))]
        rows = [row(s, mean=0.0, std=x, within_std=x * y) for s, (x, y) in enumerate(zip(sizes, of, strict=True))]
        given |= layer(name, rows, layer_type)
    return given


def test_a_rate_of_zero_needs_no_rows_of_updates() -> None:
    (finding,) = findings(loss(FLAT[:12]), rates([0.0] * 12))
    assert (finding.cause_name, finding.confidence) == ("no_update", "certain")
    assert causes(loss(FLAT[:12]), rates([0.0] * 9)) == []
    assert causes(loss(FLAT[:12]), rates([0.0, *[1e-3] * 11])) == []
    assert causes(loss(LEARNS), rates([0.0] * 60)) == []


def test_a_rate_that_no_weight_notices() -> None:
    (finding,) = findings(loss(FLAT[:30]), rates([1e-7] * 30))
    assert (finding.cause_name, finding.because) == ("rate_too_small", ("the learning rate is 1e-07",))
    assert causes(loss(FLAT[:19]), rates([1e-7] * 19)) == []
    assert causes(loss(FLAT), rates([1e-5] * 60)) == []
    assert causes(loss(FLAT), rates(np.linspace(1e-9, 1e-7, 60))) == []  # it warms up
    assert causes(loss(FLAT), rates([1e-7] * 60), parameter("fc.weight", rows=60)) == []  # it moves as it should
    assert causes(loss(FLAT), network([1.0] * 60), rates([1e-5] * 60, "SGD")) == ["rate_too_small"]
    assert causes(loss(FLAT), network([1.0] * 60), rates([1e-5] * 60, "SGD", momentum=0.9)) == []
    assert causes(loss(FLAT), rates([1e-5] * 60, "SGD")) == []  # gradients may be large


def test_a_rate_that_a_schedule_has_taken_away() -> None:
    (finding,) = findings(loss(FLAT), rates(0.1 * 0.5 ** np.arange(60)))
    assert finding.because[0].startswith("the learning rate has fallen from 0.1 to 1.7")
    assert causes(loss(FLAT), rates(0.05 * (1 + np.cos(np.pi * np.arange(60) / 59)))) == []
    assert causes(loss(LEARNS), rates(0.1 * 0.5 ** np.arange(60))) == []


def shrinking(factor: float, **facts: Any) -> Given:
    given = parameter("fc.weight", rows=60, **facts)
    info, rows = given["fc.weight"]
    known = {"count": 32, "zeros": 0, "mean": 0.0}
    given["fc.weight"] = info, [row(s, **known, std=0.1 * factor**s) for s in range(len(rows))]
    return given


def test_weights_that_decay_takes_away() -> None:
    (finding,) = findings(loss(FLAT[:40]), shrinking(0.95), optimiser(0.01, function="AdamW", weight_decay=50.0))
    assert (finding.cause_name, finding.confidence) == ("weight_decay", "likely")
    assert finding.because[1] == "weight decay takes 50% of each weight in each step"
    assert "is no better than that of a constant answer after 40 steps" in finding.message
    assert causes(loss(FLAT[:40]), shrinking(0.999)) == []
    assert causes(loss(LEARNS), shrinking(0.95)) == []


def test_outputs_that_fade_where_weights_have_no_rows() -> None:
    assert causes(loss(FLAT[:40]), network(0.95 ** np.arange(40), 0.9)) == ["weight_decay"]
    assert causes(loss(FLAT[:40]), network([1.0] * 40, 0.9)) == []
    assert causes(loss(FLAT[:40]), network(0.95 ** np.arange(40))) == []  # samples still differ
    assert causes(loss(LEARNS), network(0.95 ** np.arange(60), 0.9)) == []


def with_dropout(zeros: float, before: str) -> Given:
    steps = range(60)
    given = layer("fc", [row(s, zeros=0) for s in steps], before)
    return given | layer("drop", [row(s, zeros=round(zeros * 4096)) for s in steps], "Dropout")


def test_a_dropout_that_leaves_next_to_nothing() -> None:
    (finding,) = findings(loss(FLAT[:40]), with_dropout(0.95, "Linear"))
    assert (finding.cause_name, finding.because) == ("dropout", ("drop (Dropout) sets 95% of its inputs to zero",))
    assert causes(loss(FLAT[:40]), with_dropout(0.5, "Linear")) == []
    assert causes(loss(FLAT[:40]), with_dropout(0.95, "Input")) == []  # a task of its own
    assert causes(loss(LEARNS), with_dropout(0.95, "Linear")) == []


def test_an_output_of_weights_that_the_model_does_not_have() -> None:
    adam = optimiser(elements=320, strays_tensors=6, strays_elements=900)
    (finding,) = findings(loss(FLAT[:40]), adam, parameter("head.weight", update=1e-3))
    assert (finding.cause_name, finding.confidence) == ("not_in_optimiser", "likely")
    assert finding.because[0].startswith("its output is computed from 6 trainable tensors (900 numbers)")
    assert causes(loss(FLAT[:40]), adam, parameter("head.weight", update=1e-5)) == []  # a slow head on good features
    few = optimiser(elements=3200, strays_tensors=6, strays_elements=900)
    assert causes(loss(FLAT[:40]), few, parameter("head.weight", update=1e-3)) == []
    assert causes(loss(LEARNS), adam, parameter("head.weight", update=1e-3)) == []


def alike(name: str, std: float) -> Given:
    given = parameter(f"{name}.weight", layer=name) | layer(name, [row(s) for s in range(60)])
    info, rows = given[f"{name}.weight"]
    first = row(0, count=32, zeros=0, mean=0.05, std=std)
    return given | {f"{name}.weight": (info, [first, *rows[1:]])}


def test_weights_that_began_alike() -> None:
    (finding,) = findings(loss(FLAT[:10]), alike("0", 0.0), alike("2", 0.0), optimiser())
    assert (finding.layer, finding.cause_name) == ("optimiser", "symmetric_initialisation")
    assert finding.confidence == "certain"
    assert causes(loss(FLAT[:10]), alike("0", 0.0), alike("2", 0.1), optimiser()) == []
    assert causes(loss(LEARNS), alike("0", 0.0), alike("2", 0.0), optimiser()) == []


@pytest.mark.parametrize(("largest", "expected"), [(1e5, ["feature_scales"]), (2.0, [])])
def test_features_in_other_units_are_told_while_the_loss_falls_by_too_little(largest: float, expected: Any) -> None:
    levels = 1e6 * 0.99 ** np.arange(40)
    facts = {"feature_std": [0.9, 1.0, largest]}
    given = {"input": (LayerInfo("input", 0, "Input", facts=facts), [row(s) for s in range(40)])}
    far = loss(noisy(levels), 1.0, function="mean_squared_error", targets={"mean": 0.0, "std": 1.0})
    assert causes(far, given) == expected
    soon = loss(noisy(1e6 * 0.8 ** np.arange(40)), 1.0, function="mean_squared_error")
    assert causes(soon, given) == []


def test_a_trunk_without_gradients_under_a_head_that_moves_and_gets_nowhere() -> None:
    trunk = layer("0", [row(s) for s in range(40)]) | layer("2", [row(s) for s in range(40)])
    adam = optimiser(without_gradient=["0.weight"], without_gradient_tensors=1)
    cut = trunk | parameter("0.weight", gradient=None, update=0.0) | adam
    high = loss(noisy(np.full(40, 0.93 * LN10)))
    (finding,) = findings(high, cut, parameter("2.weight", update=1e-3))
    assert (finding.severity, finding.cause_name) == ("warning", "no_gradient")
    assert causes(high, cut, parameter("2.weight", update=1e-5)) == []
    assert causes(loss(LEARNS), cut, parameter("2.weight", update=1e-3)) == []


def test_parameters_whose_gradient_is_zero_while_others_move() -> None:
    high, low = (loss(noisy(np.full(40, share * LN10))) for share in (0.93, 0.7))
    flat = parameter("0.weight", gradient=0.0, update=0.0), parameter("2.weight", update=1e-3), optimiser()
    (finding,) = findings(high, *flat)
    assert (finding.layer, finding.severity, finding.cause_name) == ("optimiser", "warning", "zero_gradients")
    assert causes(low, *flat) == []
    assert causes(high, parameter("0.weight"), parameter("2.weight", update=1e-3), optimiser()) == []


def test_an_optimiser_that_has_biases_alone() -> None:
    weight = parameter("0.weight", optimiser=False, update=None, elements=640)
    bias = parameter("0.bias", elements=10, shape=[10])
    assert causes(loss(FLAT[:30]), weight, bias, optimiser()) == ["not_in_optimiser"]
    assert causes(loss(FLAT[:29]), weight, bias) == []


def test_a_loss_that_rises_from_the_start() -> None:
    (finding,) = findings(loss(noisy(LN10 * (1.0 + 0.014 * np.arange(50)))))
    assert "has risen since step 0: from 2.3" in finding.message
    assert finding.cause_name == "loss_diverges"
    up_and_flat = np.minimum(1.0 + 0.014 * np.arange(60), 1.3)
    assert causes(loss(noisy(LN10 * up_and_flat))) == []
    assert causes(loss(noisy(LN10 * (0.3 + 0.014 * np.arange(50))))) == []  # below what it could be for long


def test_a_loss_that_diverges_whose_constant_answer_is_not_known() -> None:
    levels = np.concatenate([np.full(20, 2.0), np.full(30, 900.0)])
    (finding,) = findings(loss(noisy(levels), None))  # weighted classes
    assert (finding.severity, finding.first_step) == ("serious", 20)
    assert findings(loss(noisy(levels[:39]), None)) == []
    assert findings(loss(noisy(np.minimum(levels, 90.0)), None)) == []
    own = seen(loss(noisy(levels), None, function="")).diagnose()
    assert (own.healthy, [note.condition for note in own.notes]) == (True, ["not_learning"])


def test_a_loss_that_climbs_whose_constant_answer_is_not_known() -> None:
    climbs = 2.0 + 0.2 * np.arange(50)

    def told(levels: Any, function: str = "cross_entropy", targets: Any = None) -> list[Finding]:
        given = loss(noisy(levels), function=function, targets=targets)
        del given["loss:baseline"]
        return findings(given)

    (finding,) = told(climbs)
    assert "has risen since step 0: from 2" in finding.message
    assert told(climbs[:29]) == []
    assert told(np.minimum(climbs, 7.0)) == []  # it has turned
    assert told(2.0 + 0.06 * np.arange(50)) == []
    assert told(climbs, function="") == []  # one of one's own may grow
    assert findings(loss(noisy(climbs), None)) == []  # its targets may be made up
    for away, count in ((0.0, 1), (1.0, 0)):  # values that are themselves learned move
        given = loss(noisy(climbs), function="mean_squared_error")
        rows = [row(s, mean=away * s, std=0.1) for s in range(50)]
        targets = LayerInfo("loss:target", 0, "Target", facts={"shape": [64], "whole": False}), rows
        del given["loss:baseline"]
        assert len(findings(given | {"loss:target": targets})) == count


def test_a_loss_that_stands_far_above_a_constant_answer() -> None:
    (finding,) = findings(loss(noisy(np.full(60, 4.0 * LN10))))
    assert finding.confidence == "possible"
    assert finding.cause_name != "loss_diverges"  # it was as high at first
    assert "is worse than that of a constant answer since step 0" in finding.message
    assert findings(loss(noisy(np.full(59, 4.0 * LN10)), batch=8)) == []
    assert findings(loss(noisy(4.0 * LN10 * 0.97 ** np.arange(60)))) == []  # it will be there soon
    (slow,) = findings(loss(noisy(9.0 * LN10 * 0.997 ** np.arange(60))))
    assert "is still worse than that of a constant answer" in slow.message


def test_a_loss_that_comes_down_from_where_it_jumped_to() -> None:
    levels = np.concatenate([np.full(20, 2.0), 400.0 * 0.9 ** np.arange(36)])
    (finding,) = findings(loss(noisy(levels)))
    assert (finding.first_step, finding.severity) == (20, "critical")
    assert "has diverged since step 20" in finding.message
    assert findings(loss(noisy(levels[:39]))) == []
    assert findings(loss(noisy(np.minimum(levels, 30.0)))) == []  # no such jump
    back = np.concatenate([levels, np.full(30, 2.0)])
    assert findings(loss(noisy(back))) == []


def test_what_would_tell_more_is_told_where_it_is_not_recorded() -> None:
    flat = loss(noisy(np.full(110, LN10)))
    (finding,) = findings(flat, optimiser(rows=110))
    assert finding.cause_name == "constant_answer"
    assert "updates=True" in finding.remedies[0]
    (finding,) = findings(flat, optimiser(rows=110), parameter("fc.weight", update=5e-5))
    assert "updates=True" not in finding.remedies[0]


@pytest.mark.parametrize(("update", "expected"), [(1e-3, ["constant_answer"]), (1e-4, [])])
def test_updates_that_are_ample_halve_the_wait(update: float, expected: Any) -> None:
    assert causes(loss(FLAT[:50]), parameter("fc.weight", update=update)) == expected
    assert causes(loss(FLAT[:49]), parameter("fc.weight", update=update)) == []


def far(size: float, levels: Any) -> Given:
    """A regression on normalised inputs whose first outputs have this size."""
    rows = len(levels)
    given = {"input": (LayerInfo("input", 0, "Input"), [row(s) for s in range(rows)])}
    for name, scale in (("0", size**0.5), ("2", size)):
        given |= layer(name, [row(s, mean=0.0, std=scale) for s in range(rows)])
    known = loss(noisy(levels), 1.0, function="mean_squared_error", targets={"mean": 0.0, "std": 1.0})
    info, values_ = known["loss"]
    told = LayerInfo("loss", 0, "Loss", "float64", source="2", facts={**(info.facts or {}), "prediction": {}})
    return given | known | {"loss": (told, values_)}


def test_first_outputs_that_are_far_too_large() -> None:
    slowly = 1e4 * 0.97 ** np.arange(40)
    (finding,) = findings(far(100.0, slowly))
    assert (finding.cause_name, finding.severity) == ("initialisation", "warning")
    assert finding.because[0] == "its first outputs were 100 times as large as the targets"
    assert causes(far(100.0, slowly[:29])) == []
    assert causes(far(100.0, 1e4 * 0.7 ** np.arange(40))) == []  # it is there soon
    assert causes(far(2.0, slowly)) == []


def _sgd(**settings: float) -> Given:
    return optimiser(rate=0.1, rows=40, function="SGD", **settings)


@pytest.mark.parametrize(
    ("setting", "gradient", "cause"),
    [("clipnorm", 0.1, "clipped"), ("global_clipnorm", 0.1, "clipped"), ("clipvalue", 0.1, "clipped"),
     ("clipnorm", 1e-7, "rate_too_small")],
)  # fmt: skip
def test_an_optimiser_that_clips_gradients_to_next_to_nothing(setting: str, gradient: float, cause: str) -> None:
    moves = parameter("fc/kernel", update=1e-8, gradient=gradient)
    assert causes(loss(FLAT[:40]), moves, _sgd(**{setting: 1e-6})) == [cause]


@pytest.mark.parametrize(("weight", "cause"), [(1e-6, "loss_scaled"), (1.0, "rate_too_small")])
def test_a_loss_that_counts_for_next_to_nothing(weight: float, cause: str) -> None:
    given = loss(FLAT[:40])
    info, rows = given["loss"]
    given["loss"] = replace(info, facts={**info.facts, "weight": weight}), rows
    assert causes(given, parameter("fc/kernel", update=1e-8), _sgd()) == [cause]
