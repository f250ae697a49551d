"""Opened (held out until 2026-11-30): what the programs learn from; no other part has any of it.

Made by scikit-learn's generators, or here: vectors, series, tones, bars, lines, Roman numerals, votes, rides, spectra,
and a walk along a chain.
"""

import functools

import numpy as np
import torch

from bench.faults.data import divided, made_once
from bench.faults.run import Data

_divided = functools.partial(divided, seed=101, train=(2, 3))


@made_once
def moons(noise: float = 0.15) -> Data:
    """Points of two half moons, and which moon."""
    from sklearn.datasets import make_moons

    x, y = make_moons(1500, noise=noise, random_state=31)
    return _divided((x - x.mean(0)) / x.std(0), y)


@made_once
def rings() -> Data:
    """Points of two rings, one within the other, and which ring."""
    from sklearn.datasets import make_circles

    x, y = make_circles(1500, noise=0.08, factor=0.5, random_state=32)
    return _divided(x, y)


@made_once
def second_largest() -> Data:
    """Five numbers from 0 to 1, and the second largest of them, as a flat list."""
    x = np.random.default_rng(33).random((2400, 5))
    return _divided(x, np.sort(x, 1)[:, -2])


@made_once
def powers(scaled: bool = True) -> Data:
    """A number from -100 to 100 and its fourth power; scaled: from -1 to 1, and a power from 0 to 1."""
    x = np.random.default_rng(34).uniform(-100, 100, (1500, 1))
    return _divided(x / 100, (x / 100) ** 4) if scaled else _divided(x, x**4)


@made_once
def prices(scaled: bool = True) -> Data:
    """The last 20 prices (20, 1) of a share that swings, and the next; unscaled: about 3,000."""
    generator = np.random.default_rng(35)
    days = np.arange(1600)
    series = np.sin(days / 9) + 0.5 * np.sin(days / 23 + 1) + generator.normal(0, 0.1, len(days))
    cut = np.lib.stride_tricks.sliding_window_view(series if scaled else 3000 + 400 * series, 21)
    return _divided(cut[:, :20, None], cut[:, 20:])


@made_once
def tones() -> Data:
    """Signals (1, 64) of one of five pitches, with noise: which pitch?"""
    generator = np.random.default_rng(36)
    y = generator.integers(0, 5, 1500)
    turns = np.array([3, 5, 8, 12, 17])[y] * generator.uniform(0.95, 1.05, len(y))
    phase = 2 * np.pi * (turns[:, None] * np.linspace(0, 1, 64) + generator.random((len(y), 1)))
    x = generator.uniform(0.5, 1.5, (len(y), 1)) * np.sin(phase) + generator.normal(0, 0.3, (len(y), 64))
    return _divided(x[:, None], y)


@made_once
def spectra() -> Data:
    """Levels of 24 bands in decibels, from -80 to 0, of one of four instruments: which?"""
    generator = np.random.default_rng(37)
    y = generator.integers(0, 4, 1500)
    peaks = np.array([[3, 9], [5, 14], [7, 19], [4, 17]])[y] + generator.normal(0, 0.5, (len(y), 2))
    near = np.exp(-((np.arange(24) - peaks[..., None]) ** 2) / 4).sum(1)
    return _divided((-70 + 55 * near + generator.normal(0, 6, near.shape)).clip(-80, 0), y)


@made_once
def bars(channels: int = 1) -> Data:
    """Images (channels, 12, 12) from 0 to 1 of a bar that lies in one of four directions: which?"""
    generator = np.random.default_rng(38)
    y = generator.integers(0, 4, 1500)
    rows, columns = np.mgrid[0:12, 0:12] - 5.5
    angle = np.pi * y / 4 + generator.normal(0, 0.08, len(y))
    away = generator.uniform(-2, 2, len(y))[:, None, None]
    across = rows * np.cos(angle)[:, None, None] - columns * np.sin(angle)[:, None, None] - away
    x = 0.75 * (abs(across) < 1.2) + generator.uniform(0, 0.25, across.shape)
    light = generator.uniform(0.6, 1, (len(y), channels, 1, 1))
    return _divided(x[:, None] * light, y)


@made_once
def lines() -> Data:
    """Images (1, 16, 16) of a thin bright line over noise, and a mask of it: one pixel in twenty or so."""
    generator = np.random.default_rng(39)
    count = 900
    rows, columns = np.mgrid[0:16, 0:16] - 7.5
    angle, away = generator.uniform(0, np.pi, count), generator.uniform(-5, 5, count)
    across = rows * np.cos(angle)[:, None, None] - columns * np.sin(angle)[:, None, None] - away[:, None, None]
    along = rows * np.sin(angle)[:, None, None] + columns * np.cos(angle)[:, None, None]
    mask = ((abs(across) < 0.7) & (abs(along) < 5)).astype(float)
    return _divided((mask + generator.normal(0, 0.35, mask.shape))[:, None], mask[:, None])


