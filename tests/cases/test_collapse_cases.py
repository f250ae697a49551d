"""Samples that become alike, look-ups that go to few, evaluation that differs, each beside its repaired twin."""

from typing import Any

import pytest
import torch
from situations import DIGITS, PIXELS, adam, perceptron, said, train
from torch import nn

import fastact
import fastact.torch


@pytest.mark.parametrize("equal", [True, False])
def test_a_batch_of_one_sample_repeated(equal: bool) -> None:
    culprits = said(train(perceptron(), data=lambda step, x: x[:1].expand(64, -1) if equal else x, steps=40))
    assert culprits == ([("input", "constant", "inputs_equal")] if equal else [])


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("since", [0, 20])
@pytest.mark.parametrize("biases", [True, False])
def test_a_loader_that_returns_one_number(value: float, since: int, biases: bool) -> None:
    model = perceptron()
    for name, parameter in model.named_parameters():
        if name.endswith("bias") and not biases:
            nn.init.zeros_(parameter)
    diagnosis = train(model, data=lambda step, x: torch.full_like(x, value) if step >= since else x, steps=since + 25)
    ((_, _, cause),) = said(diagnosis)
    assert cause == ("inputs_equal" if value else "inputs_zero")
    (culprit,) = diagnosis.culprits
    assert culprit.first_step == since
    assert "data loader returns" in " ".join(culprit.remedies)


class Autoencoder(nn.Module):
    """A variational autoencoder; its divergence is kept for the loss."""

    divergence: torch.Tensor

    def __init__(self, cap: float = float("inf")) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.mu, self.log_variance = nn.Linear(64, 64), nn.Linear(64, 8), nn.Linear(64, 8)
        self.decoder, self.out, self.cap = nn.Linear(8, 64), nn.Linear(64, 64), cap

    def forward(self, x: torch.Tensor) -> Any:
        h = torch.tanh(self.encoder(x))
        mean, log_variance = self.mu(h), self.log_variance(h).clamp(max=self.cap)
        self.divergence = (mean**2 + log_variance.exp() - log_variance - 1).sum(-1).mean() / 2
        z = mean + torch.randn_like(mean) * torch.exp(log_variance / 2)
        return self.out(torch.tanh(self.decoder(z)))


@pytest.mark.parametrize("weight", [10.0, 1e-3])
def test_a_posterior_that_falls_to_its_prior(weight: float) -> None:
    model = Autoencoder()

    def loss(out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(out, x) + weight * model.divergence

    culprits = said(train(model, PIXELS, PIXELS, loss=loss, update=adam(3e-3), steps=150))
    assert [each[2] for each in culprits] == (["posterior_collapse"] if weight > 1 else [])
    assert {each[0] for each in culprits} <= {"mu", "log_variance"}


@pytest.mark.parametrize("drawn_once", [True, False])
def test_a_generator_whose_noise_is_drawn_once(drawn_once: bool) -> None:
    torch.manual_seed(0)
    noise = torch.randn(1797, 16)
    generator = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh())
    diagnosis = train(
        generator, noise[:1].expand(1797, -1) if drawn_once else noise, PIXELS, shape=(16,), loss=nn.functional.mse_loss
    )
    assert said(diagnosis) == ([("input", "constant", "inputs_equal")] if drawn_once else [])


