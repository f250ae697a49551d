"""Tasks of the third part (held out until 2026-11-30).

Data that installed packages ship (letters in matplotlib's fonts, names of colours and of Unicode's characters, an
electroencephalogram), and data that is made: sums to keep in mind, tokens to turn round, spirals, heat, ratings.
"""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch

from bench.zoo.data_task import Array, Task, split, split_task

__all__ = ["THIRD_TASKS"]

_LETTERS: Final = "aegkmrsx"
_SIGNS: Final = " abcdefghijklmnopqrstuvwxyz-'/"


def glyphs() -> Task:
    """Grey images (1, 12, 12) of eight letters in a dozen and a half of fonts: which letter is it?"""
    import matplotlib as mpl
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    paths = sorted(
        path
        for pattern in ("DejaVuSans*.ttf", "DejaVuSerif*.ttf", "STIXGeneral*.ttf", "cm[rst][1st]*.ttf")
        for path in folder.glob(pattern)
        if "Display" not in path.name
    )
    generator = np.random.default_rng(0)
    images, labels = [], []
    for path in paths:
        for size in (9, 11):
            font = ImageFont.truetype(str(path), size)
            for label, letter in enumerate(_LETTERS):
                for _ in range(5):
                    image = Image.new("L", (12, 12))
                    across, down = generator.uniform(5.0, 7.0, 2)
                    ImageDraw.Draw(image).text((float(across), float(down)), letter, fill=255, font=font, anchor="mm")
                    images.append(np.asarray(image, dtype=float) / 255.0)
                    labels.append(label)
    return split_task("classes", np.stack(images)[:, None], np.array(labels), len(_LETTERS), 0.6, scale="all")


def _discs() -> tuple[Array, Array, Array]:
    generator = np.random.default_rng(1)
    count, side = 900, 16
    where = np.column_stack([generator.uniform(4, 12, (count, 2)), generator.uniform(2, 5, (count, 2))])
    rows, columns = np.mgrid[:side, :side]
    inside = (
        ((rows - where[:, 0, None, None]) / where[:, 2, None, None]) ** 2
        + ((columns - where[:, 1, None, None]) / where[:, 3, None, None]) ** 2
    ) < 1.0
    light = generator.uniform(1.0, 2.0, (count, 1, 1))
    return inside * light + 0.4 * generator.normal(size=inside.shape), inside.astype(int), where


def areas() -> Task:
    """Noisy images (1, 16, 16) of a light ellipse: which pixels belong to it?"""
    x, inside, _ = _discs()
    return split_task("classes", x[:, None], inside, 2, 0.7, scale="all")


def boxes() -> Task:
    """The same images: the ellipse's centre and half axes, in pixels over four."""
    x, _, where = _discs()
    return split_task("numbers", x[:, None], where / 4.0 - np.array([2.0, 2.0, 0.0, 0.0]), 4, 0.6, scale="all")


def _tokens(texts: list[str], length: int) -> Array:
    places = {sign: place for place, sign in enumerate(_SIGNS, 2)}
    return np.array([[places.get(sign, 1) for sign in text[:length]] + [0] * (length - len(text)) for text in texts])


def _sequences(kind: str, x: Array, y: Array, inputs: int, outputs: int, good: float) -> Task:
    train_x, train_y, test_x, test_y = (torch.from_numpy(np.ascontiguousarray(part)) for part in split(x, y))
    if kind == "numbers":
        train_y, test_y = train_y.float(), test_y.float()
    return Task(kind, (train_x, train_y), (test_x, test_y), inputs, outputs, good)


def scripts() -> Task:
    """Names of characters in Unicode without their script, as 24 signs: is it Greek, Cyrillic, Arabic or Cherokee?"""
    texts, labels = [], []
    for label, script in enumerate(("GREEK", "CYRILLIC", "ARABIC", "CHEROKEE")):
        names = [unicodedata.name(chr(code), "") for code in range(0xFFFF)]
        chosen = [name for name in names if name.startswith(script + " ")][:350]
        texts += [name.removeprefix(script + " ").lower().replace("letter ", "") for name in chosen]
        labels += [label] * len(chosen)
    return _sequences("classes", _tokens(texts, 24), np.array(labels), len(_SIGNS) + 2, 4, 0.5)


def colour_names() -> Task:
    """Names of 949 colours: the next sign at each of 16 places, blanks after the end."""
    from matplotlib.colors import XKCD_COLORS

    x = _tokens([name.removeprefix("xkcd:") for name in sorted(XKCD_COLORS)], 17)
    return _sequences("classes", x[:, :-1], x[:, 1:], len(_SIGNS) + 2, len(_SIGNS) + 2, 0.2)


