"""The hooks of `watch`: one for each output, input and gradient that is recorded.

A row's name is put together here: ``block.act:2[0]:eval:grad`` is the gradient by the first output of module
``block.act`` where it is called for the second time in a forward pass, of a model in evaluation mode.
"""

import contextlib
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final, Protocol

import torch
from torch import nn

from fastact.diagnosis.layer_types import GRADIENT, GRADIENT_SUFFIX, INPUT, INPUT_SUFFIX
from fastact.errors import FastactError
from fastact.monitor.unseen import Missing
from fastact.torch import compiled
from fastact.torch.drawn import Draw
from fastact.torch.layers import axis_rule, facts_of, layer_type_of, states_apart
from fastact.torch.passes import Passes
from fastact.torch.sites import Quick, Site
from fastact.torch.tensors import find_tensors, local_values
from fastact.torch.unseen import EVALUATION, NEVER, NO_FLOATS, NO_TENSOR

#: Stands before the place of what is given to the model, where compiled code records it.
GIVEN: Final = "="

#: The number of the backward pass that this thread is in, -1 outside of one. A layer that runs inside of one was run
#: before: only activation checkpointing does that.
backward_pass: Final[Callable[[], int]] = torch._C._current_graph_task_id

#: While it lasts, modes are not asked at calls of torch's functions: what we look at is many of them.
unseen: Final = torch._C.DisableTorchFunction

transforming: Final = torch._C._are_functorch_transforms_active
tracing: Final = torch._C._get_tracing_state


class Watching(Protocol):
    """What a hook needs of the `Watch` that it belongs to."""

    monitor: Any
    _training_only: bool
    _passes: Passes
    _order: torch.Tensor
    _last_axis: tuple[int, int] | None
    _traced: list[Any]
    _handles: list[torch.utils.hooks.RemovableHandle]

    def _due(self) -> bool: ...
    def _step(self) -> int: ...
    def _draw(self, given: object) -> None: ...
    def _record(
        self,
        name: str,
        x: torch.Tensor,
        axis: int | None,
        layer_type: str,
        source: str = "",
        facts: dict[str, Any] | None = None,
        draw: Draw | None = None,
    ) -> None: ...
    def _mode(self, training: bool) -> str: ...
    def _site(self, name: str, x: torch.Tensor, axis: int | None) -> Site | None: ...
    def _failed(self, name: str, error: Exception) -> None: ...


