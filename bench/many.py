"""Many small tensors: `summarize_many` beside a loop over `summarize`, whose answers must be equal first.

python -m bench.many            # the table, and bench/results/many.json
python -m bench.many --quick    # few rounds, nothing written
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console

import fastact
from bench.run import Benchmark, command
from bench.tables import many_table
from fastact.benchmark.turns import compare

TENSORS = 1000
ELEMENTS = (100, 1000, 10_000)
ROUNDS = 15
OWNERS: dict[str, Callable[[Any], Any]] = {"numpy": lambda x: x, "torch": torch.from_numpy}


def run(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    """One row for each size and owner."""
    del console
    rounds = 3 if quick else ROUNDS
    rng = np.random.default_rng(0)
    rows = []
    for elements in ELEMENTS:
        for owner, owned in OWNERS.items():
            step(f"{elements:,} elements, {owner}")
            tensors = [owned(rng.standard_normal(elements, np.float32)) for _ in range(TENSORS)]
            if fastact.summarize_many(tensors) != [fastact.summarize(x) for x in tensors]:
                raise SystemExit(f"summarize_many: {elements} elements, {owner}: other answers than summarize")
            calls: dict[str, Callable[[], object]] = {
                "loop": lambda xs=tensors: [fastact.summarize(x) for x in xs],  # type: ignore[misc]
                "together": lambda xs=tensors: fastact.summarize_many(xs),  # type: ignore[misc]
            }
            seconds, ratios = compare(calls, rounds, base="together")
            rows.append({"elements": elements, "owner": owner, "seconds": seconds, "ratio": ratios["loop"]})
    return {"tensors": TENSORS, "rounds": rounds, "rows": rows}


BENCHMARK = Benchmark("many", "many small tensors", run, many_table)

if __name__ == "__main__":
    command([BENCHMARK])
