"""What a live diagnosis over many ranks costs rank 0, by simulation: ``python -m bench.scale_ranks``.

One process plays all ranks: it packs the rows of one exchange for each, measures what rank 0 has to do with them, and
counts the bytes. What the network takes follows from these: rank 0 gets all of them, each machine's first rank those
of its machine. Nothing is sent.
"""

import argparse
import json
import resource
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.fields import ROW_DTYPE
from fastact.history import LayerInfo
from fastact.monitor.whole import Whole, packed


@dataclass
class Cost:
    """Of one exchange: what rank 0 gets, how long its thread takes, its peak memory, whether it found the sick rank."""

    ranks: int
    layers: int
    steps: int
    megabytes: float
    packing_us: float
    taking_s: float
    diagnosing_s: float
    peak_mb: float
    found: bool


def rows_of(rank: int, step: int, layers: int, *, sick: bool) -> list[Any]:
    """The rows of one rank in one step."""
    rows = np.zeros(layers, ROW_DTYPE)
    noise = np.random.default_rng((rank, step)).normal(size=layers)
    values = {
        "step": step, "layer": np.arange(layers), "count": 4096, "mean": 0.02 * noise, "std": 1.0 + 0.05 * noise,
        "abs_mean": 0.8, "min": -3.0, "max": 3.0, "neurons": 64, "within_std": 0.9, "typical_peak": 2.4,
    }  # fmt: skip
    for name, value in values.items():
        rows[name] = value
    if sick:
        rows["nans"][layers // 2] = 1
    return rows.tolist()


def measure(ranks: int, layers: int, steps: int, exchanges: int) -> Cost:
    """The cost of the last exchange of several."""
    whole = Whole(ranks, Diagnoser)
    infos = [LayerInfo(f"layers.{number}", number, "Linear", "float32") for number in range(layers)]
    packing = taking = diagnosing = 0.0
    size = 0
    for exchange in range(exchanges):
        packing, size = 0.0, 0
        packets = []
        for rank in range(ranks):
            of_steps = range(exchange * steps, (exchange + 1) * steps)
            rows = [rows_of(rank, step, layers, sick=rank == ranks - 1 and step == 1) for step in of_steps]
            begin = time.perf_counter()
            new = infos if not exchange else []
            packets.append(b"".join(packed("", new if not place else [], each) for place, each in enumerate(rows)))
            packing += time.perf_counter() - begin
            size += len(packets[-1])
        begin = time.perf_counter()
        for rank, packet in enumerate(packets):
            whole.take(rank, packet)
        whole.settle()
        taking = time.perf_counter() - begin
        begin = time.perf_counter()
        diagnosis = whole.diagnose()
        diagnosing = time.perf_counter() - begin
    found = any(finding.ranks == (ranks - 1,) for finding in diagnosis.findings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(ranks, layers, steps, size / 1e6, packing / ranks * 1e6, taking, diagnosing, peak, found)


def main() -> None:
    """Prints a line for each number of ranks, and the growth from one to the next as an exponent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--steps", type=int, default=1, help="steps whose rows are sent in one exchange")
    parser.add_argument("--exchanges", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    before: Cost | None = None
    for ranks in options.ranks:
        cost = measure(ranks, options.layers, options.steps, options.exchanges)
        if options.json:
            print(json.dumps(asdict(cost)))
            continue
        growth = ""
        if before is not None:
            exponent = np.log(cost.taking_s / before.taking_s) / np.log(cost.ranks / before.ranks)
            growth = f", growth {exponent:.2f}"
        print(
            f"{cost.ranks:>7,} ranks x {cost.layers} layers x {cost.steps} steps: {cost.megabytes:.1f} MB to rank 0, "
            f"packed in {cost.packing_us:.0f} us a rank, taken in in {cost.taking_s:.3f} s{growth}, diagnosed in "
            f"{cost.diagnosing_s:.3f} s, peak {cost.peak_mb:.0f} MB, sick rank found: {cost.found}"
        )
        before = cost


if __name__ == "__main__":
    main()
