"""The layers of a Keras model: which of them compute, what they are called, and what types they are of."""

from collections.abc import Iterator
from typing import Any, Final

import keras

from fastact.diagnosis.layer_types import BOUNDED, RECURRENT

#: The layer type, as the rules know it, of a layer that ends in the activation function of this name.
_TYPE_OF_FUNCTION: Final = {
    "celu": "CELU", "elu": "ELU", "gelu": "GELU", "hard_sigmoid": "Hardsigmoid", "hard_tanh": "Hardtanh",
    "leaky_relu": "LeakyReLU", "log_softmax": "LogSoftmax", "mish": "Mish", "relu": "ReLU", "relu6": "ReLU6",
    "selu": "SELU", "sigmoid": "Sigmoid", "silu": "SiLU", "softmax": "Softmax", "softplus": "Softplus",
    "soft_sign": "Softsign", "softsign": "Softsign", "swish": "SiLU", "tanh": "Tanh",
}  # fmt: skip


def channels_first() -> bool:
    """Whether images have their channels on axis 1."""
    return bool(keras.backend.image_data_format() == "channels_first")


def computing_layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The layers that compute, each with its path; a layer that is used twice appears once."""
    seen: set[int] = set()
    used: dict[str, int] = {}
    for layer in model._flatten_layers(include_self=False, recursive=False):
        if isinstance(layer, keras.layers.InputLayer | keras.metrics.Metric | keras.losses.Loss) or id(layer) in seen:
            continue
        seen.add(id(layer))
        used[layer.name] = used.get(layer.name, 0) + 1
        name = prefix + layer.name + (f"#{used[layer.name]}" if used[layer.name] > 1 else "")
        whole = type(layer).__module__.startswith("keras.") and not isinstance(layer, keras.Model)
        inner = [] if whole else list(computing_layers(layer, name + "/"))
        yield from inner or [(name, layer)]


def layer_type_of(layer: Any) -> str:
    """The layer type as the rules know it; for a layer that ends in an activation function, that of the function."""
    layer_type = type(layer).__name__
    function = getattr(layer, "activation", None)
    if function is None:
        return layer_type
    if layer_type in RECURRENT:
        bounded = _TYPE_OF_FUNCTION.get(getattr(function, "__name__", "")) in BOUNDED
        return layer_type if bounded else layer_type + "ReLU"
    return _TYPE_OF_FUNCTION.get(getattr(function, "__name__", ""), "" if layer_type == "Activation" else layer_type)
