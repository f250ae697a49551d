"""Networks that call their activations as functions, or one module in several places."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

__all__ = ["functional_mlp", "reused", "shared_resnet"]


class FunctionalMlp(nn.Module):
    """fc1, F.relu, fc2, F.relu, fc3, F.relu, head, as PyTorch initialises them."""

    def __init__(self, inputs: int, outputs: int, width: int, act: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, width)
        self.fc2 = nn.Linear(width, width)
        self.fc3 = nn.Linear(width, width)
        self.head = nn.Linear(width, outputs)
        self.act = getattr(F, act, None) or getattr(torch, act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        for layer in (self.fc1, self.fc2, self.fc3):
            x = self.act(layer(x))
        answer: torch.Tensor = self.head(x)
        return answer


def functional_mlp(inputs: int, outputs: int, *, width: int = 64, act: str = "relu") -> nn.Module:
    """fc1, fc2, fc3, head; activations as functions."""
    return FunctionalMlp(inputs, outputs, width, act)


class Reused(nn.Module):
    """fc1, act, fc2, act, fc3, act, head: one activation for all places."""

    def __init__(self, inputs: int, outputs: int, width: int, act: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, width)
        self.fc2 = nn.Linear(width, width)
        self.fc3 = nn.Linear(width, width)
        self.head = nn.Linear(width, outputs)
        self.act: nn.Module = getattr(nn, act)()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        answer: torch.Tensor = self.head(self.act(self.fc3(self.act(self.fc2(self.act(self.fc1(x)))))))
        return answer


def reused(inputs: int, outputs: int, *, width: int = 48, act: str = "ReLU") -> nn.Module:
    """fc1, fc2, fc3, head, and act in three places."""
    return Reused(inputs, outputs, width, act)


class SharedBlock(nn.Module):
    """x + norm2(conv2(relu(norm1(conv1(x))))), and the same relu again, as in torchvision."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to the same."""
        y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        answer: torch.Tensor = self.relu(x + y)
        return answer


def shared_resnet(inputs: int, outputs: int, *, width: int = 12, blocks: int = 3) -> nn.Module:
    """stem, norm, act, block1, ..., mean, flatten, head."""
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(inputs, width, 3, padding=1, bias=False))
    model.add_module("norm", nn.BatchNorm2d(width))
    model.add_module("act", nn.ReLU(inplace=True))
    for i in range(1, blocks + 1):
        model.add_module(f"block{i}", SharedBlock(width))
    model.add_module("mean", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("head", nn.Linear(width, outputs))
    return model
