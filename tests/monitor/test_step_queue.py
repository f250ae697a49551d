"""Finished steps on their way into history and log: interrupted at any instant, and with a disk that refuses."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastact
from fastact import ActivationMonitor, open_log

INTERRUPTED = """
import random, signal, sys, time
from pathlib import Path
import numpy as np
from fastact import ActivationMonitor, open_log

def interrupt(*_):
    raise KeyboardInterrupt

folder = Path(sys.argv[1])
pause = random.Random(0)
x = np.random.default_rng(0).standard_normal((32, 5)).astype(np.float32)
with ActivationMonitor(folder / "warm up") as monitor:  # compiling is not what is interrupted here
    for parts in (1, 2):  # the second one is merged in, as after an interrupt
        for _ in range(parts):
            monitor.record("a", x, axis=-1)
        monitor.step()
monitor = ActivationMonitor(folder / "run", window_size=100_000)
signal.signal(signal.SIGALRM, interrupt)
interrupts = 0
until = time.monotonic() + 400.0
while interrupts < 400:  # so many, however slow the machine: what is bounded by time alone sees too few on a busy one
    assert time.monotonic() < until, f"{interrupts} interrupts in all that time"
    try:
        signal.setitimer(signal.ITIMER_REAL, pause.uniform(1e-5, 2e-3))
        soon = time.monotonic() + 0.5  # an interrupt in the middle of garbage collection is printed, and that is all
        while time.monotonic() < soon:
            for name in "abc":
                monitor.record(name, x, axis=-1)
            monitor.step()
    except KeyboardInterrupt:
        interrupts += 1
signal.setitimer(signal.ITIMER_REAL, 0)
monitor.close()
table = open_log(folder / "run").to_table()
logged = sorted(zip(table["layer"].to_pylist(), table["step"].to_pylist(), strict=True))
live = {name: monitor.history[name]["step"] for name in monitor.history}
kept = sorted((name, step) for name, steps in live.items() for step in steps.tolist())
only = {"logged": sorted(set(logged) - set(kept))[:5], "live": sorted(set(kept) - set(logged))[:5]}
assert logged == kept, f"after {interrupts} interrupts {len(logged)} rows are logged and {len(kept)} live; only: {only}"
for name, steps in live.items():
    back = np.flatnonzero(np.diff(steps) <= 0)[:5]
    assert not len(back), f"{name}: steps {steps[back]} are followed by {steps[back + 1]}"
said, read = monitor.diagnose(), open_log(folder / "run").diagnose()
assert said == read, f"live: {said.to_json()}; from the log: {read.to_json()}"
assert not monitor.failures and not monitor.dropped, (monitor.failures, monitor.dropped)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer on this platform")
def test_interrupts_at_any_instant_leave_history_and_log_the_same(tmp_path: Path) -> None:
    # In a process of its own: an interrupt inside of the coverage tracer leaves that one's lock taken.
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], capture_output=True, text=True, timeout=500
    )
    # An interrupt in the middle of garbage collection cannot be raised: Python prints it, and goes on.
    assert done.returncode == 0, done.stderr


def test_what_a_handler_has_asked_for_is_no_failure_once_another_one_has_closed_the_monitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = ActivationMonitor(tmp_path / "run")
    monitor.record("a", np.ones(3))
    monitor.step()

    def handlers() -> None:
        """While the queue is busy: each waits until it is not."""
        monitor.flush()
        monitor.step()

    monkeypatch.setattr(monitor._unseen, "look", monitor.close)  # a handler that comes in the middle of the flush
    monitor._queue._exclusively(handlers)
    assert monitor.closed
    assert not monitor.failures
    assert open_log(tmp_path / "run").to_table().num_rows == 1


def test_a_failing_disk_is_told_at_the_end_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    def some_steps(monitor: ActivationMonitor) -> None:
        for _ in range(200):
            monitor.record("a", np.ones(3))
            monitor.step()
            time.sleep(0.005)

    with ActivationMonitor(tmp_path / "run", log=fastact.LogOptions(flush_seconds=0.01)) as monitor:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.warns(RuntimeWarning, match="No space left") as told:
                some_steps(monitor)
        assert len(told) == 1
    assert open_log(tmp_path / "run").to_table().num_rows == monitor.history["a"].total == 200
