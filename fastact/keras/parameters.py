"""The weights of a model, their gradients and their updates: what its optimiser is given, and what it makes of it.

They are taken around the optimiser's `apply`: on PyTorch as tensors, on JAX within the graph. There is one graph for
the steps in which they are recorded and one for those in which they are not; where that cannot be, the graph reads the
number of the optimiser's step.
"""

import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import keras

from fastact._adapters.attachment import Attachment
from fastact.diagnosis.layer_types import GRADIENT_SUFFIX, PARAMETER, PARAMETER_GRADIENT, UPDATE, UPDATE_SUFFIX
from fastact.keras.recorder import TorchRecorder
from fastact.monitor.unseen import Missing

if TYPE_CHECKING:
    from fastact.jax import Recorder

#: The optimiser's row, as other adapters have it.
ROW: Final = "optimiser"
#: Units along an axis that are told apart; those of a larger one are a vocabulary.
_UNITS: Final = 4096
#: Elements of a parameter that is looked at whole for its update, and about how many of a larger one.
_WHOLE: Final = 4096
_SAMPLE: Final = 2048
#: What a row's name ends in.
_SUFFIXES: Final = {PARAMETER: "", PARAMETER_GRADIENT: GRADIENT_SUFFIX, UPDATE: UPDATE_SUFFIX}
_NO_GRADIENT: Final = Missing("the loss does not depend on it, or the way back to it is cut", warn=False)


class Wanted(NamedTuple):
    """Which rows are recorded, and in one of how many steps of the optimiser."""

    weights: bool
    gradients: bool
    updates: bool
    every: int


class Weight(NamedTuple):
    """A trainable weight of a model, frozen or not.

    Attributes:
        name: that of its rows: the layer's name and its own.
        layer: the name of the layer that it belongs to; "" for one of the model's own.
        owner: the innermost layer that has it.
        variable: the `keras.Variable`.
        axis: that of the layer's units; None where there is none.
    """

    name: str
    layer: str
    owner: Any
    variable: Any
    axis: int | None

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return int(math.prod(self.variable.shape))


def weights_of(model: Any, layers: Mapping[str, Any]) -> list[Weight]:
    """The weights of a model that are trained by default, frozen or not, in the order of its layers.

    A batch normalisation's moving averages, and the seeds of dropouts, are none.

    Args:
        model: a built model.
        layers: its layers, by the names that their rows have.
    """
    found: dict[int, Weight] = {}
    taken: set[str] = set()
    for layer_name, layer in [*layers.items(), ("", model)]:
        for inner, variable in _variables(layer):
            if id(variable) in found:
                continue
            prefix = layer_name + "/" if layer_name else ""
            name = prefix + str(variable.name)
            if name in taken or not layer_name:  # such as the kernels of both directions
                name = prefix + str(variable.path).removeprefix(str(layer.name) + "/")
            taken.add(name)
            found[id(variable)] = Weight(name, layer_name, inner, variable, _axis(inner, variable))
    return list(found.values())


def _variables(layer: Any) -> Iterator[tuple[Any, Any]]:
    """The weights within a layer, each with the innermost layer that has it."""
    for inner in layer._flatten_layers():
        for variable in inner._trainable_variables:
            yield inner, variable


def _axis(layer: Any, variable: Any) -> int | None:
    shape = tuple(variable.shape)
    if len(shape) < 2 or isinstance(layer, keras.layers.Embedding):
        return None
    axis = len(shape) - (2 if "Transpose" in type(layer).__name__ or variable.name == "depthwise_kernel" else 1)
    return axis if shape[axis] <= _UNITS else None


