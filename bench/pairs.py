"""Pairs of runs of which it is known whether they should part: small networks on scikit-learn's digits.

Two runs of one network differ by the seed of its weights, by the order of its batches alone, or by what is done to one
of them. The first batch is the same in all, so that runs of the same weights start alike.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import nn

import fastact.torch

__all__ = ["FOLDER", "NETS", "Pair", "Way", "pairs", "train"]

#: Where the logs are kept; git ignores it.
FOLDER: Final = Path(__file__).parent.parent / "runs" / "pairs"
STEPS: Final = 120
BATCH: Final = 64


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.act, self.down = (
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x + self.down(self.act(self.up(self.norm(x))))
        return result


class _Last(nn.Module):
    """A GRU over the rows of an image; its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 48, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.gru(x.reshape(-1, 8, 8))[0][:, -1]
        return result


#: Networks by name, each with its learning rate of Adam.
NETS: Final[dict[str, tuple[Callable[[], nn.Module], float]]] = {
    "relu": (lambda: nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), 3e-3),
    "tanh": (lambda: nn.Sequential(
        nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 10)), 3e-3),
    "narrow": (lambda: nn.Sequential(
        nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 10)), 1e-2),
    "conv": (lambda: nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(576, 10)), 2e-3),
    "batchnorm": (lambda: nn.Sequential(
        nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 48), nn.BatchNorm1d(48), nn.ReLU(),
        nn.Linear(48, 10)), 5e-3),
    "dropout": (lambda: nn.Sequential(
        nn.Linear(64, 96), nn.GELU(), nn.Dropout(0.3), nn.Linear(96, 96), nn.GELU(), nn.Dropout(0.3),
        nn.Linear(96, 10)), 3e-3),
    "residual": (lambda: nn.Sequential(
        nn.Linear(64, 32), _Residual(32), _Residual(32), nn.LayerNorm(32), nn.Linear(32, 10)), 3e-3),
    "gru": (lambda: nn.Sequential(_Last(), nn.Linear(48, 10)), 5e-3),
}  # fmt: skip


class Way(NamedTuple):
    """How one run is trained.

    Attributes:
        net: a name of `NETS`.
        weights: the seed of its weights.
        order: the seed of its batches after the first, and of its dropout.
        fault: what is done to it, a name of `FAULTS`; "" for nothing.
    """

    net: str
    weights: int = 0
    order: int = 0
    fault: str = ""

    @property
    def name(self) -> str:
        """The name of its folder."""
        return "-".join([self.net, str(self.weights), str(self.order), *([self.fault] if self.fault else [])])


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two runs, and the step from which on they differ by more than chance; None for none."""

    a: Way
    b: Way
    kind: str
    since: int | None


#: What is done to a run, and since which step it differs.
FAULTS: Final[dict[str, int]] = {
    "rate": 0, "late-rate": 60, "late-scale": 60, "init": 0, "bfloat16": -1, "upgrade": 0, "late-units": 60
}  # fmt: skip


def pairs() -> Iterator[Pair]:
    """All pairs: of other weights, of another order alone, and with a fault."""
    for net in NETS:
        for one, two in itertools.combinations(range(4), 2):
            yield Pair(Way(net, one, one), Way(net, two, two), "weights", None)
            yield Pair(Way(net, 0, one), Way(net, 0, two), "order", None)
        for fault, since in FAULTS.items():
            for order, kind in ((0, "same start"), (1, "other order")):
                yield Pair(Way(net, 0, order), Way(net, 0, 0, fault), f"{fault}, {kind}", None if since < 0 else since)
            yield Pair(Way(net, 1, 1), Way(net, 0, 0, fault), f"{fault}, other weights", None if since < 0 else since)


def train(way: Way, folder: Path = FOLDER) -> Path:
    """The log of a run: that of before where there is one."""
    place = folder / way.name
    if place.is_dir():
        return place
    x, y = load_digits(return_X_y=True)
    inputs, targets = torch.from_numpy(x / 16).float(), torch.from_numpy(y)
    make, rate = NETS[way.net]
    torch.manual_seed(way.weights)
    model = make()
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        if way.fault == "init":
            layers[0].weight.mul_(4.0)
        elif way.fault == "upgrade":
            # As where a new version draws the weights of its last layer otherwise.
            nn.init.normal_(layers[-1].weight, std=1.0)
    optimizer = torch.optim.Adam(model.parameters(), 30.0 * rate if way.fault == "rate" else rate)
    first = torch.randint(len(inputs), (BATCH,), generator=torch.Generator().manual_seed(0))
    batches = torch.Generator().manual_seed(1000 + way.order)
    torch.manual_seed(2000 + way.order)
    part = folder / f".{way.name}.part"
    with fastact.ActivationMonitor(part) as monitor, fastact.torch.watch(model, monitor, loss=True):
        for step in range(STEPS):
            if step == 60 and way.fault == "late-rate":
                optimizer.param_groups[0]["lr"] = 30.0 * rate
            if step == 60 and way.fault == "late-scale":
                with torch.no_grad():
                    layers[-1].weight.mul_(8.0)
            if step == 60 and way.fault == "late-units":
                with torch.no_grad():
                    bias = layers[-2 if len(layers) > 1 else -1].bias
                    assert bias is not None
                    bias[::2] -= 20.0
            batch = first if step == 0 else torch.randint(len(inputs), (BATCH,), generator=batches)
            with torch.autocast("cpu", torch.bfloat16, enabled=way.fault == "bfloat16"):
                loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step()
    part.rename(place)
    return place
