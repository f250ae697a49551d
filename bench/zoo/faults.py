"""Faults as people make them: each changes a training that is set up or under way.

What is wrong from the outset in the network or the optimiser (an activation, a missing normalisation, a learning
rate) is an option of the recipe and needs no code; here is the rest.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from typing import Any, Final

import torch
from torch import nn

__all__ = ["FAULTS", "Training"]


@dataclass(slots=True)
class Training:
    """A training that is under way, as far as a fault can change it.

    Attributes:
        model: the network.
        optimizer: its optimiser.
        feed: what is done to the inputs of each batch.
        penalty: what is added to each batch's loss.
        sign: of the loss; -1 climbs it.
        clears: whether gradients are cleared in each step.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    feed: Callable[[torch.Tensor], torch.Tensor] = lambda x: x
    penalty: Callable[[], torch.Tensor] | None = None
    sign: float = 1.0
    clears: bool = True

    def layers(self, pattern: str) -> Iterator[nn.Module]:
        """The modules whose names match; at least one."""
        found = [layer for name, layer in self.model.named_modules() if fnmatchcase(name, pattern)]
        if not found:
            raise ValueError(f"layers: got {pattern!r}, which matches none of the network's")
        yield from found


def _weights(training: Training, pattern: str) -> Iterator[nn.Parameter]:
    for layer in training.layers(pattern):
        yield from (value for value in layer.parameters(recurse=False) if value.ndim > 1)


def _biases(training: Training, pattern: str) -> Iterator[nn.Parameter]:
    for layer in training.layers(pattern):
        yield from (value for name, value in layer.named_parameters(recurse=False) if name.startswith("bias"))


@torch.no_grad()
def spread(training: Training, layers: str, std: float) -> None:
    """Weights from N(0, std), whatever the layer's width."""
    for weight in _weights(training, layers):
        weight.normal_(0.0, std)


@torch.no_grad()
def scale(training: Training, layers: str, factor: float) -> None:
    """Weights times a factor: an initialisation that is off by it, or a checkpoint in other units."""
    for weight in _weights(training, layers):
        weight.mul_(factor)


@torch.no_grad()
def shift(training: Training, layers: str, value: float, share: float = 1.0) -> None:
    """Biases of a share of the neurons set to a value."""
    for bias in _biases(training, layers):
        bias[: math.ceil(share * len(bias))] = value


@torch.no_grad()
def channel(training: Training, layers: str, factor: float) -> None:
    """Weights of the first neuron times a factor."""
    for weight in _weights(training, layers):
        weight[0] *= factor


@torch.no_grad()
def alike(training: Training, layers: str) -> None:
    """All rows of the weights are the first one."""
    for weight in _weights(training, layers):
        weight.copy_(weight[:1].clone().expand_as(weight))


@torch.no_grad()
def zero(training: Training, layers: str) -> None:
    """Weights and biases zero, and frozen: a layer that was never loaded, pruned or initialised."""
    for layer in training.layers(layers):
        for value in layer.parameters():
            value.zero_()
            value.requires_grad_(False)


def rate(training: Training, factor: float) -> None:
    """Learning rate times a factor: a schedule that is off."""
    for group in training.optimizer.param_groups:
        group["lr"] *= factor
        group["initial_lr"] = group.get("initial_lr", group["lr"]) * factor


def decay(training: Training, value: float) -> None:
    """Weight decay set to a value."""
    for group in training.optimizer.param_groups:
        group["weight_decay"] = value


def units(training: Training, factor: float, offset: float = 0.0) -> None:
    """Inputs times a factor plus an offset: other units, or a normalisation that was left out."""
    training.feed = lambda x: x * factor + offset


def take_turns(training: Training, factor: float) -> None:
    """Every second batch times a factor: one of two loaders does not normalise."""
    batches = count()
    training.feed = lambda x: x * factor if next(batches) % 2 else x


def blank(training: Training) -> None:
    """Inputs zero: a loader that gives nothing."""
    training.feed = torch.zeros_like


