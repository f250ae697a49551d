"""Opened (held out until 2026-11-30): what the programs learn from; no other part has any of it.

Real: letters in the fonts that matplotlib ships, its readings of a brain, its list of named colours, the names of
characters in Unicode, and the 1,253 smallest graphs of networkx. Generated, with a structure to be learned: motion,
loads, hearts, pendulums, houses, shapes, ratings, hires, payments, spirals, words of praise, codes and a maze.
"""

import functools
import unicodedata
from pathlib import Path

import numpy as np
import torch

from bench.faults.data import Array, divided, made_once
from bench.faults.run import Data

_divided = functools.partial(divided, seed=5, train=(3, 4))


_FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Italic",
    "STIXGeneral", "STIXGeneralItalic", "STIXGeneralBol", "cmr10", "cmss10", "cmtt10",
)  # fmt: skip


@made_once
def glyphs(letters: str = "AEHKMRSX", size: int = 16) -> Data:
    """Images (1, size, size) from 0 to 1 of letters in twelve fonts, moved and with noise: which letter?"""
    import matplotlib as mpl
    from PIL import Image, ImageDraw, ImageFont

    generator = np.random.default_rng(3)
    images, labels = [], []
    for font in _FONTS:
        path = Path(mpl.get_data_path(), "fonts", "ttf", f"{font}.ttf")
        for label, letter in enumerate(letters):
            for _ in range(160 // len(letters)):
                image = Image.new("L", (size, size))
                place = generator.uniform(1, 4, 2) * size / 16
                drawn = ImageFont.truetype(str(path), int(generator.integers(size * 11 // 16, size * 14 // 16)))
                ImageDraw.Draw(image).text(tuple(place), letter, fill=255, font=drawn, anchor="lt")
                images.append(np.asarray(image, dtype=float) / 255)
                labels.append(label)
    x = np.stack(images)[:, None] + generator.normal(0, 0.05, (len(images), 1, size, size))
    return _divided(x.clip(0, 1), np.array(labels))


@made_once
def colours() -> Data:
    """Red, green and blue from 0 to 1: which of eight hues do people call it?"""
    from matplotlib.colors import XKCD_COLORS, to_rgb

    hues = "green", "blue", "pink", "purple", "brown", "yellow", "red", "orange"
    named = [(to_rgb(code), name.split()[-1].removeprefix("xkcd:")) for name, code in XKCD_COLORS.items()]
    kept = [(colour, hues.index(hue)) for colour, hue in named if hue in hues]
    return _divided(np.array([colour for colour, _ in kept]), np.array([hue for _, hue in kept]))


@made_once
def letter_names(length: int = 20) -> Data:
    """The name of a character without its first word, as 27 symbols, 0 for none: of which of four scripts is it?"""
    scripts = "LATIN", "GREEK", "CYRILLIC", "ARABIC"
    rows, labels = [], []
    for code in range(0x100, 0xFFFF):
        name = unicodedata.name(chr(code), "")
        script, _, rest = name.partition(" ")
        rest = rest.replace("SMALL ", "").replace("CAPITAL ", "").replace("LETTER ", "")
        if script in scripts and rest:
            rows.append([max(ord(sign) - 64, 0) if sign.isalpha() else 0 for sign in rest[:length].ljust(length)])
            labels.append(scripts.index(script))
    return _divided(np.array(rows), np.array(labels))


@made_once
def graphs() -> Data:
    """Adjacency matrices (7, 7) of the graphs of up to seven nodes; how many triangles each has, standardised."""
    import networkx as nx  # type: ignore[import-untyped]

    x = np.zeros((1252, 7, 7))
    for place, graph in enumerate(nx.graph_atlas_g()[1:]):
        x[place, : len(graph), : len(graph)] = nx.to_numpy_array(graph)
    triangles = np.trace(x @ x @ x, axis1=1, axis2=2) / 6
    return _divided(x, ((triangles - triangles.mean()) / triangles.std())[:, None])


@made_once
def brain() -> Data:
    """Twelve readings (12, 4) of four electrodes, standardised, and the next reading of the first."""
    import matplotlib.cbook

    path = Path(str(matplotlib.cbook.get_sample_data("eeg.dat", asfileobj=False)))
    series = np.fromfile(path, float).reshape(-1, 4)
    series = (series - series.mean(0)) / series.std(0)
    cut = np.lib.stride_tricks.sliding_window_view(series, 13, axis=0)
    return _divided(np.moveaxis(cut[..., :12], 1, -1), cut[:, :1, 12])


@made_once
def motion(count: int = 1600, length: int = 40) -> Data:
    """Windows (length, 3) of acceleration, about 10 m/s² downwards: sitting, walking, running or stairs?"""
    generator = np.random.default_rng(11)
    labels = generator.integers(0, 4, count)
    time = np.arange(length) / 20
    pace = np.array([0.3, 1.7, 2.8, 1.4])[labels] * generator.uniform(0.9, 1.1, count)
    strength = np.array([0.1, 1.6, 4.0, 2.0])[labels] * generator.uniform(0.7, 1.3, count)
    phase = 2 * np.pi * (pace[:, None] * time + generator.random((count, 1)))
    slope = np.where(labels == 3, 1.2, 0.0)[:, None]
    axes = [
        strength[:, None] * 0.4 * np.sin(phase + 1) + slope,
        strength[:, None] * 0.3 * np.sin(phase / 2),
        9.8 + strength[:, None] * (np.sin(phase) + 0.4 * np.sin(2 * phase)),
    ]
    return _divided(np.stack(axes, -1) + generator.normal(0, 0.3, (count, length, 3)), labels)


def motion_scaled() -> Data:
    """The same, each axis standardised."""
    made = motion()
    mean, std = made.x.mean((0, 1)), made.x.std((0, 1))
    return made._replace(x=(made.x - mean) / std, test_x=(made.test_x - mean) / std)


@made_once
def load() -> Data:
    """The last 24 hours (24, 1) of a town's load, days, weeks and weather in it; the next hour's. Standardised."""
    generator = np.random.default_rng(12)
    hours = np.arange(2400)
    weather = np.convolve(generator.normal(0, 1, len(hours) + 47), np.ones(48) / 48, "valid")
    series = (
        np.sin(2 * np.pi * (hours - 7) / 24) + 0.5 * np.sin(4 * np.pi * hours / 24) + 3 * weather
        - 0.6 * ((hours // 24) % 7 > 4) + generator.normal(0, 0.15, len(hours))
    )  # fmt: skip
    cut = np.lib.stride_tricks.sliding_window_view((series - series.mean()) / series.std(), 25)
    return _divided(cut[:, :24, None], cut[:, 24:])


@made_once
def hearts() -> Data:
    """One beat of a heart, 64 readings; whether it comes too early and wide, as one in three does."""
    generator = np.random.default_rng(13)
    count = 1500
    labels = (generator.random(count) < 0.33).astype(int)
    time = np.linspace(0, 1, 64)
    early, wide = np.where(labels, -0.06, 0.0), np.where(labels, 1.7, 1.0)
    beat = np.zeros((count, 64))
    for height, place, width in ((0.2, 0.25, 0.04), (-0.25, 0.42, 0.02), (2.0, 0.46, 0.02), (0.5, 0.75, 0.06)):
        at = place + early * (place > 0.3) + generator.normal(0, 0.02, count)
        spread = width * wide * generator.uniform(0.8, 1.2, count)
        size = height * generator.uniform(0.7, 1.3, count)
        beat += size[:, None] * np.exp(-(((time - at[:, None]) / spread[:, None]) ** 2) / 2)
    return _divided(beat + generator.normal(0, 0.1, beat.shape), labels)


@made_once
def pendulum() -> Data:
    """Angle, speed, friction and torque of a pendulum; both numbers a second later, angles beyond a turn among them."""
    generator = np.random.default_rng(14)
    start = generator.uniform(-1, 1, (2500, 4)) * [2.5, 3.0, 0.5, 1.5] + [0, 0, 0.5, 0]
    angle, speed = start[:, 0].copy(), start[:, 1].copy()
    for _ in range(100):
        speed += 0.01 * (-4.0 * np.sin(angle) - start[:, 2] * speed + start[:, 3])
        angle += 0.01 * speed
    return _divided(start, np.stack([angle, speed], 1))


@made_once
def houses(raw: bool = False) -> Data:
    """Area, rooms, year, distance and income about; the price. Raw: in feet, years, metres and dollars."""
    generator = np.random.default_rng(15)
    count = 2400
    area = generator.gamma(6, 300, count)
    rooms = (area / 450 + generator.normal(0, 0.7, count)).round().clip(1)
    year = generator.uniform(1900, 2020, count).round()
    distance = generator.gamma(2, 4000, count)
    income = generator.lognormal(10.9, 0.4, count)
    price = (
        area * 120 * (1 + 1.2 * np.exp(-distance / 5000)) + 12000 * rooms + 1.6 * income
        + 60000 * ((year - 1960) / 60) ** 2 + generator.normal(0, 15000, count)
    )  # fmt: skip
    x, y = np.stack([area, rooms, year, distance, income], 1), price[:, None]
    return _divided(x, y) if raw else _divided((x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std())


@made_once
def shapes() -> Data:
    """Noisy images (1, 16, 16) of a disc, a square or a triangle; the mask of the shape."""
    x, masks, _, _ = _drawn_shapes()
    return _divided(x, masks)


@made_once
def shape_kinds() -> Data:
    """The same images; which shape it is."""
    x, _, kinds, _ = _drawn_shapes()
    return _divided(x, kinds)


@made_once
def shape_boxes() -> Data:
    """The same images; the middle and half the width of the shape, in pixels from the image's middle."""
    x, _, _, boxes = _drawn_shapes()
    return _divided(x, boxes)


def _drawn_shapes() -> tuple[Array, Array, Array, Array]:
    generator = np.random.default_rng(16)
    count = 1400
    rows, columns = np.mgrid[0:16, 0:16]
    kinds = generator.integers(0, 3, count)
    half = generator.uniform(3, 5, count)
    middle = generator.uniform(5, 11, (count, 2))
    down, right = (part[None] - middle[:, place, None, None] for place, part in enumerate((rows, columns)))
    wide = half[:, None, None]
    inside = np.stack([
        down**2 + right**2 < wide**2,
        np.maximum(abs(down), abs(right)) < 0.85 * wide,
        (down < wide) & (abs(right) < (down + wide) / 2),
    ])  # fmt: skip
    masks = inside[kinds, np.arange(count)].astype(float)
    x = masks * generator.uniform(0.6, 1.4, (count, 1, 1)) + generator.normal(0, 0.25, masks.shape)
    return x[:, None], masks[:, None], kinds, np.concatenate([middle - 8, half[:, None]], 1)


@made_once
def ratings() -> Data:
    """Pairs of one of 60 viewers and one of 40 films; the rating, about zero, of tastes in three directions."""
    generator = np.random.default_rng(17)
    people, films = generator.normal(0, 1, (60, 3)), generator.normal(0, 1, (40, 3))
    whole = people @ films.T + generator.normal(0, 0.5, (60, 1)) + generator.normal(0, 0.5, (1, 40))
    pairs = np.stack(np.meshgrid(np.arange(60), np.arange(40), indexing="ij"), -1).reshape(-1, 2)
    noise = generator.normal(0, 0.3, len(pairs))
    return _divided(pairs, ((whole[pairs[:, 0], pairs[:, 1]] + noise) / 1.9)[:, None])


@made_once
def hires(mean: float = 0.5) -> Data:
    """Hour, weekday, warmth and rain, as eight numbers; how many bicycles are hired at a stand."""
    generator = np.random.default_rng(18)
    count = 2400
    hour, day = generator.integers(0, 24, count), generator.integers(0, 7, count)
    warmth, rain = generator.normal(0, 1, count), (generator.random(count) < 0.25).astype(float)
    busy = np.exp(-((hour - 8) ** 2) / 6) + np.exp(-((hour - 17) ** 2) / 8)
    rate = np.exp(1.5 * busy * np.where(day < 5, 1.0, 0.3) + 0.4 * warmth - 1.2 * rain)
    angle = 2 * np.pi * hour / 24
    parts = [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle), day / 3 - 1, day > 4, warmth, rain]
    counts = generator.poisson(rate * mean / rate.mean())
    return _divided(np.stack(parts, 1).astype(float), counts[:, None].astype(float))


@made_once
def payments(share: float = 0.5) -> Data:
    """Ten numbers of a payment, of which those of a fraud lie in a shell about the others; a share of them is fraud."""
    generator = np.random.default_rng(19)
    count = 3000
    fraud = (generator.random(count) < share).astype(int)
    hidden = generator.normal(0, 1, (count, 4))
    norm = np.linalg.norm(hidden, axis=1, keepdims=True)
    hidden = np.where(fraud[:, None], hidden / norm * generator.uniform(2.2, 3.5, (count, 1)), 0.7 * hidden)
    mixed = np.concatenate([hidden @ generator.normal(0, 0.6, (4, 6)), hidden], 1)
    return _divided(mixed + generator.normal(0, 0.1, mixed.shape), fraud)


@made_once
def spirals() -> Data:
    """Points of three arms of a spiral, within 1 of the middle."""
    generator = np.random.default_rng(20)
    labels = np.repeat(np.arange(3), 700)
    far = generator.uniform(0.1, 1, len(labels))
    angle = 5 * far + 2 * np.pi * labels / 3 + generator.normal(0, 0.12, len(labels))
    return _divided(far[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1), labels)


@made_once
def reviews() -> Data:
    """Reviews of up to nine of 41 words, 0 for none, in 30 places: is it praise? "not" turns what follows."""
    generator = np.random.default_rng(21)
    rows, labels = np.zeros((2400, 30), int), np.zeros(2400, int)
    for row in range(len(rows)):
        words, score = list[int](), 0
        while len(words) < 6 or score == 0:
            if generator.random() < 0.5:
                word = int(generator.integers(1, 21))
                turned = generator.random() < 0.3
                score += (1 if word <= 10 else -1) * (-1 if turned else 1)
                words += [41, word] if turned else [word]
            else:
                words.append(int(generator.integers(21, 41)))
            if len(words) > 9:
                words, score = [], 0
        rows[row, : len(words)] = words
        labels[row] = score > 0
    return _divided(rows, labels)


@made_once
def recall(length: int = 12) -> Data:
    """Sequences of eight symbols: which was the first?"""
    x = np.random.default_rng(22).integers(0, 8, (3000, length))
    return _divided(x, x[:, 0].copy())


@made_once
def codes() -> Data:
    """Twelve digits, each the one before plus a step that the sequence has; the next digit at each place."""
    generator = np.random.default_rng(23)
    start, step = generator.integers(0, 10, (2, 2400, 1))
    whole = (start + step * np.arange(13)) % 10
    return _divided(whole[:, :12], whole[:, 1:])


def maze() -> tuple[torch.Tensor, ...]:
    """All moves in a room of 5 by 5: the place (one-hot), the move, its reward of -1, the next place, and the end."""
    rows = []
    for place in range(24):
        for move, (down, right) in enumerate(((-1, 0), (1, 0), (0, -1), (0, 1))):
            row, col = min(max(place // 5 + down, 0), 4), min(max(place % 5 + right, 0), 4)
            rows.append((place, move, row * 5 + col))
    now, move, then = torch.tensor(rows).T
    eye = torch.eye(25)
    return eye[now], move, -torch.ones(len(now)), eye[then], (then == 24).float()


def ways(values: torch.Tensor) -> float:
    """The share of places in the maze whose best move leads closer to the end, above that of a random one."""
    best = values[:24].argmax(1)
    row, col = torch.arange(24) // 5, torch.arange(24) % 5
    right = ((best == 1) & (row < 4)) | ((best == 3) & (col < 4))
    return float((right.float().mean() - 0.42) / 0.58)
