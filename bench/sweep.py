"""Side by side: one sweep of fastact, numpy and torch doing the same, and the machine's read bandwidth.

    python -m bench.sweep            # the table, and bench/results/sweep.json
    python -m bench.sweep --quick    # small sizes, nothing written

All contestants read the same buffer, in one process, by turns, warm; the answers are compared first. Each figure is
the median over the rounds. numpy and torch are asked for fewer numbers than fastact gives (no mean of |x|, +inf and
-inf together), so the comparison is not in fastact's favour. Small buffers are timed in loops, and their bandwidth is
that of the cache they sit in.
"""

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import fastact
from bench.bandwidth import Reader
from bench.sweep_table import HEADER, cells
from fastact.threads import get_num_threads

RESULTS = Path(__file__).parent / "results" / "sweep.json"
CASES = [(10**3, "float32"), (10**5, "float32"), (10**7, "float32"), (10**8, "float32"), (10**8, "bfloat16")]
LO, HI = -0.99, 0.99
#: A turn of a contestant lasts at least this long, in seconds, or is one call.
TURN = 0.02
ROUNDS = 11

#: What each contestant runs, for the reader of the table.
CALLS = {
    "fastact": "summarize(x)",
    "numpy": "count_nonzero(x), mean, std, min, max, count_nonzero((x < lo) | (x > hi)), "
    "count_nonzero(isnan(x)), count_nonzero(isinf(x))",
    "torch": "var_mean(x, correction=0), aminmax(x), count_nonzero(x), count_nonzero(abs(x) > hi), "
    "count_nonzero(isnan(x)), count_nonzero(isinf(x))",
}


class Answer(NamedTuple):
    """What every contestant computes."""

    nonzeros: float
    mean: float
    std: float
    min: float
    max: float
    saturated: float
    nans: float
    infs: float


def by_numpy(x: npt.NDArray[np.float32]) -> tuple[Any, ...]:
    """Numpy's own functions, in the order of `Answer` (the count of non-zeros first)."""
    return (
        np.count_nonzero(x),
        x.mean(),
        x.std(),
        x.min(),
        x.max(),
        np.count_nonzero((x < LO) | (x > HI)),
        np.count_nonzero(np.isnan(x)),
        np.count_nonzero(np.isinf(x)),
    )


def by_torch(x: torch.Tensor) -> tuple[Any, ...]:
    """Torch's own functions, as tensors: a caller who wants numbers pays for `.item()` on top."""
    return (
        torch.count_nonzero(x),
        *torch.var_mean(x, correction=0),
        *torch.aminmax(x),
        torch.count_nonzero(x.abs() > HI),
        torch.count_nonzero(torch.isnan(x)),
        torch.count_nonzero(torch.isinf(x)),
    )


def check(x: Any, peers: dict[str, tuple[Any, ...]], dtype: str) -> None:
    """Stops the benchmark unless all computed the same; torch rounds mean and var of bfloat16 to bfloat16."""
    s = fastact.summarize(x)
    want = Answer(s.count - s.zeros, s.mean, s.std, s.min, s.max, s.saturated, s.nans, s.infs)
    tolerance = s.std * (1e-2 if dtype == "bfloat16" else 1e-5)
    for peer, numbers in peers.items():
        got = Answer(*map(float, numbers))
        if peer == "torch":
            got = got._replace(mean=got.std, std=math.sqrt(got.mean))  # var_mean gives (var, mean)
        for field, ours, theirs in zip(Answer._fields, want, got, strict=True):
            if abs(theirs - ours) > (tolerance if field in ("mean", "std") else 0):
                raise SystemExit(f"{field} of {len(x)} {dtype}: {peer} says {theirs}, fastact {ours}")


def timed(call: Callable[[], object], loops: int) -> float:
    """Seconds a call, over `loops` calls."""
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - start) / loops


def loops_for(call: Callable[[], object]) -> int:
    """How many calls fill a turn."""
    loops = 1
    while (seconds := timed(call, loops) * loops) < TURN:
        loops = max(2 * loops, math.ceil(loops * TURN / max(seconds, 1e-9)))
    return loops


