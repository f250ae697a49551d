"""Signals at any instant, whose handlers call fastact or raise: nothing hangs, is lost, or is kept twice."""

import signal
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer on this platform")

SWEEPS = """
import random, signal, sys, time
import numpy as np
import fastact

x = np.random.default_rng(0).standard_normal((1000, 1000)).astype(np.float32)
fastact.set_num_threads(4)
want = fastact.summarize(x)
until = time.monotonic() + float(sys.argv[2])
interrupts = 0

def handler(*_):
    if random.random() < 0.5:
        assert fastact.summarize(x) == want
    if random.random() < 0.8:
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, handler)
while interrupts <= 20 or time.monotonic() < until:  # so many, however slow the machine
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 2e-3))
        for _ in range(3):
            assert fastact.summarize(x) == want
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupts += 1
signal.signal(signal.SIGALRM, signal.SIG_IGN)
assert fastact.summarize(x) == want
print(interrupts)
"""

MONITORS = """
import collections, dataclasses, random, signal, sys, time, warnings
from pathlib import Path
import numpy as np
import fastact

folder, seconds, raising = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "raising"
x = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
options = fastact.LogOptions(batch_rows=64)
calls = collections.Counter()
runs = 0


def enough():  # so much, however slow the machine
    return time.monotonic() >= until and sum(calls.values()) > 20 and len(calls) >= 5

def begin():
    global runs, monitor
    runs += 1
    monitor = fastact.ActivationMonitor(folder / str(runs), log=options)

def handler(*_):
    (what,) = random.choices("record step flush diagnose summarize new close".split(), [4, 4, 4, 1, 4, 4, 1])
    if monitor.closed:
        return
    calls[what] += 1
    if what == "record":
        monitor.record("a", x, axis=-1, layer_type="ReLU")
    elif what == "new":
        monitor.record(f"new {random.randrange(5)}", x, axis=-1)
    elif what == "summarize":
        fastact.summarize(x)
    else:
        getattr(monitor, what)()
    if raising and random.random() < 0.5:
        raise KeyboardInterrupt

# An interrupt in the middle of LLVM leaves memory that is freed twice: machine code is compiled or loaded before.
with fastact.ActivationMonitor(folder / "warm up", log=options) as monitor:
    for parts in (1, 2):  # the second one is merged in, as that of a handler
        for _ in range(parts):
            monitor.record("a", x, axis=-1, layer_type="ReLU")
            monitor.record("new", x, axis=-1)
        monitor.step()
    monitor.diagnose()
fastact.summarize(x)
begin()
until = time.monotonic() + seconds
signal.signal(signal.SIGALRM, handler)
while not enough():
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-3))
        for _ in range(20):
            for name in "abc":
                monitor.record(name, x, axis=-1, layer_type="ReLU")
            monitor.step()
        signal.setitimer(signal.ITIMER_REAL, 0)  # here, where what it raises is caught
    except KeyboardInterrupt:
        pass
    except fastact.FastactError as error:
        assert monitor.closed and "closed" in str(error), error
    if monitor.closed or enough():
        closed = monitor.closed
        monitor.close()
        log = fastact.open_log(folder / str(runs))
        table = log.to_table()
        rows = list(zip(table["layer"].to_pylist(), table["step"].to_pylist(), strict=True))
        live = [(name, step) for name in monitor.history for step in monitor.history[name]["step"].tolist()]
        assert len(set(rows)) == len(rows) and set(live) <= set(rows), (len(rows), len(set(rows)), len(live))
        assert not log.warnings, log.warnings
        # Closed just after a layer was added, and before its first row, the log knows nothing of that layer.
        told, said = log.diagnose(), monitor.diagnose()
        seen = tuple(layer for layer in said.layers if layer.rows or not closed)
        assert monitor.failures == 0 and told == dataclasses.replace(said, layers=seen), (told, said)
        begin()
signal.signal(signal.SIGALRM, signal.SIG_IGN)
monitor.close()
print(sum(calls.values()), len(calls))
"""


def test_sweeps_on_threads_are_interrupted_and_entered_again(attack: Callable[..., str]) -> None:
    assert int(attack(SWEEPS)) > 20


@pytest.mark.parametrize("way", ["returning", "raising"])
def test_handlers_that_call_the_monitor(attack: Callable[..., str], way: str) -> None:
    calls, kinds = map(int, attack(MONITORS, way).split())
    assert calls > 20
    assert kinds >= 5
