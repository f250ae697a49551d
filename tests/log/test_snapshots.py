"""Which neurons were dead, in a log: it survives what rows survive, is thinned with them, and costs little."""

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_rows import LAYERS, make, segments, table, write

from fastact import open_log
from fastact.log import LogOptions, LogWriter, RunReader
from fastact.log import snapshots as module
from fastact.log.codec import read_header
from fastact.log.files import Segment
from fastact.log.frames import frames
from fastact.log.retention import Retention
from fastact.log.thin import thin
from fastact.neurons import Snapshot, from_json, snapshot
from fastact.replay.compact import compact
from fastact.replay.recover import recover

NAMES = [info.name for info in LAYERS]


def made(step: int, neurons: int = 100) -> Snapshot:
    return snapshot(step, np.random.default_rng(step).integers(0, 2, neurons), 1)


def append(writer: LogWriter, steps: range, every: int = 10) -> None:
    for step in steps:
        for layer, name in enumerate(NAMES):
            writer.append(make(step, layer))
            if step % every == every - 1:
                writer.append_neurons(name, made(step))


def logged(run: Path, steps: range, **options: Any) -> None:
    with write(run, [], flush_seconds=60, batch_rows=16, **options) as writer:
        for begin in range(steps.start, steps.stop, 20):
            append(writer, range(begin, min(begin + 20, steps.stop)))
            writer.flush()


