"""`Watch`: the hooks of one `watch` call, what they ask of it, and the end of them."""

import contextlib
import os
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final, Self

import torch
from torch import nn

from fastact._adapters.attachment import Attachment
from fastact.diagnosis.layer_types import EVALUATION_SUFFIX, INPUT, TRAINING_SUFFIX
from fastact.errors import FastactError
from fastact.failures import FailureCounter
from fastact.monitor.batches import facts_of_inputs
from fastact.monitor.monitor import ActivationMonitor
from fastact.monitor.pace import Auto
from fastact.monitor.unseen import Missing
from fastact.text import shown
from fastact.torch import compiled
from fastact.torch.drawn import Draw, Draws
from fastact.torch.evaluating import Evaluations, Sentinel
from fastact.torch.functional import LOSS, OF_TABLES, FunctionMode
from fastact.torch.hooks import Hook, InputHook, OutputHook
from fastact.torch.layers import axis_rule
from fastact.torch.losses import Losses
from fastact.torch.monitoring import MonitorLike
from fastact.torch.parameters import ParameterWatch
from fastact.torch.parking import Parking
from fastact.torch.passes import Passes
from fastact.torch.selection import named_modules
from fastact.torch.sites import Site, quick_pass, site_of
from fastact.torch.tensors import real_numbers
from fastact.torch.unseen import compiled_names, missing_layers
from fastact.torch.usage import Tables, UsageHook, is_table

