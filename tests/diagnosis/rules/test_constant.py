"""Constant outputs: of neurons and of layers, and what is constant by design."""

from typing import Any

import pytest
from synthetic import found, row, watch

from fastact.history import LayerInfo

STEPS = range(30)


def constant(neurons: int, **more: float) -> list[Any]:
    return [row(step, constant_neurons=neurons, **more) for step in STEPS]


def after(signal: str, kind: str, rows: list[Any]) -> dict[str, Any]:
    """A layer after another one whose samples differ or do not."""
    first = [row(step, within_std=0.9 if signal == "differs" else 0.0) for step in STEPS]
    return {"0": ("Linear", first), "1": (kind, rows)}


@pytest.mark.parametrize(("neurons", "severity"), [(31, None), (32, "warning"), (52, "serious"), (64, "critical")])
def test_neurons_that_say_the_same_of_every_sample_are_constant(neurons: int, severity: str | None) -> None:
    assert found(watch(after("differs", "Linear", constant(neurons)))) == (
        [("1", "constant", severity, 0)] if severity else []
    )


def test_what_differs_by_rounding_alone_is_constant_though_the_output_layer() -> None:
    alike = [row(step, within_std=0.5 if step < 9 else 9e-7) for step in STEPS]
    assert found(watch(after("differs", "Linear", alike))) == [("1", "constant", "critical", 9)]
    faint = [row(step, within_std=2e-6) for step in STEPS]
    assert found(watch(after("differs", "Linear", faint))) == []


def test_what_is_constant_by_design_is_healthy() -> None:
    assert found(watch(after("differs", "PositionalEncoding", constant(64)))) == []
    assert found(watch(after("differs", "Softmax", constant(64)))) == []
    assert found(watch(after("differs", "Linear", constant(64, count=64 * 7)))) == []  # few samples
    turned = [row(step, constant_neurons=64 if step >= 9 else 0) for step in STEPS]
    assert found(watch(after("differs", "PositionalEncoding", turned))) == [("1", "constant", "critical", 9)]
    zero = constant(0, mean=0.0, std=0.0, within_std=0.0, zeros=4096)
    assert "constant" not in {condition for _, condition, _, _ in found(watch(after("differs", "Linear", zero)))}


@pytest.mark.parametrize(("rows", "expected"), [(19, []), (20, [("1", "constant", "critical", 10)])])
def test_of_drawn_samples_those_of_two_batches_have_to_be_alike(rows: int, expected: list[Any]) -> None:
    """One sample of a batch that differs is drawn once in a round, late in one and early in the next."""
    drawn = {"count": 64 * 8, "left_out": 64 * 72, "drawn": 8}
    before = [row(step, within_std=0.9, **drawn) for step in range(10)]
    alike = [row(10 + step, within_std=0.0, **drawn) for step in range(rows)]
    layers = {"0": ("Linear", [row(step, within_std=0.9, **drawn) for step in range(10 + rows)])}
    layers |= {"1": ("Linear", before + alike)}
    assert found(watch(layers)) == expected
    if expected:
        (finding,) = watch(layers).diagnose().findings
        assert "the same for every sample (10% of the samples of each step were looked at)" in finding.message


def told(layers: dict[str, Any], **more: Any) -> list[tuple[str, str, str, str | None]]:
    """(layer, condition, name of the cause, consequence of) of each finding."""
    findings = watch(layers, **more).diagnose().findings
    return [(f.layer, f.condition, f.cause_name, f.consequence_of) for f in findings]


ALIKE = {"within_std": 0.0}


def test_one_sample_over_and_over_is_told_at_the_input() -> None:
    layers = {"input": ("Input", constant(60, **ALIKE)), "0": ("Linear", constant(64, **ALIKE))}
    layers |= {"1": ("ReLU", [row(step, dead_neurons=30, within_std=0.0) for step in STEPS])}
    assert told(layers)[0] == ("input", "constant", "inputs_equal", None)
    assert [(layer, condition, why) for layer, condition, _, why in told(layers)[1:]] == [
        ("0", "constant", "input"),
        ("1", "constant", "input"),
    ]


def test_one_sample_over_and_over_is_told_at_the_first_layer_where_the_input_was_not_recorded() -> None:
    layers = {str(i): ("Linear", constant(64, **ALIKE)) for i in range(3)}
    assert told(layers) == [
        ("0", "constant", "inputs_equal", None),
        ("1", "constant", "inputs_equal", "0"),
        ("2", "constant", "inputs_equal", "0"),
    ]
    layers["3"] = ("Linear", [row(step) for step in STEPS])  # something behind it tells samples apart: a mask, a token
    assert told(layers) == []


