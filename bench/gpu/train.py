"""What watching costs on a device: the host's time in `record`, and a training step of a transformer.

The transformer is GPT-2's smallest with 8,192 tokens: some 100 million parameters, in bfloat16, every layer watched in
every step, beside no monitor and beside hooks as people write them.
"""

import functools
import statistics
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from rich.console import Console

import fastact
from bench.gpu.clock import Clock, about
from bench.run import Benchmark
from bench.tables import BARE, gpu_record_table, watch_table
from bench.watch import GPT, Case, Training, Watcher, bare, four_numbers, hooked, ours
from fastact.benchmark.turns import by_turns

__all__ = ["RECORD", "TRAIN", "check_rows", "gpt", "measure", "recorded", "trained"]

ROUNDS = 20
#: Training steps of a turn, so that every 10th is one of them.
STEPS = 10
#: Layers in a step of the tight loop.
LAYERS = 100
#: One layer's output: [batch, positions, width].
SHAPE = (8, 1024, 768)
TOKENS = 8192


def gpt(device: str, *, width: int = 768, layers: int = 12, batch: int = 8, positions: int = 1024) -> Case:
    """The transformer on a device, and a batch of random tokens to train it on."""

    def build() -> torch.nn.Module:
        return GPT(width, width // 64, layers, positions, TOKENS).to(device, torch.bfloat16)

    def tokens() -> tuple[torch.Tensor, torch.Tensor]:
        drawn = torch.randint(0, TOKENS, (2, batch, positions), device=device)
        return drawn[0], drawn[1].flatten()

    return Case(f"GPT {layers} x {width}, {batch} x {positions} tokens", build, tokens)


def kept_numbers(x: torch.Tensor) -> list[torch.Tensor]:
    """What a careful hook does: the numbers stay on the device until somebody wants them."""
    return [x.mean(), x.std(), x.min(), x.max()]


#: What each contestant does, for the page beside the results.
ASKED = {
    BARE: "the training step alone; twice, to show what two equal things differ by",
    "fastact": "watch(model, monitor): all of a row's numbers, per neuron, history, log on disk",
    "fastact, every 10th": "the same with every=10",
    "hooks": "mean, std, min and max with .item()",
    "hooks, no wait": "mean, std, min and max, left on the device",
}


def turn(training: Training, clock: Clock, watcher: Watcher, steps: int) -> float:
    """Seconds a step, on the device."""
    with watcher(training.model) as after:

        def step() -> None:
            training.step()
            after()

        return clock.time(step, steps).device


def measure(case: Case, clock: Clock, watchers: Mapping[str, Watcher], rounds: int, steps: int) -> list[dict[str, Any]]:
    """One row for each contestant."""
    training = Training(case)
    for watcher in watchers.values():
        turn(training, clock, watcher, steps)
    turns = {name: functools.partial(turn, training, clock, watcher, steps) for name, watcher in watchers.items()}
    taken = by_turns(turns, {}, rounds)
    rows = []
    for name in watchers:
        ratios = [times[name] / times[BARE] for times in taken]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        seconds = statistics.median(times[name] for times in taken)
        rows.append({"case": case.name, "name": name, "seconds": seconds, "ratio": middle, "quartiles": [low, high]})
    return rows


def trained(case: Case, device: str, rounds: int, steps: int) -> dict[str, Any]:
    """The training step by who watches it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        fastact.ActivationMonitor(f"{folder}/1") as each,
        fastact.ActivationMonitor(f"{folder}/10", every=10) as tenth,
    ):
        watchers: dict[str, Watcher] = {
            "hooks": hooked(four_numbers),
            "hooks, no wait": hooked(kept_numbers),
            "nothing, again": bare,
            "fastact": ours(each),
            "fastact, every 10th": ours(tenth),
            BARE: bare,
        }
        rows = measure(case, Clock(device), watchers, rounds, steps)
        each.flush()
        check_rows(each)
    parameters = sum(p.numel() for p in case.build().parameters())
    return {
        "gpu": about(device),
        "asked": ASKED,
        "rounds": rounds,
        "steps": steps,
        "parameters": parameters,
        "rows": rows,
    }


def check_rows(monitor: fastact.ActivationMonitor) -> None:
    """What was watched was seen: every layer, finite numbers, no step lost."""
    for name, layer in monitor.history.items():
        last = layer.rows[-1]
        # Each row of a table may be looked up as often as the others, and a loss is one number.
        same = name.endswith(":usage") or layer.info.layer_type in ("Loss", "Baseline", "Optimiser")
        if not last["count"] > 0 or last["nans"] or not (same or 0 < last["std"] < float("inf")):
            raise SystemExit(f"fastact: {name} was recorded as {last}")


def recorded(device: str, shape: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """The host's time in `record` of a layer, beside that of `summarize`, which waits."""
    clock = Clock(device)
    x = torch.randn(shape, device=device, dtype=torch.bfloat16)
    names = [f"layer{i}" for i in range(LAYERS)]
    monitors = {axis: fastact.ActivationMonitor() for axis in (None, -1)}

    def record(axis: int | None) -> None:
        monitor = monitors[axis]
        for name in names:
            monitor.record(name, x, axis=axis)
        monitor.step()

    def summarize(axis: int | None) -> None:
        for _ in names:
            fastact.summarize(x, axis=axis)

    calls: dict[str, Callable[[], None]] = {
        "summarize": lambda: summarize(None),
        "record, and its share of step": lambda: record(None),
        "summarize, per neuron": lambda: summarize(-1),
        "record per neuron, and its share of step": lambda: record(-1),
    }
    taken: dict[str, list[Any]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            times = clock.time(call, 1)
            if number:  # the first round warms up
                taken[name].append(times)
    want = fastact.summarize(x)
    for monitor in monitors.values():
        monitor.flush()
        for name in names:
            row = monitor.history[name].rows[-1]
            if any(row[field] != getattr(want, field) for field in ("count", "zeros", "min", "max")):
                raise SystemExit(f"record: got {row} for {name}, want {want}")
        monitor.close()
    rows = [
        {
            "what": name,
            "host": statistics.median(t.host for t in times) / LAYERS,
            "device": statistics.median(t.device for t in times) / LAYERS,
        }
        for name, times in taken.items()
    ]
    return {"gpu": about(device), "rounds": rounds, "layers": LAYERS, "shape": list(shape), "rows": rows}


def _run_record(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    del console
    step("record")
    return recorded("cuda", SHAPE, 3 if quick else ROUNDS)


def _run_train(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    del console
    case = gpt("cuda", width=128, layers=2, batch=2, positions=64) if quick else gpt("cuda")
    step(case.name)
    return trained(case, "cuda", 2 if quick else ROUNDS, STEPS)


RECORD = Benchmark("gpu_record", "GPU: the cost of record, a layer", _run_record, gpu_record_table)
TRAIN = Benchmark("gpu_train", "GPU: what watching costs a training step", _run_train, watch_table)
