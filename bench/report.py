"""What a report costs: seconds, memory, bytes, and milliseconds until a browser has drawn it.

    python -m bench.report             # all logs: the table, and bench/results/report.json
    python -m bench.report --quick     # small logs, nothing written

The logs are written by the log's own writer: numbers of layers that wander, named as modules are. A run of a million
steps has the rows that ``LogOptions(keep_steps=10_000, merge_steps=100)`` leaves of it: one for each hundred steps, and
the last ten thousand whole. They are written so, since retention merges rows as fast as a training makes them, not as
fast as they can be made up. The report is made in a process of its own, whose peak of memory beyond that of its imports
is measured. A browser (Debian's chromium, by playwright) opens it with its network off.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import fastact
from fastact.fields import ROW_DTYPE
from fastact.log import LogWriter

CHROMIUM = Path("/usr/bin/chromium")
OUT = Path(__file__).parent / "results" / "report.json"
#: (what, layers, steps, the step from which on every row is there; before, one in a hundred)
CASES = (
    ("a million steps, as retention leaves them", 100, 1_000_000, 990_000),
    ("many layers", 10_000, 100, 0),
    ("every row kept", 100, 20_000, 0),
)
QUICK = (("steps", 10, 2_000, 1_000), ("layers", 1_000, 20, 0))


def write(run: Path, layers: int, steps: int, whole: int) -> None:
    """Writes a log of layers whose numbers wander; in the last tenth some go to zero."""
    random = np.random.default_rng(0)
    kinds = ("Linear", "ReLU", "LayerNorm", "Tanh")
    block = max(1, 8_000 // layers)  # as many rows as may wait in memory
    with LogWriter(run) as writer:
        for i in range(layers):
            name = f"model.stages.{i // 400}.blocks.{i // 20 % 20}.{'abcde'[i // 4 % 5]}.{kinds[i % 4].lower()}"
            writer.add_layer(fastact.LayerInfo(name, i, kinds[i % 4], "float32"))
        level = random.normal(0.0, 1.0, layers)
        at = np.concatenate([np.arange(99, whole, 100), np.arange(whole, steps)])
        for first in range(0, len(at), block):
            some = len(at[first : first + block])
            rows = np.zeros((some, layers), ROW_DTYPE)
            rows["step"], rows["layer"] = at[first : first + block, None], np.arange(layers)
            walk = level + np.cumsum(random.normal(0.0, 0.02, (some, layers)), axis=0)
            level = 0.98 * walk[-1]
            rows["count"], rows["neurons"] = 64 * 256, 256
            rows["std"] = np.exp(0.3 * walk)
            rows["mean"], rows["abs_mean"], rows["within_std"] = 0.1 * walk, 0.8 * rows["std"], 0.7 * rows["std"]
            rows["min"], rows["max"], rows["typical_peak"] = -4 * rows["std"], 4 * rows["std"], 3 * rows["std"]
            late = (rows["step"] > 0.9 * steps) & (rows["layer"] % 997 == 17)
            rows["zeros"] = np.where(rows["layer"] % 4 == 1, 64 * 128, 0)
            rows["zeros"][late], rows["dead_neurons"][late], rows["silent_neurons"][late] = 64 * 256, 256, 256
            for name in ("mean", "std", "abs_mean", "within_std", "min", "max"):
                rows[name][late] = 0.0
            table: list[Any] = rows.ravel().tolist()
            for row in table:
                writer.append(row)
            writer.flush()


def make(run: Path, out: Path) -> dict[str, float]:
    """Makes the report in this process; seconds on the clock and of a core, and megabytes beyond the imports."""
    import fastact.replay.report

    spent = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    fastact.open_log(run).report(out)
    seconds = time.perf_counter() - began
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"seconds": seconds, "cpu_seconds": time.process_time() - spent, "megabytes": peak}


def drawn(page: Path) -> dict[str, float] | None:
    """The milliseconds until the map is drawn, and of drawing it again unfolded; None without a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return None
    if not CHROMIUM.exists():
        return None
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
        tab = context.new_page()
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-drawn]", state="attached")
        first = float(tab.evaluate("Number(document.documentElement.dataset.drawn)"))
        again = tab.evaluate(
            """() => {
                const began = performance.now();
                for (const button of document.querySelectorAll(".controls button")) {
                    if (["Unfold", "Fit all"].includes(button.textContent)) button.click();
                }
                return performance.now() - began;
            }"""
        )
        browser.close()
    return {"first": first, "unfolded": float(again)}


def measure(case: tuple[str, int, int, int], folder: Path) -> dict[str, Any]:
    """Everything about one log."""
    what, layers, steps, whole = case
    run, out = folder / "run", folder / "report.html"
    began = time.perf_counter()
    write(run, layers, steps, whole)
    log = fastact.open_log(run)
    result: dict[str, Any] = {"what": what, "layers": layers, "steps": steps, "log_bytes": log.nbytes}
    result["written_seconds"] = time.perf_counter() - began
    result["rows"] = sum(batch.num_rows for batch in log.to_batches())
    command = [sys.executable, "-m", "bench.report", "--make", str(run), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result |= json.loads(done.stdout)
    result["bytes"] = out.stat().st_size
    result["milliseconds"] = drawn(out)
    return result


def main() -> None:
    """Measures, prints, and writes what was measured."""
    if sys.argv[1:2] == ["--make"]:
        print(json.dumps(make(*map(Path, sys.argv[2:4]))))
        return
    quick, load = "--quick" in sys.argv, os.getloadavg()[0]
    found = []
    for case in QUICK if quick else CASES:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(case, Path(folder)))
        print(json.dumps(found[-1]))
    if not quick:
        OUT.write_text(
            json.dumps({"machine": platform.processor(), "load_before": load, "rows": found}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
