"""Remedies that several rules give, as far as they fit the network: none that it is known to have."""

from collections.abc import Collection
from typing import Final

from fastact.diagnosis import layer_types

__all__ = ["LOWER_RATE", "initialisation", "normalisation"]

LOWER_RATE: Final = "use a lower learning rate"

_HE: Final = "use He initialisation: weights from N(0, sqrt(2/n_in)), biases zero"
_XAVIER: Final = "use Xavier initialisation: weights from N(0, sqrt(1/n_in))"
_EITHER: Final = "use an initialisation that keeps the scale: N(0, sqrt(1/n_in)), before ReLU N(0, sqrt(2/n_in))"


def initialisation(distinct_types: Collection[str]) -> str:
    """The initialisation that suits the activations of a network, given the types of all of its layers."""
    relu = layer_types.has_relu(distinct_types)
    bounded = any(name in layer_types.BOUNDED and name not in layer_types.RELU_FAMILY for name in distinct_types)
    if relu == bounded:
        return _EITHER
    return _HE if relu else _XAVIER


def normalisation(distinct_types: Collection[str]) -> tuple[str, ...]:
    """The normalisation that suits a network; nothing where it has one."""
    if any(layer_types.is_norm(layer_type) for layer_type in distinct_types):
        return ()
    batches = not any(name in layer_types.RECURRENT or name.startswith("Embedding") for name in distinct_types)
    return (f"add {'batch' if batches else 'layer'} normalisation before the activation",)