@made_once
def numerals() -> Data:
    """Roman numerals up to 399 as 12 symbols, 0 for none, behind; the number, standardised."""
    signs = ((100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))
    rows = np.zeros((399, 12), int)
    for number in range(1, 400):
        rest, text = number, ""
        for worth, sign in signs:
            text += sign * (rest // worth)
            rest %= worth
        rows[number - 1, : len(text)] = ["IVXLC".index(sign) + 1 for sign in text]
    values = (np.arange(1, 400) - 200) / 115
    return _divided(rows, values[:, None])


@made_once
def votes(length: int = 16) -> Data:
    """Sequences of the symbols 1 to 3: which is the most frequent? None are tied."""
    generator = np.random.default_rng(40)
    x = generator.integers(1, 4, (4000, length))
    counts = (x[..., None] == np.arange(1, 4)).sum(1)
    ordered = np.sort(counts, 1)
    clear = ordered[:, 2] > ordered[:, 1]
    return _divided(x[clear], counts[clear].argmax(1))


@made_once
def translated(length: int = 16) -> Data:
    """Two to four symbols of 1 to 8, 0 behind them up to `length`; each has another in their place, 0 stays."""
    generator = np.random.default_rng(41)
    words = generator.integers(1, 9, (1800, length))
    words[np.arange(length) >= generator.integers(2, 5, (1800, 1))] = 0
    return _divided(words, np.array([0, 5, 3, 8, 1, 7, 2, 4, 6])[words])


@made_once
def rides(raw: bool = False) -> Data:
    """Kilometres, passengers, degrees and the time of a ride, and its fare; raw: the time in seconds since 1970."""
    generator = np.random.default_rng(42)
    count = 1800
    far, people = generator.gamma(2, 3, count), generator.integers(1, 6, count)
    warm, time = generator.normal(14, 8, count), generator.uniform(1.6e9, 1.7e9, count)
    fare = 3 + 2.2 * far + 0.4 * people + 4 * np.exp(-(((far - 8) / 3) ** 2)) + generator.normal(0, 0.7, count)
    x = np.stack([far, people, warm, time], 1)
    y = ((fare - fare.mean()) / fare.std())[:, None]
    return _divided(x if raw else (x - x.mean(0)) / x.std(0), y)


@made_once
def circuits(raw: bool = False) -> Data:
    """Friedman's second problem: four features of a circuit, from hundredths to hundreds; its impedance."""
    from sklearn.datasets import make_friedman2

    x, y = make_friedman2(1800, noise=20, random_state=43)
    return _divided(x, y[:, None]) if raw else _divided((x - x.mean(0)) / x.std(0), ((y - y.mean()) / y.std())[:, None])


@made_once
def patients(share: float = 0.5) -> Data:
    """Fourteen findings about a patient, standardised; whether he is ill, as a share of them is."""
    from sklearn.datasets import make_classification

    x, y = make_classification(
        2400, 14, n_informative=6, n_redundant=2, n_clusters_per_class=2, weights=[1 - share], flip_y=0.0,
        class_sep=1.2, random_state=44,
    )  # fmt: skip
    return _divided((x - x.mean(0)) / x.std(0), y)


@made_once
def topics() -> Data:
    """How often 24 words are in a text, as logarithms, and which of six topics it has: two or so."""
    from sklearn.datasets import make_multilabel_classification

    x, y = make_multilabel_classification(1800, 24, n_classes=6, n_labels=2, random_state=45)
    x = np.log1p(x)
    return _divided((x - x.mean(0)) / x.std(0), y.astype(float))


@made_once
def roll() -> Data:
    """Points of a rolled sheet, and where on the sheet they are; all standardised."""
    from sklearn.datasets import make_swiss_roll

    x, y = make_swiss_roll(1800, noise=0.3, random_state=46)
    return _divided((x - x.mean(0)) / x.std(0), ((y - y.mean()) / y.std())[:, None])


@made_once
def shells() -> Data:
    """Points in four dimensions, in one of five shells about the middle."""
    from sklearn.datasets import make_gaussian_quantiles

    x, y = make_gaussian_quantiles(n_samples=2400, n_features=4, n_classes=5, random_state=47)
    return _divided(x, y)


@made_once
def headings() -> Data:
    """Eight noisy readings of a compass, and the heading as a unit vector."""
    generator = np.random.default_rng(48)
    angle = generator.uniform(-np.pi, np.pi, 1800)
    places = 2 * np.pi * np.arange(8) / 8
    x = np.maximum(np.cos(angle[:, None] - places), 0) + generator.normal(0, 0.05, (len(angle), 8))
    return _divided(x, np.stack([np.cos(angle), np.sin(angle)], 1))


def chain(length: int = 8) -> tuple[torch.Tensor, ...]:
    """All steps along a chain: states one-hot, moves (0 back, 1 on), rewards, next states, ends; 1 at the far end."""
    now, move, then = (torch.zeros(2 * length - 2, dtype=torch.int64) for _ in range(3))
    for place in range(length - 1):
        for way in (0, 1):
            row = 2 * place + way
            now[row], move[row], then[row] = place, way, max(place - 1, 0) if way == 0 else place + 1
    end = (then == length - 1).float()
    eye = torch.eye(length)
    return eye[now], move, end.clone(), eye[then], end


def goes_on(values: torch.Tensor) -> float:
    """Twice the share of places of a chain from which it goes on, less one; and how right the values are, at 0.9."""
    if not bool(torch.isfinite(values).all()):
        return -1.0
    right = 0.9 ** torch.arange(len(values) - 2, -1, -1)
    best = values[:-1].max(1).values
    near = 1 - float((best - right).abs().mean() / (right - right.mean()).abs().mean())
    return min(2 * float((values[:-1, 1] > values[:-1, 0]).float().mean()) - 1, near)
