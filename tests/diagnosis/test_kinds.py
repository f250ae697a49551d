"""Kinds of faults that take several layers, or the loss, to be told right: each as a network of few rows."""

import math
from dataclasses import replace

import pytest
from supervised import Given, layer, loss, seen
from synthetic import Row, nothing_finite, row, scaled

from fastact.diagnosis.finding import Finding


def first(*parts: Given) -> Finding:
    """The first finding."""
    return seen(*parts).diagnose().findings[0]


def told(*parts: Given) -> list[tuple[str, str, str]]:
    """Layer, condition and cause of each culprit."""
    findings = seen(*parts).diagnose().findings
    return [(each.layer, each.condition, each.cause_name) for each in findings if each.consequence_of is None]


def given(rows: int = 10, **numbers: float) -> Given:
    """The model's input."""
    return layer("input", [row(step, **numbers) for step in range(rows)], "Input")


def tail(rows: list[Row]) -> Given:
    """An output that tells samples apart no more than what it is given."""
    return layer("out", rows)


def alike(share: float, rows: int = 120, **numbers: float) -> list[Row]:
    """Rows of which so much of what elements differ by lies between samples."""
    return [row(step, std=1.0, within_std=share, **numbers) for step in range(rows)]


def hidden(rows: int = 120) -> Given:
    """A healthy layer."""
    return layer("fc", [row(step) for step in range(rows)])


@pytest.mark.parametrize("layer_type", ["GroupNorm", "InstanceNorm1d"])
def test_a_norm_over_one_element_loses_the_samples_by_itself(layer_type: str) -> None:
    nothing = [row(step, mean=0.0, std=4e-6, within_std=4e-6) for step in range(10)]
    lost = first(
        given(), layer("fc", [row(s) for s in range(10)]), layer("norm", nothing, layer_type, "fc"), tail(nothing)
    )
    assert (lost.layer, lost.cause_name) == ("norm", "norm_of_one_element")


def test_a_group_norm_whose_outputs_are_not_rounding_is_no_norm_of_one_element() -> None:
    small = [row(step, mean=0.0, std=0.004, within_std=4e-4) for step in range(10)]
    lost = first(
        given(), layer("fc", [row(s) for s in range(10)]), layer("norm", small, "GroupNorm", "fc"), tail(small)
    )
    assert (lost.layer, lost.cause_name) == ("norm", "depth")


def test_a_layer_of_zeros_has_weights_of_zero_before_its_neurons_count_as_dead() -> None:
    zero = {"mean": 0.0, "std": 0.0, "within_std": 0.0, "min": 0.0, "max": 0.0, "count": 128, "neurons": 4}
    rows = [row(step, **zero, zeros=128, silent_neurons=4) for step in range(6)]
    lost = first(given(6), layer("fc", rows, "Linear", "input"), tail(rows))
    assert (lost.condition, lost.cause_name) == ("vanishing", "weights_zero")


def spoilt(name: str, before: Row, at: Row) -> Given:
    """A layer that is as usual, then other, then NaN."""
    usual = [(step, *before[1:]) for step in range(30)]
    return layer(name, [*usual, (30, *at[1:]), nothing_finite(31)])


def test_a_logarithm_of_a_variance_that_went_far_below_zero_is_told_before_the_nan() -> None:
    usual = row(0, mean=0.0, std=0.5, min=-1.0, max=1.0)
    parts = spoilt("spread", usual, row(0, mean=-120.0, std=0.5, min=-121.0, max=-119.0))
    culprit, *rest = told(given(32), spoilt("trunk", row(0), row(0)), parts)
    assert culprit == ("spread", "exploding", "log_variance")
    assert not rest


def test_what_is_as_large_below_zero_as_above_has_no_such_exponential() -> None:
    usual = row(0, mean=0.0, std=0.5, min=-1.0, max=1.0)
    parts = spoilt("fc", usual, row(0, mean=-1.0, std=60.0, min=-121.0, max=70.0))
    assert ("fc", "exploding", "log_variance") not in told(given(32), spoilt("trunk", row(0), row(0)), parts)


