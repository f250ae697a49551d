"""What the type of a layer tells: the only place that knows the names of module types.

The names are those of PyTorch, Keras and Flax modules. A type that is not listed is judged by its numbers alone.
"""

import math
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from typing import Final

#: Activations with bounds at which their gradient vanishes, and the interval outside which an output is saturated:
#: within 1% of a bound, in units of the distance between zero and the upper one (1; 6 for ReLU6). A Softsign nears its
#: bounds so slowly that this would be an input of 99; its gradient, (1 - |y|)², is as small as that of a tanh there, 2%
#: of the largest, from 0.86 on.
BOUNDED: Final = {
    "Tanh": (-0.99, 0.99),
    "Softsign": (-0.86, 0.86),
    "Hardtanh": (-0.99, 0.99),
    "Sigmoid": (0.01, 0.99),
    "Hardsigmoid": (0.01, 0.99),
    "ReLU6": (-math.inf, 5.99),
}

#: Layers whose outputs are those of a tanh; PyTorch's recurrent layers that are told otherwise go by the names below.
RECURRENT: Final = frozenset({"RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell", "SimpleRNN"})

#: Recurrent layers without bounds, which can grow from one time step to the next: those with a ReLU in place of the
#: tanh, `nn.LSTM` that projects its outputs, and the cell states of an LSTM.
UNBOUNDED_RECURRENT: Final = frozenset(
    {"RNNReLU", "RNNCellReLU", "SimpleRNNReLU", "LSTMReLU", "GRUReLU", "LSTMProjected", "LSTMState"}
)

#: Recurrent layers that pass a tanh through sigmoid gates: an output of exactly zero lies behind a gate that floating
#: point cannot tell from shut.
GATED: Final = RECURRENT - {"RNN", "RNNCell", "SimpleRNN"}

#: Bounded activations whose outputs are probabilities when they come last: there, values near the bounds are good.
GATES: Final = frozenset({"Sigmoid", "Hardsigmoid"})

#: Activations that let large inputs of one sign at least pass, and those that are built of them; the last ones are
#: those of Keras, torchvision and Transformers.
RELU_FAMILY: Final = frozenset({
    "ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish", "Softplus",
    "Hardswish", "LogSigmoid", "Hardshrink", "Softshrink", "Tanhshrink", "Threshold",
    "ThresholdedReLU", "Swish", "QuickGELU", "SquaredReLU", "GELUActivation", "NewGELUActivation", "FastGELUActivation",
    "QuickGELUActivation", "AccurateGELUActivation", "ClippedGELUActivation", "PytorchGELUTanh", "GELUTanh",
    "SiLUActivation", "MishActivation", "ReLUSquaredActivation",
})  # fmt: skip

#: Attention that is called as a function; a module of the user's own may be called Attention.
ATTENTION: Final = "ScaledDotProductAttention"

#: Outputs that are zero, small or crowded at a bound by design: probabilities, and what they weigh.
PROBABILITIES: Final = frozenset(
    {"Softmax", "Softmax2d", "Softmin", "LogSoftmax", "MultiheadAttention", "MultiHeadAttention", ATTENTION}
)

#: Gradients of outputs: not layers themselves, and small wherever a network has learned.
GRADIENT: Final = "Gradient"

#: What a model, or a layer, was given.
INPUT: Final = "Input"

#: How often each row of a table was looked up in a step: rows that a layer chose (a codebook, a router), and rows that
#: the data chose (words, categories), of which many are rare by nature.
USAGE: Final = "Usage"
VOCABULARY: Final = "Vocabulary"
COUNTED: Final = frozenset({USAGE, VOCABULARY})

#: Beside the layers: what a loss came to, what it was given (where that is no layer's output), the targets (shapes,
#: range and moments only), and what the best answer that is the same for every sample would come to.
LOSS: Final = "Loss"
PREDICTION: Final = "Prediction"
TARGET: Final = "Target"
BASELINE: Final = "Baseline"
#: A parameter, the gradient of the loss by it, and what an optimiser's step added to it.
PARAMETER: Final = "Parameter"
PARAMETER_GRADIENT: Final = "ParameterGradient"
UPDATE: Final = "Update"
#: An optimiser that steps: the learning rates of its groups of parameters.
OPTIMISER: Final = "Optimiser"