def test_a_generator_that_is_given_no_noise_is_told_beside_the_discriminator() -> None:
    layers = {f"g.{i}": ("Linear", constant(64, **ALIKE)) for i in range(2)}
    layers |= {f"d.{i}": ("Linear", [row(step) for step in STEPS]) for i in range(2)}
    assert told(layers)[0][:3] == ("g.0", "constant", "inputs_equal")


def test_an_input_that_is_the_same_for_all_samples_beside_one_that_differs_is_healthy() -> None:
    layers = {"input": ("Input", [row(step) for step in STEPS]), "input[1]": ("Input", constant(64, **ALIKE))}
    assert told(layers | {"0": ("Linear", [row(step) for step in STEPS])}) == []


def test_pixels_at_the_borders_of_the_input_are_one_and_the_same_and_harmless() -> None:
    layers = {"input": ("Input", constant(50)), "0": ("Linear", [row(step) for step in STEPS])}
    assert told(layers) == []


def test_images_that_are_all_one_are_known_where_their_places_are_taken_together() -> None:
    differs = [row(step) for step in STEPS]
    layers = {
        "input": ("Input", differs),
        "0": ("Conv2d", differs),
        "1": ("Flatten", constant(64, count=1024, **ALIKE)),
    }
    assert told(layers | {"2": ("Linear", constant(64, count=1024, **ALIKE))}) == [
        ("2", "constant", "inputs_equal", None)
    ]


def test_weights_of_zero_are_the_cause_where_samples_differ_before_the_layer() -> None:
    findings = told(after("differs", "Linear", constant(64, **ALIKE)))
    assert findings == [("1", "constant", "weights_zero", None)]
    activation = told(after("differs", "Tanh", constant(64, **ALIKE)))  # it has no weights, and nothing was updated
    assert activation == [("1", "constant", "", None)]


@pytest.mark.parametrize(
    ("name", "usage", "judged"),
    [
        ("codebook", "", True),
        ("table", "Usage", True),
        ("table", "", False),
        ("codebook", "Vocabulary", True),
        ("table", "Vocabulary", False),
    ],
)
def test_a_table_gives_all_samples_one_row_by_design_unless_a_layer_chose_it(
    name: str, usage: str, judged: bool
) -> None:
    layers = after("differs", "Linear", [row(step) for step in STEPS])
    layers |= {name: ("Embedding", constant(64, **ALIKE)), "2": ("Linear", [row(step) for step in STEPS])}
    if usage:
        layers[f"{name}:usage"] = (usage, [row(step, count=64, min=0.0, max=64.0) for step in STEPS])
    findings = [each for each in told(layers) if each[1] == "constant"]
    assert findings == ([(name, "constant", "codes_never_chosen", None)] if judged else [])


def one(step: int, value: float = 1.0) -> Any:
    return row(step, mean=value, std=0.0, abs_mean=value, min=value, max=value, neurons=1, within_std=0.0, count=64)


def test_a_softmax_over_one_place_is_told_with_proof() -> None:
    layers = {"0": ("Linear", [row(step) for step in STEPS]), "1": ("Softmax", [one(step) for step in STEPS])}
    (finding,) = watch(layers).diagnose().findings
    assert (finding.layer, finding.condition, finding.severity) == ("1", "constant", "critical")
    assert (finding.cause_name, finding.confidence) == ("softmax_of_one", "certain")
    assert finding.message == "1 (Softmax) has been constant since step 0: every output is 1, whatever comes in."
    within = layers | {"2": ("Linear", [row(step) for step in STEPS])}
    assert found(watch(within)) == [("1", "constant", "serious", 0)]
    once_not = [one(step) if step else row(step, mean=0.5, std=0.1, min=0.0, max=1.0) for step in STEPS]
    assert found(watch({"0": layers["0"], "1": ("Softmax", once_not)})) == []
    logs = {"0": layers["0"], "1": ("LogSoftmax", [one(step, 0.0) for step in STEPS])}
    assert [each[2] for each in told(logs)] == ["softmax_of_one"]


def test_attention_to_one_place_is_a_note() -> None:
    layers = {"0": ("Linear", [row(step) for step in STEPS])}
    layers["attn[1]"] = ("MultiheadAttention", [one(step) for step in STEPS])
    diagnosis = watch(layers | {"2": ("Linear", [row(step) for step in STEPS])}).diagnose()
    assert diagnosis.healthy
    assert [note.layers for note in diagnosis.notes] == [("attn[1]",)]