@pytest.mark.parametrize(("grown", "expected"), [(math.exp(30.0), True), (math.exp(12.0), False)])
def test_a_scale_without_a_bound_is_known_by_what_grew_by_its_exponential(grown: float, expected: bool) -> None:
    usual = row(0, mean=0.0, std=0.5, min=-1.0, max=1.0)
    jumped = spoilt("scale", usual, row(0, mean=29.5, std=0.5, min=28.0, max=30.0))
    large = spoilt("next", row(0), row(0, mean=0.0, std=grown, min=-3.0 * grown, max=3.0 * grown))
    assert (told(given(32), jumped, large)[0] == ("scale", "exploding", "log_variance")) is expected


def scaled_at(name: str, before: float, after: float, layer_type: str = "Linear", source: str = "") -> Given:
    """A layer whose scale changes at step 40."""
    return layer(name, scaled(*[before] * 40, *[after] * 20), layer_type, source)


def agent(by: float) -> list[Given]:
    """A policy whose last layer becomes `by` times as large, and whose observations follow."""
    parts = [scaled_at("input", 0.5, 5.0, "Input"), scaled_at("see", 0.5, 5.0, source="input")]
    return [*parts, scaled_at("unit", 0.4, 0.8, "Tanh", "see"), scaled_at("act", 0.5, 0.5 * by, source="unit")]


def test_an_agents_last_layer_that_changed_by_itself_explains_what_it_sees() -> None:
    assert told(*agent(60.0)) == [("act", "drifting", "weights_replaced")]


def test_a_last_layer_that_changed_as_what_it_is_given_follows_from_the_data() -> None:
    assert told(*agent(8.0)) == [("input", "drifting", "data_changed")]


def test_where_targets_are_known_what_comes_in_is_data() -> None:
    culprits = told(*agent(60.0), loss([1.0] * 60))
    assert ("input", "drifting", "data_changed") in culprits


def blank(steps: range) -> list[Row]:
    """Rows of an input that is zero, of one sample."""
    one = {"count": 8, "neurons": 8, "within_std": 0.0}
    zero = {"zeros": 8, "mean": 0.0, "std": 0.0, "min": 0.0, "max": 0.0}
    return [row(step, **one, **(zero if step in steps else {})) for step in range(60)]


def test_data_that_became_zero_is_constant_whatever_the_batch() -> None:
    finding = first(layer("input", blank(range(50, 60)), "Input"))
    assert (finding.condition, finding.severity, finding.first_step) == ("constant", "critical", 50)
    assert finding.cause_name == "inputs_zero"


@pytest.mark.parametrize("zeros", [range(57, 60), range(60), range(20, 30)])
def test_a_few_rows_of_zeros_or_nothing_else_ever_are_no_change(zeros: range) -> None:
    assert not told(layer("input", blank(zeros), "Input"))


def test_one_of_several_inputs_that_is_zero_may_be_a_mask() -> None:
    mask = layer("input[1]", blank(range(50, 60)), "Input")
    assert not told(given(60), mask)


def features(active: float, rows: int, dead: int = 0, start: float = 64.0) -> list[Row]:
    """Rows of 128 features of 100 samples, of which so many are on for one."""
    known = {"count": 12800, "neurons": 128, "min": 0.0}
    share = [start if step < 5 else active for step in range(rows)]
    return [
        row(s, **known, zeros=round(12800 - 100 * on), dead_neurons=dead if s > 30 else 0, silent_neurons=60)
        for s, on in enumerate(share)
    ]


def test_features_of_which_hardly_any_is_on_for_a_sample_were_punished_too_much() -> None:
    finding = first(given(80), layer("act", features(1.2, 80), "ReLU"))
    assert (finding.layer, finding.condition, finding.cause_name) == ("act", "dead", "sparsity_penalty")
    assert finding.first_step == 5


@pytest.mark.parametrize(("active", "rows", "start"), [(8.0, 80, 64.0), (1.2, 30, 64.0), (1.2, 80, 10.0)])
def test_sparse_features_that_are_on_or_were_few_are_healthy(active: float, rows: int, start: float) -> None:
    assert not told(given(rows), layer("act", features(active, rows, start=start), "ReLU"))


