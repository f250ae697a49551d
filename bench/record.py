"""What watching costs beside the sweep itself, and what a row of a real network takes on the disk.

    python -m bench.record            # the tables, and bench/results/record.json
    python -m bench.record --quick    # fewer steps, nothing written

A layer is an array of 1,000 float32. `record` is what the training waits for in a layer; `step` makes the rows of all
layers, and hands them to history and log. What is kept for another step (the diagnosis follows rows many at a time) is
in the mean of all steps, not in that of the usual one. Whatever is timed is checked: the rows are those of the sweep,
in the history and in the log. The bytes are those of rows of the demo's healthy network.

What 10,000 layers cost more than 100, a layer, is waiting for memory: the same code runs. `record` asks for the layer
by its name (the hash of the name, its place in the dictionary, the layer, how its last tensor was swept: each a line of
memory that is in no cache any more) and leaves some 400 bytes of objects until the step ends, 4 MB of 10,000 layers,
where 100 use the same 40 KB again. `step` reads these and writes a row of 200 bytes into each of 10,000 windows of
20 KB. Less than that takes rows that are packed when they are recorded, and a history in the order of steps.
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
from fastact.fields import STATE
from fastact.log import LogOptions, LogWriter

#: Layers in a step; rows of all of them in a round, in so many steps at least, as many as are not measured at first.
LAYERS, QUICK_LAYERS = (10, 100, 1_000, 10_000), (10, 100)
ROWS, STEPS = 20_000, 10
ROUNDS = 5
#: Rows a second that are asked for, of so many layers, and for how many seconds.
RATE, MANY, SECONDS = 100_000, 10_000, 5.0


class Watched:
    """A monitor of `layers` layers, whose steps are timed.

    Args:
        layers: how many there are.
        folder: where the log goes; None for none.
        axis: that of the neurons, for sweeps per neuron.
        options: further ones of the monitor.
    """

    def __init__(self, layers: int, folder: Path | None, axis: int | None = None, **options: Any) -> None:
        self.names, self.axis = [f"layer{i}" for i in range(layers)], axis
        self.monitor = fastact.ActivationMonitor(folder, **options)
        self.recording: list[float] = []
        self.stepping: list[float] = []
        self.all: list[float] = []

    def take(self, x: Any, steps: int) -> None:
        """So many steps, whose times are kept."""
        monitor, names, axis = self.monitor, self.names, self.axis
        recording, stepping = [], []
        for _ in range(steps):
            begin = time.perf_counter()
            for name in names:
                monitor.record(name, x, axis=axis, layer_type="Linear")
            between = time.perf_counter()
            monitor.step()
            recording.append(between - begin)
            stepping.append(time.perf_counter() - between)
        self.recording.append(statistics.median(recording) / len(names))
        self.stepping.append(statistics.median(stepping) / len(names))
        self.all += stepping
        monitor.flush()

    def finish(self, x: Any) -> dict[str, float]:
        """The median seconds of `record` and `step` a layer, and the mean of all steps; what was timed is checked."""
        swept = fastact.summarize(x, axis=self.axis)
        want = (swept if isinstance(swept, fastact.ActivationStats) else swept.total).state
        steps = self.monitor.current_step
        for name in (self.names[0], self.names[-1]):
            last = self.monitor.history[name].rows[-1]
            got = tuple(last[field.name].item() for field in STATE)
            if got != want or last["step"] != steps - 1:
                raise SystemExit(f"{name} has {got} of step {last['step']}, want {want} of step {steps - 1}")
        said, path = self.monitor.diagnose(), self.monitor.path
        self.monitor.close()
        if path is not None:
            log = fastact.open_log(path)
            rows = sum(1 for _ in log.replay()) if steps * len(self.names) < 1 << 14 else log.to_table().num_rows
            lost = sum(self.monitor.dropped.values())
            if rows + lost != steps * len(self.names):
                raise SystemExit(f"the log has {rows} rows and {lost} are counted lost of {steps * len(self.names)}")
            if not lost and log.diagnose() != said:
                raise SystemExit("the diagnosis of the log is another than that of the monitor")
        if not said.healthy:
            raise SystemExit(f"the layers are healthy, and this was found: {said}")
        return {
            "record": statistics.median(self.recording),
            "step": statistics.median(self.stepping),
            "mean": statistics.fmean(self.all) / len(self.names),
        }


def sweep(x: Any, layers: int, steps: int, axis: int | None) -> float:
    """Median seconds of a bare `summarize`."""
    taken = []
    for _ in range(steps):
        begin = time.perf_counter()
        for _ in range(layers):
            fastact.summarize(x, axis=axis)
        taken.append((time.perf_counter() - begin) / layers)
    return statistics.median(taken)


def costs(layers: int, axis: int | None, folder: Path, rounds: int, rows: int) -> dict[str, Any]:
    """What a layer costs, of so many in a step, by turns with the bare sweep."""
    x = np.random.default_rng(0).standard_normal((20, 50), dtype=np.float32)
    watched = {
        "memory": Watched(layers, None, axis),
        "log": Watched(layers, folder / f"log-{layers}-{axis}", axis),
        "alerts": Watched(layers, folder / f"alerts-{layers}-{axis}", axis, on_finding="log"),
    }
    alone = []
    for each in watched.values():
        each.take(x, STEPS)
        each.recording, each.stepping, each.all = [], [], []
    for _ in range(rounds):
        steps = max(STEPS, rows // layers)
        alone.append(sweep(x, layers, min(steps, 200), axis))
        for each in watched.values():
            each.take(x, steps)
    found = {what: each.finish(x) for what, each in watched.items()}
    return {"layers": layers, "per_neuron": axis is not None, "sweep": statistics.median(alone), **found}


def throughput(folder: Path, layers: int, seconds: float, rate: int | None) -> dict[str, Any]:
    """Rows a second of `layers` layers with a log, and how many are dropped, as fast as may be or at a rate."""
    x = np.random.default_rng(0).standard_normal((20, 50), dtype=np.float32)
    watched = Watched(layers, folder / f"rate-{rate}")
    watched.take(x, 2)
    monitor, names = watched.monitor, watched.names
    busy, steps, begin = 0.0, 0, time.perf_counter()
    while (now := time.perf_counter()) < begin + seconds:
        for name in names:
            monitor.record(name, x)
        monitor.step()
        steps += 1
        busy += time.perf_counter() - now
        if rate is not None:
            time.sleep(max(0.0, begin + steps * layers / rate - time.perf_counter()))
    taken = time.perf_counter() - begin
    dropped = sum(monitor.dropped.values())
    watched.finish(x)
    found = {"asked": rate, "layers": layers, "rows": steps * layers, "seconds": taken, "busy": busy / taken}
    return {**found, "dropped": dropped}


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
    """Costs, then rows a second, then sizes."""
    del console
    rounds, rows = (1, 1_000) if quick else (ROUNDS, ROWS)
    found: dict[str, Any] = {"rounds": rounds, "costs": [], "rates": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for layers, axis in [(layers, None) for layers in (QUICK_LAYERS if quick else LAYERS)] + [(100, -1)]:
            step(f"{layers:,} layers{' per neuron' if axis else ''}")
            found["costs"].append(costs(layers, axis, folder, rounds, rows))
        many, seconds = (100, 0.2) if quick else (MANY, SECONDS)
        for rate in (RATE, None):
            step(f"{many:,} layers at {'any rate' if rate is None else f'{rate:,} rows a second'}")
            found["rates"].append(throughput(folder, many, seconds, rate))
        step("bytes a row")
        return {**found, "sizes": sizes(folder, 256 if quick else 2048)}


BENCHMARK = Benchmark("record", "what watching costs, and the bytes of a row", run, record_table)

if __name__ == "__main__":
    command([BENCHMARK])
