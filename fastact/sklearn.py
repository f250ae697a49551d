"""Records the layers of scikit-learn's networks: `MLPClassifier` and `MLPRegressor`.

They have no hooks, but their weights can be read: a forward pass with them gives the output of each layer.

    import fastact, fastact.sklearn

    with fastact.ActivationMonitor("runs/a") as monitor:
        for epoch in range(20):
            model.partial_fit(x, y, classes=classes)
            fastact.sklearn.record(monitor, model, x)
            monitor.step()
        print(monitor.diagnose())
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis.layer_types import OPTIMISER
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.monitor.monitor import ActivationMonitor

__all__ = ["record"]


#: scikit-learn's hidden activations and the layer types that the rules know.
_ACTIVATIONS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "logistic": ("Sigmoid", lambda x: 0.5 * np.tanh(0.5 * x) + 0.5),  # tanh does not overflow where exp(-x) does
    "relu": ("ReLU", lambda x: np.maximum(x, 0)),
    "tanh": ("Tanh", np.tanh),
}
#: The losses, of what `record` calls ``output``, by scikit-learn's name and the function behind that output.
_LOSSES: Final = {
    ("log_loss", "softmax"): "cross_entropy",
    ("log_loss", "logistic"): "binary_cross_entropy_with_logits",
    ("squared_error", "identity"): "mean_squared_error",
}


def record(monitor: ActivationMonitor, model: Any, x: Any, y: Any = None) -> None:
    """Records the outputs of a fitted network's layers on `x`, per neuron, into the monitor's current step.

    The layers are ``hidden1``, ``act1``, ``hidden2`` and so on, and ``output``, which is the input of a classifier's
    softmax or logistic function. With `y` also ``loss``, the loss of the last epoch, ``model.loss_`` (of a squared
    error, of which that is the half, twice that), which has the penalty on weights in it; the targets; what the best
    constant answer would come to; and the learning rate. Does nothing in a step that the monitor does not record.

    Args:
        monitor: where to record. Call its ``step()`` after each round of training.
        model: a fitted `MLPClassifier` or `MLPRegressor`.
        x: samples of shape [n, features], dense or sparse, as ``model.predict`` takes them. A few hundred tell as
            much as all.
        y: their targets, as ``model.fit`` takes them: shape [n] or [n, outputs].

    Raises:
        ArgumentTypeError: `model` is neither of these.
        ArgumentValueError: `model` is not fitted, `x` has another number of features, or `y` another length.

    Example:
        >>> from sklearn.neural_network import MLPRegressor
        >>> x = np.linspace(-1.0, 1.0, 64)[:, None]
        >>> model = MLPRegressor(hidden_layer_sizes=(8,), activation="tanh").partial_fit(x, x[:, 0] ** 2)
        >>> with ActivationMonitor() as monitor:
        ...     record(monitor, model, x)
        ...     monitor.step()
        ...     print({name: layer.info.layer_type for name, layer in monitor.history.items()})
        {'hidden1': 'Linear', 'act1': 'Tanh', 'output': 'Linear'}
    """
    activation = getattr(model, "activation", None)
    if activation not in {*_ACTIVATIONS, "identity"} or not hasattr(model, "hidden_layer_sizes"):
        raise ArgumentTypeError(f"model: got {type(model).__name__}, want an MLPClassifier or MLPRegressor")
    if not hasattr(model, "coefs_"):
        raise ArgumentValueError(f"model: got an unfitted {type(model).__name__}, want fit or partial_fit first")
    if not monitor.active:
        return
    weights = list(zip(model.coefs_, model.intercepts_, strict=True))
    shape = np.shape(x)
    if len(shape) != 2 or shape[1] != len(weights[0][0]):
        raise ArgumentValueError(f"x: got shape {shape}, want (samples, {len(weights[0][0])})")
    targets = None if y is None else _targets(model, np.asarray(y), shape[0])
    for place, (weight, bias) in enumerate(weights, 1):
        x = x @ weight + bias
        name = "output" if place == len(weights) else f"hidden{place}"
        monitor.record(name, x, axis=-1, layer_type="Linear")
        if name != "output" and activation != "identity":
            layer_type, function = _ACTIVATIONS[activation]
            x = function(x)
            monitor.record(f"act{place}", x, axis=-1, layer_type=layer_type)
    if targets is not None:
        _record_loss(monitor, model, x, targets)


def _targets(model: Any, y: npt.NDArray[Any], samples: int) -> npt.NDArray[Any]:
    """The targets as numbers: of classes their places in ``model.classes_``."""
    if y.ndim == 0 or len(y) != samples:
        raise ArgumentValueError(f"y: got shape {y.shape}, want one target for each of the {samples} samples")
    y = y[:, 0] if y.ndim > 1 and y.shape[1] == 1 else y
    if not hasattr(model, "classes_") or y.ndim > 1:
        return y
    places = np.searchsorted(model.classes_, y).clip(max=len(model.classes_) - 1)
    if (model.classes_[places] != y).any():
        raise ArgumentValueError(
            "y: got classes that are not in model.classes_, want those that the model was fitted on"
        )
    return places


def _record_loss(monitor: ActivationMonitor, model: Any, output: Any, targets: npt.NDArray[Any]) -> None:
    spelled = getattr(model, "loss", "")
    function, value = _LOSSES.get((spelled, model.out_activation_), ""), float(model.loss_)
    if function == "mean_squared_error":
        value *= 2.0  # scikit-learn's is half of it
    facts = {
        "framework": "sklearn",
        "spelled": spelled,
        # Of several labels the losses are summed.
        "weighted": targets.ndim > 1 and function != "mean_squared_error",
        "squeezes": True,
    }
    if model.alpha:
        facts["added"] = 1  # the penalty on weights
    monitor.record_loss(value, predictions=output, targets=targets, function=function, source="output", facts=facts)
    # That of Adam changes with what Adam corrects for; L-BFGS has none.
    rate = getattr(getattr(model, "_optimizer", None), "learning_rate" + "_init" * (model.solver == "adam"), None)
    if rate is not None:
        parameters = [*model.coefs_, *model.intercepts_]
        held = {"parameters": len(parameters), "trainable": len(parameters), "others": 0, "missing": [], "frozen": []}
        elements = sum(parameter.size for parameter in parameters)
        monitor.describe("optimiser", facts={"function": model.solver, "groups": 1, "elements": elements, **held})
        monitor.record("optimiser", np.asarray(rate, np.float64), layer_type=OPTIMISER)
