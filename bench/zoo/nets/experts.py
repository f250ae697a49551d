"""A mixture of experts behind a router."""

import torch
from torch import nn

from bench.zoo.nets.parts import activation

__all__ = ["mixture"]


class Gate(nn.Module):
    """The weights of the experts: the softmax over the `top` largest scores, zero for all others."""

    def __init__(self, top: int) -> None:
        super().__init__()
        self.top = top

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """(samples, experts) to the same."""
        best, places = scores.topk(self.top, -1)
        return torch.zeros_like(scores).scatter(-1, places, best.softmax(-1).to(scores.dtype))


class Expert(nn.Sequential):
    """up, act, down."""

    def __init__(self, width: int, hidden: int, outputs: int, act: str) -> None:
        super().__init__()
        self.add_module("up", nn.Linear(width, hidden))
        self.add_module("act", activation(act))
        self.add_module("down", nn.Linear(hidden, outputs))


class Mixture(nn.Module):
    """stem, act, router, gate, experts.0 to experts.n: each sample is answered by its best experts alone."""

    def __init__(
        self, inputs: int, outputs: int, width: int, hidden: int, experts: int, top: int, act: str, noise: float
    ) -> None:
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.act = activation(act)
        self.router = nn.Linear(width, experts)
        self.gate = Gate(top)
        self.experts = nn.ModuleList(Expert(width, hidden, outputs, act) for _ in range(experts))
        self.outputs = outputs
        self.noise = noise

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        x = self.act(self.stem(x))
        scores = self.router(x)
        if self.training and self.noise:
            scores = scores + self.noise * torch.randn_like(scores)
        weights = self.gate(scores)
        y = x.new_zeros(len(x), self.outputs)
        for place, expert in enumerate(self.experts):
            chosen = weights[:, place] > 0
            if bool(chosen.any()):
                y = y.index_put((chosen,), y[chosen] + weights[chosen, place, None] * expert(x[chosen]))
        return y


def mixture(
    inputs: int,
    outputs: int,
    *,
    width: int = 32,
    hidden: int = 16,
    experts: int = 8,
    top: int = 2,
    act: str = "GELU",
    noise: float = 1.0,
) -> nn.Module:
    """stem, act, router, gate, experts.0.up, .act, .down, ..."""
    return Mixture(inputs, outputs, width, hidden, experts, top, act, noise)