@pytest.mark.parametrize(
    "features",
    [1, 32],
)
def test_a_layer_normalisation_over_one_feature(features: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 32), nn.Unflatten(1, (32 // features, features)), nn.LayerNorm(features), nn.Flatten(),
        nn.Linear(32, 10),
    )  # fmt: skip
    culprits = said(train(model, steps=40))
    assert [each[2] for each in culprits] == (["norm_of_one_element"] if features == 1 else [])


class Experts(nn.Module):
    """Each sample goes to the one expert that a router scores highest."""

    balance: torch.Tensor

    def __init__(self, favour: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.router, self.out = nn.Linear(64, 32), nn.Linear(32, 4), nn.Linear(32, 10)
        self.experts = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))
        with torch.no_grad():
            self.router.weight.mul_(4)
            self.router.bias[2] += favour

    def forward(self, x: torch.Tensor) -> Any:
        h = torch.tanh(self.inner(x))
        shares = self.router(h).softmax(-1)
        best, chosen = shares.max(-1)
        self.balance = 4 * (nn.functional.one_hot(chosen, 4).float().mean(0) * shares.mean(0)).sum()
        y = h.clone()
        for place, expert in enumerate(self.experts):
            if (mine := chosen == place).any():
                y[mine] = y[mine] + best[mine, None] * expert(h[mine])
        return self.out(y)


def routed(favour: float) -> list[tuple[str, str, str]]:
    model = Experts(favour)

    def loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(out, y) + (0.1 * model.balance if favour == 0 else 0)

    return said(train(model, loss=loss))


def test_a_router_that_shares_out_its_samples_is_healthy() -> None:
    assert routed(0.0) == []


@pytest.mark.filterwarnings("ignore:fastact has recorded nothing")
def test_a_router_that_always_chooses_one_expert() -> None:
    assert [each[2] for each in routed(30.0)] == ["router"]


@pytest.mark.parametrize("momentum", [1e-4, 0.1])
def test_running_statistics_that_are_behind(momentum: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64, momentum=momentum), nn.ReLU(), nn.Linear(64, 10))

    def evaluate(step: int, x: torch.Tensor) -> torch.Tensor:
        if step % 5 == 4:
            model.eval()
            with torch.no_grad():
                model(PIXELS[:64] * 30)
            model.train()
        return x

    expected = [("1", "eval_shift", "running_statistics")] if momentum < 0.1 else []
    assert said(train(model, PIXELS * 30, data=evaluate, steps=80)) == expected


def served(factor: float) -> list[tuple[str, str, str]]:
    """A trained model in evaluation, whose data from step 40 on is larger by a factor."""
    model = perceptron()
    train(model, steps=80)
    model.eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad(), fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor):
        for step in range(80):
            batch = PIXELS[torch.randint(len(PIXELS), (64,), generator=generator)]
            model(batch if step < 40 else batch * factor)
            monitor.step()
        return said(monitor.diagnose())


def test_a_model_in_use_whose_data_stays_is_healthy() -> None:
    assert served(1.0) == []


def test_a_model_in_use_whose_data_changes_its_scale() -> None:
    ((layer, _, cause),) = served(255.0)
    assert (layer, cause) == ("input", "data_changed")


def test_data_that_changes_its_scale_during_training() -> None:
    ((layer, _, cause),) = said(train(perceptron(), data=lambda step, x: x * (20 if step >= 40 else 1), steps=80))
    assert (layer, cause) == ("input", "data_changed")


def test_targets_of_two_classes_only_are_healthy() -> None:
    assert not train(perceptron(), PIXELS, DIGITS % 2, steps=80).findings


class Dropping(nn.Module):
    """Dropout as a function, which is on by default, whatever the mode of its module."""

    def __init__(self, careful: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.act, self.out, self.careful = nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10), careful

    def forward(self, x: torch.Tensor) -> Any:
        h = self.act(self.inner(x))
        return self.out(nn.functional.dropout(h, 0.3, self.training) if self.careful else nn.functional.dropout(h, 0.3))


@pytest.mark.parametrize("careful", [True, False])
def test_dropout_that_is_on_in_evaluation(careful: bool) -> None:
    model = Dropping(careful)

    def evaluate(step: int, x: torch.Tensor) -> torch.Tensor:
        if step % 5 == 4:
            model.eval()
            with torch.no_grad():
                model(PIXELS[:64])
            model.train()
        return x

    expected = [] if careful else [("dropout", "eval_shift", "dropout_left_on")]
    assert said(train(model, data=evaluate, steps=30)) == expected
