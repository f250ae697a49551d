"""How time grows with layers, ranks and rows: each thing at four sizes, and the exponent of its growth.

    python -m bench.scale                      # some minutes: the table, and bench/results/scale.json
    python -m bench.scale --fraction 0.1       # a tenth of each size; nothing written
    python -m bench.scale --only ranks last    # some of it; nothing written
    python -m bench.scale --quick              # a hundredth; nothing written

The exponent is that of a power of the size, fitted to the logarithms: 1 is linear, 0 does not grow. Each size is
measured in a process of its own, with what it reads warm in the system's cache. Its memory is the peak of the process,
Python and libraries included. Sizes that take less than a hundredth of a second say more of what does not grow.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench.run import Benchmark, command
from bench.scale_cases import CASES, sizes_of
from bench.tables import scale_table


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The power of the size that the seconds grow with, by least squares of the logarithms."""
    if len(sizes) < 2:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def run(
    console: Console, quick: bool, step: Callable[[str], None], *, fraction: float = 1.0, only: Sequence[str] = ()
) -> dict[str, Any]:
    """One row for each case and size."""
    if unknown := set(only) - set(CASES):
        raise SystemExit(f"--only: got {', '.join(sorted(unknown))}, want some of {', '.join(CASES)}")
    fraction = 0.01 if quick else fraction
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for case_name in only or CASES:
            case = CASES[case_name]
            found = []
            for size in sizes_of(case, fraction):
                step(f"{case.what}: {size:,}")
                kind = case.make.__name__ if case.make is not None else "nothing"
                folder = Path(name) / (kind if kind == "make_log" else case_name) / str(size)
                if case.make is not None and not folder.exists():
                    folder.parent.mkdir(exist_ok=True)
                    case.make(folder, size)
                found.append({"size": size, **_measured(case_name, size, folder)})
            grows = exponent([row["size"] for row in found], [row["seconds"] for row in found])
            rows.append(
                {"case": case_name, "what": case.what, "target": case.target, "exponent": grows, "sizes": found}
            )
    whole = fraction == 1.0 and not only
    if not whole:
        console.print("sizes or cases are not all: nothing is written")
    return {"fraction": fraction, "whole": whole, "rows": rows}


def _measured(case: str, size: int, folder: Path) -> dict[str, float]:
    command_line = [sys.executable, "-m", "bench.scale_cases", case, str(size), str(folder)]
    done = subprocess.run(command_line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case} of {size}: {done.stderr.strip()}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--fraction", type=float, default=1.0, help="of each size, for smaller machines; nothing written"
    )
    parser.add_argument("--only", nargs="+", default=(), metavar="CASE", help=f"some of {', '.join(CASES)}")
    return parser


BENCHMARK = Benchmark("scale", "how time grows with layers, ranks and rows", run, scale_table)

if __name__ == "__main__":
    command([BENCHMARK], options=_options())
