"""What the type of a layer tells."""

import pytest
from torch import nn

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


MODULES = [
    each
    for each in vars(nn).values()
    if isinstance(each, type) and issubclass(each, nn.Module) and not issubclass(each, nn.modules.loss._Loss)
]
#: What holds modules, or measures a distance: not layers of a kind that a rule knows.
OTHERS = {
    "Module", "Container", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "DataParallel",
    "Transformer", "TransformerEncoder", "TransformerEncoderLayer", "TransformerDecoder", "TransformerDecoderLayer",
    "CosineSimilarity", "PairwiseDistance", "AdaptiveLogSoftmaxWithLoss", "LocalResponseNorm", "CrossMapLRN2d",
    "GLU",
}  # fmt: skip


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_each_module_of_pytorch_is_of_one_kind(module: type[nn.Module]) -> None:
    name = module.__name__
    kinds = [
        layer_types.is_passing(name),
        layer_types.has_weights(name),
        layer_types.is_norm(name),
        layer_types.is_activation(name),
        layer_types.is_embedding(name),
        name in layer_types.PROBABILITIES,
    ]
    assert sum(kinds) == (name not in OTHERS and "Loss" not in name)


def test_recurrent_layers_without_bounds_have_weights_and_no_bounds() -> None:
    for name in layer_types.UNBOUNDED_RECURRENT:
        assert layer_types.has_weights(name)
        assert layer_types.is_recurrent(name)
        assert name not in layer_types.RECURRENT | layer_types.BOUNDED.keys()


def test_a_sigmoid_is_a_gate_among_other_activations() -> None:
    assert layer_types.is_gate("Sigmoid", ["Linear", "ReLU", "Sigmoid"])
    assert not layer_types.is_gate("Sigmoid", ["Linear", "Sigmoid", "Hardsigmoid"])
    assert not layer_types.is_gate("Tanh", ["Tanh", "ReLU"])