#: Rows that are compared with their like only. What belongs to no other group is a layer.
LAYERS: Final = "layers"
EVALUATION: Final = "evaluation"
LOSSES: Final = "losses"
LOSSES_IN_EVALUATION: Final = "losses in evaluation"
GROUPS: Final = (
    LAYERS, GRADIENT, EVALUATION, USAGE, VOCABULARY, PARAMETER, PARAMETER_GRADIENT, UPDATE, OPTIMISER, LOSSES,
    LOSSES_IN_EVALUATION,
)  # fmt: skip
#: The outputs of layers, in training and in evaluation.
OUTPUTS: Final = frozenset({LAYERS, EVALUATION})
#: Of what optimisers hold and do.
OF_OPTIMISERS: Final = frozenset({PARAMETER, PARAMETER_GRADIENT, UPDATE, OPTIMISER})
#: Groups whose rules are told what was watched and not recorded.
TOLD_UNSEEN: Final = OF_OPTIMISERS | {LAYERS, LOSSES}
#: Types that are groups of their own, whatever the mode, and those that belong to a loss.
_OWN_GROUP: Final = frozenset({GRADIENT, USAGE, VOCABULARY}) | OF_OPTIMISERS
_OF_LOSSES: Final = frozenset({LOSS, PREDICTION, TARGET, BASELINE})

#: What follows a layer's name where its gradient, its input, how often its rows were looked up, its second and later
#: places in one forward pass, or its rows in evaluation are recorded. No module's name has a colon.
GRADIENT_SUFFIX: Final = ":grad"
INPUT_SUFFIX: Final = ":input"
USAGE_SUFFIX: Final = ":usage"
UPDATE_SUFFIX: Final = ":update"
PREDICTION_SUFFIX: Final = ":prediction"
TARGET_SUFFIX: Final = ":target"
BASELINE_SUFFIX: Final = ":baseline"
EVALUATION_SUFFIX: Final = ":eval"
#: The same for rows in training, of a model that was in evaluation when it was first watched.
TRAINING_SUFFIX: Final = ":train"

#: Where -inf (never NaN or +inf) is intended: the logarithm of a zero probability, and scores before a masked softmax.
MASKED: Final = frozenset({"LogSoftmax", "AttentionScores"})

#: Prefixes of layers that hand their input on: neurons that are dead after them were dead before them.
PASSING: Final = (
    "Input",
    # Dropout, and noise that is added or multiplied
    "Dropout", "AlphaDropout", "FeatureAlphaDropout", "SpatialDropout", "GaussianDropout", "GaussianNoise", "DropPath",
    "DropBlock", "StochasticDepth",
    # Pooling
    "MaxPool", "AvgPool", "LPPool", "FractionalMaxPool", "AdaptiveMaxPool", "AdaptiveAvgPool", "AdaptiveAveragePool",
    "GlobalMaxPool", "GlobalAvgPool", "GlobalAveragePool", "AveragePool", "MaxUnpool",
    # Other shapes
    "Flatten", "Unflatten", "Reshape", "Permute", "Identity", "RepeatVector", "Masking", "ActivityRegularization",
    "Fold", "Unfold", "PixelShuffle", "PixelUnshuffle", "ChannelShuffle", "Cropping", "CenterCrop",
    "Upsample", "UpSampling", "UpsamplingNearest", "UpsamplingBilinear", "Resizing",
    "ZeroPad", "ConstantPad", "ReflectionPad", "ReplicationPad", "CircularPad",
    # Several inputs as one
    "Concatenate",
)  # fmt: skip

#: Of those, the ones whose outputs differ from call to call: what they add looks like signal.
_RANDOM: Final = ("Dropout", "AlphaDropout", "FeatureAlphaDropout", "SpatialDropout", "GaussianDropout",
                      "GaussianNoise", "DropPath", "DropBlock", "StochasticDepth", "RReLU")  # fmt: skip

_WEIGHTS: Final = (
    "Linear", "LazyLinear", "Dense", "EinsumDense", "Conv", "LazyConv", "DepthwiseConv", "SeparableConv", "Bilinear",
    "RNN", "SimpleRNN", "LSTM", "GRU", "ConvLSTM",
)  # fmt: skip

#: Parts of the names of norms: Transformers has LlamaRMSNorm, torchvision FrozenBatchNorm2d, Keras LayerNormalization.
_NORM: Final = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm", "UnitNorm", "Normalize")


@cache
def is_passing(layer_type: str) -> bool:
    """Whether the layer hands its input on: pooling, dropout, reshaping, padding."""
    return layer_type.startswith(PASSING)


def is_random(layer_type: str) -> bool:
    """Whether the layer draws random numbers in training: after it, noise passes for differences between samples."""
    return layer_type.startswith(_RANDOM)


def is_embedding(layer_type: str) -> bool:
    """Whether the layer looks up rows of a table; its input is indices."""
    return layer_type == "Embed" or ("Embedding" in layer_type and not layer_type.endswith("Loss"))


def is_recurrent(layer_type: str) -> bool:
    """Whether the layer feeds its outputs back to itself."""
    return layer_type in RECURRENT or layer_type in UNBOUNDED_RECURRENT


