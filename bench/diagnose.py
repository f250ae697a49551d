"""What a diagnosis of 100 layers with 100 rows each takes: of a sound network, and of ones that are sick throughout.

    python -m bench.diagnose [--rounds 50]

Layers are Linear, ReLU, Linear, Tanh, over and over, as rows come out of a sweep per neuron. Times are those of the
processor, so that what else runs on the machine counts less; the median of the rounds, and the least.

Every layer is asked at each call: nothing is kept from one diagnosis to the next. On two cores of a virtual machine,
on 2026-12-01, beside other work and in units of a loop that was timed between the calls, a sound network took 1.8 ms
(2.6 by the code of that morning), one kind in all layers 5 to 6 (7 to 12.5), four kinds 7 (10.5) and seven 10 (13).
So 5 ms are held where few layers are sick, and not yet where all are. What is left is flat, no line above 4% of the
time: 1.7 ms for the rows themselves (2 MB are copied, so that a training may go on beside it; medians; a view and a
line of health for each layer), and some 50 microseconds a finding, in 140 to 220 calls: its evidence, its message,
the hypotheses on its cause, and what it follows from. 5 ms would be 33 a finding; for that a rule would have to write
the findings of all layers together, not one at a time.
"""

import argparse
import statistics
import time
from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.fields import ROW_DTYPE
from fastact.history import LayerInfo

LAYERS, ROWS, NEURONS, SAMPLES = 100, 100, 96, 64
_TYPES: Final = ("Linear", "ReLU", "Linear", "Tanh")
#: What is wrong with a layer, by its place; over and over.
NETWORKS: Final[dict[str, tuple[str, ...]]] = {
    "sound": ("",),
    "dead": ("dead",),
    "saturated": ("saturated",),
    "exploding": ("exploding",),
    "not finite": ("non_finite",),
    "four kinds": ("exploding", "dead", "constant", "saturated"),
    "seven kinds": ("exploding", "dead", "constant", "saturated", "oscillating", "drifting", "non_finite"),
}


def _sicken(rows: npt.NDArray[np.void], kind: str) -> None:
    """Makes a layer's rows those of a sick one, from the middle on."""
    late, count = rows[len(rows) // 2 :], NEURONS * SAMPLES
    ramp = np.linspace(0.0, 1.0, len(late))
    if kind == "dead":
        late["zeros"] = count * 97 // 100
        late["silent_neurons"] = late["dead_neurons"] = NEURONS * 96 // 100
    elif kind == "saturated":
        late["saturated"], late["mean"], late["std"] = count * 95 // 100, 0.1, 0.98
        late["min"], late["max"] = -1.0, 1.0
    elif kind == "exploding":
        for name in ("mean", "std", "abs_mean", "min", "max", "within_std", "typical_peak"):
            late[name] *= 10.0 ** (6.0 * ramp)
    elif kind == "constant":
        late["within_std"] = 1e-9
    elif kind == "oscillating":
        for name in ("mean", "std", "abs_mean", "min", "max", "within_std", "typical_peak"):
            late[name] *= np.where(np.arange(len(late)) % 2, 6.0, 1.0)
    elif kind == "drifting":
        late["mean"] += 8.0
        late["min"] += 8.0
        late["max"] += 8.0
    elif kind == "non_finite":
        late["nans"] = count // 2


def network(kinds: tuple[str, ...]) -> Diagnoser:
    """A diagnoser that has seen all rows of a network whose layers are sick in these ways in turns."""
    diagnoser, random = Diagnoser(), np.random.default_rng(0)
    for i in range(LAYERS):
        kind, count = _TYPES[i % 4], NEURONS * SAMPLES
        rows = np.zeros(ROWS, ROW_DTYPE)
        rows["step"], rows["layer"], rows["count"] = np.arange(ROWS), i, count
        rows["zeros"] = count // 2 if kind == "ReLU" else 0
        rows["mean"], rows["std"] = 0.3 + 0.01 * random.standard_normal(ROWS), 0.5 + 0.01 * random.standard_normal(ROWS)
        rows["abs_mean"], rows["min"], rows["max"] = 0.5, 0.0 if kind == "ReLU" else -0.9, 0.95
        rows["neurons"], rows["within_std"], rows["peak_neuron"], rows["typical_peak"] = NEURONS, 0.4, 3, 0.9
        _sicken(rows, kinds[i % len(kinds)])
        info = LayerInfo(f"blocks.{i // 4}.{i % 4}", i, kind, "float32")
        diagnoser.add(info)
        diagnoser.extend(info.name, rows)
    return diagnoser


def measure(diagnoser: Diagnoser, rounds: int) -> tuple[float, float]:
    """The median and the least of the milliseconds that a diagnosis takes of the processor."""
    taken = []
    for _ in range(rounds):
        start = time.process_time_ns()
        diagnoser.diagnose()
        taken.append((time.process_time_ns() - start) / 1e6)
    return statistics.median(taken), min(taken)


def main() -> None:
    """Prints a line for each network."""
    parser = argparse.ArgumentParser(prog="python -m bench.diagnose", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    print(f"{'network':<14}{'findings':>9}{'culprits':>9}{'conditions':>11}{'median ms':>11}{'least ms':>10}")
    for name, kinds in NETWORKS.items():
        diagnoser = network(kinds)
        findings = diagnoser.diagnose().findings  # once before: what is imported and cached
        culprits = sum(finding.consequence_of is None for finding in findings)
        conditions = len({finding.condition for finding in findings})
        median, least = measure(diagnoser, rounds)
        print(f"{name:<14}{len(findings):>9}{culprits:>9}{conditions:>11}{median:>11.2f}{least:>10.2f}")


if __name__ == "__main__":
    main()
