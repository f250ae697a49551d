"""What watching costs a training step, on a machine that others use too: step by step, by turns, in CPU time and wall.

python -m bench.watch_steps                          # four trainings, under two minutes each; nothing is written
python -m bench.watch_steps --case GPT --seconds 300
python -m bench.watch_steps --only fastact --only "fastact, sample"

One training goes on, and its steps take turns: of each round every contestant has one, in random order, and the bare
step two. All hooks stay as they are and only change places with empty tables, so that a watched step is like one in the
middle of a watched run. What is told is a step's time less that of the round's bare ones, in shares of the bare step:
in CPU time of all threads (others' programs hardly change it), and in time on the clock. It is the mean of the middle
half of the rounds, with the interval in which 95% of such means lie when rounds are drawn anew. "nothing, again" has
to come to nothing: a cost below what its interval spans was not shown.

Where only some steps are recorded, the steps with rows and those without are compared apart, and weighed by how many
there were: one step in fifty has no median. `every="auto"` hears a clock that stands still in others' turns, after what
it may spend at first. What this leaves out: the first step with new hooks, what threads do in the background (told
apart, as "log"), and code that is in the caches in a long run but not after other contestants' turns.
It is checked that each contestant has rows of all its layers and elements, and that rows say what torch says.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional
from torch.optim import optimizer as torch_optimizer

import fastact
import fastact.torch
from bench.measure import warn
from bench.watch import CASES, GPT, LOOK, Case, Training, Watcher, bare, characters, hooked, named, ours, resnet
from fastact.monitor.pace import Auto
from fastact.torch import optimisers


class Perceptron(nn.Module):
    """Eight layers whose activations are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(8))
        self.last = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape in: (batch, 8); out: (batch, 10)."""
        for layer in self.layers:
            x = functional.relu(layer(x))
        result: torch.Tensor = self.last(x)
        return result


#: Networks of the same shape that compute next to nothing: what is left is what watching costs whatever the sizes.
SMALL: Final = (
    Case("small ResNet-20", lambda: resnet([4, 4, 4], 3), lambda: (torch.randn(16, 3, 8, 8), torch.arange(16) % 10)),
    Case("small GPT", lambda: GPT(16, 2, 4, 64), lambda: characters(16, 4)),
    Case("small MLP", Perceptron, lambda: (torch.randn(16, 8), torch.arange(16) % 10)),
)

#: Turns before anything is timed: code is compiled, `every="auto"` learns what a step costs.
WARM: Final = 14
#: At most; a case ends before when its time is up.
ROUNDS: Final = 400
SECONDS: Final = 110.0
#: How often rounds are drawn anew for an interval.
_DRAWN: Final = 1000
#: Bare steps of a round.
_BARE: Final = 2
_TABLES: Final = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
                  "_forward_pre_hooks_with_kwargs")  # fmt: skip
_OPTIMISERS: Final[tuple[Any, ...]] = (
    torch_optimizer._global_optimizer_pre_hooks,
    torch_optimizer._global_optimizer_post_hooks,
)


class Clock:
    """Seconds of one contestant's own turns."""

    def __init__(self) -> None:
        self._off = time.perf_counter()
        self._gone = 0.0
        self.runs = False

    def __call__(self) -> float:
        """Seconds so far."""
        return (time.perf_counter() if self.runs else self._off) - self._gone

    def turn(self, *, on: bool) -> None:
        """A turn begins or ends."""
        now = time.perf_counter()
        if on:
            self._gone += now - self._off
        self._off, self.runs = now, on