class Uncopied:
    """What hangs on a model's modules, but not on those of a copy."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        # In a copy of the model a hook becomes a function of three arguments that does nothing: the copy must not
        # report to the original's monitor, must be picklable, and must load where there is no fastact.
        return getattr, (contextlib.nullcontext(), "__exit__")


class Hook(Uncopied):
    """A hook of one module.

    Dynamo traces `__call__`. Up to `compiled.record` it must touch nothing that changes from step to step: code is
    compiled anew whenever something changes that it was compiled from.
    """

    __slots__ = ("__weakref__", "axis_rule", "facts", "gradients", "key", "layer_type", "missing", "module", "name",
                 "sites", "source", "watch")  # fmt: skip
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
        #: What else is known of what it records.
        self.facts: dict[str, Any] | None = None
        #: The row whose output the module was given, as far as that was seen in this pass.
        self.source = ""
        #: Why nothing is recorded yet; None once something is.
        self.missing: Missing | None = NEVER
        #: What is known of its rows, by where they are found and how often a pass had recorded them: below 0 in the
        #: mode that is not the model's own.
        self.sites: dict[tuple[str, int], Site] = {}

    def observe(self, module: nn.Module, values: object, args: object = None) -> None:
        """Takes what the module was given, or what it returned for `args`, with all tensors inside."""
        watch = self.watch
        if torch.compiler.is_compiling():
            # An exported program runs where there is no fastact.
            if not torch.compiler.is_exporting() and (module.training or not watch._training_only):
                for place, x in find_tensors(values):
                    compiled.record(x.detach(), self.key, watch._order, place)
            return
        passes = watch._passes
        try:
            # Asked once a pass; a monitor may be closed in the middle of one.
            if not (watch._due() if passes.outermost is None else passes.due and watch.monitor.active):
                return
            if watch._training_only and not module.training:
                self.missing = self.missing and EVALUATION
                return
            with unseen():
                if passes.sources is not None:
                    self.source = passes.sources.of(args, values)
                if type(values) is torch.Tensor:
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
                with unseen():
                    if not watch._passes.drawn and watch._passes.outermost is not None:
                        watch._draw(x)
                    self._observe_tensor(x, place)
                if self.gradients and not place.startswith(GIVEN):
                    missing = FastactError("gradients=True: compiled code shows no gradients of outputs")
                    watch._failed(self.name + place + GRADIENT_SUFFIX, missing)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            watch._failed(self.name + self.suffix, error)

    def _observe_tensor(self, x: torch.Tensor, place: str) -> None:
        if transforming():
            compiled.record(x.detach(), self.key, self.watch._order, place)
            return
        if tracing() is not None:  # torch.jit.trace runs the model on made-up data
            return
        if self.layer_type is None:
            self.look_at_module(x)
        if x.is_nested or x.layout is not torch.strided or type(x) is not torch.Tensor or x.is_quantized:
            x = local_values(x)
        if not (x.is_floating_point() or x.is_complex()):
            # Integers are tokens, classes, places: neither activations nor worth a warning.
            self.missing = self.missing and NO_FLOATS
            return
        self.missing = None
        self.record(x, place)

    def look_at_module(self, x: torch.Tensor) -> None:
        """Notes what the module's type tells, at its first output `x`."""
        module = self.module()
        assert module is not None
        self.axis_rule, self.facts = axis_rule(module), facts_of(module)
        called = self.watch._passes.function
        # A module that does nothing but call a function is of the function's type.
        self.layer_type = called[1] if called is not None and called[0] is x else layer_type_of(module)

    def mode(self) -> str:
        """What follows the name of a row that is recorded now, for the mode that the model is in."""
        watch, passes = self.watch, self.watch._passes
        if passes.outermost is not None:
            return watch._mode(passes.training)
        module = self.module()
        return watch._mode(module.training if module is not None else True)

    def record(self, x: torch.Tensor, place: str) -> None:
        """Records a dense tensor of numbers that was found at `place` in what the module was given or returned."""
        raise NotImplementedError

    def record_output(self, name: str, x: torch.Tensor, axis: int | None, layer_type: str, parts: int = 1) -> None:
        """Records an output as row `name`, or as `parts` rows along its first axis, and hooks its gradient."""
        watch, draw = self.watch, self.watch._passes.draw
        mode = self.mode()
        names = [name + mode] if parts == 1 else [f"{name}[{part}]{mode}" for part in range(parts)]
        if backward_pass() == -1:
            for row, part in zip(names, (x,) if parts == 1 else x.detach().unbind(), strict=True):
                watch._record(row, part, axis, layer_type, self.source, self.facts, draw)
            if watch._passes.sources is not None:
                watch._passes.sources.add(x, names[-1])
        # A leaf would keep its hook, and gain one more in each step.
        if self.gradients and x.requires_grad and not x.is_leaf:
            x.register_hook(_GradientHook(watch, [row + GRADIENT_SUFFIX for row in names], axis, draw))

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

    def take(self, x: torch.Tensor, quick: Quick, name: str, place: str = "") -> bool:
        """Records what is like what was recorded before at `place`, as row `name`; False for what is not."""
        counts, watch = quick.counts, self.watch
        number = counts.get(name, 0) + 1
        site = self.sites.get((place, number if quick.home else -number))
        if site is None or backward_pass() != -1 or tracing() is not None:
            return False
        if site.follows is not None and site.follows != (watch._last_axis or ()):
            return False
        begin = 0.0 if quick.worked is None else time.perf_counter()
        try:
            if not site.take(x, quick):
                return False
            counts[name] = number
            if site.tells is not None:
                watch._last_axis = site.tells
            if site.gradient is not None and x.requires_grad and not x.is_leaf:
                with unseen():
                    x.register_hook(site.gradient(quick.draw))
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            watch._failed(name, error)
        if quick.worked is not None:
            quick.worked(time.perf_counter() - begin)
        return True

    def know(
        self, x: torch.Tensor, name: str, number: str, axis: int | None, place: str = "", *, told: bool = False
    ) -> None:
        """Notes what is known of a row that was recorded, for the next time.

        Args:
            x: what was recorded.
            name: the row, but for the mode.
            number: what of its name tells how often it was recorded in the pass.
            axis: the axis of the neurons.
            place: where it was found.
            told: whether that axis depends on no other layer.
        """
        watch, quick = self.watch, self.watch._passes.quick
        row = name + self.mode()
        site = watch._site(row, x, axis)
        if site is None or quick is None:
            return
        last = watch._last_axis
        if self.axis_rule is not None:
            site.tells = last
        elif not told:
            site.follows = last or ()
        if self.gradients:
            site.gradient = partial(_GradientHook, watch, [row + GRADIENT_SUFFIX], axis)
        count = int(number[1:]) if number else 1
        self.sites[place, count if quick.home else -count] = site


