"""Tasks of the sixth part (held out until 2026-12-01).

All is made: valves, a tank, seals under noise, faint stars, tremors, rivers, scrolls, ladders, flocks, and visits.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch

from bench.zoo.data_task import Array, Task, split, split_task

__all__ = ["SIXTH_TASKS"]


def _parts(kind: str, x: Array, y: Array, inputs: int, outputs: int, good: float) -> Task:
    parts = [torch.from_numpy(np.ascontiguousarray(part)) for part in split(x, y, 6)]
    parts = [part.float() if part.is_floating_point() else part.long() for part in parts]
    return Task(kind, (parts[0], parts[1]), (parts[2], parts[3]), inputs, outputs, good)


def valves() -> Task:
    """Eight readings of a valve, four of which tell: does it leak, stick, rattle, or work?"""
    generator = np.random.default_rng(60)
    x = generator.normal(size=(2000, 8))
    y = 2 * (x[:, 0] * x[:, 1] > 0.1) + (x[:, 2] + 0.8 * np.abs(x[:, 3]) > 0.7)
    return split_task("classes", x, y, 4, 0.5, scale="each")


def tank() -> Task:
    """Level, two flows, heat and pressure of a tank: its level and heat a moment later, as changes."""
    generator = np.random.default_rng(61)
    x = generator.uniform(-1.7, 1.7, (2000, 5))
    level = x[:, 1] - np.sqrt(np.abs(x[:, 0]) + 0.1) * x[:, 2]
    heat = x[:, 3] * x[:, 1] - 0.5 * np.sin(2.0 * x[:, 4])
    y = np.stack([level, heat], 1)
    return split_task("numbers", x, (y - y.mean(0)) / y.std(0), 2, 0.6, scale="each")


def seals() -> Task:
    """Images (1, 12, 12) of a seal, at any place, under noise: ring, disc, cross or wedge?"""
    generator = np.random.default_rng(62)
    rows, columns = np.mgrid[0:5, 0:5] - 2
    away = np.hypot(rows, columns)
    kinds = [(away > 1.4) & (away < 2.5), away < 1.9, np.abs(rows) == np.abs(columns), rows >= np.abs(columns)]
    y = generator.integers(0, 4, 1500)
    x = 0.3 * generator.normal(size=(1500, 12, 12))
    for image, which in zip(x, y, strict=True):
        row, column = generator.integers(0, 8, 2)
        image[row : row + 5, column : column + 5] += 1.6 * kinds[which]
    return split_task("classes", x[:, None], y, 4, 0.4, scale="all")


def stars() -> Task:
    """Images (1, 10, 10) of five stars under noise, and the same without it."""
    generator = np.random.default_rng(63)
    clear = np.zeros((1000, 10, 10))
    for image in clear:
        image[generator.integers(0, 10, 5), generator.integers(0, 10, 5)] = generator.uniform(2, 4, 5)
    return _parts("numbers", (clear + 0.6 * generator.normal(size=clear.shape))[:, None], clear[:, None], 1, 1, 0.4)


def tremors() -> Task:
    """Thirty-two readings of two sensors (32, 2): do tremors rise, fade, swell or stay?"""
    generator = np.random.default_rng(64)
    y = generator.integers(0, 4, 1500)
    along = np.linspace(0, 1, 32)
    size = np.stack([along, 1 - along, np.sin(np.pi * along), np.full(32, 0.5)])[y]
    phase = generator.uniform(0, 6.3, (1500, 1, 2))
    x = 2.2 * size[..., None] * np.sin(1.3 * np.arange(32)[:, None] + phase)
    x += 0.3 * generator.normal(size=x.shape)
    return _parts("classes", x, y, 2, 4, 0.5)


def rivers() -> Task:
    """Twenty-four days of a river and of rain (24, 2): how high is it five days later?"""
    generator = np.random.default_rng(65)
    rain = generator.gamma(0.6, 1.0, (1500, 29)) - 0.6
    high = np.zeros((1500, 29))
    for day in range(1, 29):
        high[:, day] = 0.85 * high[:, day - 1] + 0.5 * rain[:, day - 1]
    x = np.stack([high[:, :24], rain[:, :24]], -1)
    y = high[:, 26:27]
    return _parts("numbers", x, (y - y.mean()) / y.std(), 2, 1, 0.4)


def scrolls() -> Task:
    """Fourteen of 24 signs (14,), 0 where a line is shorter: which of four marks, 1 to 4, comes first?"""
    generator = np.random.default_rng(66)
    x = generator.integers(5, 24, (1800, 14))
    y = generator.integers(0, 4, 1800)
    for line, mark in zip(x, y, strict=True):
        first, other = np.sort(generator.permutation(9)[:2])
        line[first], line[other] = mark + 1, generator.integers(1, 5)
        line[generator.integers(9, 15) :] = 0
    return _parts("classes", x, y, 24, 4, 0.4)


def ladders() -> Task:
    """Twelve of eight signs (12,): what stood two places before each, 0 at the first two?"""
    generator = np.random.default_rng(67)
    x = generator.integers(1, 8, (1500, 12))
    y = np.roll(x, 2, 1)
    y[:, :2] = 0
    return _parts("classes", x, y, 8, 8, 0.5)


def flocks() -> Task:
    """Sets of fifteen birds (15, 3): how wide, how high, and how close to each other do they fly?"""
    generator = np.random.default_rng(68)
    x = generator.normal(size=(1500, 15, 3)) * generator.uniform(0.4, 1.6, (1500, 1, 3))
    y = np.stack([np.ptp(x[..., 0], 1), x[..., 1].max(1), np.abs(x[..., 2]).mean(1)], 1)
    return _parts("numbers", x, (y - y.mean(0)) / y.std(0), 3, 3, 0.5)


def visits() -> Task:
    """Who comes (0 to 39), when (40 to 63) and where to (64 to 75): three kinds of visits."""
    generator = np.random.default_rng(69)
    sizes = (40, 24, 12)
    x = np.stack([generator.integers(0, size, 3000) for size in sizes], 1)
    tastes = [generator.normal(size=(size, 3)) for size in sizes]
    chosen = [taste[column] for taste, column in zip(tastes, x.T, strict=True)]
    score = chosen[0] + chosen[1] + chosen[2] + 0.3 * generator.normal(size=(3000, 3))
    return _parts("classes", x + np.array([0, 40, 64]), score.argmax(1), 76, 3, 0.4)


#: By name.
SIXTH_TASKS: Final[dict[str, Callable[[], Task]]] = {
    make.__name__: make for make in (valves, tank, seals, stars, tremors, rivers, scrolls, ladders, flocks, visits)
}
