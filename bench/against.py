"""This checkout beside another one: the same calls by turns, for a change that must not cost speed.

python -m bench.against ../before            # another checkout, such as one made by `git worktree add ../before HEAD~1`
python -m bench.against ../before --quick    # few rounds

Each checkout has a worker process of its own, and this one has a second: what two equal things differ by is the noise
that a ratio must be held against. The workers never run at the same time, and use public names alone.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROUNDS: Final = 25
ROOT: Final = Path(__file__).resolve().parents[1]
#: Seconds of a worker's turn.
TURN: Final = 0.05


def cases() -> dict[str, Callable[[], object]]:
    """What is timed, by name; run in a worker, which imports its own checkout."""
    import torch

    import fastact
    import fastact.torch

    rng = np.random.default_rng(0)
    calls: dict[str, Callable[[], object]] = {}
    for elements in (64, 1000, 100_000, 10_000_000):
        x = rng.standard_normal(elements, np.float32)
        calls[f"summarize {elements:,} float32"] = lambda x=x: fastact.summarize(x)  # type: ignore[misc]
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        t = torch.from_numpy(rng.standard_normal(1_000_000, np.float32)).to(dtype)
        calls[f"summarize 1,000,000 torch {dtype}"] = lambda x=t: fastact.summarize(x)  # type: ignore[misc]
    small = torch.from_numpy(rng.standard_normal(1000, np.float32))
    calls["summarize 1,000 torch float32"] = lambda: fastact.summarize(small)
    for shape in ((256, 64), (512, 1024), (8192, 1024)):
        m = rng.standard_normal(shape, np.float32)
        calls[f"per neuron {shape[0]} x {shape[1]}"] = lambda x=m: fastact.summarize(x, axis=-1)  # type: ignore[misc]
    images = rng.standard_normal((32, 64, 28, 28), np.float32)
    calls["per channel 32 x 64 x 28 x 28"] = lambda: fastact.summarize(images, axis=1)
    many = [rng.standard_normal(1000, np.float32) for _ in range(1000)]
    calls["summarize_many 1,000 x 1,000"] = lambda: fastact.summarize_many(many)
    detailed = rng.standard_normal(1_000_000, np.float32)
    calls["all extras, 1,000,000"] = lambda: fastact.summarize(
        detailed, extras=("shape", "exponents", "quantiles", "outliers")
    )
    stats = fastact.summarize(many[0])
    calls["stats.std"] = lambda: stats.std
    calls["merge of two"] = lambda: stats | stats
    monitor = fastact.ActivationMonitor()
    layer = rng.standard_normal((64, 128), np.float32)

    def record() -> None:
        for name in ("a", "b", "c", "d"):
            monitor.record(name, layer, axis=-1)
        monitor.step()

    calls["record of 4 layers 64 x 128, and step"] = record
    calls["diagnose 4 layers"] = monitor.diagnose
    model = torch.nn.Sequential(*(m for _ in range(8) for m in (torch.nn.Linear(64, 64), torch.nn.ReLU())))
    batch = torch.from_numpy(rng.standard_normal((32, 64), np.float32))
    watched = fastact.ActivationMonitor(tempfile.mkdtemp())
    watch = fastact.torch.watch(model, watched)

    def step() -> None:
        assert watch.names
        model(batch)
        watched.step()

    calls["watched forward of 16 small layers, logged"] = step
    return calls


def work() -> None:
    """A worker: reads a case's name and how often to call it, answers with the seconds of a call."""
    from time import perf_counter

    import fastact

    print(json.dumps([fastact.__file__, *(calls := cases())]), flush=True)
    for line in sys.stdin:
        name, loops = json.loads(line)
        call = calls[name]
        start = perf_counter()
        for _ in range(loops):
            call()
        print((perf_counter() - start) / loops, flush=True)


class Worker:
    """A process that runs one checkout's code."""

    def __init__(self, checkout: Path, process: subprocess.Popen[str]) -> None:
        self._process = process
        where, *self.names = json.loads(self._answer())
        if not Path(where).is_relative_to(checkout):
            raise SystemExit(f"against: a worker for {checkout.name} imported another fastact")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("against: a worker ended; see its error above")
        return line

    def seconds(self, name: str, loops: int) -> float:
        """Seconds of a call, over `loops` calls."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, loops]) + "\n")
        self._process.stdin.flush()
        return float(self._answer())


@contextmanager
def worker(checkout: Path) -> Iterator[Worker]:
    """A worker that imports the package of `checkout`, for as long as the context lasts."""
    here = str(Path(__file__).resolve())
    program = f"import runpy, sys; sys.path.insert(0, {str(checkout)!r}); runpy.run_path({here!r})['work']()"
    command = [sys.executable, "-P", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=checkout) as process:
        try:
            yield Worker(checkout, process)
        finally:
            process.terminate()


def compare(before: Path, rounds: int) -> list[dict[str, Any]]:
    """For each case the median seconds of both checkouts and the quartiles of the ratios, noise beside them."""
    with ExitStack() as stack:
        now, again, old = (stack.enter_context(worker(checkout)) for checkout in (ROOT, ROOT, before))
        rows = []
        for name in track(now.names, "timing", transient=True):
            now.seconds(name, 2)
            once = max(now.seconds(name, 3), old.seconds(name, 5), again.seconds(name, 5))
            loops = max(1, round(TURN / once))
            taken = [[each.seconds(name, loops) for each in (old, now, again)] for _ in range(rounds)]
            rows.append(
                {
                    "call": name,
                    "before": statistics.median(turn[0] for turn in taken),
                    "now": statistics.median(turn[1] for turn in taken),
                    "ratio": statistics.quantiles((turn[1] / turn[0] for turn in taken), n=4),
                    "noise": statistics.quantiles((turn[2] / turn[1] for turn in taken), n=4),
                }
            )
    return rows


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.against", description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    arguments = parser.parse_args()
    rows = compare(arguments.before.resolve(), 5 if arguments.quick else ROUNDS)
    table = Table(title="this checkout beside the other (medians of rounds by turns)", box=None, padding=(0, 2, 0, 0))
    for column in ("call", "before, µs", "now, µs", "now / before", "quartiles", "equal things"):
        table.add_column(column, justify="left" if column == "call" else "right", no_wrap=True)
    for row in rows:
        low, middle, high = row["ratio"]
        numbers = f"{row['before'] * 1e6:,.2f}", f"{row['now'] * 1e6:,.2f}", f"{middle:.3f}", f"{low:.3f}-{high:.3f}"
        table.add_row(row["call"], *numbers, f"{row['noise'][0]:.3f}-{row['noise'][2]:.3f}")
    ratios = [row["ratio"][1] for row in rows]
    Console().print(table)
    Console().print(f"geometric mean of now / before: {statistics.geometric_mean(ratios):.3f}")


if __name__ == "__main__":
    main()
