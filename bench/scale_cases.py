"""What `bench.scale` measures: each case makes its data in a folder once, and times one thing in a process of its own.

python -m bench.scale_cases CASE SIZE FOLDER    # prints {"seconds", "megabytes"} as JSON
"""

import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import fastact
from bench import log as long_log
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.fields import ROW_DTYPE
from fastact.history import LayerInfo
from fastact.log.codec import Encoder
from fastact.log.files import sealed_name
from fastact.log.frames import END_MARK
from fastact.log.schema import Header

#: Rows of a batch, and of a segment of the long log.
_BATCH, _SEGMENT = 1024, 500_000
#: Steps and layers of a rank, where there are a thousand, and where there are ten thousand.
_RANK, _SMALL_RANK = (100, 50), (20, 10)
#: Files that a process may have open while ranks are read.
_DESCRIPTORS = 256
_REPEAT = 3


def infos(layers: int) -> list[LayerInfo]:
    """So many layers, every other one a ReLU."""
    kinds = ("Linear", "ReLU")
    return [LayerInfo(f"blocks.{i}.{kinds[i % 2].lower()}", i, kinds[i % 2], "float32") for i in range(layers)]


def rows_of(first: int, steps: int, layers: int, random: np.random.Generator) -> npt.NDArray[np.void]:
    """Rows of healthy layers, as `bench.log` makes them."""
    long_log.LAYERS = layers
    return long_log.rows_of(first, steps, random)


