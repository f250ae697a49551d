"""What questions on Keras are about: truth tables and curves, and tables and pictures that scikit-learn ships."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.faults.run import Data

Array = npt.NDArray[Any]


def _halves(x: Array, y: Array, share: float = 0.7) -> Data:
    """Shuffled, and divided for a test."""
    order = np.random.default_rng(7).permutation(len(x))
    cut = int(share * len(x))
    train, test = order[:cut], order[cut:]
    return Data(x[train], y[train], x[test], y[test])


def same(x: Array, y: Array) -> Data:
    """What is trained on is what is asked."""
    return Data(x, y, x, y)


def xor(copies: int = 1) -> Data:
    """The four rows of the table, float32, and what is asked, as a column."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([[0], [1], [1], [0]], np.float32)
    return Data(np.tile(x, (copies, 1)), np.tile(y, (copies, 1)), x, y)


def moons(count: int = 600) -> Data:
    """Two halves of rings, and which one it is, as a column."""
    from sklearn.datasets import make_moons

    x, y = make_moons(count, noise=0.1, random_state=3)
    return _halves(x.astype(np.float32), y.astype(np.float32)[:, None])


def circles(count: int = 600) -> Data:
    """A disk within a ring, and which one it is, as a column."""
    from sklearn.datasets import make_circles

    x, y = make_circles(count, noise=0.08, factor=0.4, random_state=3)
    return _halves(x.astype(np.float32), y.astype(np.float32)[:, None])


def thresholds(count: int = 1200) -> Data:
    """A number up to 100,000, and whether it is more than the half of that."""
    x = np.random.default_rng(4).integers(0, 100_000, count).astype(np.float32)[:, None]
    return _halves(x, (x >= 50_000).astype(np.float32))


def sums(count: int = 1000, most: int = 100) -> Data:
    """Two whole numbers, and their sum."""
    x = np.random.default_rng(5).integers(0, most, (count, 2)).astype(np.float32)
    return _halves(x, x.sum(1, keepdims=True))


def blobs() -> Data:
    """Clouds in ten dimensions, and which of two it is, as a column."""
    from sklearn.datasets import make_classification

    x, y = make_classification(1000, 10, n_informative=6, class_sep=1.5, random_state=2)
    return _halves(x.astype(np.float32), y.astype(np.float32)[:, None])


@functools.cache
def _loaded(name: str) -> tuple[Array, Array]:
    import sklearn.datasets

    if name == "diabetes":
        return tuple(sklearn.datasets.load_diabetes(return_X_y=True, scaled=False))
    return tuple(getattr(sklearn.datasets, f"load_{name}")(return_X_y=True))


def table(name: str, *, scaled: bool = True, numbers: bool = False) -> Data:
    """A table that scikit-learn ships: its features float32, and int64 classes (numbers: a column of float32)."""
    x, y = _loaded(name)
    data = _halves(x.astype(np.float32), y.astype(np.float32)[:, None] if numbers else y.astype(np.int64))
    if not scaled:
        return data
    mean, std = data.x.mean(0), data.x.std(0) + 1e-7
    return data._replace(x=(data.x - mean) / std, test_x=(data.test_x - mean) / std)


def one_hot(data: Data, classes: int) -> Data:
    """Classes as rows with a one each."""
    eye = np.eye(classes, dtype=np.float32)
    return data._replace(y=eye[data.y], test_y=eye[data.test_y])


def digits(*, bits: bool = False) -> Data:
    """1,797 images (8, 8, 1) of digits, from 0 to 1 (bits: whole numbers from 0 to 255), and which one it is."""
    x, y = _loaded("digits")
    x = x.reshape(-1, 8, 8, 1).astype(np.float32) / 16.0
    return _halves(np.round(255 * x) if bits else x, y.astype(np.int64))


@functools.cache
def _photographs() -> tuple[Array, Array]:
    from sklearn.datasets import load_sample_images

    random, x, y = np.random.default_rng(8), [], []
    for kind, image in enumerate(load_sample_images().images):
        for _ in range(500):
            top, left = (int(random.integers(0, size - 16)) for size in image.shape[:2])
            x.append(image[top : top + 16, left : left + 16])
            y.append(kind)
    return np.stack(x).astype(np.float32), np.array(y, np.int64)


def photographs(*, bits: bool = False) -> Data:
    """1,000 pieces (16, 16, 3) of a temple and a flower, from 0 to 1 (bits: to 255), and which it is, as a column."""
    x, y = _photographs()
    return _halves(x if bits else x / 255.0, y.astype(np.float32)[:, None])


def wave(*, steps: int = 20, scale: float = 1.0, middle: float = 0.0) -> Data:
    """Twenty readings of two sines (samples, 20, 1), and the next one as a column."""
    t = np.arange(900, dtype=np.float32)
    series = 0.6 * np.sin(0.12 * t) + 0.4 * np.sin(0.31 * t + 1)
    series = middle + scale * series
    x = np.stack([series[start : start + steps] for start in range(len(series) - steps)])[..., None]
    return _halves(x.astype(np.float32), series[steps:, None].astype(np.float32))


def bits() -> Data:
    """Eight zeros and ones (samples, 8, 1), and whether the first and the last are the same, as a column."""
    x = np.random.default_rng(9).integers(0, 2, (800, 8, 1)).astype(np.float32)
    return _halves(x, (x[:, 0] == x[:, -1]).astype(np.float32))


def sentences() -> Data:
    """Twelve words (samples, 12) of a hundred, some of them good and some bad, and which are more, as a column."""
    random = np.random.default_rng(10)
    y = random.integers(0, 2, 900)
    good, bad, plain = (random.integers(low, high, (900, 12)) for low, high in ((1, 15), (15, 30), (30, 100)))
    kinds = random.random((900, 12))
    rare = np.where(y[:, None] == 1, bad, good)
    x = np.where(kinds < 0.35, np.where(y[:, None] == 1, good, bad), np.where(kinds < 0.45, rare, plain))
    return _halves(x.astype(np.int32), y.astype(np.float32)[:, None])
