"""The optimiser that a model was compiled with: its learning rate in each step, and which weights it holds."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import keras

from fastact._adapters.attachment import Attachment
from fastact.diagnosis.layer_types import OPTIMISER
from fastact.keras.initial import is_untrained
from fastact.keras.parameters import ROW, Parameters, Weight
from fastact.keras.recorder import TorchRecorder

if TYPE_CHECKING:
    from fastact.jax import Recorder

#: Names that a fact lists; how many there are is a fact of its own.
_NAMES: Final = 20
#: What is told of an optimiser, where it has it.
_SETTINGS: Final = ("momentum", "beta_1", "beta_2", "weight_decay", "clipnorm", "global_clipnorm", "clipvalue")


class Optimiser:
    """Records the learning rate whenever the optimiser of a model steps, and what it steps on, until `remove`.

    Args:
        optimiser: a `keras.optimizers.Optimizer`, within one that scales the loss.
        find: the weights of the model, as there are now.
        recorder: where it is recorded.
        attachment: what is known of the optimiser goes there.
        parameters: what records the weights around each step; None where they are not asked for.
    """

    def __init__(
        self,
        optimiser: Any,
        find: Callable[[], Sequence[Weight]],
        recorder: "Recorder | TorchRecorder",
        attachment: Attachment,
        parameters: Parameters | None,
    ) -> None:
        self._optimiser = optimiser
        apply, counter = optimiser.apply, attachment.failure_counter
        described = False
        # In JAX's graph there are no values of them.
        frozen = untrained([each for each in find() if not each.variable.trainable])

        def tell(grads: Sequence[Any], variables: Sequence[Any] | None) -> None:
            nonlocal described
            rate = _rates(optimiser)
            if not isinstance(recorder, TorchRecorder) or recorder.takes(rate):
                if not described:
                    described, weights = True, find()
                    given = zip(optimiser._trainable_variables if variables is None else variables, grads, strict=False)
                    without = {id(variable) for variable, gradient in given if gradient is None}
                    idle = [each for each in weights if id(each.variable) in without]
                    attachment.describe(ROW, facts=facts_of_optimiser(optimiser, weights, idle, frozen))
                recorder.record(ROW, rate, axis=None, layer_type=OPTIMISER)

        @functools.wraps(apply)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            after = None
            given = dict(zip(("grads", "trainable_variables"), args, strict=False)) | kwargs
            with counter("record the parameters"):
                if parameters is not None:
                    after = parameters.around(given["grads"], given.get("trainable_variables"))
            with counter("record the learning rate"):
                tell(given["grads"], given.get("trainable_variables"))
            result = apply(*args, **kwargs)
            with counter("record the updates"):
                if after is not None:
                    after()
            return result

        optimiser.apply = recorded

    def remove(self) -> None:
        """Leaves the optimiser as it was. Calling it again is harmless."""
        vars(self._optimiser).pop("apply", None)


def _rates(optimiser: Any) -> Any:
    """The learning rate, or those of the optimisers that one is made of."""
    parts = getattr(optimiser, "optimizers", None)
    if not isinstance(parts, list | tuple):
        return keras.ops.convert_to_tensor(optimiser.learning_rate)
    return keras.ops.stack([keras.ops.convert_to_tensor(each.learning_rate) for each in parts])


def untrained(weights: Sequence[Weight]) -> list[Weight]:
    """Those of these weights whose layer is still as it was initialised."""
    by_owner: dict[int, list[Weight]] = {}
    for each in weights:
        by_owner.setdefault(id(each.owner), []).append(each)
    return [
        each
        for some in by_owner.values()
        if is_untrained(some[0].owner, [each.variable for each in some])
        for each in some
    ]


def facts_of_optimiser(
    optimiser: Any, weights: Sequence[Weight], without_gradient: Sequence[Weight], frozen_untrained: Sequence[Weight]
) -> dict[str, Any]:
    """What is known of an optimiser that has been built, in the words that all adapters use.

    Args:
        optimiser: a `keras.optimizers.Optimizer`.
        weights: those of its model.
        without_gradient: those for which it was given no gradient.
        frozen_untrained: those that are frozen as they were initialised.
    """
    held = {id(variable) for variable in optimiser._trainable_variables}
    trainable = [each for each in weights if each.variable.trainable]
    frozen = [each for each in weights if not each.variable.trainable]
    missing = [each for each in trainable if id(each.variable) not in held]
    own = {id(each.variable) for each in trainable}
    facts: dict[str, Any] = {
        "function": type(optimiser).__name__,
        "groups": 1,
        "parameters": len(own & held),
        "others": len(held - own),
        "trainable": len(trainable),
        "elements": sum(each.elements for each in trainable),
        "missing_elements": sum(each.elements for each in missing),
        "frozen_elements": sum(each.elements for each in frozen),
    }
    lists = {
        "missing": missing,
        "frozen": frozen,
        "without_gradient": without_gradient,
        "untrained": [*frozen_untrained, *untrained(without_gradient)],
    }
    for key, listed in lists.items():
        facts[key] = [each.name for each in listed][:_NAMES]
        facts[f"{key}_tensors"] = len(listed)
    facts["untrained_elements"] = sum(each.elements for each in lists["untrained"])
    settings = {key: getattr(optimiser, key, None) for key in _SETTINGS}
    return facts | {key: float(value) for key, value in settings.items() if isinstance(value, int | float)}
