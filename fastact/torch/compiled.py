"""How compiled code calls back: an operator that torch.compile leaves in its graphs.

A hook that Dynamo traces cannot sweep, since there is no data yet. Instead it leaves a call of `fastact::record` in
the graph, which runs with the data each time the compiled code is called: there is no graph break, and one graph
serves any number of steps. The operator also sees through `torch.func` transforms (vmap, grad), inside of which hooks
are given Python stand-ins for tensors.
"""

import sys
import weakref
from itertools import count
from typing import Any, Final, Protocol

import torch


class CompiledHook(Protocol):
    """A hook that compiled code calls back."""

    def observe_compiled(self, x: torch.Tensor, place: str) -> None:
        """Takes a tensor that was found at `place` in what the module was given or returned."""


_hooks: Final[weakref.WeakValueDictionary[int, CompiledHook]] = weakref.WeakValueDictionary()
_numbers: Final = count()


def register(hook: CompiledHook) -> torch.Tensor:
    """Returns the key, int64[1], by which `record` finds this hook, which is held weakly.

    The key is a tensor because repeated blocks share compiled code only where nothing but tensors differs between
    them. A number would be compiled in, or would compile the block anew for each layer.
    """
    number = next(_numbers)
    _hooks[number] = hook
    return _constant(number)


def forget(key: torch.Tensor) -> None:
    """Makes `record` ignore this key, which compiled code goes on passing."""
    _hooks.pop(int(key), None)


def new_order() -> torch.Tensor:
    """A tensor, int64[1], to which `record` declares that it writes, though it never does.

    So a compiler neither removes a call of `record`, which has an effect, nor reorders the calls of a model's layers,
    each of which depends on the call before it.
    """
    return _constant(0)


def _constant(value: int) -> torch.Tensor:
    # It outlives whatever inference mode and default device are set at this moment.
    with torch.inference_mode(False):
        return torch.tensor([value], dtype=torch.int64, device="cpu")


@torch.library.custom_op(
    "fastact::record", mutates_args=("order",), schema="(Tensor x, Tensor key, Tensor(a!) order, str place) -> ()"
)
def record(x: torch.Tensor, key: torch.Tensor, order: torch.Tensor, place: str) -> None:
    """Hands `x`, found at `place` in what the module was given or returned, to the hook registered under `key`."""
    del order
    if (hook := _hooks.get(int(key))) is not None:
        hook.observe_compiled(x, place)


@record.register_fake
def _(x: torch.Tensor, key: torch.Tensor, order: torch.Tensor, place: str) -> None:
    del x, key, order, place


@record.register_vmap
def _(
    info: object, in_dims: tuple[int | None, ...], x: torch.Tensor, key: torch.Tensor, order: torch.Tensor, place: str
) -> tuple[Any, Any]:
    """Records all samples at once, with the mapped axis first, as a batch would have it."""
    del info
    record(x if in_dims[0] is None else x.movedim(in_dims[0], 0), key, order, place)
    return None, None


def compilations() -> int:
    """How often `torch.compile` has compiled something in this process."""
    return int(getattr(sys.modules.get("torch._dynamo.convert_frame"), "FRAME_COUNTER", 0))
