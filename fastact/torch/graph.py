"""What the autograd graph of a tensor begins with: parameters, the model's own and others."""

import math
import weakref
from collections.abc import Container
from typing import Any, Final

import torch
from torch import nn

from fastact.torch.optimisers import Optimisers
from fastact.torch.tensors import find_tensors

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
        self._inside = False

    def find(self, output: torch.Tensor) -> None:
        """Looks at what the predictions are computed from, before their graph is gone."""
        if not self._inside:
            self._found = [weakref.ref(leaf) for leaf in leaves(output)]

    def find_inside(self, given: object, output: object) -> None:
        """The same of what the model puts out; where what it was given has no graph, it has used all of it itself."""
        outputs = [x for _, x in find_tensors(output) if x.grad_fn is not None]
        if outputs and not any(x.requires_grad for _, x in find_tensors(given)):
            self._inside = True
            self._found = [weakref.ref(leaf) for leaf in {leaf: None for x in outputs for leaf in leaves(x)}]

    def facts(self, own: Container[int], optimisers: Optimisers) -> dict[str, Any]:
        """How many tensors and numbers they are, and whether they are used within the model, where there are any.

        Args:
            own: the model's parameters, by their `id`.
            optimisers: those of the process.
        """
        strays = [leaf for each in self._found if (leaf := each()) is not None and id(leaf) not in own]
        if strays:  # those of another model are in another optimiser
            elsewhere = optimisers.held({id(leaf) for leaf in strays})
            strays = [leaf for leaf in strays if id(leaf) not in elsewhere]
        if not strays:
            return {}
        elements = sum(map(torch.numel, strays))
        return {"strays_tensors": len(strays), "strays_elements": elements, "strays_inside": self._inside}


#: Nodes from the value of a loss on that are looked at for what it does with its predictions.
_MOST_OF_A_LOSS: Final = 16
#: Nodes that sum up, pick, or change no number; those that pick; those whose result falls where what they are given
#: rises; and what makes errors positive before they are summed up, or scales their sum.
_KEEP: Final = frozenset({
    "MeanBackward0", "MeanBackward1", "SumBackward0", "SumBackward1", "IndexBackward0", "GatherBackward0",
    "SelectBackward0", "SliceBackward0", "TakeBackward0", "ViewBackward0", "UnsafeViewBackward0", "SqueezeBackward0",
    "SqueezeBackward1", "UnsqueezeBackward0", "CloneBackward0", "ToCopyBackward0", "ReshapeAliasBackward0",
})  # fmt: skip
_CHOOSE: Final = frozenset({"IndexBackward0", "GatherBackward0", "SelectBackward0", "TakeBackward0"})
_TURN: Final = frozenset({"NegBackward0", "RsubBackward1"})
#: What compares, or weighs, one number of each sample with another one.
_COMPARE: Final = frozenset({"SubBackward0", "MulBackward0", "DivBackward0"})
_OF_ERRORS: Final = frozenset({"PowBackward0", "AbsBackward0", "MulBackward0", "DivBackward0", "SqrtBackward0"})


def facts_of_loss(value: torch.Tensor) -> dict[str, Any]:
    """What the graph of a loss tells of how it is made, of one that no function of PyTorch's computes.

    Args:
        value: the loss.

    Returns:
        "turned": "log-probability" where the logarithm of a chosen probability is made small, as without the minus of
        a likelihood. "broadcast": the shapes of the predictions and of what they became, where one number of each
        sample was compared with those of all samples; "weights_broadcast", where it was multiplied by them.

    Example:
        >>> x = nn.Linear(2, 1)(torch.ones(3, 2))
        >>> facts_of_loss(((x[:, 0] - torch.ones(3, 1)) ** 2).mean())
        {'broadcast': [[3], [3, 3]]}
    """
    facts: dict[str, Any] = {}
    if (turned := _turned(value.grad_fn)) is not None:
        facts["turned"] = turned
    return facts | _broadcast(value.grad_fn)


def _turned(node: Any) -> str | None:
    """What is made small that should not be; None for nothing, or for what is not known.

    A factor is not looked at: what the graph has saved may be computed once more for it.
    """
    sign, chosen, logarithm = 1, False, False
    for _ in range(_MOST_OF_A_LOSS):
        if node is None:
            return None
        name = node.name()
        if name in ("LogSoftmaxBackward0", "SoftmaxBackward0"):
            return "log-probability" if sign > 0 and chosen and logarithm == (name == "SoftmaxBackward0") else None
        inner = [each for each, _ in node.next_functions if each is not None]
        if len(inner) != 1 or (logarithm and name not in _KEEP):
            return None
        if name == "LogBackward0":
            logarithm = True
        elif name in _TURN:
            sign = -sign
        elif name not in _KEEP:
            return None
        chosen = chosen or name in _CHOOSE
        node = inner[0]
    return None


def _broadcast(node: Any) -> dict[str, Any]:
    """The shapes of predictions, one for each sample, and of their differences with the targets of all samples.

    Or of errors, and of their products with the weights of all samples.
    """
    for _ in range(_MOST_OF_A_LOSS):
        inner = [] if node is None else [each for each, _ in node.next_functions if each is not None]
        if node is None or not inner or any(each is not inner[0] for each in inner):
            return {}
        if node.name() in _COMPARE and len(inner) == 1:
            ours, both = (_shape_of(each) for each in (inner[0], node))
            if len(both) == 2 and both[0] == both[1] > 1 and math.prod(ours) == both[0] and len(ours) <= 2:
                return {"broadcast" if node.name() == "SubBackward0" else "weights_broadcast": [ours, both]}
            if node.name() == "SubBackward0":
                return {}
        if node.name() not in _KEEP | _OF_ERRORS:
            return {}
        node = inner[0]
    return {}


def _shape_of(node: Any) -> list[int]:
    """The shape of what a node has made; [] where this PyTorch does not tell."""
    known = getattr(node, "_input_metadata", ())
    return [int(size) for size in known[0].shape] if known else []