def measure(elements: int, dtype: str, rounds: int, threads: int) -> dict[str, Any]:
    """One row of the table: seconds a call of each contestant and of a bare read, and how they compare."""
    values = np.random.default_rng(1).standard_normal(elements, dtype=np.float32)
    values[::10] = 0
    # numpy and torch compare with the limit rounded to float32, so what equals that would be a matter of rounding.
    values[np.abs(values) == np.float32(HI)] = 0
    tensor = torch.from_numpy(values)
    x: Any = values
    contestants: dict[str, Callable[[], Any]] = {}
    if dtype == "bfloat16":
        x = tensor = tensor.bfloat16()
    else:
        contestants["numpy"] = lambda: by_numpy(values)
    contestants["torch"] = lambda: by_torch(tensor)
    check(x, {name: call() for name, call in contestants.items()}, dtype)

    def sweep() -> object:
        return fastact.summarize(x)

    sweep_loops = loops_for(sweep)
    raw = tensor.view(torch.int16 if dtype == "bfloat16" else torch.int32).numpy()
    # A small buffer may be read faster by one thread than by all.
    readers = [Reader(raw, parts) for parts in sorted({1, threads})]
    for reader in readers:
        reader.fill(0.0 if raw.nbytes > 1e8 else TURN, timed)

    loops = {name: loops_for(call) for name, call in contestants.items()}
    taken: list[dict[str, float]] = []
    for _ in range(rounds):
        seconds = {name: timed(call, loops[name]) for name, call in contestants.items()}
        seconds["read"] = min(timed(reader, 1) * raw.nbytes / reader.nbytes for reader in readers)
        # Next to the bare read: what the neighbours on this machine do changes from second to second.
        seconds["fastact"] = timed(sweep, sweep_loops)
        taken.append(seconds)
    names = list(taken[0])
    return {
        "elements": elements,
        "dtype": dtype,
        "bytes": raw.nbytes,
        "seconds": {name: statistics.median(turn[name] for turn in taken) for name in names},
        # Medians of the rounds' ratios, so that both sides of each had the same machine.
        "ratios": {name: statistics.median(turn[name] / turn["fastact"] for turn in taken) for name in names},
    }


def machine(threads: int) -> dict[str, Any]:
    """Where and with what it was measured."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {
            "fastact": fastact.__version__,
            **{package: version(package) for package in ("numba", "numpy", "torch")},
        },
    }


def table_of(results: dict[str, Any]) -> Table:
    """The results as a table for the terminal."""
    table = Table(title="One sweep, side by side (time of a call, median)", box=None, padding=(0, 1, 0, 0))
    for column in HEADER:
        table.add_column(column, justify="left" if column == "dtype" else "right", no_wrap=True)
    for row in results["rows"]:
        table.add_row(*cells(row))
    return table


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only up to 1e5 elements, 3 rounds, nothing written")
    arguments = parser.parse_args()
    cases = [case for case in CASES if case[0] <= 10**5] if arguments.quick else CASES
    rounds = 3 if arguments.quick else ROUNDS
    threads = get_num_threads()
    torch.set_num_threads(threads)

    console = Console()
    # Peers' threads that wait for a busy core take a hundred times as long: such figures say nothing.
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5:
        console.print(f"[yellow]this machine is busy (load {load:.1f}): the figures will not be worth much")
    rows = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("sweeping", total=len(cases))
        for elements, dtype in cases:
            progress.update(task, description=f"{elements:,} {dtype}")
            rows.append(measure(elements, dtype, rounds, threads))
            progress.advance(task)
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(threads),
        "calls": CALLS,
        "rounds": rounds,
        "load_before": load,
        "rows": rows,
    }
    console.print(table_of(results))
    if not arguments.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        console.print(f"written to {RESULTS}; insert into the README by: python -m bench.readme")


if __name__ == "__main__":
    main()
