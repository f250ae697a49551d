"""Held out: what the programs learn from; no other part has any of it.

All is made: wells, bricks, claims, herbs, dials, specks, geysers, gaits, notes, phrases, reefs, films, queues, fairs,
tiles, slots, and a ring of smoke.
"""

import functools

import numpy as np
import torch

from bench.faults.data import divided, made_once
from bench.faults.run import Data

_divided = functools.partial(divided, seed=401, train=(4, 5))


@made_once
def wells() -> Data:
    """Eight readings of a well, five of which say together which of three layers of rock it has reached."""
    generator = np.random.default_rng(201)
    x = generator.normal(size=(1500, 8))
    score = np.sin(1.4 * x[:, 0]) + 0.9 * x[:, 1] + np.where(x[:, 2] > 0, x[:, 3], -x[:, 3])
    return _divided(x, np.digitize(score, np.quantile(score, [0.33, 0.66])).astype(np.int64))


@made_once
def bricks(unit: str = "scaled") -> Data:
    """Clay, sand, water, hours, heat, draught and age of a kiln, and how much a brick bears.

    unit: "scaled"; "raw": each feature in a unit of its own; "pascals": a load of millions.
    """
    generator = np.random.default_rng(202)
    x = generator.normal(size=(1500, 7))
    y = np.tanh(2 * x[:, 0]) + 0.8 * x[:, 1] * (x[:, 2] > 0) + 0.5 * np.abs(x[:, 3]) - 0.6 * x[:, 4]
    y = y + 0.05 * generator.normal(size=1500)
    y = (y - y.mean()) / y.std()
    if unit == "raw":
        x = np.array([30, 900, 0.02, 40000, 1250, 0.5, 12]) + x * [4, 150, 0.004, 9000, 60, 0.1, 5]
    return _divided(x, (3e6 + 6e5 * y if unit == "pascals" else y)[:, None])


@made_once
def claims(share: float = 0.4) -> Data:
    """Fourteen columns on a claim, eight of which are mostly zero: is it paid? share: of those that are."""
    generator = np.random.default_rng(203)
    count = 1500 if share > 0.15 else 4000
    y = (generator.random(count) < share).astype(np.int64)
    x = generator.normal(size=(count, 14))
    x[:, 6:] *= generator.random((count, 8)) < 0.15
    x[:, 0] += 1.3 * y
    x[:, 1] -= 1.2 * y * np.sign(x[:, 2])
    x[:, 3] += 0.8 * y
    x[:, 6] += 1.5 * y * (generator.random(count) < 0.5)
    return _divided(x, y)


@made_once
def herbs() -> Data:
    """How often each of 36 words, rare ones, is in a note on a herb: which of six uses are named, several or none?"""
    generator = np.random.default_rng(204)
    y = (generator.random((1400, 6)) < 0.3).astype(np.float64)
    x = generator.poisson(0.08, (1400, 36)).astype(np.float64)
    for use in range(6):
        x[:, 3 * use : 3 * use + 3] += y[:, use : use + 1] * (generator.random((1400, 3)) < 0.6)
    return _divided(x, y)


@made_once
def dials(wanted: str = "kind") -> Data:
    """Images (1, 14, 14) from 0 to 1 of a hand on a dial.

    wanted: the "kind" of six sectors, or its "tip", two numbers from -1 to 1.
    """
    generator = np.random.default_rng(205)
    kind = generator.integers(0, 6, 1500)
    angle = (kind + generator.uniform(0.15, 0.85, 1500)) * np.pi / 3
    tip = np.stack([np.sin(angle), np.cos(angle)], -1)
    rows, columns = np.mgrid[0:14, 0:14] - 6.5
    along = rows * tip[:, :1, None] + columns * tip[:, 1:, None]
    across = np.abs(rows * tip[:, 1:, None] - columns * tip[:, :1, None])
    x = 0.75 * ((across < 1.0) & (along > 0) & (along < 6)) + 0.25 * generator.random((1500, 14, 14))
    return _divided(x[:, None], kind if wanted == "kind" else tip)


