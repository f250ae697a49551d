"""Weights that are put back, gradients that are cut to nothing, rates that end: what a loop or a schedule does."""

from typing import Any

import numpy as np
from supervised import LN10, Given, loss, noisy, optimiser, parameter, seen, values

from fastact.diagnosis.finding import Finding

FLAT = noisy(np.full(60, LN10))
LEARNS = noisy(LN10 * (0.2 + 0.8 * np.exp(-np.arange(60) / 10.0)))
CLEARED = {"optimiser.gradients": "they are cleared"}
KEPT = {"optimiser.zero_grad": "they are kept"}


def findings(*parts: Given, **more: Any) -> list[Finding]:
    return [f for f in seen(*parts, **more).diagnose().culprits if f.condition == "not_learning"]


def causes(*parts: Given, **more: Any) -> list[str]:
    return [f.cause_name for f in findings(*parts, **more)]


def restored() -> Given:
    given = parameter("0.weight", update=1e-3)
    still = parameter("0.weight", update=None)["0.weight"]
    return given | {"0.weight": still}


def test_weights_that_are_put_back_after_each_step() -> None:
    (finding,) = findings(loss(FLAT[:12]), restored(), optimiser())
    assert (finding.cause_name, finding.severity) == ("no_update", "critical")
    assert finding.cause.startswith("What the optimiser changes is put back")
    assert causes(loss(FLAT[:12]), parameter("0.weight", update=1e-3), optimiser()) == []
    assert causes(loss(FLAT[:12]), restored(), parameter("1.weight", update=1e-3), optimiser()) == []
    assert causes(loss(LEARNS), restored(), optimiser()) == []


def clipped(update: float) -> Given:
    given = parameter("0.weight", update=update)
    info, rows = given["0.weight:grad"]
    return given | {"0.weight:grad": (info, [(step, *rows[0][1:]) for step in range(len(rows))])}


def test_gradients_that_are_clipped_to_next_to_nothing() -> None:
    (finding,) = findings(loss(FLAT[:30]), clipped(1e-7), optimiser())
    assert finding.cause_name == "clipped"
    assert "have a norm of" in finding.because[1]
    assert causes(loss(FLAT[:30]), parameter("0.weight", update=1e-7), optimiser()) == ["rate_too_small"]
    assert causes(loss(FLAT[:30]), clipped(1e-4), optimiser()) == []  # clipping is usual


def test_updates_of_nothing_are_told_soon_and_whatever_luck_the_loss_began_with() -> None:
    lucky = noisy(np.full(20, 0.8 * LN10))
    assert causes(loss(lucky[:12]), parameter("0.weight", update=1e-7), optimiser()) == ["rate_too_small"]
    assert causes(loss(lucky[:11]), parameter("0.weight", update=1e-7), optimiser()) == []
    assert causes(loss(lucky[:12]), parameter("0.weight", update=1e-6), optimiser()) == []
    assert causes(loss(lucky), parameter("0.weight", update=1e-6), optimiser()) == ["rate_too_small"]
    assert causes(loss(noisy(np.full(20, 0.3 * LN10))), parameter("0.weight", update=1e-7), optimiser()) == []


def test_a_warm_up_that_takes_for_ever() -> None:
    slow = parameter("0.weight", update=1e-9, growth=100.0)
    assert causes(loss(FLAT[:20]), slow, optimiser()) == ["rate_too_small"]
    assert causes(loss(FLAT[:20]), parameter("0.weight", update=1e-7, growth=100.0), optimiser()) == []


def schedule(numbers: Any) -> Given:
    return {"optimiser": (optimiser()["optimiser"][0], values(numbers))}


def test_a_rate_that_has_become_zero() -> None:
    (finding,) = findings(loss(FLAT[:40]), schedule([0.1, 0.05, *[0.0] * 38]))
    assert (finding.cause_name, finding.severity) == ("no_update", "critical")
    assert "since step 2" in finding.because[0]
    assert causes(loss(FLAT[:40]), schedule([*[0.1] * 32, *[0.0] * 8])) == []  # as a schedule ends
    assert causes(loss(LEARNS), schedule([*[0.1] * 40, *[0.0] * 20])) == []


def test_gradients_that_are_cleared_too_soon_or_never() -> None:
    without = optimiser(without_gradient=["0.weight"], without_gradient_tensors=1)
    weight = parameter("0.weight", gradient=None, update=0.0)
    told = {**CLEARED, "0.weight:grad": "it never had a gradient"}
    (finding,) = findings(loss(FLAT[:12]), weight, without, unseen=told)
    assert (finding.layer, finding.cause_name, finding.severity) == ("loss", "gradients_cleared", "critical")
    (finding,) = findings(loss(LEARNS), parameter("0.weight"), optimiser(), unseen=KEPT)
    assert (finding.layer, finding.cause_name, finding.severity) == ("optimiser", "no_zero_grad", "warning")
    (finding,) = findings(loss(FLAT), parameter("0.weight"), optimiser(), unseen=KEPT)
    assert (finding.layer, finding.severity) == ("optimiser", "serious")
    assert causes(loss(LEARNS), parameter("0.weight"), optimiser()) == []


def test_weights_that_the_model_uses_and_does_not_have() -> None:
    inside = optimiser(elements=3200, strays_tensors=2, strays_elements=30, strays_inside=True)
    (finding,) = findings(loss(LEARNS), inside)
    assert (finding.layer, finding.cause_name, finding.severity) == ("optimiser", "not_in_optimiser", "warning")
    assert causes(loss(LEARNS), optimiser(elements=3200, strays_tensors=2, strays_elements=30)) == []
