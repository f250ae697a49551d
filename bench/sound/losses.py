"""The losses that fit each goal, and what they want of a network's end."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from bench.sound.task import Goal, Task

__all__ = ["LOSSES", "Fit", "answers", "fitting"]


class Fit(NamedTuple):
    """A loss.

    Attributes:
        goals: what it fits.
        criterion: makes it: of a task. Takes answers and targets.
        last: what stands behind the last layer.
        unit: whether targets have to lie from 0 to 1.
        plain: what answers are, to be scored: scores of classes, scores above 0 for yes, or numbers.
    """

    goals: tuple[Goal, ...]
    criterion: Callable[[Task], Callable[[Tensor, Tensor], Tensor]]
    last: Callable[[], nn.Module] | None = None
    unit: bool = False
    plain: Callable[[Tensor], Tensor] = torch.Tensor.float


def _always(criterion: Callable[..., Any], **how: Any) -> Callable[[Task], Callable[[Tensor, Tensor], Tensor]]:
    return lambda task: criterion(**how)


def _by_weight(task: Task) -> nn.Module:
    many = torch.bincount(task.train[1].flatten(), minlength=task.outputs).float()
    return nn.CrossEntropyLoss(weight=many.sum() / (many.clamp(min=1.0) * len(many)))


def _rare_weight(task: Task) -> nn.Module:
    share = task.train[1].mean()
    return nn.BCEWithLogitsLoss(pos_weight=(1.0 - share) / share.clamp(min=0.01))


def _by_hand(given: Tensor, wanted: Tensor) -> Tensor:
    return ((given - wanted) ** 2).mean()


def _margin(given: Tensor, wanted: Tensor) -> Tensor:
    return nn.functional.soft_margin_loss(given, 2.0 * wanted - 1.0)


def _nearest(given: Tensor, wanted: Tensor) -> Tensor:
    """Each view is to be nearest to its own other one."""
    a, b = (nn.functional.normalize(each, dim=-1) for each in given.chunk(2, dim=-1))
    return nn.functional.cross_entropy(a @ b.T / 0.2, torch.arange(len(a)))


def _triplets(given: Tensor, wanted: Tensor) -> Tensor:
    """The next sample's view is to be further away than the own one."""
    a, b = given.chunk(2, dim=-1)
    return nn.functional.triplet_margin_loss(a, b, b.roll(1, 0))


#: By name.
LOSSES: Final[dict[str, Fit]] = {
    "cross entropy": Fit(("classes", "next"), _always(nn.CrossEntropyLoss)),
    "cross entropy, called": Fit(("classes", "next"), lambda task: nn.functional.cross_entropy),
    "smoothed": Fit(("classes", "next"), _always(nn.CrossEntropyLoss, label_smoothing=0.1)),
    "weighted": Fit(("classes",), _by_weight),
    "log likelihood": Fit(("classes",), _always(nn.NLLLoss), lambda: nn.LogSoftmax(dim=-1)),
    "margins": Fit(("classes",), _always(nn.MultiMarginLoss)),
    "logits": Fit(("binary", "labels"), _always(nn.BCEWithLogitsLoss)),
    "weighted logits": Fit(("binary",), _rare_weight),
    "probabilities": Fit(("binary", "labels"), _always(nn.BCELoss), nn.Sigmoid, plain=lambda given: given - 0.5),
    "soft margin": Fit(("binary",), lambda task: _margin),
    "squares": Fit(("numbers", "copy", "counts"), _always(nn.MSELoss)),
    "squares by hand": Fit(("numbers", "copy"), lambda task: _by_hand),
    "absolute": Fit(("numbers", "copy"), _always(nn.L1Loss)),
    "smooth absolute": Fit(("numbers",), _always(nn.SmoothL1Loss)),
    "huber": Fit(("numbers",), lambda task: nn.functional.huber_loss),
    "poisson": Fit(("counts",), _always(nn.PoissonNLLLoss), plain=torch.exp),
    "pixels": Fit(("copy",), _always(nn.BCELoss), nn.Sigmoid, unit=True),
    "squares of a sigmoid": Fit(("copy",), _always(nn.MSELoss), nn.Sigmoid, unit=True),
    "nearest": Fit(("pair",), lambda task: _nearest),
    "triplets": Fit(("pair",), lambda task: _triplets),
}


def fitting(goal: Goal, scale: str) -> list[str]:
    """The losses that fit a goal, with inputs so scaled."""
    return [name for name, it in LOSSES.items() if goal in it.goals and (not it.unit or scale == "unit")]


def answers(goal: Goal, given: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Answers and targets as losses take them: equal shapes, or a class for each row."""
    if goal == "next":
        return given.flatten(0, 1), wanted.flatten()
    if goal in ("classes", "pair"):
        return given, wanted
    return given.reshape(len(wanted), -1), wanted.reshape(len(wanted), -1)
