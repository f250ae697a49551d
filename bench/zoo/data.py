"""Real data that installed packages ship: nothing is downloaded.

scikit-learn's digits, diabetes, breast cancer, wine and photographs; matplotlib's two elevation maps; and text: the
language reference that CPython ships for `help()`, and the source of its standard library.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from bench.zoo.data_fifth import FIFTH_TASKS
from bench.zoo.data_fourth import FOURTH_TASKS
from bench.zoo.data_second import SECOND_TASKS
from bench.zoo.data_seventh_held_out import SEVENTH_TASKS
from bench.zoo.data_sixth import SIXTH_TASKS
from bench.zoo.data_task import Array, Task, source_of, split, split_task
from bench.zoo.data_third import THIRD_TASKS

__all__ = ["TASKS", "Task", "load"]

#: Characters that text is made of; all others become the first.
ALPHABET: Final = " \nabcdefghijklmnopqrstuvwxyz0123456789.,:;()[]'\"=_-+*/#<>@!?%&|`~^{}$\\"


def _tabular(name: str, good: float, *, raw: bool = False) -> Task:
    import sklearn.datasets

    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    return split_task("classes", x, y, int(y.max()) + 1, good, scale="" if raw else "each")


def digits() -> Task:
    """1,797 images of handwritten digits as 64 numbers, each standardised."""
    return _tabular("digits", 0.9)


def digits_raw() -> Task:
    """The same with pixels from 0 to 16, as they are loaded."""
    return _tabular("digits", 0.9, raw=True)


def digit_images() -> Task:
    """The same as images (1, 8, 8), standardised as a whole."""
    import sklearn.datasets

    x, y = sklearn.datasets.load_digits(return_X_y=True)
    return split_task("classes", x.reshape(-1, 1, 8, 8), y, 10, 0.9, scale="all")


def digit_copies() -> Task:
    """The images' 64 pixels from 0 to 1, to be given back."""
    import sklearn.datasets

    x, _ = sklearn.datasets.load_digits(return_X_y=True)
    return split_task("numbers", x / 16.0, x / 16.0, 64, 0.6)


def digit_rows() -> Task:
    """The same as sequences of 8 rows of 8 pixels."""
    images = digit_images()
    train, test = ((x[:, 0], y) for x, y in (images.train, images.test))
    return Task("classes", train, test, 8, 10, 0.85)


def diabetes() -> Task:
    """442 patients, 10 features; the progress of their disease after a year, standardised."""
    import sklearn.datasets

    x, y = sklearn.datasets.load_diabetes(return_X_y=True)
    return split_task("numbers", x, ((y - y.mean()) / y.std())[:, None], 1, 0.3, scale="each")


def diabetes_raw() -> Task:
    """The same with the target as it is loaded, from 25 to 346."""
    import sklearn.datasets

    x, y = sklearn.datasets.load_diabetes(return_X_y=True)
    return split_task("numbers", x, y[:, None], 1, 0.3, scale="each")


def cancer() -> Task:
    """569 tumours, 30 features, benign or not."""
    return _tabular("breast_cancer", 0.85)


def cancer_raw() -> Task:
    """The same with features from thousandths to thousands, as they are loaded."""
    return _tabular("breast_cancer", 0.85, raw=True)


def wine() -> Task:
    """178 wines of three growers, 13 features."""
    return _tabular("wine", 0.7)


def wine_raw() -> Task:
    """The same as they are loaded."""
    return _tabular("wine", 0.7, raw=True)


def patches() -> Task:
    """2,000 patches (3, 12, 12) of scikit-learn's two photographs, at half the resolution: which one is it?"""
    import sklearn.datasets

    generator = np.random.default_rng(0)
    images = [image[::2, ::2] / 255.0 for image in sklearn.datasets.load_sample_images().images]
    cut = []
    for image in images:
        rows, columns = (generator.integers(0, size - 12, 1000) for size in image.shape[:2])
        cut += [image[r : r + 12, c : c + 12] for r, c in zip(rows, columns, strict=True)]
    x = np.stack(cut).transpose(0, 3, 1, 2)
    return split_task("classes", x, np.repeat([0, 1], 1000), 2, 0.6, scale="all")


def _noisy(x: torch.Tensor) -> torch.Tensor:
    return x + 0.33 * torch.randn(x.shape, generator=torch.Generator().manual_seed(len(x)))


def denoise() -> Task:
    """The same patches with noise of a third of their deviation, to be taken off again."""
    clean = patches()
    train, test = ((_noisy(x), x) for x, _ in (clean.train, clean.test))
    return Task("numbers", train, test, 3, 3, 0.85)


