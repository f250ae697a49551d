"""How fast many files are swept: by `sweep_files`, beside a bare read of them; by a process pool, Dask and Ray.

Shards of float32 are written once into a folder, .npy and Parquet, and swept from the page cache. A bare read is what
the same reader does without a sweep: `np.load` for .npy, `iter_batches` for Parquet, each in as many threads as CPUs.

python -m bench.engines --gigabytes 8            # as the targets say
python -m bench.engines --gigabytes 1 --folder /tmp/shards
"""

import argparse
import json
import logging
import multiprocessing
import resource
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

import fastact
from fastact import ActivationStats, sweep_files
from fastact.cpu.threads import get_num_threads, set_num_threads

#: Megabytes of a shard.
_SHARD: Final = 64
_WIDTH: Final = 1024
_POOL: Final = "process pool"


def shards(folder: Path, gigabytes: float, suffix: str) -> list[Path]:
    """Files of that many bytes in all, written where they are not there yet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    count = max(2, round(gigabytes * 1000 / _SHARD))
    paths = [folder / f"{i:05}{suffix}" for i in range(count)]
    x = np.random.default_rng(0).standard_normal((_SHARD * 1_000_000 // 4 // _WIDTH, _WIDTH), np.float32)
    for i, path in enumerate(paths):
        if path.exists():
            continue
        part = np.roll(x, i, axis=1)
        if suffix == ".npy":
            np.save(path, part)
        else:
            column = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), _WIDTH)
            pq.write_table(pa.table({"x": column}), path, use_dictionary=False)
    return paths


def read_bare(path: Path) -> None:
    """What a reader does alone."""
    import pyarrow.parquet as pq

    if path.suffix == ".npy":
        np.load(path)
        return
    with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        for group in range(file.metadata.num_row_groups):
            for _ in file.iter_batches(batch_size=2048, row_groups=[group]):
                pass


def in_threads(paths: list[Path]) -> None:
    """A bare read of all, in as many threads as there are CPUs."""
    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(read_bare, paths))


def sweep_one(path: Path) -> Any:
    """What a process of a pool does: one file, in one thread, and the state back."""
    set_num_threads(1)
    return sweep_files(path, workers=1).total


def in_pool(pool: ProcessPoolExecutor, paths: list[Path]) -> ActivationStats:
    """A process pool, as people write it."""
    total: ActivationStats = fastact.merge(pool.map(sweep_one, paths))
    return total


def seconds(run: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    """The best time, and the answer."""
    best, answer = float("inf"), None
    for _ in range(times):
        begun = time.perf_counter()
        answer = run()
        best = min(best, time.perf_counter() - begun)
    return best, answer


def peak_of(run: Callable[[], Any]) -> float:
    """Megabytes by which memory grew while it ran, sampled every 5 ms."""
    status = Path("/proc/self/statm")
    page = resource.getpagesize()
    highest = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            highest[0] = max(highest[0], int(status.read_text().split()[1]) * page)

    before = int(status.read_text().split()[1]) * page
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    run()
    done.set()
    watcher.join()
    return (highest[0] - before) / 1e6


def engines(paths: list[Path], times: int) -> Iterator[tuple[str, float, Any]]:
    """(name, seconds, answer) of a process pool, Dask and Ray, each with a process a CPU, started beforehand.

    The pool, which the others are compared with, comes first and last, with the system's cache as warm for it.
    """
    workers = get_num_threads()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        in_pool(pool, paths[:workers])
        yield (_POOL, *seconds(lambda: in_pool(pool, paths), times))
        yield from _dask(paths, times, workers)
        yield from _ray(paths, times, workers)
        yield (_POOL, *seconds(lambda: in_pool(pool, paths), times))


def _dask(paths: list[Path], times: int, workers: int) -> Iterator[tuple[str, float, Any]]:
    from distributed import Client, LocalCluster

    import fastact.dask

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        Client(cluster),
    ):
        fastact.dask.sweep_files(paths[: 2 * workers])
        yield ("Dask", *seconds(lambda: fastact.dask.sweep_files(paths).total, times))


def _ray(paths: list[Path], times: int, workers: int) -> Iterator[tuple[str, float, Any]]:
    import ray

    import fastact.ray

    ray.init(num_cpus=workers, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    try:
        fastact.ray.sweep_files(paths[: 2 * workers])
        yield ("Ray tasks", *seconds(lambda: fastact.ray.sweep_files(paths).total, times))
        if paths[0].suffix == ".parquet":
            ray.data.DataContext.get_current().enable_progress_bars = False
            logging.getLogger("ray.data").setLevel(logging.ERROR)

            def data() -> Any:
                dataset = ray.data.read_parquet([str(path) for path in paths])
                return fastact.ray.summarize(dataset, "x")

            yield ("Ray Data", *seconds(data, times))
    finally:
        ray.shutdown()


def measure(paths: list[Path], times: int, *, others: bool) -> dict[str, float]:
    """A row of the table: `sweep_files` beside a bare read, and engines beside a process pool."""
    size = sum(path.stat().st_size for path in paths) / 1e9
    sweep_files(paths[:2])
    bare, _ = seconds(lambda: in_threads(paths), times)
    mine, found = seconds(lambda: sweep_files(paths).total, times)
    row = {
        "bare GB/s": size / bare,
        "sweep_files GB/s": size / mine,
        "share of bare": bare / mine,
        "peak MB": peak_of(lambda: sweep_files(paths)),
    }
    taken: dict[str, float] = {}
    for name, took, total in engines(paths, times) if others else ():
        assert (total.count, total.min, total.max) == (found.count, found.min, found.max), name
        taken[name] = min(took, taken.get(name, took))
    for name, took in taken.items():
        row[f"{name} GB/s"] = size / took
        if name != _POOL:
            row[f"{name} of pool"] = taken[_POOL] / took
    return row


def main() -> None:
    """Measures and prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="where shards are kept; by default a temporary folder")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--no-engines", action="store_true", help="only sweep_files beside a bare read")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    warnings.simplefilter("ignore")
    for suffix in (".npy", ".parquet"):
        with tempfile.TemporaryDirectory() as temporary:  # one format after the other: half of the disk
            paths = shards((arguments.folder or Path(temporary)) / suffix[1:], arguments.gigabytes, suffix)
            results[suffix] = row = measure(paths, arguments.times, others=not arguments.no_engines)
            print(f"{suffix}: {arguments.gigabytes:.2f} GB in {len(paths)} files")
            for name, value in row.items():
                print(f"  {name:24} {value:8.2f}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
