"""The hooks around a module: where a forward pass begins and ends, which module runs, and which functions it calls."""

import contextlib
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any, Final, Protocol

import torch
from torch import nn
from torch.overrides import _get_current_function_mode, _pop_mode, _push_mode

from fastact.diagnosis.layer_types import ATTENTION, INPUT, INPUT_SUFFIX
from fastact.torch import compiled
from fastact.torch.criteria import is_criterion
from fastact.torch.evaluating import Evaluations
from fastact.torch.functional import INSIDE, TYPE_OF, FunctionMode
from fastact.torch.hooks import GIVEN, Hook, Hush, OutputHook, Uncopied, Watching, backward_pass, tracing, transforming
from fastact.torch.layers import Functions, axis_rule, calls_none, function_facts, functions_of, is_hushed, masks_of
from fastact.torch.losses import Losses
from fastact.torch.passes import Passes, Sources
from fastact.torch.selection import callable_parts, is_within, named_modules
from fastact.torch.silent import is_one_layer, is_silent
from fastact.torch.tensors import find_tensors

#: What a pass in compiled code says of itself, in place of the name of a function.
_BEGIN: Final = "<"
_END: Final = ">"

#: How many of the model's inputs are recorded at most.
_MOST_INPUTS: Final = 8


class ScopeWatching(Watching, Protocol):
    """What a scope needs of the `Watch` that it belongs to."""

    _function_mode: FunctionMode | None
    _hooks: list[Hook]
    _sourced: set[str]
    _taken: set[str]
    _evaluations: Evaluations
    _losses: Losses
    _parameters: Any
    _root_name: str
    prefix: str

    def _add(self, hook: Hook, register: Any, **options: Any) -> None: ...
    def _inside(self, module: str, what: str, otherwise: str) -> str: ...
    def _called(self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None: ...
    def _function_name(self, module: str, function: str) -> str: ...
    def _compiled_inside(self, model: nn.Module) -> bool: ...
    def _quicken(self) -> None: ...
    def _worked(self, since: float) -> None: ...


class Scope(Hook):
    """A forward pre-hook: notes that the module runs, and begins a pass where it is the outermost one.

    Args:
        watch: what it belongs to.
        module: the module.
        name: its name; "" for the model itself.
        outer: whether a pass begins when it is called outside of one.
        root: whether it also does in compiled code, where that is not known beforehand.
        input_name: the row of what it is given when a pass begins with it; None where that is not recorded.
        layer: whether it is a layer of a larger model, of whose inputs only data is recorded.
        functions: which functions are recorded that it calls.
        gradients: whether the gradients of their results are.
    """

    __slots__ = ("alone", "functions", "input_name", "input_rule", "layer", "masks", "outer", "root", "rows")
    watch: ScopeWatching

    def __init__(
        self,
        watch: ScopeWatching,
        module: nn.Module,
        name: str,
        *,
        outer: bool,
        root: bool,
        input_name: str | None,
        layer: bool,
        functions: Functions,
        gradients: bool,
    ) -> None:
        super().__init__(watch, module, name, gradients=gradients)
        self.outer, self.root = outer, root
        self.input_name = input_name
        self.layer = layer
        self.functions = functions
        #: Whether the mode is off inside: the fast path of attention wants that.
        self.alone = isinstance(module, nn.MultiheadAttention)
        #: The names of the rows of functions that were called.
        self.rows: dict[str, str] = {}
        #: Parameters of the module's `forward` that are masks, whose -inf is meant.
        self.masks = masks_of(module) if input_name is not None else ()
        #: Where the first layer inside has its neurons; the input has its own there if those are channels.
        self.input_rule = next(filter(None, map(axis_rule, module.modules())), None)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        """Called by torch before the module's forward pass; with `kwargs` where a pass may begin."""
        watch = self.watch
        if torch.compiler.is_compiling():
            if not torch.compiler.is_exporting():
                self._trace(args, kwargs or {})
            return
        passes = watch._passes
        if (
            self.outer
            and (passes.outermost is None or (passes.outermost is self and passes.again(watch._step())))
            and backward_pass() == -1
        ):
            begin = time.perf_counter()
            self._begin(module)
            if not passes.recorded:
                watch._worked(begin)
            else:
                watch._draw((args, kwargs or {}))
                if self.input_name is not None:
                    self._observe_inputs(args, kwargs or {})
                watch._quicken()
                passes.functions_on()
        if module._compiled_call_impl is not None:  # what it calls is compiled, its hooks are not
            watch._traced.append(self)
        if passes.recorded:
            passes.running.append(self)
            if self.alone:
                passes.functions_off()

    def leave(self, module: nn.Module, given: object, output: object) -> None:
        """Called after the module's forward pass, with None for the output of one that failed."""
        if torch.compiler.is_compiling():
            if not torch.compiler.is_exporting():
                self._trace_leave()
            return
        watch, passes = self.watch, self.watch._passes
        if module._compiled_call_impl is not None and self in watch._traced:
            del watch._traced[watch._traced.index(self) :]
        if passes.running and self in passes.running:
            last: Scope | None = None
            while last is not self:  # several, where an error was caught that a module inside of this one has raised
                last = passes.running.pop()
                if last.alone:
                    passes.functions_on()
            passes.function = None
        if passes.hushed:  # an error was caught that one of torch's layers has raised
            passes.speak()
        if passes.outermost is self:
            recorded, fresh = passes.recorded, passes.sources is not None
            passes.leaves(self)
            if recorded and passes.outermost is None and output is not None:
                if fresh and self.root:
                    self._look_inside(given, output)
                watch._losses.wait()

    def called(self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Takes the result of a function that the module has called."""
        watch, passes = self.watch, self.watch._passes
        quick = passes.quick
        try:
            if quick is not None and quick.eager and (not args or type(args[0]) is torch.Tensor):
                name = self.rows.get(function)
                if name and type(result) is torch.Tensor and self.take(result, quick, name, function):
                    return
            if not self.records(function, args, result):
                if self.functions == "inside" and isinstance(result, torch.Tensor):
                    passes.function = result, TYPE_OF[function]
                return
            module = self.module()
            if _in_graph(module):  # which has recorded it already
                return
            if watch._training_only and module is not None and not module.training:
                return
            if passes.sources is not None:
                self.source = passes.sources.of(args[:1], result)
            self.facts = function_facts(function, args, kwargs)
            self._observe_tensor(result, function)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            watch._failed(watch._function_name(self.name, function), error)

    def records(self, function: str, args: tuple[Any, ...], result: Any) -> bool:
        """Whether the result of a function is recorded: not that of a weight, which has no samples."""
        if self.functions == "none" or (self.functions == "inside" and function not in INSIDE):
            return False
        if not isinstance(result, torch.Tensor) or (function == "normalize" and result.ndim < 2):
            return False
        return not (args and isinstance(args[0], nn.Parameter))

    def _begin(self, module: nn.Module) -> None:
        watch, passes = self.watch, self.watch._passes
        watch._losses.begin(module.training)
        due = False
        try:
            due = watch._evaluations.due(module.training)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            watch._failed(self.name or type(module).__name__, error)
        if not due or (watch._training_only and not module.training) or tracing() is not None:
            passes.skip(self, watch._step(), due=due)
            if watch._compiled_inside(module):  # what was compiled with the mode on would be compiled anew without it
                passes.functions_on()
            return
        passes.begin(self, module, watch._step())
        mode = watch._mode(module.training)
        if (mode not in watch._sourced or watch._losses.wants_sources) and not transforming():
            watch._sourced.add(mode)
            passes.sources = Sources()

    def _look_inside(self, given: object, output: object) -> None:
        """Looks for parameters that the model uses and does not have."""
        if self.watch._parameters is not None and torch.is_grad_enabled() and not transforming():
            with contextlib.suppress(Exception):  # of an output that is none, which its own hook has told
                self.watch._parameters.strays.find_inside(given, output)

    def _observe_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            for place, x in self._inputs(args, kwargs):
                self._observe_tensor(x, GIVEN + place)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            self.watch._failed(self.input_name or "", error)

    def _inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, torch.Tensor]]:
        """The floating tensors that the module is given, each with what follows the row's name."""
        found: list[tuple[str, torch.Tensor]] = []
        alone = len(args) == 1 and not kwargs
        for index, value in enumerate(args):
            if index not in self.masks:
                place = "" if index == 0 and (alone or isinstance(value, torch.Tensor)) else f"[{index}]"
                found += find_tensors(value, place)
        for name, value in kwargs.items():
            if name not in self.masks:
                found += find_tensors(value, f"[{name!r}]")
        if self.layer:  # what the model has computed has a row already
            found = [(place, x) for place, x in found if torch.is_grad_enabled() and not x.requires_grad]
        return [(place, x) for place, x in found if x.is_floating_point() or x.is_complex()][:_MOST_INPUTS]

    # Dynamo traces the following two, once, for all passes to come.

    def _trace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        watch = self.watch
        if self.root:
            compiled.record(self.key, self.key, watch._order, _BEGIN)
            if self.input_name is not None:
                for place, x in self._inputs(args, kwargs):
                    compiled.record(x.detach(), self.key, watch._order, GIVEN + place)
        mode = watch._function_mode
        if mode is not None:
            if not watch._traced and _get_current_function_mode() is not mode:
                _push_mode(mode)
                watch._traced.append(None)
            watch._traced.append(self)

    def _trace_leave(self) -> None:
        watch = self.watch
        mode = watch._function_mode
        if mode is not None and watch._traced:
            watch._traced.pop()
            if watch._traced and watch._traced[-1] is None:
                watch._traced.pop()
                _pop_mode()
        if self.root:
            compiled.record(self.key, self.key, watch._order, _END)

    def observe_compiled(self, x: torch.Tensor, place: str) -> None:
        """Takes a tensor from compiled code: an input, or a function's result; or that a pass begins or ends."""
        passes = self.watch._passes
        if place == _BEGIN:
            module = self.module()
            if module is not None and backward_pass() == -1 and (passes.outermost is None or passes.outermost is self):
                self._begin(module)
                passes.functions_off()
                passes.sources = None  # the memory of compiled code is its own
        elif place == _END:
            if passes.outermost is self:
                passes.end()
        else:
            super().observe_compiled(x, place)

    def look_at_module(self, x: torch.Tensor) -> None:
        """The module's type tells nothing of what it calls."""
        self.layer_type = ""

    def record(self, x: torch.Tensor, place: str) -> None:
        """Records an input, or what a function has returned, whose name is `place`."""
        watch = self.watch
        if place.startswith(GIVEN):
            if backward_pass() == -1:
                name = f"{self.input_name}{place[1:]}{self.mode()}"
                channels = x.ndim > 3 or (self.input_rule is not None and self.input_rule(x.ndim) == 1)
                axis = 1 if channels else x.ndim - 1 if x.ndim > 1 else None
                watch._record(name, x, axis, INPUT, draw=watch._passes.draw)
                if watch._passes.sources is not None:
                    watch._passes.sources.add(x, name)
            return
        layer_type = TYPE_OF[place]
        name = watch._function_name(self.name, place)
        # Attention returns features, whatever the layer before had on its axes.
        axis = x.ndim - 1 if layer_type == ATTENTION and x.ndim > 1 else self.neuron_axis(x.ndim)
        number = watch._passes.place(name)
        self.record_output(name + number, x, axis, layer_type)
        self.rows[place] = name
        self.know(x, name + number, number, axis, place, told=layer_type == ATTENTION)


class Leave(Uncopied):
    """A forward hook: the end of a `Scope`."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def __call__(self, module: nn.Module, args: object, *rest: object) -> None:
        """Called by torch after the module's forward pass; where a pass may end, with `kwargs`, and if it failed."""
        self.scope.leave(module, (args, rest[:-1]), rest[-1])


def attach_scopes(
    watch: ScopeWatching,
    model: nn.Module,
    selected: Mapping[nn.Module, str],
    *,
    chosen: bool,
    inputs: bool | None,
    gradients: bool,
    functional: bool,
) -> None:
    """Hooks that say where passes begin and which module runs.

    Functions are recorded in all modules, or, where layers were chosen, in those that are `selected` and inside.
    """
    modules: dict[nn.Module, str] = {}
    for name, module in named_modules(model):
        modules.setdefault(module, name)
        watch._taken.add(watch.prefix + name)
    root, outer = callable_parts(model)
    within = tuple(name for module, name in modules.items() if module in selected)
    functions = {
        module: "none" if chosen and not is_within(name, within) else functions_of(module, name)
        for module, name in modules.items()
    }
    silent = {module for module in modules if is_silent(module)}
    loud = [module for module in modules if module not in silent and not is_one_layer(module)]
    if functional and any(functions[module] != "none" for module in loud):
        watch._function_mode = FunctionMode(watch)
        watch._passes = Passes(watch._function_mode)
    hooks = {hook.module(): hook for hook in watch._hooks if isinstance(hook, OutputHook) and hook.name}
    for module, name in modules.items():
        begins = module in outer and not is_criterion(module) and module not in watch._losses.given.values()
        hushed = watch._function_mode is not None and module in hooks and is_hushed(module)
        if not begins and (watch._function_mode is None or hushed or calls_none(module) or module in silent):
            if hushed:
                hooks[module].hushes = True
                watch._handles.append(module.register_forward_pre_hook(Hush(watch)))
            continue
        full = watch.prefix + (name or watch._root_name)
        input_name = None
        # The inputs of a layer have a row of their own, where they are recorded.
        if begins and inputs is not False and not (inputs and module in selected):
            input_name = watch._inside(full, "input", full + INPUT_SUFFIX)
        scope = Scope(
            watch,
            module,
            full,
            outer=begins,
            root=module in root,
            input_name=input_name,
            layer=module is not model and not any(module.children()),
            functions=functions[module],
            gradients=gradients,
        )
        # Options of a hook are kept by its number, which would be compiled into repeated blocks: only where needed.
        watch._add(scope, module.register_forward_pre_hook, with_kwargs=begins)
        watch._handles.append(module.register_forward_hook(Leave(scope), always_call=begins, with_kwargs=begins))


def _in_graph(module: nn.Module | None) -> bool:
    """Whether a function is called by code that Dynamo has made, which some backends run as Python."""
    frame: FrameType | None = sys._getframe(4)  # of the caller of `FunctionMode.__torch_function__`
    for _ in range(3):  # a function of `F` asks the mode by another function
        if frame is None:
            break
        if frame.f_code.co_filename.startswith("<eval_with_key>"):  # as FX names all that it makes
            return frame.f_locals.get("self") is not module
        frame = frame.f_back
    return False
