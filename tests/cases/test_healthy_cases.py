"""What is unusual and yet healthy: no finding, and one line of notes at most."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from situations import DIGITS, PIXELS, adam, perceptron, train
from torch import nn
from torch.utils.checkpoint import checkpoint

import fastact
import fastact.torch
from fastact.diagnosis.report import Diagnosis


def mobile() -> nn.Module:
    def block(inner: int, out: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inner, 2 * inner, 1, bias=False), nn.BatchNorm2d(2 * inner), nn.Hardswish(),
            nn.Conv2d(2 * inner, 2 * inner, 3, stride, 1, groups=2 * inner, bias=False), nn.BatchNorm2d(2 * inner),
            nn.Hardswish(), nn.Conv2d(2 * inner, out, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip

    first = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Hardswish()
    last = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 10)
    return nn.Sequential(*first, block(16, 16, 2), block(16, 16, 1), *last)


class Reused(nn.Module):
    """One block, three times in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(64, 32), nn.Linear(32, 10)
        self.block = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), nn.LayerNorm(32))

    def forward(self, x: torch.Tensor) -> Any:
        h = self.inner(x)
        for _ in range(3):
            h = h + self.block(h)
        return self.out(h)


class Checkpointed(nn.Module):
    """Computes its inner layer again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> Any:
        h = checkpoint(lambda h: nn.functional.gelu(self.inner(h)), self.first(x), use_reentrant=False)
        return self.last(h)


class Sine(nn.Module):
    """A linear layer and a sine, as in networks of signals."""

    def __init__(self, inner: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inner, out)
        bound = 1 / inner if inner == 64 else (6 / inner) ** 0.5 / 30
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> Any:
        return torch.sin(30 * self.linear(x))


class Causal(nn.Module):
    """Attention to what came before, as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.query, self.key = nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> Any:
        h = self.embed(x)
        mixed = nn.functional.scaled_dot_product_attention(self.query(h), self.key(h), h, is_causal=True)
        return self.head(mixed.mean(1))


def dropping() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 64), nn.PReLU(), nn.Dropout(0.8), nn.Linear(64, 64), nn.Softplus(), nn.LayerNorm(64),
        nn.Linear(64, 10),
    )  # fmt: skip


def one_image_at_a_time() -> nn.Module:
    convolutions = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(128, 10))


def clean(diagnosis: Diagnosis) -> bool:
    return not diagnosis.findings and len(diagnosis.notes) <= 1


@pytest.mark.parametrize(
    ("make", "shape", "batch", "steps"),
    [
        (mobile, (1, 8, 8), 32, 40),
        (Reused, (64,), 64, 60),
        (Checkpointed, (64,), 64, 60),
        (lambda: nn.Sequential(Sine(64, 48), Sine(48, 48), nn.Linear(48, 10)), (64,), 64, 60),
        (Causal, (8, 8), 64, 40),
        (dropping, (64,), 64, 60),
        (one_image_at_a_time, (1, 8, 8), 1, 100),
        (perceptron, (64,), 1, 150),
        (perceptron, (64,), 2, 150),
    ],
    ids=["mobile", "reused", "checkpointed", "sine", "causal", "dropout", "image", "batch-of-1", "batch-of-2"],
)
def test_a_network_of_another_kind(
    make: Callable[[], nn.Module], shape: tuple[int, ...], batch: int, steps: int
) -> None:
    torch.manual_seed(0)
    assert clean(train(make(), shape=shape, batch=batch, steps=steps))


@pytest.mark.parametrize("period", [2, 20])
def test_two_sources_of_data_in_turns(period: int) -> None:
    assert clean(train(perceptron(), data=lambda step, x: 1 - x if step // (period // 2) % 2 else x, steps=120))


def test_labels_that_are_shuffled_do_not_show_in_the_activations() -> None:
    assert clean(train(perceptron(), y=DIGITS[torch.randperm(len(DIGITS))], steps=100))


def test_a_new_head_on_a_trained_body() -> None:
    model = perceptron(depth=3)
    train(model, steps=150)
    model[-1] = nn.Linear(64, 3)
    assert clean(train(model, y=DIGITS % 3, steps=80))


def test_a_frozen_body() -> None:
    model = perceptron(nn.GELU, depth=3)
    train(model, steps=80)
    for parameter in model[:4].parameters():
        parameter.requires_grad_(False)
    assert clean(train(model, steps=80))


def test_a_rate_in_cycles() -> None:
    def cycling(model: nn.Module) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        schedule = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.01, 0.15, step_size_up=20)
        optimizer.register_step_post_hook(lambda *_: schedule.step())
        return optimizer

    assert clean(train(perceptron(), update=cycling, steps=120))


def test_a_softmax_that_has_learned_well() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(-1))

    def loss(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.nll_loss((p + 1e-9).log(), y)

    assert clean(train(model, loss=loss, update=adam(1e-2), steps=250))


def test_a_trained_model_in_use() -> None:
    model = nn.Sequential(*list(perceptron())[:-1], nn.Dropout(0.3), nn.BatchNorm1d(64), nn.Linear(64, 10))
    train(model, steps=120)
    model.eval()
    with torch.no_grad(), fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor):
        for step in range(60):
            model(PIXELS[step * 20 : step * 20 + 64])
            monitor.step()
        assert clean(monitor.diagnose())


@pytest.mark.parametrize("seed", range(12))
def test_a_default_network_on_digits_is_never_stopped(seed: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    assert _share_right(model, 60, 48, torch.optim.Adam(model.parameters(), 1e-3)) > 0.5


@pytest.mark.parametrize("seed", range(12))
def test_a_perceptron_on_digits_reaches_97_percent_and_is_never_stopped(seed: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    assert _share_right(model, 240, 128, torch.optim.Adam(model.parameters(), 3e-3, foreach=False)) >= 0.97


def _share_right(model: nn.Module, steps: int, batch: int, optimizer: torch.optim.Optimizer) -> float:
    """Trains as one does who is to be told to stop; the share of all digits that are known then, or after 97%."""
    right = 0.0
    with fastact.ActivationMonitor(on_finding="stop") as monitor, fastact.torch.watch(model, monitor):
        for step in range(steps):
            chosen = torch.randint(len(PIXELS), (batch,))
            loss = nn.functional.cross_entropy(model(PIXELS[chosen]), DIGITS[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step()
            assert not monitor.should_stop, monitor.diagnose()
            if step % 20 == 19:
                model.eval()
                with torch.no_grad():
                    right = float((model(PIXELS).argmax(-1) == DIGITS).float().mean())
                model.train()
                if right >= 0.97:
                    break
    return right
