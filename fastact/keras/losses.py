"""The losses that a model was compiled with: each is recorded as the model computes it, with what it is given.

The model is trained as it would be without us. For as long as it trains, each compiled loss is replaced by a function
that calls it and records: so the targets come as the user gave them, before Keras squeezes or converts them.
"""

import functools
import inspect
import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import keras

from fastact import losses
from fastact._adapters.layers import Outputs
from fastact.failures import FailureCounter
from fastact.monitor.unseen import Missing

if TYPE_CHECKING:
    from fastact.jax import Recorder
    from fastact.keras.recorder import TorchRecorder

#: Functions of Keras whose name alone does not say what they take.
_OF_PROBABILITIES: Final = {"kl_divergence": "kl_divergence_of_probabilities"}
#: Hinges, to which Keras converts targets of 0 and 1.
_CONVERTED: Final = frozenset({"hinge", "squared_hinge"})
#: How Keras's reductions are called elsewhere.
_REDUCTIONS: Final = {"sum_over_batch_size": "mean", "mean": "mean", "mean_with_sample_weight": "mean", "sum": "sum"}
_NO_LOSS: Final = Missing(
    "the model's own train_step computes its loss without compute_loss, and with no keras.losses.Loss", warn=False
)
#: Calls of losses in a step that are told apart.
_MOST: Final = 8


