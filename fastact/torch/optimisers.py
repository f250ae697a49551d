"""Which optimisers step, and which parameters they hold: hooks around every optimiser's step.

PyTorch calls global hooks before and after the step of any `torch.optim.Optimizer`, so none need be named, and nothing
hangs on an optimiser that its copies or pickles would carry. The hooks are there while something is watched. A code
that is being compiled, or captured into a CUDA graph, passes them by.
"""

import gc
import weakref
from collections.abc import Collection, Iterable, Mapping
from numbers import Real
from typing import Any, Final, Protocol

import torch
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

#: What an optimiser's row is called; the second one's ends in ``:2``, and all further ones share that of the last.
ROW: Final = "optimiser"
#: What is missing where its step cannot be seen.
STEP: Final = "optimiser.step"
_MOST: Final = 8
#: Names that a fact lists; how many there are is a fact of its own.
_NAMES: Final = 20
#: What is told of an optimiser's first group of parameters, where it has it.
_SETTINGS: Final = ("momentum", "weight_decay", "betas")


class Follower(Protocol):
    """Who is told of steps."""

    def before(self, optimiser: Optimizer, *, late: bool) -> None:
        """An optimiser is about to step; `late` where its gradients are not there yet, or still scaled."""

    def after(self, optimiser: Optimizer) -> None:
        """It has stepped."""


#: Weak, since PyTorch keeps global hooks for ever: a watch that was never removed goes with its model.
_followers: Final[weakref.WeakSet[Follower]] = weakref.WeakSet()
_handles: Final[list[Any]] = []


class _Compiled:
    """Whether an optimiser's step has run in compiled code: such code writes it each time, and reads nothing."""

    seen = False


_compiled: Final = _Compiled()


def follow(follower: Follower, *, again: bool = False) -> None:
    """Tells of every optimiser's steps, until `unfollow`. The follower is not kept alive, and must not raise.

    `again` where it goes on, after a rest.
    """
    _followers.add(follower)
    if not _handles:
        _compiled.seen = _compiled.seen and again
        _handles.append(register_optimizer_step_pre_hook(_before))
        _handles.append(register_optimizer_step_post_hook(_after))


def unfollow(follower: Follower) -> None:
    """Ends it. Calling it again is harmless."""
    _followers.discard(follower)
    while _handles and not _followers:
        _handles.pop().remove()


def _before(optimiser: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if torch.compiler.is_compiling():
        _compiled.seen = True
        return
    # A closure computes the gradients within the step (Lightning, LBFGS). A fused optimiser unscales them itself.
    # The arguments begin with the optimiser.
    closure = kwargs.get("closure") if len(args) < 2 else args[1]
    late = closure is not None or getattr(optimiser, "grad_scale", None) is not None
    for follower in tuple(_followers):
        follower.before(optimiser, late=late)


def _after(optimiser: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if torch.compiler.is_compiling():
        return
    for follower in tuple(_followers):
        follower.after(optimiser)


def is_compiled() -> bool:
    """Whether an optimiser's step has run in compiled code, whose parameters are not seen."""
    return _compiled.seen


def parameters_of(optimiser: Optimizer) -> list[Any]:
    """The parameters that an optimiser holds."""
    return [parameter for group in getattr(optimiser, "param_groups", ()) for parameter in group["params"]]


class Optimisers:
    """The optimisers of this process, as far as they matter: those that have stepped, and where one is missed, all."""

    def __init__(self) -> None:
        self._known: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._searched = False
        #: Who has which row.
        self._rows: list[weakref.ref[Optimizer]] = []

    def add(self, optimiser: Optimizer) -> None:
        """Takes one that steps."""
        self._known.add(optimiser)

    def held(self, wanted: Collection[int]) -> set[int]:
        """The parameters that optimisers hold, by their `id`.

        Where one of the `wanted` is in none that has stepped, the process is searched once: its optimiser may step
        later.
        """
        held = self._held()
        if not self._searched and not held.issuperset(wanted):
            self._searched = True
            for each in gc.get_objects():
                if issubclass(type(each), Optimizer):
                    self._known.add(each)
            held = self._held()
        return held

    def _held(self) -> set[int]:
        return {id(parameter) for optimiser in tuple(self._known) for parameter in parameters_of(optimiser)}

    def row(self, optimiser: Optimizer) -> str:
        """The name of an optimiser's row. One that takes the place of another that is gone takes its row."""
        owners = [owner() for owner in self._rows]
        if optimiser in owners:
            place = owners.index(optimiser)
        elif None in owners:
            place = owners.index(None)
            self._rows[place] = weakref.ref(optimiser)
        else:
            place = len(owners)
            self._rows.append(weakref.ref(optimiser))
        number = min(place + 1, _MOST)
        return ROW if number == 1 else f"{ROW}:{number}"


def rates(optimiser: Optimizer) -> torch.Tensor:
    """The learning rates of an optimiser's groups; on a GPU where one lies there, so that nothing waits for it."""
    found = [group.get("lr") for group in optimiser.param_groups]
    known = [each for each in found if isinstance(each, Real | torch.Tensor)]
    device = next((each.device for each in known if isinstance(each, torch.Tensor)), None)
    numbers = [torch.as_tensor(each, dtype=torch.float64 if device is None else None) for each in known]
    return torch.cat([each.detach().reshape(-1).to(device) for each in numbers]) if numbers else torch.empty(0)


def facts_of(
    optimiser: Optimizer,
    own: int,
    trainable: Mapping[str, int],
    lists: Mapping[str, Iterable[str]],
) -> dict[str, Any]:
    """What is known of an optimiser at its first row.

    Args:
        optimiser: the optimiser.
        own: how many of the model's parameters it holds.
        trainable: the elements of each parameter that requires a gradient, by name.
        lists: names of parameters, by what is true of them.
    """
    group = optimiser.param_groups[0] if optimiser.param_groups else {}
    facts: dict[str, Any] = {
        "function": type(optimiser).__name__,
        "groups": len(optimiser.param_groups),
        "parameters": own,
        "others": len(parameters_of(optimiser)) - own,
        "trainable": len(trainable),
        "elements": sum(trainable.values()),
    }
    for key, names in lists.items():
        listed = list(names)
        facts[key] = listed[:_NAMES]
        facts[f"{key}_tensors"] = len(listed)
    facts["missing_elements"] = sum(trainable.get(name, 0) for name in lists.get("missing", ()))
    for key in _SETTINGS:
        value = _plain(group.get(key))
        if value is not None:
            facts[key] = value
    return facts


def _plain(value: Any) -> float | list[float] | None:
    """A setting as JSON has it; None where it is no number."""
    if isinstance(value, tuple | list):
        parts = [_plain(each) for each in value]
        return [each for each in parts if isinstance(each, float)] if None not in parts else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
