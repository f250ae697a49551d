"""What a network is trained by: its loss, what the loss is given, and the targets, as rows beside those of the layers.

Of targets and predictions only what a summary has is kept: their shape, range and moments, their few distinct values.
The targets of the first batches stay in memory for as long as it takes to know what the best constant answer is worth.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact import losses
from fastact.arrays.host import on_gpu
from fastact.checks import check_type
from fastact.diagnosis.layer_types import (
    BASELINE,
    BASELINE_SUFFIX,
    EVALUATION_SUFFIX,
    LOSS,
    PREDICTION,
    PREDICTION_SUFFIX,
    TARGET,
    TARGET_SUFFIX,
)
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError
from fastact.failures import FailureCounter
from fastact.loss_forms import MOST, Form, over_all_pairs, recognise
from fastact.monitor.batches import facts_of_predictions, facts_of_targets, numbers
from fastact.monitor.sampled import Sampled

#: Predictions, and targets, within 0 and 1 are probabilities; those beyond are counted as saturated.
_PROBABILITIES: Final = (0.0, 1.0)
#: The framework of a tensor, by the package that its type is from.
_FRAMEWORKS: Final = {"torch": "torch", "jax": "jax", "jaxlib": "jax"}
#: Batches whose targets tell what the best constant answer is worth, fewer on a GPU, for which each of them waits;
#: and elements that are kept of them.
_BATCHES: Final = 50
_BATCHES_OF_GPU: Final = 10
_ELEMENTS: Final = 65_536


class _Pool:
    """The targets of the first batches, and what the best constant answer to them is worth."""

    __slots__ = ("_batches", "_most", "_parts", "_told", "_value")

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.float64]] = []
        self._batches, self._most = 0, _BATCHES
        #: How many batches `_value` is of.
        self._told = 0
        self._value: float | None = None

    @property
    def open(self) -> bool:
        """Whether more targets would tell more."""
        return self._batches < self._most and sum(part.size for part in self._parts) < _ELEMENTS

    def add(self, targets: Any) -> None:
        """Takes a batch of targets."""
        self._batches += 1
        self._most = _BATCHES_OF_GPU if on_gpu(targets) else _BATCHES
        part = numbers(targets, _ELEMENTS)
        part = part if part.ndim else part.reshape(1)
        if not self._parts or part.shape[1:] == self._parts[0].shape[1:]:
            self._parts.append(part)

    def constant_answer(self, loss: losses.Loss, options: Mapping[str, Any]) -> float | None:
        """The least mean loss of an answer that is the same for every sample; None where one sample is all there is.

        It is found anew whenever there are twice as many batches: of 50 batches of 128 samples at each would take 160
        microseconds, eight times what recording a loss takes.
        """
        if self._parts and (self._batches >= 2 * self._told or not self.open):
            self._told = self._batches
            if sum(map(len, self._parts)) > 1:
                self._value = losses.constant_answer(loss, np.concatenate(self._parts), options)
            if not self.open:
                self._parts = []
        return self._value


def _terms(targets: Any, loss: losses.Loss) -> int:
    """How many terms a loss that is summed, not averaged, has for a batch."""
    shape = tuple(getattr(targets, "shape", ()))
    numbered = "classes" in loss.targets and "int" in str(getattr(targets, "dtype", ""))
    return math.prod(shape[:1] if loss.family == "categorical" and len(shape) > 1 and not numbered else shape)


def _form_of(value: Any, predictions: Any, targets: Any, axis: int) -> Form | None:
    """Which of the known losses one without a name is, by what it comes to."""
    shape = tuple(getattr(predictions, "shape", ()))
    other = tuple(getattr(targets, "shape", ()))
    if max(math.prod(shape), math.prod(other)) > MOST:
        return None
    whole = numbers(predictions, MOST), numbers(targets, MOST)
    if whole[0].shape != shape or whole[1].shape != other:
        return None  # a part of them is here
    half = str(getattr(predictions, "dtype", "")).endswith("float16")
    return recognise(float(numbers(value, MOST).mean()), *whole, axis=axis, half=half)


def _facts_of_pairs(value: Any, predictions: Any, targets: Any) -> dict[str, Any]:
    """That a loss without a name compares each prediction with the targets of all samples, as shapes broadcast."""
    shape = tuple(getattr(predictions, "shape", ()))
    samples = math.prod(shape)
    if samples * samples > MOST or shape[:1] != (samples,):
        return {}
    if not over_all_pairs(float(numbers(value, MOST).mean()), numbers(predictions, MOST), numbers(targets, MOST)):
        return {}
    return {"broadcast": [[int(size) for size in shape], [samples, samples]]}


def _view_of(facts: Mapping[str, Any] | None) -> tuple[int, ...]:
    """The samples and places that predictions had, for each of which there is a target, before they were made flat."""
    known = (facts or {}).get("prediction")
    view = known.get("view") if isinstance(known, Mapping) else None
    whole = isinstance(view, list) and all(isinstance(size, int) for size in view)
    return tuple(view[:-1]) if isinstance(view, list) and whole else ()


def _facts_of_form(form: Form) -> dict[str, Any]:
    """What is told of a loss that has been recognised."""
    return {"form": form.function, "factor": form.factor, "summed": form.summed, "root": form.root}


class Supervision(ABC):
    """The part of `ActivationMonitor` that takes losses and targets."""

    _failures: FailureCounter
    _closed: bool
    #: Of each loss, in each mode: the targets of its first batches; and the rows that are described.
    _pools: dict[str, _Pool]
    _known: set[str]
    #: Of losses without a name: which of the known ones they are.
    _forms: dict[str, Form]
    #: The rows of targets with a column for each class, of which each sample has one.
    _one_hot: set[str]
    record: Callable[..., Any]
    describe: Callable[..., None]

    @property
    @abstractmethod
    def active(self) -> bool:
        """Whether the current step is recorded."""

    def record_loss(
        self,
        value: Any,
        *,
        predictions: Any = None,
        targets: Any = None,
        function: str = "",
        name: str = "loss",
        source: str = "",
        axis: int = -1,
        facts: Mapping[str, Any] | None = None,
        training: bool = True,
    ) -> None:
        """Records the loss of this step, so that the diagnosis can tell whether anything is learnt.

        With `predictions`, `targets` and `function` it can also tell whether these fit each other, at the first batch:
        softmax over one unit, say, or targets outside the range of the output.

        Args:
            value: the loss: a number, or an array or tensor of any shape, whose mean counts.
            predictions: what the loss is given: logits, probabilities or values, of shape (samples, ...).
            targets: what it is compared with; see `record_targets`.
            function: the loss function by any framework's name, such as "CrossEntropyLoss", "mse_loss" or
                "binary_crossentropy".
            name: the name of its rows, for a model with several losses: ``"loss"``, ``"loss:prediction"``,
                ``"loss:target"``, and ``"loss:baseline"`` for what the best constant answer would come to.
            source: the layer that has recorded the predictions, which are not swept once more then.
            axis: the axis of the classes or units in `predictions`.
            facts: what else is known of the loss and stays so, such as ``{"reduction": "sum"}``, as in `LayerInfo`.
            training: False for a loss in evaluation: its rows go by the name and ``":eval"``.

        Raises:
            ArgumentTypeError, ArgumentValueError: an argument is not what it should be; nothing more is recorded then.
            FastactError: the monitor is closed.

        Example:
            >>> import numpy as np
            >>> from fastact import ActivationMonitor
            >>> with ActivationMonitor() as monitor:
            ...     for loss in (0.9, 0.8, 0.7):
            ...         monitor.record_loss(loss, targets=np.array([0, 1, 1, 0]), function="cross_entropy")
            ...         monitor.step()
            >>> monitor.history["loss"]["mean"].tolist(), round(float(monitor.history["loss:baseline"]["mean"][0]), 3)
            ([0.9, 0.8, 0.7], 0.693)
        """
        if not self._takes(name):
            return
        loss = losses.find(check_type("function", function, str, "a str"))
        row = name if training else name + EVALUATION_SUFFIX
        if predictions is not None and not check_type("source", source, str, "a str"):
            source = name + PREDICTION_SUFFIX
            neurons = axis if len(getattr(predictions, "shape", ())) > 1 else None
            self._summarise("predictions", source, predictions, PREDICTION, training, neurons)
        if targets is not None:
            self._record_targets(targets, name, training, _view_of(facts))
        if row not in self._known:
            known: dict[str, Any] = {"spelled": function}
            if loss is None and predictions is not None and targets is not None:
                with self._failures(f"look what {name!r} comes to"):
                    form = _form_of(value, predictions, targets, axis)
                    if form is not None:
                        self._forms[row] = form
                        known |= _facts_of_form(form)
                    elif "broadcast" not in (facts or {}):
                        known |= _facts_of_pairs(value, predictions, targets)
            library = type(value if predictions is None else predictions).__module__.partition(".")[0]
            if library in _FRAMEWORKS:
                known["framework"] = _FRAMEWORKS[library]
            known |= facts or {}
            own = loss or (self._forms[row].loss if row in self._forms else None)
            known["function"] = own.name if own is not None else ""
            if predictions is not None:
                with self._failures(f"describe what {name!r} is given"):
                    known["prediction"] = facts_of_predictions(predictions, axis) | dict(known.get("prediction", {}))
            self.describe(row, source=source, facts=known)
            self._known.add(row)
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = np.asarray(value, np.float64)
        self._summarise("value", name, value, LOSS, training)
        pool, form = self._pools.get(row), self._forms.get(row)
        loss = form.loss if loss is None and form is not None else loss
        options = facts or {}
        if loss is None or (pool is None and loss.targets):
            return
        if options.get("weighted") and (not options.get("weights_told") or options.get("reduction") == "sum"):
            return
        shape = tuple(getattr(predictions, "shape", ()))
        if options.get("weights_told") and len(shape) > 1:
            options = {**options, "units": int(shape[axis])}
        if loss.name == "huber" and form is None and options.get("framework") != "torch":
            return  # whose width is not known
        with self._failures("find what a constant answer is worth"):
            nothing = np.empty(0)
            constant = (
                losses.constant_answer(loss, nothing, options) if pool is None else pool.constant_answer(loss, options)
            )
            if constant is not None and not (pool is None and options.get("reduction") == "sum"):
                if form is not None:
                    constant = form.worth(constant, _terms(targets, loss))
                elif options.get("reduction") == "sum":
                    constant *= _terms(targets, loss)
                elif options.get("reduction") == "mean" and loss.name == "kl_divergence":
                    constant /= targets.shape[-1]  # PyTorch's mean is one over all numbers
                worth = np.asarray(constant, np.float64)
                self.record(name + BASELINE_SUFFIX, worth, layer_type=BASELINE, training=training)

    def record_targets(self, targets: Any, *, name: str = "loss", training: bool = True) -> None:
        """Records a summary of this step's targets: their range and moments, shape and few distinct values.

        The targets themselves are in no log. `record_loss` does this by itself where it is given them.

        Args:
            targets: classes, probabilities or values: an array or tensor of shape (samples, ...).
            name: the loss that they belong to; the row goes by the name and ``":target"``.
            training: False for targets in evaluation.

        Raises:
            ArgumentTypeError, ArgumentValueError: the targets hold no numbers.
            FastactError: the monitor is closed.

        Example:
            >>> import numpy as np
            >>> from fastact import ActivationMonitor
            >>> with ActivationMonitor() as monitor:
            ...     monitor.record_targets(np.array([0, 2, 1]))
            ...     monitor.step()
            >>> monitor.history["loss:target"].info.facts["distinct"]
            [0.0, 1.0, 2.0]
        """
        if self._takes(name):
            self._record_targets(targets, name, training, ())

    def _record_targets(self, targets: Any, name: str, training: bool, view: Sequence[int]) -> None:
        """The same, of targets that had the shape `view`, of samples and places, before they were made flat."""
        mode = "" if training else EVALUATION_SUFFIX
        row = name + TARGET_SUFFIX
        error = None if row + mode in self._known else self._describe_batch(row + mode, targets, view)
        # Of one column a class, columns tell which classes a batch has.
        axis = -1 if row + mode in self._one_hot and len(getattr(targets, "shape", ())) == 2 else None
        self._summarise("targets", row, targets, TARGET, training, axis)
        if error is not None:  # of what can be swept; what cannot has been refused
            self._failures.failed(f"describe {row!r}", error)
        self._known.add(row + mode)
        pool = self._pools.setdefault(name + mode, _Pool())
        if pool.open:
            with self._failures(f"look at {row!r}"):
                pool.add(targets)

    def _describe_batch(self, row: str, targets: Any, view: Sequence[int]) -> Exception | None:
        try:
            facts = facts_of_targets(targets, view)
            self.describe(row, facts=facts)
            if facts.get("one_hot"):
                self._one_hot.add(row)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            return error.with_traceback(None)  # which leads to the caller, who keeps it: a circle
        return None

    def _takes(self, name: object) -> bool:
        """Whether this step is recorded; raises where nothing can be."""
        check_type("name", name, str, "a str")
        if self._closed:
            raise FastactError(f"the monitor is closed: cannot record {name!r}")
        return self.active

    def _summarise(
        self, argument: str, name: str, x: Any, layer_type: str, training: bool, axis: int | None = None
    ) -> None:
        """`record`, with errors that name the argument as the caller knows it."""
        saturation = None if layer_type == LOSS else _PROBABILITIES
        dtype = ""
        if isinstance(x, Sampled):
            x, dtype, axis = x.stats, x.dtype, None if layer_type == TARGET else axis
        elif hasattr(x, "detach"):
            x = x.detach()
        try:
            self.record(
                name, x, axis=axis, layer_type=layer_type, saturation=saturation, dtype=dtype, training=training
            )
        except (ArgumentTypeError, ArgumentValueError) as error:
            message = str(error)
            if not message.startswith("x: "):
                raise
            raise type(error)(argument + message[1:]) from None
