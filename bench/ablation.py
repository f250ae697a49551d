"""What two pieces of machinery gain: the same calls with and without each, by turns in one process.

python -m bench.ablation            # the table, and bench/results/ablation.json
python -m bench.ablation --quick    # few rounds, nothing written

The OpenMP team (`fastact.cpu.openmp`) is judged by a watched training step, the reader of NumPy's headers
(`fastact.cpu.numpy_headers`) by a call of `summarize_many`. What gains under 1% of a step or 10% of a call goes. Rows
that a GPU defers need one: `python -m bench.gpu` measures those.
"""

import functools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest import mock

import numpy as np
from rich.console import Console
from torch import nn

import fastact
from bench.run import Benchmark, command
from bench.tables import BARE, ablation_table
from bench.watch import CASES, Case, Watcher, bare, measure, ours
from fastact.benchmark.turns import compare
from fastact.cpu.sweep_many import Places

ROUNDS: Final = 8
ARRAYS: Final = 1000
ELEMENTS: Final = (10, 100, 1000, 10_000)


def _declines(*_: object) -> bool:
    # A function: a mock would take 20 µs a layer.
    return False


def without_team() -> Any:
    """No OpenMP team, for as long as the context lasts: plain threads share the work."""
    return mock.patch("fastact.cpu.workspace.fold_by_team", _declines)


def without_headers() -> Any:
    """No reader of headers, for as long as the context lasts: every array is asked for its address."""
    return mock.patch("fastact.stats.summarize_many.arrays_at", lambda xs: Places(*np.full((3, len(xs)), -1)))


def under(patched: Callable[[], Any], watcher: Watcher) -> Watcher:
    """A watcher whose steps run with something replaced."""

    @contextmanager
    def watching(model: nn.Module) -> Iterator[Callable[[], object]]:
        with patched(), watcher(model) as after:
            yield after

    return watching


def team(case: Case, rounds: int) -> list[dict[str, Any]]:
    """A training step, bare and watched, with the team and without."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        on, off, again = (
            ours(stack.enter_context(fastact.ActivationMonitor(f"{folder}/{name}"))) for name in ("on", "off", "again")
        )
        watchers: dict[str, Watcher] = {
            "with": on,
            "without": under(without_team, off),
            "with, again": again,
            BARE: bare,
        }
        return measure(case, rounds, watchers)


def headers(elements: int, rounds: int) -> dict[str, Any]:
    """A call on many small arrays, with the reader and without."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(elements, np.float32) for _ in range(ARRAYS)]
    on = functools.partial(fastact.summarize_many, arrays)

    def off() -> object:
        with without_headers():
            return fastact.summarize_many(arrays)

    if on() != off():
        raise SystemExit(f"summarize_many: {elements} elements: other answers without the reader of headers")
    seconds, ratios = compare({"with": on, "without": off}, rounds, base="with")
    return {"elements": elements, "seconds": seconds, "ratio": ratios["without"]}


def run(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    """The rows of both."""
    del console
    rounds = 2 if quick else ROUNDS
    rows = []
    for case in CASES:
        step(case.name)
        rows += team(case, rounds)
    calls = []
    for elements in ELEMENTS:
        step(f"{elements:,} elements")
        calls.append(headers(elements, rounds))
    return {"rounds": rounds, "arrays": ARRAYS, "team": rows, "headers": calls}


BENCHMARK = Benchmark("ablation", "what machinery gains", run, ablation_table)

if __name__ == "__main__":
    command([BENCHMARK])