@made_once
def specks(wanted: str = "mask") -> Data:
    """Images (1, 12, 12) from 0 to 1 with specks on them. wanted: their "mask", or their "count", 0 to 4."""
    generator = np.random.default_rng(206)
    count = generator.integers(0, 5, 1200)
    mask = np.zeros((1200, 12, 12))
    for image, many in zip(mask, count, strict=True):
        for place in generator.permutation(9)[:many]:
            row, column = 4 * (place // 3) + generator.integers(0, 2), 4 * (place % 3) + generator.integers(0, 2)
            image[row : row + 2, column : column + 2] = 1
    x = (0.6 * mask + 0.4 * generator.random(mask.shape))[:, None]
    return _divided(x, mask[:, None] if wanted == "mask" else count)


@made_once
def geysers() -> Data:
    """Twenty-six minutes of warmth and pressure (26, 2) of a geyser, and how high it rises."""
    generator = np.random.default_rng(207)
    pressure = np.cumsum(0.35 * generator.normal(size=(1300, 26)), 1)
    warmth = np.sin(np.arange(26) * generator.uniform(0.2, 0.6, (1300, 1)) + generator.uniform(0, 6.3, (1300, 1)))
    y = pressure[:, -6:].mean(1) - 1.1 * warmth[:, -3:].mean(1) + 0.05 * generator.normal(size=1300)
    return _divided(np.stack([warmth, pressure], -1), ((y - y.mean()) / y.std())[:, None])


@made_once
def gaits() -> Data:
    """Twenty-four readings of three sensors (24, 3): does it walk, trot, limp or stand?"""
    generator = np.random.default_rng(208)
    y = generator.integers(0, 4, 1400)
    time = np.arange(24) + generator.uniform(0, 20, (1400, 1))
    x = 0.5 * generator.normal(size=(1400, 24, 3))
    speed = np.array([0.5, 1.1, 0.5, 0.0])[y][:, None]
    x[:, :, 0] += np.sin(speed * time)
    x[:, :, 1] += np.where(y[:, None] == 2, np.abs(np.sin(0.5 * time)), 0.4 * np.cos(speed * time))
    x[:, :, 2] += 0.8 * (y[:, None] == 3)
    return _divided(x, y)


@made_once
def notes() -> Data:
    """Sixteen of 28 notes (16,), 0 where a tune is shorter: in which of four keys is it?"""
    generator = np.random.default_rng(209)
    y = generator.integers(0, 4, 1500)
    x = generator.integers(1, 28, (1500, 16))
    own = 1 + 6 * y[:, None] + generator.integers(0, 6, (1500, 16))
    x = np.where(generator.random((1500, 16)) < 0.4, own, x)
    x[np.arange(16) >= generator.integers(8, 17, (1500, 1))] = 0
    return _divided(x, y)


@made_once
def phrases(padded: bool = False) -> Data:
    """Eighteen pitches of nine (18,), and for each whether it is lower, as high, or higher than the one before.

    padded: lines end after 2 to 5 pitches, what follows is 0, and the mark there is 3.
    """
    generator = np.random.default_rng(210)
    x = generator.integers(1, 10, (1300, 18))
    again = generator.random((1300, 17)) < 0.3
    x[:, 1:][again] = x[:, :-1][again]
    y = np.sign(np.diff(x, axis=1, prepend=x[:, :1])) + 1
    if padded:
        beyond = np.arange(18) >= generator.integers(2, 6, (1300, 1))
        x[beyond], y[beyond] = 0, 3
    return _divided(x, y.astype(np.int64))


@made_once
def reefs() -> Data:
    """Five measurements at 240 places of a reef, in an order that does not matter: which of four currents is there?"""
    generator = np.random.default_rng(211)
    y = np.arange(240) % 4
    x = np.eye(4)[y] @ generator.normal(size=(4, 5)) + 0.9 * generator.normal(size=(240, 5))
    first = torch.from_numpy(x).float()
    return Data(first, torch.from_numpy(y), first, torch.from_numpy(y))


@functools.cache
def currents() -> torch.Tensor:
    """Which places share water, as shares (240, 240): each row adds up to 1."""
    generator = np.random.default_rng(212)
    place = np.arange(240) % 4
    joined = generator.random((240, 240)) < np.where(place[:, None] == place, 0.08, 0.006)
    joined = joined | joined.T | np.eye(240, dtype=bool)
    return torch.from_numpy(joined / joined.sum(1, keepdims=True)).float()


@made_once
def films() -> Data:
    """Numbers of a viewer (50) and a film (40), as (2,), and how many stars, 1 to 5, with halves, it is given."""
    generator = np.random.default_rng(213)
    viewers, kinds = generator.normal(size=(50, 2)), generator.normal(size=(40, 2))
    who, what = generator.integers(0, 50, 3000), generator.integers(0, 40, 3000)
    y = 3 + 0.9 * (viewers[who] * kinds[what]).sum(1) + 0.5 * viewers[who, 0]
    return _divided(np.stack([who, what], 1), (np.round(2 * y) / 2).clip(1, 5)[:, None])


@made_once
def queues() -> Data:
    """Five things about an hour, and how many stand in a queue then: 0 to some forty."""
    generator = np.random.default_rng(214)
    x = generator.normal(size=(1500, 5))
    return _divided(x, generator.poisson(np.exp(1.6 + 0.6 * x[:, 0] - 0.5 * np.abs(x[:, 1])))[:, None].astype(float))


@made_once
def fairs() -> Data:
    """Six stalls with four features each (6, 4): which of them does a visitor like best?"""
    generator = np.random.default_rng(215)
    x = generator.normal(size=(1500, 6, 4))
    liked = 1.2 * x[:, :, 0] - np.abs(x[:, :, 1]) + 0.7 * x[:, :, 2] + 0.1 * generator.normal(size=(1500, 6))
    return _divided(x, liked.argmax(1))


@made_once
def tiles() -> Data:
    """Twenty-four lights from 0 to 1 that three numbers lie behind: to be copied."""
    generator = np.random.default_rng(216)
    hidden = generator.normal(size=(1400, 3))
    x = 1 / (1 + np.exp(-1.5 * hidden @ generator.normal(size=(3, 24)) + 0.1 * generator.normal(size=(1400, 24))))
    return _divided(x, x)


@made_once
def slots() -> Data:
    """Six lamps of a machine, and which of its four levers pays."""
    generator = np.random.default_rng(217)
    x = generator.normal(size=(1500, 6))
    return _divided(x, (2 * (x[:, 0] + x[:, 1] > 0) + (x[:, 2] - x[:, 3] > 0)).astype(np.int64))


def smoke(count: int) -> torch.Tensor:
    """Points (count, 2) of a ring of smoke, of radius two, drawn anew."""
    angle = 6.2832 * torch.rand(count)
    return (2 + 0.1 * torch.randn(count, 1)) * torch.stack([angle.cos(), angle.sin()], 1)
