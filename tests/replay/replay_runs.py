"""Runs to be replayed: rows of a run that falls sick, rows of several ranks, and what a live diagnoser says of them."""

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from fastact import summarize
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.fields import COPY, DRAWN, NEURON, ROW_FORMAT
from fastact.history import LayerInfo
from fastact.log import LogOptions, LogWriter

Row = tuple[Any, ...]
RELU = LayerInfo("body.relu", 0, "ReLU", "float32", (-math.inf, 5.99))
TANH = LayerInfo("body.tanh", 1, "Tanh", "float32")
SICK = LayerInfo("head", 2, "Linear", "float32")


def rows_of_a_sick_run(steps: int, first: int = 0) -> list[tuple[LayerInfo, Row]]:
    """Half of the ReLU's neurons die at step 30, the tanh is saturated, the head meets a NaN at step 20."""
    rows: list[tuple[LayerInfo, Row]] = []
    for step in range(first, first + steps):
        dead = 32 if step >= 30 else 0
        relu = (
            6400,
            0,
            0,
            0,
            3200 + dead * 40,
            0,
            0.4,
            0.6,
            0.4,
            0.0,
            3.0 + step / 7,
            64,
            dead,
            dead,
            0,
            0,
            0.5,
            9,
            2.0,
            *UNSUMMED,
        )
        tanh = (6400, 0, 0, 0, 0, 6300, 0.01, 0.99, 0.98, -1.0, 1.0, 64, 0, 0, 60, 0, 0.9, 3, 1.0, *UNSUMMED)
        head: Row = (640, 0, 0, 0, 0, 0, 0.1, 1.0 + step / 3, 0.8, -3.0, 3.0, *UNSWEPT)
        if step >= 20:
            head = (640, 640, 0, 0, 0, 0, *[math.nan] * 3, math.inf, -math.inf, *UNSWEPT)
        rows += [
            (info, (step, info.order, step * 10**9, *state))
            for info, state in zip(LAYERS, (relu, tanh, head), strict=True)
        ]
    return rows


LAYERS = (RELU, TANH, SICK)
REST = (0, 0, 0.5, 9, 2.0)
UNSUMMED = tuple(field.nothing for field in (*COPY, *DRAWN))
UNSWEPT = tuple(field.nothing for field in NEURON) + UNSUMMED


def write(
    run: Path,
    rows: list[tuple[LayerInfo, Row]],
    metadata: dict[str, str] | None = None,
    start_step: int = 0,
    **options: Any,
) -> None:
    with LogWriter(
        run, metadata=metadata, options=LogOptions(**{"batch_rows": 32, **options}), start_step=start_step
    ) as writer:
        for info, row in rows:
            writer.add_layer(info)
            writer.append(row)


def live(rows: list[tuple[LayerInfo, Row]], *settings: Any) -> Any:
    diagnoser = Diagnoser(*settings)
    for info, row in rows:
        diagnoser.add(info)
        diagnoser.append(info.name, row)
    return diagnoser.diagnose()


def bits(row: Row) -> bytes:
    return struct.pack(ROW_FORMAT, *row)


def random_rows(seed: int, steps: range, *, layers: tuple[LayerInfo, ...] = LAYERS) -> list[tuple[LayerInfo, Row]]:
    """Rows of a rank: some layers without finite elements, not swept per neuron, or missing in a step."""
    random = np.random.default_rng(seed)
    rows: list[tuple[LayerInfo, Row]] = []
    for step in steps:
        for info in layers:
            if random.random() < 0.1:
                continue
            x = random.standard_normal(int(random.integers(0, 40))) * 10.0 ** random.integers(-3, 3)
            x[random.random(x.size) < 0.2] = np.nan
            state = summarize(x).state
            neurons: Row = (8, *random.integers(0, 9, 4).tolist())
            finite = state[0] > state[1]
            neurons += (random.random(), (5 * step + seed) % 8, 1.0 + seed) if finite else (math.nan, -1, math.nan)
            time, bits = int(random.integers(1 << 40)), int(random.integers(-(1 << 62), 1 << 62))
            rows.append((info, (step, info.order, time, *state, *neurons, bits, step % 5, 7 * step + seed)))
    return rows
