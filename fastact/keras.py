"""Watches a Keras 3 training on the JAX or the PyTorch backend: one callback.

    import fastact.keras

    model.fit(x, y, callbacks=[fastact.keras.ActivationCallback("runs/a")])

On JAX the training step is one compiled graph, to which `fastact.jax` adds the summaries; on PyTorch the outputs are
swept in place.
"""

import functools
from collections.abc import Callable, Container, Iterator
from typing import TYPE_CHECKING, Any, Final

from fastact._adapters.attachment import Attachment, Run
from fastact._adapters.extras import needs_extra
from fastact._adapters.layers import is_selected, named_outputs
from fastact.diagnosis.layer_types import BOUNDED, INPUT, INPUT_SUFFIX, RECURRENT
from fastact.errors import ArgumentValueError, FastactError
from fastact.monitor.monitor import ActivationMonitor

with needs_extra("fastact.keras", "Keras", "keras"):
    import keras

if TYPE_CHECKING:
    from fastact.jax import Recorder

__all__ = ["ActivationCallback"]

#: The layer type, as the rules know it, of a layer that ends in the activation function of this name.
_TYPE_OF_FUNCTION: Final = {
    "celu": "CELU", "elu": "ELU", "gelu": "GELU", "hard_sigmoid": "Hardsigmoid", "hard_tanh": "Hardtanh",
    "leaky_relu": "LeakyReLU", "log_softmax": "LogSoftmax", "mish": "Mish", "relu": "ReLU", "relu6": "ReLU6",
    "selu": "SELU", "sigmoid": "Sigmoid", "silu": "SiLU", "softmax": "Softmax", "softplus": "Softplus",
    "soft_sign": "Softsign", "softsign": "Softsign", "swish": "SiLU", "tanh": "Tanh",
}  # fmt: skip


class _TorchRecorder:
    """Sweeps PyTorch tensors as soon as a layer returns them; has the methods of `fastact.jax.Recorder`."""

    failures = 0  # the attachment counts them

    def __init__(self, attachment: Attachment) -> None:
        from fastact.torch.hooks import backward_pass

        self._attachment = attachment
        self._backward_pass = backward_pass
        self._paused = False
        self.step = attachment.step

    def record(self, name: str, x: Any, /, *, axis: int | None, layer_type: str) -> None:
        # A model that is being built runs on shapes alone, and a rematerialised layer runs again in the backward pass.
        if self._attachment.active and not self._paused and x.device.type != "meta" and self._backward_pass() == -1:
            self._attachment.record(name, x.detach(), axis=axis, layer_type=layer_type)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False


