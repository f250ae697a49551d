"""What watching costs beside the sweep itself, and what a row of a real network takes on the disk.

    python -m bench.record            # the table, and bench/results/record.json
    python -m bench.record --quick    # fewer calls, nothing written

Costs are of layers of 1,000 float32, 100 in a step: `record` is what the training waits for in a layer; `step` makes
the rows, and hands them to history and log. Rows are those of the demo's healthy network.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import fastact
from bench.run import Benchmark, command
from bench.tables import record_table
from fastact import demo
from fastact.log import LogOptions, LogWriter

LAYERS = 100
STEPS, QUICK = 40, 4
ROUNDS = 15


def sweep(x: Any, steps: int) -> tuple[float, float]:
    """Seconds of a bare `summarize` a layer."""
    begin = time.perf_counter()
    for _ in range(steps * LAYERS):
        fastact.summarize(x)
    return (time.perf_counter() - begin) / (steps * LAYERS), 0.0


def watch(monitor: fastact.ActivationMonitor, x: Any, steps: int) -> tuple[float, float]:
    """Seconds of `record` and of `step`, a layer."""
    names = [f"layer{i}" for i in range(LAYERS)]
    recording = stepping = 0.0
    for _ in range(steps):
        begin = time.perf_counter()
        for name in names:
            monitor.record(name, x)
        between = time.perf_counter()
        monitor.step()
        recording += between - begin
        stepping += time.perf_counter() - between
    monitor.flush()
    return recording / (steps * LAYERS), stepping / (steps * LAYERS)


def sizes(folder: Path, rows: int) -> list[dict[str, Any]]:
    """Bytes a row by compression and by rows in a batch."""
    case = next(case for case in demo.CASES if case.name == "healthy")
    demo.train(case, demo.load_digits(), folder / "trained", steps=300)
    records = list(fastact.open_log(folder / "trained").replay())[-rows:]
    infos = {record.layer: record.info for record in records}
    found = []
    for compression in ("lz4", "zstd", None):
        for batch in (1024, 256, 128, 64):
            run = folder / f"{compression}-{batch}"
            with LogWriter(run, LogOptions(compression=compression, batch_rows=batch)) as writer:
                for info in infos.values():
                    writer.add_layer(info)
                for i, record in enumerate(records, 1):
                    writer.append(record.row)
                    if i % batch == 0:
                        writer.flush()
            nbytes = sum(path.stat().st_size for path in run.iterdir())
            found.append({"compression": compression or "none", "batch_rows": batch, "bytes": nbytes / len(records)})
    return found


def run(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    """Costs, then sizes."""
    del console
    steps, rounds = (QUICK, 3) if quick else (STEPS, ROUNDS)
    x = np.random.default_rng(0).standard_normal(1000, dtype=np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory, logged = fastact.ActivationMonitor(), fastact.ActivationMonitor(folder / "run")
        calls: dict[str, Callable[[int], tuple[float, float]]] = {
            "summarize alone": lambda n: sweep(x, n),
            "record and step, in memory": lambda n: watch(memory, x, n),
            "record and step, with a log": lambda n: watch(logged, x, n),
        }
        taken: dict[str, list[tuple[float, float]]] = {what: [] for what in calls}
        for _ in range(rounds):
            for what, call in calls.items():
                step(what)
                call(1)
                taken[what].append(call(steps))
        logged.close()
        costs = [
            {
                "what": what,
                "layer": statistics.median(layer for layer, _ in every),
                "step": statistics.median(stepping for _, stepping in every),
            }
            for what, every in taken.items()
        ]
        step("bytes a row")
        return {"layers": LAYERS, "rounds": rounds, "costs": costs, "sizes": sizes(folder, 256 if quick else 2048)}


BENCHMARK = Benchmark("record", "what watching costs, and the bytes of a row", run, record_table)

if __name__ == "__main__":
    command([BENCHMARK])
