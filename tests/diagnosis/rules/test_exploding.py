"""Explosion: over steps and over depth, and growth that is none."""

import pytest
from synthetic import found, nothing_finite, only, scaled, watch


def test_explosion_is_found_in_five_rows_and_survives_nan() -> None:
    rows = [*scaled(1.0, 30.0, 1e5, 1e12), nothing_finite(4)]
    findings = watch({"0": ("Linear", rows)}).diagnose().findings
    assert [(f.condition, f.first_step, f.consequence_of) for f in findings] == [
        ("exploding", 1, None),
        ("non_finite", 4, "0"),
    ]
    assert findings[0].evidence["growth"] == 1e12
    later = rows + [nothing_finite(step) for step in range(5, 300)]
    assert [f.first_step for f in watch({"0": ("Linear", later)}).diagnose().findings] == [1, 4]


@pytest.mark.parametrize(
    "scales",
    [
        [0.1 * 1.05**i for i in range(110)],  # logits that grow 200 times
        [*[1.0] * 20, 1e9, *[1.0] * 20],  # one odd batch
        [*[1.0] * 20, 1e9],  # one odd batch, so far
        [2e4] * 20,  # inputs that nobody normalised
        [1e-9, *[0.5] * 20],  # a branch that starts at zero
    ],
)
def test_growth_that_is_no_explosion(scales: list[float]) -> None:
    assert found(watch({"0": ("Linear", scaled(*scales)), "1": ("Linear", scaled(*[1.0] * len(scales)))})) == []


def test_the_output_may_follow_the_scale_of_the_targets() -> None:
    hidden = ("Linear", scaled(*[1.0] * 12))
    regression = scaled(0.1, 1.0, 1e2, *[1e4] * 9)
    assert found(watch({"0": hidden, "1": ("Linear", regression)})) == []
    assert found(watch({"0": ("Linear", regression), "1": hidden})) != []


def test_explosion_over_depth() -> None:
    layers = {str(i): ("Linear", scaled(*[10.0**i] * 10)) for i in range(8)}
    findings = watch(layers).diagnose().findings
    assert [(f.layer, f.condition, f.consequence_of) for f in findings] == [
        ("4", "exploding", None),
        ("5", "exploding", "4"),
        ("6", "exploding", "4"),
        ("7", "exploding", "4"),
    ]
    assert findings[0].evidence["growth_per_layer"] == pytest.approx(10.0)
    assert "initialis" in findings[0].remedies[0]


def test_growth_is_measured_from_the_first_finite_row() -> None:
    rows = [nothing_finite(0), *scaled(500.0, *[5000.0] * 9, first=1)]
    assert {f.condition for f in watch({"0": ("Linear", rows)}).diagnose().findings} == {"non_finite"}


@pytest.mark.parametrize(
    ("top", "severity"), [(290.0, None), (310.0, "warning"), (1100.0, "serious"), (1.1e6, "critical")]
)
def test_an_explosion_gets_graver_as_it_grows(top: float, severity: str | None) -> None:
    layers = {"0": ("Linear", scaled(*[1.0] * 5, *[top] * 5)), "1": ("Linear", scaled(*[1.0] * 10))}
    assert found(watch(layers)) == ([("0", "exploding", severity, 5)] if severity else [])


def test_an_explosion_of_one_step_is_told_from_one_that_grew() -> None:
    steady = only({"0": ("Linear", scaled(*[1.5**i for i in range(20)]))})
    at_once = only({"0": ("Linear", scaled(*[1.0] * 10, *[5e3] * 10))})
    assert "with every update" in steady.cause
    assert "in one step" in at_once.cause
    assert "look at what changed" in at_once.remedies[-1]