@cache
def has_weights(layer_type: str) -> bool:
    """Whether the layer multiplies its input by weights."""
    return layer_type.startswith(_WEIGHTS)


def is_convolution(layer_type: str) -> bool:
    """Whether the layer is a convolution; its neurons are called filters."""
    return layer_type.startswith(("Conv", "LazyConv", "DepthwiseConv", "SeparableConv"))


@cache
def is_norm(layer_type: str) -> bool:
    """Whether the layer resets the scale of its input."""
    return any(part in layer_type for part in _NORM)


@cache
def is_activation(layer_type: str) -> bool:
    """Whether the layer is an elementwise non-linearity."""
    return layer_type in BOUNDED or layer_type in RELU_FAMILY


@cache
def follows_input(layer_type: str) -> bool:
    """Whether each neuron of the layer belongs to one of its input: activations, norms, and what hands its input on."""
    return is_activation(layer_type) or is_norm(layer_type) or is_passing(layer_type)


def is_gate(layer_type: str, types: Iterable[str]) -> bool:
    """Whether the layer is a sigmoid in a network whose activations (`types` has all) are of another type."""
    return layer_type in GATES and any(is_activation(other) and other not in GATES for other in types)


def has_layer_norm(types: Iterable[str]) -> bool:
    """Whether one of the layers is a layer or rms normalisation."""
    return any("LayerNorm" in layer_type or "RMSNorm" in layer_type for layer_type in types)


def is_known(layer_type: str) -> bool:
    """Whether the type is that of a framework's own layer, which initialises its weights."""
    return (
        layer_type in PROBABILITIES
        or has_weights(layer_type)
        or follows_input(layer_type)
        or is_embedding(layer_type)
        or layer_type.endswith("Loss")
    )


def group_of(layer_type: str, mode: str) -> str:
    """The one of `GROUPS` that a layer's rows are compared in.

    Example:
        >>> group_of("Linear", ""), group_of("Linear", "evaluation"), group_of("Gradient", "")
        ('layers', 'evaluation', 'Gradient')
    """
    if layer_type in _OWN_GROUP:
        return layer_type
    if layer_type in _OF_LOSSES:
        return LOSSES_IN_EVALUATION if mode else LOSSES
    return EVALUATION if mode else LAYERS


@cache
def known_type(layer_type: str) -> str:
    """The type as the rules write it, whatever its case and its underscores; one that they do not know as it is.

    Example:
        >>> known_type("tanh"), known_type("leaky_relu"), known_type("MyBlock")
        ('Tanh', 'LeakyReLU', 'MyBlock')
    """
    return layer_type if layer_type in _known() else _known_folded().get(_folded(layer_type), layer_type)


@cache
def likely_type(layer_type: str) -> str | None:
    """Where a type is unknown and no class name: the known one that is most like it, or ""; else None.

    A class of one's own is a type as good as any: it begins with a capital letter.

    Example:
        >>> likely_type("tanhh"), likely_type("quux"), likely_type("MyBlock"), likely_type("conv_2d")
        ('Tanh', '', None, None)
    """
    known = known_type(layer_type)
    if not layer_type or known in _known() or is_known(known) or (known[0].isupper() and known.isidentifier()):
        return None
    found = get_close_matches(_folded(layer_type), list(_known_folded()), 1, 0.7)
    return _known_folded()[found[0]] if found else ""


@cache
def _known() -> frozenset[str]:
    """All names of types that stand for themselves; those that begin with a known word are more."""
    groups = (RECURRENT, UNBOUNDED_RECURRENT, GATES, RELU_FAMILY, PROBABILITIES, COUNTED, MASKED, OF_OPTIMISERS)
    own = {GRADIENT, INPUT, LOSS, PREDICTION, TARGET, BASELINE, "Embedding", "Embed"}
    sized = [word + size for word in _SIZED for size in ("1d", "2d", "3d")]
    return frozenset(own.union(BOUNDED, PASSING, _WEIGHTS, _NORM, sized, *groups))


_SIZED: Final = ("Conv", "ConvTranspose", "BatchNorm", "InstanceNorm", "MaxPool", "AvgPool", "Dropout")


def _folded(layer_type: str) -> str:
    return layer_type.lower().replace("_", "").replace("-", "").replace(" ", "")


@cache
def _known_folded() -> dict[str, str]:
    return {_folded(name): name for name in sorted(_known(), reverse=True)}


def without_mode(name: str) -> str:
    """A layer's name without what tells in which mode its rows were recorded.

    Example:
        >>> without_mode("act:2:eval"), without_mode("act")
        ('act:2', 'act')
    """
    return name.replace(EVALUATION_SUFFIX, "").replace(TRAINING_SUFFIX, "") if ":" in name else name