def posterior(mean: float, log_variance: float, rows: int = 110, behind: float = 0.6) -> list[Given]:
    """A trunk, two heads of 6 latents each, and a decoder that is given a sample of them."""
    few = {"count": 192, "neurons": 6}
    heads = [
        layer(name, [row(s, **few, mean=level, std=0.3, within_std=0.3) for s in range(rows)], "Linear", "trunk")
        for name, level in (("centre", mean), ("spread", log_variance))
    ]
    decoder = layer("decode", [row(s, std=behind, within_std=behind) for s in range(rows)])
    return [given(rows), layer("trunk", [row(s) for s in range(rows)], "Linear", "input"), *heads, decoder]


def test_heads_that_say_less_than_a_nat_all_together_are_a_collapsed_posterior() -> None:
    parts = posterior(0.1, -0.1, behind=1.2)
    assert told(*parts) == [("centre", "vanishing", "posterior_collapse")]


@pytest.mark.parametrize(
    "parts", [posterior(0.1, -0.6, behind=1.2), posterior(0.1, -0.1, 60, 1.2), posterior(0.1, -0.1, behind=0.5)]
)
def test_heads_that_say_more_or_may_yet_or_are_no_posterior_are_healthy(parts: list[Given]) -> None:
    assert not told(*parts)


def recurrent(state: float, share: float, learned: bool = False) -> list[Given]:
    """An LSTM with its outputs and its cell states, before an output that has not learned."""
    rows = 40
    ends = [row(s, count=40960, saturated=round(40960 * share), std=0.4, mean=0.0, min=-1.0, max=1.0,
                typical_peak=0.9) for s in range(rows)]  # fmt: skip
    states = layer("lstm[1][1]", scaled(*[state] * rows), "LSTMState")
    out = layer("out", [row(s, mean=0.0, std=0.3, within_std=0.3) for s in range(rows)])
    return [given(rows), layer("lstm[0]", ends, "LSTM"), states, out, loss([0.5 if learned else 2.3] * rows)]


def test_cell_states_that_no_gate_forgets_make_a_few_outputs_at_their_ends_a_finding() -> None:
    assert ("lstm[0]", "saturated", "initialisation") in told(*recurrent(2.0, 0.006))


@pytest.mark.parametrize("parts", [recurrent(0.4, 0.006), recurrent(2.0, 0.001), recurrent(2.0, 0.006, learned=True)])
def test_small_states_few_ends_and_what_has_learned_are_none(parts: list[Given]) -> None:
    assert "saturated" not in [condition for _, condition, _ in told(*parts)]


def twins(
    share: float, left: float, at_first: float = 0.3, names: tuple[str, str] = ("online", "target")
) -> list[Given]:
    """Two networks of three layers, and a loss that falls to a share of its first value."""
    parts = []
    for name in names:
        parts += [layer(f"{name}.{part}", [row(s) for s in range(120)]) for part in ("conv", "fc")]
        parts.append(layer(f"{name}.out", [*alike(at_first, 1), *alike(share)[1:]]))
    return [*parts, loss([1.0 - (1.0 - left) * s / 119 for s in range(120)], None, function="")]


def test_two_networks_that_agree_while_their_samples_stay_alike_have_collapsed() -> None:
    assert told(*twins(0.32, 0.2)) == [("online.out", "collapsed", "representation_collapse")]


@pytest.mark.parametrize(
    "parts",
    [twins(0.5, 0.2), twins(0.32, 0.8), twins(0.39, 0.2, 0.2), [*twins(0.32, 0.2), hidden(), loss([1.0] * 120)]],
)
def test_two_networks_that_come_apart_or_do_not_agree_or_have_targets_are_healthy(parts: list[Given]) -> None:
    assert not [each for each in told(*parts) if each[1] == "collapsed"]


def test_all_layers_that_shrink_while_samples_become_alike_decay() -> None:
    def shrinking(share: float) -> list[Row]:
        return [row(s, mean=0.0, std=2.0 ** (-s / 33), within_std=2.0 ** (-s / 33) * max(share, 0.9 * 2.0 ** (-s / 5)))
                for s in range(42)]  # fmt: skip

    parts = [layer(f"fc{i}", shrinking(share), "Linear") for i, share in enumerate((0.9, 0.5, 0.115, 0.115))]
    assert ("fc2", "collapsed", "weight_decay") in told(given(42), *parts)


