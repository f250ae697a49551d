"""Why neurons died: what the rows refute is never told, and what they speak for is."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from supervised import layer as linear
from supervised import loss, noisy, parameter, seen, values
from synthetic import row, watch

from fastact.diagnosis.finding import Finding
from fastact.history import LayerInfo


def dead(since: int = 0, **numbers: float) -> tuple[str, list[Any]]:
    rows = [row(step, zeros=4096, silent_neurons=64, mean=0.0, std=0.0, within_std=0.0) for step in range(since, 60)]
    return "ReLU", [row(step) for step in range(since)] + rows


def layer(layer_type: str = "Linear", **numbers: float) -> tuple[str, list[Any]]:
    return layer_type, [row(step, **numbers) for step in range(60)]


def finding(layers: Any, name: str = "act") -> Finding:
    diagnosis = watch(layers).diagnose()
    (found,) = (each for each in diagnosis.findings if each.condition == "dead" and each.layer == name)
    return found


LARGE = layer("Input", mean=120.0, std=80.0, within_std=80.0, min=0.0, max=255.0)
NORMAL = layer("Input", mean=0.0, std=1.0)
BELOW = layer(mean=-10.0, max=-7.0, min=-13.0)


@pytest.mark.parametrize(
    ("layers", "cause"),
    [
        ({"fc": layer(), "act": dead()}, "initialisation"),
        ({"fc": layer(), "act": dead(30)}, "learning_rate"),
        ({"fc": BELOW, "act": dead()}, "initialisation"),
        ({"input": LARGE, "fc": layer(), "act": dead()}, "inputs_not_normalised"),
        ({"input": LARGE, "fc": layer(), "act": dead(30)}, "inputs_not_normalised"),
        ({"input": LARGE, "bn": layer("BatchNorm1d"), "fc": layer(), "act": dead(30)}, "learning_rate"),
        ({"input": NORMAL, "fc": layer(), "act": dead(30)}, "learning_rate"),
        ({"fc": layer(within_std=60.0, std=60.0), "act": dead()}, "inputs_not_normalised"),
        ({"input": NORMAL, "fc": layer(within_std=60.0, std=60.0), "act": dead()}, "initialisation"),
    ],
)
def test_the_cause_of_dead_activations(layers: Any, cause: str) -> None:
    assert finding({**layers, "out": layer()}).cause_name == cause


def test_what_began_later_is_no_initialisation_and_what_was_so_at_first_no_learning_rate() -> None:
    early, late = (finding({"fc": layer(), "act": dead(since), "out": layer()}) for since in (0, 30))
    assert "use a lower learning rate" not in early.remedies
    assert "learning rate" not in early.cause
    assert "initialisation" not in late.cause


def test_a_fall_of_what_comes_in_speaks_for_the_learning_rate_only_beside_other_evidence() -> None:
    fell = "Linear", [row(step, mean=0.1 if step < 30 else -40.0) for step in range(60)]
    layers = {"fc": fell, "act": dead(30), "out": layer()}
    found = finding(layers)
    assert (found.cause_name, found.because, found.confidence) == ("learning_rate", (), "possible")
    found = finding(layers | {"optimiser": ("Optimiser", values([0.001] * 29 + [0.1] * 31))})
    assert found.because[0] == "the outputs of fc fell from 0.1 to -40 on average"
    assert found.because[1] == "the learning rate rose 100 times at step 29"
    assert found.confidence == "likely"


def test_what_shrank_to_nothing_is_weight_decay() -> None:
    shrank = "Linear", [row(step, mean=0.0, std=0.5**step, within_std=0.5**step) for step in range(60)]
    found = finding({"fc": shrank, "act": dead(30), "out": layer()})
    assert found.cause_name == "weight_decay"


@pytest.mark.parametrize("layer_type", ["Dropout", "Flatten", "MaxPool2d", "Hardswish", "AdaptiveAvgPool2d"])
def test_what_has_no_weights_is_not_told_that_they_are_zero(layer_type: str) -> None:
    for before in (layer(), dead()):
        layers = {"fc": layer(), "a": before, "act": (layer_type, dead()[1]), "out": layer()}
        for each in watch(layers).diagnose().findings:
            if each.layer == "act":
                assert "weights" not in each.cause
                assert each.cause_name != "weights_zero"


def test_a_module_of_ones_own_may_have_a_scale_of_zero_where_its_input_is_alive() -> None:
    found = finding({"fc": layer(), "act": ("Block", dead()[1]), "out": layer()})
    assert (found.cause_name, found.confidence) == ("weights_zero", "possible")
    assert [each.cause_name for each in watch({"a": dead(), "act": ("Block", dead()[1])}).diagnose().findings][1:] == [
        "handed_on"
    ]


def test_dropout_with_a_live_input_drops_everything() -> None:
    found = finding({"fc": layer(), "act": ("Dropout", dead()[1]), "out": layer()})
    assert (found.cause_name, found.confidence) == ("dropout_of_everything", "certain")


def test_a_layer_with_weights_and_a_live_input_has_zero_weights_and_one_without_follows() -> None:
    live = finding({"a": layer(), "act": ("Linear", dead()[1]), "out": layer()})
    assert live.cause_name == "weights_zero"
    starved = finding({"a": dead(), "act": ("Linear", dead()[1]), "out": layer()})
    assert starved.consequence_of == "a"
    assert starved.cause_name == "handed_on"


def test_a_density_is_given_softplus_first_and_a_hidden_layer_the_cause_first() -> None:
    one = "ReLU", [row(step, neurons=1, count=64, zeros=64, silent_neurons=1, mean=0.0, std=0.0) for step in range(60)]
    head = finding({"fc": layer(), "sigma": layer(neurons=1, count=64), "act": one, "rgb": layer(), "out": layer()})
    assert head.remedies[0].startswith("use softplus, or leaky ReLU")
    hidden = finding({"fc": layer(), "act": dead(), "out": layer()})
    assert hidden.remedies[0].startswith("use He initialisation")
    assert hidden.remedies[-1].startswith("use leaky ReLU")


def test_negative_inputs_of_a_dead_activation_are_no_finding_of_their_own() -> None:
    diagnosis = watch({"fc": BELOW, "act": dead(), "out": layer()}).diagnose()
    assert [each.layer for each in diagnosis.findings if each.consequence_of is None] == ["act"]
    assert "all outputs of fc are below zero" in finding({"fc": BELOW, "act": dead(), "out": layer()}).because[0]


def test_gates_that_are_shut() -> None:
    found = finding({"emb": layer("Embedding"), "act": ("LSTM", dead()[1]), "out": layer()})
    assert found.cause_name == "gates_shut"


def ending(since: int) -> dict[str, Any]:
    """A network that ends in a ReLU, by rows of a name each: almost silent at first, and then altogether."""
    first = [row(step, zeros=4000, silent_neurons=0) for step in range(since)]
    silent = [row(step, zeros=4096, silent_neurons=64, mean=0.0, std=0.0, within_std=0.0) for step in range(since, 60)]
    return {"fc": layer(), "act": ("ReLU", first + silent)}


@pytest.mark.parametrize(("source", "cause"), [("act", "relu_output"), ("fc", "sparsity_penalty")])
def test_a_relu_that_a_loss_is_given_is_no_penalty_s_doing(source: str, cause: str) -> None:
    given = loss(noisy(np.full(60, 0.5)), 0.25, function="mean_squared_error")
    info, rows = given["loss"]
    given["loss"] = dataclasses.replace(info, source=source), rows
    layers = {name: (LayerInfo(name, 0, kind), rows) for name, (kind, rows) in ending(2).items()}
    found = [f for f in seen(layers, given).diagnose().findings if (f.condition, f.layer) == ("dead", "act")]
    assert [each.cause_name for each in found] == [cause]


def test_weights_that_all_began_at_zero_are_told_of_what_is_dead_and_of_what_fades() -> None:
    zero = [row(step, zeros=4096, silent_neurons=64, mean=0.0, std=0.0, within_std=0.0) for step in range(60)]
    layers: Any = {"input": (LayerInfo("input", 0, "Input"), [row(step) for step in range(60)])}
    layers |= {name: (LayerInfo(name, 0, "ReLU"), zero) for name in ("a", "b")}
    nothing = [row(step, mean=0.0, std=0.0, min=0.0, max=0.0, zeros=4096, within_std=0.0) for step in range(10)]
    weights = parameter("a/kernel") | parameter("b/kernel")
    weights |= {name: (weights[name][0], nothing) for name in ("a/kernel", "b/kernel")}
    found = seen(layers, weights).diagnose().findings
    assert {each.condition for each in found} >= {"dead", "vanishing"}
    assert {each.cause_name for each in found if each.condition in ("dead", "vanishing")} == {"weights_zero"}


def test_a_module_without_weights_that_puts_out_nothing_but_zeros() -> None:
    zeros = {"zeros": 4096, "silent_neurons": 64, "mean": 0.0, "std": 0.0, "within_std": 0.0, "min": 0.0, "max": 0.0}

    def told(owner: str) -> str:
        parts = (
            linear("input", [row(s) for s in range(9)], "Input"),
            linear("scaled", [row(s, **zeros) for s in range(9)], "Own", "input"),
            parameter(f"{owner}.weight", layer=owner),
        )
        (found,) = (f for f in seen(*parts).diagnose().findings if (f.layer, f.condition) == ("scaled", "dead"))
        return found.cause_name

    assert told("head") == "numerics"
    assert told("scaled") == told("scaled.inner") == "weights_zero"
