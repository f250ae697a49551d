"""Whole tensors by size and dtype: one sweep of fastact, its peers doing the same, and a bare read of the bytes.

    python -m bench.sweep            # the table, and bench/results/sweep.json
    python -m bench.sweep --quick    # small sizes, nothing written

All contestants read the same buffer, in one process, by turns, warm; the answers are compared first (`bench.peers`
has who is asked for what). Each figure is the median over the rounds. Small buffers are timed in loops, and their
bandwidth is that of the cache they sit in.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console

from bench.peers import PEERS, Data, contestants
from bench.run import Benchmark, command
from bench.tables import sweep_table
from fastact.benchmark.turns import compare, reader_of

#: By size in float32, then by dtype.
CASES = [
    *((10**power, "float32") for power in range(3, 9)),
    (5 * 10**7, "float64"),
    # From memory, as well: 8 bits of 50 million elements are half in the cache.
    *((10**8, dtype) for dtype in ("bfloat16", "float16", "int8")),
]
QUICK = [(10**3, "float32"), *((10**5, dtype) for dtype in ("float32", "bfloat16", "float64", "float16", "int8"))]
ROUNDS = 11


def measure(data: Data, rounds: int) -> dict[str, Any]:
    """One row: seconds a call of each contestant and of a bare read, and how they compare."""
    calls, off = contestants(data)
    seconds, ratios = compare(calls, rounds, read=reader_of(data.array.reshape(-1).view(np.uint8)))
    return {"dtype": data.dtype, "bytes": data.array.nbytes, "off": off, "seconds": seconds, "ratios": ratios}


def run(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    """All rows."""
    rounds = 3 if quick else ROUNDS
    rows = []
    for elements, dtype in QUICK if quick else CASES:
        step(f"{elements:,} {dtype}")
        rows.append({"elements": elements, **measure(Data.make((elements,), dtype), rounds)})
    return {"asked": {peer.name: peer.asked for peer in PEERS}, "rounds": rounds, "rows": rows}


BENCHMARK = Benchmark("sweep", "whole tensors by size and dtype", run, sweep_table)

if __name__ == "__main__":
    command([BENCHMARK])
