"""Numbers per neuron: `summarize(x, axis)`, its peers doing the same, and a bare read of the bytes.

    python -m bench.neurons            # the table, and bench/results/neurons.json
    python -m bench.neurons --quick    # small shapes, nothing written

Beside each figure stands what arithmetic alone allows, if `python -m bench.bound` was run on this machine before.
"""

import json
import math
from collections.abc import Callable
from typing import Any

from rich.console import Console

from bench import RESULTS
from bench.measure import machine
from bench.peers import PEERS, Data
from bench.run import Benchmark, command
from bench.sweep import measure
from bench.tables import neurons_table

#: Shapes and the neurons' axis: few and many neurons, images, sequences.
CASES: list[tuple[tuple[int, ...], int]] = [
    ((16_000, 4_000), -1),
    ((64_000, 1_000), -1),
    ((1_000_000, 64), -1),
    ((32, 512, 28, 28), 1),
    ((8, 1024, 4096), -1),
]
QUICK: list[tuple[tuple[int, ...], int]] = [((400, 100), -1), ((4, 64, 7, 7), 1), ((2, 64, 128), -1)]
ROUNDS = 9


def _bounds() -> dict[str, float]:
    """Bytes a second that each loop of `bench.bound` folds at most on all threads; none from another machine."""
    try:
        found = json.loads((RESULTS / "bound.json").read_text())
    except (OSError, ValueError):
        return {}
    here = machine()
    if any(found["machine"][what] != here[what] for what in ("cpu", "cores")):
        return {}
    threads = here["threads"]
    times = found["threads"] if threads == 2 else threads
    return {row["loop"]: row["bound"] * times for row in found["rows"]}


def run(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    """All rows."""
    rounds = 3 if quick else ROUNDS
    rows, bounds = [], _bounds()
    for shape, axis in QUICK if quick else CASES:
        step(f"{shape} axis {axis}")
        bound = bounds.get("columns" if math.prod(shape[axis:]) == shape[axis] else "runs")
        measured = measure(Data.make(shape, "float32", axis), rounds)
        rows.append({"shape": shape, "axis": axis, "bound": bound, **measured})
    return {"asked": {peer.name: peer.neurons for peer in PEERS}, "rounds": rounds, "rows": rows}


BENCHMARK = Benchmark("neurons", "per neuron, by shape", run, neurons_table)

if __name__ == "__main__":
    command([BENCHMARK])