class Losses:
    """Records the losses of a model until `remove`; a `Watcher`, which can say that there were none.

    Args:
        model: the compiled model.
        recorder: where they are recorded.
        outputs: the tensors that its layers returned.
        failure_counter: counts what goes wrong.
        taken: the names of layers.
        steps: the batches of an epoch, where that is known.
    """

    by_record = True

    def __init__(
        self,
        model: Any,
        recorder: "Recorder | TorchRecorder",
        outputs: Outputs,
        failure_counter: FailureCounter,
        taken: Collection[str],
        steps: Any = None,
    ) -> None:
        self._steps = steps if isinstance(steps, int) else None
        self._model, self._recorder, self._outputs, self._failure_counter = model, recorder, outputs, failure_counter
        self._name = "loss" if "loss" not in taken else "loss#2"
        self._compiled: Any = getattr(model, "_compile_loss", None)
        self._original: list[Any] = []
        #: Whether the model is being trained, and whether one of its losses was recorded, in this call of compute_loss.
        self._training, self._recorded = True, False
        #: What is known of each loss, found when it is first computed.
        self._known: dict[str, Known] = {}
        #: Whether the model's train_step runs, and in it a loss that is recorded by itself; how many others it called.
        self._stepping = self._inside = self._stepped = False
        self._calls = 0
        self._wrap_train_step()
        self._wrap_compute_loss()
        _follow(self)
        if self._compiled is not None:
            if self._compiled.built:
                self._wrap_losses()
            else:
                self._wrap_build()

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the loss."""
        return (self._name,)

    @property
    def stepping(self) -> bool | None:
        """Whether the model's train_step runs; None where none has run yet."""
        return self._stepping if self._stepped else None

    def unseen(self, recorded: Collection[str]) -> Mapping[str, Missing]:
        """That no loss was recorded, if so."""
        found = any(name == self._name or name.startswith((f"{self._name}.", f"{self._name}:")) for name in recorded)
        return {} if found else {self._name: _NO_LOSS}

    def remove(self) -> None:
        """Leaves the model as it was. Calling it again is harmless."""
        _unfollow(self)
        for name in ("train_step", "compute_loss"):
            vars(self._model).pop(name, None)
        if self._compiled is not None:
            vars(self._compiled).pop("build", None)
            if self._original:
                self._compiled._flat_losses, self._original = self._original, []

    def _wrap_train_step(self) -> None:
        original = self._model.train_step

        @functools.wraps(original)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            self._stepping, self._stepped, self._calls = True, True, 0
            try:
                return original(*args, **kwargs)
            finally:
                self._stepping = False

        self._model.train_step = recorded

    def called(self, value: Any, loss: Any, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        """Takes a call of a loss that a train_step of the user's makes by itself; each call of a step has its rows."""
        if self._stepping and self._training and not self._inside:
            with self._failure_counter("record the loss"):
                self._calls += 1
                number = min(self._calls, _MOST)
                name = self._name if number == 1 else f"{self._name}:{number}"
                self._record(value, loss, name, y_true, y_pred, sample_weight)

    def _wrap_compute_loss(self) -> None:
        original = self._model.compute_loss
        signature = inspect.signature(original)

        @functools.wraps(original)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs).arguments
            self._training, self._recorded = given.get("training", True) is not False, False
            try:
                value = original(*args, **kwargs)
                # A model that overrides compute_loss, or adds losses in its layers, has a loss of its own.
                if self._training and not self._recorded:
                    self._record_own(value, given)
            finally:
                self._training = True
            return value

        self._model.compute_loss = recorded

    def _record_own(self, value: Any, given: Mapping[str, Any]) -> None:
        """Records a loss of which only the value is known."""
        with self._failure_counter("record the loss"):
            if keras.ops.is_tensor(value):
                targets, predictions = (_alone(given.get(name)) for name in ("y", "y_pred"))
                facts = {"framework": "keras", "spelled": "compute_loss", "weighted": True}
                source = self._outputs.name_of(predictions)
                self._recorder.record_loss(
                    value, predictions=predictions, targets=targets, name=self._name, source=source, facts=facts
                )

    def _wrap_build(self) -> None:
        original = self._compiled.build

        @functools.wraps(original)
        def build(*args: Any, **kwargs: Any) -> None:
            original(*args, **kwargs)
            self._wrap_losses()

        self._compiled.build = build

    def _wrap_losses(self) -> None:
        with self._failure_counter("watch the losses"):
            flat = list(self._compiled._flat_losses)
            names = self._names([entry.name for entry in flat])
            wrapped = [
                entry._replace(loss=self._recorded_loss(entry.loss, name, _weight(entry.loss_weights)))
                for name, entry in zip(names, flat, strict=True)
            ]
            self._compiled._flat_losses, self._original = wrapped, flat

    def _names(self, outputs: list[str]) -> list[str]:
        """The rows' names: "loss", or where there are several "loss." and the name of the output."""
        if len(outputs) == 1:
            return [self._name]
        counts: dict[str, int] = {}
        for output in outputs:
            counts[output] = counts.get(output, 0) + 1
        used: dict[str, int] = {}
        names = []
        for output in outputs:
            used[output] = used.get(output, 0) + 1
            names.append(f"{self._name}.{output}" + (f"#{used[output]}" if used[output] > 1 else ""))
        return names

    def _recorded_loss(self, loss: Any, name: str, weight: float | None) -> Any:
        @functools.wraps(loss, updated=())
        def recorded(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            self._inside = True
            try:
                value = loss(y_true, y_pred, sample_weight)
            finally:
                self._inside = False
            if self._training:
                with self._failure_counter("record the loss"):
                    self._record(value, loss, name, y_true, y_pred, sample_weight, weight)
            return value

        return recorded

    def _record(
        self,
        value: Any,
        loss: Any,
        name: str,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any,
        weight: float | None = None,
    ) -> None:
        self._recorded = True
        predictions, targets = _alone(y_pred), _alone(y_true)
        if name not in self._known:
            known = known_of(loss)
            masked = getattr(y_pred, "_keras_mask", None) is not None
            if sample_weight is not None or masked or not _one_term_a_sample(known, targets):
                known.facts.update(weighted=True, weights_told=False)
            if self._steps is not None:
                known.facts["steps"] = self._steps
            if weight is not None:
                known.facts["weight"] = weight
            if metrics := _metrics_of(self._model):
                known.facts["metrics"] = metrics
            if added := len(self._model.losses):
                known.facts["added"] = added
            self._known[name] = known
        known = self._known[name]
        self._recorder.record_loss(
            value,
            predictions=predictions,
            targets=targets,
            function=known.function,
            name=name,
            source=self._outputs.name_of(predictions),
            axis=known.axis,
            facts=known.facts,
        )


#: Who is told of calls of losses, and Keras's own function, which is back in place when nobody is.
_followers: Final[list[Losses]] = []
_call: Final = keras.losses.Loss.__call__
#: The losses that are being computed, one for another: the outermost counts.
_running: Final[list[Any]] = []


@functools.wraps(_call)
def _followed(loss: Any, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
    _running.append(loss)
    try:
        value = _call(loss, y_true, y_pred, sample_weight)
    finally:
        _running.pop()
    for follower in tuple(_followers) if not _running else ():
        follower.called(value, loss, y_true, y_pred, sample_weight)
    return value


def _follow(losses_of: Losses) -> None:
    _followers.append(losses_of)
    keras.losses.Loss.__call__ = _followed


def _unfollow(losses_of: Losses) -> None:
    if losses_of in _followers:
        _followers.remove(losses_of)
    if not _followers:
        keras.losses.Loss.__call__ = _call


class Known(NamedTuple):
    """What is known of a loss before it is computed.

    Attributes:
        function: its name, as `fastact.losses.find` takes it; "" for one that is not Keras's own.
        axis: that of the classes.
        facts: ``framework``; ``spelled``, as the user did; ``reduction``, by its usual name; ``weighted``, whether some
            targets count for more than others, or are smoothed; ``weights_told``, whether by how much is told here;
            ``label_smoothing``; ``squeezes``, whether a last axis of 1 in predictions or targets is harmless;
            ``ignore_index``, the class that does not count; ``converts``, whether targets of 0 and 1 do for -1 and 1.
            Later ``steps``, the batches of an epoch; ``weight``, by how much it counts; ``added``, what else the model
            minimises; ``metrics``, the names of those that it was compiled with.
    """

    function: str
    axis: int
    facts: dict[str, Any]


def known_of(loss: Any) -> Known:
    """What is known of a loss that a model was compiled with.

    Args:
        loss: a `keras.losses.Loss`, as Keras makes it of strings and functions.
    """
    function: Any = getattr(loss, "fn", None)
    options = dict(getattr(loss, "_fn_kwargs", {}))
    while isinstance(function, functools.partial):
        function, options = function.func, {**function.keywords, **options}
    name = getattr(function, "__name__", "")
    by_function = name and type(loss).__name__ == "LossFunctionWrapper"
    facts: dict[str, Any] = {
        "framework": "keras",
        "spelled": name if by_function else type(loss).__name__,
        "reduction": _REDUCTIONS.get(loss.reduction, "none"),
        "weighted": bool(options.get("label_smoothing")) or options.get("ignore_class") is not None,
        "squeezes": function is not None,
    }
    if not (_is_of_keras(function) and _is_of_keras(type(loss))):
        return Known("", -1, facts)
    if options.get("ignore_class") is not None:
        facts["ignore_index"] = int(options["ignore_class"])
    if options.get("label_smoothing"):
        facts["label_smoothing"] = float(options["label_smoothing"])
        facts["weights_told"] = "ignore_index" not in facts
    if name in _CONVERTED:
        facts["converts"] = True
    of_logits = "_of_logits" if options.get("from_logits") else ""
    return Known(_OF_PROBABILITIES.get(name, name) + of_logits, int(options.get("axis", -1)), facts)


def _weight(given: Any) -> float | None:
    """By how much a loss counts, where that is a number."""
    return float(given) if isinstance(given, int | float) and not isinstance(given, bool) else None


def _metrics_of(model: Any) -> list[str]:
    """The names of the metrics that a model was compiled with: what its user wants to be told of."""
    found = keras.tree.flatten(getattr(getattr(model, "_compile_metrics", None), "_user_metrics", None))
    names = [each if isinstance(each, str) else getattr(each, "name", getattr(each, "__name__", "")) for each in found]
    return [str(name) for name in names if name][:8]


def _is_of_keras(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("keras.")


def _alone(tensors: Any) -> Any:
    """The only tensor; None where there are none or several."""
    found = [x for x in keras.tree.flatten(tensors) if hasattr(x, "shape")]
    return found[0] if len(found) == 1 else None


def _one_term_a_sample(known: Known, targets: Any) -> bool:
    """Whether a loss that is summed has as many terms as there are samples; Keras averages over the last axis."""
    loss, shape = losses.find(known.function), tuple(getattr(targets, "shape", ()))
    one_hot = loss is not None and loss.family == "categorical" and len(shape) == 2
    return known.facts["reduction"] != "sum" or math.prod(shape[1:]) == 1 or one_hot
