"""Opened (held out until 2026-12-01): what the programs learn from; no other part has any of it.

All is made: ponds, harvests, boards of sensors, coins, arrows, leaves, sayings, pulses, strolls, jingles, friends,
guests with their dishes, calls in an hour, ledgers, weights of parcels, and rooms to walk through.
"""

import functools

import numpy as np
import torch

from bench.faults.data import divided, made_once
from bench.faults.run import Data

_divided = functools.partial(divided, seed=201, train=(7, 10))


@made_once
def ponds() -> Data:
    """Five measurements of a pond, two of which say together in which of three states it is."""
    generator = np.random.default_rng(71)
    x = generator.normal(size=(1500, 5))
    away = np.hypot(x[:, 0], x[:, 1] * 1.2)
    return _divided(x, np.where(away < 0.8, 0, np.where(x[:, 0] * x[:, 1] > 0, 1, 2)))


@made_once
def harvest(unit: str = "scaled") -> Data:
    """Rain, sun, height, acid, seed and slope of a field, and its harvest.

    unit: "scaled"; "raw": millimetres, hours, metres, pH, grains to a hectare, degrees; "kilos": harvests in kilos.
    """
    generator = np.random.default_rng(72)
    x = generator.normal(size=(1600, 6))
    y = (
        np.tanh(x[:, 0] + 0.5 * x[:, 1])
        + 0.6 * x[:, 4] * x[:, 1]
        - 0.4 * x[:, 3] ** 2
        + 0.05 * generator.normal(size=1600)
    )
    y = (y - y.mean()) / y.std()
    if unit == "raw":
        x = np.array([700, 1800, 400, 6.5, 3.5e6, 4]) + x * [200, 300, 200, 0.5, 5e5, 2]
    return _divided(x, (320000 + 90000 * y if unit == "kilos" else y)[:, None])


@made_once
def sensors() -> Data:
    """Twelve readings of a machine that is in one of four states: which?"""
    generator = np.random.default_rng(73)
    y = generator.integers(0, 4, 1600)
    middle = generator.normal(size=(4, 2, 12))
    x = middle[y, generator.integers(0, 2, 1600)] + 0.6 * generator.normal(size=(1600, 12))
    return _divided(x, y)


@made_once
def coins() -> Data:
    """Images (1, 14, 14) from 0 to 1 of one to three coins, and how much of the image they cover."""
    generator = np.random.default_rng(74)
    rows, columns = np.mgrid[0:14, 0:14]
    images = np.zeros((1100, 14, 14))
    for image in images:
        for _ in range(generator.integers(1, 4)):
            row, across, size = *generator.uniform(2, 12, 2), generator.uniform(1.2, 2.6)
            image[(rows - row) ** 2 + (columns - across) ** 2 < size**2] = 0.8
    covered = images.mean((1, 2)) / 0.8
    x = (images + 0.1 * generator.random(images.shape)).clip(0, 1)
    return _divided(x[:, None], ((covered - covered.mean()) / covered.std())[:, None])


@made_once
def arrows() -> Data:
    """Images (1, 12, 12) from 0 to 1 of an arrow that points up, down, left or right: which?"""
    generator = np.random.default_rng(75)
    arrow = np.zeros((6, 6))
    arrow[:, 2:4] = 1
    arrow[1, 1:5], arrow[2, 0:6] = 1, 1
    y = generator.integers(0, 4, 1400)
    x = 0.2 * generator.random((1400, 12, 12))
    for image, turns in zip(x, y, strict=True):
        row, across = generator.integers(2, 5, 2)
        image[row : row + 6, across : across + 6] += 0.8 * np.rot90(arrow, turns)
    return _divided(x[:, None].clip(0, 1), y)


@made_once
def leaves() -> Data:
    """Images (1, 14, 14) of a leaf over noise, and its mask: a tenth or so of all pixels."""
    generator = np.random.default_rng(76)
    rows, columns = np.mgrid[0:14, 0:14]
    row, across = generator.uniform(3, 11, (2, 800, 1, 1))
    angle = generator.uniform(0, np.pi, (800, 1, 1))
    along = (rows - row) * np.cos(angle) + (columns - across) * np.sin(angle)
    aside = (columns - across) * np.cos(angle) - (rows - row) * np.sin(angle)
    mask = ((along / 4.0) ** 2 + (aside / 1.6) ** 2 < 1).astype(float)
    return _divided((mask + 0.5 * generator.normal(size=mask.shape))[:, None], mask[:, None])


