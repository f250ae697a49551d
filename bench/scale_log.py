"""The log of a long run: rows a second without a loss, and the room of a history that is thinned.

    python -m bench.scale_log            # 500,000 rows a second for ten seconds, and 10^6 steps of five layers
    python -m bench.scale_log --quick

Rows are appended at the rate that is asked for, or as fast as the loop can. What is dropped, and how many bytes there
are at most meanwhile and at the end, is printed as JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.log import rows_of, size
from fastact.history import LayerInfo
from fastact.log import LogOptions, LogWriter

LAYERS = 50


def rate(rows: int, rows_per_second: float, options: LogOptions) -> dict[str, Any]:
    """Appends rows of 50 layers at a rate; what came of them."""
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        table = rows_of(0, 200, np.random.default_rng(0)).tolist()
        writer = LogWriter(run, options)
        for i in range(LAYERS):
            writer.add_layer(LayerInfo(f"layer.{i}", i, "Linear"))
        begin, most, append = time.perf_counter(), 0, writer.append
        for first in range(0, rows, LAYERS):
            at = first % len(table)
            step = first // LAYERS
            for row in table[at : at + LAYERS]:
                append((step, *row[1:]))
            wait = begin + (first + LAYERS) / rows_per_second - time.perf_counter()
            if wait > 0.001:
                time.sleep(wait)
            if step % 1000 == 0:
                most = max(most, size(run))
        seconds = time.perf_counter() - begin
        at_the_end = size(run)
        writer.close()
        return {
            "rows": rows,
            "rows a second": round(rows / seconds),
            "dropped": writer.dropped,
            "most bytes": max(most, at_the_end),
            "bytes at the end": size(run),
            "files": len(list(run.iterdir())),
        }


def history(steps: int, layers: int, options: LogOptions) -> dict[str, Any]:
    """A run of many steps, in no hurry: the room that its thinned history takes."""
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        table = [row for row in rows_of(0, 20, np.random.default_rng(0)).tolist() if row[1] < layers]
        writer = LogWriter(run, options)
        for i in range(layers):
            writer.add_layer(LayerInfo(f"layer.{i}", i, "Linear"))
        sizes = {}
        for step in range(steps):
            for row in table[step % 20 * layers :][:layers]:
                writer.append((step, *row[1:]))
            if step % 1000 == 999:
                writer.flush()
            if step + 1 in {steps // 100, steps // 10}:
                sizes[step + 1] = size(run)
        time.sleep(2.0)  # retention ends what it is at
        writer.close()
        sizes[steps] = size(run)
        return {"layers": layers, "bytes by steps": sizes, "files": len(list(run.iterdir()))}


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    thinned = LogOptions(keep_steps=1000, merge_steps=10)
    rows, steps = (500_000, 50_000) if quick else (5_000_000, 1_000_000)
    found = {
        "thinned, 500,000 rows a second": rate(rows, 500_000, thinned),
        "kept whole, 500,000 rows a second": rate(rows, 500_000, LogOptions()),
        "history": history(steps, 5, LogOptions(keep_steps=10_000, merge_steps=100)),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
