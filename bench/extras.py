"""What each of `summarize`'s extras costs, and its quantiles beside those of well-kept libraries.

    python -m bench.extras            # needs ddsketch and datasketches for the second table: pip install both

The first table is relative to the plain sweep of the same buffer, all by turns. The second is over a million float32
from a log-normal distribution: time to take them in, bytes when pickled, the largest relative error of the quantiles
0.001, 0.01, ..., 0.999 against sorting, and whether merging two halves gives what the whole gives.
"""

import functools
import importlib.util
import pickle
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import fastact
from fastact import summarize
from fastact.cpu.threads import get_num_threads

ROUNDS = 9
ASKED: list[tuple[str, ...]] = [
    ("shape",),
    ("exponents",),
    ("quantiles",),
    ("outliers",),
    ("shape", "exponents", "quantiles", "outliers"),
]
Q = (0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def costs(dtype: str, size: int) -> list[tuple[str, float, float]]:
    """(extras, GB/s, time over the plain sweep's) for each choice, medians over rounds by turns."""
    x = np.random.default_rng(0).standard_normal(size).astype(dtype)
    calls: dict[tuple[str, ...], Callable[[], object]] = {(): functools.partial(summarize, x)}
    calls |= {asked: functools.partial(summarize, x, extras=asked) for asked in ASKED}
    for call in calls.values():
        call()
    taken: dict[tuple[str, ...], list[float]] = {asked: [] for asked in calls}
    for _ in range(ROUNDS):
        for asked, call in calls.items():
            taken[asked].append(timed(call))
    plain = taken[()]
    return [
        (
            ", ".join(asked) if asked else "none",
            x.nbytes / statistics.median(times) / 1e9,
            statistics.median(t / p for t, p in zip(times, plain, strict=True)),
        )
        for asked, times in taken.items()
    ]


def _by_ddsketch(x: npt.NDArray[Any]) -> tuple[Any, Callable[[Any, Any], Any], Callable[[Any, float], float]]:
    from ddsketch import DDSketch

    sketch = DDSketch(2.0**-8)
    for value in x.tolist():
        sketch.add(value)

    def merge(a: Any, b: Any) -> Any:
        a.merge(b)
        return a

    return sketch, merge, lambda s, q: float(s.get_quantile_value(q))


def _by_kll(x: npt.NDArray[Any]) -> tuple[Any, Callable[[Any, Any], Any], Callable[[Any, float], float]]:
    import datasketches

    sketch = datasketches.kll_floats_sketch(200)
    sketch.update(x)

    def merge(a: Any, b: Any) -> Any:
        a.merge(b)
        return a

    return sketch, merge, lambda s, q: float(s.get_quantile(q))


def _by_fastact(x: npt.NDArray[Any]) -> tuple[Any, Callable[[Any, Any], Any], Callable[[Any, float], float]]:
    return summarize(x, extras="quantiles"), lambda a, b: a | b, lambda s, q: float(s.quantile(q))


def _bytes(sketch: Any) -> int:
    return len(sketch.serialize()) if hasattr(sketch, "serialize") else len(pickle.dumps(sketch))


def sketches() -> list[tuple[str, str, str, str, str]]:
    """(library, million elements a second, bytes, largest relative error, whether merging changes the answer)."""
    x = np.random.default_rng(1).lognormal(0.0, 2.0, 1_000_000).astype(np.float32)
    want = np.quantile(x.astype(np.float64), Q)
    rows = []
    contestants = {"fastact": _by_fastact, "ddsketch": _by_ddsketch, "datasketches": _by_kll}
    for name, build in contestants.items():
        if importlib.util.find_spec(name) is None:
            rows.append((name, "not installed", "", "", ""))
            continue
        build(x)
        seconds = min(timed(functools.partial(build, x)) for _ in range(3))
        sketch, merge, quantile = build(x)
        got = np.array([quantile(sketch, q) for q in Q])
        merged = merge(build(x[:300_000])[0], build(x[300_000:])[0])
        same = all(quantile(merged, q) == g for q, g in zip(Q, got, strict=True))
        error = float(np.abs(got / want - 1.0).max())
        rows.append(
            (name, f"{x.size / seconds / 1e6:,.1f}", f"{_bytes(sketch):,}", f"{error:.2g}", "yes" if same else "no")
        )
    return rows


def main() -> None:
    """Prints both tables."""
    console = Console()
    for dtype in ("float32", "float64", "float16"):
        table = Table(title=f"1e7 {dtype}, {get_num_threads()} threads, fastact {fastact.__version__}", box=None)
        for column in ("extras", "GB/s", "x plain"):
            table.add_column(column, justify="left" if column == "extras" else "right")
        for asked, speed, ratio in costs(dtype, 10**7):
            table.add_row(asked, f"{speed:.1f}", f"{ratio:.1f}")
        console.print(table)
    table = Table(title="quantiles of 1e6 float32, log-normal", box=None)
    for column in ("library", "million/s", "bytes", "largest error", "merging is exact"):
        table.add_column(column, justify="left" if column == "library" else "right")
    for row in sketches():
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