def write_segment(folder: Path, number: int, rows: npt.NDArray[np.void], layers: int, row: int) -> None:
    """A sealed segment, in a hundredth of the time of appending its rows; `row` is the number of its first one."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder = Encoder(Header("0123456789abcdef", row, tuple(infos(layers))), 0, "lz4")
    with (folder / sealed_name(number)).open("wb") as file:
        file.write(encoder.front)
        for begin in range(0, len(rows), _BATCH):
            some = rows[begin : begin + _BATCH]
            file.write(encoder.batch(some, row + begin))
        file.write(encoder.index(row + len(rows)) + END_MARK)


def make_ranks(folder: Path, ranks: int, steps: int, layers: int) -> None:
    """Directories of ranks: four different ones, and copies of them."""
    random = np.random.default_rng(0)
    for rank in range(ranks):
        place = folder / f"rank-{rank:05d}"
        if rank < 4:
            write_segment(place, 0, rows_of(0, steps, layers, random), layers, 0)
        else:
            shutil.copytree(folder / f"rank-{rank % 4:05d}", place)


def make_log(folder: Path, rows: int) -> None:
    """A log of 50 layers. Those of fewer rows beside it lend it their segments."""
    layers, random = 50, np.random.default_rng(0)
    shorter = max((place for place in folder.parent.iterdir()), key=lambda place: int(place.name), default=None)
    lent = 0 if shorter is None else int(shorter.name) // _SEGMENT  # those that are full
    folder.mkdir()
    for number in range(-(-rows // _SEGMENT)):
        if shorter is not None and number < lent:
            os.link(shorter / sealed_name(number), folder / sealed_name(number))
        else:
            begin = number * _SEGMENT
            steps = min(_SEGMENT, rows - begin) // layers
            write_segment(folder, number, rows_of(begin // layers, steps, layers, random), layers, begin)


def sick(layers: int, rows: int, dead: float, types: tuple[str, ...] = ("Linear", "ReLU")) -> Diagnoser:
    """A diagnoser that has seen so many rows of layers of which a share of the neurons is dead."""
    diagnoser, neurons = Diagnoser(), 96
    random = np.random.default_rng(0)
    for i in range(layers):
        kind = types[i % len(types)]
        info = LayerInfo(f"blocks.{i}", i, kind, "float32")
        table = np.zeros(rows, ROW_DTYPE)
        table["step"], table["layer"], table["count"] = np.arange(rows), i, 64 * neurons
        table["zeros"] = int(64 * neurons * (dead + (1.0 - dead) / 2.0 * (kind == "ReLU")))
        table["mean"], table["std"] = 0.5 + 0.01 * random.standard_normal((2, rows))
        table["abs_mean"], table["min"], table["max"] = 0.6, 0.0 if kind == "ReLU" else -3.0, 4.0
        table["neurons"], table["silent_neurons"], table["dead_neurons"] = (
            neurons,
            int(neurons * dead),
            int(neurons * dead),
        )
        table["within_std"], table["peak_neuron"], table["typical_peak"] = 0.5, 3, 2.0
        diagnoser.add(info)
        diagnoser.extend(info.name, table)
    return diagnoser


def starved(experts: int) -> Diagnoser:
    """One mixture, half of whose experts get no tokens any more after the first third."""
    diagnoser, rows = Diagnoser(), 60
    for i in range(experts):
        info = LayerInfo(f"block.experts.{i}.up", i, "Linear", "float32")
        table = np.zeros(rows if i % 2 else rows // 3, ROW_DTYPE)
        table["step"], table["layer"], table["count"] = np.arange(len(table)), i, 64 * 64
        table["mean"], table["std"], table["abs_mean"], table["min"], table["max"] = 0.1, 1.0, 0.8, -3.0, 3.0
        table["neurons"], table["within_std"], table["peak_neuron"], table["typical_peak"] = 64, 0.9, 7, 2.4
        diagnoser.add(info)
        diagnoser.extend(info.name, table)
    return diagnoser


class Case(NamedTuple):
    """One thing that is measured at several sizes.

    Attributes:
        what: in words, with the unit of the size.
        sizes: rising; the last one is what the target is of.
        target: seconds, and megabytes of the process at its peak, for the last size to stay under; None is no bound.
        make: makes what is on the disk for a size; None where nothing is.
        prepare: what is to be timed, for a size and the folder.
    """

    what: str
    sizes: tuple[int, ...]
    target: tuple[float, float | None]
    make: Callable[[Path, int], None] | None
    prepare: Callable[[Path, int], Callable[[], Any]]


def _diagnosing(diagnoser: Diagnoser, least: int) -> Callable[[], Any]:
    def diagnose() -> None:
        found = diagnoser.diagnose()
        sick_layers = sum(len(note.layers) for note in found.notes) + len(found.findings)
        if sick_layers < least:
            raise SystemExit(f"{sick_layers} layers were found sick, at least {least} are")

    return diagnose


def _merged(folder: Path, _: int) -> Callable[[], Any]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))
    log = fastact.open_log(folder)
    return log.diagnose


def _last_steps(folder: Path, size: int) -> Callable[[], Any]:
    first = size // 50 - 100

    def last() -> None:
        found = fastact.open_log(folder).aggregate("step", from_step=first)
        if len(found) != 100:
            raise SystemExit(f"{len(found)} steps, want 100")

    return last


_LAYERS, _LOG = (1250, 2500, 5000, 10_000), (2_500_000, 5_000_000, 10_000_000, 20_000_000)
CASES: dict[str, Case] = {
    "layers": Case(
        "diagnose: layers, a third of each dead", _LAYERS, (1.0, None), None,
        lambda _, size: _diagnosing(sick(size, 50, 1 / 3), size),
    ),
    "all-sick": Case(
        "diagnose: layers with 100 rows, all dead", (25, 50, 100, 200), (0.01, None), None,
        lambda _, size: _diagnosing(sick(size, 100, 1.0), size),
    ),
    "experts": Case(
        "diagnose: experts of a mixture, half starved", _LAYERS, (1.0, None), None,
        lambda _, size: _diagnosing(starved(size), 1),
    ),
    "ranks": Case(
        "diagnose: ranks of 50 layers and 100 steps, 256 descriptors", (128, 256, 512, 1024), (6.0, 600.0),
        lambda folder, size: make_ranks(folder, size, *_RANK), _merged,
    ),
    "open": Case(
        "open: ranks of 10 layers and 20 steps", _LAYERS, (10.0, None),
        lambda folder, size: make_ranks(folder, size, *_SMALL_RANK), lambda folder, _: lambda: fastact.open_log(folder),
    ),
    "many-ranks": Case(
        "diagnose: ranks of 10 layers and 20 steps", _LAYERS, (60.0, 2000.0),
        lambda folder, size: make_ranks(folder, size, *_SMALL_RANK), _merged,
    ),
    "aggregate": Case(
        "aggregate by step: rows", _LOG, (30.0, 500.0), make_log,
        lambda folder, _: lambda: fastact.open_log(folder).aggregate("step"),
    ),
    "diagnose": Case(
        "diagnose: rows of 50 layers", _LOG, (15.0, 500.0), make_log,
        lambda folder, _: lambda: fastact.open_log(folder).diagnose(),
    ),
    "last": Case("the last 100 steps: rows of a log of 50 layers", _LOG, (0.1, None), make_log, _last_steps),
}  # fmt: skip


def sizes_of(case: Case, fraction: float) -> Iterable[int]:
    """The sizes of a case, all times a fraction; those of logs have whole steps."""
    return sorted(
        {max(4, int(size * fraction) // 50 * 50 if size >= _SEGMENT else int(size * fraction)) for size in case.sizes}
    )


def measure(name: str, size: int, folder: Path) -> dict[str, float]:
    """The seconds of the fastest of some rounds, and the peak of the process's memory in megabytes."""
    call = CASES[name].prepare(folder, size)
    taken: list[float] = []
    while len(taken) < _REPEAT and sum(taken) < 5.0:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return {"seconds": min(taken), "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
