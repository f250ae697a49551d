"""Watches a PyTorch model: forward hooks that hand every layer's output to a monitor.

The hooks only read. They return nothing, so outputs, gradients, the state_dict and the training mode are what they
would be without them, and a failure inside one is counted and warned of once instead of ending the training.
A step that the monitor does not record costs one attribute read per layer.
"""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol, Self

from fastact.errors import ArgumentTypeError, ArgumentValueError, MissingExtraError

try:
    import torch
    from torch import nn
    from torch.nn.utils.rnn import PackedSequence
except ModuleNotFoundError as error:  # pragma: no cover - the tests need torch; a subprocess test takes this branch
    if error.name != "torch":
        raise
    raise MissingExtraError("fastact.torch needs PyTorch: pip install 'fastact[torch]'") from error

__all__ = ["Layers", "Recorder", "Watch", "watch"]

#: What `watch` takes as `layers`: a name pattern, a module type, several of these, or a function of name and module.
Layers = str | type[nn.Module] | Iterable[str | type[nn.Module]] | Callable[[str, nn.Module], bool]

#: How deep tuples, lists, dicts and dataclasses are searched for tensors: enough for real outputs, and an end for
#: a structure that contains itself.
_DEPTH: Final = 8

#: Layers that put their neurons (features) on the last axis.
_LAST: Final = (
    nn.Linear,
    nn.Bilinear,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.MultiheadAttention,
)
#: Layers that put their neurons (channels) on axis 1, batched or not at all.
_SECOND: Final = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)
#: Layers that put their channels before this many spatial axes; a batch axis may be missing.
_SPATIAL: Final = (
    ((nn.Conv1d, nn.ConvTranspose1d, nn.InstanceNorm1d), 1),
    ((nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d), 2),
    ((nn.Conv3d, nn.ConvTranspose3d, nn.InstanceNorm3d), 3),
)


class Recorder(Protocol):
    """What `watch` needs of a monitor; `fastact.ActivationMonitor` is one."""

    @property
    def active(self) -> bool:
        """Whether the current step is recorded; hooks do nothing else where it is not."""

    def record(self, name: str, x: Any, /, *, axis: int | None = None, kind: str = "") -> object:
        """Takes the activations `x` of layer `name`, with its neurons along `axis`."""


