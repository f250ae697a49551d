"""Losses that a training loop writes by hand: what they compare is seen as it is compared, before the backward pass.

The first thing that is done to a prediction and a tensor without a gradient, one for each sample, is what the loss is
about: a difference, a product with the logarithm of a probability, a class that is picked. Which loss it comes to is
told by its value, in `fastact.loss_forms`; where that is none, nothing of it is recorded.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import torch

from fastact.loss_forms import MOST, recognise
from fastact.torch.criteria import Call, Given, class_axis
from fastact.torch.graph import facts_of_loss

#: Pairs of one pass that are kept until the loss is known, and steps in which none of them may tell.
_MOST_PAIRS: Final = 4
_PATIENCE: Final = 3
#: What is looked through to what was given to it: a logarithm, and what keeps its argument above zero.
_LOGARITHMS: Final = frozenset({torch.log, torch.Tensor.log})
_SHIFTS: Final = frozenset({
    torch.clamp, torch.Tensor.clamp, torch.clip, torch.Tensor.clip, torch.add, torch.Tensor.add,
    torch.Tensor.__add__, torch.Tensor.__radd__,
})  # fmt: skip


class Compared:
    """What the losses of one watch compare, as far as a training loop computes them by itself.

    Attributes:
        looks: whether it is looked for: until a loss was seen that has a name, or none was recognised in some steps.
    """

    def __init__(self) -> None:
        self.looks = True
        self._pairs: list[Given] = []
        #: Logarithms that were computed, and what of.
        self._logarithms: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._place = -1
        self._tries = 0

    def clear(self) -> None:
        """Forgets what was seen since the pass began."""
        self._pairs, self._logarithms = [], []

    def called(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Takes a call of one of PyTorch's functions."""
        if not isinstance(result, torch.Tensor) or not result.requires_grad or len(self._pairs) >= _MOST_PAIRS:
            return
        tensors = [x for x in _tensors((*args, *kwargs.values())) if x.dtype is not torch.bool and x.ndim]
        own = [x for x in tensors if x.requires_grad]
        if len(own) != 1:
            return
        if function in _LOGARITHMS or function in _SHIFTS:
            self._logarithms.append((result, own[0]))
            del self._logarithms[:-_MOST_PAIRS]
        others = [x for x in tensors if not x.requires_grad and x.numel() > 1 and len(x) == len(own[0])]
        if others:
            self._pairs.append(Given(self._before(own[0]), others[-1]))

    def _before(self, x: torch.Tensor) -> torch.Tensor:
        """What the logarithm was taken of, where `x` is one that was seen to be taken."""
        shifts = 0
        for made, given in reversed(self._logarithms):
            if made is x and (shifts or (x.grad_fn is not None and x.grad_fn.name() == "LogBackward0")):
                x, shifts = given, shifts + 1
        return x

    def of(self, total: torch.Tensor, facts: Mapping[str, Any]) -> Given:
        """What a loss compares, where it is one of the known ones, or its graph tells something of it.

        Args:
            total: what the backward pass begins with.
            facts: how many terms it is the sum of, and what its graph tells; that of the first one alone.
        """
        pairs = self._pairs
        self.looks = self.looks and not facts["terms"]
        if self._place < 0 and self.looks:
            total = total.detach()
            self._tries += 1
            self.looks = self._tries < _PATIENCE
            self._place = next((place for place, each in enumerate(pairs) if _is_known(total, each)), -1)
            if self._place < 0 and pairs and {"logarithm_of", "turned", "broadcast", "weights_broadcast"} & set(facts):
                self._place = 0
            self.looks = self.looks or self._place >= 0
        return pairs[self._place] if 0 <= self._place < len(pairs) else Given(None, None)


def weighed(call: Call, total: torch.Tensor) -> Call:
    """A call of a loss, with the number that it was multiplied by before the backward pass as a fact, if by any.

    Where it has a number for each sample, with what the graph tells of how they were put together.

    Args:
        call: the loss as its function returned it.
        total: what the backward pass begins with: the loss, averaged or scaled at most.
    """
    if total.numel() == 1 < call.value.numel():
        return call._replace(facts=call.facts | facts_of_loss(total))
    if total.numel() != 1 or call.value.numel() != 1:
        return call
    whole, own = float(total.detach()), float(call.value)
    if not (math.isfinite(whole) and math.isfinite(own)) or own == 0.0 or whole in (0.0, own):
        return call
    return call._replace(facts={**call.facts, "weight": whole / own})


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from (x for x in value if isinstance(x, torch.Tensor))


def _is_known(total: torch.Tensor, pair: Given) -> bool:
    ours, wanted = pair
    if ours is None or wanted is None or total.numel() != 1 or max(ours.numel(), wanted.numel()) > MOST:
        return False
    arrays = [x.detach().cpu().double().numpy() for x in (ours, wanted)]
    half = ours.dtype in (torch.float16, torch.bfloat16)
    return recognise(float(total), *arrays, axis=class_axis("", ours), half=half) is not None
