"""Watches a Keras 3 training on the JAX or the PyTorch backend: one callback.

    import fastact.keras

    model.fit(x, y, callbacks=[fastact.keras.ActivationCallback("runs/a")])

On JAX the training step is one compiled graph, into which `fastact.jax` puts the summaries; on PyTorch the layers'
outputs are swept where they lie.
"""

import functools
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Protocol

from fastact._adapters.attachment import TYPE_OF_FUNCTION, Attachment, Run
from fastact.diagnosis.layer_types import RECURRENT
from fastact.errors import ArgumentValueError, FastactError, MissingExtraError
from fastact.monitor.monitor import ActivationMonitor

try:
    import keras
except ModuleNotFoundError as error:  # pragma: no cover - the tests need Keras; a subprocess test takes this branch
    if error.name != "keras":
        raise
    raise MissingExtraError("fastact.keras needs Keras: pip install 'fastact[keras]'") from error

__all__ = ["ActivationCallback"]


class _Recorder(Protocol):
    """What takes the layers' outputs: `fastact.jax.Recorder`, or `_Eager` where nothing is compiled."""

    def record(self, name: str, x: Any, /, *, axis: int | None, layer_type: str) -> object: ...

    def step(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class _Eager:
    """Sweeps PyTorch tensors as the layers give them."""

    def __init__(self, attachment: Attachment) -> None:
        from fastact.torch.hooks import backward_pass

        self._attachment = attachment
        self._backward_pass = backward_pass
        self._paused = False

    def record(self, name: str, x: Any, /, *, axis: int | None, layer_type: str) -> None:
        # A model that is being built runs on shapes alone; a rematerialised layer runs again in the backward pass.
        if self._attachment.active and not self._paused and x.device.type != "meta" and self._backward_pass() == -1:
            self._attachment.record(name, x.detach(), axis=axis, layer_type=layer_type)

    def step(self) -> None:
        self._attachment.step()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False


class ActivationCallback(keras.callbacks.Callback):  # type: ignore[misc] # mypy does not follow Keras
    """Records what a model's layers give in each training step.

    Args:
        run: an `ActivationMonitor`; or the path of a log, opened when the training starts and closed when it ends.
        layers: which layers: None for all that compute; a name pattern (`fnmatch`) or several; or a function for which
            ``layers(name, layer)`` is true. Layers inside of models and of your own layers are named by their path,
            such as ``"encoder/dense"``; Keras's own layers are taken as a whole.
        strict: raise what goes wrong; by default it is counted and warned of once.

    A layer with an activation, such as ``Dense(64, activation="relu")``, gives what that gives, and is judged as such.
    Validation is left out. With ``steps_per_execution`` all steps of an execution make one row. A layer under a
    `keras.RematScope` counts once on PyTorch; on JAX its elements count each time that it runs, with the same moments.
    Keras does not tell its callbacks of a training that fails: call `close` then, or train again.

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
        self._recorder: _Recorder | None = None
        self._wrapped: list[Any] = []

    @property
    def monitor(self) -> ActivationMonitor:
        """The monitor; it still diagnoses after the training has ended."""
        return self._attachment.monitor

    @property
    def failures(self) -> int:
        """How often something went wrong; the first time was warned of."""
        own = self._attachment.guard.failures
        return own if isinstance(self._recorder, _Eager | None) else own + getattr(self._recorder, "failures", 0)

    def on_train_begin(self, logs: Any = None) -> None:
        """Opens the log and puts itself behind the layers."""
        self.close()  # of a training that failed
        self._attachment.open()
        with self._attachment.guard("watch the model"):
            if keras.backend.backend() == "jax":
                from fastact.jax import Recorder

                # Not ordered: so it goes through rematerialised layers and distributed models.
                self._recorder = Recorder(self.monitor, ordered=False, strict=self._attachment.guard.strict)
            else:
                self._recorder = _Eager(self._attachment)
            chosen = {name: layer for name, layer in _computing(self.model, "") if self._wanted(name, layer)}
            if not chosen:
                raise FastactError("no layer was chosen")
            for name, layer in chosen.items():
                self._wrap(name, layer)
            self.model.make_train_function(force=True)

    def on_train_batch_end(self, batch: Any, logs: Any = None) -> None:
        """Ends the step."""
        if self._recorder is not None:
            self._recorder.step()

    def on_test_begin(self, logs: Any = None) -> None:
        """Looks away during a validation."""
        if self._recorder is not None:
            self._recorder.pause()

    def on_test_end(self, logs: Any = None) -> None:
        """Looks again."""
        if self._recorder is not None:
            self._recorder.resume()

    def on_train_end(self, logs: Any = None) -> None:
        """Leaves the layers as they were and closes the log."""
        self.close()

    def close(self) -> None:
        """Does what the end of a training does. Harmless when that was done."""
        self._unwrap()
        self._attachment.close()

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the callback watches nothing yet; Keras gives it its model when it trains one.
        return {**self.__dict__, "_recorder": None, "_wrapped": [], "_model": None}

    def _wanted(self, name: str, layer: Any) -> bool:
        if self._layers is None:
            return True
        if callable(self._layers):
            return self._layers(name, layer)
        patterns = (self._layers,) if isinstance(self._layers, str) else self._layers
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    def _wrap(self, name: str, layer: Any) -> None:
        call, layer_type, axis = layer.call, _layer_type(layer), _axis(layer)

        @functools.wraps(call)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            with self._attachment.guard(f"record layer {name!r}"):
                self._take(name, output, layer_type, axis)
            return output

        layer.call = recorded
        self._wrapped.append(layer)

    def _take(self, name: str, output: Any, layer_type: str, axis: int) -> None:
        tensors = keras.tree.flatten(output)
        for place, x in enumerate(tensors):
            if keras.ops.is_tensor(x) and self._recorder is not None:
                full = name if len(tensors) == 1 else f"{name}[{place}]"
                self._recorder.record(full, x, axis=axis if x.ndim > 1 else None, layer_type=layer_type)

    def _unwrap(self) -> None:
        if self._wrapped:
            # Compiled functions have the layers in them as these were when they were traced.
            self.model.train_function = self.model.test_function = self.model.predict_function = None
        while self._wrapped:
            del self._wrapped.pop().call


def _computing(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """The layers that compute, with their paths; a layer that is used twice comes once."""
    seen: set[int] = set()
    used: dict[str, int] = {}
    for layer in model._flatten_layers(include_self=False, recursive=False):
        if isinstance(layer, keras.layers.InputLayer | keras.metrics.Metric | keras.losses.Loss) or id(layer) in seen:
            continue
        seen.add(id(layer))
        used[layer.name] = used.get(layer.name, 0) + 1
        name = prefix + layer.name + (f"#{used[layer.name]}" if used[layer.name] > 1 else "")
        whole = type(layer).__module__.startswith("keras.") and not isinstance(layer, keras.Model)
        inner = [] if whole else list(_computing(layer, name + "/"))
        if inner:
            yield from inner
        else:
            yield name, layer


def _layer_type(layer: Any) -> str:
    """The type as the rules know it; of a layer that ends in an activation function, that of the function."""
    layer_type = type(layer).__name__
    function = getattr(layer, "activation", None)
    if layer_type in RECURRENT or function is None:
        return layer_type
    return TYPE_OF_FUNCTION.get(getattr(function, "__name__", ""), "" if layer_type == "Activation" else layer_type)


def _axis(layer: Any) -> int:
    """Where the layer has its neurons."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1
