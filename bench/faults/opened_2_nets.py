"""Opened (held out until 2026-11-30): the networks of several programs."""

import itertools

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn


class GlyphNet(nn.Module):
    """Two convolutions with norms, and two linear layers."""

    def __init__(self, classes: int, *, norm: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(12) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(24) if norm else nn.Identity()
        self.fc1 = nn.Linear(24 * 4 * 4, 48)
        self.fc2 = nn.Linear(48, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class UNet(nn.Module):
    """One step down, one step up, and a shortcut between."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
        self.middle = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.out = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = self.down(x)
        return self.out(torch.cat([wide, self.up(self.middle(wide))], 1))


class MotionNet(nn.Module):
    """Two layers of LSTM over a window, and classes from the last state."""

    def __init__(self, *, width: int = 24, batch_first: bool = True) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, width, num_layers=2, batch_first=batch_first)
        self.fc = nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(x)
        return self.fc(states[:, -1])


class QNet(nn.Module):
    """The value of each of four moves."""

    def __init__(self, *, relu: bool = False) -> None:
        super().__init__()
        self.fc1 = nn.Linear(25, 48)
        self.fc2 = nn.Linear(48, 48)
        self.fc3 = nn.Linear(48, 4)
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))
        return F.relu(values) if self.relu else values


class CodeNet(nn.Module):
    """Two layers of a causal transformer over digits; the scores (n, 10) of each place."""

    def __init__(self) -> None:
        super().__init__()
        self.digit = nn.Embedding(10, 48)
        self.place = nn.Embedding(12, 48)
        layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.score = nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        states = self.digit(x) + self.place(torch.arange(x.shape[1]))
        return self.score(self.blocks(states, mask=mask, is_causal=True))


class GraphNet(nn.Module):
    """Two rounds of messages between the nodes of a graph, and a number for the whole."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.start = nn.Linear(2, width)
        self.rounds = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(2))
        self.readout = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, adjacent: torch.Tensor) -> torch.Tensor:
        degree = adjacent.sum(-1, keepdim=True) / 3 - 0.5
        state = F.relu(self.start(torch.cat([degree, degree**2], -1)))
        for layer in self.rounds:
            state = F.relu(layer(torch.cat([state, adjacent @ state / 3], -1)))
        return self.readout(state.sum(1) / 4)


def dense(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers with an activation between."""
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(sizes):
        layers += [nn.Linear(wide, narrow), act()]
    return nn.Sequential(*layers[:-1])
