"""Held out: networks that several of the programs use."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from bench.faults.held_out_data import currents
from bench.faults.run import Data, Run, batches

__all__ = ["Places", "Recurrent", "Regressor", "Tagger", "Tunes", "fit", "hits", "mlp", "overlap", "pictures"]


def mlp(*sizes: int, act: Callable[[], nn.Module] = nn.ReLU, last: nn.Module | None = None) -> nn.Sequential:
    """Linear layers of these sizes, an activation after all but the last, and what comes last."""
    made: list[nn.Module] = []
    for before, after in pairwise(sizes):
        made += [nn.Linear(before, after), act()]
    return nn.Sequential(*made[:-1], *([] if last is None else [last]))


def pictures(outputs: int, *, size: int = 14, width: int = 10, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Two convolutions, the first with a stride, and a head on all that they say."""
    side = (size + 1) // 2
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2, padding=1), act(), nn.Conv2d(width, width, 3, padding=1), act(),
        nn.Flatten(), nn.Linear(width * side * side, outputs),
    )  # fmt: skip


class Recurrent(nn.Module):
    """An LSTM, or another, over a series, whose mean over time a head reads."""

    def __init__(
        self, inputs: int, outputs: int, hidden: int = 20, kind: type[nn.LSTM | nn.GRU | nn.RNN] = nn.LSTM
    ) -> None:
        super().__init__()
        self.lstm = kind(inputs, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.lstm(x)[0].mean(1))


class Tunes(nn.Module):
    """Attention of one layer over notes, those that are not there masked, and a head on their mean."""

    def __init__(self, outputs: int = 4, width: int = 20, depth: int = 1) -> None:
        super().__init__()
        self.emb = nn.Embedding(28, width)
        block = nn.TransformerEncoderLayer(width, 2, 40, dropout=0.0, batch_first=True)
        self.enc = nn.TransformerEncoder(block, depth, enable_nested_tensor=False)
        self.out = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gone = x == 0
        h = self.enc(self.emb(x), src_key_padding_mask=gone)
        return self.out(h.masked_fill(gone[..., None], 0).sum(1) / (~gone).sum(1, keepdim=True))


class Tagger(nn.Module):
    """A mark for each pitch, from it and the one before: (n, 18) to (n, 18, marks)."""

    def __init__(self, marks: int = 3, width: int = 24) -> None:
        super().__init__()
        self.emb = nn.Embedding(10, 12)
        self.conv = nn.Conv1d(12, width, 2)
        self.fc = nn.Sequential(nn.ReLU(), nn.Linear(width, marks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.emb(x).transpose(1, 2)
        return self.fc(self.conv(nn.functional.pad(h, (1, 0), mode="replicate")).transpose(1, 2))


class Places(nn.Module):
    """Rounds over the currents of a reef."""

    def __init__(self, rounds: int = 2, width: int = 16, act: Callable[[torch.Tensor], torch.Tensor] = torch.relu):
        super().__init__()
        self.first = nn.Linear(5, width)
        self.rounds = nn.ModuleList(nn.Linear(width, width) for _ in range(rounds - 1))
        self.head, self.act = nn.Linear(width, 4), act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.first(currents() @ x))
        for layer in self.rounds:
            h = self.act(layer(currents() @ h))
        return self.head(h)


class Regressor:
    """A wrapper with `fit` and `predict`, as those have it who come from scikit-learn."""

    def __init__(self, run: Run, net: nn.Module, criterion: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.run, self.net, self.criterion, self.optimizer = run, net, criterion, optimizer

    def fit(self, x: torch.Tensor, y: torch.Tensor, *, epochs: int = 4, batch_size: int = 32) -> "Regressor":
        self.run.watch(self.net, self.criterion)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(batch_size):
                self.optimizer.zero_grad()
                loss = self.criterion(self.net(x[rows]), y[rows])
                loss.backward()
                self.optimizer.step()
                self.run.step(loss)
        return self


def fit(
    run: Run,
    net: nn.Module,
    loss_of: Callable[[Any, Any], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    data: Data,
    *,
    size: int = 32,
    steps: int = 120,
    after: Iterable[Callable[[], Any]] = (),
) -> None:
    """A loop with a loss by hand, of inputs and targets; what is to be done after each step is called."""
    run.watch(net)
    for x, y in batches(data.x, data.y, size=size, steps=steps):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        for call in after:
            call()
        run.step(loss)


def hits(said: torch.Tensor, wanted: torch.Tensor) -> float:
    """The share avoided of the errors that the commonest mark makes; NaN if what is said is not finite."""
    if not bool(torch.isfinite(said).all()):
        return float("nan")
    base = float(torch.bincount(wanted.flatten()).max()) / wanted.numel()
    return (float((said.argmax(-1) == wanted).float().mean()) - base) / (1 - base)


def overlap(said: torch.Tensor, wanted: torch.Tensor) -> float:
    """What two masks share, of what either has."""
    both = (said & wanted).sum() / (said | wanted).sum().clamp_min(1)
    return float(both)
