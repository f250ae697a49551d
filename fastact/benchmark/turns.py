"""How everything is timed: warm, by turns in one process, as medians, with ratios taken within a round."""

import functools
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.benchmark.bandwidth import Reader
from fastact.cpu.threads import get_num_threads

#: A turn of a contestant lasts at least this long, in seconds, or is one call.
TURN: Final = 0.02
#: A slow contestant sits out rounds when its turns would last longer than this altogether, in seconds, ...
PATIENCE: Final = 1.0
#: ... but takes part in at least so many.
FEWEST: Final = 3
#: Other programs, on average, that leave nothing to be measured.
_BUSY: Final = 0.5


class Comparison(NamedTuple):
    """How long each contestant took: median seconds of a call; median of their ratios to the base's in a round."""

    seconds: dict[str, float]
    ratios: dict[str, float]


def load_warning() -> tuple[float, str | None]:
    """The CPUs that others keep busy, and a warning if peers' threads would wait for them: they take 100 times as long.

    Where the system counts what its CPUs do, over a second in which this process sleeps: the load average of the last
    minute has what this process did itself a minute ago. Elsewhere it is the load average.
    """
    before = _ticks()
    if before is not None:
        time.sleep(1.0)
        busy, all_of_them = (now - then for now, then in zip(_ticks() or before, before, strict=True))
        load = (os.cpu_count() or 1) * busy / max(all_of_them, 1)
    else:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    warning = f"this machine is busy (load {load:.1f}): the figures will not be worth much"
    return load, warning if load > _BUSY else None


def _ticks() -> tuple[int, int] | None:
    """Of the ticks of all CPUs since the system began those that were busy (the host's others too), and all of them."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
        user, nice, system, idle, waiting, *rest = (int(each) for each in line.split()[1:9])
    except (OSError, ValueError):
        return None
    busy = user + nice + system + sum(rest)
    return busy, busy + idle + waiting


def timed(call: Callable[[], object], loops: int) -> float:
    """Seconds a call, over `loops` calls."""
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - start) / loops


def fill_turn(call: Callable[[], object]) -> tuple[int, float]:
    """The calls that fill a turn, and the seconds that they took."""
    loops = 1
    while (seconds := timed(call, loops) * loops) < TURN:
        loops = max(2 * loops, math.ceil(loops * TURN / max(seconds, 1e-9)))
    return loops, seconds


def by_turns(
    turns: Mapping[str, Callable[[], float]], shares: Mapping[str, int], rounds: int
) -> list[dict[str, float]]:
    """Takes the turns `rounds` times over, in their order, and gives each round's seconds.

    A turn times a contestant, in seconds a call. It takes part in as many rounds as its share says, evenly spread, by
    default in all.
    """
    return [
        {
            name: turn()
            for name, turn in turns.items()
            if number * (share := min(rounds, shares.get(name, rounds))) % rounds < share
        }
        for number in range(rounds)
    ]


def compare(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    base: str = "fastact",
    read: Callable[[], float] | None = None,
) -> Comparison:
    """Times all contestants, calls that are warm, by turns: `base` last, right after the bare read `read`.

    Slow contestants sit out some of the rounds. Ratios refer to `base`.
    """
    turns: dict[str, Callable[[], float]] = {}
    shares: dict[str, int] = {}
    for name, call in contestants.items():
        loops, seconds = fill_turn(call)
        turns[name] = functools.partial(timed, call, loops)
        shares[name] = max(FEWEST, int(PATIENCE / seconds))
    if read is not None:
        turns["read"] = read
    # Next to each other, since the load by others on this machine changes from second to second.
    turns[base] = turns.pop(base)
    shares[base] = rounds
    taken = by_turns(turns, shares, rounds)
    return Comparison(
        {name: statistics.median(turn[name] for turn in taken if name in turn) for name in turns},
        {name: statistics.median(turn[name] / turn[base] for turn in taken if name in turn) for name in turns},
    )


def reader_of(raw: npt.NDArray[np.generic]) -> Callable[[], float]:
    """The function that times reading a contiguous array's bytes and doing nothing else, in seconds."""
    # A small buffer may be read faster by one thread than by all.
    readers = [Reader(raw, threads) for threads in sorted({1, get_num_threads()})]
    for reader in readers:
        reader.fill(0.0 if raw.nbytes > 1e8 else TURN, timed)
    return lambda: min(timed(reader, 1) * raw.nbytes / reader.nbytes for reader in readers)