def steps_of(run: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, each in RunReader(run).snapshots():
        assert each == made(each.step)
        found.setdefault(name, []).append(each.step)
    return found


def both(steps: list[int]) -> dict[str, list[int]]:
    return dict.fromkeys(NAMES, steps)


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    logged(tmp_path, range(100), segment_bytes=11_000)
    assert len(segments(tmp_path)) > 3
    assert steps_of(tmp_path) == both(list(range(9, 100, 10)))
    log = open_log(tmp_path)
    assert log.warnings == ()
    assert len(table(tmp_path)) == 200
    assert log.neurons(NAMES[0], from_step=20, to_step=60).steps.tolist() == [29, 39, 49, 59]


def test_without_a_row_they_are_written_too(tmp_path: Path) -> None:
    writer = write(tmp_path, [make(0), make(1)], flush_seconds=60)
    writer.flush()
    writer.append_neurons(NAMES[0], made(1))
    writer.close()
    assert steps_of(tmp_path) == {NAMES[0]: [1]}
    assert len(table(tmp_path)) == 2
    assert open_log(tmp_path).warnings == ()


@pytest.mark.filterwarnings("ignore:os.fork")  # JAX warns of it where other tests have loaded it
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    if (child := os.fork()) == 0:
        try:
            writer = write(tmp_path, [], flush_seconds=60)
            append(writer, range(35))
            writer.flush()
            (tmp_path / "done").touch()
            append(writer, range(35, 50))
            time.sleep(600)
        finally:
            os._exit(1)
    until = time.monotonic() + 300
    while not (tmp_path / "done").exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert steps_of(tmp_path) == both([9, 19, 29])


def test_damage_costs_the_batch_that_it_hits(tmp_path: Path) -> None:
    logged(tmp_path, range(100))
    (segment,) = segments(tmp_path)
    with segment.open("rb") as file:
        found = [each for each in frames(file, segment.stat().st_size) if b"fastact.neurons" in each.message]
    data = bytearray(segment.read_bytes())
    data[found[2].offset + 200] ^= 1
    data[found[0].offset - 1] ^= 1  # and the schema, or a batch without any
    segment.write_bytes(data)
    assert len(steps_of(tmp_path)[NAMES[0]]) >= len(found) - 3
    assert set(steps_of(tmp_path)[NAMES[0]]) < set(range(9, 100, 10))


def test_without_the_schema_they_are_read_too(tmp_path: Path) -> None:
    logged(tmp_path, range(50))
    (segment,) = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    data[300] ^= 1
    segment.write_bytes(data)
    assert any("the schema at its front is damaged" in told for told in open_log(tmp_path).warnings)
    assert steps_of(tmp_path) == both([9, 19, 29, 39, 49])


def test_a_disk_that_refuses_costs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = write(tmp_path, [], flush_seconds=60)
    append(writer, range(20))
    write_to, refusing = Segment.write, True

    def refuse(self: Segment, data: bytes) -> None:
        write_to(self, data)  # all of it is there, and the writer is told that it is not
        if refusing:
            raise OSError(errno.EIO, "no")

    monkeypatch.setattr(Segment, "write", refuse)
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        assert not writer.flush()
    append(writer, range(20, 40))
    refusing = False
    writer.close()
    assert {name: sorted(set(steps)) for name, steps in steps_of(tmp_path).items()} == both([9, 19, 29, 39])
    assert [row[0] for row in table(tmp_path) if row[1] == 0] == list(range(40))


def test_many_go_with_several_batches_and_wait_in_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_TEXT", 2_000)
    with write(tmp_path, [], flush_seconds=60) as writer:
        append(writer, range(60), every=1)
    (segment,) = segments(tmp_path)
    with segment.open("rb") as file:
        found = [each for each in frames(file, segment.stat().st_size) if b"fastact.neurons" in each.message]
    assert len(found) > 5
    assert steps_of(tmp_path) == both(list(range(60)))
    monkeypatch.setattr(module, "_MOST_WAITING", 10)
    waiting = module.WaitingSnapshots()
    for step in range(25):
        waiting.append("a", made(step))
    steps = []
    while waiting:
        assert waiting.text() == waiting.text()
        steps += [each.step for _, each in from_json(waiting.text())]
        waiting.written()
    assert steps == list(range(15, 25))


def test_a_resumed_run_has_those_of_its_own_steps(tmp_path: Path) -> None:
    logged(tmp_path, range(50))
    with LogWriter(tmp_path, LogOptions(flush_seconds=60), start_step=25) as writer:
        for info in LAYERS:
            writer.add_layer(info)
        append(writer, range(25, 40), every=5)
    assert steps_of(tmp_path) == both([9, 19, 29, 34, 39])


def test_a_second_session_has_its_own(tmp_path: Path) -> None:
    logged(tmp_path, range(50))
    logged(tmp_path, range(20))
    assert steps_of(tmp_path) == both([9, 19])
    assert open_log(tmp_path, session=0).neurons(NAMES[0]).steps.tolist() == [9, 19, 29, 39, 49]


def test_compaction_keeps_all(tmp_path: Path) -> None:
    logged(tmp_path, range(200), segment_bytes=11_000)
    before = len(segments(tmp_path))
    compact(tmp_path)
    assert len(segments(tmp_path)) == 1 < before
    assert steps_of(tmp_path) == both(list(range(9, 200, 10)))
    assert len(table(tmp_path)) == 400
    assert open_log(tmp_path).warnings == ()


@pytest.mark.parametrize(("k", "left"), [(1, [9, 19, 29, 39, 49]), (2, [19, 39, 49]), (100, [49])])
def test_thinning_keeps_as_many_as_of_the_rows(tmp_path: Path, k: int, left: list[int]) -> None:
    logged(tmp_path / "run", range(50), segment_bytes=11_000)
    target = tmp_path / "one" / "segment-000000.arrows"
    target.parent.mkdir()
    for _ in thin(segments(tmp_path / "run"), target, 100, k, 16, "lz4"):
        pass
    assert steps_of(target.parent) == both(left)
    assert open_log(target.parent).warnings == ()


def test_thinning_leaves_out_what_was_recorded_again(tmp_path: Path) -> None:
    logged(tmp_path / "run", range(50), segment_bytes=11_000)
    target = tmp_path / "one" / "segment-000000.arrows"
    target.parent.mkdir()
    for _ in thin(segments(tmp_path / "run"), target, 100, 2, 16, "lz4", before=30):
        pass
    assert steps_of(target.parent) == both([19, 29])


def test_retention_bounds_them(tmp_path: Path) -> None:
    logged(tmp_path, range(2000), segment_bytes=11_000)
    before = sum(path.stat().st_size for path in segments(tmp_path))

    def refuse(error: OSError) -> None:
        raise error

    retention = Retention(tmp_path, LogOptions(keep_steps=100, merge_steps=10), refuse)
    with segments(tmp_path)[0].open("rb") as file:
        session = read_header(next(frames(file, 1 << 20)))[0].session
    while retention.work(session, 0, 1999):
        pass
    steps = steps_of(tmp_path)[NAMES[0]]
    assert len(steps) < 60
    assert steps == sorted(steps)
    assert steps[-10:] == list(range(1909, 2000, 10))
    assert sum(path.stat().st_size for path in segments(tmp_path)) < before / 4


def test_a_recovered_copy_has_them(tmp_path: Path) -> None:
    logged(tmp_path / "run", range(50))
    (segment,) = segments(tmp_path / "run")
    segment.write_bytes(segment.read_bytes()[:-3])
    recover(open_log(tmp_path / "run"), tmp_path / "whole")
    assert steps_of(tmp_path / "whole") == both([9, 19, 29, 39, 49])


def test_what_is_no_snapshot_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "to_json", lambda name, found: '{"layer": 7}' if found.step < 20 else "{}}")
    logged(tmp_path, range(50), segment_bytes=11_000)
    assert steps_of(tmp_path) == {}
    assert open_log(tmp_path).neurons(NAMES[0]).to_dict()["steps"] == []
    assert open_log(tmp_path).warnings == ()
    compact(tmp_path)
    assert len(segments(tmp_path)) == 1
    assert len(table(tmp_path)) == 100