class Bursts:
    """Turns at real-time priority, no longer at a time than so many seconds, and as long a rest after each.

    Args:
        seconds: of a burst; 0 for the usual priority throughout.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, 0.0

    def turn(self) -> None:
        """Between two turns."""
        if not self._seconds or time.perf_counter() < self._end:
            return
        self.rest()
        time.sleep(self._seconds)
        self._set(os.SCHED_FIFO, 50)
        self._end = time.perf_counter() + self._seconds

    def rest(self) -> None:
        """Back to the usual priority."""
        if self._seconds:
            self._set(os.SCHED_OTHER, 0)

    def _set(self, policy: int, priority: int) -> None:
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))


class Contestant:
    """A way to watch whose hooks are on in its own turns only."""

    def __init__(self, training: Training, watcher: Watcher, monitor: fastact.ActivationMonitor | None) -> None:
        self._modules = list(training.model.modules())
        self.monitor, self.clock = monitor, Clock()
        self.steps = 0
        #: Clock and CPU seconds, less those of the round's bare steps, of steps without and with rows.
        self.taken: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        self._held = [{name: type(module.__dict__[name])() for name in _TABLES} for module in self._modules]
        self._optimisers: list[list[Any]] = [[] for _ in _OPTIMISERS]
        self._followers: list[Any] = []
        self._handles: list[Any] = []
        self._stack = contextlib.ExitStack()
        if monitor is not None and isinstance(pace := monitor._queue.pace, Auto):
            pace._clock = self.clock
        with self._on():
            self._after = self._stack.enter_context(watcher(training.model))

    @contextlib.contextmanager
    def _on(self) -> Iterator[None]:
        self._swap()
        self.clock.turn(on=True)
        try:
            yield
        finally:
            self.clock.turn(on=False)
            self._swap()

    def _swap(self) -> None:
        for module, held in zip(self._modules, self._held, strict=True):
            for name, table in held.items():
                held[name], module.__dict__[name] = module.__dict__[name], table
        # `fastact.torch.optimisers` is one for the whole process: each contestant has its own followers.
        for place, table in enumerate(_OPTIMISERS):
            others = list(table.items())
            table.clear()
            table.update(self._optimisers[place])
            self._optimisers[place] = others
        followers, handles = list(optimisers._followers), list(optimisers._handles)
        optimisers._followers.clear()
        optimisers._followers.update(self._followers)
        optimisers._handles[:] = self._handles
        self._followers, self._handles = followers, handles

    def turn(self, step: Callable[[], None]) -> tuple[float, float, bool]:
        """Clock and CPU seconds of one step, and whether it left rows."""
        before = self.rows
        with self._on():
            began, used = time.perf_counter(), time.process_time()
            step()
            self._after()
            used, taken = time.process_time() - used, time.perf_counter() - began
        self.steps += 1
        return taken, used, self.rows > before

    @property
    def rows(self) -> int:
        """How many rows the training's own layers have so far."""
        return 0 if self.monitor is None else sum(layer.total for layer in self.monitor._diagnoser.history.values())

    def settle(self) -> None:
        """What `every="auto"` may spend at first was spent, long ago."""
        if self.monitor is not None and isinstance(pace := self.monitor._queue.pace, Auto):
            pace.account, pace._first, pace._dense = min(pace.account, 0.0), -1_000_000, 0

    def close(self) -> None:
        """Takes the hooks off."""
        with self._on():
            self._stack.close()


class Estimate(NamedTuple):
    """Seconds, and between what 95% of the estimates lie that drawing rounds anew gives."""

    value: float
    low: float
    high: float


class Cost(NamedTuple):
    """What a contestant adds to a step, by the clock and in CPU time.

    And the share of the steps that are recorded, and the CPU time that it adds to one of these, and to another.
    """

    clock: Estimate
    cpu: Estimate
    recorded: float
    each: dict[bool, float]


