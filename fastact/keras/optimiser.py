"""The optimiser that a model was compiled with: its learning rate in each step, and which weights it holds."""

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import keras

from fastact.diagnosis.layer_types import OPTIMISER
from fastact.failures import FailureCounter
from fastact.keras.recorder import TorchRecorder

if TYPE_CHECKING:
    from fastact.jax import Recorder

#: The row's name, as other adapters have it.
ROW: Final = "optimiser"
#: Names that a fact lists; how many there are is a fact of its own.
_NAMES: Final = 20
#: What is told of an optimiser, where it has it.
_SETTINGS: Final = ("momentum", "weight_decay")


class Optimiser:
    """Records the learning rate whenever the optimiser of a model steps, until `remove`.

    Args:
        optimiser: a `keras.optimizers.Optimizer`.
        recorder: where it is recorded.
        failure_counter: counts what goes wrong.
    """

    def __init__(self, optimiser: Any, recorder: "Recorder | TorchRecorder", failure_counter: FailureCounter) -> None:
        # One that scales the loss hands the gradients to the one inside.
        self._optimiser = optimiser = getattr(optimiser, "inner_optimizer", optimiser)
        apply = optimiser.apply

        @functools.wraps(apply)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with failure_counter("record the learning rate"):
                rate = keras.ops.convert_to_tensor(optimiser.learning_rate)
                if not isinstance(recorder, TorchRecorder) or recorder.takes(rate):
                    recorder.record(ROW, rate, axis=None, layer_type=OPTIMISER)
            return apply(*args, **kwargs)

        optimiser.apply = recorded

    def remove(self) -> None:
        """Leaves the optimiser as it was. Calling it again is harmless."""
        vars(self._optimiser).pop("apply", None)


def facts_of_optimiser(optimiser: Any, layers: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of an optimiser that has been built, in the words that all adapters use.

    Args:
        optimiser: a `keras.optimizers.Optimizer`.
        layers: the layers of its model, by name.
    """
    optimiser = getattr(optimiser, "inner_optimizer", optimiser)
    held = {id(variable) for variable in optimiser._trainable_variables}
    trainable: dict[str, Any] = {}
    frozen: dict[str, Any] = {}
    for layer_name, layer in layers.items():
        # Of the weights that are trained by default: a batch normalisation has others.
        for variable in layer.trainable_variables:
            trainable[f"{layer_name}/{variable.name}"] = variable
        if not layer.trainable:
            frozen |= {f"{layer_name}/{variable.name}": variable for variable in layer._trainable_variables}
    missing = [name for name, variable in trainable.items() if id(variable) not in held]
    own = {id(variable) for variable in trainable.values()}
    sizes = {name: _elements(variable) for name, variable in trainable.items()}
    facts: dict[str, Any] = {
        "function": type(optimiser).__name__,
        "groups": 1,
        "parameters": len(own & held),
        "others": len(held - own),
        "trainable": len(trainable),
        "elements": sum(sizes.values()),
        "missing": missing[:_NAMES],
        "missing_tensors": len(missing),
        "missing_elements": sum(sizes[name] for name in missing),
        "frozen": list(frozen)[:_NAMES],
        "frozen_tensors": len(frozen),
        "frozen_elements": sum(map(_elements, frozen.values())),
    }
    settings = {key: getattr(optimiser, key, None) for key in _SETTINGS}
    return facts | {key: float(value) for key, value in settings.items() if isinstance(value, int | float)}


def _elements(variable: Any) -> int:
    return int(math.prod(variable.shape))
