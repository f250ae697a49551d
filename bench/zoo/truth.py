"""What is true of a run, told without fastact: whether a fault did harm, since when, and which neurons are dead."""

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import nn

__all__ = ["DEAD", "WORSE_LOSS", "WORSE_SKILL", "Census", "harm", "late_loss", "onset"]

#: A fault does harm when the skill is less by so much, or the loss of the last third larger by this factor.
WORSE_SKILL: Final = 0.05
WORSE_LOSS: Final = 1.3
#: Share of a layer's neurons from which on it is true to call some of them dead: the bands of the public contract.
DEAD: Final = 0.05
#: A neuron is dead when it is active for at most this share of the samples (SageMaker Debugger's DeadRelu).
SILENT: Final = 0.01
#: Samples that a census looks at, at most.
MOST: Final = 2000

Losses = Sequence[float | None]


def late_loss(losses: Losses) -> float:
    """The median loss of the last third; infinite where one of them is not finite (None)."""
    late = [math.inf if loss is None else loss for loss in losses[-(len(losses) // 3) :]]
    return math.inf if math.inf in late else sorted(late)[len(late) // 2]


def harm(skill: float, losses: Losses, twin_skill: float, twin_losses: Losses, *, losses_tell: bool = True) -> bool:
    """Whether the fault made a run worse than its healthy twin: only then is it called sick.

    `losses_tell` is false where a loss says little of how good a network is, as of two that play against each other: it
    is then judged by its skill, and by whether its losses are finite.
    """
    if not losses_tell:
        return twin_skill - skill >= WORSE_SKILL or None in losses
    return twin_skill - skill >= WORSE_SKILL or late_loss(losses) >= WORSE_LOSS * late_loss(twin_losses)


def onset(losses: Losses, twin_losses: Losses, at: int) -> int:
    """The step from which on the loss of a run is worse than its healthy twin's to the end; `at` at the earliest."""
    worse = [a >= WORSE_LOSS * b for a, b in zip(_smooth(losses), _smooth(twin_losses), strict=True)]
    last_good = max((step for step, is_worse in enumerate(worse) if not is_worse), default=-1)
    # Where the loss ends as the twin's, the harm is in the skill alone and nothing tells since when.
    return at if last_good == len(worse) - 1 else max(at, last_good + 1)


def _smooth(losses: Losses, rows: int = 9) -> list[float]:
    """The median of each step's loss and of those before it."""
    plain = [math.inf if loss is None else loss for loss in losses]
    return [sorted(part)[len(part) // 2] for part in (plain[max(0, i - rows + 1) : i + 1] for i in range(len(plain)))]


class Census:
    """The share of dead neurons in each layer, counted over the training data by plain PyTorch.

    A network that trains well may have dead neurons. To say so is true, and no false alarm.

    Attributes:
        dead: for each layer the largest share that was counted at any time, where it is at least `DEAD`.
    """

    def __init__(self) -> None:
        self.dead: dict[str, float] = {}

    @torch.no_grad()
    def take(self, model: nn.Module, x: torch.Tensor) -> None:
        """Counts now, over up to `MOST` of the samples `x`. Leaves the network and the random numbers as they are."""
        active: dict[str, torch.Tensor] = {}
        elements: dict[str, int] = {}

        def note(name: str, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.ndim > 1 and output.numel():
                lit = (output != 0).movedim(1 if output.ndim > 3 else -1, 0).flatten(1)
                count = lit.sum(1)
                active[name] = active[name] + count if name in active else count
                elements[name] = elements.get(name, 0) + lit.shape[1]

        handles = [
            layer.register_forward_hook(lambda _, __, output, name=name: note(name, output))
            for name, layer in model.named_modules()
            if not list(layer.children())
        ]
        training = model.training
        model.eval()
        for part in x[:: -(-len(x) // MOST)].split(256):
            model(part)
        model.train(training)
        for handle in handles:
            handle.remove()
        for name, count in active.items():
            share = float((count <= SILENT * elements[name]).float().mean())
            if share >= DEAD:
                self.dead[name] = max(self.dead.get(name, 0.0), round(share, 4))
