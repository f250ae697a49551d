"""The data of the drawn trainings: what scikit-learn ships, text that Python ships, and what is made here."""

import functools
from collections.abc import Callable
from typing import Final

import numpy as np

from bench.sound.task import Array, Form, Goal, Source
from bench.zoo.data_task import source_of

__all__ = ["SOURCES"]

Made = tuple[tuple[Array, ...], Array]


def _random() -> np.random.Generator:
    return np.random.default_rng(11)


def _shipped(name: str, shape: tuple[int, ...] = ()) -> Made:
    import sklearn.datasets

    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    return (x.reshape(len(x), *shape) if shape else x,), y


def _digit_pairs() -> Made:
    """Two views of each image: moved by a pixel, and with noise."""
    random, (x, y) = _random(), _shipped("digits", (1, 8, 8))
    views = [
        np.stack([np.roll(each, random.integers(-1, 2, 2), (1, 2)) for each in x[0]])
        + random.normal(0, 1.0, x[0].shape)
        for _ in range(2)
    ]
    return tuple(views), y


def _photographs() -> Made:
    """Patches of two photographs, and which of both each is from."""
    import sklearn.datasets

    random, patches, labels = _random(), [], []
    for label, image in enumerate(sklearn.datasets.load_sample_images().images):
        for _ in range(700):
            top, left = random.integers(0, image.shape[0] - 16), random.integers(0, image.shape[1] - 16)
            patches.append(image[top : top + 16, left : left + 16].transpose(2, 0, 1))
            labels.append(label)
    return (np.stack(patches).astype(float),), np.array(labels)


def _generated(name: str, **how: object) -> Made:
    import sklearn.datasets

    x, y = getattr(sklearn.datasets, f"make_{name}")(random_state=11, **how)
    return (x,), y


def _spirals() -> Made:
    random = _random()
    label = random.integers(0, 3, 1500)
    far = random.uniform(0.1, 1.0, 1500)
    turn = far * 4.0 + label * 2.0 * np.pi / 3.0 + random.normal(0, 0.1, 1500)
    return (np.stack([far * np.cos(turn), far * np.sin(turn)], 1),), label


def _waves() -> Made:
    """Three numbers of ten."""
    x = _random().normal(0, 1, (1600, 10))
    y = np.stack([np.sin(x[:, 0] * 2) + x[:, 1], x[:, 2] * x[:, 3], np.abs(x[:, 4]) + x[:, 5:].mean(1)], 1)
    return (x,), y


def _counts() -> Made:
    random = _random()
    x = random.normal(0, 1, (1600, 8))
    return (x,), random.poisson(np.exp(0.7 * x[:, 0] + 0.5 * x[:, 1] * (x[:, 2] > 0) + 0.8))[:, None]


def _rare(classes: int) -> Made:
    """Classes of which the last has one in twenty samples."""
    random = _random()
    share = np.full(classes, 0.95 / (classes - 1))
    share[-1] = 0.05
    label = random.choice(classes, 2000, p=share)
    x = random.normal(0, 2.0, (classes, 12))[label] + random.normal(0, 1.2, (2000, 12))
    return (x,), label


def _shapes(goal: str) -> Made:
    """Images of 12 by 12: a bar lying, a bar standing, a cross, or a frame; or where a spot is."""
    random = _random()
    x = random.normal(0, 0.3, (1600, 1, 12, 12))
    kind = random.integers(0, 4, 1600)
    at = random.integers(3, 9, (1600, 2))
    for image, which, (row, column) in zip(x[:, 0], kind, at, strict=True):
        if goal == "where":
            image[row - 1 : row + 2, column - 1 : column + 2] += 2.0
            continue
        if which in (0, 2):
            image[row, column - 3 : column + 4] += 1.5
        if which in (1, 2):
            image[row - 3 : row + 4, column] += 1.5
        if which == 3:
            image[row - 2 : row + 3, column - 2 : column + 3] += 1.5
            image[row - 1 : row + 2, column - 1 : column + 2] -= 1.5
    return (x,), at.astype(float) if goal == "where" else kind


