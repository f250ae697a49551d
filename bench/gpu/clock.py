"""Time on a device, by its own events, beside the time for which the host was kept; by turns, as everywhere."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from fastact.benchmark.turns import FEWEST, PATIENCE, TURN, by_turns

__all__ = ["Clock", "Times", "about", "compare", "missing"]


def missing() -> str | None:
    """Why nothing can be measured here; None where it can."""
    from fastact.cuda.driver import unusable

    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} finds no CUDA device"
    return unusable()


def about(device: str) -> dict[str, Any]:
    """The device's name and what belongs to it."""
    if device == "cpu":
        return {"name": "cpu"}
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory": properties.total_memory,
        "processors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
    }


class Times(NamedTuple):
    """Seconds a call.

    Attributes:
        device: from the first call's beginning to the last one's end, as the device saw it.
        host: until the last call returned.
    """

    device: float
    host: float


class Clock:
    """Takes times on a device; on "cpu" the host's own."""

    def __init__(self, device: str) -> None:
        self._events = device != "cpu"

    def time(self, call: Callable[[], object], loops: int) -> Times:
        """Of `loops` calls, begun when the device has nothing else to do."""
        if not self._events:
            start = time.perf_counter()
            for _ in range(loops):
                call()
            host = (time.perf_counter() - start) / loops
            return Times(host, host)
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start = time.perf_counter()
        first.record()
        for _ in range(loops):
            call()
        host = (time.perf_counter() - start) / loops
        last.record()
        torch.cuda.synchronize()
        return Times(first.elapsed_time(last) / 1000 / loops, host)

    def fill(self, call: Callable[[], object]) -> tuple[int, float]:
        """How many calls last for a turn, and the seconds that they took."""
        loops = 1
        while (seconds := max(self.time(call, loops)) * loops) < TURN:
            loops = max(2 * loops, math.ceil(loops * TURN / max(seconds, 1e-9)))
        return loops, seconds


def compare(
    clock: Clock, calls: Mapping[str, Callable[[], object]], rounds: int, base: str
) -> dict[str, dict[str, float]]:
    """Times all contestants by turns, warm, `base` last.

    Returns:
        Medians over the rounds: "seconds" on the device and "host" seconds of each, and "ratios" of their times on the
        device to the base's in the same round.
    """
    shares: dict[str, int] = {}
    turns: dict[str, Callable[[], float]] = {}
    hosts: dict[str, list[float]] = {}

    def turn(name: str, loops: int) -> float:
        taken = clock.time(calls[name], loops)
        hosts.setdefault(name, []).append(taken.host)
        return taken.device

    for name in sorted(calls, key=lambda name: name == base):
        loops, seconds = clock.fill(calls[name])
        shares[name] = rounds if name == base else max(FEWEST, int(PATIENCE / seconds))
        turns[name] = lambda name=name, loops=loops: turn(name, loops)  # type: ignore[misc]
    taken = by_turns(turns, shares, rounds)
    return {
        "seconds": {name: statistics.median(each[name] for each in taken if name in each) for name in turns},
        "host": {name: statistics.median(times) for name, times in hosts.items()},
        "ratios": {
            name: statistics.median(each[name] / each[base] for each in taken if name in each) for name in turns
        },
    }
