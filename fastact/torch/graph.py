"""What the autograd graph of a tensor begins with: parameters, the model's own and others."""

import weakref
from collections.abc import Container
from typing import Any, Final

import torch
from torch import nn

from fastact.torch.optimisers import Optimisers

#: Nodes of the graph that are looked at; a graph with more has been let grow over many steps.
_MOST: Final = 20_000


def leaves(x: torch.Tensor) -> list[nn.Parameter]:
    """The parameters that a tensor is computed from and that require a gradient, whatever module has them, if any.

    Args:
        x: any tensor; what has no graph has no leaves.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> sorted(tuple(leaf.shape) for leaf in leaves(layer(torch.ones(1, 2))))
        [(1,), (1, 2)]
    """
    found: list[nn.Parameter] = []
    seen: set[Any] = set()
    waiting = [x.grad_fn]
    while waiting and len(seen) < _MOST:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, nn.Parameter):
            found.append(leaf)
        waiting += [each for each, _ in node.next_functions]
    return found


class Strays:
    """Parameters that a model's output is computed from, and that are neither the model's nor any optimiser's.

    Layers in a plain list are such, and those of a copy; so is another model whose features are used as they are.
    """

    def __init__(self) -> None:
        self._found: list[weakref.ref[nn.Parameter]] = []

    def find(self, output: torch.Tensor) -> None:
        """Looks at what an output is computed from, before its graph is gone."""
        self._found = [weakref.ref(leaf) for leaf in leaves(output)]

    def facts(self, own: Container[int], optimisers: Optimisers) -> dict[str, int]:
        """How many tensors and numbers they are, where there are any.

        Args:
            own: the model's parameters, by their `id`.
            optimisers: those of the process.
        """
        strays = [leaf for each in self._found if (leaf := each()) is not None and id(leaf) not in own]
        if strays:  # those of another model are in another optimiser
            elsewhere = optimisers.held({id(leaf) for leaf in strays})
            strays = [leaf for leaf in strays if id(leaf) not in elsewhere]
        return {"strays_tensors": len(strays), "strays_elements": sum(map(torch.numel, strays))} if strays else {}
