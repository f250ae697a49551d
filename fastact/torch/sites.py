"""The short way of a row: what is known of it once it was recorded, so that the next time takes a few comparisons.

A `Site` is one row in one place: of a layer that is called for so many times in a pass, in the mode that the pass is
in. Its place in the monitor and the plan of its sweep are known once it was recorded; what is left to ask is whether
the tensor is like the last one. Whatever is not quite as it was takes the long way, which finds out anew.
"""

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch

from fastact._adapters.attachment import Attachment
from fastact.cpu.workspace import NeuronWorkspace, Plan
from fastact.monitor.layer import ALL, WatchedLayer
from fastact.monitor.layer import Drawn as Counts
from fastact.monitor.monitor import ActivationMonitor
from fastact.monitor.pace import Auto
from fastact.monitor.queue import StepQueue
from fastact.stats.fast_path import plan_memory
from fastact.torch.compiled import compilations
from fastact.torch.drawn import Draw

_TENSOR: Final = torch.Tensor
_unseen: Final = torch._C.DisableTorchFunction


class Quick(NamedTuple):
    """What holds for all rows of a pass that may take the short way.

    Attributes:
        counts: how often each was recorded in the pass so far.
        monitor: where they go.
        queue: its steps.
        step: the very number of the step under way, which another takes the place of when the step ends.
        home: whether the model is in the mode that rows without a suffix are of.
        draw: the samples that are drawn in it; None where all are swept.
        eager: whether nothing was compiled so far, so that functions are called by the user's code alone.
        worked: takes the seconds that recording took, where somebody counts them.
    """

    counts: dict[str, int]
    monitor: ActivationMonitor
    queue: StepQueue
    step: int
    home: bool
    draw: Draw | None
    eager: bool
    worked: Callable[[float], None] | None


def quick_pass(monitor: Any, counts: dict[str, int], draw: Draw | None, *, home: bool) -> Quick | None:
    """What holds for a pass that begins; None where each row is to take the long way: another kind of monitor."""
    kind = type(monitor)
    if getattr(kind, "record_in_place", None) is Attachment.record_in_place:
        monitor = monitor.monitor
        kind = type(monitor)
    if getattr(kind, "record_in_place", None) is not ActivationMonitor.record_in_place:
        return None
    queue: StepQueue = monitor._queue
    worked = queue.pace.worked if isinstance(queue.pace, Auto) else None
    return Quick(counts, monitor, queue, queue.current, home, draw, not compilations(), worked)


class _Drawn(NamedTuple):
    """How the samples that are drawn of a tensor are swept.

    Attributes:
        draw: of how many samples, and how many are drawn.
        plan: that of them; None where the tensor takes the long way.
        counts: `fields.DRAWN`.
    """

    draw: tuple[int, int]
    plan: Plan | None
    counts: Counts


class Site:
    """One row in one place, as it was last recorded.

    Args:
        layer: its place in the monitor.
        x: the tensor.
        plan: how tensors like it are swept.

    Attributes:
        tells: (number of axes, neuron axis) for the layers that follow; None where this one's type tells nothing.
        follows: what it was told itself, () for nothing, if that is what its axis depends on.
        gradient: makes what takes the gradient by the tensor, for what is drawn; None where that is not recorded.
    """

    __slots__ = ("_drawn", "_dtype", "_free", "_itemsize", "_layer", "_plan", "_shape", "_sizes", "_strides", "follows",
                 "gradient", "tells")  # fmt: skip

    def __init__(self, layer: WatchedLayer, x: torch.Tensor, plan: Plan, sizes: tuple[int, int, int]) -> None:
        self._layer, self._free = layer, layer.plans.free
        self._dtype, self._shape = x.dtype, x.shape
        #: None where the elements lie in the order of the axes.
        self._strides = None if x.is_contiguous() else x.stride()
        #: How it lies in memory, as [before the neurons, neurons, after them].
        self._plan, self._itemsize, self._sizes = plan, plan.itemsize, sizes
        self._drawn: _Drawn | None = None
        self.tells: tuple[int, int] | None = None
        self.follows: tuple[int, ...] | None = None
        self.gradient: Callable[[Draw | None], Callable[[torch.Tensor], None]] | None = None

    def take(self, x: torch.Tensor, quick: Quick) -> bool:
        """Records a tensor like the last one; False for what must take the long way."""
        queue = quick.queue
        if queue.current is not quick.step or quick.monitor._closed:
            return False
        try:
            with _unseen():
                if x.dtype is not self._dtype or x.shape != self._shape or not x.is_cpu or x.is_neg():
                    return False
                if not (x.is_contiguous() if self._strides is None else x.stride() == self._strides):
                    return False
                address = x.data_ptr()  # refused of what is sparse, fake or transformed
        except (RuntimeError, TypeError, ValueError):
            return False
        if not address or address % self._itemsize:
            return False
        if quick.draw is not None:
            return self._take_drawn(x, quick.draw, queue)
        workspace = self._workspace(self._plan)
        workspace.sweep(address, x, tensor=True)
        queue.record(self._layer, workspace)
        return True

    def _take_drawn(self, x: torch.Tensor, draw: Draw, queue: StepQueue) -> bool:
        """Sweeps the samples that are drawn. A copy: a sweep of each where it lies took up to thrice as long."""
        drawn = self._drawn
        if drawn is None or drawn.draw != (draw.batch, draw.samples):
            drawn = self._drawn = self._draws(draw)
        plan = drawn.plan
        if plan is None:
            return False
        workspace = self._workspace(plan)
        with _unseen():
            part, _ = draw.of(x)
            workspace.sweep(part.data_ptr(), part, tensor=True)
        queue.record(self._layer, workspace, 0, drawn.counts)
        return True

    def _draws(self, draw: Draw) -> _Drawn:
        """How samples of tensors like this one are swept."""
        samples, (before, neurons, after) = draw.samples, self._sizes
        plan, counts = None, ALL
        # Else the neurons come first, or nothing is drawn.
        if self._strides is None and not (before % draw.batch or self._shape[0] % draw.batch):
            each = before // draw.batch
            counts = samples, (draw.batch - samples) * each * neurons * after
            plan = plan_memory(self._dtype, (each * samples, neurons, after), self._layer.plans.bounds)
        return _Drawn((draw.batch, samples), plan, counts)

    def _workspace(self, plan: Plan) -> NeuronWorkspace:
        """Memory that nobody looks at any more, or more of it."""
        try:
            workspace = self._free.pop()  # no two threads get the same
        except IndexError:
            return NeuronWorkspace(plan)
        return workspace if workspace.plan is plan else NeuronWorkspace(plan)


def site_of(layer: WatchedLayer, x: torch.Tensor, axis: int) -> Site | None:
    """What is known of a row that was just recorded; None where such tensors cannot be swept as they lie."""
    if type(x) is not torch.Tensor or not x.is_cpu or layer.copied or not 0 <= axis < x.ndim:
        return None
    strides, shape = x.stride(), x.shape
    order = list(range(x.ndim))
    if not x.is_contiguous():
        order.sort(key=lambda each: -strides[each])
        if not x.permute(order).is_contiguous():
            return None
    place = order.index(axis)
    before, after = (math.prod(shape[each] for each in part) for part in (order[:place], order[place + 1 :]))
    sizes = before, shape[axis], after
    plan = plan_memory(x.dtype, sizes, layer.plans.bounds)
    return None if plan is None else Site(layer, x, plan, sizes)
