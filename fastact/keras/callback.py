"""The callback: wraps the layers and losses of a model for as long as it trains."""

import contextlib
import functools
import weakref
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any

import keras

from fastact._adapters.attachment import Attachment, Run
from fastact._adapters.layers import Outputs, is_selected, named_outputs
from fastact.checks import check_integer, check_type
from fastact.diagnosis.layer_types import INPUT, INPUT_SUFFIX
from fastact.errors import ArgumentValueError, FastactError
from fastact.keras.layers import channels_first, computing_layers, layer_type_of
from fastact.keras.losses import Losses
from fastact.keras.optimiser import Optimiser
from fastact.keras.parameters import ROW, Parameters, Wanted, weights_of
from fastact.keras.recorder import TorchRecorder
from fastact.monitor.batches import facts_of_inputs
from fastact.monitor.monitor import ActivationMonitor

if TYPE_CHECKING:
    from fastact.jax import Recorder


class ActivationCallback(keras.callbacks.Callback):  # type: ignore[misc] # mypy does not follow Keras
    """Records the outputs of a model's layers in each training step, and the losses that it was compiled with.

    Args:
        run: an `ActivationMonitor`; or the path of a log, opened when the training starts and closed when it ends.
        layers: which layers to record: None for all that compute; a name pattern (`fnmatch`) or several; or a function
            for which ``layers(name, layer)`` is true. Layers inside of models and of your own layers are named by
            their path, such as ``"encoder/dense"``; Keras's own layers are recorded as a whole.
        weights: record each weight of the model, too, under its layer's name and its own, such as ``"dense/kernel"``,
            as it is before a step of the optimiser; per unit of its layer, but for embeddings. What is frozen is
            recorded once. These three tell why nothing is learned, at hardly any cost.
        gradients: record the gradient of the loss by each weight, too, as the optimiser gets it, before it clips any;
            under the weight's name and ``":grad"``.
        updates: record what a step of the optimiser adds to each weight, too, under its name and ``":update"``. Of more
            than 4096 elements some 2048 are compared, evenly spaced and always the same.
        parameters_every: with any of these, weights are recorded in one of so many of the optimiser's steps, beginning
            with the first; the monitor's own ``every`` also holds.
        overwrite: where `run` is a path, remove the run that is there when the training starts.
        strict: raise what goes wrong; by default it is counted and warned of once.

    Calling `fit` again for the same model goes on with the run at the path, and its steps; another model begins a
    session of its own.

    The output of a layer with an activation, such as ``Dense(64, activation="relu")``, is that of the activation, and
    is judged as such. What the model is given is recorded as ``input``; its loss as ``loss``, or ``loss.<output>`` and
    so on where it has several, with the targets as they were given (`ActivationMonitor.record_loss`). What
    ``add_loss`` and regularisers add is not in it. The learning rate is recorded as ``optimiser``. Validation is left
    out, and so is what other callbacks evaluate or predict between two steps. With ``steps_per_execution`` all steps of
    an execution make one row. A layer under a `keras.RematScope` counts once on PyTorch; on JAX its elements count each
    time that it runs, with the same moments. Keras does not tell its callbacks that a training failed: call `close`
    then, or train again.

    A loop of your own around ``train_on_batch`` calls it as `fit` does: ``callbacks = keras.callbacks.CallbackList(
    [callback], model=model)``, its ``on_train_begin()``, ``on_train_batch_end(batch)`` after each batch, and
    ``on_train_end()``.

    Raises:
        ArgumentTypeError: `run` is neither a monitor nor a path, or another argument is of the wrong type.
        ArgumentValueError: Keras runs on another backend, or `parameters_every` is less than one.
    """

    def __init__(
        self,
        run: Run,
        *,
        layers: str | list[str] | tuple[str, ...] | Callable[[str, Any], bool] | None = None,
        weights: bool = True,
        gradients: bool = True,
        updates: bool = True,
        parameters_every: int = 10,
        overwrite: bool = False,
        strict: bool = False,
    ) -> None:
        super().__init__()
        if keras.backend.backend() not in {"jax", "torch"}:
            raise ArgumentValueError(f"backend: got Keras on {keras.backend.backend()}, want jax or torch")
        owner = "fastact.keras.ActivationCallback"
        self._attachment = Attachment(owner, run, strict=strict, overwrite=overwrite)
        #: The model that was trained last, as long as it is there.
        self._trained: Callable[[], Any] = _nobody
        self._layers = layers
        self._wanted = Wanted(
            check_type("weights", weights, bool, "a bool"),
            check_type("gradients", gradients, bool, "a bool"),
            check_type("updates", updates, bool, "a bool"),
            check_integer("parameters_every", parameters_every, 1, words="a number of steps", unit="step"),
        )
        self._recorder: Recorder | TorchRecorder | None = None
        self._wrapped: list[Any] = []
        self._losses: Losses | None = None
        #: Whether Keras's own `fit` trains the model, and nothing but its `train_step` does.
        self._by_fit = False
        self._optimiser: Optimiser | None = None
        self._parameters: Parameters | None = None
        #: The rows of which is known whose output their layers are given.
        self._described: set[str] = set()
        self._outputs = Outputs()

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
        self._attachment.open(start_step=self._attachment.own_step if self._trained() is self.model else 0)
        self._trained = weakref.ref(self.model)
        self._attachment.on_release(self.close)
        self._described.clear()
        with self._attachment.failure_counter("watch the model"):
            if keras.backend.backend() == "jax":
                from fastact.jax import Recorder

                # Not ordered, so that it works in rematerialised layers and distributed models.
                self._recorder = Recorder(self.monitor, ordered=False, strict=self._attachment.failure_counter.strict)
            else:
                self._recorder = TorchRecorder(self._attachment)
            layers = list(computing_layers(self.model))
            selected = {name: layer for name, layer in layers if is_selected(self._layers, name, layer)}
            if not selected:
                raise FastactError("no layer was selected")
            self._wrap_input({name for name, _ in layers})
            for name, layer in selected.items():
                self._wrap(name, layer)
            counter, taken = self._attachment.failure_counter, {name for name, _ in layers}
            steps = (self.params or {}).get("steps")
            self._by_fit = "steps" in (self.params or {}) and _steps_by_keras(self.model)
            self._losses = Losses(self.model, self._recorder, self._outputs, counter, taken, steps)
            with contextlib.suppress(ArgumentValueError):  # another callback of this monitor has a loss, too
                self._attachment.add_watcher(self._losses)
            if self.model.optimizer is not None and ROW not in taken:
                self._follow_optimiser(dict(layers))
            self._make_train_function()

    def _make_train_function(self) -> None:
        recorder = self._recorder
        if (
            recorder is None
            or isinstance(recorder, TorchRecorder)
            or not self._by_fit
            or not hasattr(self.model, "_make_function")
        ):
            self.model.make_train_function(force=True)
        else:
            from fastact.keras.compiled import compile_step

            compile_step(self.model, recorder, self._parameters)

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
        if self._losses is not None:
            self._losses.remove()
            self._attachment.remove_watcher(self._losses)
            self._losses = None
        if self._optimiser is not None:
            self._optimiser.remove()
            self._optimiser = None
        if self._parameters is not None:
            self._attachment.remove_watcher(self._parameters)
            self._parameters = None
        while self._wrapped:
            del self._wrapped.pop().call
        self._attachment.close()

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the callback watches nothing yet; Keras gives it its model when it trains one.
        fresh = {"_recorder": None, "_losses": None, "_optimiser": None, "_parameters": None, "_trained": _nobody}
        return {**self.__dict__, **fresh, "_model": None, "_wrapped": [], "_described": set()}

    def _wrap_input(self, taken: Container[str]) -> None:
        """Records what the model is given, as `input`; integers, such as tokens, are left out."""
        call, own = self.model.call, INPUT_SUFFIX if "input" in taken else "input"

        @functools.wraps(call)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with self._attachment.failure_counter("record the model's input"):
                given = [x for x in keras.tree.flatten(args) if keras.ops.is_tensor(x)]
                for place, x in enumerate(given):
                    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
                        name = own if len(given) == 1 else f"{own}[{place}]"
                        axis = None if x.ndim < 2 else 1 if x.ndim > 3 and channels_first() else -1
                        if name not in self._described and isinstance(self._recorder, TorchRecorder) and self._takes(x):
                            self._described.add(name)
                            self._attachment.describe(name, facts=facts_of_inputs(x, axis))
                        self._record(name, x, axis, INPUT)
            return call(*args, **kwargs)

        self.model.call = recorded
        self._wrapped.append(self.model)

    def _follow_optimiser(self, layers: Mapping[str, Any]) -> None:
        """Wraps the optimiser, for its learning rate and for what it steps on."""
        # One that scales the loss hands the gradients to the one inside.
        optimiser = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        recorder, find = self._recorder, functools.partial(weights_of, self.model, layers)
        if recorder is None:
            return
        if self._wanted.weights or self._wanted.gradients or self._wanted.updates:
            self._parameters = Parameters(find, optimiser, recorder, self._attachment, self._wanted)
            with contextlib.suppress(ArgumentValueError):  # another callback of this monitor follows one, too
                self._attachment.add_watcher(self._parameters)
            self._parameters.record_frozen()
        self._optimiser = Optimiser(optimiser, find, recorder, self._attachment, self._parameters)

    def _wrap(self, name: str, layer: Any) -> None:
        call, layer_type = layer.call, layer_type_of(layer)
        axis = 1 if getattr(layer, "data_format", None) == "channels_first" else -1  # of the neurons

        @functools.wraps(call)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            with self._attachment.failure_counter(f"record layer {name!r}"):
                for full, x in named_outputs(name, keras.tree.flatten(output)):
                    if keras.ops.is_tensor(x):
                        if full not in self._described and self._takes(x):
                            self._describe(full, layer, args)
                        self._record(full, x, axis if x.ndim > 1 else None, layer_type)
            return output

        layer.call = recorded
        self._wrapped.append(layer)

    def _takes(self, x: Any) -> bool:
        """Whether the tensors of this moment are recorded; of a graph that is known only when it runs."""
        return self._trains() and (not isinstance(self._recorder, TorchRecorder) or self._recorder.takes(x))

    def _trains(self) -> bool:
        """Whether the model is being trained: what other callbacks evaluate or predict between steps is none of it."""
        if self._losses is None:
            return True
        stepping = self._losses.stepping
        return not self._by_fit if stepping is None else stepping

    def _record(self, name: str, x: Any, axis: int | None, layer_type: str) -> None:
        if self._recorder is not None and self._takes(x):
            self._recorder.record(name, x, axis=axis, layer_type=layer_type)
            self._outputs.add(name, x)

    def _describe(self, name: str, layer: Any, args: tuple[Any, ...]) -> None:
        """Tells whose output a layer is given, and what it is, before its first row."""
        self._described.add(name)
        given = next((x for x in keras.tree.flatten(args) if keras.ops.is_tensor(x)), None)
        facts: dict[str, Any] = {"layer": type(layer).__name__}
        if layer.weights and not layer.trainable:
            facts["trainable"] = False
        self._attachment.describe(name, source=self._outputs.name_of(given), facts=facts)


def _nobody() -> None:
    """The model that was trained last, where none was."""


def _steps_by_keras(model: Any) -> bool:
    """Whether each step of `fit` calls the model's own `train_step`, as far as that can be seen."""
    if getattr(keras.config, "is_nnx_enabled", bool)():  # which calls the class's
        return False
    return str(type(model).make_train_function.__module__).startswith("keras.")