def coming_alike(loss_now: float) -> list[Given]:
    """A network whose samples come to be partly alike, by rows 30 to 60, and its loss."""
    rows = [*alike(0.9, 1), *[row(s, std=1.5, within_std=0.15) for s in range(1, 60)]]
    falling = [2.6 - (2.6 - loss_now) * min(s / 30, 1.0) for s in range(60)]
    return [given(60), layer("fc1", [row(s) for s in range(60)]), layer("fc2", rows), layer("out", rows), loss(falling)]


@pytest.mark.parametrize(("loss_now", "expected"), [(2.3, True), (1.6, False)])
def test_samples_that_are_partly_alike_are_a_finding_where_nothing_is_learned(loss_now: float, expected: bool) -> None:
    assert (("fc2", "collapsed") in [each[:2] for each in told(*coming_alike(loss_now))]) is expected


def attention(scale: float, size: float = 1.0) -> list[Given]:
    """Attention that is called as a function with a scale of its own."""
    made = layer("qkv", scaled(*[size] * 10), "Linear", "input")
    weighed = layer("attend", scaled(*[size] * 10), "ScaledDotProductAttention", "qkv", scale=scale, features=16)
    return [given(), made, weighed, layer("out", [row(s) for s in range(10)])]


@pytest.mark.parametrize(("scale", "size", "expected"), [(4.0, 1.0, True), (0.25, 3.0, False), (4.0, 0.3, False)])
def test_attention_with_a_scale_that_is_too_large_for_its_scores(scale: float, size: float, expected: bool) -> None:
    assert (("attend", "collapsed", "attention_scale") in told(*attention(scale, size))) is expected


def in_order(classes: list[int], mixed: int = 0, count: int = 32) -> list[tuple[str, str, str]]:
    """The culprits of a classifier whose batches are of these classes, the first few mixed."""
    facts = {"shape": [count], "dtype": "int64", "whole": True, "distinct": [0, 1, 2]}
    rows = [
        row(s, count=count, neurons=0, min=0.0 if s < mixed else each, max=2.0 if s < mixed else each, mean=each,
            std=0.8 if s < mixed else 0.0)
        for s, each in enumerate(classes)
    ]  # fmt: skip
    prediction = {"shape": [count, 3], "units": 3, "sums_to_one": False, "exp_sums_to_one": False}
    own = loss([1.0] * len(classes), 1.0986, batch=count)
    info = replace(own["loss"][0], source="out", facts={**own["loss"][0].facts, "prediction": prediction})
    own["loss"] = info, own["loss"][1]
    own["loss:target"] = replace(own["loss:target"][0], facts=facts), rows
    out = layer("out", [row(s, count=3 * count, neurons=3) for s in range(len(classes))])
    return [each for each in told(given(len(classes)), out, own) if each[1] == "output_mismatch"]


def test_batches_that_are_sorted_by_class_are_told() -> None:
    assert in_order([0] * 12 + [1] * 12 + [2] * 12) == [("out", "output_mismatch", "sorted_by_class")]


@pytest.mark.parametrize(
    ("classes", "mixed"), [([0, 1] * 18, 0), ([0] * 12 + [1] * 12 + [2] * 12, 26), ([0, 1] * 8, 0)]
)
def test_batches_of_several_classes_or_that_take_turns_or_are_few_are_none(classes: list[int], mixed: int) -> None:
    assert not in_order(classes, mixed)


def test_batches_of_three_may_be_of_one_class_by_chance() -> None:
    assert not in_order([0] * 12 + [1] * 12 + [2] * 12, count=3)