def watch(model: nn.Module, monitor: Recorder, *, layers: Layers | None = None) -> "Watch":
    """Records the outputs of a model's layers into `monitor` at every forward pass, until the end of the ``with``.

    Args:
        model: the model; its layers are named as in ``model.named_modules()``. The model itself, where it is a layer
            or chosen, goes by its class name. A module that appears under several names is recorded under the first.
        monitor: an `ActivationMonitor`. Call its ``step()`` at the end of each training step: all that a layer gave
            in between, in however many calls, is one row.
        layers: what to watch. None: every leaf module, and `MultiheadAttention` as a whole. A string: the modules
            whose name matches this `fnmatch` pattern, such as ``"encoder.*"``. A type: its instances. An iterable of
            these: their union. A function: the modules for which ``layers(name, module)`` is true.

    Returns:
        A `Watch`: a context manager, and also a handle whose ``remove()`` ends it. The hooks are on when `watch`
        returns.

    Tensors inside a tuple, list, dict or dataclass are recorded under the module's name with their place added, such
    as ``"lstm[0]"`` or ``"head['logits']"``; what is not a tensor is ignored. Each layer is swept per neuron along
    the axis that its type says: the last for Linear, LayerNorm, RNN, Embedding and attention, the channels for
    convolutions and the other norms. A module of any other type follows the layer that ran before it where both
    outputs have the same number of axes; else 2-D and 3-D outputs have their neurons last and larger ones on axis 1.
    Outputs with fewer than two axes have no neurons.

    Forward passes run again by activation checkpointing are not recorded twice. A copy of the model
    (``copy.deepcopy``, pickle) is not watched. Under `torch.compile` call `watch` before the first compiled forward
    pass, since compiled code has only the hooks that it found then; each watched layer ends a graph, so
    ``fullgraph=True`` cannot go with it.

    Raises:
        ArgumentTypeError: `model` is no `nn.Module` (or a TorchScript one, whose layers run outside of Python),
            `monitor` has no ``record``, or `layers` is of another kind.
        ArgumentValueError: a pattern or type matches nothing, or this monitor watches one of the layers already.

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
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError(f"model: got {type(model).__name__}, want a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise ArgumentTypeError("model: got a TorchScript module, want one whose layers run in Python")
    if not (callable(getattr(monitor, "record", None)) and hasattr(monitor, "active")):
        raise ArgumentTypeError(f"monitor: got {type(monitor).__name__}, want a fastact.ActivationMonitor")
    return Watch(model, monitor, _choose(model, layers))


class Watch:
    """The hooks of one `watch` call; use it as a context manager or call `remove`.

    Attributes:
        names: the watched layers, in the order of ``model.named_modules()``.
        failures: how many outputs could not be recorded; the first one was warned of.
    """

    def __init__(self, model: nn.Module, monitor: Recorder, chosen: Mapping[nn.Module, str]) -> None:
        self.names = tuple(chosen.values())
        self.failures = 0
        #: (number of axes, neuron axis) of the last layer that ran whose type says where its neurons are.
        self._layout: tuple[int, int] | None = None
        for module, name in chosen.items():
            if any(isinstance(h, _Hook) and h.name and h.monitor is monitor for h in module._forward_hooks.values()):
                raise ArgumentValueError(f"model: layer {name!r} is watched by this monitor already")
        # A layer that is not chosen still tells where the neurons of the activation after it are.
        guides = (m for m in model.modules() if m not in chosen and _axis_rule(m) is not None)
        self._handles = [m.register_forward_hook(_Hook(self, monitor, n)) for m, n in chosen.items()]
        self._handles += [m.register_forward_hook(_Hook(self, monitor, "")) for m in guides]

    def remove(self) -> None:
        """Takes the hooks off the model. Harmless when they are off already."""
        while self._handles:
            self._handles.pop().remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        state = "on" if self._handles else "removed"
        return f"Watch(layers={len(self.names)}, failures={self.failures}, {state})"

    def _failed(self, name: str, error: Exception) -> None:
        self.failures += 1
        if self.failures == 1:
            warnings.warn(
                f"fastact could not record layer {name!r} and goes on without it"
                f" ({type(error).__name__}: {error}); Watch.failures counts the further ones",
                RuntimeWarning,
                stacklevel=3,
            )


class _Hook:
    """The forward hook of one module; with an empty name it only notes where the module has its neurons."""

    __slots__ = ("kind", "monitor", "name", "rule", "watch")

    def __init__(self, owner: Watch, monitor: Recorder, name: str) -> None:
        self.watch = owner
        self.monitor = monitor
        self.name = name
        # Filled in at the first call: a lazy module has its final type only then.
        self.kind: str | None = None
        self.rule: Callable[[int], int] | None = None

    # torch.compile would trace into the sweep and store its own stand-ins for numbers; it runs this between two graphs.
    @torch.compiler.disable(  # type: ignore[untyped-decorator]
        reason="fastact.torch.watch reads activations in Python: compile without fullgraph=True"
    )
    def __call__(self, module: nn.Module, args: object, output: object) -> None:
        try:
            # Inside of a backward pass only activation checkpointing runs a layer, for the second time.
            if not self.monitor.active or torch._C._current_graph_task_id() != -1:
                return
            if self.kind is None:
                self.rule = _axis_rule(module)
                self.kind = _kind(module)
            if isinstance(output, torch.Tensor):
                self._take(self.name, output, self._axis(output.ndim))
                return
            for place, x in _tensors(output, "", 0):
                # The second output of attention is its weights, whose last axis are positions, not neurons.
                neurons = not (self.kind == "MultiheadAttention" and place != "[0]")
                self._take(self.name + place, x, self._axis(x.ndim) if neurons else None)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            self.watch._failed(self.name, error)

    def _axis(self, ndim: int) -> int | None:
        if ndim < 2:
            return None
        if self.rule is not None:
            axis = max(self.rule(ndim), 0)
            self.watch._layout = (ndim, axis)
            return axis
        if self.watch._layout is not None and self.watch._layout[0] == ndim:
            return self.watch._layout[1]
        return ndim - 1 if ndim < 4 else 1

    def _take(self, name: str, x: torch.Tensor, axis: int | None) -> None:
        if not self.name:
            return
        try:
            self.monitor.record(name, x, axis=axis, kind=self.kind or "")
        except Exception as error:  # noqa: BLE001 - one tensor of several must not take the others with it
            self.watch._failed(name, error)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of the model must not report to the original's monitor, and must stay picklable.
        return _no_hook, ()


def _no_hook() -> Callable[..., None]:
    return _ignore


def _ignore(module: object, args: object, output: object) -> None:
    """What a hook becomes in a copy of the model."""


def _tensors(output: object, place: str, depth: int) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors inside a module's output, each with its place as Python would write it."""
    if isinstance(output, torch.Tensor):
        yield place, output
    elif depth == _DEPTH:
        return
    elif isinstance(output, PackedSequence):  # its other tensors are lengths and positions
        yield place + ".data", output.data
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from _tensors(value, f"{place}[{key!r}]", depth + 1)
    elif isinstance(output, tuple | list):
        for index, value in enumerate(output):
            yield from _tensors(value, f"{place}[{index}]", depth + 1)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for field in dataclasses.fields(output):
            yield from _tensors(getattr(output, field.name, None), f"{place}.{field.name}", depth + 1)


