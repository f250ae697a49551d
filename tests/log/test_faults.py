"""Each single call to the system refused in turn: training goes on, what was flushed stays, writing resumes."""

import errno
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_rows import LAYERS, expect, make, read

import fastact.log.drain
from fastact.log import LogOptions, LogWriter, RunReader
from fastact.log.schema import to_rows

CALLS = ("write", "open", "fsync", "fdatasync", "rename", "replace", "unlink", "mkdir", "close", "fstat", "stat")
STEPS = 64


def faulty(monkeypatch: pytest.MonkeyPatch, name: str, refuse: Callable[[int], int]) -> list[int]:
    """Counts the calls of os.`name`; call k fails with errno `refuse(k)`, is cut short at -1, goes through at 0."""
    real, count = getattr(os, name), [0]

    def call(*args: Any, **options: Any) -> Any:
        count[0] += 1
        code = refuse(count[0])
        if code > 0:
            if name == "close":
                real(*args)
            raise OSError(code, os.strerror(code))
        if code < 0:
            return real(args[0], args[1][: len(args[1]) // 2])
        return real(*args, **options)

    monkeypatch.setattr(os, name, call)
    return count


def run_once(run: Path, refuse: Callable[[int], int], name: str, options: LogOptions) -> tuple[int, set[int], int]:
    """A training with faults: how often the call was made, the steps that a flush has promised, rows dropped."""
    promised: set[int] = set()
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", RuntimeWarning)
        patch.setattr(fastact.log.drain, "_FIRST_PAUSE", 0.0)
        writer = LogWriter(run, options)
        writer.add_layer(LAYERS[0])
        count = faulty(patch, name, refuse)
        for step in range(STEPS):
            writer.append(make(step))
            if step % 8 == 7 and writer.flush():
                promised |= set(range(step + 1))
        writer.close()
        return count[0], promised, writer.dropped


def steps_of(run: Path) -> list[int]:
    return [row[0] for part in RunReader(run).batches(lambda _: None) for row in to_rows(part.batch).tolist()]


@pytest.mark.parametrize(
    ("name", "code"),
    [("write", -1), *((name, code) for name in CALLS for code in (errno.EIO, errno.ENOSPC))],
)
def test_each_call_fails_once(tmp_path: Path, name: str, code: int) -> None:
    if not hasattr(os, name):
        pytest.skip(f"this system has no {name}")
    options = LogOptions(batch_rows=8, flush_seconds=60, segment_bytes=3_000, durability="fsync")
    calls, _, _ = run_once(tmp_path / "none", lambda _: 0, name, options)
    for k in range(1, calls + 1):
        run = tmp_path / str(k)
        _, promised, dropped = run_once(run, lambda count, k=k: code if count == k else 0, name, options)  # type: ignore[misc]
        steps = steps_of(run)
        assert steps == sorted(set(steps))  # nothing twice
        assert promised <= set(steps)
        assert STEPS - len(steps) == dropped  # every row is there or counted
        shutil.rmtree(run)


@pytest.mark.parametrize("name", ["write", "open", "fsync", "replace", "unlink"])
def test_thinning_and_removal_survive_each_fault(tmp_path: Path, name: str) -> None:
    options = LogOptions(batch_rows=8, flush_seconds=60, keep_steps=16, merge_steps=4, keep_bytes=1 << 20)
    for k in range(1, 40, 3):
        run = tmp_path / str(k)
        run_once(run, lambda count, k=k: errno.EIO if count == k else 0, name, options)  # type: ignore[misc]
        rows = [row for part in RunReader(run).batches(lambda _: None) for row in to_rows(part.batch).tolist()]
        assert sum(row[3] for row in rows) == sum(make(step)[3] for step in range(STEPS))
        assert not list(run.glob("*.thin"))


def test_a_disk_that_stays_full_costs_rows_and_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastact.log.drain, "_FIRST_PAUSE", 0.0)
    writer = LogWriter(tmp_path, LogOptions(batch_rows=4, buffer_rows=8, flush_seconds=60))
    writer.add_layer(LAYERS[0])
    for step in range(4):
        writer.append(make(step))
    assert writer.flush()
    with monkeypatch.context() as full:
        faulty(full, "write", lambda _: errno.ENOSPC)
        writer.append(make(4))
        with pytest.warns(RuntimeWarning, match=r"cannot be written .*No space left"):
            assert not writer.flush()
        for step in range(5, 20):  # a second warning would be an error here
            writer.append(make(step))
        assert not writer.flush()
    assert writer.dropped == 8
    assert writer.losses == {"the disk refused": 8}
    assert writer.flush()
    writer.append(make(20))
    writer.close()
    got, told = read(tmp_path)
    assert got == expect(map(make, [*range(12), 20]))
    assert [line for line in told if "8 rows were dropped" in line and "the disk refused 8" in line]


def test_a_folder_that_vanishes_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastact.log.drain, "_FIRST_PAUSE", 0.0)
    run = tmp_path / "run"
    writer = LogWriter(run, LogOptions(batch_rows=4, flush_seconds=60))
    writer.add_layer(LAYERS[0])
    writer.append(make(0))
    assert writer.flush()
    shutil.rmtree(run)
    writer.append(make(1))
    with pytest.warns(RuntimeWarning, match="was removed while it was written"):
        assert not writer.flush()
    assert writer.flush()
    writer.close()
    assert steps_of(run) == [1]
    assert writer.dropped == 0


