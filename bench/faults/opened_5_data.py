"""Opened (held out until 2026-12-01): what the programs learn from; no other part has any of it.

All is made: hives, loaves, locks, quilts, kites, ferries, trams, runes, knots, dishes, towns, stalls, weeds, embers,
and an arc of sand.
"""

import functools

import numpy as np
import torch

from bench.faults.data import divided, made_once
from bench.faults.run import Data

_divided = functools.partial(divided, seed=301, train=(3, 4))


@made_once
def hives() -> Data:
    """Seven measurements of a hive, three of which say together in which of four states it is."""
    generator = np.random.default_rng(91)
    x = generator.normal(size=(1600, 7))
    y = 2 * (x[:, 0] * x[:, 1] > 0) + (np.abs(x[:, 2]) > 0.67)
    return _divided(x, y.astype(np.int64))


@made_once
def loaves(unit: str = "scaled") -> Data:
    """Flour, water, salt, hours, warmth and turns of a dough, and how high its loaf rises.

    unit: "scaled"; "raw": grams, grams, grams, seconds, kelvins, turns; "lifted": heights in micrometres.
    """
    generator = np.random.default_rng(92)
    x = generator.normal(size=(1600, 6))
    y = np.sin(1.2 * x[:, 0]) + 0.7 * x[:, 1] * x[:, 3] - 0.5 * np.abs(x[:, 4]) + 0.05 * generator.normal(size=1600)
    y = (y - y.mean()) / y.std()
    if unit == "raw":
        x = np.array([500, 320, 10, 4e4, 300, 12]) + x * [60, 40, 2, 9e3, 6, 4]
    return _divided(x, (90000 + 22000 * y if unit == "lifted" else y)[:, None])


@made_once
def locks(share: float = 0.42) -> Data:
    """Nine readings of a door: was it forced? share: of those that were."""
    generator = np.random.default_rng(93)
    count = 1600 if share > 0.1 else 3200
    y = (generator.random(count) < share).astype(np.int64)
    x = generator.normal(size=(count, 9))
    x[:, 0] += 1.6 * y * np.sign(x[:, 1])
    x[:, 2] += 1.1 * y
    x[:, 3] -= 0.9 * y
    return _divided(x, y)


