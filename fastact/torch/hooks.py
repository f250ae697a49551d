"""The hooks of `watch`: what they hand to the monitor, and when."""

import contextlib
import os
import weakref
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Protocol, Self

import torch
from torch import nn

from fastact.checks import check_integer, check_type
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError
from fastact.failures import FailureCounter
from fastact.monitor.monitor import ActivationMonitor
from fastact.torch import op
from fastact.torch.choose import Layers, choose, named_modules
from fastact.torch.layers import axis_rule, backward_pass, tensors, type_name

__all__ = ["Recorder", "Watch", "watch"]

#: What follows a layer's name where it is not its output that is recorded; no module's name has a colon.
_INPUT: Final = ":input"
_GRADIENT: Final = ":grad"

_transforming: Final = torch._C._are_functorch_transforms_active
_tracing: Final = torch._C._get_tracing_state


class Recorder(Protocol):
    """What `watch` needs of a monitor; `fastact.ActivationMonitor` is one."""

    @property
    def active(self) -> bool:
        """Whether the current step is recorded; hooks do nothing else where it is not."""

    def record(self, name: str, x: Any, /, *, axis: int | None = None, kind: str = "") -> object:
        """Takes the activations `x` of layer `name`, of type `kind`, with its neurons along `axis`."""


def watch(
    model: nn.Module,
    monitor: Recorder,
    *,
    layers: Layers | None = None,
    inputs: bool = False,
    gradients: bool = False,
    every: int | Callable[[int], bool] = 1,
    first: int = 0,
    training_only: bool = False,
    strict: bool = False,
) -> "Watch":
    """Records the outputs of a model's layers into `monitor` at every forward pass, until the end of the ``with``.

    Args:
        model: the model; its layers are named as in ``model.named_modules()``, without what `torch.compile`, DDP,
            DataParallel, FSDP and checkpoint wrappers add. The model itself, where it is a layer or chosen, goes by
            its class name. A module that appears under several names is recorded under the first.
        monitor: an `ActivationMonitor`. Call its ``step()`` at the end of each training step: all that a layer gave
            in between, in however many calls, is one row.
        layers: what to watch. None: every leaf module that computes something, and `MultiheadAttention` as a whole.
            A string: the modules whose name matches this `fnmatch` pattern, such as ``"encoder.*"``. A type: its
            instances. An iterable of these: their union. A function: the modules for which ``layers(name, module)``
            is true.
        inputs: also record what each layer is given, as it is before the layer runs, under its name and ``":input"``
            (``":input[1]"`` where it is given several tensors). Tensors of integers, such as tokens, are left out.
        gradients: also record the gradient of the loss by each output, as the backward pass comes by it, under the
            output's name and ``":grad"``. Not within compiled code.
        every: record every so many-th of the monitor's steps (those that the number divides), or those for which
            ``every(step)`` is true. The monitor's own ``every`` holds as well.
        first: record each of the first so many steps, whatever `every` says.
        training_only: leave out modules that are not in training mode, so that a validation pass in between does not
            end up in the rows of the training.
        strict: let what goes wrong raise, to find out about it; else it is counted and warned of once.

    Returns:
        A `Watch`: a context manager, and also a handle whose ``remove()`` ends it. The hooks are on when `watch`
        returns.

    Tensors inside a tuple, list, dict or dataclass are recorded under the module's name with their place added, such
    as ``"lstm[0]"`` or ``"head['logits']"``; what is not a tensor is ignored. Each layer is swept per neuron along
    the axis that its type says: the last for Linear, LayerNorm, RNN, Embedding and attention, the channels for
    convolutions and the other norms. A module of any other type follows the layer that ran before it where both
    outputs have the same number of axes; else 2-D and 3-D outputs have their neurons last and larger ones on axis 1.
    Outputs with fewer than two axes have no neurons.

    Forward passes run again by activation checkpointing are not recorded twice. Copies of the model
    (``copy.deepcopy``, pickle) and forked processes (DataLoader workers) are not watched. With `torch.compile` call
    `watch` before the first compiled forward pass, since compiled code has only the hooks that it found then; no
    graph is broken and nothing is compiled again from step to step. Within `torch.vmap` a layer's row is that of all
    samples together.

    Raises:
        ArgumentTypeError: `model` is no `nn.Module` (or a TorchScript one, whose layers run outside of Python),
            `monitor` has no ``record``, or another argument is of another type.
        ArgumentValueError: a pattern or type matches nothing, this monitor watches one of the layers already, or
            `every` or `first` is out of range.

    Example:
        >>> import torch, fastact, fastact.torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
        >>> with fastact.ActivationMonitor() as monitor:
        ...     with fastact.torch.watch(model, monitor):
        ...         _ = model(torch.ones(8, 4))
        ...         monitor.step()
        ...     print([(name, int(layer["count"][-1])) for name, layer in monitor.history.items()])
        [('0', 24), ('1', 24)]
    """
    check_type("model", model, nn.Module, "a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise ArgumentTypeError("model: got a TorchScript module, want one whose layers run in Python")
    if not (callable(getattr(monitor, "record", None)) and hasattr(monitor, "active")):
        raise ArgumentTypeError(f"monitor: got {type(monitor).__name__}, want a fastact.ActivationMonitor")
    plan = _plan(every, first)
    if plan is not None and not hasattr(monitor, "current_step"):
        raise ArgumentTypeError(
            f"monitor: got {type(monitor).__name__} without current_step, want one that counts steps, or every=1"
        )
    chosen = choose(model, layers)
    for module, name in chosen.items():
        if any(isinstance(h, _Hook) and h.name and h.watch.monitor is monitor for h in module._forward_hooks.values()):
            raise ArgumentValueError(f"model: layer {name!r} is watched by this monitor already")
    handle = Watch(monitor, tuple(chosen.values()), plan, training_only=training_only, strict=strict)
    handle._attach(model, chosen, inputs=inputs, gradients=gradients)
    return handle


def _plan(every: object, first: object) -> Callable[[int], bool] | None:
    """Which steps are recorded; None: all."""
    count = "a number of steps"
    until = check_integer("first", first, 0, words=count, unit="steps")
    if callable(every):
        chosen = every
        return (lambda step: step < until or bool(chosen(step))) if until else chosen
    stride = check_integer("every", every, 1, words=f"{count} or a function of the step", unit="step")
    return None if stride == 1 else lambda step: step < until or step % stride == 0


class Watch:
    """The hooks of one `watch` call; use it as a context manager or call `remove`.

    Attributes:
        monitor: where the layers are recorded.
        names: the watched layers, in the order of ``model.named_modules()``.
    """

    def __init__(
        self,
        monitor: Recorder,
        names: tuple[str, ...],
        plan: Callable[[int], bool] | None,
        *,
        training_only: bool,
        strict: bool,
    ) -> None:
        self.monitor = monitor
        #: `ActivationMonitor.record_in_place`, which costs less than its `record`, where that is nobody else's.
        self._record_in_place: Callable[[str, torch.Tensor, int | None, str], None] | None = None
        if isinstance(monitor, ActivationMonitor):
            record: Any = monitor.record
            if getattr(record, "__func__", None) is ActivationMonitor.record:
                self._record_in_place = monitor.record_in_place
        self.names = names
        self._plan = plan
        self._training_only = training_only
        self._guard = FailureCounter("fastact", strict=strict, counter="Watch.failures")
        #: The step that the plan was last asked about, and its answer.
        self._asked: tuple[int, bool] = (-1, False)
        #: (number of axes, neuron axis) of the last layer that ran whose type says where its neurons are.
        self._layout: tuple[int, int] | None = None
        self._order = op.new_order()
        self._hooks: list[_Hook] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def _attach(self, model: nn.Module, chosen: Mapping[nn.Module, str], *, inputs: bool, gradients: bool) -> None:
        for module, name in chosen.items():
            self._add(_OutputHook(self, module, name, gradients=gradients), module)
            if inputs:
                self._add(_InputHook(self, module, name), module)
        # A layer that is not chosen still tells where the neurons of the activation after it are.
        if any(axis_rule(module) is None for module in chosen):
            others = dict.fromkeys(module for _, module in named_modules(model) if module not in chosen)
            for module in others:
                if axis_rule(module) is not None:
                    self._add(_OutputHook(self, module, "", gradients=False), module)
        _live.add(self)

    def _add(self, hook: "_Hook", module: nn.Module) -> None:
        self._hooks.append(hook)
        self._handles.append(hook.attach(module))

    def remove(self) -> None:
        """Takes the hooks off the model. Harmless when they are off already."""
        _live.discard(self)
        while self._handles:
            self._handles.pop().remove()
        while self._hooks:
            op.forget(self._hooks.pop().key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        state = "on" if self._handles else "removed"
        return f"Watch(layers={len(self.names)}, failures={self.failures}, {state})"

    @property
    def failures(self) -> int:
        """How many tensors could not be recorded; the first one was warned of."""
        return self._guard.failures

    def _due(self) -> bool:
        """Whether this step is recorded."""
        monitor = self.monitor
        if not monitor.active:
            if getattr(monitor, "closed", False):
                raise FastactError("the monitor is closed: end the watch before it, or keep it open")
            return False
        if self._plan is None:
            return True
        step: int = monitor.current_step  # type: ignore[attr-defined] # `watch` has asked for it
        if step != self._asked[0]:
            # First of all, so that a function that fails is asked, and warned of, once a step.
            self._asked = (step, False)
            self._asked = (step, bool(self._plan(step)))
        return self._asked[1]

    def _record(self, name: str, x: torch.Tensor, axis: int | None, layer_type: str) -> None:
        try:
            if self._record_in_place is not None:
                self._record_in_place(name, x, axis, layer_type)
            else:
                self.monitor.record(name, x, axis=axis, kind=layer_type)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        self._guard.failed(f"record layer {name!r}", error)
        if self._guard.strict:
            raise error


#: The watches that are on.
_live: Final[weakref.WeakSet[Watch]] = weakref.WeakSet()


def _leave() -> None:
    # A DataLoader's worker that runs a watched model: the rows, and the lock that another thread may have held at the
    # fork, are the parent's.
    for handle in list(_live):
        handle.remove()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)


class _Hook:
    """A hook of one module.

    `__call__` is what Dynamo traces: up to `op.record` it may touch nothing that changes from step to step, since
    compiled code is made anew whenever what it was made from changes.
    """

    __slots__ = ("__weakref__", "gradients", "key", "layer_type", "module", "name", "rule", "watch")
    #: What is added to the layer's name.
    role: ClassVar[str] = ""

    def __init__(self, owner: Watch, module: nn.Module, name: str, *, gradients: bool = False) -> None:
        self.watch = owner
        self.name = name
        self.gradients = gradients
        self.key = op.register(self)
        # Weak, so that a model that nobody needs is gone at once, not at the next garbage collection.
        self.module = weakref.ref(module)
        # Filled in at the first call: a lazy module has its final type only then.
        self.layer_type: str | None = None
        self.rule: Callable[[int], int] | None = None

    def attach(self, module: nn.Module) -> Any:
        """Puts the hook on its module and returns the handle."""
        raise NotImplementedError

    def see(self, module: nn.Module, given: object) -> None:
        """Takes all tensors of what the module was given or gave."""
        watch = self.watch
        if torch.compiler.is_compiling():
            # An exported program goes where there is no fastact.
            if not torch.compiler.is_exporting() and (module.training or not watch._training_only):
                for place, x in tensors(given):
                    op.record(x.detach(), self.key, watch._order, place)
            return
        try:
            if not watch._due() or (watch._training_only and not module.training):
                return
            if type(given) is torch.Tensor:
                self._take(given, "")
            else:
                for place, x in tensors(given):
                    self._take(x, place)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            watch._failed(self.name + self.role, error)

    def take(self, x: torch.Tensor, place: str) -> None:
        """Takes a tensor from compiled code."""
        watch = self.watch
        try:
            if watch._due():
                self._take(x, place)
                if self.gradients:
                    missing = FastactError("gradients=True: compiled code shows no gradients of outputs")
                    watch._failed(self.name + place + _GRADIENT, missing)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            watch._failed(self.name + self.role, error)

    def _take(self, x: torch.Tensor, place: str) -> None:
        if _transforming():
            op.record(x.detach(), self.key, self.watch._order, place)
            return
        if _tracing() is not None:  # torch.jit.trace runs the model on made-up data
            return
        if self.layer_type is None:
            module = self.module()
            assert module is not None
            self.rule = axis_rule(module)
            self.layer_type = type_name(module)
        if x.is_nested or type(x) is not torch.Tensor:
            x = _local(x)
        self.found(x, place)

    def found(self, x: torch.Tensor, place: str) -> None:
        """Takes a tensor with data."""
        raise NotImplementedError

    def axis(self, ndim: int) -> int | None:
        """Where a tensor of so many axes has its neurons."""
        if ndim < 2:
            return None
        if self.rule is not None:
            axis = max(self.rule(ndim), 0)
            self.watch._layout = (ndim, axis)
            return axis
        layout = self.watch._layout
        if layout is not None and layout[0] == ndim:
            return layout[1]
        return ndim - 1 if ndim < 4 else 1

    def __reduce__(self) -> tuple[Any, ...]:
        # In a copy of the model a hook is what takes three arguments and does nothing: the copy must not report to the
        # original's monitor, must be picklable, and loads where there is no fastact.
        return getattr, (contextlib.nullcontext(), "__exit__")


class _OutputHook(_Hook):
    """Takes a module's output; with an empty name it only notes where the module has its neurons."""

    __slots__ = ()

    def attach(self, module: nn.Module) -> Any:
        return module.register_forward_hook(self)

    def __call__(self, module: nn.Module, args: object, output: object) -> None:
        self.see(module, output)

    def found(self, x: torch.Tensor, place: str) -> None:
        layer_type = self.layer_type or ""
        # The second output of attention is its weights, whose last axis are positions, not neurons.
        axis = None if layer_type == "MultiheadAttention" and place != "[0]" else self.axis(x.ndim)
        if not self.name:
            return
        name = self.name + place
        if backward_pass() == -1:
            self.watch._record(name, x, axis, layer_type)
        # A leaf would keep the hook, and one more in each step.
        if self.gradients and x.requires_grad and not x.is_leaf:
            x.register_hook(_GradientHook(self.watch, name + _GRADIENT, axis))


class _InputHook(_Hook):
    """Takes what a module is given, before it runs: afterwards an in-place module has written over it."""

    __slots__ = ()
    role = _INPUT

    def attach(self, module: nn.Module) -> Any:
        return module.register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.see(module, args[0] if len(args) == 1 and not kwargs else (*args, *kwargs.values()))

    def found(self, x: torch.Tensor, place: str) -> None:
        if x.is_floating_point() and backward_pass() == -1:
            self.watch._record(self.name + _INPUT + place, x, self.axis(x.ndim), "Input")


def _local(x: torch.Tensor) -> torch.Tensor:
    """The rows of a nested tensor one below the other, and what a DTensor has in this process."""
    if x.is_nested:
        return x.values() if x.layout is torch.jagged else x.values().reshape(-1, x.size(-1))
    to_local = getattr(x, "to_local", None)
    local: torch.Tensor = x if to_local is None else to_local()
    return local


class _GradientHook:
    """The hook of an output, called with its gradient."""

    __slots__ = ("axis", "name", "watch")

    def __init__(self, owner: Watch, name: str, axis: int | None) -> None:
        self.watch = owner
        self.name = name
        self.axis = axis

    def __call__(self, gradient: torch.Tensor) -> None:
        watch = self.watch
        if watch._handles:
            watch._record(self.name, gradient, self.axis, "Gradient")
