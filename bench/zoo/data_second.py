"""More real data that installed packages ship, for the opened part (held out until 2026-11-30).

Scikit-learn's iris; matplotlib's portrait, scan, share prices and current through a membrane; the standard library's
words; and the people of Les Misérables, whom networkx ships as a graph.
"""

import csv
import gzip
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from bench.zoo.data_task import Array, Task, source_of, split_task

__all__ = ["SECOND_TASKS", "people"]


def _sample(name: str) -> Path:
    import matplotlib.cbook

    return Path(str(matplotlib.cbook.get_sample_data(name, asfileobj=False)))


def iris() -> Task:
    """150 irises of three species, 4 features."""
    import sklearn.datasets

    x, y = sklearn.datasets.load_iris(return_X_y=True)
    return split_task("classes", x, y, 3, 0.8, scale="each")


def cancer_rare() -> Task:
    """The benign tumours and a tenth of the malignant ones: one sample in eighteen is of the rare class."""
    import sklearn.datasets

    x, y = sklearn.datasets.load_breast_cancer(return_X_y=True)
    kept = np.concatenate([np.flatnonzero(y == 1), np.flatnonzero(y == 0)[::10]])
    return split_task("classes", x[kept], 1 - y[kept], 2, 0.5, scale="each")


def _windows(series: Array, length: int) -> tuple[Array, Array]:
    cut = np.lib.stride_tricks.sliding_window_view(series, length + 1)
    return cut[:, :-1], cut[:, -1:]


def _shares() -> list[Array]:
    rows = list(csv.DictReader(line for line in _sample("Stocks.csv").read_text().splitlines() if line[0] != "#"))
    prices = [[float(row[name]) for row in rows if row[name]] for name in ("IBM", "AAPL", "MSFT", "XRX", "ADBE")]
    return [np.array(each) for each in prices]


def shares() -> Task:
    """Twelve months of a share's price, of their mean; the next month's."""
    x, y = (np.concatenate(parts) for parts in zip(*(_windows(each, 12) for each in _shares()), strict=True))
    mean = x.mean(1, keepdims=True)
    return split_task("numbers", (x / mean - 1.0) / 0.15, (y / mean - 1.0) / 0.15, 1, 0.5)


def shares_dollars() -> Task:
    """The same in dollars, from a quarter to hundreds; the inputs as logarithms."""
    x, y = (np.concatenate(parts) for parts in zip(*(_windows(each, 12) for each in _shares()), strict=True))
    return split_task("numbers", np.log(x) - 3.0, y, 1, 0.7)


def membrane() -> Task:
    """Sixteen values of the current through a membrane, and the next one, as a sequence of single numbers."""
    series = np.fromfile(_sample("membrane.dat"), np.float32).astype(float)[::3]
    x, y = _windows((series - series.mean()) / series.std(), 16)
    task = split_task("numbers", x, y, 1, 0.7)
    return Task(
        "numbers", (task.train[0][..., None], task.train[1]), (task.test[0][..., None], task.test[1]), 1, 1, 0.7
    )


def _grey(image: Array, size: int, count: int) -> Array:
    generator = np.random.default_rng(1)
    rows, columns = (generator.integers(0, side - size, count) for side in image.shape)
    return np.stack([image[r : r + size, c : c + size] for r, c in zip(rows, columns, strict=True)])


def _portrait() -> Array:
    import PIL.Image

    with PIL.Image.open(_sample("grace_hopper.jpg")) as image:
        return np.asarray(image.convert("L").resize((256, 300)), dtype=float) / 255.0


def _scan() -> Array:
    return np.frombuffer(gzip.open(_sample("s1045.ima.gz")).read(), np.uint16).reshape(256, 256) / 40000.0


def portrait_or_scan() -> Task:
    """Grey patches (1, 12, 12): from a portrait, or from a scan of a head?"""
    x = np.concatenate([_grey(image, 12, 900) for image in (_portrait(), _scan())])[:, None]
    return split_task("classes", x, np.repeat([0, 1], 900), 2, 0.55, scale="all")


def portrait_or_scan_bytes() -> Task:
    """The same from 0 to 255."""
    x = np.concatenate([_grey(image, 12, 900) for image in (_portrait(), _scan())])[:, None]
    return split_task("classes", 255.0 * x, np.repeat([0, 1], 900), 2, 0.55)


def portrait() -> Task:
    """Grey patches of the portrait as 100 numbers, standardised as a whole, to be given back."""
    x = _grey(_portrait(), 10, 1500).reshape(1500, 100)
    x = (x - x.mean()) / x.std()
    return split_task("numbers", x, x, 100, 0.5)


def words() -> Task:
    """Twelve words of the standard library's source, most of them rare: is it about mail, or about numbers?"""
    modules = ("smtplib", "imaplib"), ("fractions", "_pydecimal")
    texts = [re.findall(r"[a-z]+", source_of(*names).lower()) for names in modules]
    counted = Counter(word for text in texts for word in text)
    places = {word: place for place, (word, _) in enumerate(counted.most_common(1500), 1)}
    pieces, labels = [], []
    for label, text in enumerate(texts):
        codes = [places.get(word, 0) for word in text][:9000]
        pieces += [codes[start : start + 12] for start in range(0, len(codes) - 12, 12)]
        labels += [label] * (len(range(0, len(codes) - 12, 12)))
    task = split_task("classes", np.array(pieces), np.array(labels), 2, 0.6)
    whole = [(x.long(), y) for x, y in (task.train, task.test)]
    return Task("classes", whole[0], whole[1], 1501, 2, 0.6)


def people() -> tuple[Array, Array]:
    """Who of Les Misérables appears with whom, as a matrix (77, 77), and the five circles that they form."""
    import networkx as nx  # type: ignore[import-untyped]

    # By numbers: the order of names in a set differs from process to process.
    graph = nx.convert_node_labels_to_integers(nx.les_miserables_graph(), ordering="sorted")
    circles = nx.community.greedy_modularity_communities(graph)
    label = {node: place for place, circle in enumerate(circles) for node in circle}
    return nx.to_numpy_array(graph, range(len(graph)), weight=None), np.array([label[i] for i in range(len(graph))])


#: By name: what makes each task.
SECOND_TASKS: Final[dict[str, Callable[[], Task]]] = {
    make.__name__: make
    for make in (
        iris, cancer_rare, shares, shares_dollars, membrane, portrait_or_scan, portrait_or_scan_bytes, portrait, words,
    )
}  # fmt: skip