class Parameters:
    """Records the weights of a model around the steps of its optimiser; a `Watcher`, which says what got no gradient.

    Args:
        find: the weights of the model, as there are now: some are made in its first step.
        optimiser: the `keras.optimizers.Optimizer` that steps, within one that scales the loss.
        recorder: where rows go.
        attachment: what is known of them goes there.
        wanted: which rows.
    """

    by_record = True

    def __init__(
        self,
        find: Callable[[], Sequence[Weight]],
        optimiser: Any,
        recorder: "Recorder | TorchRecorder",
        attachment: Attachment,
        wanted: Wanted,
    ) -> None:
        self.wanted = wanted
        self._find, self._weights = find, {id(each.variable): each for each in find()}
        self._optimiser, self._recorder, self._attachment = optimiser, recorder, attachment
        self._held = {id(variable) for variable in optimiser._trainable_variables}
        self._start = int(optimiser._iterations)
        #: Variables of the optimiser that are none of the model's, as far as they were looked for.
        self._strangers: set[int] = set()
        #: Weights that the optimiser was given no gradient for, by name; the step that was last recorded.
        self._without: dict[str, None] = {}
        self._at = -1
        self._described: set[str] = set()
        #: Whether they are recorded in the steps for which a graph is being made; None where it is to find out itself.
        self._fixed: bool | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the optimiser that steps on them; some of their own are known later."""
        return (ROW,)

    def unseen(self, recorded: Collection[str]) -> Mapping[str, Missing]:
        """The gradients that never were."""
        return {name + GRADIENT_SUFFIX: _NO_GRADIENT for name in self._without}

    def record_frozen(self) -> None:
        """Records what is frozen once, before the first step: it stays as it is."""
        for each in self._weights.values():
            if self.wanted.weights and not each.variable.trainable and self._attachment.active:
                value = each.variable.value
                value = value.detach() if hasattr(value, "detach") else value
                if _is_float(value):
                    self._describe(each, each.name)
                    self._attachment.record(each.name, value, axis=each.axis, layer_type=PARAMETER)

    def around(self, gradients: Sequence[Any], variables: Sequence[Any] | None) -> Callable[[], None]:
        """Records what the optimiser is about to apply; what is returned is called after it, and records the updates.

        Args:
            gradients: one for each variable; None for none.
            variables: None: those that the optimiser was built with.
        """
        held = self._optimiser._trainable_variables
        variables = list(held if variables is None else variables)
        self._held = {id(variable) for variable in held or variables}
        if not self._weights.keys() | self._strangers >= {id(variable) for variable in variables}:
            self._weights = {id(each.variable): each for each in self._find()}
            self._strangers = {id(variable) for variable in variables} - self._weights.keys()
        pairs = [
            (each, gradient)
            for variable, gradient in zip(variables, gradients, strict=False)
            if (each := self._weights.get(id(variable))) is not None
        ]
        self._without |= {each.name: None for each, gradient in pairs if gradient is None}
        if isinstance(self._recorder, TorchRecorder):
            return self._around_now(pairs, self._recorder)
        return self._around_traced(pairs, self._recorder)

    def _around_now(self, pairs: list[tuple[Weight, Any]], recorder: TorchRecorder) -> Callable[[], None]:
        from fastact.torch.updates import Sample, changes, keep

        step = self._attachment.current_step if self._attachment.active else -1
        if (
            not pairs
            or not recorder.takes(pairs[0][0].variable.value)
            or not self.is_due(self._steps())
            or step == self._at
        ):
            return _nothing
        self._at = step
        self._take(pairs, True)
        if not self.wanted.updates:
            return _nothing
        samples = [(each, Sample()) for each, _ in pairs]
        looked = [(each, sample) for each, sample in samples if sample.look(each.variable.value)]
        keep([sample for _, sample in looked])

        def after() -> None:
            there = [(each, sample) for each, sample in looked if sample.look(each.variable.value)]
            updates = changes([sample for _, sample in there])
            self._record([(each, x) for (each, _), x in zip(there, updates, strict=True)], UPDATE, True)

        return after

    def _around_traced(self, pairs: list[tuple[Weight, Any]], recorder: "Recorder") -> Callable[[], None]:
        # Within a condition of its own, such as that a scaled loss is finite, a graph returns nothing.
        due = self.is_due(self._steps()) if self._fixed is None or not recorder.returns else self._fixed
        if due is False:
            return _nothing
        self._take(pairs, due)
        if not self.wanted.updates:
            return _nothing
        old = [(each, _sample(each.variable.value)) for each, _ in pairs]

        def after() -> None:
            self._record([(each, _sample(each.variable.value) - before) for each, before in old], UPDATE, due)

        return after

    @contextlib.contextmanager
    def fixed(self, due: bool) -> Iterator[None]:
        """While a graph is made for steps that are all recorded, or of which none is."""
        before, self._fixed = self._fixed, due
        try:
            yield
        finally:
            self._fixed = before

    def _steps(self) -> Any:
        """The steps of the optimiser before this one, in this training: an integer, or a traced one."""
        return self._optimiser._iterations.value - self._start

    def is_due(self, steps: Any) -> Any:
        """Whether the optimiser's step after so many is one of those that are recorded: a bool, or a traced one.

        Of an optimiser that accumulates gradients a step is one in which it changes the weights.
        """
        pile = self._optimiser.gradient_accumulation_steps
        if not pile:
            return steps % self.wanted.every == 0
        changes = (self._start + steps + 1) % pile == 0
        return changes & (steps // pile % self.wanted.every == 0)

    def _take(self, pairs: list[tuple[Weight, Any]], due: Any) -> None:
        if self.wanted.weights:
            self._record([(each, each.variable.value) for each, _ in pairs], PARAMETER, due)
        if self.wanted.gradients:
            self._record([(each, grad) for each, grad in pairs if grad is not None], PARAMETER_GRADIENT, due)

    def _record(self, found: Sequence[tuple[Weight, Any]], layer_type: str, due: Any) -> None:
        there = [(each, x) for each, x in found if _is_float(x)]
        names = [each.name + _SUFFIXES[layer_type] for each, _ in there]
        for name, (each, x) in zip(names, there, strict=True):
            self._describe(each, name, **({"sampled": int(math.prod(x.shape))} if layer_type == UPDATE else {}))
        axes = {name: None if layer_type == UPDATE else each.axis for name, (each, _) in zip(names, there, strict=True)}
        tensors = {name: x for name, (_, x) in zip(names, there, strict=True)}
        if not isinstance(self._recorder, TorchRecorder):
            self._recorder.record_many(tensors, layer_type=layer_type, axes=axes, when=due)
            return
        for name, x in tensors.items():
            self._recorder.record(name, x, axis=axes[name], layer_type=layer_type)

    def _describe(self, each: Weight, name: str, **facts: Any) -> None:
        """Notes what is known of a weight before its first row."""
        if name in self._described:
            return
        self._described.add(name)
        known = {
            "trainable": bool(each.variable.trainable),
            "optimiser": id(each.variable) in self._held if self._held else None,
            "gradient": each.name not in self._without and bool(each.variable.trainable),
            "elements": each.elements,
            "shape": [int(size) for size in each.variable.shape],
            "layer": each.layer,
        }
        self._attachment.describe(name, facts=known | facts)


def _nothing() -> None:
    """What there is to do after a step that is not recorded."""


def _is_float(x: Any) -> bool:
    dense = not type(x).__name__.startswith("Sparse") and hasattr(x, "shape") and math.prod(x.shape) > 0
    return dense and keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))


def _sample(x: Any) -> Any:
    """The elements of a weight that are looked at, as float32, always the same."""
    flat, count = keras.ops.reshape(x, (-1,)), int(math.prod(x.shape))
    if count > _WHOLE:
        stride = math.ceil(count / _SAMPLE)
        while math.gcd(stride, count) > 1:  # so that it does not stay within a few columns
            stride += 1
        flat = flat[::stride]
    return keras.ops.cast(flat, "float32")