#: What a mode calls the functions that tell of tables.
_OF_TABLES: Final = frozenset(OF_TABLES.values())


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
        self._record_in_place: Callable[..., None] | None = None
        record: Any = monitor.record
        if isinstance(record, partial):  # of a monitor that measures how long it takes
            record = record.args[0]
        if getattr(record, "__func__", None) in (ActivationMonitor.record, Attachment.record):
            self._record_in_place = monitor.record_in_place  # type: ignore[attr-defined] # both have it
        self.names = names
        #: Takes what is known of a layer before its first row; and the rows that it was told of.
        self._describe: Callable[..., None] | None = getattr(monitor, "describe", None)
        self._described: set[str] = set()
        self._plan = plan
        #: Which samples are swept; None where all are.
        self._draws: Draws | None = None
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
        self._lost: dict[str, str] = {}
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
        self._parameters: ParameterWatch | None = None
        self._hooks: list[Hook] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._parking = Parking()
        self._evaluations = Evaluations(self)

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
        if self in live and (remove := getattr(self.monitor, "remove_watcher", None)):
            remove(self)
        live.discard(self)
        if self._parameters is not None:
            self._parameters.end()
        self._parking.end()
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
        missing |= {counter.name: counter.missing for counter in counters if counter.missing is not None}
        missing |= self._losses.missing()
        return missing | (self._parameters.unseen(recorded) if self._parameters is not None else {})

    # The hooks call the following.

    def _due(self) -> bool:
        """Whether this step is recorded."""
        monitor = self.monitor
        if not monitor.active:
            if getattr(monitor, "closed", False):
                raise FastactError("the monitor is closed: end the watch before it, or keep it open")
            return False
        # `watch` has checked that it counts its steps, where that matters.
        return self._plans(monitor.current_step) if self._is_planned else True  # type: ignore[attr-defined]

    @property
    def _is_planned(self) -> bool:
        return self._plan is not None or self._draws is not None

    def _plans(self, step: int) -> bool:
        """Whether this watch means to record a step that the monitor records."""
        if step != self._asked[0]:
            # Set before the call, so that a function that fails is asked, and warned of, once a step.
            self._asked = (step, False)
            due = self._plan is None or bool(self._plan(step))
            self._asked = (step, due and (self._draws is None or self._draws.due(step)))
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

    def _draw(self, given: object) -> None:
        """Draws the samples that are swept in this pass, from what the model is given."""
        if self._draws is not None:
            try:
                self._passes.draw, self._passes.drawn = self._draws.draw(self._step(), given), True
            except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
                self._failed("input", error)

    def _quicken(self) -> None:
        """Lets rows of the pass that has begun take the short way, where nothing else is to be found out in it."""
        passes = self._passes
        if passes.sources is None and not self._training_only and not self.by_record:
            home = not self._mode(passes.training)
            passes.quick = quick_pass(self.monitor, passes.counts, passes.draw, home=home)

    def _worked(self, since: float) -> None:
        """What was done since then, by `time.perf_counter`, is part of what watching takes, where that is measured."""
        pace = getattr(getattr(self.monitor, "_queue", None), "pace", None)
        if isinstance(pace, Auto):
            pace.worked(time.perf_counter() - since)

    def _site(self, name: str, x: torch.Tensor, axis: int | None) -> Site | None:
        """What is known of a row that was just recorded, for the next time; None where it takes the long way."""
        quick = self._passes.quick
        if quick is None or axis is None or name in self._lost:
            return None
        layer = quick.monitor._layers.get(name)
        return None if layer is None else site_of(layer, x, axis)

    def begin_step(self, *, closing: bool = False) -> None:
        """Another step of the monitor has begun: takes all hooks off where it is not recorded, and brings them back."""
        parking, passes = self._parking, self._passes
        if closing and passes.outermost is None:
            self._losses.begin(passes.training)  # nothing waits for a loss any more
        off = not closing and self._rests()
        if off is parking.off:
            return
        if not off:
            self._unpark()
        elif passes.outermost is None and self._may_park():
            self._losses.begin(passes.training)  # what waits for a loss waits no longer
            parking.park()
            if parking.off and self._parameters is not None:
                self._parameters.rest()

    def _rests(self) -> bool:
        """Whether nothing is recorded in the step that has begun, whatever comes in it."""
        monitor = self.monitor.monitor if isinstance(self.monitor, Attachment) else self.monitor
        if not isinstance(monitor, ActivationMonitor):
            return False
        step = monitor.current_step
        if not monitor.active:
            return True
        try:
            return self._is_planned and not self._plans(step)
        except Exception:  # noqa: BLE001 - the pass that begins asks again, and tells of it
            self._asked = (-1, False)
            return False

    def _may_park(self) -> bool:
        """Whether hooks may be off: compiled code has those that were there when it was compiled."""
        model = self._losses._model()
        if model is None or self._compiled or self._compiled_inside(model):
            return False
        if not self._parking.found:
            own = (handle.id for handle in self._handles)
            waits = Sentinel(self, self._evaluations) if self._evaluations.wanted else None
            self._parking.find(model, own, waits)
        return True

    def _unpark(self) -> None:
        """Brings all hooks back."""
        if self._parking.off:
            self._parking.unpark()
            if self._parameters is not None:
                self._parameters.go_on()

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
        draw: Draw | None = None,
    ) -> None:
        try:
            x = real_numbers(x)
            if self._describe is not None and name not in self._described:
                self._described.add(name)
                evaluation = TRAINING_SUFFIX not in name if self._home is False else EVALUATION_SUFFIX in name
                if layer_type == INPUT:
                    facts = facts_of_inputs(x, axis)
                self._describe(name, mode="evaluation" if evaluation else "", source=source, facts=facts)
            if axis == 3 and x.ndim == 4 and not x.is_contiguous():
                # Attention hands on positions before heads, in memory. Which sample is which makes no difference.
                x = x.transpose(1, 2)
            if self._record_in_place is not None:
                if draw is None:
                    self._record_in_place(name, x, axis, layer_type)
                else:
                    part, drawn = draw.of(x)
                    self._record_in_place(name, part, axis, layer_type, drawn)
            else:
                self.monitor.record(name, x, axis=axis, kind=layer_type)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        # Not the error, whose traceback keeps alive what lies in the user's frames: the loss, its graph, our modes.
        self._lost.setdefault(name, f"{type(error).__name__}: {shown(str(error), 200)}")
        self._failure_counter.failed(f"record layer {name!r}", error)
        if self._failure_counter.strict:
            raise error


#: The watches that are on.
live: Final[weakref.WeakSet[Watch]] = weakref.WeakSet()


def _remove_in_child() -> None:
    # In a DataLoader worker that runs a watched model: the rows belong to the parent, and so does the lock that another
    # thread may have held at the fork.
    for handle in list(live):
        handle.remove()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remove_in_child)
