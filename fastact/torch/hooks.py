"""The hooks of `watch`: one for each output, input and gradient that is recorded."""

import contextlib
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol

import torch
from torch import nn

from fastact.errors import FastactError
from fastact.monitor.unseen import Missing
from fastact.torch import compiled
from fastact.torch.layers import axis_rule, layer_type_of
from fastact.torch.tensors import find_tensors, local_values
from fastact.torch.unseen import EVALUATION, NEVER, NO_FLOATS, NO_TENSOR

#: Follows a layer's name where its input or the gradient of its output is recorded; no module's name has a colon.
_INPUT: Final = ":input"
_GRADIENT: Final = ":grad"

#: The number of the backward pass that this thread is in, -1 outside of one. A layer that runs inside of one was run
#: before: only activation checkpointing does that.
backward_pass: Final[Callable[[], int]] = torch._C._current_graph_task_id

_transforming: Final = torch._C._are_functorch_transforms_active
_tracing: Final = torch._C._get_tracing_state


class Watching(Protocol):
    """What a hook needs of the `Watch` that it belongs to."""

    _training_only: bool
    _order: torch.Tensor
    _last_axis: tuple[int, int] | None
    _handles: list[torch.utils.hooks.RemovableHandle]

    def _due(self) -> bool: ...
    def _record(self, name: str, x: torch.Tensor, axis: int | None, layer_type: str) -> None: ...
    def _failed(self, name: str, error: Exception) -> None: ...


class Hook:
    """A hook of one module.

    Dynamo traces `__call__`. Up to `compiled.record` it must touch nothing that changes from step to step: code is
    compiled anew whenever something changes that it was compiled from.
    """

    __slots__ = ("__weakref__", "axis_rule", "gradients", "key", "layer_type", "missing", "module", "name", "watch")
    #: What is added to the layer's name.
    suffix: ClassVar[str] = ""

    def __init__(self, watch: Watching, module: nn.Module, name: str, *, gradients: bool = False) -> None:
        self.watch = watch
        self.name = name
        self.gradients = gradients
        self.key = compiled.register(self)
        # Weak, so that a model that nobody needs is freed at once, not at the next garbage collection.
        self.module = weakref.ref(module)
        # Filled in at the first call: only then does a lazy module have its final type.
        self.layer_type: str | None = None
        self.axis_rule: Callable[[int], int] | None = None
        #: Why nothing is recorded yet; None once something is.
        self.missing: Missing | None = NEVER

    def observe(self, module: nn.Module, values: object) -> None:
        """Takes what the module was given, or what it returned, with all tensors inside."""
        watch = self.watch
        if torch.compiler.is_compiling():
            # An exported program runs where there is no fastact.
            if not torch.compiler.is_exporting() and (module.training or not watch._training_only):
                for place, x in find_tensors(values):
                    compiled.record(x.detach(), self.key, watch._order, place)
            return
        try:
            if not watch._due():
                return
            if watch._training_only and not module.training:
                self.missing = self.missing and EVALUATION
            elif type(values) is torch.Tensor:
                self._observe_tensor(values, "")
            else:
                found = find_tensors(values)
                if not found:
                    self.missing = self.missing and NO_TENSOR
                for place, x in found:
                    self._observe_tensor(x, place)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            watch._failed(self.name + self.suffix, error)

    def observe_compiled(self, x: torch.Tensor, place: str) -> None:
        """Takes a tensor from compiled code."""
        watch = self.watch
        try:
            if watch._due():
                self._observe_tensor(x, place)
                if self.gradients:
                    missing = FastactError("gradients=True: compiled code shows no gradients of outputs")
                    watch._failed(self.name + place + _GRADIENT, missing)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            watch._failed(self.name + self.suffix, error)

    def _observe_tensor(self, x: torch.Tensor, place: str) -> None:
        if _transforming():
            compiled.record(x.detach(), self.key, self.watch._order, place)
            return
        if _tracing() is not None:  # torch.jit.trace runs the model on made-up data
            return
        if self.layer_type is None:
            module = self.module()
            assert module is not None
            self.axis_rule = axis_rule(module)
            self.layer_type = layer_type_of(module)
        if x.is_nested or x.layout is not torch.strided or type(x) is not torch.Tensor or x.is_quantized:
            x = local_values(x)
        if not (x.is_floating_point() or x.is_complex()):
            # Integers are tokens, classes, places: neither activations nor worth a warning.
            self.missing = self.missing and NO_FLOATS
            return
        self.missing = None
        self.record(x, place)

    def record(self, x: torch.Tensor, place: str) -> None:
        """Records a dense tensor of numbers that was found at `place` in what the module was given or returned."""
        raise NotImplementedError

    def neuron_axis(self, ndim: int) -> int | None:
        """The axis along which a tensor with `ndim` axes has its neurons."""
        if ndim < 2:
            return None
        if self.axis_rule is not None:
            axis = max(self.axis_rule(ndim), 0)
            self.watch._last_axis = (ndim, axis)
            return axis
        last = self.watch._last_axis
        if last is not None and last[0] == ndim:
            return last[1]
        return ndim - 1 if ndim < 4 else 1

    def __reduce__(self) -> tuple[Any, ...]:
        # In a copy of the model a hook becomes a function of three arguments that does nothing: the copy must not
        # report to the original's monitor, must be picklable, and must load where there is no fastact.
        return getattr, (contextlib.nullcontext(), "__exit__")


class OutputHook(Hook):
    """A forward hook: takes a module's output; without a name it only notes where the module has its neurons."""

    __slots__ = ()

    def __call__(self, module: nn.Module, args: object, output: object) -> None:
        """Called by torch after the module's forward pass."""
        self.observe(module, output)

    def record(self, x: torch.Tensor, place: str) -> None:
        """Records an output, and hooks its gradient."""
        layer_type = self.layer_type or ""
        # The second output of attention is its weights, whose last axis is positions, not neurons.
        axis = None if layer_type == "MultiheadAttention" and place != "[0]" else self.neuron_axis(x.ndim)
        if not self.name:
            return
        name = self.name + place
        if backward_pass() == -1:
            self.watch._record(name, x, axis, layer_type)
        # A leaf would keep its hook, and gain one more in each step.
        if self.gradients and x.requires_grad and not x.is_leaf:
            x.register_hook(_GradientHook(self.watch, name + _GRADIENT, axis))


class InputHook(Hook):
    """A forward pre-hook: takes what a module is given before an in-place module can overwrite it."""

    __slots__ = ()
    suffix = _INPUT

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called by torch before the module's forward pass."""
        self.observe(module, args[0] if len(args) == 1 and not kwargs else (*args, *kwargs.values()))

    def record(self, x: torch.Tensor, place: str) -> None:
        """Records an input."""
        if backward_pass() == -1:
            self.watch._record(self.name + _INPUT + place, x, self.neuron_axis(x.ndim), "Input")


class _GradientHook:
    """A tensor hook: takes the gradient of the loss by one output, on which it is registered in each step."""

    __slots__ = ("axis", "name", "watch")

    def __init__(self, watch: Watching, name: str, axis: int | None) -> None:
        self.watch = watch
        self.name = name
        self.axis = axis

    def __call__(self, gradient: torch.Tensor) -> None:
        watch = self.watch
        if watch._handles:
            watch._record(self.name, gradient, self.axis, "Gradient")
