"""What the rows say of the input, of the gradients and of layers that left their usual range."""

import math

from synthetic import Row, nothing_finite, row, scaled, watch

from fastact.diagnosis.evidence import facts
from fastact.diagnosis.network import Network


def network(layers: dict[str, tuple[str, list[Row]]]) -> Network:
    views = watch(layers).views().values()
    shown = [view for view in views if view.info.layer_type != "Gradient"]
    return Network(shown, recent_rows=10, min_samples=1, everything={view.info.name: view for view in views})


def test_without_a_recorded_input_nothing_is_said_of_it() -> None:
    seen = network({"fc": ("Linear", scaled(*[1.0] * 10))})
    assert facts.input_scale(seen) is None
    for said in (facts.inputs_not_normalised, facts.inputs_equal, facts.inputs_zero):
        assert said(seen) == facts.For()


def test_pixels_up_to_255_are_not_normalised_and_pixels_up_to_1_are() -> None:
    for top, normalised in ((255.0, False), (1.0, True)):
        rows = [row(s, min=0.0, max=top, mean=0.3 * top, std=0.35 * top, within_std=0.3 * top) for s in range(10)]
        seen = network({"input": ("Input", rows), "fc": ("Linear", scaled(*[1.0] * 10))})
        scale = facts.input_scale(seen)
        assert scale is not None
        assert (scale.normalised, scale.large, scale.largest) == (normalised, not normalised, top)
        said = facts.inputs_not_normalised(seen)
        assert bool(said.refuted_by) is normalised
        assert ("reaches 255" in "".join(said.speaks_for)) is not normalised


def test_an_input_of_equal_samples_is_told_from_one_of_zeros() -> None:
    equal = [row(s, within_std=0.0) for s in range(10)]
    zeros = [row(s, within_std=0.0, zeros=4096, mean=0.0, std=0.0, min=0.0, max=0.0) for s in range(10)]
    assert facts.inputs_equal(network({"input": ("Input", equal)})).speaks_for
    assert facts.inputs_zero(network({"input": ("Input", equal)})).refuted_by
    assert facts.inputs_zero(network({"input": ("Input", zeros)})).speaks_for


def test_a_jump_of_the_input_is_dated_only_if_it_stays() -> None:
    for scales, at in (
        ([1.0] * 7 + [200.0] * 5, 7),
        ([200.0] * 5 + [1.0] * 5, 5),
        ([1.0] * 7 + [200.0] + [1.0] * 4, None),
        ([1.0, 200.0] * 6, None),
        ([1.2**i for i in range(40)], None),
    ):
        seen = network({"input": ("Input", scaled(*scales))})
        scale = facts.input_scale(seen)
        assert scale is not None
        assert scale.changed_at == at
        assert bool(facts.data_changed(seen, 7).speaks_for) is (at == 7)


def test_gradients_are_finite_up_to_the_step_in_which_one_was_not() -> None:
    seen = network(
        {
            "fc": ("Linear", scaled(*[1.0] * 5)),
            "fc:grad": ("Gradient", [row(s, nans=s == 3) for s in range(5)]),
        }
    )
    known = facts.gradients(seen)
    assert [known.finite_before(step) for step in (0, 1, 3, 4)] == [None, True, True, False]
    assert facts.gradients(network({"fc": ("Linear", scaled(1.0))})).finite_before(9) is None


def test_a_layer_left_its_range_when_it_grew_tenfold_and_did_not_come_back() -> None:
    def tops(*values: float) -> tuple[str, list[Row]]:
        return "Linear", [
            row(s, min=-v, max=v) if math.isfinite(v) else nothing_finite(s) for s, v in enumerate(values)
        ]

    seen = network(
        {
            "grew": tops(1, 1, 1, 2, 30, 100, math.nan),
            "back": tops(1, 1, 1, 2, 30, 1, 1),
            "large": tops(900, 900, 900, 800, 900, 900, 900),
            "broke": tops(1, 1, 1, 1, 1, 1, math.nan),
        }
    )
    assert facts.left_range(seen) == {"grew": 4}