def test_an_output_that_is_sure_of_one_class_for_every_sample() -> None:
    def sure(step: int, within: float) -> Any:
        std = 0.2 if within > 0.01 else 0.3
        return row(step, mean=0.1, std=std, min=0.0, max=1.0, neurons=10, count=640, within_std=within)

    for within, rows, expected in ((1e-4, 20, True), (1e-3, 20, False), (1e-4, 19, False)):
        layers = {"0": ("Linear", [row(step) for step in range(40)])}
        layers["1"] = ("Softmax", [sure(step, 0.3 if step < 40 - rows else within) for step in range(40)])
        wanted = [("1", "constant", "serious", 20)] if expected else []
        assert found(watch(layers)) == wanted


@pytest.mark.parametrize(
    ("size", "kernel", "cause"), [(40.0, 0.1, "inputs_not_normalised"), (1.0, 5.0, "initialisation"), (1.0, 0.1, "")]
)
def test_a_sigmoid_that_is_flat_from_the_start_was_given_far_too_much(size: float, kernel: float, cause: str) -> None:
    given = [row(step, mean=0.0, std=size, min=-3 * size, max=3 * size) for step in STEPS]
    one = {"mean": 1.0, "std": 0.0, "min": 1.0, "max": 1.0, "within_std": 0.0, "neurons": 1, "count": 64}
    flat = [row(step, **one, constant_neurons=1) for step in STEPS]
    diagnoser = watch({"input": ("Input", given), "0": ("Linear", given), "1": ("Sigmoid", flat)})
    info = LayerInfo("0.weight", 9, "Parameter", "float32", facts={"shape": [64, 64], "layer": "0"})
    diagnoser.add(info)
    for step in range(3):
        diagnoser.append(info.name, row(step, mean=0.0, std=kernel, min=-4 * kernel, max=4 * kernel))
    (finding,) = (each for each in diagnoser.diagnose().findings if each.layer == "1")
    assert (finding.condition, finding.first_step, finding.cause_name) == ("constant", 0, cause)


def test_a_constant_layer_follows_from_what_starves_it() -> None:
    dead = [row(step, dead_neurons=64) for step in STEPS]
    layers = {"0": ("Linear", [row(s) for s in STEPS]), "1": ("ReLU", dead), "2": ("BatchNorm1d", constant(64))}
    findings = watch(layers | {"3": ("Linear", constant(64))}).diagnose().findings
    assert [(f.layer, f.condition, f.consequence_of) for f in findings] == [
        ("1", "dead", None),
        ("2", "constant", "1"),
        ("3", "constant", "1"),
    ]


def normalising(layer_type: str, **numbers: float) -> dict[str, Any]:
    """A normalisation that puts out zeros, and its shift from the first update on."""
    rows = [row(step, within_std=0.0, std=0.0, mean=0.1 * (step > 0), **numbers) for step in STEPS]
    return {"0": ("Linear", [row(step, neurons=8, count=512) for step in STEPS]), "norm": (layer_type, rows)}


@pytest.mark.parametrize(
    ("layers", "cause"),
    [
        (normalising("LayerNorm", neurons=1, count=64, constant_neurons=1), "norm_of_one_element"),
        (normalising("InstanceNorm2d", neurons=8, count=512, constant_neurons=8), "norm_of_one_element"),
        (normalising("InstanceNorm2d", neurons=8, count=5120, constant_neurons=8), "weights_zero"),
        (normalising("BatchNorm1d", neurons=8, count=512, constant_neurons=8), "weights_zero"),
    ],
)
def test_a_normalisation_over_one_element_is_told_from_one_without_a_scale(layers: dict[str, Any], cause: str) -> None:
    assert told(layers)[0] == ("norm", "constant", cause, None)
    assert watch(layers).diagnose().findings[0].first_step == 0


def test_two_samples_that_are_always_the_same_are_found_over_many_rows() -> None:
    rows = [row(step, count=128, constant_neurons=64, within_std=0.0) for step in range(60)]
    layers = {"input": ("Input", rows), "0": ("Linear", rows)}
    assert told(layers)[0] == ("input", "constant", "inputs_equal", None)
    assert told({name: (kind, each[:39]) for name, (kind, each) in layers.items()}) == []
    bounds = [row(step, count=128, constant_neurons=64) for step in range(60)]  # a chance of two samples at the bounds
    assert told({"0": ("Linear", [row(step, count=128) for step in range(60)]), "1": ("Hardtanh", bounds)}) == []


