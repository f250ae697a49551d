"""Passes in evaluation mode: the first one between two steps is recorded, whatever `every` and `sample` leave out.

A model is evaluated seldom, and as a rule in a step that is not recorded: with ``every=10`` and epochs of 937 steps,
never in one that is. So such a pass has its step recorded from then on. The passes that follow it in that step are not:
an evaluation may have hundreds.
"""

from typing import Any, Protocol

from torch import nn

from fastact._adapters.attachment import Attachment
from fastact.monitor.monitor import ActivationMonitor
from fastact.monitor.queue import StepQueue
from fastact.torch.hooks import Uncopied


class EvaluationWatching(Protocol):
    """What is needed of the `Watch`."""

    monitor: Any
    _home: bool | None
    _plan: Any
    _training_only: bool

    def _due(self) -> bool: ...
    def _step(self) -> int: ...
    def _unpark(self) -> None: ...


class Evaluations:
    """Which passes in evaluation mode are recorded, of one `Watch`."""

    def __init__(self, watch: EvaluationWatching) -> None:
        self._watch = watch
        #: The last step that is recorded for the sake of an evaluation.
        self._step = -1

    def due(self, training: bool) -> bool:
        """Whether a pass is recorded that begins now, in this mode."""
        if not training and self.done:
            return False
        return self._watch._due() or (not training and self._open())

    @property
    def done(self) -> bool:
        """Whether an evaluation in the step under way was seen, and nothing more of it is recorded."""
        return self._step >= 0 and self._watch._step() == self._step

    @property
    def wanted(self) -> bool:
        """Whether a pass in evaluation would ever have its step recorded."""
        watch, queue = self._watch, self._queue()
        # Who named the steps himself gets those; a model that was in evaluation from the first has no other passes.
        if not watch._home or watch._training_only or watch._plan is not None:
            return False
        return queue is not None and queue.opens

    def _queue(self) -> StepQueue | None:
        monitor = self._watch.monitor
        if isinstance(monitor, Attachment):
            monitor = monitor.own
        return monitor._queue if isinstance(monitor, ActivationMonitor) else None

    def _open(self) -> bool:
        """Has the step under way recorded, where that can be."""
        watch, queue = self._watch, self._queue()
        asks = watch.monitor.when if isinstance(watch.monitor, Attachment) else None
        if queue is None or not self.wanted or (asks is not None and not asks()):
            return False
        self._step = queue.current
        queue.pace.open(self._step)
        return True


class Sentinel(Uncopied):
    """The one hook that a model has while all others are off: brings them back where it is evaluated."""

    __slots__ = ("_evaluations", "_watch")

    def __init__(self, watch: EvaluationWatching, evaluations: Evaluations) -> None:
        self._watch, self._evaluations = watch, evaluations

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called by torch before the model's forward pass, in place of the hooks that it does not know of then."""
        if module.training or self._evaluations.done:
            return
        self._watch._unpark()
        with_kwargs = module._forward_pre_hooks_with_kwargs
        for number, hook in list(module._forward_pre_hooks.items()):
            if isinstance(hook, Uncopied):  # those of others are called by torch
                _ = hook(module, args, kwargs) if number in with_kwargs else hook(module, args)
