"""From nothing to the first answer: whole processes, from their start to their end, by turns, medians.

    python -m bench.start            # the table, and bench/results/start.json
    python -m bench.start --quick    # few rounds, nothing written

Disk caches are warm: the system's, fastact's machine code, and numbagg's where its own switch turns that on.
"""

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from rich.console import Console

from bench.run import Benchmark, command
from bench.tables import start_table
from fastact.benchmark.turns import by_turns

ROUNDS = 7
_ONES = "import numpy; x = numpy.ones(1000, 'float32'); "


class Program(NamedTuple):
    """Two programs of one library: the import, and the import with a first call on 1,000 float32."""

    name: str
    module: str
    call: str
    environment: dict[str, str]


PROGRAMS = [
    Program("Python alone", "sys", "", {}),
    Program("fastact", "fastact", "fastact.summarize(x)", {}),
    Program("numpy", "numpy", "x.mean()", {}),
    Program("torch", "torch", "torch.from_numpy(x).mean()", {}),
    Program("numbagg", "numbagg", "numbagg.nanmean(x)", {}),
    Program("numbagg, cached", "numbagg", "numbagg.nanmean(x)", {"NUMBAGG_CACHE": "1"}),
    Program("bottleneck", "bottleneck", "bottleneck.nanmean(x)", {}),
    Program("NumKong", "numkong", "numkong.moments(x)", {}),
]


def process(code: str, environment: dict[str, str]) -> float:
    """Seconds that a new interpreter takes to run `code` and end."""
    start = time.perf_counter()
    # numbagg warns that its cache is on.
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True)
    return time.perf_counter() - start


def run(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    """One row for each library."""
    rounds = 3 if quick else ROUNDS
    programs = [program for program in PROGRAMS if importlib.util.find_spec(program.module)]
    with tempfile.TemporaryDirectory() as cache:
        turns: dict[str, Callable[[], float]] = {}
        for name, module, call, extra in programs:
            environment = {**os.environ, **extra, **({"NUMBA_CACHE_DIR": cache} if extra else {})}
            codes = {"import": f"import {module}", "first call": f"import {module}; {_ONES}{call}"}
            for what, code in codes.items() if call else [("import", "pass")]:
                turns[f"{name}/{what}"] = lambda code=code, environment=environment: process(code, environment)  # type: ignore[misc]
        for name, turn in turns.items():
            step(f"{name}: warming")
            turn()
        step(f"{rounds} rounds of {len(turns)} processes")
        taken = by_turns(turns, {}, rounds)
    median = {name: statistics.median(turn[name] for turn in taken) for name in turns}
    rows = [
        {
            "name": program.name,
            "call": program.call,
            "seconds": {
                what: median[f"{program.name}/{what}"]
                for what in ("import", "first call")
                if f"{program.name}/{what}" in median
            },
        }
        for program in programs
    ]
    return {"rounds": rounds, "rows": rows}


BENCHMARK = Benchmark("start", "import and first call, in whole processes", run, start_table)

if __name__ == "__main__":
    command([BENCHMARK])
