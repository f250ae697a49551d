"""A call in a tight loop: 1,000 float32 elements, where what a call costs outweighs the reading.

python -m bench.tight            # the table, and bench/results/tight.json
python -m bench.tight --quick    # few rounds, nothing written

What such a call is made of stands beside it, each part with an empty call of its own.
"""

from collections.abc import Callable
from typing import Any

from rich.console import Console

import fastact
from bench.peers import PEERS, Data, contestants
from bench.run import Benchmark, command
from bench.tables import tight_table
from fastact.benchmark.turns import compare
from fastact.stats.activation import ActivationStats, new_stats, set_bounds, set_state
from fastact.stats.fast_path import KNOWN
from fastact.stats.options import DEFAULT_BOUNDS

ELEMENTS = 1000
ROUNDS = 25
#: What the others are compared with: one number, by the library that everybody has.
UNIT = "numpy: x.mean()"


def _parts(array: Any) -> dict[str, Callable[[], object]]:
    """What `summarize(array)` does, one thing after the other."""
    kernel = KNOWN[array.dtype][0]
    first = array[:1].copy()
    lo, hi, tol = DEFAULT_BOUNDS
    state = kernel(array, lo, hi, tol)

    def result() -> object:
        stats = new_stats(ActivationStats)
        set_state(stats, state)
        set_bounds(stats, DEFAULT_BOUNDS)
        return stats

    return {
        "an empty call": lambda: None,
        "part: size, flags, dtype and dimensions asked for": lambda: (
            array.size, array.flags.carray, KNOWN.get(array.dtype), array.ndim,
        ),
        "part: the kernel for one element, that is Numba's entry and 12 numbers": lambda: kernel(first, lo, hi, tol),
        "part: the kernel": lambda: kernel(array, lo, hi, tol),
        "part: the result": result,
    }  # fmt: skip


def run(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    """One row for each thing that is called."""
    rounds = 3 if quick else ROUNDS
    step(f"{ELEMENTS:,} elements")
    data = Data.make((ELEMENTS,), "float32")
    array, tensor = data.array, data.tensor
    stats = fastact.summarize(array)
    peers, off = contestants(data)
    del peers["fastact"]
    calls: dict[str, Callable[[], object]] = {
        "fastact: summarize(array)": lambda: fastact.summarize(array),
        "fastact: summarize(tensor)": lambda: fastact.summarize(tensor),
        "fastact: stats.std": lambda: stats.std,
        **_parts(array),
        UNIT: array.mean,
        "torch: x.mean()": tensor.mean,
        **{f"{name}: what it is asked for whole tensors": call for name, call in peers.items()},
    }
    seconds, ratios = compare(calls, rounds, base=UNIT)
    rows = [{"call": name, "seconds": seconds[name], "ratio": ratios[name]} for name in calls]
    asked = {peer.name: peer.asked for peer in PEERS if peer.name in peers}
    return {"asked": asked, "rounds": rounds, "elements": ELEMENTS, "off": off, "rows": rows}


BENCHMARK = Benchmark("tight", "a call in a tight loop", run, tight_table)

if __name__ == "__main__":
    command([BENCHMARK])
