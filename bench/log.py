"""The log: rows a second from it, as Parquet and as TensorBoard's event files; the diagnosis; what a row costs.

    python -m bench.log            # 10 million rows: the table, and bench/results/log.json
    python -m bench.log --quick    # few rows, nothing written

The rows are those of 50 layers, half of their numbers random, as no real layer's are. Files are warm in the system's
cache, and each call is made once before it is timed, so that its memory is there: the host of a virtual machine takes
memory back within seconds, and asks up to 3 s for each GB that it has to find again, whoever wants it. Event files hold
one scalar a record, as TensorBoard knows no rows; they are read by tensorboard's own loader, where it is installed, and
counted in rows of 20 numbers.
"""

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from rich.console import Console

import fastact
from bench.run import Benchmark, command
from bench.tables import log_table
from fastact.fields import ROW, ROW_DTYPE
from fastact.log import LogWriter

ROWS = 10_000_000
QUICK = 100_000
LAYERS = 50
#: Event files are some thousand times as slow, so that many times fewer rows of theirs are read.
EVENT_ROWS = 5_000
ROUNDS = 3


def rows_of(first: int, steps: int, random: np.random.Generator) -> npt.NDArray[np.void]:
    """Rows of `LAYERS` layers for some steps: counts as they are, moments random."""
    rows = np.zeros(steps * LAYERS, ROW_DTYPE)
    many = len(rows)
    rows["step"] = np.repeat(np.arange(first, first + steps), LAYERS)
    rows["layer"] = np.tile(np.arange(LAYERS), steps)
    rows["time"] = 1_700_000_000_000_000_000 + rows["step"] * 37_000_000
    rows["count"] = 64 * 256 * 128
    rows["zeros"] = np.where(rows["layer"] % 5 == 3, random.integers(900_000, 1_100_000, many), 0)
    rows["saturated"] = random.integers(600_000, 700_000, many)
    for name, center in (("mean", 0.0), ("std", 1.0), ("abs_mean", 0.8), ("within_std", 1.0)):
        rows[name] = center + 0.01 * random.standard_normal(many)
    rows["min"], rows["max"] = (-4 - random.random(many)).astype("f4"), (4 + random.random(many)).astype("f4")
    rows["neurons"] = 256
    return rows


def write(run: Path, rows: int) -> float:
    """Writes a log; returns the seconds that a row took the loop that appended it, and the background with it."""
    random = np.random.default_rng(0)
    seconds = 0.0
    with LogWriter(run) as writer:
        for i in range(LAYERS):
            kind = ("Linear", "Linear", "Linear", "ReLU", "Linear")[i % 5]
            writer.add_layer(fastact.LayerInfo(f"encoder.layers.{i // 5}.{kind.lower()}{i % 5}", i, kind, "float32"))
        for first in range(0, rows // LAYERS, 100):
            table = rows_of(first, min(100, rows // LAYERS - first), random).tolist()
            start = time.perf_counter()
            for row in table:
                writer.append(row)
            writer.flush()
            seconds += time.perf_counter() - start
    return seconds / rows


def write_events(folder: Path, rows: int) -> None:
    """The same numbers as TensorBoard keeps them, one scalar a record."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    names = [field.name for field in ROW]
    for row in rows_of(0, rows // LAYERS, np.random.default_rng(0)).tolist():
        for name, value in zip(names, row, strict=True):
            scalar = Summary.Value(tag=f"layer{row[1]}/{name}", simple_value=value)
            writer.add_event(Event(step=row[0], wall_time=row[2] / 1e9, summary=Summary(value=[scalar])))
    writer.close()


def read_events(folder: Path) -> int:
    """Reads them all; returns the scalars."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return sum(len(event.summary.value) for path in folder.iterdir() for event in EventFileLoader(str(path)).Load())


def size(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def run(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    """One row for each way."""
    rows, events, rounds = (QUICK, EVENT_ROWS // 10, 1) if quick else (ROWS, EVENT_ROWS, ROUNDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        step("writing")
        found = [
            {"what": "write, append and flush", "rows": rows, "seconds": write(folder / "run", rows) * rows, "bytes": 0}
        ]
        log = fastact.open_log(folder / "run")
        (folder / "parquet").mkdir()
        pq.write_table(log.to_table(), folder / "parquet" / "rows.parquet")
        calls: dict[str, tuple[int, int, Callable[[], object]]] = {
            "read the log to a table": (rows, size(folder / "run"), log.to_table),
            "read the log batch by batch": (rows, 0, lambda: sum(batch.num_rows for batch in log.to_batches())),
            "read Parquet to a table, pyarrow": (
                rows,
                size(folder / "parquet"),
                lambda: pq.read_table(folder / "parquet" / "rows.parquet"),
            ),
            "diagnose the log": (rows, 0, log.diagnose),
        }
        if importlib.util.find_spec("tensorboard"):
            step("writing event files")
            write_events(folder / "events", events)
            calls["read event files, TensorBoard"] = (
                events,
                size(folder / "events"),
                lambda: read_events(folder / "events"),
            )
        else:
            console.print("tensorboard is not installed: its event files are left out")
        taken: dict[str, list[float]] = {what: [] for what in calls}
        for _ in range(rounds):
            for what, (_, _, call) in calls.items():
                step(what)
                call()
                start = time.perf_counter()
                call()
                taken[what].append(time.perf_counter() - start)
        for what, (count, nbytes, _) in calls.items():
            found.append({"what": what, "rows": count, "seconds": statistics.median(taken[what]), "bytes": nbytes})
    return {"layers": LAYERS, "rounds": rounds, "rows": found}


BENCHMARK = Benchmark("log", "the log beside Parquet and TensorBoard", run, log_table)

if __name__ == "__main__":
    command([BENCHMARK])