def colours() -> Task:
    """The same names as 20 signs: the colour's red, green and blue, standardised."""
    from matplotlib.colors import XKCD_COLORS, to_rgb

    names = sorted(XKCD_COLORS)
    y = np.array([to_rgb(XKCD_COLORS[name]) for name in names])
    x = _tokens([name.removeprefix("xkcd:") for name in names], 20)
    return _sequences("numbers", x, (y - y.mean(0)) / y.std(0), len(_SIGNS) + 2, 3, 0.25)


def waves() -> Task:
    """Sixteen values of an electroencephalogram in four places, and the next of each."""
    import matplotlib.cbook

    path = str(matplotlib.cbook.get_sample_data("eeg.dat", asfileobj=False))
    series = np.fromfile(path, float).reshape(-1, 4)
    cut = np.lib.stride_tricks.sliding_window_view((series - series.mean(0)) / series.std(0), 17, axis=0)
    cut = cut.transpose(0, 2, 1)
    task = split_task("numbers", cut[:, :-1], cut[:, -1], 4, 0.5)
    return Task("numbers", task.train, task.test, 4, 4, 0.5)


def adding() -> Task:
    """Sequences (16, 2) of numbers of which two are marked: their sum."""
    generator = np.random.default_rng(2)
    x = np.zeros((2400, 16, 2))
    x[..., 0] = generator.uniform(-1.0, 1.0, (2400, 16))
    marked = np.stack([generator.integers(0, 8, 2400), generator.integers(8, 16, 2400)], 1)
    np.put_along_axis(x[..., 1], marked, 1.0, 1)
    y = np.take_along_axis(x[..., 0], marked, 1).sum(1, keepdims=True)
    task = split_task("numbers", x, y, 1, 0.5)
    return Task("numbers", task.train, task.test, 2, 1, 0.5)


def turned() -> Task:
    """Eight tokens of twelve, to be given back from the last to the first."""
    x = np.random.default_rng(3).integers(0, 12, (2000, 8))
    return _sequences("classes", x, x[:, ::-1], 12, 12, 0.6)


def friedman() -> Task:
    """Friedman's first problem: ten features, of which five matter."""
    import sklearn.datasets

    x, y = sklearn.datasets.make_friedman1(1500, noise=0.5, random_state=0)
    return split_task("numbers", x, ((y - y.mean()) / y.std())[:, None], 1, 0.7, scale="each")


def spirals() -> Task:
    """Points on three arms of a spiral: which arm?"""
    generator = np.random.default_rng(4)
    label = np.arange(1500) % 3
    turn = generator.uniform(0.1, 1.0, 1500)
    angle = 5.0 * turn + 2.0 * np.pi * label / 3.0
    x = 2.0 * turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return split_task("classes", x + 0.05 * generator.normal(size=x.shape), label, 3, 0.5, scale="each")


def heat() -> Task:
    """Temperatures at 32 places of a ring, and a little later: drifted, diffused and cooled."""
    generator = np.random.default_rng(5)
    place = np.arange(32) * 2.0 * np.pi / 32.0
    waves = np.arange(1, 6)
    size, phase = generator.normal(size=(1200, 5)), generator.uniform(0.0, 2.0 * np.pi, (1200, 5))
    before = (size[..., None] * np.cos(waves[:, None] * place + phase[..., None])).sum(1)
    faded = size * np.exp(-0.03 * waves**2)
    after = (faded[..., None] * np.cos(waves[:, None] * (place - 0.7) + phase[..., None])).sum(1)
    return split_task("numbers", before / 1.6, np.tanh(after), 32, 0.6)


def ratings() -> Task:
    """Pairs of one of 80 people and one of 60 films: what does she give it?"""
    generator = np.random.default_rng(6)
    people, films = generator.normal(size=(80, 3)), generator.normal(size=(60, 3))
    all_of = people @ films.T / 1.7 + 0.7 * generator.normal(size=(1, 60))
    pairs = np.stack(np.meshgrid(np.arange(80), np.arange(60), indexing="ij"), -1).reshape(-1, 2)
    y = all_of.reshape(-1, 1) + 0.2 * generator.normal(size=(4800, 1))
    return _sequences("numbers", pairs, y, 80, 1, 0.5)


#: By name: what makes each task.
THIRD_TASKS: Final[dict[str, Callable[[], Task]]] = {
    make.__name__: make
    for make in (
        glyphs, areas, boxes, scripts, colour_names, colours, waves, adding, turned, friedman, spirals, heat, ratings,
    )
}  # fmt: skip
