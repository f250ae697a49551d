"""What the type of a layer tells."""

import pytest

from fastact.diagnosis import layer_types


def test_types_are_known_by_their_names() -> None:
    assert layer_types.is_passing("MaxPool2d")
    assert not layer_types.is_passing("ReLU")
    assert not layer_types.is_passing("")
    assert layer_types.is_norm("BatchNorm2d")


@pytest.mark.parametrize(
    ("layer_type", "weights", "activation", "convolution"),
    [
        ("Linear", True, False, False),
        ("Dense", True, False, False),
        ("LazyConv2d", True, False, True),
        ("ReLU", False, True, False),
        ("Tanh", False, True, False),
        ("Softmax", False, False, False),
        ("", False, False, False),
    ],
)
def test_layers_with_weights_and_without(layer_type: str, weights: bool, activation: bool, convolution: bool) -> None:
    assert layer_types.has_weights(layer_type) is weights
    assert layer_types.is_activation(layer_type) is activation
    assert layer_types.is_convolution(layer_type) is convolution


def test_a_sigmoid_is_a_gate_among_other_activations() -> None:
    assert layer_types.is_gate("Sigmoid", ["Linear", "ReLU", "Sigmoid"])
    assert not layer_types.is_gate("Sigmoid", ["Linear", "Sigmoid", "Hardsigmoid"])
    assert not layer_types.is_gate("Tanh", ["Tanh", "ReLU"])
