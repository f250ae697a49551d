"""The thread that writes: when a batch is written and a segment sealed, and what becomes of a disk that refuses."""

import os
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from log_rows import LAYERS, bits, expect, make, read, segments, table, write

import fastact.log.drain
import fastact.log.late
import fastact.log.writer
from fastact.history import LayerInfo
from fastact.log import LogOptions, LogWriter, RunReader
from fastact.log.schema import to_rows


def test_a_new_layer_comes_with_its_first_batch(tmp_path: Path) -> None:
    writer = write(tmp_path, [make(0, 0)])
    writer.flush()
    late = LayerInfo("late", 7, "GELU")
    writer.add_layer(late)
    writer.add_layer(late)
    rows = [make(0, 0), make(1, 7), make(2, 0)]
    for row in rows[1:]:
        writer.append(row)
    writer.close()
    assert len(segments(tmp_path)) == 1
    assert RunReader(tmp_path).layers == (*LAYERS, late)
    parts = list(RunReader(tmp_path).batches(pytest.fail))
    assert parts[1].layers["late"] == late
    assert [bits(row) for part in parts for row in to_rows(part.batch).tolist()] == expect(rows)


@pytest.mark.parametrize("segment_bytes", [1 << 20, 20_000])
def test_names_without_end_take_what_their_rows_take_and_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segment_bytes: int
) -> None:
    monkeypatch.setattr("fastact.log.late._MANY_LATE", 150)
    sizes = []
    for count in (300, 600):
        run = tmp_path / str(count)
        writer = LogWriter(run, LogOptions(batch_rows=10, segment_bytes=segment_bytes, flush_seconds=60))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for step in range(count):
                writer.add_layer(LayerInfo(f"layer {step}", step, "ReLU"))
                writer.append(make(step, step))
                if step % 10 == 9:
                    writer.flush()
            writer.close()
        assert [str(warning.message)[:70] for warning in told] == [
            "fastact: 150 names of layers came new after the first 100 steps, the last one"[:70]
        ]
        reader = RunReader(run)
        assert [info.name for info in reader.layers] == [f"layer {step}" for step in range(count)]
        assert {info.layer_type for info in reader.layers} == {"ReLU"}
        assert [row[0] for row in table(run)] == list(range(count))
        sizes.append(reader.nbytes)
    assert sizes[1] < 2.1 * sizes[0]


def test_names_that_fill_a_message_are_told_in_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastact.log.drain, "_MOST_NAMED", 3_000)
    monkeypatch.setattr(fastact.log.late, "_FEW", 1)
    infos = [LayerInfo(f"layer {i} {'x' * 500}", i, "ReLU") for i in range(60)]
    writer = LogWriter(tmp_path, LogOptions(batch_rows=60, flush_seconds=60))
    for info in infos[:30]:
        writer.add_layer(info)
    writer.append(make(0, 3))
    writer.flush()
    for info in infos[30:]:
        writer.add_layer(info)
    for i in range(60):
        writer.append(make(1 + i // 60, i))
    writer.close()
    reader = RunReader(tmp_path)
    assert reader.layers == tuple(infos)
    parts = list(reader.batches(pytest.fail))
    assert max(part.frame.metadata for part in parts) < 8_000
    assert [bits(row) for part in parts for row in to_rows(part.batch).tolist()] == expect(
        [make(0, 3), *(make(1 + i // 60, i) for i in range(60))]
    )


def test_segments_rotate_by_size(tmp_path: Path) -> None:
    rows = [make(step) for step in range(40)]
    write(tmp_path, rows, batch_rows=4, segment_bytes=20_000).close()
    assert len(segments(tmp_path)) > 1
    assert all(item.suffix == ".arrows" for item in segments(tmp_path))
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
    assert writer.losses == {"came faster than the log was written": 3}
    got, told = read(tmp_path)
    assert got == expect([*map(make, range(8)), make(11)])
    assert len(told) == 1
    assert "3 rows were dropped before step 11: 3 came faster than they could be written" in told[0]


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