@made_once
def quilts() -> Data:
    """Images (1, 12, 12) from 0 to 1 of cloth: fine or wide checks, waves, dots, or crosses?"""
    generator = np.random.default_rng(94)
    y = generator.integers(0, 5, 1500)
    rows, columns = np.mgrid[0:12, 0:12]
    x = np.zeros((1500, 12, 12))
    for image, kind in zip(x, y, strict=True):
        down, across = generator.integers(0, 6, 2)
        r, c = rows + down, columns + across
        image[:] = (
            (r + c) % 2, (r // 3 + c // 3) % 2, np.sin(1.1 * r + 2 * np.sin(0.6 * c)) > 0,
            (r % 4 < 2) & (c % 4 < 2), (r % 5 == 2) | (c % 5 == 2),
        )[kind]  # fmt: skip
    return _divided((0.7 * x + 0.3 * generator.random(x.shape))[:, None], y)


@made_once
def kites(wanted: str = "place") -> Data:
    """Images (1, 14, 14) from 0 to 1 of a kite. wanted: its "place", two numbers from -1 to 1, or its "mask"."""
    generator = np.random.default_rng(95)
    rows, columns = np.mgrid[0:14, 0:14]
    place = generator.uniform(2, 11, (1200, 2))
    size = generator.uniform(1.5, 3.0, 1200)
    away = np.abs(rows - place[:, :1, None]) + np.abs(columns - place[:, 1:, None])
    mask = (away < size[:, None, None]).astype(np.float64)
    x = (0.8 * mask + 0.25 * generator.random(mask.shape)).clip(0, 1)[:, None]
    return _divided(x, mask[:, None] if wanted == "mask" else (place - 6.5) / 4.5)


@made_once
def ferries() -> Data:
    """Twenty-eight hours of tide and wind (28, 2), and how late a ferry is."""
    generator = np.random.default_rng(96)
    phase, pull = generator.uniform(0, 6.3, (1300, 1)), generator.uniform(0.4, 1.6, (1300, 1))
    tide = pull * np.sin(0.5 * np.arange(28) + phase)
    wind = np.cumsum(0.4 * generator.normal(size=(1300, 28)), 1)
    y = wind[:, -8:].mean(1) + 1.2 * tide[:, -1] + 0.05 * generator.normal(size=1300)
    return _divided(np.stack([tide, wind], -1), ((y - y.mean()) / y.std())[:, None])


@made_once
def trams() -> Data:
    """Twenty pushes of a tram along three axes (20, 3): does it start, stop, turn left, turn right, or climb?"""
    generator = np.random.default_rng(97)
    y = generator.integers(0, 5, 1500)
    x = 0.6 * generator.normal(size=(1500, 20, 3))
    for series, kind in zip(x, y, strict=True):
        start = generator.integers(0, 12)
        axis, sign = ((0, 1), (0, -1), (1, 1), (1, -1), (2, 1))[kind]
        series[start : start + 8, axis] += 1.3 * sign
    return _divided(x, y)


@made_once
def runes() -> Data:
    """Twelve of thirty runes (12,), 0 where a line is shorter: which of three marks, 1 to 3, comes most often?"""
    generator = np.random.default_rng(98)
    x = generator.integers(4, 30, (1600, 12))
    y = generator.integers(0, 3, 1600)
    for line, mark in zip(x, y, strict=True):
        at = generator.permutation(9)[:4]
        line[at] = [mark + 1, mark + 1, mark + 1, generator.integers(1, 4)]
        line[generator.integers(9, 13) :] = 0
    return _divided(x, y)


@made_once
def knots(padded: bool = False) -> Data:
    """Sixteen knots of six kinds (16,): what do each and the one before it come to? padded: most places are 6."""
    generator = np.random.default_rng(99)
    x = generator.integers(0, 6, (1400, 16))
    y = (x + np.roll(x, 1, 1) * (np.arange(16) > 0)) % 6
    if padded:
        beyond = np.arange(16) >= generator.integers(1, 4, (1400, 1))
        x, y = np.where(beyond, 6, x), np.where(beyond, 6, y)
    return _divided(x, y)


@made_once
def dishes() -> Data:
    """Who eats (0 to 34) what (0 to 21), and how much of it is left."""
    generator = np.random.default_rng(100)
    x = np.stack([generator.integers(0, size, 3000) for size in (35, 22)], 1)
    one, other = generator.normal(size=(35, 3)), generator.normal(size=(22, 3))
    y = (one[x[:, 0]] * other[x[:, 1]]).sum(1) + 0.7 * one[x[:, 0], 0] + 0.1 * generator.normal(size=3000)
    return _divided(x, ((y - y.mean()) / y.std())[:, None])


@made_once
def stalls() -> Data:
    """Hour, rain, crowd and price at a stall, each about 1, and how many buy: 0 to 40."""
    generator = np.random.default_rng(101)
    x = generator.normal(size=(1600, 4))
    rate = np.exp(1.4 + 0.6 * np.sin(1.5 * x[:, 0]) - 0.5 * x[:, 1] + 0.4 * x[:, 2])
    return _divided(x, generator.poisson(rate.clip(0, 30)).astype(np.float64)[:, None])


@made_once
def weeds() -> Data:
    """Ten measurements of a field: which of six weeds, none or several, grow in it?"""
    generator = np.random.default_rng(102)
    x = generator.normal(size=(1500, 10))
    turn = generator.normal(size=(10, 6)) / 2.0
    return _divided(x, (np.tanh(x) @ turn + 0.2 * generator.normal(size=(1500, 6)) > 0.4).astype(np.float64))


@made_once
def embers() -> Data:
    """Sixteen lights from 0 to 1 that follow from three numbers: to be given back."""
    generator = np.random.default_rng(103)
    hidden = generator.normal(size=(1400, 3)) @ generator.normal(size=(3, 16))
    x = 1.0 / (1.0 + np.exp(-1.2 * hidden))
    return _divided(x, x.copy())


@made_once
def towns() -> Data:
    """Eighty towns (80, 5) with what is measured of each, and to which of three counties each belongs."""
    generator = np.random.default_rng(104)
    y = np.repeat(np.arange(3), 27)[:80]
    x = 1.3 * generator.normal(size=(80, 5)) + 0.7 * generator.normal(size=(3, 5))[y]
    parts = [torch.from_numpy(x).float(), torch.from_numpy(y)]
    return Data(*parts, *(part.clone() for part in parts))


def roads() -> torch.Tensor:
    """Which of the towns a road joins, each with itself: rows that sum to one, (80, 80)."""
    generator = np.random.default_rng(105)
    y = np.repeat(np.arange(3), 27)[:80]
    near = generator.random((80, 80)) < np.where(y[:, None] == y, 0.16, 0.015)
    near = near | near.T | np.eye(80, dtype=bool)
    return torch.from_numpy(near / near.sum(1, keepdims=True)).float()


def sand(count: int, generator: torch.Generator) -> torch.Tensor:
    """Points along an arc, (count, 2), to the right of and below the middle."""
    turn = 2.5 * torch.rand(count, generator=generator) - 1.5
    away = 1.6 + 0.15 * torch.randn(count, generator=generator)
    return torch.stack([away * turn.cos() + 0.8, away * turn.sin() - 0.8], 1)
