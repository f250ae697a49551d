"""Why a hook has recorded nothing, in words that say what to do; and which modules lie in compiled code."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, Protocol

from torch import nn

from fastact.monitor.unseen import Missing

NEVER: Final = Missing(
    "its hook never ran: it was not called, or called as .forward(), which passes hooks by, or used by its weights"
)
NOTHING: Final = Missing(
    "no layer of its model ran: the model was not called, or a copy of it was, or code that was compiled before `watch`"
)
COMPILED: Final = Missing(
    "code that was compiled before `watch` has no hooks: call `watch` before the first compiled call, or "
    "torch.compiler.reset() after it"
)
EVALUATION: Final = Missing("it ran in evaluation mode only, which training_only=True leaves out", warn=False)
NO_TENSOR: Final = Missing("it returns no tensor", warn=False)
NO_FLOATS: Final = Missing("it returns no floating-point numbers", warn=False)
NO_STEP: Final = Missing(
    "no optimiser has stepped: its step() was not called, or was captured into a CUDA graph, or it is no "
    "torch.optim.Optimizer"
)
COMPILED_STEP: Final = Missing("it lies in compiled code, which shows no parameters")
NO_GRADIENT: Final = Missing(
    "an optimiser holds the parameter and it never had a gradient: backward() was not called, or the loss does not "
    "depend on it",
    warn=False,
)


class _Hook(Protocol):
    name: str
    #: Why nothing is recorded yet; None once something is.
    missing: Missing | None


def compiled_names(names: Mapping[nn.Module, str], model: nn.Module) -> frozenset[str]:
    """The names of the modules that are compiled, or lie in one that is."""
    inside: set[nn.Module] = set()
    for module in model.modules():
        # `torch.compile(module)` keeps the module under this name; `module.compile()` has its code beside it.
        if "_orig_mod" in module._modules or module._compiled_call_impl is not None:
            inside.update(module.modules())
    return frozenset(name for module, name in names.items() if module in inside)


def missing_layers(
    hooks: Iterable[_Hook], compiled: Collection[str], lost: Mapping[str, str], recorded: Collection[str]
) -> dict[str, Missing]:
    """What the hooks of a watch have not recorded, by name.

    Args:
        hooks: those that record outputs.
        compiled: names of layers that lay in compiled code when the watch began.
        lost: what could not be recorded, by name.
        recorded: the names of all that has rows.
    """
    found = {hook.name: hook.missing for hook in hooks}
    nothing = all(missing is NEVER for missing in found.values())
    result = {}
    for name, missing in found.items():
        if missing is NEVER and (name in compiled or nothing):
            result[name] = COMPILED if name in compiled else NOTHING
        elif missing is not None:
            result[name] = missing
    for name, error in lost.items():
        if name not in recorded:  # its failure was warned of
            result[name] = Missing(f"it could not be recorded ({error})", False)
    return result
