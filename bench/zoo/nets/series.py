"""Networks for sequences, words and sets of the opened part (held out until 2026-11-30)."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

__all__ = ["additive", "cells", "choosy", "dilated", "masked", "stacked", "tuned_lines", "word_sets"]


class Cells(nn.Module):
    """A cell, called at each place of a sequence: read, cell, say."""

    def __init__(self, inputs: int, outputs: int, cell: str, width: int, more: dict[str, str]) -> None:
        super().__init__()
        self.read = nn.Linear(inputs, width)
        self.cell: nn.RNNCellBase = getattr(nn, cell)(width, width, **more)
        self.say = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, numbers) to (samples, outputs)."""
        state = None
        for place in self.read(x).unbind(1):
            state = self.cell(place, state)
        answer: torch.Tensor = self.say(state[0] if isinstance(state, tuple) else state)
        return answer


def cells(inputs: int, outputs: int, *, cell: str = "GRUCell", width: int = 32, **more: str) -> nn.Module:
    """read, cell at each place, say."""
    return Cells(inputs, outputs, cell, width, more)


class Stacked(nn.Module):
    """symbols, lstm (several layers), norm, say: the next symbol at each place."""

    def __init__(self, inputs: int, outputs: int, width: int, layers: int) -> None:
        super().__init__()
        self.symbols = nn.Embedding(inputs, width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True, dropout=0.1)
        self.norm = nn.LayerNorm(width)
        self.say = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, places, outputs)."""
        answer: torch.Tensor = self.say(self.norm(self.lstm(self.symbols(x))[0]))
        return answer


def stacked(inputs: int, outputs: int, *, width: int = 40, layers: int = 2) -> nn.Module:
    """symbols, lstm, norm, say."""
    return Stacked(inputs, outputs, width, layers)


class Additive(nn.Module):
    """Bahdanau's attention over the states of a GRU, as functions: which places matter?"""

    def __init__(self, inputs: int, outputs: int, width: int, axis: int) -> None:
        super().__init__()
        self.symbols = nn.Embedding(inputs, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.energy = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)
        self.decide = nn.Linear(width, outputs)
        self.axis = axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        states, _ = self.gru(self.symbols(x))
        weights = F.softmax(self.score(torch.tanh(self.energy(states))), dim=self.axis)
        answer: torch.Tensor = self.decide((weights * states).sum(1))
        return answer


def additive(inputs: int, outputs: int, *, width: int = 24, axis: int = 1) -> nn.Module:
    """symbols, gru, energy, score, decide."""
    return Additive(inputs, outputs, width, axis)


class Masked(nn.Module):
    """Words that look at each other unless they are blank, by functions, twice."""

    def __init__(self, inputs: int, outputs: int, width: int, sharp: float) -> None:
        super().__init__()
        self.lookup = nn.Embedding(inputs, width)
        self.q = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.kv = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(2))
        self.ln = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.decide = nn.Linear(width, outputs)
        self.sharp = sharp
        nn.init.normal_(self.lookup.weight, 0.0, 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        blank = (x == 0)[:, None]
        h = self.lookup(x)
        for q, kv, ln in zip(self.q, self.kv, self.ln, strict=True):
            k, v = kv(ln(h)).chunk(2, -1)
            scores = self.sharp * (q(ln(h)) @ k.transpose(1, 2)) / h.shape[-1] ** 0.5
            h = h + torch.softmax(scores.masked_fill(blank, float("-inf")), -1) @ v
        answer: torch.Tensor = self.decide(h.mean(1))
        return answer


def masked(inputs: int, outputs: int, *, width: int = 32, sharp: float = 1.0) -> nn.Module:
    """lookup, q.0, kv.0, ln.0, q.1, ..., decide."""
    return Masked(inputs, outputs, width, sharp)


class Dilated(nn.Module):
    """WaveNet's blocks: tanh(filter) * sigmoid(gate), residual, wider and wider."""

    def __init__(self, inputs: int, outputs: int, width: int, layers: int) -> None:
        super().__init__()
        self.start = nn.Conv1d(inputs, width, 1)
        self.filters = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**i) for i in range(layers))
        self.gates = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**i) for i in range(layers))
        self.end = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, numbers) to (samples, outputs)."""
        h = self.start(x.transpose(1, 2))
        for i, (values, gate) in enumerate(zip(self.filters, self.gates, strict=True)):
            padded = F.pad(h, (2**i, 0))
            h = h + torch.tanh(values(padded)) * torch.sigmoid(gate(padded))
        answer: torch.Tensor = self.end(h[..., -1])
        return answer


def dilated(inputs: int, outputs: int, *, width: int = 16, layers: int = 3) -> nn.Module:
    """start, filters.0, gates.0, ..., end."""
    return Dilated(inputs, outputs, width, layers)


class WordSets(nn.Module):
    """Deep sets over words, most of them rare: rho(max over phi(words))."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.vocabulary = nn.Embedding(inputs, width)
        self.phi = nn.Linear(width, width)
        self.rho = nn.Linear(width, width)
        self.say = nn.Linear(width, outputs)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, words) to (samples, outputs)."""
        h = torch.relu(self.phi(self.vocabulary(x))).amax(1)
        answer: torch.Tensor = self.say(self.drop(torch.relu(self.rho(h))))
        return answer


def word_sets(inputs: int, outputs: int, *, width: int = 32) -> nn.Module:
    """vocabulary, phi, rho, drop, say."""
    return WordSets(inputs, outputs, width)


class Adapter(nn.Module):
    """A narrow residual branch that starts at nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(width, 6)
        self.widen = nn.Linear(6, width)
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) to the same."""
        change: torch.Tensor = self.widen(F.gelu(self.narrow(x)))
        return x + change


class TunedLines(nn.Module):
    """Frozen layers with adapters after them: read, core1, adapter1, core2, adapter2, answer."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(inputs, width)
        self.core1 = nn.Linear(width, width)
        self.adapter1 = Adapter(width)
        self.core2 = nn.Linear(width, width)
        self.adapter2 = Adapter(width)
        self.answer = nn.Linear(width, outputs)
        for layer in (self.read, self.core1, self.core2):
            layer.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h = F.gelu(self.adapter1(self.core1(self.read(x))))
        answer: torch.Tensor = self.answer(F.gelu(self.adapter2(self.core2(h))))
        return answer


def tuned_lines(inputs: int, outputs: int, *, width: int = 48) -> nn.Module:
    """read, core1, adapter1.narrow, .widen, core2, adapter2. ..., answer."""
    return TunedLines(inputs, outputs, width)


class Choosy(nn.Module):
    """A switch layer: the best of several experts alone, times the probability that the router gives it."""

    def __init__(self, inputs: int, outputs: int, width: int, count: int) -> None:
        super().__init__()
        self.lift = nn.Linear(inputs, width)
        self.route = nn.Linear(width, count)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(count)
        )
        self.finish = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h = torch.tanh(self.lift(x))
        shares = F.softmax(self.route(h), -1)
        best, chosen = shares.max(-1)
        y = torch.zeros_like(h)
        for place, expert in enumerate(self.experts):
            mine = chosen == place
            if mine.any():
                y[mine] = best[mine, None] * expert(h[mine])
        answer: torch.Tensor = self.finish(h + y)
        return answer


def choosy(inputs: int, outputs: int, *, width: int = 24, count: int = 6) -> nn.Module:
    """lift, route, experts.0.0, .1, .2, experts.1. ..., finish."""
    return Choosy(inputs, outputs, width, count)
