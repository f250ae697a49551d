"""Segments made by hand, and what a reader makes of them."""

from pathlib import Path

import numpy as np

from fastact.fields import ROW_DTYPE
from fastact.history import LayerInfo
from fastact.log import RunReader
from fastact.log.codec import Encoder
from fastact.log.frames import END_MARK
from fastact.log.schema import Header

LAYER = LayerInfo("a", 0)
SESSION = "0123456789abcdef"


def rows(first: int, count: int) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    made = np.zeros(count, ROW_DTYPE)
    made["step"] = np.arange(first, first + count)
    made["count"] = 1
    return made


def segment(run: Path, number: int, header: Header, batches: list[tuple[int, int, int]], end: bytes = END_MARK) -> None:
    """A segment of batches, each given as (its first row, its rows, what was dropped before it in all)."""
    encoder = Encoder(header, 0, "lz4")
    data = b"".join(encoder.batch(rows(first, count), first, dropped) for first, count, dropped in batches)
    run.mkdir(exist_ok=True)
    (run / f"segment-{number:06d}.{'arrows' if end else 'live'}").write_bytes(encoder.front + data + end)


def read(run: Path) -> tuple[list[int], list[str]]:
    told: list[str] = []
    parts = list(RunReader(run).batches(told.append))
    return [step for part in parts for step in part.batch["step"].to_pylist()], told
