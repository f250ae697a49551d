"""The short way of a row: what comes by it is what comes by the long one, and whatever is unusual takes that."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import fastact
import fastact.torch
from fastact.monitor.pace import Auto
from fastact.torch import handle
from fastact.torch.sites import Site

Run = Callable[[fastact.ActivationMonitor], object]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each tensor that was shown to a site took the short way."""
    found: list[bool] = []
    take = Site.take

    def noted(self: Site, *arguments: Any) -> bool:
        found.append(take(self, *arguments))
        return found[-1]

    monkeypatch.setattr(Site, "take", noted)
    return found


def rows_of(run: Run, **options: Any) -> dict[str, list[tuple[Any, ...]]]:
    """The rows that a run records, but for the time."""
    with fastact.ActivationMonitor(**options) as monitor:
        run(monitor)
        monitor.flush()
        rows = {name: layer.rows.copy() for name, layer in monitor.history.items()}
    for row in rows.values():
        row["time"] = 0
    return {name: [tuple(map(str, each)) for each in row.tolist()] for name, row in rows.items()}


def same_both_ways(run: Run, monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a run, which are the same where no pass may take the short way."""
    short = rows_of(run, **options)
    with monkeypatch.context() as patch:
        patch.setattr(handle, "quick_pass", lambda *_, **__: None)
        long = rows_of(run, **options)
    assert short == long
    return short


class Block(nn.Module):
    """Overwrites its input, calls one layer in two places, and returns what does not lie in the order of its axes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.after = nn.Conv2d(4, 4, 1)
        self.pool = nn.LeakyReLU(0.5)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape in: (batch, 3, height, width)."""
        x = self.act(self.norm(self.conv(x)))
        x = self.act(self.after(x))
        x = self.pool(x.permute(0, 2, 3, 1))
        y = functional.relu(x.mean((1, 2)))
        result: torch.Tensor = self.head(y)
        return result


def trained(steps: int, batch: Callable[[int], int] = lambda _: 6, **options: Any) -> Run:
    """A run of `Block`, each step with two passes if `batch` says a negative number."""

    def run(monitor: fastact.ActivationMonitor) -> None:
        torch.manual_seed(0)
        model = Block()
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        with fastact.torch.watch(model, monitor, **options):
            for step in range(steps):
                for _ in range(2 if batch(step) < 0 else 1):
                    model(torch.randn(abs(batch(step)), 3, 5, 5)).square().mean().backward()
                optimiser.step()
                optimiser.zero_grad()
                model.eval()
                model(torch.randn(3, 3, 5, 5))
                model.train()
                monitor.step()

    return run


@pytest.mark.parametrize(
    "options", [{}, {"gradients": True}, {"sample": 0.25}, {"training_only": True}, {"inputs": True}], ids=str
)
def test_rows_are_those_of_the_long_way(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, taken: list[bool]
) -> None:
    sizes = 32 if "sample" in options else 6
    rows = same_both_ways(lambda monitor: trained(4, lambda _: sizes, **options)(monitor), monkeypatch)
    assert {"conv", "norm", "act", "act:2", "pool", "head", "act:eval", "act:2:eval"} - set(rows) == (
        {"act:eval", "act:2:eval"} if "training_only" in options else set()
    )
    assert any(taken) == ("training_only" not in options)


def test_batches_of_another_size_and_passes_of_one_step(monkeypatch: pytest.MonkeyPatch, taken: list[bool]) -> None:
    rows = same_both_ways(trained(6, lambda step: (6, 6, 4, -5, -5, 6)[step]), monkeypatch)
    assert [row[3] for row in rows["conv"]] == [str(size * 4 * 25) for size in (6, 6, 4, 10, 10, 6)]
    assert True in taken
    assert False in taken


def test_channels_that_lie_last_in_memory(monkeypatch: pytest.MonkeyPatch, taken: list[bool]) -> None:
    def run(monitor: fastact.ActivationMonitor) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
        with fastact.torch.watch(model, monitor, loss=False):
            for _ in range(4):
                model(torch.randn(2, 3, 6, 6).to(memory_format=torch.channels_last))
                monitor.step()

    same_both_ways(run, monkeypatch)
    assert taken.count(True) == 4


def test_every_recorded_step_of_some(monkeypatch: pytest.MonkeyPatch, taken: list[bool]) -> None:
    rows = same_both_ways(trained(7), monkeypatch, every=3)
    assert [row[0] for row in rows["head"]] == ["0", "3", "6"]
    assert all(taken)


def test_a_step_that_ends_within_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(monitor: fastact.ActivationMonitor) -> None:
        torch.manual_seed(0)
        first, second = nn.Linear(3, 4), nn.Linear(4, 2)
        ends = nn.Identity()
        model = nn.Sequential(first, ends, second)
        with fastact.torch.watch(model, monitor, layers=nn.Linear, loss=False):
            ends.register_forward_hook(lambda *_: monitor.step())
            for _ in range(3):
                model(torch.ones(8, 3))

    rows = same_both_ways(run, monkeypatch, every=2)
    assert [row[0] for row in rows["0"]] == ["0", "2"]
    assert "2" not in rows


def test_a_monitor_that_is_closed_within_a_pass(taken: list[bool]) -> None:
    first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    closes = nn.Identity()
    model = nn.Sequential(first, closes, second)
    monitor = fastact.ActivationMonitor()
    fastact.torch.watch(model, monitor, layers=nn.Linear, loss=False)
    for _ in range(3):
        model(torch.ones(8, 3))
        monitor.step()
    taken.clear()
    closes.register_forward_hook(lambda *_: monitor.close())
    model(torch.ones(8, 3))
    assert taken in ([True], [True, False])
    assert monitor.history["2"]["step"].tolist() == [0, 1, 2]


def test_what_fails_is_counted_and_the_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor, loss=False) as handle_of:
        for _ in range(3):
            model(torch.ones(8, 3))
            monitor.step()

        def fail(*_: Any) -> bool:
            raise MemoryError("no room")

        monkeypatch.setattr(Site, "take", fail)
        with pytest.warns(RuntimeWarning, match="record layer '0'"):
            model(torch.ones(8, 3))
        assert handle_of.failures == 2


def test_tracing_and_transforms_take_the_long_way(taken: list[bool]) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor, loss=False):
        for _ in range(3):
            model(torch.ones(8, 3))
            monitor.step()
        torch.func.vmap(model)(torch.ones(8, 3))
        monitor.step()
        assert monitor.history["1"]["count"].tolist() == [32] * 4
    assert taken


def test_what_the_short_way_takes_is_paid_for(monkeypatch: pytest.MonkeyPatch, taken: list[bool]) -> None:
    paid: list[float] = []
    monkeypatch.setattr(Auto, "worked", lambda _, seconds: paid.append(seconds))
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with fastact.ActivationMonitor(every="auto") as monitor, fastact.torch.watch(model, monitor, loss=False):
        for _ in range(4):
            model(torch.ones(8, 3))
            monitor.step()
        assert taken == [True] * 4
        assert len(paid) == 4
        pace = monitor._queue.pace
        assert isinstance(pace, Auto)
        pace._next = 1000  # nothing is due
        model(torch.ones(8, 3))
        assert len(paid) == 5
        assert min(paid) > 0.0
