"""`watch` and the handle that it returns: which layers are recorded, in which steps, and until when."""

import contextlib
import os
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Self

import torch
from torch import nn

from fastact._adapters.attachment import Attachment
from fastact.checks import check_type
from fastact.diagnosis.layer_types import EVALUATION_SUFFIX, TRAINING_SUFFIX
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError
from fastact.failures import FailureCounter
from fastact.monitor.monitor import ActivationMonitor
from fastact.monitor.unseen import Missing
from fastact.torch import compiled, criteria
from fastact.torch.criteria import Loss
from fastact.torch.functional import LOSS, OF_TABLES, FunctionMode
from fastact.torch.hooks import Hook, InputHook, OutputHook
from fastact.torch.layers import axis_rule
from fastact.torch.losses import Losses
from fastact.torch.monitoring import MonitorLike, recorded_steps
from fastact.torch.passes import Passes
from fastact.torch.scopes import attach_scopes
from fastact.torch.selection import Layers, named_modules, select_modules
from fastact.torch.tensors import real_numbers
from fastact.torch.unseen import compiled_names, missing_layers
from fastact.torch.usage import Tables, UsageHook, is_table

#: What a mode calls the functions that tell of tables.
_OF_TABLES: Final = frozenset(OF_TABLES.values())


def watch(
    model: nn.Module,
    monitor: MonitorLike,
    *,
    layers: Layers | None = None,
    inputs: bool | None = None,
    gradients: bool = False,
    functional: bool = True,
    loss: Loss | None = None,
    every: int | Callable[[int], bool] = 1,
    first: int = 0,
    training_only: bool = False,
    sparse: str | Iterable[str] = (),
    prefix: str = "",
    strict: bool = False,
) -> "Watch":
    """Records the outputs of a model's layers into `monitor` at every forward pass, until the end of the ``with``.

    Args:
        model: the model. Its layers are named as in ``model.named_modules()``, without the names that `torch.compile`,
            DDP, DataParallel, FSDP and checkpoint wrappers add. The model itself, where it is a layer or is chosen,
            goes by its class name. A module with several names is recorded under the first.
        monitor: an `ActivationMonitor`. Call its ``step()`` at the end of each training step: all outputs of a layer
            between two calls, however many, make one row.
        layers: what to watch. None: every leaf module that computes something, and `MultiheadAttention` as a whole.
            A string: the modules whose name matches this `fnmatch` pattern, such as ``"encoder.*"``. A type: its
            instances. An iterable of these: their union. A function: the modules for which ``layers(name, module)``
            is true.
        inputs: None: what the model itself is given is recorded as ``"input"`` (``"input[1]"``, ``"input['image']"``).
            True: also the inputs of each layer, as they are before it runs, under its name and ``":input"``
            (``":input[1]"`` where it has several). False: neither. The model's masks are left out.
        gradients: also record the gradient of the loss by each output, when the backward pass reaches it, under the
            output's name and ``":grad"``. Not within compiled code.
        functional: also record activations that a watched module calls as functions, such as `F.relu`, `torch.softmax`
            or `F.scaled_dot_product_attention`, under its name and theirs: ``"block3.relu"``, or ``"relu"`` in the
            model itself. Their type is that of the module which does the same.
        every: record the monitor's steps that are divisible by this number, or those for which ``every(step)`` is
            true. The monitor's own ``every`` also holds.
        first: record each of this many first steps, whatever `every` says.
        training_only: leave out modules that are not in training mode.
        sparse: layers whose neurons fire seldom by design, such as the features of a sparse autoencoder: it takes ten
            times the samples to call one of them dead. A name or an `fnmatch` pattern, or several: ``"*.features"``.
        prefix: goes before all names, to tell the layers of several models apart: ``"g."`` and ``"d."``.
        strict: raise what goes wrong, to find out about it; by default it is counted and warned of once.

    Returns:
        A `Watch`: a context manager, and also a handle whose ``remove()`` ends it. The hooks are on when `watch`
        returns.

    Tensors inside a tuple, list, dict or dataclass are recorded under the module's name followed by their place, such
    as ``"lstm[0]"`` or ``"head['logits']"``; integers and anything but a tensor are left out. Of complex numbers both
    parts are recorded, of sparse tensors what they store, of quantised ones what they stand for. Each layer is swept
    per neuron along the axis that its type implies: the last one for Linear, LayerNorm, RNN, Embedding and attention,
    the channel axis for convolutions and the other norms. A module of any other type takes the axis of the layer that
    ran before it if both outputs have the same number of axes; otherwise 2-D and 3-D outputs have their neurons on the
    last axis and larger ones on axis 1. Outputs with fewer than two axes have no neurons.

    A forward pass begins with the outermost module that is called: the model, or one of its parts where these are
    called by themselves, whose inputs are recorded as ``"encoder.input"`` then (of a single layer only data, not what
    the model has computed). A layer, or function, that is called in several places of one pass has a row for each:
    ``"act"``, ``"act:2"``, up to ``"act:8"``, which has all further calls; recurrent cells have one row. Several passes
    in one step are merged, place by place. Where the model is in another mode than when `watch` was called, rows go by
    the layer's name and ``":eval"`` (``":train"`` for a model that was in evaluation), so that a validation pass
    between two steps does not end up in the rows of the training.

    Forward passes that activation checkpointing repeats are recorded once. Copies of the model (``copy.deepcopy``,
    pickle) and forked processes (DataLoader workers) are not watched. With `torch.compile`, call `watch` before the
    first compiled forward pass, since compiled code has only the hooks that were there when it was compiled; no graph
    is broken, and nothing is compiled again from step to step. Within `torch.vmap` a layer's row covers all samples
    together.

    What is watched and not recorded is told: a layer that never ran, or was called as ``.forward()``, an output that
    cannot be swept, hooks that compiled code ignores. ``monitor.unseen`` has the reasons by name, the diagnosis lists
    them, and one warning says so while the model trains.

    Raises:
        ArgumentTypeError: `model` is no `nn.Module` (or a TorchScript one, whose layers run outside of Python),
            `monitor` has no ``record``, or another argument has the wrong type.
        ArgumentValueError: a pattern or type matches nothing, this monitor already watches one of the layers, or a
            layer of another model that has the same name, or `every` or `first` is out of range.

    Example:
        >>> import torch, fastact, fastact.torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
        >>> with fastact.ActivationMonitor() as monitor:
        ...     with fastact.torch.watch(model, monitor):
        ...         _ = model(torch.ones(8, 4))
        ...         monitor.step()
        ...     print([(name, int(layer["count"][-1])) for name, layer in monitor.history.items()])
        [('input', 32), ('0', 24), ('1', 24)]
    """
    check_type("model", model, nn.Module, "a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise ArgumentTypeError("model: got a TorchScript module, want one whose layers run in Python")
    if not (callable(getattr(monitor, "record", None)) and hasattr(monitor, "active")):
        raise ArgumentTypeError(f"monitor: got {type(monitor).__name__}, want a fastact.ActivationMonitor")
    plan = recorded_steps(every, first)
    if plan is not None and not hasattr(monitor, "current_step"):
        got = f"{type(monitor).__name__} without current_step"
        raise ArgumentTypeError(f"monitor: got {got}, want one that counts steps, or every=1")
    check_type("prefix", prefix, str, "a str")
    patterns = [sparse] if isinstance(sparse, str) else list(sparse)
    if patterns:
        check_type("monitor", monitor, ActivationMonitor, "an ActivationMonitor, as sparse is given")
        assert isinstance(monitor, ActivationMonitor)
        monitor.declare_sparse(*(prefix + check_type("sparse", pattern, str, "a str") for pattern in patterns))
    losses = criteria.named(loss)
    selected = {module: prefix + name for module, name in select_modules(model, layers, losses.values()).items()}
    for module, name in selected.items():
        if any(isinstance(h, Hook) and h.name and h.watch.monitor is monitor for h in module._forward_hooks.values()):
            raise ArgumentValueError(f"model: layer {name!r} is watched by this monitor already")
    handle = Watch(
        monitor,
        tuple(selected.values()),
        plan,
        home=model.training,
        prefix=prefix,
        training_only=training_only,
        strict=strict,
    )
    handle._losses = Losses(handle, model, loss, losses)
    if add := getattr(monitor, "add_watcher", None):
        add(handle)
    others = (other for other in _live if other.monitor is monitor and other.prefix == prefix)
    if next(others, None) is not None:
        handle._root_name = type(model).__name__
    handle._attach(model, selected, inputs=bool(inputs), gradients=gradients)
    chosen = layers is not None
    attach_scopes(handle, model, selected, chosen=chosen, inputs=inputs, gradients=gradients, functional=functional)
    _live.add(handle)
    return handle


class Watch:
    """The hooks of one `watch` call; use it as a context manager, or call `remove`.

    Attributes:
        monitor: where the layers are recorded.
        names: the watched layers, in the order of ``model.named_modules()``.
        prefix: what goes before every name, those in `names` included.
    """

    def __init__(
        self,
        monitor: MonitorLike,
        names: tuple[str, ...],
        plan: Callable[[int], bool] | None,
        *,
        home: bool | None,
        prefix: str,
        training_only: bool,
        strict: bool,
    ) -> None:
        self.monitor = monitor
        #: `ActivationMonitor.record_in_place`, which costs less than its `record`; None where `record` was overridden.
        self._record_in_place: Callable[[str, torch.Tensor, int | None, str], None] | None = None
        record: Any = monitor.record
        if getattr(record, "__func__", None) in (ActivationMonitor.record, Attachment.record):
            self._record_in_place = monitor.record_in_place  # type: ignore[attr-defined] # both have it
        self.names = names
        #: Takes what is known of a layer before its first row; and the rows that it was told of.
        self._describe: Callable[..., None] | None = getattr(monitor, "describe", None)
        self._described: set[str] = set()
        self._plan = plan
        #: Whether the model was in training mode at first; None where its mode makes no difference.
        self._home = home
        self.prefix = prefix
        self._training_only = training_only
        self._failure_counter = FailureCounter("fastact", strict=strict, counter="Watch.failures")
        #: The step that the plan was last asked about, and its answer.
        self._asked: tuple[int, bool] = (-1, False)
        #: (number of axes, neuron axis) of the last layer to run whose type tells where its neurons are.
        self._last_axis: tuple[int, int] | None = None
        #: The names of layers that lay in compiled code when the watch began; what could not be recorded, by name.
        self._compiled: frozenset[str] = frozenset()
        self._lost: dict[str, Exception] = {}
        self._order = compiled.new_order()
        #: How the model itself is called where something inside of it is recorded; "" where that needs no telling.
        self._root_name = ""
        self._function_mode: FunctionMode | None = None
        self._passes = Passes(None)
        #: The scopes that run in code that is being compiled; None where the mode was switched on, or a `Hush` runs.
        self._traced: list[Any] = []
        #: The modes in which a pass has shown which layer feeds which.
        self._sourced: set[str] = set()
        #: The names of all modules, which those of functions and inputs must differ from.
        self._taken: set[str] = set()
        #: Whether there is a compiled module inside of the model; None until that matters.
        self._partly_compiled: bool | None = None
        self._tables = Tables(self)
        self._losses: Losses
        self._hooks: list[Hook] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def _attach(self, model: nn.Module, selected: Mapping[nn.Module, str], *, inputs: bool, gradients: bool) -> None:
        self._compiled = compiled_names(selected, model)
        self._losses.attach(self._add)
        for module, name in selected.items():
            self._add(OutputHook(self, module, name, gradients=gradients), module.register_forward_hook)
            if inputs:
                self._add(InputHook(self, module, name), module.register_forward_pre_hook, with_kwargs=True)
            if is_table(module):
                self._add(UsageHook(self, module, name), module.register_forward_hook, with_kwargs=True)
        # A layer that is not selected still tells where the neurons of the activation after it are.
        if any(axis_rule(module) is None for module in selected):
            for module in dict.fromkeys(module for _, module in named_modules(model) if module not in selected):
                if axis_rule(module) is not None:
                    self._add(OutputHook(self, module, ""), module.register_forward_hook)

    def _inside(self, module: str, what: str, otherwise: str) -> str:
        """The name of what is recorded inside of a module; `otherwise`, or the name and (), where a module has it."""
        name = f"{module}.{what}" if module != self.prefix else f"{self.prefix}{what}"
        return name if name not in self._taken else otherwise or f"{name}()"

    def _add(self, hook: Hook, register: Callable[..., torch.utils.hooks.RemovableHandle], **options: Any) -> None:
        self._hooks.append(hook)
        self._handles.append(register(hook, **options))

    def remove(self) -> None:
        """Takes the hooks off the model. Calling it again is harmless."""
        if self in _live and (remove := getattr(self.monitor, "remove_watcher", None)):
            remove(self)
        _live.discard(self)
        while self._handles:
            self._handles.pop().remove()
        self._passes.end()  # if one was interrupted
        self._losses.end()
        while self._hooks:
            compiled.forget(self._hooks.pop().key)

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
        return self._failure_counter.failures

    @property
    def by_record(self) -> bool:
        """Whether the monitor's `record` is called, as by hand."""
        return self._record_in_place is None

    def unseen(self, recorded: Collection[str]) -> dict[str, Missing]:
        """The layers of which nothing was recorded so far, and why; `recorded` are the names that have rows."""
        outputs = (hook for hook in self._hooks if isinstance(hook, OutputHook) and hook.name)
        missing = missing_layers(outputs, self._compiled, self._lost, recorded)
        counters = [hook.counter for hook in self._hooks if isinstance(hook, UsageHook)]
        missing |= self._losses.missing()
        return missing | {counter.name: counter.missing for counter in counters if counter.missing is not None}

    # The hooks call the following.

    def _due(self) -> bool:
        """Whether this step is recorded."""
        monitor = self.monitor
        if not monitor.active:
            if getattr(monitor, "closed", False):
                raise FastactError("the monitor is closed: end the watch before it, or keep it open")
            return False
        if self._plan is None:
            return True
        step: int = monitor.current_step  # type: ignore[attr-defined] # `watch` has checked that it exists
        if step != self._asked[0]:
            # Set before the call, so that a function that fails is asked, and warned of, once a step.
            self._asked = (step, False)
            self._asked = (step, bool(self._plan(step)))
        return self._asked[1]

    def _step(self) -> int:
        """The monitor's step; -1 where it does not count them."""
        with contextlib.suppress(FastactError):  # of a log that is not open yet
            return getattr(self.monitor, "current_step", -1)
        return -1

    def _mode(self, training: bool) -> str:
        """What follows the name of a row that is recorded in this mode."""
        if self._home is None or training == self._home:
            return ""
        return TRAINING_SUFFIX if training else EVALUATION_SUFFIX

    def _function_name(self, module: str, function: str) -> str:
        """The row of a function that this module calls."""
        return self._inside(module, function, "")

    def _compiled_inside(self, model: nn.Module) -> bool:
        """Whether a part of the model is compiled, and not the whole, as far as can be seen."""
        if self._partly_compiled is None:
            parts = list(model.modules())
            self._partly_compiled = any(
                part._compiled_call_impl is not None or "_orig_mod" in part._modules for part in parts
            )
        return self._partly_compiled

    def _called(self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Takes the result of a function. Dynamo traces it."""
        if function.startswith(LOSS):
            losses = self._losses
            if not torch.compiler.is_compiling():
                if self._passes.recorded:
                    losses._called(function[len(LOSS) :], args, kwargs, result)
            elif self._traced and losses.in_graphs is not None and not torch.compiler.is_exporting():
                losses.in_graphs.trace(function[len(LOSS) :], args, kwargs, result)
        elif function in _OF_TABLES:
            if not torch.compiler.is_compiling() and self._passes.recorded:
                self._tables.called(function, args, result)
        elif torch.compiler.is_compiling():
            if self._traced and not torch.compiler.is_exporting():
                scope = self._traced[-1]
                if scope is not None and scope.records(function, args, result):
                    compiled.record(result.detach(), scope.key, self._order, function)
        elif self._passes.recorded and self._passes.running:
            self._passes.running[-1].called(function, args, kwargs, result)

    def _record(
        self,
        name: str,
        x: torch.Tensor,
        axis: int | None,
        layer_type: str,
        source: str = "",
        facts: dict[str, Any] | None = None,
    ) -> None:
        try:
            if self._describe is not None and name not in self._described:
                self._described.add(name)
                evaluation = TRAINING_SUFFIX not in name if self._home is False else EVALUATION_SUFFIX in name
                self._describe(name, mode="evaluation" if evaluation else "", source=source, facts=facts)
            x = real_numbers(x)
            if axis == 3 and x.ndim == 4 and not x.is_contiguous():
                # Attention hands on positions before heads, in memory. Which sample is which makes no difference.
                x = x.transpose(1, 2)
            if self._record_in_place is not None:
                self._record_in_place(name, x, axis, layer_type)
            else:
                self.monitor.record(name, x, axis=axis, kind=layer_type)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        self._lost.setdefault(name, error)
        self._failure_counter.failed(f"record layer {name!r}", error)
        if self._failure_counter.strict:
            raise error


#: The watches that are on.
_live: Final[weakref.WeakSet[Watch]] = weakref.WeakSet()


def _remove_in_child() -> None:
    # In a DataLoader worker that runs a watched model: the rows belong to the parent, and so does the lock that another
    # thread may have held at the fork.
    for handle in list(_live):
        handle.remove()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remove_in_child)
