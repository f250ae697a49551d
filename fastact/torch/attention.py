"""Attention outside of a watched model that has a fast path, which PyTorch takes only where no mode is on.

A teacher in evaluation that runs between a pass and its loss would round otherwise than without us.
"""

import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Final

from torch import nn

#: A search takes some 50 ms in a large process.
_MOST_SEARCHES: Final = 50


class _Attention:
    """All `nn.MultiheadAttention` of the process, the references to their types, and how often it was searched."""

    def __init__(self) -> None:
        self.references = self.searches = 0
        self.known: weakref.WeakSet[nn.MultiheadAttention] = weakref.WeakSet()

    def update(self) -> None:
        """Looks for new ones. Each refers to its type, so that a number tells whether there may be any."""
        types = list(_types(nn.MultiheadAttention))
        references = sum(map(sys.getrefcount, types))
        grown, self.references = references > self.references, references
        if grown and self.searches < _MOST_SEARCHES:
            self.searches += 1
            for each in types:
                self.known.update(found for found in gc.get_referrers(each) if issubclass(type(found), each))


_attention: Final = _Attention()


def _types(base: type[nn.MultiheadAttention]) -> Iterator[type[nn.MultiheadAttention]]:
    yield base
    for derived in base.__subclasses__():
        yield from _types(derived)


def is_elsewhere(model: nn.Module | None) -> bool:
    """Whether there is attention in evaluation that is not the model's."""
    _attention.update()
    found = {each for each in tuple(_attention.known) if not each.training}
    return bool(found) and (model is None or not found.issubset(model.modules()))
