"""What `watch` needs of a monitor, in which of its steps it records, and whose gradients."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

from fastact.checks import check_integer
from fastact.errors import ArgumentValueError

#: What `watch` takes as `gradients`: both, neither, or those of outputs or parameters alone.
Gradients = bool | Literal["outputs", "parameters"]


class MonitorLike(Protocol):
    """What `watch` needs of a monitor; `fastact.ActivationMonitor` is one."""

    @property
    def active(self) -> bool:
        """Whether the current step is recorded; where it is not, hooks do nothing else."""

    def record(self, name: str, x: Any, /, *, axis: int | None = None, kind: str = "") -> object:
        """Takes the activations `x` of layer `name`, whose type is `kind`, with its neurons along `axis`."""


def recorded_steps(every: object, first: object) -> Callable[[int], bool] | None:
    """Whether a step is recorded, as a function of the step; None where all are."""
    count = "a number of steps"
    until = check_integer("first", first, 0, words=count, unit="steps")
    if callable(every):
        wanted = every
        return (lambda step: step < until or bool(wanted(step))) if until else wanted
    stride = check_integer("every", every, 1, words=f"{count} or a function of the step", unit="step")
    return None if stride == 1 else lambda step: step < until or step % stride == 0


def of_outputs(gradients: object) -> bool:
    """Whether the gradients of outputs are recorded."""
    if not isinstance(gradients, bool) and gradients not in ("outputs", "parameters"):
        raise ArgumentValueError(f'gradients: got {gradients!r}, want True, False, "outputs" or "parameters"')
    return gradients in (True, "outputs")


def of_parameters(gradients: object) -> bool:
    """Whether the gradients of parameters are recorded."""
    return gradients in (True, "parameters")
