"""Whether gradients are cleared when they should be: after an optimiser's step, not between backward pass and step.

PyTorch tells nobody of `zero_grad()`. But what it leaves behind is seen at the next backward pass, by a hook on a few
parameters, which is there for a handful of steps: a gradient that is still the tensor that the optimiser stepped with,
and to which nothing has been written since, is about to be added to. A gradient that came and is gone when the
optimiser steps was cleared before its time. Nothing is read of the gradients, so that nothing waits for a GPU.
"""

import weakref
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import nn

from fastact.monitor.unseen import Missing

#: What is missing where gradients are never cleared, where they are cleared too soon, and where no step uses them.
ZERO_GRAD: Final = "optimiser.zero_grad"
GRADIENTS: Final = "optimiser.gradients"
BACKWARD: Final = "optimiser.backward"
KEPT: Final = Missing(
    "gradients are not cleared between two steps: those of one were still there, unchanged, in the next backward pass",
    warn=False,
)
CLEARED: Final = Missing(
    "gradients are gone when the optimiser steps: they are cleared after the backward pass", warn=False
)
UNUSED: Final = Missing(
    "gradients are cleared after most backward passes, and no optimiser has stepped in between: it uses the last ones",
    warn=False,
)

#: Backward passes between two steps whose gradients are thrown away, from which on it is no game of two networks, of
#: which one clears what the other's loss has left; and steps that tell.
_THROWN: Final = 3
_TWICE: Final = 2
#: Steps that are looked at, of which so many tell; the parameters that are looked at, and their largest size.
_STEPS: Final = 8
_ENOUGH: Final = 3
_PARAMETERS: Final = 3
_ELEMENTS: Final = 1 << 16


class _Looked:
    """A parameter, and what its gradient was when an optimiser had stepped.

    Attributes:
        came: whether a backward pass has added to the gradient since.
        whole: whether each found it as it was left.
        thrown: how many found it gone that had come since.
    """

    __slots__ = ("came", "gradient", "handle", "parameter", "thrown", "version", "whole")

    def __init__(self, parameter: nn.Parameter) -> None:
        self.parameter = weakref.ref(parameter)
        self.gradient: torch.Tensor | None = None
        self.version = self.thrown = 0
        self.came = self.whole = False
        self.stepped(parameter)
        self.handle: Any = parameter.register_hook(self._coming)

    def stepped(self, parameter: nn.Parameter) -> None:
        """An optimiser has stepped."""
        self.gradient = parameter.grad
        self.version = 0 if self.gradient is None else self.gradient._version
        self.came, self.whole, self.thrown = False, self.gradient is not None, 0

    def _coming(self, gradient: torch.Tensor) -> None:
        """A backward pass is about to add to the gradient, or to make it; called by autograd."""
        parameter = self.parameter()
        now = None if parameter is None else parameter.grad
        self.thrown += self.came and parameter is not None and now is None
        self.came = True
        self.whole = self.whole and now is not None and now is self.gradient and now._version == self.version
        self.version += 1


class Clearing:
    """What is known of `zero_grad()` by the first steps of an optimiser."""

    def __init__(self) -> None:
        self._looked: list[_Looked] = []
        self._steps = self._kept = self._cleared = self._thrown = 0
        self.ended = False  #: Whether enough steps were looked at.

    def missing(self) -> dict[str, Missing]:
        """What was not seen, by name."""
        most = max(_ENOUGH, (2 * self._steps + 2) // 3)
        missing = {ZERO_GRAD: KEPT} if self._kept >= most else {}
        missing |= {BACKWARD: UNUSED} if self._thrown >= max(_TWICE, (2 * self._steps + 2) // 3) else {}
        return missing | ({GRADIENTS: CLEARED} if self._cleared >= most else {})

    def before(self) -> None:
        """The optimiser is about to step."""
        came = [(each, parameter) for each in self._looked if each.came and (parameter := each.parameter()) is not None]
        if came:
            self._steps += 1
            self._kept += any(each.whole and parameter.grad is each.gradient for each, parameter in came)
            self._cleared += all(parameter.grad is None for _, parameter in came)
            self._thrown += all(each.thrown >= _THROWN for each, _ in came)
            if self._steps >= _STEPS:
                self.end()

    def after(self, held: Sequence[nn.Parameter]) -> None:
        """It has stepped; it holds these parameters."""
        if self.ended:
            return
        if not self._looked:
            fit = [each for each in held if each.requires_grad and each.is_leaf and each.numel() <= _ELEMENTS]
            fit = [each for each in fit if type(each.data) is torch.Tensor]
            places = {0, len(fit) // 2, len(fit) - 1} if fit else set()
            self._looked = [_Looked(fit[place]) for place in sorted(places)][:_PARAMETERS]
        for each in self._looked:
            if (parameter := each.parameter()) is not None:
                each.stepped(parameter)

    def end(self) -> None:
        """Takes the hooks off."""
        self.ended = True
        while self._looked:
            self._looked.pop().handle.remove()
