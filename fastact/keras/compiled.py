"""The training step of a model on JAX, compiled with rows as further results, and without any for the other steps.

And with the rows of layers alone: in nine of ten steps those of weights are not recorded, and a graph that finds that
out while it runs keeps a copy of the weights for it.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from fastact.keras.parameters import Parameters

if TYPE_CHECKING:
    from fastact.jax import Recorder

#: A step of Keras's: of the state and a batch the logs and the state.
Step = Callable[[Any, Any], tuple[Any, Any]]


def compile_step(model: Any, recorder: "Recorder", parameters: Parameters | None) -> None:
    """Makes the model's train function, whose steps return what they record to the recorder.

    Args:
        model: one that is trained by Keras's own `fit`, by whatever `train_step`.
        recorder: what its layers record to.
        parameters: what records its weights; None where they are not asked for.
    """
    train_step, make = model.train_step, model._make_function

    def compiled(step: Step) -> Step:
        made: list[Step] = []
        model.train_step = step
        model._make_function = lambda function, **_: made.append(function)
        try:
            model.make_train_function(force=True)
        finally:
            model.train_step = train_step
            del model._make_function
        return made[0]

    def with_rows(due: bool) -> Step:
        def traced(*args: Any) -> Any:
            with nullcontext() if parameters is None else parameters.fixed(due):
                return train_step(*args)

        returning = recorder.returning(traced)

        def step(state: Any, data: Any) -> tuple[Any, Any]:
            (logs, state), returned = returning(state, data)
            return (logs, returned), state  # a pair, whose second part has the shardings of the state

        return compiled(step)

    # Nothing is compiled before it is called.
    recorded, silent = {due: with_rows(due) for due in (False, True)}, compiled(recorder.silent(train_step))
    steps = 0

    def step(state: Any, data: Any) -> tuple[Any, Any]:
        nonlocal steps
        steps += 1
        if not recorder.recording:
            return silent(state, data)
        due = parameters is not None and bool(parameters.is_due(steps - 1))
        (logs, returned), state = recorded[due](state, data)
        recorder.take(returned)
        return logs, state

    model.train_function = make(step)
