"""Momentum that never forgets, weights that are set anew, gradients that no step uses, weights of one sign or zero."""

from typing import Any

import numpy as np
import pytest
from supervised import LN10, Given, layer, loss, noisy, optimiser, parameter, seen
from synthetic import plain

from fastact.diagnosis.finding import Finding

FLAT = noisy(np.full(60, LN10))
HALF = noisy(np.full(60, 0.5 * LN10))
LEARNS = noisy(LN10 * (0.2 + 0.8 * np.exp(-np.arange(60) / 10.0)))
#: It is back at its first value every twenty steps.
LOST = noisy(LN10 * (0.3 + 0.7 * np.exp(-(np.arange(60) % 20) / 5.0)))
THROWN = {"optimiser.backward": "they are cleared"}


def findings(*parts: Given, **more: Any) -> list[Finding]:
    return [f for f in seen(*parts, **more).diagnose().culprits if f.condition == "not_learning"]


def causes(*parts: Given, **more: Any) -> list[str]:
    return [f.cause_name for f in findings(*parts, **more)]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"betas": [0.999, 0.9]}, True),
        ({"beta_1": 0.999, "beta_2": 0.9}, True),
        ({"momentum": 1.0}, True),
        ({"betas": [0.9, 0.999]}, False),
        ({"betas": [0.95, 0.9]}, False),
        ({"betas": [0.0, 0.9]}, False),
        ({"momentum": 0.99}, False),
    ],
)
def test_momentum_that_never_forgets(settings: dict[str, Any], told: bool) -> None:
    there = loss(HALF), parameter("0.weight"), parameter("1.weight")
    assert causes(*there, optimiser(rows=60, **settings)) == ["momentum"] * told
    assert causes(loss(LEARNS), *there[1:], optimiser(rows=60, **settings)) == []


def redrawn(name: str, every: int | None) -> Given:
    """A weight that grows by its updates, and begins again after so many steps."""
    given = parameter(name, rows=60, update=1e-3)
    rows = []
    for step in range(60):
        size = 0.1 + 1e-3 * (step % every if every else step)
        top = 2.0 * size + (0.01 * (step // every) if every else 0.0)
        rows.append(plain(step, count=32, zeros=0, mean=0.0, std=size, min=-top, max=top))
    return given | {name: (given[name][0], rows)}


def test_weights_that_are_set_anew() -> None:
    parts = redrawn("0.weight", 20), redrawn("1.weight", 20), optimiser(rows=60)
    (finding,) = findings(loss(LOST), *parts)
    assert (finding.cause_name, finding.first_step) == ("weights_reset", 20)
    assert "2 times, first in step 20" in finding.because[0]
    assert causes(loss(LEARNS), *parts) == []  # averages over steps, and the like
    assert causes(loss(LOST), redrawn("0.weight", None), redrawn("1.weight", None), optimiser(rows=60)) == []


def test_gradients_that_no_step_uses() -> None:
    (finding,) = findings(loss(LEARNS), parameter("0.weight"), optimiser(), unseen=THROWN)
    assert (finding.cause_name, finding.severity) == ("no_step", "warning")


def sided(low: float, high: float) -> Given:
    given: Given = {}
    for name in ("0", "1"):
        given |= layer(name, [plain(step) for step in range(60)])
        own = parameter(f"{name}.weight", rows=60, layer=name)
        mean, std = (low + high) / 2.0, (high - low) / 12.0**0.5
        moved = [mean + 1e-6 * step for step in range(60)]
        rows = [plain(i, count=32, zeros=0, mean=x, std=std, min=low, max=high) for i, x in enumerate(moved)]
        given |= own | {f"{name}.weight": (own[f"{name}.weight"][0], rows)}
    return given


def test_weights_that_begin_on_one_side_of_zero() -> None:
    (finding,) = findings(loss(FLAT[:30]), sided(0.0, 1.0), optimiser(rows=30))[:1]
    assert finding.cause_name == "one_sided_initialisation"
    assert "one_sided_initialisation" not in causes(loss(FLAT[:30]), sided(-1.0, 1.0), optimiser(rows=30))
    assert "one_sided_initialisation" not in causes(loss(LEARNS), sided(0.0, 1.0), optimiser(rows=60))


def test_weights_that_are_zero_on_both_sides_of_a_product() -> None:
    zero = parameter("a", weight=0.0, gradient=0.0, update=0.0) | parameter("b", weight=0.0, gradient=0.0, update=0.0)
    (finding,) = findings(loss(FLAT[:12]), zero, optimiser())
    assert finding.cause_name == "weights_zero"
    other = parameter("a", gradient=0.0, update=0.0) | parameter("b", gradient=0.0, update=0.0)
    assert causes(loss(FLAT[:12]), other, optimiser()) == ["zero_gradients"]