def middle(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the middle half of each row: what another program took from some steps is cut off."""
    cut = values.shape[-1] // 4
    result: NDArray[np.float64] = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(-1)
    return result


def cost_of(taken: dict[bool, list[tuple[float, float]]]) -> Cost:
    """The means of steps with and without rows, weighed by how many there were of each."""
    total = sum(map(len, taken.values()))
    chosen = np.random.default_rng(0)
    found, drawn = np.zeros(2), np.zeros((2, _DRAWN))
    each: dict[bool, float] = {}
    for recorded, steps in taken.items():
        if not steps:
            continue
        values, share = np.array(steps).T, len(steps) / total
        means = middle(values)
        each[recorded] = float(means[1])
        found += share * means
        drawn += share * middle(values[:, chosen.integers(len(steps), size=(_DRAWN, len(steps)))])
    low, high = np.percentile(drawn, (2.5, 97.5), axis=1)
    clock, cpu = (Estimate(*map(float, one)) for one in zip(found, low, high, strict=True))
    return Cost(clock, cpu, len(taken[True]) / total, each)


def measure(
    case: Case, rounds: int, seconds: float, only: list[str], bursts: Bursts
) -> tuple[float, float, int, dict[str, Cost]]:
    """Seconds of the bare step by the clock and in CPU time, how many rounds there were, and what each one adds."""
    end = time.perf_counter() + seconds
    training = Training(case)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

        def monitor(**options: Any) -> fastact.ActivationMonitor:
            path = f"{folder}/{len(list(stack._exit_callbacks))}"  # type: ignore[attr-defined]
            return stack.enter_context(fastact.ActivationMonitor(path, **options))

        makers: dict[str, Callable[[], tuple[Watcher, fastact.ActivationMonitor | None]]] = {
            "nothing, again": lambda: (bare, None),
            LOOK: lambda: (hooked(torch.amax), None),
            "fastact": lambda: (ours(own := monitor()), own),
            "fastact, layers alone": lambda: (ours(own := monitor(), functional=False), own),
            "fastact, no loss": lambda: (ours(own := monitor(), loss=False), own),
            "fastact, sample": lambda: (ours(own := monitor(), sample=0.1), own),
            "fastact, every 10th": lambda: (ours(own := monitor(every=10)), own),
            "fastact, auto": lambda: (ours(own := monitor(every="auto")), own),
        }
        own = {name: Contestant(training, *make()) for name, make in makers.items() if not only or name in only}
        nobody = Contestant(training, bare, None)
        for _ in range(WARM):
            for each in own.values():
                each.turn(training.step)
        for each in own.values():
            each.settle()
        order = [nobody] * _BARE + list(own.values())
        bares: list[tuple[float, float]] = []
        chosen = np.random.default_rng(0)
        done = 0
        while done < rounds and (not done or time.perf_counter() < end):
            done += 1
            chosen.shuffle(order)
            found = []
            for each in order:
                bursts.turn()
                found.append((each, *each.turn(training.step)))
            plain = [(taken, used) for each, taken, used, _ in found if each is nobody]
            bares += plain
            base = [statistics.fmean(column) for column in zip(*plain, strict=True)]
            for each, taken, used, recorded in found:
                if each is not nobody:
                    each.taken[recorded].append((taken - base[0], used - base[1]))
        bursts.rest()
        check(training, own)
        for each in own.values():
            each.close()
        clock, cpu = (statistics.median(column) for column in zip(*bares, strict=True))
        return clock, cpu, done, {name: cost_of(each.taken) for name, each in own.items()}


def check(training: Training, contestants: dict[str, Contestant]) -> None:
    """That all steps have rows that were to be recorded, of all elements, and that rows say what torch says."""
    means: list[float] = []
    with fastact.ActivationMonitor() as monitor, hooked(lambda x: means.append(float(x.mean())))(training.model):
        with fastact.torch.watch(training.model, monitor, functional=False) as watch:
            training.step()
            monitor.step()
        found = [float(monitor.history[name]["mean"][-1]) for name in watch.names]
        assert all(abs(one - other) < 1e-3 for one, other in zip(sorted(found), sorted(means), strict=True))
        sizes = {name: int(layer["count"][-1]) for name, layer in monitor.history.items()}
    for name, each in contestants.items():
        if each.monitor is None:
            continue
        history = each.monitor.history
        assert set(watch.names) <= set(history), name
        for layer, rows in history.items():
            assert name != "fastact" or layer == "optimiser" or rows.total == each.steps, (name, layer, rows.total)
            assert sizes.get(layer, 0) in (0, int(rows["count"][-1] + rows["left_out"][-1])), (name, layer)


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.watch_steps", description=__doc__.splitlines()[0])
    parser.add_argument("--case", type=named, default=CASES, dest="cases", metavar="NAME")
    parser.add_argument("--small", action="store_true", help="networks that compute next to nothing, for microseconds")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="at most")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a training, the first steps included")
    parser.add_argument("--only", action="append", default=[], metavar="CONTESTANT")
    parser.add_argument("--threads", type=int, default=0, help="of torch and of fastact")
    parser.add_argument("--alone", type=float, default=0.0, metavar="SECONDS", help="bursts at real-time priority")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
        fastact.set_num_threads(arguments.threads)
    console = Console(width=140)
    warn(console)
    for case in SMALL if arguments.small else arguments.cases:
        began = time.perf_counter()
        clock, cpu, rounds, costs = measure(
            case, arguments.rounds, arguments.seconds, arguments.only, Bursts(arguments.alone)
        )
        title = f"{case.name}: a bare step {1e3 * clock:.1f} ms, {1e3 * cpu:.1f} ms of CPU time; {rounds} rounds"
        table = Table(title=title, box=None, padding=(0, 2, 0, 0), title_justify="left")
        columns = "CPU time", "95% within", "clock", "95% within", "recorded", "CPU µs", "recorded step", "other step"
        table.add_column("watched by")
        for column in columns:
            table.add_column(column, justify="right")
        for name, cost in costs.items():
            shares: list[str] = []
            for estimate, whole in ((cost.cpu, cpu), (cost.clock, clock)):
                value, low, high = (f"{100 * part / whole:+.2f}" for part in estimate)
                shares += [f"{value}%", f"{low} to {high}"]
            table.add_row(
                name,
                *shares,
                f"{cost.recorded:.0%}",
                f"{1e6 * cost.cpu.value:.0f}",
                *(f"{1e6 * cost.each[kind]:.0f}" if kind in cost.each else "" for kind in (True, False)),
            )
        console.print(table)
        console.print(f"{time.perf_counter() - began:.0f} s\n")


if __name__ == "__main__":
    main()