def scored(now: float, unit: str = "ReLU", rows: int = 30) -> list[str]:
    """The severities of what is told of a classifier whose scores are cut before its softmax, at this loss."""
    prediction = {"shape": [32, 3], "units": 3, "sums_to_one": True, "exp_sums_to_one": False}
    own = loss([1.1] * 5 + [now] * (rows - 5), 1.0986, function="categorical_cross_entropy", batch=32)
    own["loss"] = (
        replace(own["loss"][0], source="soft", facts={**own["loss"][0].facts, "prediction": prediction}),
        (own["loss"][1]),
    )
    three = {"count": 96, "neurons": 3, "min": 0.0}
    parts = layer("fc", [row(s, count=96, neurons=3) for s in range(rows)], "Linear", "input")
    cut = layer("cut", [row(s, **three) for s in range(rows)], unit, "fc")
    soft = layer("soft", [row(s, **three, max=1.0, mean=1 / 3, std=0.2) for s in range(rows)], "Softmax", "cut")
    findings = seen(given(rows), parts, cut, soft, own).diagnose().findings
    return [each.severity for each in findings if each.cause_name == "relu_output"]


def test_a_relu_before_a_softmax_is_told_where_nothing_was_learned() -> None:
    assert scored(1.09) == ["warning"]
    assert not scored(0.3)
    assert not scored(1.09, "GELU")


def sequences(samples: int, steps: int, states: int, targets: dict[str, float] | None = None) -> list[str]:
    """What is told of an LSTM over so many samples and steps that ends with so many states."""
    targets = {"mean": 1.0, "std": 0.8, "max": 2.0} if targets is None else targets
    prediction = {"shape": [samples, 3], "units": 3, "sums_to_one": False, "exp_sums_to_one": False}
    own = loss([1.0] * 10, 1.0986, batch=samples, targets=targets)
    own["loss"] = (
        replace(own["loss"][0], source="out", facts={**own["loss"][0].facts, "prediction": prediction}),
        (own["loss"][1]),
    )
    rows = {
        "lstm[0]": (samples * steps * 16, 16, "LSTM"), "lstm[1][0]": (states * 16, 16, "LSTM"),
        "out": (samples * 3, 3, "Linear")
    }  # fmt: skip
    parts = [
        layer(name, [row(s, count=count, neurons=neurons, min=-0.9, max=0.9) for s in range(10)], layer_type)
        for name, (count, neurons, layer_type) in rows.items()
    ]
    return [each for _, _, each in told(given(), *parts, own) if each == "batch_axis"]


def test_a_recurrence_over_the_samples_of_a_batch_is_told_by_its_last_states() -> None:
    assert sequences(32, 20, 20) == ["batch_axis"]


@pytest.mark.parametrize(("samples", "steps", "states"), [(32, 20, 32), (32, 32, 32), (32, 20, 64), (1, 20, 20)])
def test_a_recurrence_over_steps_ends_with_a_state_for_each_sample(samples: int, steps: int, states: int) -> None:
    assert not sequences(samples, steps, states)


def test_without_targets_no_axis_is_known_to_be_that_of_the_samples() -> None:
    assert not sequences(32, 20, 20, targets={})


def exploding_at_once(last: float, when: int = 1) -> str:
    """The cause of an explosion in the second row of a network of four layers, the last one so large at first."""
    parts = [layer("input", scaled(*[1.0] * 10), "Input")]
    for i, size in enumerate((1.0, last**0.5, last, last)):
        parts.append(layer(f"fc{i}", scaled(*[size] * when, *[size * 1e8] * (10 - when)), "Linear"))
    return first(*parts, layer("out", [row(s) for s in range(10)])).cause_name


def test_layers_that_multiply_from_the_first_row_on_explode_by_their_initialisation() -> None:
    assert exploding_at_once(60.0) == "initialisation"
    assert exploding_at_once(3.0) == "learning_rate"
    assert exploding_at_once(60.0, when=8) == "learning_rate"


def test_float16_that_overflows_with_other_data_is_the_datas_doing() -> None:
    before = [row(s, mean=0.0, std=1.0, min=-3.0, max=3.0) for s in range(30)]
    large = [row(s, mean=0.0, std=3e4, min=-6e4, max=6e4) for s in range(30, 32)]
    broken = [row(s, nans=9, pos_infs=9) for s in range(30, 32)]
    info, rows = layer("fc", [*before, *broken], "Linear", "input")["fc"]
    parts = layer("input", [*before, *large], "Input"), {"fc": (replace(info, dtype="float16"), rows)}
    causes = {
        each.layer: each.cause_name for each in seen(*parts).diagnose().findings if each.condition == "non_finite"
    }
    assert causes == {"fc": "data_changed"}
