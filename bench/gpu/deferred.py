"""An ablation: what rows that follow later are worth on a device, beside rows that the host waits for at once.

`fastact.cuda.deferred` lets the training go on while the device sweeps: a ring of rows, kernels of their own, a queue
of steps. Without it each `record` would be a `summarize` that waits. Unless a watched step is clearly slower that way,
the machinery should go.
"""

import tempfile
from collections.abc import Callable
from typing import Any

from rich.console import Console

import fastact
from bench.gpu.clock import Clock, about
from bench.gpu.train import ROUNDS, STEPS, check_rows, gpt, measure
from bench.run import Benchmark
from bench.tables import BARE, watch_table
from bench.watch import Case, Watcher, bare, ours
from fastact.cuda.deferred import DeferredRows

__all__ = ["DEFERRED", "AtOnce", "ablated", "wait_at_once"]

#: What each contestant does, for the page beside the results.
ASKED = {
    BARE: "the training step alone",
    "deferred rows": "watch(model, monitor): launched, and the host goes on",
    "rows at once": "each layer is swept while the host waits, as without fastact.cuda.deferred",
}


class AtOnce(DeferredRows):
    """Defers no row."""

    def record(self, *_: Any) -> None:
        """Tells the monitor to sweep while the host waits."""


def wait_at_once(monitor: fastact.ActivationMonitor) -> None:
    """Has a monitor that has recorded nothing yet wait for each sweep on a GPU."""
    queue = monitor._queue
    queue.deferred = AtOnce()


def ablated(case: Case, device: str, rounds: int, steps: int) -> dict[str, Any]:
    """The training step by whether the host waits."""
    with (
        tempfile.TemporaryDirectory() as folder,
        fastact.ActivationMonitor(f"{folder}/deferred") as deferred,
        fastact.ActivationMonitor(f"{folder}/at once") as at_once,
    ):
        wait_at_once(at_once)
        watchers: dict[str, Watcher] = {"deferred rows": ours(deferred), "rows at once": ours(at_once), BARE: bare}
        rows = measure(case, Clock(device), watchers, rounds, steps)
        for monitor in (deferred, at_once):
            monitor.flush()
            check_rows(monitor)
    return {"gpu": about(device), "asked": ASKED, "rounds": rounds, "steps": steps, "rows": rows}


def _run(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    del console
    case = gpt("cuda", width=128, layers=2, batch=2, positions=64) if quick else gpt("cuda")
    step(case.name)
    return ablated(case, "cuda", 2 if quick else ROUNDS, STEPS)


DEFERRED = Benchmark("gpu_deferred", "GPU: deferred rows, or rows waited for at once", _run, watch_table)
