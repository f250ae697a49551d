"""Tasks of the seventh part, which is held out: rules are never written after it.

All is made: kettles, dials, tickets, tiles, lamps, berries, pulses, trams, tunes, summits, and swarms.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch

from bench.zoo.data_task import Array, Task, split, split_task

__all__ = ["SEVENTH_TASKS"]


def _parts(kind: str, x: Array, y: Array, inputs: int, outputs: int, good: float) -> Task:
    parts = [torch.from_numpy(np.ascontiguousarray(part)) for part in split(x, y, 7)]
    parts = [part.float() if part.is_floating_point() else part.long() for part in parts]
    return Task(kind, (parts[0], parts[1]), (parts[2], parts[3]), inputs, outputs, good)


def kettles() -> Task:
    """Water, power, lid and minutes of a kettle: how hot it is, and how much steam there is."""
    generator = np.random.default_rng(80)
    x = generator.uniform(-1.7, 1.7, (1800, 4))
    heat = np.tanh(1.5 * x[:, 0]) * (1.0 + 0.5 * x[:, 1]) - 0.4 * x[:, 2] ** 2
    steam = np.abs(x[:, 3]) + 0.6 * x[:, 0] * x[:, 2]
    y = np.stack([heat, steam], 1)
    return split_task("numbers", x, (y - y.mean(0)) / y.std(0), 2, 0.5, scale="each")


def dials() -> Task:
    """Two hands of a dial as cosines and sines, and three readings that tell nothing: in which quarter is their sum?"""
    generator = np.random.default_rng(81)
    one, other = generator.uniform(0.0, 2.0 * np.pi, (2, 2400))
    told = [np.cos(one), np.sin(one), np.cos(other), np.sin(other)]
    x = np.concatenate([np.stack(told, 1), generator.normal(size=(2400, 3))], 1)
    y = ((one + other) % (2.0 * np.pi) // (np.pi / 2.0)).astype(int)
    return split_task("classes", x, y, 4, 0.5, scale="each")


def tickets() -> Task:
    """Five columns of symbols, from 0 to 89, of which half of the rows are copies of sixty: is a ticket given back?"""
    generator = np.random.default_rng(82)
    sizes = (30, 20, 20, 12, 8)
    x = np.stack([generator.integers(0, size, 3000) for size in sizes], 1)
    x[:1500] = x[generator.integers(0, 60, 1500)]
    score = sum(generator.normal(size=size)[column] for size, column in zip(sizes, x.T, strict=True))
    y = (score + 0.3 * generator.normal(size=3000) > 0.0).astype(int)
    return _parts("classes", x + np.array([0, 30, 50, 70, 82]), y, 90, 2, 0.4)


def tiles() -> Task:
    """Images (1, 10, 10) of stripes under noise: across, upright, rising or falling?"""
    generator = np.random.default_rng(83)
    rows, columns = np.mgrid[0:10, 0:10]
    ways = np.array([[1.0, 0.0], [0.0, 1.0], [0.7, 0.7], [0.7, -0.7]])
    y = generator.integers(0, 4, 1600)
    speed = generator.uniform(1.3, 1.9, 1600)[:, None, None]
    phase = generator.uniform(0.0, 6.3, 1600)[:, None, None]
    along = ways[y, 0][:, None, None] * rows + ways[y, 1][:, None, None] * columns
    x = np.sin(speed * along + phase) + 1.2 * generator.normal(size=(1600, 10, 10))
    return split_task("classes", x[:, None], y, 4, 0.5, scale="all")


def lamps() -> Task:
    """Images (3, 8, 8) of three lamps, each in its colour: which is the brightest?"""
    generator = np.random.default_rng(84)
    rows, columns = np.mgrid[0:8, 0:8]
    y = generator.integers(0, 3, 1500)
    row, column = generator.uniform(1.0, 7.0, (2, 1500, 3, 1, 1))
    bright = generator.uniform(0.3, 1.2, (1500, 3))
    bright[np.arange(1500), y] += 0.7
    x = bright[..., None, None] * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 3.0)
    return _parts("classes", 2.0 * (x + 0.15 * generator.normal(size=x.shape) - 0.2), y, 3, 3, 0.5)


def berries() -> Task:
    """Images (1, 12, 12) of four berries under noise, and where they are: 1 there, 0 elsewhere."""
    generator = np.random.default_rng(85)
    rows, columns = np.mgrid[0:12, 0:12]
    row, column = generator.integers(0, 12, (2, 1000, 4, 1, 1))
    size = generator.uniform(1.1, 2.3, (1000, 4, 1, 1))
    there = (np.hypot(rows - row, columns - column) < size).any(1).astype(float)
    x = 1.5 * (there - 0.3) + 0.7 * generator.normal(size=there.shape)
    return _parts("numbers", x[:, None], there[:, None], 1, 1, 0.4)


def pulses() -> Task:
    """Forty readings (40, 1) of a heart: every fourth, fifth, seventh or tenth moment?"""
    generator = np.random.default_rng(86)
    y = generator.integers(0, 4, 1600)
    every = np.array([4, 5, 7, 10])[y][:, None]
    beat = (np.arange(40) + generator.integers(0, 10, (1600, 1))) % every == 0
    x = 2.0 * beat - 0.4 + 0.5 * generator.normal(size=(1600, 40))
    return _parts("classes", x[..., None], y, 1, 4, 0.5)


def trams() -> Task:
    """Twenty stops (20, 3) of a tram, with who gets in, the time there is, and the weather: how late is it at last?"""
    generator = np.random.default_rng(87)
    x = generator.normal(size=(1600, 20, 3))
    late = np.zeros(1600)
    for stop in range(20):
        late = np.maximum(0.0, 0.85 * late + 0.6 * x[:, stop, 0] - 0.3 * x[:, stop, 1])
    return _parts("numbers", x, ((late - late.mean()) / late.std())[:, None], 3, 1, 0.4)


def tunes() -> Task:
    """Sixteen of 13 notes (16,), 0 where a tune is shorter: which of four turns of two notes is in it?"""
    generator = np.random.default_rng(88)
    x = generator.integers(5, 13, (2000, 16))
    y = generator.integers(0, 4, 2000)
    turns = np.array([[1, 2], [2, 1], [3, 4], [4, 3]])
    for tune, which in zip(x, y, strict=True):
        place = generator.integers(0, 9)
        tune[place : place + 2] = turns[which]
        tune[generator.integers(10, 17) :] = 0
    return _parts("classes", x, y, 13, 4, 0.4)


def summits() -> Task:
    """Twelve of nine heights (12,): the highest so far, at each place."""
    generator = np.random.default_rng(89)
    x = generator.integers(1, 9, (1600, 12, 3)).min(-1)
    return _parts("classes", x, np.maximum.accumulate(x, 1), 9, 9, 0.5)


def swarms() -> Task:
    """Sets of twelve points (12, 2), turned by any angle: a ring, a cross, a line or a heap?"""
    generator = np.random.default_rng(90)
    y = generator.integers(0, 4, 1600)
    angle = generator.uniform(0.0, 2.0 * np.pi, (1600, 12))
    way = generator.normal(size=(1600, 12))
    first = np.arange(12) % 2 == 0
    flat = np.zeros_like(way)
    kinds = np.stack([
        np.stack([1.2 * np.cos(angle), 1.2 * np.sin(angle)], -1),
        np.stack([np.where(first, 1.6 * way, 0.0), np.where(first, 0.0, 1.6 * way)], -1),
        np.stack([1.3 * way, flat], -1),
        np.stack([0.5 * way, 0.5 * generator.normal(size=way.shape)], -1),
    ])  # fmt: skip
    x = kinds[y, np.arange(1600)] + 0.12 * generator.normal(size=(1600, 12, 2))
    turn = generator.uniform(0.0, 2.0 * np.pi, 1600)
    about = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], -1).reshape(-1, 2, 2)
    return _parts("classes", x @ about, y, 2, 4, 0.5)


#: By name.
SEVENTH_TASKS: Final[dict[str, Callable[[], Task]]] = {
    make.__name__: make
    for make in (kettles, dials, tickets, tiles, lamps, berries, pulses, trams, tunes, summits, swarms)
}
