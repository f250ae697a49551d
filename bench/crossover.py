"""From which size on threads pay: the measurement behind `fastact.cpu.sweep.PARALLEL_FROM`.

python -m bench.crossover
"""

import functools
import statistics

import numpy as np
from rich.console import Console
from rich.table import Table

import fastact
from bench.tables import duration
from fastact.benchmark.turns import fill_turn, timed
from fastact.cpu import sweep
from fastact.cpu.threads import get_num_threads

ROUNDS = 15
#: Bounds that no buffer is above, or below: everything serial, or everything on threads.
SERIAL, PARALLEL = 1 << 62, 0


def main() -> None:
    """Prints the time of one call on one thread and on all of them, by turns, for growing float32 buffers."""
    table = Table(title=f"float32, 1 and {get_num_threads()} threads", box=None, padding=(0, 2, 0, 0))
    for column in ("KiB", "one thread", "all threads", "ratio"):
        table.add_column(column, justify="right")
    before = sweep.PARALLEL_FROM
    try:
        for kib in (512, 1024, 1536, 2048, 3072, 4096, 8192, 16384):
            call = functools.partial(fastact.summarize, np.ones(kib * 256, np.float32))
            loops, _ = fill_turn(call)
            taken: dict[int, list[float]] = {SERIAL: [], PARALLEL: []}
            for _ in range(ROUNDS):
                for bound, found in taken.items():
                    sweep.PARALLEL_FROM = bound  # type: ignore[misc]
                    found.append(timed(call, loops))
            one, several = (statistics.median(found) for found in taken.values())
            table.add_row(f"{kib:,}", duration(one), duration(several), f"{one / several:.2f}")
    finally:
        sweep.PARALLEL_FROM = before  # type: ignore[misc]
    Console().print(table)


if __name__ == "__main__":
    main()
