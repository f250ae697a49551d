"""What is learned from what: a task of the zoo, and how data becomes one."""

import importlib
import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["Array", "Task", "source_of", "split", "split_task"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Task:
    """What is learned from what.

    Attributes:
        kind: "classes" (targets are classes, for each sample or each place of a sequence) or "numbers".
        train: inputs and targets to train on.
        test: inputs and targets to measure on.
        inputs: features of an input, channels of an image, or symbols of a text.
        outputs: classes, or numbers of a target.
        good: skill from which on a network counts as trained; see `skill`.
    """

    kind: str
    train: tuple[torch.Tensor, torch.Tensor]
    test: tuple[torch.Tensor, torch.Tensor]
    inputs: int
    outputs: int
    good: float

    def loss(self, given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Mean cross entropy in nats, or mean squared error, in float32."""
        if self.kind == "numbers":
            return torch.nn.functional.mse_loss(given.float(), wanted)
        return torch.nn.functional.cross_entropy(given.float().flatten(0, -2), wanted.flatten())

    def skill(self, given: torch.Tensor, wanted: torch.Tensor) -> float:
        """1 is perfect, 0 what a constant answer reaches, -1 the least: R² of numbers, the share of errors avoided."""
        if self.kind == "numbers":
            rest = (given.float() - wanted).square().mean() / (wanted - wanted.mean(0)).square().mean()
            return max(float(1.0 - rest), -1.0)
        hits = float((given.argmax(-1) == wanted).float().mean())
        base = float(torch.bincount(wanted.flatten()).max()) / wanted.numel()
        # NaN has no largest: argmax would take it for an answer.
        return max((hits - base) / (1.0 - base), -1.0) if bool(torch.isfinite(given).all()) else 0.0


def split(x: Array, y: Array, seed: int = 0) -> tuple[Array, Array, Array, Array]:
    """Three quarters to train on and one to measure on, drawn at random."""
    order = np.random.default_rng(seed).permutation(len(x))
    cut = len(x) * 3 // 4
    return x[order[:cut]], y[order[:cut]], x[order[cut:]], y[order[cut:]]


def split_task(kind: str, x: Array, y: Array, outputs: int, good: float, *, scale: str = "") -> Task:
    """A split of three to one; `scale`: "each" feature standardised over the training part, or "all" of them."""
    train_x, train_y, test_x, test_y = split(x, y)
    if scale:
        axis = 0 if scale == "each" else None
        mean, std = train_x.mean(axis=axis), np.asarray(train_x.std(axis=axis))
        # A pixel that is almost always blank has a tiny deviation; clipping keeps its rare ink from being 20 of them.
        train_x, test_x = (((part - mean) / np.where(std > 0, std, 1.0)).clip(-4.0, 4.0) for part in (train_x, test_x))
    number = torch.float32 if kind == "numbers" else torch.int64
    parts = [
        (torch.from_numpy(np.ascontiguousarray(a)).float(), torch.from_numpy(np.ascontiguousarray(b)).to(number))
        for a, b in ((train_x, train_y), (test_x, test_y))
    ]
    return Task(kind, parts[0], parts[1], x.shape[1], outputs, good)


def source_of(*names: str) -> str:
    """The source of modules of the standard library."""
    return "\n".join(inspect.getsource(importlib.import_module(name)) for name in names)
