"""What a program is given: data that packages ship, batches, fastact attached as its user would, and scores."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import fastact.torch
from bench.zoo.data import load
from fastact.monitor.monitor import ActivationMonitor

__all__ = ["Data", "Run", "arrays", "batches", "numbers", "tensors", "train"]

Array = npt.NDArray[Any]


class Data(NamedTuple):
    """What is learned, and what it is measured on."""

    x: Any
    y: Any
    test_x: Any
    test_y: Any


def tensors(task: str) -> Data:
    """A task of the zoo's as tensors: float32 inputs (or int64 symbols), int64 classes or float32 numbers."""
    made = load(task)
    return Data(*(part.clone() for part in (*made.train, *made.test)))


def arrays(task: str) -> Data:
    """The same as arrays, for Keras: images with their channels last."""
    parts = [part.numpy() for part in tensors(task)]
    return Data(*(np.moveaxis(part, 1, -1) if part.ndim == 4 else part for part in parts))


def numbers(data: Data) -> Data:
    """Classes as a column of float32, as a binary loss wants them."""
    x, y, test_x, test_y = data
    if isinstance(y, torch.Tensor):
        return Data(x, y.float()[:, None], test_x, test_y.float()[:, None])
    return Data(x, y.astype(np.float32)[:, None], test_x, test_y.astype(np.float32)[:, None])


def batches(x: torch.Tensor, y: torch.Tensor, *, size: int = 32, steps: int = 40) -> Iterator[tuple[Any, Any]]:
    """Shuffled batches, epoch after epoch, until there were so many."""
    done = 0
    while done < steps:
        order = torch.randperm(len(x))
        for start in range(0, len(x) - size + 1, size):
            if done == steps:
                return
            chosen = order[start : start + size]
            yield x[chosen], y[chosen]
            done += 1


class Run:
    """One training of a program, recorded into a log.

    Attributes:
        monitor: fastact's.
        losses: of each step, as far as the program tells them.
    """

    def __init__(self, path: Path, seed: int = 0) -> None:
        self.monitor = ActivationMonitor(path)
        self.losses: list[float] = []
        self._watches: list[fastact.torch.Watch] = []
        if "keras" in sys.modules:
            sys.modules["keras"].utils.clear_session()  # layers are numbered anew
            sys.modules["keras"].utils.set_random_seed(seed)
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (users shuffle by it)

    def watch(self, model: nn.Module, loss: nn.Module | None = None, prefix: str = "") -> None:
        """Attaches fastact to a PyTorch model and its loss (None: whatever it finds), with all that it can watch."""
        watch = fastact.torch.watch(
            model, self.monitor, loss=loss, weights=True, gradients=True, updates=True, prefix=prefix
        )
        self._watches.append(watch)

    def step(self, loss: torch.Tensor) -> None:
        """Ends a step."""
        self.losses.append(float(loss.detach().sum()))
        self.monitor.step()

    @property
    def callbacks(self) -> list[Any]:
        """What a Keras program passes to `fit`."""
        import fastact.keras

        watched = fastact.keras.ActivationCallback(self.monitor)
        return [watched, _losses_into(self.losses)]

    def close(self) -> None:
        """Ends the recording."""
        while self._watches:
            self._watches.pop().remove()
        self.monitor.close()

    def answers(self, model: Any, x: Any) -> torch.Tensor:
        """What a trained model says of x; fastact is off."""
        self.close()
        if isinstance(model, nn.Module) and not hasattr(model, "predict"):
            model.eval()
            with torch.no_grad():
                return cast("torch.Tensor", model(x)).detach()
        return torch.from_numpy(np.asarray(model.predict(x, verbose=0)))

    def right(self, model: Any, data: Data) -> float:
        """Skill among several classes: the share avoided of the errors that the commonest class makes."""
        given, wanted = self.answers(model, data.test_x), torch.as_tensor(data.test_y)
        wanted = wanted.argmax(-1) if wanted.ndim == given.ndim and given.shape == wanted.shape else wanted
        if not bool(torch.isfinite(given).all()):
            return math.nan
        return _share_avoided(given.argmax(-1).flatten() == wanted.flatten(), wanted.flatten().long())

    def right_side(self, model: Any, data: Data, limit: float) -> float:
        """The same of one unit that says yes above a limit."""
        given, wanted = self.answers(model, data.test_x), torch.as_tensor(data.test_y)
        if not bool(torch.isfinite(given).all()):
            return math.nan
        return _share_avoided((given.flatten() > limit) == (wanted.flatten() > 0.5), (wanted.flatten() > 0.5).long())

    def right_number(self, model: Any, data: Data) -> float:
        """The same of one unit that says the number of a class."""
        given, wanted = self.answers(model, data.test_x), torch.as_tensor(data.test_y)
        return _share_avoided(given.flatten().round() == wanted.flatten(), wanted.flatten().long())

    def near(self, model: Any, data: Data) -> float:
        """Skill among numbers: R²."""
        given, wanted = self.answers(model, data.test_x), torch.as_tensor(data.test_y)
        wanted = wanted.reshape(given.shape)
        return float(1.0 - (given - wanted).square().mean() / (wanted - wanted.mean(0)).square().mean())


def _share_avoided(hits: torch.Tensor, wanted: torch.Tensor) -> float:
    base = float(torch.bincount(wanted).max()) / wanted.numel()
    return (float(hits.float().mean()) - base) / (1.0 - base)


def train(
    run: Run,
    model: nn.Module,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Data,
    *,
    size: int = 32,
    steps: int = 40,
) -> None:
    """The loop that everybody writes."""
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, size=size, steps=steps):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        run.step(loss)


def _losses_into(losses: list[float]) -> Any:
    import keras

    return keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(float(logs["loss"])))