def closed_on(refuse: Callable[[int], int], run: Path, steps: int = 40) -> LogWriter:
    """A writer whose rows all wait when it is closed, on a disk that refuses."""
    writer = LogWriter(run, LogOptions(batch_rows=4, flush_seconds=60))
    writer.add_layer(LAYERS[0])
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        patch.setattr(fastact.log.drain, "_SHORTEST_PAUSE", 0.001)
        patch.setattr(fastact.log.drain, "_LAST_TRIES", 0.2)
        faulty(patch, "write", refuse)
        for step in range(steps):
            writer.append(make(step))
        writer.close()
    return writer


def test_what_waits_is_tried_again_when_the_log_is_closed(tmp_path: Path) -> None:
    writer = closed_on(lambda count: errno.ENOSPC if count < 6 else 0, tmp_path / "soon")
    assert (steps_of(tmp_path / "soon"), writer.losses) == (list(range(40)), {})
    # Every other write fails, for as long as that gets on.
    writer = closed_on(lambda count: errno.EIO if count % 2 else 0, tmp_path / "often")
    assert (steps_of(tmp_path / "often"), writer.losses) == (list(range(40)), {})
    writer = closed_on(lambda _: errno.ENOSPC, tmp_path / "never")
    assert writer.losses == {"not written when the log was closed": 40}
    assert writer.dropped == 40


def test_a_disk_that_fails_now_and_then_is_not_left_alone_for_longer_and_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastact.log.drain, "_FIRST_PAUSE", 0.001)
    writer = LogWriter(tmp_path, LogOptions(batch_rows=4, flush_seconds=60))
    writer.add_layer(LAYERS[0])
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        faulty(patch, "write", lambda count: errno.EIO if count % 3 == 0 else 0)
        for step in range(200):
            writer.append(make(step))
            if step % 10 == 9:
                writer.flush()
        assert writer._drain._failures <= 2
    writer.close()
    assert steps_of(tmp_path) == list(range(200))


def test_a_monitor_says_what_is_lost_and_why(tmp_path: Path) -> None:
    monitor = fastact.ActivationMonitor(tmp_path, log=LogOptions(batch_rows=4, buffer_rows=8, flush_seconds=60))
    assert monitor.dropped == {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        patch.setattr(fastact.log.drain, "_LAST_TRIES", 0.0)
        faulty(patch, "write", lambda _: errno.ENOSPC)
        for _ in range(20):
            monitor.record("a", np.ones(3))
            monitor.step()
            monitor.flush()
        monitor.close()
    assert monitor.dropped == {"the disk refused": 12, "not written when the log was closed": 8}
