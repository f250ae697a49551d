"""Tasks of the fifth part (held out until 2026-12-01).

All is made: points inside and outside of a ring in space, a pendulum, trades, stamps, blurred lights, sets of points,
rhythms, tides, tallies of signs, and chains of signs.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch

from bench.zoo.data_task import Array, Task, split, split_task

__all__ = ["FIFTH_TASKS"]


def _parts(kind: str, x: Array, y: Array, inputs: int, outputs: int, good: float) -> Task:
    parts = [torch.from_numpy(np.ascontiguousarray(part)) for part in split(x, y, 5)]
    parts = [part.float() if part.is_floating_point() else part.long() for part in parts]
    return Task(kind, (parts[0], parts[1]), (parts[2], parts[3]), inputs, outputs, good)


def ring_in_space() -> Task:
    """Six numbers, three of which are a place in space: inside of a ring, in its hole, or outside?"""
    generator = np.random.default_rng(50)
    x = generator.uniform(-1.6, 1.6, (2000, 6))
    flat = np.hypot(x[:, 0], x[:, 1])
    inside = (flat - 1.0) ** 2 + 0.4 * x[:, 2] ** 2 < 0.2
    return split_task("classes", x, np.where(inside, 0, np.where(flat < 1.0, 1, 2)), 3, 0.45, scale="each")


def pendulum() -> Task:
    """Angle, speed, push and friction of a pendulum: how much do angle and speed change in a moment?"""
    generator = np.random.default_rng(51)
    x = generator.uniform(-1, 1, (2000, 4)) * [2.5, 2.0, 1.5, 1.0]
    pull = -np.sin(x[:, 0]) + x[:, 2] - (0.4 + 0.3 * x[:, 3]) * x[:, 1]
    y = np.stack([x[:, 1] + 0.3 * pull, pull], 1)
    return split_task("numbers", x, y / y.std(0), 2, 0.6, scale="each")


def trades() -> Task:
    """Who buys (0 to 29), what (30 to 49), where (50 to 57): the price, of which each and each pair has a part."""
    generator = np.random.default_rng(52)
    sizes = (30, 20, 8)
    x = np.stack([generator.integers(0, size, 2600) for size in sizes], 1)
    codes = [0.8 * generator.normal(size=(size, 3)) for size in sizes]
    chosen = [code[column] for code, column in zip(codes, x.T, strict=True)]
    y = sum(part[:, 0] for part in chosen) + (chosen[0] * chosen[1]).sum(1) + 0.1 * generator.normal(size=2600)
    x = x + np.array([0, 30, 50])
    return _parts("numbers", x, ((y - y.mean()) / y.std())[:, None], 58, 1, 0.5)


def stamps() -> Task:
    """Images (1, 14, 14) of a stamp, at any place, under noise: cross, frame, bar, corner or checks?"""
    generator = np.random.default_rng(53)
    shapes = np.zeros((5, 5, 5))
    shapes[0, 2], shapes[0, :, 2] = 1, 1
    shapes[1, [0, 4]], shapes[1, :, [0, 4]] = 1, 1
    shapes[2, 1:4] = 1
    shapes[3, 0], shapes[3, :, 0] = 1, 1
    shapes[4, ::2, ::2], shapes[4, 1::2, 1::2] = 1, 1
    y = generator.integers(0, 5, 1500)
    x = 0.3 * generator.normal(size=(1500, 14, 14))
    for image, which in zip(x, y, strict=True):
        row, column = generator.integers(0, 10, 2)
        image[row : row + 5, column : column + 5] += 1.5 * shapes[which]
    return split_task("classes", x[:, None], y, 5, 0.5, scale="all")


def lights() -> Task:
    """Images (1, 12, 12) of four lights, blurred, and the same before."""
    generator = np.random.default_rng(54)
    sharp = np.zeros((1000, 12, 12))
    for image in sharp:
        image[generator.integers(1, 11, 4), generator.integers(1, 11, 4)] = generator.uniform(2, 4, 4)
    soft = sum(np.roll(sharp, move, (1, 2)) for move in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))) / 3.0
    x = np.asarray(soft) + 0.03 * generator.normal(size=sharp.shape)
    return _parts("numbers", x[:, None], sharp[:, None], 1, 1, 0.45)


def clouds() -> Task:
    """Sets of 20 points (20, 2): a circle, a cross, a line or a cloud?"""
    generator = np.random.default_rng(55)
    y = generator.integers(0, 4, 1500)
    angle, along = generator.uniform(0, 2 * np.pi, (1500, 20)), generator.uniform(-1.4, 1.4, (1500, 20))
    side = generator.integers(0, 2, (1500, 20))
    circle = np.stack([np.cos(angle), np.sin(angle)], -1)
    cross = np.stack([np.where(side, along, 0), np.where(side, 0, along)], -1)
    line = np.stack([along, along], -1) / 1.4
    x = np.choose(y[:, None, None], [circle, cross, line, 0.7 * generator.normal(size=circle.shape)])
    return _parts("classes", x + 0.15 * generator.normal(size=x.shape), y, 2, 4, 0.5)


def rhythms() -> Task:
    """Thirty readings of three sensors (30, 3), one of which beats: every second, third, fourth or fifth time?"""
    generator = np.random.default_rng(56)
    y = generator.integers(0, 4, 1500)
    x = 0.4 * generator.normal(size=(1500, 30, 3))
    first = generator.integers(0, 5, 1500)
    beats = (np.arange(30) + first[:, None]) % (y[:, None] + 2) == 0
    x[:, :, 1] += 1.5 * beats
    return _parts("classes", x, y, 3, 4, 0.5)


def tides() -> Task:
    """The last 24 heights of a tide (24, 1), of two periods, and the next three (3)."""
    generator = np.random.default_rng(57)
    phase, size = generator.uniform(0, 6.28, (1600, 2, 1)), generator.uniform(0.5, 1.2, (1600, 2, 1))
    periods = np.array([12.4, 7.3])[:, None] * generator.uniform(0.95, 1.05, (1600, 2, 1))
    whole = (size * np.sin(2 * np.pi * np.arange(27) / periods + phase)).sum(1)
    seen = whole[:, :24, None] + 0.05 * generator.normal(size=(1600, 24, 1))
    return _parts("numbers", seen, whole[:, 24:], 1, 3, 0.5)


def tallies() -> Task:
    """Sixteen signs of seven, some of which are padding (0): which of the others is there most often?"""
    generator = np.random.default_rng(58)
    y = generator.integers(0, 6, 2000)
    rest = generator.integers(1, 7, (2000, 16))
    x = np.where(generator.random((2000, 16)) < 0.35, y[:, None] + 1, rest)
    x[np.arange(16) >= generator.integers(9, 17, (2000, 1))] = 0
    return _parts("classes", x, y, 7, 6, 0.45)


def chains() -> Task:
    """Eighteen signs of ten: the next of each, which follows from it and the one before, nine times in ten."""
    generator = np.random.default_rng(59)
    table = generator.permutation(10)
    x = generator.integers(0, 10, (1500, 19))
    for place in range(2, 19):
        follows = (table[x[:, place - 1]] + x[:, place - 2] % 2) % 10
        x[:, place] = np.where(generator.random(1500) < 0.9, follows, x[:, place])
    return _parts("classes", x[:, :-1], x[:, 1:], 10, 10, 0.35)


#: By name: what makes each task.
FIFTH_TASKS: Final[dict[str, Callable[[], Task]]] = {
    make.__name__: make
    for make in (ring_in_space, pendulum, trades, stamps, lights, clouds, rhythms, tides, tallies, chains)
}
