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

from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.monitor.monitor import ActivationMonitor

__all__ = ["record"]


#: scikit-learn's hidden activations and the layer types that the rules know.
_ACTIVATIONS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "logistic": ("Sigmoid", lambda x: 0.5 * np.tanh(0.5 * x) + 0.5),  # tanh does not overflow where exp(-x) does
    "relu": ("ReLU", lambda x: np.maximum(x, 0)),
    "tanh": ("Tanh", np.tanh),
}


def record(monitor: ActivationMonitor, model: Any, x: Any) -> None:
    """Records the outputs of a fitted network's layers on `x`, per neuron, into the monitor's current step.

    The layers are ``hidden1``, ``act1``, ``hidden2`` and so on, and ``output``, which is the input of a classifier's
    softmax or logistic function. Does nothing in a step that the monitor does not record.

    Args:
        monitor: where to record. Call its ``step()`` after each round of training.
        model: a fitted `MLPClassifier` or `MLPRegressor`.
        x: samples of shape [n, features], dense or sparse, as ``model.predict`` takes them. A few hundred tell as
            much as all.

    Raises:
        ArgumentTypeError: `model` is neither of these.
        ArgumentValueError: `model` is not fitted, or `x` has another number of features.

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
    for place, (weight, bias) in enumerate(weights, 1):
        x = x @ weight + bias
        name = "output" if place == len(weights) else f"hidden{place}"
        monitor.record(name, x, axis=-1, layer_type="Linear")
        if name != "output" and activation != "identity":
            layer_type, function = _ACTIVATIONS[activation]
            x = function(x)
            monitor.record(f"act{place}", x, axis=-1, layer_type=layer_type)