@pytest.mark.parametrize(("size", "cause"), [(3e-8, "inputs_not_normalised"), (0.3, "weights_zero")])
def test_inputs_that_are_too_small_are_no_zero_weights(size: float, cause: str) -> None:
    small = [row(step, mean=0.0, std=size, within_std=size, min=-3 * size, max=3 * size) for step in STEPS]
    assert told({"input": ("Input", small), "0": ("Linear", constant(64, **ALIKE))})[0][2] == cause


def choosing_one(**numbers: float) -> list[Any]:
    return [row(step, neurons=4, count=256, mean=0.25, std=0.4330127, min=0.0, max=1.0, **numbers) for step in STEPS]


def test_a_router_that_chooses_one_expert_for_every_sample_is_constant() -> None:
    linear = ("Linear", [row(step) for step in STEPS])
    layers = {"moe.router": linear, "moe.softmax": ("Softmax", choosing_one(within_std=1e-6))}
    experts = {f"moe.experts.{i}": linear for i in range(4)}
    assert told(layers | experts)[0] == ("moe.softmax", "constant", "router", None)
    assert "constant" not in {each[1] for each in told(layers | {"1": linear})}  # attention to one place
    turns = {**layers, "moe.softmax": ("Softmax", choosing_one(within_std=0.1))}
    assert told(turns | experts) == [("moe.softmax", "collapsed", "router", None)]


def test_what_comes_after_a_choice_of_codes_waits_for_their_counts() -> None:
    alike = [row(step, within_std=0.9 if step < 9 else 0.0) for step in STEPS]
    differs = [row(step) for step in STEPS]
    layers = {"0": ("Linear", differs), "codes": ("Embedding", differs), "2": ("Linear", alike)}
    layers["codes:usage"] = ("Usage", [row(step, count=64, min=0.0, max=64.0) for step in STEPS])
    assert told({name: (kind, rows[:28]) for name, (kind, rows) in layers.items()}) == []
    assert told(layers)[0][:2] == ("2", "constant")


def test_a_gate_that_is_always_one_kills_no_expert() -> None:
    ones = [row(step, neurons=1, count=64, mean=1.0, std=0.0, within_std=0.0, min=1.0, max=1.0) for step in range(60)]
    dead = [row(step, dead_neurons=64 * (step > 49), silent_neurons=64 * (step > 30)) for step in range(60)]
    layers = {"gate": ("Softmax", ones), "up": ("Linear", [row(step) for step in range(60)]), "act": ("ReLU", dead)}
    culprits = [(layer, condition) for layer, condition, _, why in told(layers) if why is None]
    assert culprits == [("gate", "constant"), ("act", "dead")]


@pytest.mark.parametrize(("later", "told"), [(1.0, False), (0.0, True)])
@pytest.mark.parametrize("std", [0.0, 1.0])
def test_an_initial_state_is_the_same_for_all_samples(later: float, told: bool, std: float) -> None:
    """A recurrence sees zeros first: biases are left, or nothing. Where later calls are alike, it is sick."""
    numbers = {"mean": 0.0, "zeros": 4096, "silent_neurons": 64, "dead_neurons": 64} if std == 0.0 else {"mean": 0.0}
    layers: dict[str, Any] = {
        "input": ("Input", [row(s) for s in range(40)]),
        "again": ("Linear", [row(s, std=std, within_std=0.0, **numbers) for s in range(40)]),
        "again:2": ("Linear", [row(s, within_std=later) for s in range(40)]),
        "out": ("Linear", [row(s) for s in range(40)]),
    }
    assert ("again" in {f.layer for f in watch(layers).diagnose().findings}) is told


@pytest.mark.parametrize(("unused", "cause"), [(63, "inputs_constant"), (62, "weights_zero")])
def test_an_output_that_is_the_same_as_one_symbol_alone_is_looked_up(unused: int, cause: str) -> None:
    lookups = [row(step, count=64, zeros=unused, neurons=64) for step in STEPS]
    layers = after("differs", "Linear", constant(64, within_std=0.0)) | {"embed:usage": ("Vocabulary", lookups)}
    (finding,) = (each for each in watch(layers).diagnose().findings if each.condition == "constant")
    assert finding.cause_name == cause
