"""Tasks of the fourth part (held out until 2026-11-30).

All is made: a checkered board, an arm of two joints, plates of dots, woven cloth, lists to look something up in,
melodies, echoes, chirps, orders of dishes, and scratched cloth to be cleaned.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch

from bench.zoo.data_task import Array, Task, split, split_task

__all__ = ["FOURTH_TASKS"]


def _symbols(kind: str, x: Array, y: Array, inputs: int, outputs: int, good: float) -> Task:
    parts = [torch.from_numpy(np.ascontiguousarray(part)) for part in split(x, y, 4)]
    if kind == "numbers":
        parts[1], parts[3] = parts[1].float(), parts[3].float()
    if parts[0].is_floating_point():
        parts[0], parts[2] = parts[0].float(), parts[2].float()
    return Task(kind, (parts[0], parts[1]), (parts[2], parts[3]), inputs, outputs, good)


def board() -> Task:
    """Points on a board of three by three squares: black or white?"""
    generator = np.random.default_rng(40)
    x = generator.uniform(-1.5, 1.5, (1800, 2))
    y = np.floor(x + 1.5).sum(1).astype(int) % 2
    return split_task("classes", x * 1.15, y, 2, 0.6)


def arm() -> Task:
    """Two angles and two lengths of an arm: where is its tip?"""
    generator = np.random.default_rng(41)
    angle, length = generator.uniform(-2, 2, (1800, 2)), generator.uniform(0.5, 1.5, (1800, 2))
    bent = angle.cumsum(1)
    y = np.stack([(length * np.cos(bent)).sum(1), (length * np.sin(bent)).sum(1)], 1)
    return split_task("numbers", np.concatenate([angle, length], 1), y, 2, 0.6, scale="each")


def plates() -> Task:
    """Images (1, 12, 12) of one to four dots on a plate: how many?"""
    generator = np.random.default_rng(42)
    count = 1500
    many = generator.integers(1, 5, count)
    x = 0.25 * generator.normal(size=(count, 12, 12))
    for image, dots in zip(x, many, strict=True):
        for place in generator.choice(16, dots, replace=False):
            row, column = np.array(divmod(int(place), 4)) * 3 + generator.integers(0, 2, 2)
            image[row : row + 2, column : column + 2] += 1.5
    return split_task("classes", x[:, None], many - 1, 4, 0.4, scale="all")


def cloth() -> Task:
    """Images (3, 12, 12) of cloth with threads that run in one of five ways: which?"""
    x, y, _ = _woven()
    return split_task("classes", x, y, 5, 0.6, scale="all")


def scratched() -> Task:
    """The same cloth with scratches, to be cleaned of them."""
    x, _, clean = _woven()
    return split_task("numbers", x, clean, 3, 0.45)


def _woven() -> tuple[Array, Array, Array]:
    generator = np.random.default_rng(43)
    count = 1200
    rows, columns = np.mgrid[0:12, 0:12]
    y = generator.integers(0, 5, count)
    along = np.array([[1.0, 0.0], [0.0, 1.0], [0.7, 0.7], [0.7, -0.7], [0.45, 0.0]])[y]
    place = along[:, :1, None] * rows + along[:, 1:, None] * columns
    clean = np.sin(1.8 * place + generator.uniform(0, 6, (count, 1, 1)))
    clean = clean[:, None] * generator.uniform(0.5, 1.2, (count, 3, 1, 1))
    x = clean + 0.25 * generator.normal(size=clean.shape)
    for image in x:
        image[:, generator.integers(0, 12)] = 1.5
    return x, y, clean


def lists() -> Task:
    """A place (0 to 7) and eight symbols (8 to 15): the symbol at that place."""
    generator = np.random.default_rng(44)
    place, rest = generator.integers(0, 8, 2400), generator.integers(8, 16, (2400, 8))
    return _symbols("classes", np.column_stack([place, rest]), rest[np.arange(2400), place] - 8, 16, 8, 0.5)


def melodies() -> Task:
    """Sixteen notes of twelve, each the one before plus one of two steps of its melody in turn: the next of each."""
    generator = np.random.default_rng(45)
    start, steps = generator.integers(0, 12, (1500, 1)), generator.integers(1, 4, (1500, 2))
    whole = (start + np.concatenate([np.zeros((1500, 1), int), np.tile(steps, 8)], 1).cumsum(1)) % 12
    return _symbols("classes", whole[:, :-1], whole[:, 1:], 12, 12, 0.4)


def echoes() -> Task:
    """Twenty numbers (20, 1): at each place the sum of those two and three places before."""
    x = np.random.default_rng(46).normal(size=(1500, 20, 1))
    y = np.zeros_like(x)
    y[:, 3:] = 0.7 * x[:, 1:-2] + 0.7 * x[:, :-3]
    return _symbols("numbers", x, y, 1, 1, 0.5)


def chirps() -> Task:
    """Readings (24, 2) of a tone that rises, falls or stays: which?"""
    generator = np.random.default_rng(47)
    y = generator.integers(0, 3, 1500)
    time = np.linspace(0, 1, 24)
    bend = np.array([4.0, -4.0, 0.0])[y][:, None]
    phase = 2 * np.pi * (generator.uniform(3, 5, (1500, 1)) * time + bend * (time**2 - time) / 1.5)
    phase = phase + 2 * np.pi * generator.random((1500, 1))
    x = np.stack([np.cos(phase), np.sin(phase)], -1) + 0.3 * generator.normal(size=(1500, 24, 2))
    return _symbols("classes", x, y, 2, 3, 0.5)


def orders() -> Task:
    """Four choices of dishes, each among ten (dish 10 * column + choice): the price."""
    generator = np.random.default_rng(48)
    x = generator.integers(0, 10, (2400, 4)) + 10 * np.arange(4)
    price = generator.normal(size=40)
    both = generator.normal(size=(10, 10))
    y = price[x].sum(1) + both[x[:, 0], x[:, 1] - 10] + 0.1 * generator.normal(size=2400)
    return _symbols("numbers", x, ((y - y.mean()) / y.std())[:, None], 40, 1, 0.6)


#: By name: what makes each task.
FOURTH_TASKS: Final[dict[str, Callable[[], Task]]] = {
    make.__name__: make
    for make in (board, arm, plates, cloth, scratched, lists, melodies, echoes, chirps, orders)
}  # fmt: skip