class OutputHook(Hook):
    """A forward hook: takes a module's output; without a name it only notes where the module has its neurons."""

    __slots__ = ("hushes",)

    def __init__(self, watch: Watching, module: nn.Module, name: str, *, gradients: bool = False) -> None:
        super().__init__(watch, module, name, gradients=gradients)
        #: Whether a `Hush` has turned functions off for as long as the module runs.
        self.hushes = False

    def __call__(self, module: nn.Module, args: object, output: object) -> None:
        """Called by torch after the module's forward pass."""
        if torch.compiler.is_compiling():
            self.observe(module, output, args)
            if self.hushes and self.watch._traced:
                self.watch._traced.pop()
            return
        passes = self.watch._passes
        quick = passes.quick
        if quick is None or type(output) is not torch.Tensor or not self.take(output, quick, self.name):
            self.observe(module, output, args)
        if self.hushes and passes.hushed:
            passes.speak()

    def record(self, x: torch.Tensor, place: str) -> None:
        """Records an output, and hooks its gradient."""
        layer_type = self.layer_type or ""
        # The second output of attention is its weights, whose last axis is positions, not neurons.
        axis = None if layer_type == "MultiheadAttention" and place != "[0]" else self.neuron_axis(x.ndim)
        if not self.name:
            return
        module = self.module()
        # A cell runs once for each time step, which are not places.
        number = "" if isinstance(module, nn.RNNCellBase) else self.watch._passes.place(self.name + place)
        parts, layer_type = states_apart(module, layer_type, place, x)
        if parts > 1:
            axis = self.neuron_axis(x.ndim - 1)
        name = self.name + number + place
        self.record_output(name, x, axis, layer_type, parts)
        if not place and parts == 1 and not isinstance(module, nn.RNNCellBase | nn.MultiheadAttention):
            self.know(x, name, number, axis)


class Hush(Uncopied):
    """A forward pre-hook: in one of torch's own layers no function is recorded, so none need be seen.

    A normalisation alone calls half a dozen. The layer's `OutputHook` ends it; or the module that called it, where the
    layer fails.
    """

    __slots__ = ("watch",)

    def __init__(self, watch: Watching) -> None:
        self.watch = watch

    def __call__(self, module: nn.Module, args: object) -> None:
        """Called by torch before the module's forward pass."""
        if torch.compiler.is_compiling():
            if self.watch._traced:
                self.watch._traced.append(None)
        elif (passes := self.watch._passes).recorded:
            passes.hush()


class InputHook(Hook):
    """A forward pre-hook: takes what a module is given before an in-place module can overwrite it."""

    __slots__ = ()
    suffix = INPUT_SUFFIX

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called by torch before the module's forward pass."""
        self.observe(module, args[0] if len(args) == 1 and not kwargs else (*args, *kwargs.values()))

    def record(self, x: torch.Tensor, place: str) -> None:
        """Records an input."""
        if backward_pass() == -1:
            number = self.watch._passes.place(self.name + INPUT_SUFFIX + place)
            name = self.name + number + INPUT_SUFFIX + place + self.mode()
            self.watch._record(name, x, self.neuron_axis(x.ndim), INPUT, draw=self.watch._passes.draw)


class _GradientHook:
    """A tensor hook: takes the gradient of the loss by one output, on which it is registered in each step."""

    __slots__ = ("axis", "draw", "names", "watch")

    def __init__(self, watch: Watching, names: list[str], axis: int | None, draw: Draw | None) -> None:
        self.watch = watch
        #: The row of the gradient, or those of its parts along the first axis.
        self.names = names
        self.axis, self.draw = axis, draw

    def __call__(self, gradient: torch.Tensor) -> None:
        watch = self.watch
        if watch._handles:
            parts = (gradient,) if len(self.names) == 1 else gradient.unbind()
            for name, part in zip(self.names, parts, strict=True):
                watch._record(name, part, self.axis, GRADIENT, draw=self.draw)
