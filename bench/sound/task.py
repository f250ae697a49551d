"""What is learned from what in the drawn trainings, and how well, told without fastact."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["SCALES", "Array", "Form", "Goal", "Source", "Task", "prepared", "skill"]

Array = npt.NDArray[Any]
#: What an input is: features (n,), channels (c, h, w), features over time (t, n), symbols (t,), members of a set
#: (m, n), or nodes with their neighbours: (nodes, n) and (nodes, nodes).
Form = Literal["table", "image", "sequence", "tokens", "set", "graph"]
#: What is wanted: one of several classes, one of two, any of several labels, numbers, counts, the input itself, the
#: next symbol at each place, or the other view of the same thing.
Goal = Literal["classes", "binary", "labels", "numbers", "counts", "copy", "next", "pair"]

#: How inputs of numbers may come: each feature standardised, all of them from 0 to 1, or as they are.
SCALES: Final = ("standard", "unit", "raw")


@dataclass(frozen=True, slots=True)
class Source:
    """Data before it is split and scaled.

    Attributes:
        form: of an input.
        goal: what is wanted of it.
        make: inputs (a tuple of arrays) and targets.
        bar: the skill from which on a training has learned; see `skill`.
    """

    form: Form
    goal: Goal
    make: Callable[[], tuple[tuple[Array, ...], Array]]
    bar: float


@dataclass(frozen=True, slots=True)
class Task:
    """Data to train on and to measure on.

    Attributes:
        form, goal: as in `Source`.
        train, test: inputs and targets.
        inputs: features, channels, or symbols.
        length: places, members, nodes, or pixels of a side; 1 of a table.
        outputs: numbers that the network gives of an input, or of each place.
    """

    form: Form
    goal: Goal
    train: tuple[tuple[Tensor, ...], Tensor]
    test: tuple[tuple[Tensor, ...], Tensor]
    inputs: int
    length: int
    outputs: int


def prepared(source: Source, scale: str, *, factor: float = 1.0, offset: float = 0.0) -> Task:
    """The data of a source, split three to one by a fixed draw, its inputs scaled by what the training part says.

    Args:
        source: what to prepare.
        scale: one of `SCALES`; symbols and neighbours stay as they are.
        factor: numbers as targets are standardised, and then multiplied by it.
        offset: what is added to them.
    """
    inputs, targets = source.make()
    order = np.random.default_rng(7).permutation(len(targets))
    cut = len(order) * 3 // 4
    if source.form != "tokens":
        scaled = 2 if source.goal == "pair" else 1  # neighbours stay as they are
        inputs = (*(_scaled(each, order[:cut], scale, source.form) for each in inputs[:scaled]), *inputs[scaled:])
    first = inputs[0]
    if source.goal == "copy":
        targets = first.reshape(len(first), -1)
    elif source.goal == "numbers":
        fit = targets[order[:cut]]
        targets = (targets - fit.mean(0)) / fit.std(0) * factor + offset
    whole = source.goal in ("classes", "next")
    kind = np.int64 if whole else np.float32
    tensors = [torch.from_numpy(np.ascontiguousarray(first, np.int64 if source.form == "tokens" else np.float32))]
    tensors += [torch.from_numpy(np.ascontiguousarray(each, np.float32)) for each in inputs[1:]]
    wanted = torch.from_numpy(np.ascontiguousarray(targets, kind))
    parts = [(tuple(each[at] for each in tensors), wanted[at]) for at in (order[:cut], order[cut:])]
    symbols = int(first.max()) + 1 if source.form == "tokens" else 0
    width = symbols or int(first.shape[1 if source.form == "image" else -1])
    length = 1 if source.form == "table" else first.shape[2 if source.form == "image" else 1]
    outputs = int(targets.max()) + 1 if whole else 1 if source.goal == "binary" else int(wanted[0].numel())
    if source.goal == "pair":
        outputs = 16  # numbers of a view's embedding
    elif source.goal == "numbers" and source.form == "graph":
        outputs = 1  # of each node
    return Task(source.form, source.goal, parts[0], parts[1], width, int(length), max(outputs, 1))


def _scaled(x: Array, at: Array, scale: str, form: Form) -> Array:
    # Each feature of a table by itself; elsewhere all alike, as images are.
    axes = 0 if form == "table" else None
    fit = x[at]
    if scale == "standard":
        deviation = np.asarray(fit.std(axis=axes))
        return np.asarray(((x - fit.mean(axis=axes)) / np.where(deviation > 0, deviation, 1.0)).clip(-5.0, 5.0))
    if scale == "unit":
        low, high = np.asarray(fit.min(axis=axes)), np.asarray(fit.max(axis=axes))
        return np.asarray((x - low) / np.where(high > low, high - low, 1.0))
    return x


def skill(goal: Goal, given: Tensor, wanted: Tensor) -> float:
    """How well answers fit: 1 is perfect, 0 what a constant answer reaches, -1 the least that is told.

    Of numbers R². Of classes, symbols and labels the share of errors avoided, with all classes weighing the same: a
    network that always names the frequent class has 0. Of pairs the share whose nearest is its own other view, less
    chance. 0 where an answer is not finite.

    Args:
        goal: what was wanted.
        given: answers (samples, ...): scores of classes, scores above 0 for yes, or numbers.
        wanted: targets.
    """
    given = given.float()
    if not bool(torch.isfinite(given).all()):
        return 0.0
    if goal == "pair":
        a, b = (torch.nn.functional.normalize(each, dim=-1) for each in given.chunk(2, dim=-1))
        near = (a @ b.T).argmax(1)
        return (float((near == torch.arange(len(a))).float().mean()) - 1.0 / len(a)) / (1.0 - 1.0 / len(a))
    if goal in ("numbers", "counts", "copy"):
        truth = wanted.float().reshape(len(wanted), -1)
        rest = (given.reshape(truth.shape) - truth).square().sum()
        return max(float(1.0 - rest / (truth - truth.mean(0)).square().sum()), -1.0)
    if goal == "next":
        hits = float((given.argmax(-1) == wanted).float().mean())
        base = float(torch.bincount(wanted.flatten()).max()) / wanted.numel()
        return max((hits - base) / (1.0 - base), -1.0)
    if goal == "classes":
        answer, classes = given.argmax(-1).flatten(), wanted.flatten()
        shares = [float((answer[classes == each] == each).float().mean()) for each in classes.unique()]
        return max((float(np.mean(shares)) - 1.0 / len(shares)) / (1.0 - 1.0 / len(shares)), -1.0)
    yes, truth = given.reshape(len(wanted), -1) > 0, wanted.reshape(len(wanted), -1) > 0.5
    balanced = [
        float(yes[truth[:, at], at].float().mean()) - float(yes[~truth[:, at], at].float().mean())
        for at in range(truth.shape[1])
        if bool(truth[:, at].any()) and not bool(truth[:, at].all())
    ]
    return max(float(np.mean(balanced)), -1.0)
