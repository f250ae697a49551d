"""Explosion: over steps and over depth, and growth that is none."""

import pytest
from synthetic import Row, found, nothing_finite, only, row, scaled, watch


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
    assert steady.cause_name == at_once.cause_name == "learning_rate"


def test_it_began_where_the_layer_left_its_usual_range() -> None:
    fast = only({"0": ("Linear", scaled(*[2.0**i for i in range(14)]))})
    assert fast.first_step == 4  # sixteen times the first row; three hundred times at step 9
    # What grew long before, and healthily, is not its beginning.
    late = only({"0": ("Linear", scaled(1.0, *[20.0] * 60, *[2000.0] * 10))})
    assert late.first_step == 61


def test_what_is_far_too_large_in_its_first_row_was_never_initialised() -> None:
    end = ("Linear", scaled(*[1.0] * 10))
    for layers in (
        {"0": ("Scorer", scaled(*[1e30] * 10)), "1": end},
        {"input": ("Input", scaled(*[1.0] * 10)), "0": ("Scorer", scaled(*[1e30] * 10)), "1": end},
        {"0": end, "out": ("Scorer", scaled(*[1e30] * 10))},
    ):
        finding = only(layers)
        assert (finding.condition, finding.severity, finding.first_step) == ("exploding", "critical", 0)
        assert finding.cause_name == "uninitialised_memory"
    assert found(watch({"0": ("Linear", scaled(*[2e5] * 10)), "1": end})) == []  # a large input, perhaps


def test_a_recurrent_layer_without_a_bound_explodes_by_itself() -> None:
    rows = [row(s, max=9e3, std=400.0) for s in range(10)]
    end = ("Linear", scaled(*[1.0] * 10))
    finding = only({"rnn": ("RNNReLU", rows), "head": end})
    assert (finding.condition, finding.cause_name) == ("exploding", "recurrent_unbounded")
    assert "orthogonal" in finding.remedies[0]
    assert found(watch({"rnn": ("Linear", rows), "head": end})) == []


def test_data_on_another_scale_is_told_at_the_input() -> None:
    def jump(factor: float) -> list[Row]:
        return scaled(*[1.0] * 10, *[factor] * 10)

    layers = {"input": ("Input", jump(1e4)), "0": ("Linear", jump(1e4)), "1": ("Linear", jump(2e4))}
    (finding,) = watch(layers).diagnose().culprits
    assert (finding.layer, finding.first_step, finding.cause_name) == ("input", 10, "data_changed")
    # With an input that stays as it was, the weights did it.
    still = {**layers, "input": ("Input", scaled(*[1.0] * 20))}
    assert watch(still).diagnose().culprits[0].cause_name == "learning_rate"


def test_an_output_in_large_units_is_healthy_once_it_rests() -> None:
    hidden = ("Linear", scaled(*[1.0] * 24))
    rises = [0.01 * 10.0 ** min(i, 11) for i in range(24)]
    assert found(watch({"0": hidden, "1": ("Linear", scaled(*rises))})) == []
    assert found(watch({"0": hidden, "1": ("Linear", scaled(*[10.0**i for i in range(24)]))})) != []
    # A layer that starts at zero: a head, a residual gate, LoRA's second matrix.
    assert found(watch({"0": ("Linear", scaled(0.0, *[200.0] * 23)), "1": hidden})) == []


def test_layers_that_grow_little_by_little_to_the_scale_of_their_targets_are_healthy() -> None:
    slow = [0.3 * (1.0 + i / 3.0) ** 1.7 for i in range(300)]
    layers = {"0": ("Linear", scaled(*slow)), "1": ("Linear", scaled(*[each * each for each in slow]))}
    assert found(watch(layers)) == []
    assert found(watch({"0": ("Linear", scaled(*slow[::12])), "1": ("Linear", scaled(*[1.0] * 25))})) != []
