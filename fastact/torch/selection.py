"""Which modules of a model are watched, and under which names."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final

import torch
from torch import nn

from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.text import matches
from fastact.torch.criteria import is_criterion

#: The `layers` of `watch`: a name pattern, a module type, several of these, or a function of name and module.
Layers = str | type[nn.Module] | Iterable[str | type[nn.Module]] | Callable[[str, nn.Module], bool]

#: The children under which torch.compile, checkpoint_wrapper and FSDP 1 keep the module that they wrap.
_WRAPPED: Final = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
#: Modules that compute nothing where they have no children: recording them would repeat the numbers of their input.
_PASS_THROUGH: Final = (nn.Identity, nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


def select_modules(model: nn.Module, layers: Layers | None, leave_out: Collection[object] = ()) -> dict[nn.Module, str]:
    """The modules to watch and the name of each, in the order of ``model.named_modules()``.

    Losses that the model holds, and what is in `leave_out`, are layers only where `layers` says so.
    """
    names: dict[nn.Module, list[str]] = {}
    for name, module in named_modules(model):
        names.setdefault(module, []).append(name)
    selected: set[nn.Module]
    if layers is None:
        root = _unwrap(model)
        selected = {leaf for leaf in _leaves(root) if leaf is root or not (is_criterion(leaf) or leaf in leave_out)}
    elif isinstance(layers, nn.Module):
        raise ArgumentTypeError(f"layers: got {_module_told(layers, names)}")
    elif callable(layers) and not isinstance(layers, type):
        selected = {module for module, known in names.items() if layers(known[0], module)}
    else:
        if not isinstance(layers, Iterable | type):
            want = "a name pattern, a module type, several of these, or a function"
            raise ArgumentTypeError(f"layers: got {type(layers).__name__}, want {want}")
        items = (layers,) if isinstance(layers, str | type) else layers
        selected = set().union(*(_matches(item, names) for item in items))
    if not selected:
        raise _no_match("a selection", names)
    return {module: known[0] or type(module).__name__ for module, known in names.items() if module in selected}


def _unwrap(module: nn.Module) -> nn.Module:
    """The module inside the wrappers of `torch.compile`, DDP, DataParallel, FSDP 1 and checkpoint_wrapper."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
            continue
        inner = next((module._modules[name] for name in _WRAPPED if module._modules.get(name) is not None), None)
        if inner is None:
            return module
        module = inner


def named_modules(
    module: nn.Module, name: str = "", above: tuple[nn.Module, ...] = ()
) -> Iterator[tuple[str, nn.Module]]:
    """All modules under all of their names, like ``module.named_modules(remove_duplicate=False)`` without wrappers."""
    module = _unwrap(module)
    if module not in above:  # a child may hold its parent
        yield name, module
        for child_name, child in _children(module):
            yield from named_modules(child, f"{name}.{child_name}" if name else child_name, (*above, module))


def callable_parts(model: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The modules that a user calls: the model, or what it holds where it is no more than a container; and its parts.

    The first list has the outermost ones, the second one also what may be called by itself.
    """
    model = _unwrap(model)
    parts = [part for _, child in _children(model) for part in _callable(child)]
    return ([model], [model, *parts]) if _has_forward(model) else (parts, parts)


def _callable(module: nn.Module, above: tuple[nn.Module, ...] = ()) -> list[nn.Module]:
    if _has_forward(module):
        return [module]
    children = [child for _, child in _children(module) if child not in above]
    return [part for child in children for part in _callable(child, (*above, module))]


def _has_forward(module: nn.Module) -> bool:
    """Whether the module can be called; a ModuleList cannot."""
    return getattr(module.forward, "__name__", "") != "_forward_unimplemented"


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    # The children of a TorchScript module run outside of Python.
    if isinstance(module, torch.jit.ScriptModule):
        return []
    return [(name, _unwrap(child)) for name, child in module._modules.items() if child is not None]


def _leaves(module: nn.Module, above: tuple[nn.Module, ...] = ()) -> Iterator[nn.Module]:
    """The modules that compute: those without children, and three special cases."""
    # The parametrisations of a parametrised layer are its children, but compute weights, not activations. Lists of
    # parameters are no more than weights.
    children = [
        child
        for name, child in _children(module)
        if name != "parametrizations" and not isinstance(child, nn.ParameterList | nn.ParameterDict)
    ]
    # Attention uses the weights of its child `out_proj` and never calls it.
    if isinstance(module, nn.MultiheadAttention) or not (children or isinstance(module, _PASS_THROUGH)):
        yield module
    elif module not in above:
        for child in children:
            yield from _leaves(child, (*above, module))


def _matches(item: object, names: Mapping[nn.Module, list[str]]) -> set[nn.Module]:
    if isinstance(item, str):
        what = f"the pattern {item!r}"
        found = {module for module, known in names.items() if any(matches(name, item) for name in known)}
    elif isinstance(item, type) and issubclass(item, nn.Module):
        what = f"the type {item.__name__}"
        found = {module for module in names if isinstance(module, item)}
    else:
        if isinstance(item, nn.Module):
            raise ArgumentTypeError(f"layers: got {_module_told(item, names)}")
        got = item.__name__ if isinstance(item, type) else type(item).__name__
        raise ArgumentTypeError(f"layers: got {got} among the choices, want name patterns (str) and nn.Module types")
    if not found:
        raise _no_match(what, names)
    return found


def _module_told(module: Any, names: Mapping[nn.Module, list[str]]) -> str:
    """What to give in place of a module itself."""
    known = names.get(_unwrap(module), [""])[0]
    want = f"its name, {known!r}" if known else "the name of one of the model's modules"
    return f"a module, {type(module).__name__}, want {want}, a pattern of names, or a type of modules"


def _no_match(what: str, names: Mapping[nn.Module, list[str]]) -> ArgumentValueError:
    known = [name for group in names.values() for name in group[:1] if name]
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    some = ", ".join(repr(name) for name in known[:8]) or "none besides the model itself"
    return ArgumentValueError(f"layers: got {what} that matches no module, want one that does; names: {some}{more}")


def is_within(name: str, chosen: tuple[str, ...]) -> bool:
    """Whether the module of this name is one of the chosen ones, or inside of one."""
    return any(name == other or not other or name.startswith(f"{other}.") for other in chosen)
