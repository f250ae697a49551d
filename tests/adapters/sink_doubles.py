"""What the tests of sinks share: a short training, and what it sends."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastact import (
    ActivationMonitor,
)

Sent = dict[int, dict[str, dict[str, float]]]
#: A name that every backend has an opinion about.
ODD = "encoder.0['h']"

#: A heat map after every second step, and at the end.
MAP: Any = {"heat_map": "rms", "heat_map_every": 2}


class Memory:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.sent: Sent = {}
        self.closed = 0

    def write(self, step: int, layers: Mapping[str, Mapping[str, float]]) -> None:
        self.sent[step] = {name: dict(found) for name, found in layers.items()}

    def close(self) -> None:
        self.closed += 1


def size_of(png: bytes) -> tuple[int, int]:
    """The width and height of a PNG file, which must be whole and not of one colour."""
    from PIL import Image

    image = Image.open(io.BytesIO(png))
    image.load()
    assert len(set(image.convert("RGB").tobytes())) > 3
    return image.size


def train(monitor: ActivationMonitor) -> None:
    """Three steps of two layers; in the second step one has a NaN and an Inf, the other nothing finite at all."""
    for step in range(3):
        x = np.arange(12, dtype=np.float32).reshape(4, 3) * step
        bad = np.zeros(5, np.float32)
        if step == 1:
            x[0, 0], x[1, 1] = np.nan, -np.inf
            bad[:] = [np.nan, np.nan, np.inf, np.inf, np.inf]
        monitor.record(ODD, x, axis=-1, kind="ReLU")
        monitor.record("loss", bad)
        monitor.step()
    monitor.close()