@made_once
def sayings() -> Data:
    """Fourteen words of 40, padded by 0: friendly, angry or neither, by which of some words there are more of."""
    generator = np.random.default_rng(77)
    x = generator.integers(1, 40, (1500, 14))
    mood = generator.integers(0, 3, 1500)
    said = generator.random((1500, 14)) < 0.3
    x = np.where(said & (mood == 0)[:, None], generator.integers(1, 6, x.shape), x)
    x = np.where(said & (mood == 1)[:, None], generator.integers(6, 11, x.shape), x)
    x[np.arange(14) >= generator.integers(8, 15, (1500, 1))] = 0
    return _divided(x, mood)


@made_once
def pulse(beat: float = 1.0) -> Data:
    """The last 30 readings (30, 1) of a pulse, and the next; `beat`: what all are multiplied by."""
    generator = np.random.default_rng(78)
    phase, period = generator.uniform(0, 6.28, (1500, 1)), generator.uniform(6, 11, (1500, 1))
    time = 2 * np.pi * np.arange(31) / period + phase
    series = np.sin(time) + 0.4 * np.sin(2 * time) + 0.05 * generator.normal(size=time.shape)
    return _divided(beat * series[:, :30, None], beat * series[:, 30:])


@made_once
def strolls() -> Data:
    """Three accelerations (24, 3) of someone who stands, strolls, runs or climbs: which?"""
    generator = np.random.default_rng(79)
    y = generator.integers(0, 4, 1400)
    pace = np.array([0.0, 0.25, 0.5, 0.25])[y][:, None] * generator.uniform(0.9, 1.1, (1400, 1))
    lift = np.array([0.0, 0.0, 0.0, 0.8])[y][:, None]
    time = 2 * np.pi * pace * np.arange(24) + generator.uniform(0, 6.28, (1400, 1))
    size = (pace > 0) * 1.0
    x = np.stack([size * np.sin(time), size * np.cos(time) + lift, 0 * time], -1)
    return _divided(x + 0.4 * generator.normal(size=x.shape), y)


@made_once
def jingles(length: int = 16) -> Data:
    """Notes 1 to 11, each of which follows from the one before, mostly; the next of each; 0 is padding."""
    generator = np.random.default_rng(80)
    table = 1 + generator.permutation(11)
    x = generator.integers(1, 12, (1400, length + 1))
    for place in range(1, length + 1):
        x[:, place] = np.where(generator.random(1400) < 0.85, table[x[:, place - 1] - 1], x[:, place])
    return _divided(x[:, :-1], x[:, 1:])


@functools.cache
def friends() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """300 people: what they say (300, 12), who knows whom, a matrix of means, and their club, of four."""
    generator = torch.Generator().manual_seed(81)
    club = torch.randint(4, (300,), generator=generator)
    said = torch.nn.functional.one_hot(club, 12).float() + 0.8 * torch.randn(300, 12, generator=generator)
    chance = torch.where(club[:, None] == club, 0.06, 0.008)
    known = (torch.rand(300, 300, generator=generator) < chance).float().triu(1)
    known = known + known.T + torch.eye(300)
    return said, known / known.sum(1, keepdim=True), club


@made_once
def guests() -> Data:
    """A guest (0 to 39) and a dish (0 to 24), and how they liked it."""
    generator = np.random.default_rng(82)
    x = np.stack([generator.integers(0, 40, 2400), generator.integers(0, 25, 2400)], 1)
    taste, dish = generator.normal(size=(40, 3)), generator.normal(size=(25, 3))
    y = (taste[x[:, 0]] * dish[x[:, 1]]).sum(1) + dish[x[:, 1], 0] + 0.1 * generator.normal(size=2400)
    return _divided(x, ((y - y.mean()) / y.std())[:, None])


@made_once
def calls() -> Data:
    """Hour, day, rain and staff, and how many calls come: 0 to 30 or so."""
    generator = np.random.default_rng(83)
    x = generator.normal(size=(1500, 4))
    return _divided(
        x, generator.poisson(np.exp(1.2 + 0.7 * x[:, 0] - 0.5 * x[:, 1] * (x[:, 2] > 0))).astype(float)[:, None]
    )


@made_once
def ledgers(share: float = 0.3) -> Data:
    """Ten numbers of an account, and whether it is a swindle: this share of them is."""
    generator = np.random.default_rng(84)
    y = (generator.random(3000) < share).astype(int)
    side = np.sign(generator.normal(size=3000))
    x = generator.normal(size=(3000, 10))
    x[:, 2] += 1.6 * y * side
    x[:, 5] += 1.6 * y * side
    x[:, 7] += 1.0 * y
    return _divided(x, y)


@functools.cache
def rooms() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A house of six rooms in a row: where each of two moves leads, its pay, and whether the walk ends there."""
    then = torch.tensor([[0, 1], [0, 2], [1, 3], [2, 4], [3, 5], [5, 5]])
    pay = torch.zeros(6, 2)
    pay[4, 1] = 1.0
    return then, pay, torch.arange(6) == 5