class ActivationCallback(keras.callbacks.Callback):  # type: ignore[misc] # mypy does not follow Keras
    """Records the outputs of a model's layers in each training step.

    Args:
        run: an `ActivationMonitor`; or the path of a log, opened when the training starts and closed when it ends.
        layers: which layers to record: None for all that compute; a name pattern (`fnmatch`) or several; or a function
            for which ``layers(name, layer)`` is true. Layers inside of models and of your own layers are named by
            their path, such as ``"encoder/dense"``; Keras's own layers are recorded as a whole.
        strict: raise what goes wrong; by default it is counted and warned of once.

    The output of a layer with an activation, such as ``Dense(64, activation="relu")``, is that of the activation, and
    is judged as such. What the model is given is recorded as ``input``. Validation is left out. With
    ``steps_per_execution`` all steps of an execution make one row. A layer under a `keras.RematScope` counts once on
    PyTorch; on JAX its elements count each time that it runs, with the same moments. Keras does not tell its callbacks
    that a training failed: call `close` then, or train again.

    Raises:
        ArgumentTypeError: `run` is neither a monitor nor a path.
        ArgumentValueError: Keras runs on another backend.
    """

    def __init__(
        self,
        run: Run,
        *,
        layers: str | list[str] | tuple[str, ...] | Callable[[str, Any], bool] | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__()
        if keras.backend.backend() not in {"jax", "torch"}:
            raise ArgumentValueError(f"backend: got Keras on {keras.backend.backend()}, want jax or torch")
        self._attachment = Attachment("fastact.keras.ActivationCallback", run, strict=strict)
        self._layers = layers
        self._recorder: Recorder | _TorchRecorder | None = None
        self._wrapped: list[Any] = []

    @property
    def monitor(self) -> ActivationMonitor:
        """The monitor; it still diagnoses after the training has ended."""
        return self._attachment.monitor

    @property
    def failures(self) -> int:
        """How often something went wrong; the first failure was warned of."""
        return self._attachment.failure_counter.failures + (self._recorder.failures if self._recorder else 0)

    def on_train_begin(self, logs: Any = None) -> None:
        """Opens the log and wraps the layers."""
        self.close()  # in case the last training failed
        self._attachment.open()
        with self._attachment.failure_counter("watch the model"):
            if keras.backend.backend() == "jax":
                from fastact.jax import Recorder

                # Not ordered, so that it works in rematerialised layers and distributed models.
                self._recorder = Recorder(self.monitor, ordered=False, strict=self._attachment.failure_counter.strict)
            else:
                self._recorder = _TorchRecorder(self._attachment)
            layers = list(_computing_layers(self.model))
            selected = {name: layer for name, layer in layers if is_selected(self._layers, name, layer)}
            if not selected:
                raise FastactError("no layer was selected")
            self._wrap_input({name for name, _ in layers})
            for name, layer in selected.items():
                self._wrap(name, layer)
            self.model.make_train_function(force=True)

    def on_train_batch_end(self, batch: Any, logs: Any = None) -> None:
        """Ends the step."""
        if self._recorder is not None:
            self._recorder.step()

    def on_test_begin(self, logs: Any = None) -> None:
        """Pauses during a validation."""
        if self._recorder is not None:
            self._recorder.pause()

    def on_test_end(self, logs: Any = None) -> None:
        """Resumes after a validation."""
        if self._recorder is not None:
            self._recorder.resume()

    def on_train_end(self, logs: Any = None) -> None:
        """Restores the layers and closes the log."""
        self.close()

    def close(self) -> None:
        """Restores the layers and closes the log. Calling it again is harmless."""
        if self._wrapped:
            # Compiled functions contain the layers as these were when they were traced.
            self.model.train_function = self.model.test_function = self.model.predict_function = None
        while self._wrapped:
            del self._wrapped.pop().call
        self._attachment.close()

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the callback watches nothing yet; Keras gives it its model when it trains one.
        return {**self.__dict__, "_recorder": None, "_wrapped": [], "_model": None}

    def _wrap_input(self, taken: Container[str]) -> None:
        """Records what the model is given, as `input`; integers, such as tokens, are left out."""
        call, own = self.model.call, INPUT_SUFFIX if "input" in taken else "input"

        @functools.wraps(call)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with self._attachment.failure_counter("record the model's input"):
                given = [x for x in keras.tree.flatten(args) if keras.ops.is_tensor(x)]
                for place, x in enumerate(given):
                    if self._recorder is not None and keras.backend.is_float_dtype(
                        keras.backend.standardize_dtype(x.dtype)
                    ):
                        name = own if len(given) == 1 else f"{own}[{place}]"
                        axis = None if x.ndim < 2 else 1 if x.ndim > 3 and _channels_first() else -1
                        self._recorder.record(name, x, axis=axis, layer_type=INPUT)
            return call(*args, **kwargs)

        self.model.call = recorded
        self._wrapped.append(self.model)

    def _wrap(self, name: str, layer: Any) -> None:
        call, layer_type = layer.call, _layer_type(layer)
        axis = 1 if getattr(layer, "data_format", None) == "channels_first" else -1  # of the neurons

        @functools.wraps(call)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            with self._attachment.failure_counter(f"record layer {name!r}"):
                for full, x in named_outputs(name, keras.tree.flatten(output)):
                    if keras.ops.is_tensor(x) and self._recorder is not None:
                        self._recorder.record(full, x, axis=axis if x.ndim > 1 else None, layer_type=layer_type)
            return output

        layer.call = recorded
        self._wrapped.append(layer)


def _channels_first() -> bool:
    return bool(keras.backend.image_data_format() == "channels_first")


def _computing_layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
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
        inner = [] if whole else list(_computing_layers(layer, name + "/"))
        yield from inner or [(name, layer)]


def _layer_type(layer: Any) -> str:
    """The layer type as the rules know it; for a layer that ends in an activation function, that of the function."""
    layer_type = type(layer).__name__
    function = getattr(layer, "activation", None)
    if function is None:
        return layer_type
    if layer_type in RECURRENT:
        bounded = _TYPE_OF_FUNCTION.get(getattr(function, "__name__", "")) in BOUNDED
        return layer_type if bounded else layer_type + "ReLU"
    return _TYPE_OF_FUNCTION.get(getattr(function, "__name__", ""), "" if layer_type == "Activation" else layer_type)