def digit_denoise() -> Task:
    """The digits' images with noise of a third of their deviation, to be taken off again."""
    clean = digit_images()
    train, test = ((_noisy(x), x) for x, _ in (clean.train, clean.test))
    return Task("numbers", train, test, 1, 1, 0.8)


def _elevation(z: Array, *, raw: bool = False) -> Task:
    rows, columns = np.mgrid[-1 : 1 : z.shape[0] * 1j, -1 : 1 : z.shape[1] * 1j]
    x = np.stack([rows.ravel(), columns.ravel()], 1)
    # The place alone is learned slowly: sines of it up to three waves across the map.
    waves = [x, *(f(np.pi * k * x) for k in (1, 2, 3) for f in (np.sin, np.cos))]
    y = z.astype(float).ravel()[:, None]
    return split_task("numbers", np.concatenate(waves, 1) * 1.4, y if raw else (y - y.mean()) / y.std(), 1, 0.7)


def seabed(*, raw: bool = False) -> Task:
    """Matplotlib's map of the sea and land off Vancouver Island: the height at a place."""
    import matplotlib.cbook

    path = Path(str(matplotlib.cbook.get_sample_data("topobathy.npz", asfileobj=False)))
    with np.load(path) as parts:
        return _elevation(parts["topo"], raw=raw)


def seabed_raw() -> Task:
    """The same in metres, from -1,437 to 2,205."""
    return seabed(raw=True)


def fault_line(*, raw: bool = False) -> Task:
    """Matplotlib's map of the Jacksboro fault: the height at a place."""
    import matplotlib.cbook

    path = Path(str(matplotlib.cbook.get_sample_data("jacksboro_fault_dem.npz", asfileobj=False)))
    with np.load(path) as parts:
        return _elevation(parts["elevation"][::3, ::3], raw=raw)


def fault_line_raw() -> Task:
    """The same in metres, from 236 to 1,076."""
    return fault_line(raw=True)


def _codes(text: str) -> Array:
    places = {sign: place for place, sign in enumerate(ALPHABET)}
    return np.array([places.get(sign, 0) for sign in text.lower()])


def _reference(size: int) -> str:
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))[:size]


def _next_sign(text: str, length: int, good: float) -> Task:
    codes = _codes(text)
    count = (len(codes) - 1) // length
    x, y = (codes[start : start + count * length].reshape(count, length) for start in (0, 1))
    train_x, train_y, test_x, test_y = (torch.from_numpy(part.copy()) for part in split(x, y))
    return Task("classes", (train_x, train_y), (test_x, test_y), len(ALPHABET), len(ALPHABET), good)


def _which_text(texts: Sequence[str], length: int, good: float) -> Task:
    pieces, labels = [], []
    for label, text in enumerate(texts):
        codes = _codes(text)
        starts = range(0, len(codes) - length, length)
        pieces += [codes[start : start + length] for start in starts]
        labels += [label] * len(starts)
    train_x, train_y, test_x, test_y = (torch.from_numpy(part) for part in split(np.stack(pieces), np.array(labels)))
    return Task("classes", (train_x, train_y), (test_x, test_y), len(ALPHABET), len(texts), good)


def reference_text() -> Task:
    """The next character of the language reference, in pieces of 32."""
    return _next_sign(_reference(200_000), 32, 0.12)


def source_text() -> Task:
    """The next character of the standard library's source, in pieces of 24."""
    return _next_sign(source_of("statistics", "textwrap", "argparse")[:150_000], 24, 0.12)


def text_or_code() -> Task:
    """Is a piece of 48 characters from the language reference or from source code?"""
    return _which_text([_reference(60_000), source_of("optparse")[:60_000]], 48, 0.5)


def which_module() -> Task:
    """Which of three modules of the standard library is a piece of 48 characters from?"""
    return _which_text([source_of(name)[:60_000] for name in ("statistics", "difflib", "tarfile")], 48, 0.3)


#: By name: what makes each task.
TASKS: Final[dict[str, Callable[[], Task]]] = {
    make.__name__: make
    for make in (
        digits, digits_raw, digit_images, digit_copies, digit_denoise, digit_rows, diabetes, diabetes_raw, cancer,
        cancer_raw, wine, wine_raw, patches, denoise, seabed, seabed_raw, fault_line, fault_line_raw, reference_text,
        source_text, text_or_code, which_module,
    )
} | SECOND_TASKS | THIRD_TASKS | FOURTH_TASKS | FIFTH_TASKS | SIXTH_TASKS | SEVENTH_TASKS  # fmt: skip

_loaded: dict[str, Task] = {}


def load(name: str) -> Task:
    """A task by name, made once in a process."""
    if name not in _loaded:
        _loaded[name] = TASKS[name]()
    return _loaded[name]
