"""Remedies that several rules give, as far as they fit the network: nothing that it is known to have."""

from collections.abc import Collection
from typing import Final

from fastact.diagnosis import layer_types

LOWER_RATE: Final = "use a lower learning rate"
CLIP_GRADIENTS: Final = "clip the gradients"
DRAW_WEIGHTS: Final = "use the framework's own initialisation, which draws the weights at random"
SAME_PREPROCESSING: Final = "preprocess all of the data in the same way"
NORMALISE_INPUTS: Final = "normalise the inputs to mean 0 and standard deviation 1"

#: What helps against an exponential that overflows.
EXPONENT_REMEDIES: Final = (
    "clamp the log-variance (to -10 and 10, say) before the exponential, or use softplus in its place",
    "compute softmax and its logarithm by the framework's own functions, which subtract the maximum",
    LOWER_RATE,
)

#: What a normalisation over a single element does, and what helps.
ONE_ELEMENT: Final = (
    "It normalises over a single element, which is its own mean: what is left is zero, or the shift, whatever comes in."
)
ONE_ELEMENT_REMEDIES: Final = (
    "normalise over more elements: another axis, a wider layer, or batch normalisation",
    "leave this normalisation out",
)

_HE: Final = "use He initialisation: weights from N(0, sqrt(2/n_in)), biases zero"
_XAVIER: Final = "use Xavier initialisation: weights from N(0, sqrt(1/n_in))"
_EITHER: Final = "use an initialisation that keeps the scale: N(0, sqrt(1/n_in)), or N(0, sqrt(2/n_in)) before ReLU"


def initialisation(types: Collection[str]) -> str:
    """The initialisation that suits the activations of a network, given the types of all of its layers."""
    relu = not layer_types.RELU_FAMILY.isdisjoint(types)
    bounded = any(
        layer_type in layer_types.BOUNDED and layer_type not in layer_types.RELU_FAMILY for layer_type in types
    )
    if relu == bounded:
        return _EITHER
    return _HE if relu else _XAVIER


def normalisation(types: Collection[str]) -> tuple[str, ...]:
    """The normalisation that suits a network; nothing where it has one."""
    if any(map(layer_types.is_norm, types)):
        return ()
    sequences = any(layer_type in layer_types.RECURRENT or layer_type.startswith("Embedding") for layer_type in types)
    return (f"add {'layer' if sequences else 'batch'} normalisation before the activation",)


def normalise_before(types: Collection[str]) -> tuple[str, ...]:
    """A normalisation for one layer; nothing where the network has batch or layer normalisation."""
    known = layer_types.has_layer_norm(types) or any("BatchNorm" in layer_type for layer_type in types)
    return () if known else ("add a normalisation before this layer",)