def missing(training: Training) -> None:
    """One input of the batch is NaN: a missing value in the data."""

    def feed(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x.view(-1)[0] = math.nan
        return x

    training.feed = feed


def empty(training: Training) -> None:
    """One sample of the batch is all blank, so that attention finds nothing to attend to."""

    def feed(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[0] = 0
        return x

    training.feed = feed


def distance(training: Training, layers: str) -> None:
    """A penalty on the distance from the weights of now, whose root has no gradient at zero: NaN in the update."""
    pairs = [(weight, weight.detach().clone()) for weight in _weights(training, layers)]
    training.penalty = lambda: sum(((a - b).square().sum().sqrt() for a, b in pairs), torch.zeros(()))


def root(training: Training, layers: str) -> None:
    """A penalty on the root of the weights, which has none below zero: NaN in the update."""
    weights = list(_weights(training, layers))
    training.penalty = lambda: sum((weight.sqrt().nanmean() for weight in weights), torch.zeros(()))


def climb(training: Training) -> None:
    """The loss is maximised: a wrong sign."""
    training.sign = -1.0


def pile(training: Training) -> None:
    """Gradients are never cleared: `zero_grad` was forgotten."""
    training.clears = False


def repeat(training: Training) -> None:
    """All samples of a batch are its first: an index that was not advanced."""
    training.feed = lambda x: x[:1].expand_as(x).clone()


def shrink(training: Training, factor: float) -> None:
    """Inputs times a factor, kept in float16: what is too small for it becomes zero."""
    training.feed = lambda x: (x * factor).half().float()


def stale(training: Training, momentum: float) -> None:
    """Batch norms follow their batches at this momentum: too slow, and evaluation sees another network."""
    norms = [layer for layer in training.model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    for layer in norms:
        layer.momentum = momentum


@torch.no_grad()
def garbage(training: Training, layers: str, value: float) -> None:
    """Some weights hold what was in memory: nobody initialised them."""
    for weight in _weights(training, layers):
        weight.view(-1)[:: max(1, weight.numel() // 7)] = value


def sources(training: Training, factor: float, period: int) -> None:
    """Batches come from sources of two scales by turns, several of each."""
    batches = count()
    training.feed = lambda x: x * factor if next(batches) // period % 2 else x


def creep(training: Training, factor: float) -> None:
    """Inputs grow by a factor from batch to batch: a sensor that drifts, a sum that is never reset."""
    batches = count(1)
    training.feed = lambda x: x * factor ** next(batches)


def unknown(training: Training, known: int, column: int | None = None) -> None:
    """Symbols from `known` on are all one: the vocabulary is another one's; of one column of the inputs, or of all."""

    def feed(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        part = x if column is None else x[:, column]
        part.clamp_(max=known)
        return x

    training.feed = feed


def wipe(training: Training) -> None:
    """Gradients are cleared between the backward pass and the update."""
    training.optimizer.register_step_pre_hook(lambda optimizer, *_: optimizer.zero_grad(set_to_none=False))


@torch.no_grad()
def uniform(training: Training, layers: str, value: float) -> None:
    """Weights all the same number: no two neurons of a layer ever differ."""
    for weight in _weights(training, layers):
        weight.fill_(value)


def wrapped(training: Training) -> None:
    """Normalised inputs become bytes: what is below zero is 255 and less."""
    training.feed = lambda x: x.to(torch.int64).remainder(256).float()


def logarithms(training: Training) -> None:
    """Logarithms of what inputs are above their least: minus infinity there."""
    training.feed = lambda x: (x - x.min()).log()


#: By name.
FAULTS: Final[dict[str, Callable[..., Any]]] = {
    make.__name__: make
    for make in (
        spread, scale, shift, channel, alike, zero, rate, decay, units, take_turns, blank, missing, empty, distance,
        root, climb, pile, repeat, shrink, stale, garbage, sources, creep, unknown, wipe, uniform, wrapped, logarithms,
    )
}  # fmt: skip