def _tones() -> Made:
    """Four frequencies in three channels, with noise; 24 steps."""
    random = _random()
    kind = random.integers(0, 4, 1500)
    time = np.arange(24)
    phase = random.uniform(0, 6.28, (1500, 3, 1))
    x = np.sin(phase + time * (0.3 + 0.35 * kind[:, None, None])) + random.normal(0, 0.4, (1500, 3, 24))
    return (x.transpose(0, 2, 1),), kind


def _forecast() -> Made:
    """The next number of a sum of two sines."""
    random = _random()
    time = np.arange(21)
    rate = random.uniform(0.2, 0.7, (1500, 2, 1))
    x = (np.sin(random.uniform(0, 6.28, (1500, 2, 1)) + time * rate)).sum(1) + random.normal(0, 0.05, (1500, 21))
    return (x[:, :20, None],), x[:, 20:]


def _walks() -> Made:
    """The sum of 16 steps of which a second feature says which count."""
    random = _random()
    steps, gates = random.normal(0, 1, (1600, 16)), random.integers(0, 2, (1600, 16))
    return (np.stack([steps, gates], 2),), (steps * gates).sum(1, keepdims=True)


def _words(goal: str) -> Made:
    """Sentences of 14 of 60 words, some of which speak for a class, or for one of five labels."""
    random = _random()
    x = random.integers(0, 60, (1800, 14))
    if goal == "labels":
        return (x,), np.stack([(x // 4 == each).any(1) for each in range(5)], 1).astype(float)
    if goal == "number":
        return (x,), random.normal(0, 1, 60)[x].mean(1, keepdims=True)
    return (x,), (random.normal(0, 1, (60, 3))[x].mean(1)).argmax(1)


def _columns() -> Made:
    """Six columns of categories, 20 to a column, that add up to one of two answers."""
    random = _random()
    x = random.integers(0, 20, (2000, 6))
    worth = random.normal(0, 1, (6, 20))
    score = worth[np.arange(6), x].sum(1) + worth[0, x[:, 0]] * worth[1, x[:, 1]]
    return (x + 20 * np.arange(6),), (score > np.median(score)).astype(float)


def _text() -> Made:
    """Windows of 24 characters of Python's library, and the character after each."""
    text = source_of("textwrap", "shlex", "fnmatch", "heapq", "bisect")
    letters = sorted(set(text))
    codes = np.array([letters.index(each) for each in text])
    starts = _random().integers(0, len(codes) - 25, 2400)
    return (codes[starts[:, None] + np.arange(24)],), codes[starts[:, None] + np.arange(1, 25)]


def _chain() -> Made:
    """A Markov chain over 12 symbols in which two symbols decide the next, nine times in ten."""
    random = _random()
    table = random.integers(0, 12, (12, 12))
    x = random.integers(0, 12, (1800, 21))
    for step in range(2, 21):
        kept = random.random(1800) < 0.9
        x[kept, step] = table[x[kept, step - 1], x[kept, step - 2] % 3]
    return (x[:, :20],), x[:, 1:]


def _clouds(goal: str) -> Made:
    """Sets of 10 members of 4 numbers: which of three shapes they were drawn from, or how far they spread."""
    random = _random()
    kind, spread = random.integers(0, 3, 1500), random.uniform(0.5, 2.0, (1500, 1))
    x = random.normal(0, 1, (1500, 10, 4))
    if goal == "spread":
        return (x * spread[:, :, None] + random.normal(0, 0.5, (1500, 1, 4)),), spread
    x[kind == 1] = np.sign(x[kind == 1]) * 1.2 + 0.3 * x[kind == 1]
    x[kind == 2] = np.abs(x[kind == 2]) - 0.5
    return (x,), kind


def _graphs(goal: str) -> Made:
    """Graphs of 12 nodes: a ring, a star, or two cliques; or of each node the mean of its neighbours' first number."""
    random = _random()
    kind = random.integers(0, 3, 1200)
    near = np.zeros((1200, 12, 12))
    ring = np.roll(np.eye(12), 1, 0)
    star = np.zeros((12, 12))
    star[0] = star[:, 0] = 1.0
    cliques = np.kron(np.eye(2), np.ones((6, 6)))
    for each, which in zip(near, kind, strict=True):
        order = random.permutation(12)
        noise = random.random((12, 12)) < 0.04
        edges = np.maximum((ring + ring.T, star, cliques)[which], np.maximum(noise, noise.T))
        each[:] = edges[order][:, order]
    near[:, np.arange(12), np.arange(12)] = 0.0
    x = random.normal(0, 1, (1200, 12, 4))
    many = near.sum(2, keepdims=True)
    if goal == "nodes":
        return (x, near), (near @ x[:, :, :1] / np.maximum(many, 1.0))[:, :, 0]
    x[:, :, :1] = many / 4.0
    return (x, near), kind


def _source(form: Form, goal: Goal, bar: float, make: Callable[..., Made], *words: object, **how: object) -> Source:
    @functools.cache
    def made() -> Made:
        return make(*words, **how)

    return Source(form, goal, made, bar)


#: By name. The bars were stated before any training was judged: well above half of what good trainings reach.
SOURCES: Final[dict[str, Source]] = {
    "digits": _source("table", "classes", 0.6, _shipped, "digits"),
    "wine": _source("table", "classes", 0.6, _shipped, "wine"),
    "iris": _source("table", "classes", 0.6, _shipped, "iris"),
    "breast cancer": _source("table", "binary", 0.6, _shipped, "breast_cancer"),
    "diabetes": _source("table", "numbers", 0.3, _shipped, "diabetes"),
    "digit images": _source("image", "classes", 0.6, _shipped, "digits", (1, 8, 8)),
    "digit rows": _source("sequence", "classes", 0.6, _shipped, "digits", (8, 8)),
    "digit copies": _source("table", "copy", 0.4, _shipped, "digits"),
    "digit image copies": _source("image", "copy", 0.4, _shipped, "digits", (1, 8, 8)),
    "digit pairs": _source("image", "pair", 0.4, _digit_pairs),
    "photographs": _source("image", "classes", 0.5, _photographs),
    "blobs": _source(
        "table", "classes", 0.6, _generated, "blobs", n_samples=1500, centers=6, n_features=8, cluster_std=3.0
    ),
    "moons": _source("table", "binary", 0.6, _generated, "moons", n_samples=1200, noise=0.15),
    "circles": _source("table", "classes", 0.6, _generated, "circles", n_samples=1200, noise=0.1, factor=0.5),
    "spirals": _source("table", "classes", 0.5, _spirals),
    "classification": _source(
        "table", "classes", 0.5, _generated, "classification", n_samples=1500, n_informative=8, n_classes=4
    ),
    "friedman": _source("table", "numbers", 0.5, _generated, "friedman1", n_samples=1500, noise=0.5),
    "friedman ratio": _source("table", "numbers", 0.5, _generated, "friedman2", n_samples=1500),
    "linear": _source("table", "numbers", 0.6, _generated, "regression", n_samples=1200, n_features=20, noise=5.0),
    "waves": _source("table", "numbers", 0.4, _waves),
    "counts": _source("table", "counts", 0.3, _counts),
    "many labels": _source(
        "table",
        "labels",
        0.3,
        _generated,
        "multilabel_classification",
        n_samples=1500,
        n_classes=6,
        allow_unlabeled=True,
    ),
    "rare class": _source("table", "classes", 0.6, _rare, 5),
    "rare event": _source("table", "binary", 0.5, _rare, 2),
    "shapes": _source("image", "classes", 0.6, _shapes, "kind"),
    "spots": _source("image", "numbers", 0.5, _shapes, "where"),
    "shape copies": _source("image", "copy", 0.2, _shapes, "kind"),
    "tones": _source("sequence", "classes", 0.5, _tones),
    "forecast": _source("sequence", "numbers", 0.6, _forecast),
    "walks": _source("sequence", "numbers", 0.5, _walks),
    "words": _source("tokens", "classes", 0.4, _words, "classes"),
    "word labels": _source("tokens", "labels", 0.4, _words, "labels"),
    "word worth": _source("tokens", "numbers", 0.4, _words, "number"),
    "categories": _source("tokens", "binary", 0.5, _columns),
    "text": _source("tokens", "next", 0.15, _text),
    "chain": _source("tokens", "next", 0.2, _chain),
    "clouds": _source("set", "classes", 0.5, _clouds, "kind"),
    "spread": _source("set", "numbers", 0.5, _clouds, "spread"),
    "graphs": _source("graph", "classes", 0.6, _graphs, "kind"),
    "neighbours": _source("graph", "numbers", 0.4, _graphs, "nodes"),
}
