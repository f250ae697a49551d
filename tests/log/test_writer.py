"""The writer by the user's way: resuming, the lock, fork, rotation, retention, thinning, and what is refused."""

import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_log import LAYERS, bits, expect, make, read, segments, write

import fastact.log.writer
from fastact import arithmetic
from fastact.errors import ArgumentTypeError, ArgumentValueError, LogError
from fastact.history import LayerInfo
from fastact.log import LogOptions, LogWriter, RunReader
from fastact.log.ring import Ring
from fastact.log.schema import to_rows

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_child(work: Callable[[], bool]) -> None:
    """Runs `work` in a forked child that ends as if it were killed; fails where it does not return True."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fork beside other threads, which Python and JAX warn of
        child = os.fork()
    if child == 0:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def table(run: Path) -> list[tuple[Any, ...]]:
    """All rows, where nothing may be missing."""
    return [row for part in RunReader(run).batches(pytest.fail) for row in to_rows(part.batch).tolist()]


def total(rows: list[tuple[Any, ...]]) -> arithmetic.State:
    state = arithmetic.EMPTY
    for row in rows:
        state = arithmetic.merge(state, (*row[3:14], 0.0))
    return state


@needs_fork
def test_a_resumed_run_goes_on_in_new_segments(tmp_path: Path) -> None:
    rows = [make(step) for step in range(9)]
    write(tmp_path, rows[:3]).close()
    before = segments(tmp_path)[0].read_bytes()

    alive = []

    def killed() -> bool:
        writer = write(tmp_path, rows[3:6])
        alive.append(writer)  # a writer that is forgotten would close
        done = writer.flush()
        writer.append(make(99))  # never flushed
        return done

    in_child(killed)
    write(tmp_path, rows[6:], metadata={"again": "yes"}).close()
    names = [item.name for item in segments(tmp_path)]
    assert names == ["segment-000000.arrows", "segment-000001.live", "segment-000002.arrows"]
    assert (tmp_path / names[0]).read_bytes() == before
    assert read(tmp_path) == (
        expect(rows),
        ["segment-000001.live: it was never closed; rows that were not flushed are not in it"],
    )
    assert RunReader(tmp_path).metadata == {"again": "yes"}


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    writer = write(tmp_path, [make(0)])
    with pytest.raises(LogError, match=r"path: .* is being written by this process, want a run without another writer"):
        LogWriter(tmp_path)
    command = [sys.executable, "-c", "import sys; from fastact.log import LogWriter; LogWriter(sys.argv[1])"]
    other = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert f"is being written by process {os.getpid()} on " in other.stderr
    writer.close()
    write(tmp_path, [make(1)]).close()
    assert read(tmp_path) == (expect([make(0), make(1)]), [])


@needs_fork
def test_a_forked_child_writes_nothing(tmp_path: Path) -> None:
    rows = [make(step) for step in range(4)]
    writer = write(tmp_path, rows[:2], batch_rows=4)
    assert writer.flush()
    writer.append(rows[2])

    def child() -> bool:
        for step in range(50, 60):
            writer.append(make(step))
        flushed = writer.flush()
        writer.close()
        with pytest.raises(LogError, match="is being written by process"):  # the parent's lock still holds
            LogWriter(tmp_path)
        return not flushed and writer.dropped == 10

    in_child(child)
    writer.append(rows[3])
    writer.close()
    assert read(tmp_path) == (expect(rows), [])


def test_without_a_thread_whoever_appends_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    rows = [make(step) for step in range(8)]
    writer = write(tmp_path, rows[:3], batch_rows=4)
    real, calls = os.write, 0

    def interrupted(file: int, data: Any) -> int:
        nonlocal calls
        calls += 1
        written = real(file, data)
        if calls == 1:
            raise KeyboardInterrupt
        return written

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.append(rows[3])
    for row in rows[4:]:
        writer.append(row)
    writer.close()
    assert read(tmp_path)[0] == expect(rows)
    assert writer.dropped == 0


def test_the_interval_writes_what_fills_no_batch(tmp_path: Path) -> None:
    writer = write(tmp_path, [make(0)], flush_seconds=0.01)
    for _ in range(1000):
        if (
            got := [part.batch.num_rows for part in RunReader(tmp_path).batches(pytest.fail)]
            if written(tmp_path)
            else []
        ):
            break
        threading.Event().wait(0.01)
    assert got == [1]
    writer.close()


def written(run: Path) -> bool:
    return any(path.stat().st_size for path in segments(run))


def test_a_segment_is_sealed_by_age(tmp_path: Path) -> None:
    writer = write(tmp_path, [make(0)], flush_seconds=0.01, segment_seconds=0.02)
    for _ in range(1000):
        if segments(tmp_path)[0].suffix == ".arrows":
            break
        threading.Event().wait(0.01)
    assert segments(tmp_path)[0].suffix == ".arrows"
    writer.close()


def test_bytes_are_bounded_at_any_time_and_the_newest_stay(tmp_path: Path) -> None:
    keep = 60_000
    foreign = tmp_path / "segment-notes.arrows"
    foreign.write_text("mine")
    for session in range(2):  # the second writer removes what the first has left
        writer = write(tmp_path, [], batch_rows=16, segment_bytes=6_000, keep_bytes=keep)
        for step in range(1000 * session, 1000 * session + 1000):
            writer.append(make(step))
            if step % 16 == 15:
                assert writer.flush()
                assert sum(path.stat().st_size for path in segments(tmp_path) if path != foreign) <= keep
        writer.close()
    rows = table(tmp_path)
    assert [row[0] for row in rows] == list(range(rows[0][0], 2000))
    assert rows[0][0] > 1000
    assert len(rows) > 50
    assert foreign.read_text() == "mine"


def test_old_steps_are_removed_in_whole_segments(tmp_path: Path) -> None:
    for begin in (0, 900):  # the second run goes back by 100 steps: they count again
        writer = write(tmp_path, [], batch_rows=8, keep_steps=200)
        for step in range(begin, begin + 1000):
            writer.append(make(step))
            if step % 8 == 7:
                writer.flush()
        writer.close()
    steps = [row[0] for row in table(tmp_path)]
    assert steps == list(range(steps[0], 1900))
    assert 200 <= len(steps) <= 200 + 200 // 8 + 16


def test_thinned_history_merges_to_the_same(tmp_path: Path) -> None:
    rows = [make(step, layer) for step in range(600) for layer in (0, 1)]
    runs = [tmp_path / "whole", tmp_path / "thin"]
    for run, options in zip(runs, [{}, {"keep_steps": 100, "merge_steps": 10}], strict=True):
        writer = write(run, [], batch_rows=16, metadata={"a": "b"}, **options)
        for begin in range(0, len(rows), 16):
            for row in rows[begin : begin + 16]:
                writer.append(row)
            writer.flush()
        for _ in range(1000):  # retention works between batches
            if not options or len(table(run)) < 500:
                break
            threading.Event().wait(0.01)
        writer.close()
    whole, thinned = table(runs[0]), table(runs[1])
    assert len(thinned) < 500 < len(whole) == 1200
    assert [bits(row) for row in thinned[-200:]] == expect(rows[-200:])
    for layer in (0, 1):
        want = total([row for row in whole if row[1] == layer])
        got = total([row for row in thinned if row[1] == layer])
        assert (*got[:6], *got[9:11]) == (*want[:6], *want[9:11])  # counts, min and max exactly
        assert got[6:9] == pytest.approx(want[6:9], rel=1e-12)
    assert RunReader(runs[1]).metadata == {"a": "b"}
    assert not list(runs[1].glob("*.thin"))


def test_dropped_rows_are_counted_where_they_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = write(tmp_path, [], batch_rows=4, buffer_rows=8)
    gate, real = threading.Event(), os.write

    def hung(file: int, data: Any) -> int:
        gate.wait(30)
        return real(file, data)

    monkeypatch.setattr(os, "write", hung)
    for step in range(8):
        writer.append(make(step))
    with pytest.warns(RuntimeWarning, match="rows come faster than they are written"):
        writer.append(make(8))
    for step in range(9, 11):
        writer.append(make(step))
    gate.set()
    assert writer.flush()
    writer.append(make(11))
    writer.close()
    assert writer.dropped == 3
    got, told = read(tmp_path)
    assert got == expect([*map(make, range(8)), make(11)])
    assert len(told) == 1
    assert "3 rows were dropped before step 11" in told[0]


def test_a_disk_that_hangs_delays_but_never_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = write(tmp_path, [make(0)])
    awake = threading.Event()
    true_write = os.write

    def hang(file: int, data: Any) -> int:
        awake.wait(60)
        return true_write(file, data)

    monkeypatch.setattr(fastact.log.writer, "PATIENCE", 0.3)
    monkeypatch.setattr(os, "write", hang)
    writer.append(make(1))
    with pytest.warns(RuntimeWarning, match="has not answered"):
        assert not writer.flush()
    writer.append(make(2))
    awake.set()
    monkeypatch.setattr(fastact.log.writer, "PATIENCE", 30.0)
    assert writer.flush()
    writer.close()
    assert read(tmp_path) == (expect(make(step) for step in range(3)), [])
    assert writer.dropped == 0


def test_a_writer_that_is_forgotten_closes_its_log(tmp_path: Path) -> None:
    writer = write(tmp_path, [make(0)])
    del writer
    assert segments(tmp_path)[0].suffix == ".arrows"
    write(tmp_path, [make(1)]).close()  # and its lock is gone
    program = "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; from test_log import *; "
    program += "writer = write(Path(sys.argv[1]), [make(2)])"
    subprocess.run([sys.executable, "-c", program, str(tmp_path), str(Path(__file__).parent)], check=True)
    assert read(tmp_path) == (expect(map(make, range(3))), [])


def test_bad_options_are_named() -> None:
    bad: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ArgumentValueError, "batch_rows: got 0", {"batch_rows": 0}),
        (ArgumentTypeError, "batch_rows: got float", {"batch_rows": 2.0}),
        (ArgumentTypeError, "flush_seconds: got str", {"flush_seconds": "1"}),
        (ArgumentValueError, "flush_seconds: got nan", {"flush_seconds": np.nan}),
        (ArgumentValueError, "buffer_rows: got 0", {"buffer_rows": 0}),
        (ArgumentValueError, "durability: got 'both'", {"durability": "both"}),
        (ArgumentValueError, "compression: got 'gzip'", {"compression": "gzip"}),
        (ArgumentValueError, "segment_bytes: got -1", {"segment_bytes": -1}),
        (ArgumentValueError, "segment_seconds: got 0", {"segment_seconds": 0}),
        (ArgumentValueError, "keep_bytes: got 0", {"keep_bytes": 0}),
        (ArgumentTypeError, "keep_steps: got bool", {"keep_steps": True}),
        (ArgumentValueError, "merge_steps: got 1, want 2", {"keep_steps": 5, "merge_steps": 1}),
        (ArgumentValueError, "merge_steps: got 10 without keep_steps", {"merge_steps": 10}),
    ]
    for kind, message, options in bad:
        with pytest.raises(kind, match=message):
            LogOptions(**options)


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    bad: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (ArgumentTypeError, "path: got 3", lambda: LogWriter(3)),  # type: ignore[arg-type]
        (ArgumentTypeError, "path: got ''", lambda: LogWriter("")),
        (ArgumentTypeError, "options: got dict", lambda: LogWriter(tmp_path, {})),  # type: ignore[arg-type]
        (ArgumentTypeError, "metadata: got list", lambda: LogWriter(tmp_path, metadata=[])),  # type: ignore[arg-type]
        (ArgumentTypeError, r"metadata\['a'\]: got int", lambda: LogWriter(tmp_path, metadata={"a": 1})),  # type: ignore[dict-item]
    ]
    writer = write(tmp_path, [])
    bad += [
        (ArgumentTypeError, "info: got str", lambda: writer.add_layer("a")),  # type: ignore[arg-type]
        (ArgumentValueError, r"info\.name: got .*surrogates", lambda: writer.add_layer(LayerInfo("\ud800", 5))),
        (ArgumentValueError, r"info\.name: got 5000 bytes", lambda: writer.add_layer(LayerInfo("x" * 5000, 5))),
        (ArgumentValueError, r"info\.order: got 5 for", lambda: writer.add_layer(LayerInfo("encoder.0", 5))),
        (ArgumentValueError, r"info\.order: got 0, which", lambda: writer.add_layer(LayerInfo("b", 0))),
        (ArgumentValueError, r"row: got layer 9", lambda: writer.append(make(0, 9))),
        (ArgumentValueError, r"row: got .*the 22 numbers", lambda: writer.append(make(0)[:-1])),
        (ArgumentValueError, r"row: got .*the 22 numbers", lambda: writer.append(("x", *make(0)[1:]))),
    ]
    for kind, message, call in bad:
        with pytest.raises(kind, match=message):
            call()
    writer.close()
    assert read(tmp_path) == ([], [])
    assert RunReader(tmp_path).layers == LAYERS


def test_no_batch_spans_a_gap() -> None:
    ring = Ring(4)
    ring.head = 4
    ring.drop()
    ring.drop()
    ring.advance(2)
    ring.head = 6  # two rows after the gap, with room again
    rows, dropped = ring.oldest(10)
    assert (len(rows), dropped) == (2, None)
    ring.advance(2)
    rows, dropped = ring.oldest(10)
    assert (len(rows), dropped) == (2, 2)
