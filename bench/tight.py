"""A call in a tight loop: 1,000 float32 elements, where what a call costs outweighs the reading.

python -m bench.tight            # the table, and bench/results/tight.json
python -m bench.tight --quick    # few rounds, nothing written
"""

from collections.abc import Callable
from typing import Any

from rich.console import Console

import fastact
from bench.peers import PEERS, Data, contestants
from bench.run import Benchmark, command
from bench.tables import tight_table
from fastact.benchmark.turns import compare

ELEMENTS = 1000
ROUNDS = 25
#: What the others are compared with: one number, by the library that everybody has.
UNIT = "numpy: x.mean()"


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