def _axis_rule(module: nn.Module) -> Callable[[int], int] | None:
    """How to get the neuron axis from the number of axes of the output; None: the type does not say."""
    if isinstance(module, _LAST):
        return lambda ndim: ndim - 1
    if isinstance(module, _SECOND):
        return lambda ndim: 1
    for types, spatial in _SPATIAL:
        if isinstance(module, types):
            return lambda ndim: ndim - spatial - 1
    return None


def _kind(module: nn.Module) -> str:
    """The type's name; for a type derived from one of torch's layers the name of that, since it is known to rules."""
    for base in type(module).__mro__:
        public = base.__module__.startswith("torch.nn.modules.") and not base.__name__.startswith("_")
        if public and base not in (nn.Module, nn.Sequential):
            return base.__name__
    return type(module).__name__


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """The modules that compute, in the order of ``modules()``: those without children, and two special cases."""
    # A parametrised layer holds its parametrisations as children: they compute weights, not activations.
    children = [child for name, child in module.named_children() if name != "parametrizations"]
    # Attention never calls its child `out_proj`, it uses the child's weights.
    if not children or isinstance(module, nn.MultiheadAttention):
        yield module
    else:
        for child in children:
            yield from _leaves(child)


def _choose(model: nn.Module, layers: Layers | None) -> dict[nn.Module, str]:
    """The modules to watch with the name of each, in the order of ``model.named_modules()``."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    wanted: set[nn.Module]
    if layers is None:
        wanted = set(_leaves(model))
    elif callable(layers) and not isinstance(layers, type):
        wanted = {module for module, known in names.items() if layers(known[0], module)}
    else:
        wanted = set()
        for item in (layers,) if isinstance(layers, str | type) else _items(layers):
            wanted |= _matches(item, names)
    if not wanted:
        raise _no_match("a choice", names)
    return {module: known[0] or type(module).__name__ for module, known in names.items() if module in wanted}


def _items(layers: object) -> list[Any]:
    if not isinstance(layers, Iterable):
        raise ArgumentTypeError(
            f"layers: got {type(layers).__name__}, want a name pattern, a module type, several of these, or a function"
        )
    return list(layers)


def _matches(item: object, names: Mapping[nn.Module, list[str]]) -> set[nn.Module]:
    if isinstance(item, str):
        found = {module for module, known in names.items() if any(fnmatchcase(name, item) for name in known)}
        if not found:
            raise _no_match(f"the pattern {item!r}", names)
        return found
    if isinstance(item, type) and issubclass(item, nn.Module):
        found = {module for module in names if isinstance(module, item)}
        if not found:
            raise _no_match(f"the type {item.__name__}", names)
        return found
    got = item.__name__ if isinstance(item, type) else type(item).__name__
    raise ArgumentTypeError(f"layers: got {got} among the choices, want name patterns (str) and nn.Module types")


def _no_match(what: str, names: Mapping[nn.Module, list[str]]) -> ArgumentValueError:
    known = [name for group in names.values() for name in group[:1] if name]
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    some = ", ".join(repr(name) for name in known[:8]) or "none besides the model itself"
    return ArgumentValueError(f"layers: got {what} that matches no module, want one that does; names: {some}{more}")
