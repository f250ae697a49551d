"""How compiled code calls back: an operator that torch.compile puts into its graphs as it is.

A hook that Dynamo traces cannot sweep, since there is no data yet. It leaves a call of `fastact::record` in the graph
instead, which runs with the data at every call of the compiled code: no graph break, one graph for any number of
steps. The same operator sees through `torch.func` transforms (vmap, grad), which show Python stand-ins for tensors.
"""

import weakref
from itertools import count
from typing import Any, Final, Protocol

import torch

__all__ = ["Taker", "forget", "new_order", "record", "register"]


class Taker(Protocol):
    """What the operator calls."""

    def take(self, x: torch.Tensor, place: str, /) -> None:
        """Takes a tensor that compiled code found at `place` in what the hook was given."""


_takers: Final[weakref.WeakValueDictionary[int, Taker]] = weakref.WeakValueDictionary()
_numbers: Final = count()


def register(taker: Taker) -> torch.Tensor:
    """Makes a hook known, which must be kept alive by others, and returns the key for `record`, int64[1].

    A tensor, since the code of repeated blocks is compiled once for all only where nothing but tensors differs
    between them; a number would be compiled in, or compile it anew for each.
    """
    number = next(_numbers)
    _takers[number] = taker
    return _constant(number)


def forget(key: torch.Tensor) -> None:
    """Makes `record` ignore this key: what is compiled goes on calling it."""
    _takers.pop(int(key), None)


def new_order() -> torch.Tensor:
    """What a model's calls of `record` pass on, one to the next, int64[1].

    It is never written to, but declared to be: so the calls have an effect, without which a compiler would remove
    them, and depend on each other, without which it might change their order, which is that of the layers.
    """
    return _constant(0)


def _constant(value: int) -> torch.Tensor:
    # Whatever the mode and the default device are just now, it outlives them.
    with torch.inference_mode(False):
        return torch.tensor([value], dtype=torch.int64, device="cpu")


@torch.library.custom_op(
    "fastact::record", mutates_args=("order",), schema="(Tensor x, Tensor key, Tensor(a!) order, str place) -> ()"
)
def record(x: torch.Tensor, key: torch.Tensor, order: torch.Tensor, place: str) -> None:
    """Hands `x` to the hook of this key."""
    del order
    taker = _takers.get(int(key))
    if taker is not None:
        taker.take(x, place)


@record.register_fake
def _(x: torch.Tensor, key: torch.Tensor, order: torch.Tensor, place: str) -> None:
    del x, key, order, place


@record.register_vmap
def _(
    info: object, in_dims: tuple[int | None, ...], x: torch.Tensor, key: torch.Tensor, order: torch.Tensor, place: str
) -> tuple[Any, Any]:
    """All samples at once, the mapped axis first, as a batch would have it."""
    del info
    record(x if in_dims[0] is None else x.movedim(in_dims[0], 0), key, order, place)
    return None, None
