"""What the type of a layer tells: the one place that knows names of module types.

The names are those of PyTorch, Keras and Flax modules. A kind that is not listed is judged by its numbers alone.
"""

import math
from collections.abc import Iterable
from typing import Final

__all__ = [
    "BOUNDED",
    "GATED",
    "GATES",
    "GRADIENT",
    "MASKED",
    "PASSING",
    "PROBABILITIES",
    "RECURRENT",
    "RELU_FAMILY",
    "has_batch_norm",
    "has_layer_norm",
    "has_relu",
    "has_weights",
    "is_activation",
    "is_convolution",
    "is_gate",
    "is_norm",
    "is_passing",
]

#: Activations with bounds at which their gradient vanishes, and the interval outside which an output is saturated:
#: within 1% of a bound, in units of the distance between zero and the upper one (1; 6 for ReLU6).
BOUNDED: Final = {
    "Tanh": (-0.99, 0.99),
    "Softsign": (-0.99, 0.99),
    "Hardtanh": (-0.99, 0.99),
    "Sigmoid": (0.01, 0.99),
    "Hardsigmoid": (0.01, 0.99),
    "ReLU6": (-math.inf, 5.99),
}

#: Layers whose outputs are those of a tanh, unless they were told otherwise (`nn.RNN` with ReLU).
RECURRENT: Final = frozenset({"RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"})

#: Those of them that pass a tanh through sigmoid gates, so that an output that is exactly zero is one behind a gate
#: that is shut beyond what floating point can tell from shut.
GATED: Final = RECURRENT - {"RNN", "RNNCell"}

#: Bounded activations whose outputs are read as probabilities when they come last: near the bounds is good there.
GATES: Final = frozenset({"Sigmoid", "Hardsigmoid"})

RELU_FAMILY: Final = frozenset(
    {"ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish", "Softplus"}
)

#: Outputs that are zero, small or crowded at a bound by design.
PROBABILITIES: Final = frozenset({"Softmax", "Softmax2d", "Softmin", "LogSoftmax", "MultiheadAttention"})

#: Gradients of outputs: no layers of their own, and small wherever a network has learned.
GRADIENT: Final = "Gradient"

#: Where -inf (never NaN or +inf) is meant: the logarithm of a probability of zero, and scores before a masked softmax.
MASKED: Final = frozenset({"LogSoftmax", "AttentionScores"})

#: What hands its input on: neurons that are dead after it were dead before it. Prefixes.
PASSING: Final = (
    "Input",
    "Dropout", "AlphaDropout", "FeatureAlphaDropout", "MaxPool", "AvgPool", "LPPool", "FractionalMaxPool",
    "AdaptiveMaxPool", "AdaptiveAvgPool", "GlobalMaxPool", "GlobalAveragePool", "AveragePool", "Flatten", "Unflatten",
    "Reshape", "Permute", "Identity", "ZeroPad", "ConstantPad", "ReflectionPad", "ReplicationPad", "CircularPad",
    "Upsample", "UpSampling", "PixelShuffle", "PixelUnshuffle", "ChannelShuffle",
)  # fmt: skip

_WEIGHTS: Final = ("Linear", "LazyLinear", "Dense", "Conv", "LazyConv", "Bilinear", "RNN", "LSTM", "GRU")

_NORM: Final = ("BatchNorm", "SyncBatchNorm", "LazyBatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")


def is_passing(kind: str) -> bool:
    """Whether the layer hands its input on: pooling, dropout, reshaping, padding."""
    return kind.startswith(PASSING)


def has_weights(kind: str) -> bool:
    """Whether the layer multiplies its input by weights."""
    return kind.startswith(_WEIGHTS)


def is_convolution(kind: str) -> bool:
    """Whether the layer is a convolution, whose neurons are called filters."""
    return kind.startswith(("Conv", "LazyConv"))


def is_norm(kind: str) -> bool:
    """Whether the layer sets the scale of its input anew."""
    return kind.startswith(_NORM)


def is_activation(kind: str) -> bool:
    """Whether the layer is an elementwise non-linearity."""
    return kind in BOUNDED or kind in RELU_FAMILY


def is_gate(kind: str, kinds: Iterable[str]) -> bool:
    """Whether the layer is a sigmoid in a network whose activations (`kinds` has all) are of another kind."""
    return kind in GATES and any(is_activation(other) and other not in GATES for other in kinds)


def has_batch_norm(kinds: Iterable[str]) -> bool:
    """Whether one of the layers is a batch normalisation."""
    return any("BatchNorm" in kind for kind in kinds)


def has_layer_norm(kinds: Iterable[str]) -> bool:
    """Whether one of the layers is a layer or rms normalisation."""
    return any(kind.startswith(("LayerNorm", "RMSNorm")) for kind in kinds)


def has_relu(kinds: Iterable[str]) -> bool:
    """Whether one of the layers is of the ReLU family."""
    return any(kind in RELU_FAMILY for kind in kinds)
