"""Two models that learn from each other: a generator and a discriminator, an actor and a critic, each beside a twin."""

import itertools
from typing import Any

import pytest
import torch
from situations import PIXELS
from torch import nn
from torch.nn import functional

import fastact
import fastact.torch

Told = list[tuple[str, str, str]]


def stack(*widths: int, last: nn.Module | None = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]), *([] if last is None else [last]))


def update(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), rate, foreach=False)


def forged(rate: float, rate_of_judge: float, names: tuple[str, str], separator: str, *, steps: int = 80) -> Told:
    """A generator of digits and what tells them from real ones, called one by one as most scripts do."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    maker, judge = stack(16, 64, 64, last=nn.Tanh()), stack(64, 64, 1, last=nn.Sigmoid())
    learns, judges = update(maker, rate), update(judge, rate_of_judge)
    real, made = torch.ones(48, 1), torch.zeros(48, 1)
    with fastact.ActivationMonitor() as monitor:
        for name, model in zip(names, (maker, judge), strict=True):
            fastact.torch.watch(model, monitor, prefix=name + separator)
        for _ in range(steps):
            sample = 2 * PIXELS[torch.randint(len(PIXELS), (48,))] - 1
            forgery = maker(torch.randn(48, 16)).detach()
            loss = functional.binary_cross_entropy(judge(sample), real)
            judges.zero_grad()
            (loss + functional.binary_cross_entropy(judge(forgery), made)).backward()
            judges.step()
            learns.zero_grad()
            functional.binary_cross_entropy(judge(maker(torch.randn(48, 16))), real).backward()
            learns.step()
            monitor.step()
        return [(each.layer, each.condition, each.cause_name) for each in monitor.diagnose().culprits]


@pytest.mark.parametrize(
    ("names", "separator", "ahead"),
    [(("painter", "expert"), ".", True), (("painter", "expert"), ".", False), (("netG", "netD"), "", True)],
)
def test_a_discriminator_that_is_far_ahead(names: tuple[str, str], separator: str, ahead: bool) -> None:
    told = forged(*((1e-5, 5e-3) if ahead else (1e-3, 1e-4)), names, separator)
    assert told == ([(f"{names[1]}{separator}3", "saturated", "discriminator_wins")] if ahead else [])


class ActorCritic(nn.Module):
    """The value comes first, the action last: a tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.act = nn.Linear(6, 64), nn.Tanh()
        self.value, self.mean, self.squash = nn.Linear(64, 1), nn.Linear(64, 2), nn.Tanh()

    def forward(self, x: torch.Tensor) -> Any:
        h = self.act(self.body(x))
        return self.value(h), self.squash(self.mean(h))


@pytest.mark.parametrize("rate", [0.3, 3e-3])
def test_an_actor_whose_last_tanh_was_driven_to_its_bounds(rate: float) -> None:
    """Its twin learns to be at the one bound or at the other, as the reward asks it to be."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = ActorCritic()
    optimizer = update(model, rate)
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor):
        for _ in range(100):
            states = torch.randn(64, 6)
            value, mean = model(states)
            action = torch.normal(mean.detach(), 0.3)
            reward = (action.clamp(-1, 1) * states[:, :2].sign()).sum(1)
            gain = (reward - value[:, 0]).detach()
            loss = (gain[:, None] * (action - mean) ** 2 / 0.18).sum(1).mean() + (value[:, 0] - reward).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step()
        told = [(each.layer, each.condition, each.cause_name) for each in monitor.diagnose().culprits]
    if rate < 0.1:
        assert told == []
    else:
        assert told[0][1:] == ("saturated", "learning_rate")
