"""How the output of a network, its loss and its targets are made to fit, in the words of each framework."""

from typing import Final

#: What is told where the framework is not known.
_ANY: Final = ""

_SIGMOID: Final = {
    "torch": "end in nn.Linear(..., 1) without an activation, and use nn.BCEWithLogitsLoss()",
    "keras": "end in Dense(1, activation='sigmoid'), with loss='binary_crossentropy'",
    "jax": "end in one unit without an activation, and use optax.sigmoid_binary_cross_entropy",
    _ANY: "end in one unit with a sigmoid, and use the binary cross entropy",
}
_CLASSES: Final = {
    "torch": "end in nn.Linear(..., {n}) without an activation, and use nn.CrossEntropyLoss() with the numbers of the "
    "classes",
    "keras": "end in Dense({n}, activation='softmax'), with loss='sparse_categorical_crossentropy'",
    "jax": "end in {n} units without an activation, and use optax.softmax_cross_entropy_with_integer_labels",
    _ANY: "end in {n} units with a softmax, one for each class, and use the cross entropy",
}
_VALUES: Final = {
    "torch": "end in nn.Linear(..., {n}) without an activation, and use nn.MSELoss()",
    "keras": "end in Dense({n}) without an activation, with loss='mse'",
    _ANY: "end in {n} units without an activation, and use the mean squared error",
}
_NO_SOFTMAX: Final = {
    "torch": "remove the softmax: nn.CrossEntropyLoss applies it",
    "keras": "use the loss with from_logits=False, or remove activation='softmax' from the last layer",
    "jax": "remove the softmax: optax.softmax_cross_entropy applies it",
    _ANY: "remove the softmax: the loss applies it",
}
_NO_SIGMOID: Final = {
    "torch": "remove the sigmoid: nn.BCEWithLogitsLoss applies it; or keep it and use nn.BCELoss()",
    "keras": "use the loss with from_logits=False, or remove activation='sigmoid' from the last layer",
    "jax": "remove the sigmoid: optax.sigmoid_binary_cross_entropy applies it",
    _ANY: "remove the sigmoid: the loss applies it",
}
_LOG_SOFTMAX: Final = {
    "torch": "use nn.CrossEntropyLoss() on the logits, or nn.LogSoftmax(dim=1) before nn.NLLLoss()",
    _ANY: "use the cross entropy of logits, or a log-softmax before this loss",
}
_LOG_OF_PROBABILITIES: Final = {
    "torch": "replace nn.Softmax by nn.LogSoftmax, or remove it and use nn.CrossEntropyLoss()",
    _ANY: "replace the softmax by a log-softmax, or remove it and use the cross entropy of logits",
}
_LOGARITHMS: Final = {
    "torch": "give F.kl_div the logarithms: F.log_softmax(x, dim=-1), and probabilities as the target",
    _ANY: "give the divergence the logarithms of the probabilities",
}
_SOFTMAX: Final = {
    "keras": "use activation='softmax' in the last layer, or none and the loss with from_logits=True",
    _ANY: "add a softmax to the last layer, or use the cross entropy of logits",
}
_ADD_SIGMOID: Final = {
    "torch": "use nn.BCEWithLogitsLoss() on the output without an activation",
    "keras": "use activation='sigmoid' in the last layer, or none and BinaryCrossentropy(from_logits=True)",
    "jax": "use optax.sigmoid_binary_cross_entropy on the output without an activation",
    _ANY: "add a sigmoid to the last layer, or use the binary cross entropy of logits",
}
_SAME_SHAPE: Final = {
    "torch": "give both one shape: loss(prediction.squeeze(1), target), or target.unsqueeze(1)",
    "jax": "give both one shape: prediction.squeeze(-1), or target[:, None]",
    _ANY: "give the predictions and the targets one shape",
}
_MULTI_LABEL: Final = {
    "torch": "use nn.BCEWithLogitsLoss() on the output without an activation: one yes or no for each unit",
    "keras": "use activation='sigmoid' and loss='binary_crossentropy': one yes or no for each unit",
    _ANY: "use a sigmoid and the binary cross entropy: one yes or no for each unit",
}


def _of(texts: dict[str, str], framework: str, units: int | None = None) -> str:
    text = texts.get("jax" if framework in ("flax", "optax") else framework, texts[_ANY])
    return text.replace("{n}", "C" if units is None else f"{units}")


def two_classes(framework: str) -> str:
    """An output and a loss for two classes."""
    return _of(_SIGMOID, framework)


def classes(framework: str, units: int | None = None) -> str:
    """An output and a loss for so many classes; for classes C where it is not known how many."""
    return _of(_CLASSES, framework, units)


def values(framework: str, units: int | None = 1) -> str:
    """An output and a loss for numbers."""
    return _of(_VALUES, framework, units)


def no_softmax(framework: str) -> str:
    """Softmax once."""
    return _of(_NO_SOFTMAX, framework)


def no_sigmoid(framework: str) -> str:
    """Sigmoid once."""
    return _of(_NO_SIGMOID, framework)


def log_softmax(framework: str, *, softmax: bool = False) -> str:
    """Logarithms of probabilities; after a softmax, or after none."""
    return _of(_LOG_OF_PROBABILITIES if softmax else _LOG_SOFTMAX, framework)


def logarithms(framework: str) -> str:
    """Logarithms for a divergence."""
    return _of(_LOGARITHMS, framework)


def softmax(framework: str) -> str:
    """Probabilities over classes."""
    return _of(_SOFTMAX, framework)


def sigmoid(framework: str) -> str:
    """Probabilities of each unit."""
    return _of(_ADD_SIGMOID, framework)


def same_shape(framework: str) -> str:
    """Shapes that do not broadcast."""
    return _of(_SAME_SHAPE, framework)


def multi_label(framework: str) -> str:
    """A loss for several classes at once."""
    return _of(_MULTI_LABEL, framework)
