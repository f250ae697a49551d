"""What the tests of whole situations share: a short training on digits under a monitor, and what is said of it."""

import itertools
from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import nn

import fastact
import fastact.torch
from fastact.diagnosis.report import Diagnosis

_DATA = load_digits()
#: Pixels from 0 to 1, and the digits that they show.
PIXELS = torch.tensor(_DATA.data / 16, dtype=torch.float32)
DIGITS = torch.tensor(_DATA.target)

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Update = Callable[[nn.Module], torch.optim.Optimizer]


def adam(rate: float, epsilon: float = 1e-8, decay: float = 0.0) -> Update:
    return lambda model: torch.optim.Adam(model.parameters(), rate, eps=epsilon, weight_decay=decay, foreach=False)


def train(
    model: nn.Module,
    x: torch.Tensor = PIXELS,
    y: torch.Tensor = DIGITS,
    *,
    shape: tuple[int, ...] = (64,),
    steps: int = 60,
    batch: int = 64,
    loss: Loss = nn.functional.cross_entropy,
    update: Update | None = None,
    gradients: bool = False,
    data: Callable[[int, torch.Tensor], torch.Tensor] = lambda step, x: x,
) -> Diagnosis:
    """Trains on batches drawn at random, and diagnoses.

    Args:
        model: the network.
        x: samples.
        y: targets.
        shape: the shape of one sample as the network takes it.
        steps: how many.
        batch: how many samples a step has.
        loss: of outputs and targets.
        update: makes the optimiser; Adam at 0.001 by default.
        gradients: whether they are recorded too.
        data: what a step does to its batch.
    """
    torch.set_num_threads(1)
    optimizer = (update or adam(1e-3))(model)
    generator = torch.Generator().manual_seed(0)
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor, gradients=gradients):
        for step in range(steps):
            chosen = torch.randint(len(x), (batch,), generator=generator)
            value = loss(model(data(step, x[chosen]).reshape(batch, *shape)), y[chosen])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            monitor.step()
        return monitor.diagnose()


def said(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    """Layer, condition and cause of each culprit, the first one first."""
    return [(each.layer, each.condition, each.cause_name) for each in diagnosis.culprits]


def perceptron(activation: Callable[[], nn.Module] = nn.ReLU, *, width: int = 64, depth: int = 2) -> nn.Sequential:
    """Linear layers with activations between them, from 64 pixels to 10 digits."""
    torch.manual_seed(0)
    widths = [64] + [width] * depth
    hidden = [module for a, b in itertools.pairwise(widths) for module in (nn.Linear(a, b), activation())]
    return nn.Sequential(*hidden, nn.Linear(width, 10))
