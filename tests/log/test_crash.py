"""Killed at any instant, the log keeps its promise: rows are counted against what the writer had said was written."""

import mmap
import os
import random
import signal
import struct
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from log_rows import LAYERS, bits, expect, make

from fastact.log import LogOptions, LogWriter, RunReader
from fastact.log.schema import to_rows

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

KILLS = 40
KEEP_BYTES = 60_000
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rotation": {"segment_bytes": 6_000},
    "bytes": {"segment_bytes": 6_000, "keep_bytes": KEEP_BYTES},
    "steps": {"keep_steps": 300},
    "thinned": {"keep_steps": 300, "merge_steps": 10},
    "fsync": {"segment_bytes": 9_000, "durability": "fsync"},
}


def train(run: Path, options: LogOptions, flushed: mmap.mmap) -> None:
    """Appends for ever; `flushed` holds how many rows a flush has said are written."""
    writer = LogWriter(run, options)
    writer.add_layer(LAYERS[0])
    step = 0
    while True:
        writer.append(make(step))
        step += 1
        if step % 37 == 0 and writer.flush():
            flushed[:8] = struct.pack("<q", step)


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60.0
    while not holds() and time.monotonic() < until:
        time.sleep(0.001)


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_random_instants(tmp_path: Path, way: str) -> None:
    instants = random.Random(way)
    options = LogOptions(batch_rows=16, flush_seconds=0.01, **WAYS[way])
    promises = 0
    for attempt in range(KILLS):
        run = tmp_path / str(attempt)
        with mmap.mmap(-1, 8) as flushed:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # fork beside other threads, which Python and JAX warn of
                child = os.fork()
            if child == 0:
                try:
                    train(run, options, flushed)
                finally:
                    os._exit(1)
            if attempt % 2:  # else it may be killed before there is anything, more often on a busy machine
                wait_for(lambda: flushed[:8] != bytes(8))
            time.sleep(instants.uniform(0.0, 0.2))
            os.kill(child, signal.SIGKILL)
            assert os.waitpid(child, 0)[1] == signal.SIGKILL
            promised = struct.unpack("<q", flushed[:8])[0]
        if promised:
            promises += 1
            check(run, way, promised)
            LogWriter(run).close()  # the dead hold no lock
    assert promises > KILLS // 4


def check(run: Path, way: str, promised: int) -> None:
    told: list[str] = []
    rows = [row for part in RunReader(run).batches(told.append) for row in to_rows(part.batch).tolist()]
    # A torn tail of the live segment is all that may be told.
    assert [line for line in told if ".live: " not in line] == []
    steps = [row[0] for row in rows]
    end = steps[-1] + 1
    assert end >= promised
    if way == "thinned":
        assert steps == sorted(steps)
        assert sum(row[3] for row in rows) == sum(make(step)[3] for step in range(end))
        newest = min(end, 300)
        assert [bits(row) for row in rows[len(rows) - newest :]] == expect(
            make(step) for step in range(end - newest, end)
        )
        return
    assert [bits(row) for row in rows] == expect(make(step) for step in range(steps[0], end))
    if way == "bytes":
        assert sum(path.stat().st_size for path in run.glob("segment-*")) <= KEEP_BYTES
    else:
        assert steps[0] <= (max(0, end - 300) if way == "steps" else 0)
