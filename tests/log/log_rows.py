"""Rows for a log, how to write and to read them, and what a segment holds."""

import os
import struct
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fastact import arithmetic
from fastact.fields import COPY, DRAWN, NEURON, ROW_FORMAT
from fastact.history import LayerInfo
from fastact.log import LogOptions, LogWriter, RunReader
from fastact.log.frames import frames
from fastact.log.schema import to_rows

Row = tuple[Any, ...]
INFINITY = float("inf")
NAN = float("nan")
LAYERS = (
    LayerInfo("encoder.0", 0, "ReLU", "float32", (-INFINITY, 5.99)),
    LayerInfo("../../etc \x1b[31m<b>é", 1, "Tanh", "bfloat16", (-0.1 - 0.2, 0.3)),
)
NO_STATE = (NAN, NAN, NAN, INFINITY, -INFINITY)
NO_NEURONS = tuple(field.nothing for field in NEURON + COPY + DRAWN)


def make(step: int, layer: int = 0) -> Row:
    """A row that is like none other."""
    if step % 5 == 4:  # nothing finite, and not swept per neuron
        return (step, layer, step * 7, 3, 1, 1, 1, 0, 2, *NO_STATE, *NO_NEURONS)
    neurons = (8, 1, 1, 0, 0, step / 7, 5, 1e9, step - 7, step % 3, 7 * step)
    return (step, layer, step * 7, 100, 0, 0, 0, step, 1, step / 3, 0.1, -0.0, -1e300, 5e-324, *neurons)


def write(run: Path, rows: Iterable[Row], metadata: dict[str, str] | None = None, **options: Any) -> LogWriter:
    writer = LogWriter(run, LogOptions(**options), metadata=metadata)
    for info in LAYERS:
        writer.add_layer(info)
    for row in rows:
        writer.append(row)
    return writer


def read(run: Path) -> tuple[list[bytes], list[str]]:
    """The rows as bytes, so that NaN and both zeros compare, and what the reader has to tell."""
    told: list[str] = []
    parts = list(RunReader(run).batches(told.append, everything=True))
    for part in parts:
        for name, row in zip(part.batch.column("layer").to_pylist(), to_rows(part.batch).tolist(), strict=True):
            assert part.layers.get(name, LAYERS[row[1]]).order == row[1]
    return [bits(row) for part in parts for row in to_rows(part.batch).tolist()], told


def bits(row: Row) -> bytes:
    return struct.pack(ROW_FORMAT, *row)


def expect(rows: Iterable[Row]) -> list[bytes]:
    return [bits(row) for row in rows]


def segments(run: Path) -> list[Path]:
    return sorted(run.glob("segment-*"))


def segment_of(run: Path) -> Path:
    (segment,) = segments(run)
    return segment


def ends(segment: Path) -> list[tuple[int, int]]:
    """(byte after a batch, rows up to there), from the frames of an undamaged segment."""
    result, rows = [], 0
    with segment.open("rb") as file:
        schema: Any = None
        for frame in frames(file, segment.stat().st_size, pytest.fail):
            if frame.kind == "schema":
                schema = pa.ipc.read_schema(pa.py_buffer(frame.message))
            else:
                rows += pa.ipc.read_record_batch(pa.py_buffer(frame.message), schema).num_rows
            result.append((frame.offset + len(frame.message), rows))
    return result


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_child(work: Callable[[], bool]) -> None:
    """Runs `work` in a forked child that ends as if it were killed; fails where it does not return True."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fork beside other threads, which Python and JAX warn of
        child = os.fork()
    if child == 0:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def table(run: Path) -> list[tuple[Any, ...]]:
    """All rows, where nothing may be missing."""
    return [
        row for part in RunReader(run).batches(pytest.fail, everything=True) for row in to_rows(part.batch).tolist()
    ]


def total(rows: list[tuple[Any, ...]]) -> arithmetic.State:
    state = arithmetic.EMPTY
    for row in rows:
        state = arithmetic.merge(state, (*row[3:14], 0.0))
    return state
