"""What a log gives back is what the monitor saw: rows, layers, table, and the same diagnosis."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replay_runs import LAYERS, bits, live, rows_of_a_sick_run, write

from fastact.diagnosis.rules import Thresholds
from fastact.errors import ArgumentTypeError, ArgumentValueError, LogError
from fastact.fields import ROW, STATE
from fastact.log import LogWriter
from fastact.monitor.monitor import ActivationMonitor
from fastact.replay.log import Log, open_log
from fastact.replay.tail import Tail


@pytest.fixture
def log(tmp_path: Path) -> Log:
    write(tmp_path / "run", rows_of_a_sick_run(60), metadata={"window_size": "25", "model": "tiny"})
    return open_log(tmp_path / "run")


def test_replay_yields_what_was_recorded_in_order(log: Log) -> None:
    records = list(log.replay())
    written = rows_of_a_sick_run(60)
    assert [(record.info, record.layer) for record in records] == [(info, info.name) for info, _ in written]
    assert [bits(record.row) for record in records] == [bits(row) for _, row in written]
    assert [record.step for record in records] == [row[0] for _, row in written]
    assert {record.rank for record in records} == {0}
    assert log.layers == LAYERS
    assert log.metadata == {"window_size": "25", "model": "tiny"}
    assert log.warnings == ()


def test_a_record_gives_its_stats_and_neurons(log: Log) -> None:
    relu, tanh, head = log.replay(from_step=40, to_step=40)
    assert relu.stats.count == 6400
    assert relu.stats.mean == 0.4
    assert relu.stats.state == relu.row[3 : 3 + len(STATE)]
    assert relu.neurons is not None
    assert relu.neurons["dead_neurons"] == 32
    assert tanh.stats.saturated == 6300
    assert head.neurons is None
    assert head.stats.nans == 640
    assert math.isnan(head.stats.mean)


def test_filters_choose_steps_and_layers(log: Log) -> None:
    assert [record.step for record in log.replay(from_step=57, layers="head")] == [57, 58, 59]
    assert [record.layer for record in log.replay(to_step=0, layers=["head", "body.relu"])] == ["body.relu", "head"]
    assert list(log.replay(from_step=60)) == []
    assert list(log.replay(layers=[])) == []


def test_the_table_has_a_row_for_each_step_layer_and_rank(log: Log) -> None:
    table = log.to_table()
    names = [field.name for field in ROW]
    names.insert(names.index("layer") + 1, "layer_order")
    assert table.column_names == ["rank", *names]
    assert table.num_rows == 180
    assert table.schema.metadata[b"model"] == b"tiny"
    assert set(table["rank"].to_pylist()) == {0}
    assert table["mean"].null_count == 40
    assert table["layer"].to_pylist()[:3] == [info.name for info in LAYERS]


def test_the_diagnosis_is_the_live_one(log: Log, tmp_path: Path) -> None:
    rows = rows_of_a_sick_run(60)
    report = log.diagnose()
    assert not report.healthy
    assert report == live(rows, 25)
    assert log.diagnose(window_size=60) == live(rows, 60)
    strict = Thresholds(saturated_critical=0.99)
    assert live(rows, 25, strict) != report
    assert log.diagnose(thresholds=strict) == live(rows, 25, strict)
    # What the monitor wrote into the metadata is the default; without it, the window is 100.
    write(tmp_path / "own", rows, metadata={"thresholds": '{"saturated_critical": 0.99, "from_the_future": 1}'})
    assert open_log(tmp_path / "own").diagnose() == live(rows, 100, strict)


@pytest.mark.parametrize(
    "nonsense", ["", "0", "-1", "1e9", "9" * 5000, "²", "[1]", '{"dead_serious": "x"}', "[" * 9999]
)
def test_metadata_of_nonsense_falls_back_to_the_defaults(tmp_path: Path, nonsense: str) -> None:
    rows = rows_of_a_sick_run(12)
    write(tmp_path, rows, metadata={"window_size": nonsense, "thresholds": nonsense})
    assert open_log(tmp_path).diagnose() == live(rows)


def test_a_run_that_was_resumed_before_sessions_replays_both_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastact.log.sessions.Sessions.last", lambda *_: -1)  # as before 1.5: one session for all
    write(tmp_path, rows_of_a_sick_run(30))
    write(tmp_path, rows_of_a_sick_run(40, first=20))
    log = open_log(tmp_path)
    assert [record.step for record in log.replay(layers="head")] == [*range(30), *range(20, 60)]
    assert log.diagnose() == live(rows_of_a_sick_run(30) + rows_of_a_sick_run(40, first=20))


def test_ranks_lie_beside_each_other(tmp_path: Path) -> None:
    write(tmp_path / "rank-00000", rows_of_a_sick_run(10), metadata={"host": "a"})
    write(tmp_path / "rank-00002", rows_of_a_sick_run(40))
    (tmp_path / "rank-00001").mkdir()
    (tmp_path / "notes").mkdir()
    segment = tmp_path / "rank-00002" / "segment-000000.arrows"
    segment.write_bytes(segment.read_bytes()[:-1])
    log = open_log(tmp_path)
    assert log.ranks == (0, 2)
    assert log.to_table()["rank"].to_pylist() == [0] * 30 + [2] * 120
    assert [record.rank for record in log.replay(layers="head", to_step=1)] == [0, 0, 2, 2]
    assert [line.split(":")[0] for line in log.warnings] == [
        "rank-00001",
        "rank-00002/segment-000000.arrows",
        "rank-00002/segment-000000.arrows",
        "rank-00000",  # which ended before the other one
    ]
    assert log.diagnose(rank=2) == live(rows_of_a_sick_run(40))
    with pytest.raises(ArgumentValueError, match=r"rank: got 1, want one of 0, 2"):
        log.diagnose(rank=1)


def test_warnings_are_those_of_the_files_not_of_the_calls(tmp_path: Path) -> None:
    write(tmp_path, rows_of_a_sick_run(60))
    segment = tmp_path / "segment-000000.arrows"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 4
    segment.write_bytes(data)
    log = open_log(tmp_path)
    told = log.warnings
    assert len(told) == 2
    assert "are damaged and were skipped" in told[0]
    assert "rows" in told[1]
    assert log.to_table().num_rows == 180 - 32
    next(log.replay())
    assert log.warnings == told


def test_a_live_log_is_read_while_it_is_written(tmp_path: Path) -> None:
    rows = rows_of_a_sick_run(5)
    with LogWriter(tmp_path) as writer:
        with pytest.raises(LogError, match="the run has written nothing yet"):
            open_log(tmp_path)
        for info, row in rows:
            writer.add_layer(info)
            writer.append(row)
        writer.flush()
        log = open_log(tmp_path)
        assert log.to_table().num_rows == 15
        writer.append(rows[0][1])
        writer.flush()
        assert log.to_table().num_rows == 16
        assert log.warnings == ()
    assert log.to_table().num_rows == 16  # sealed and renamed since the log was opened


def test_bad_arguments_are_named(log: Log, tmp_path: Path) -> None:
    bad: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (ArgumentTypeError, "path: got None", lambda: open_log(None)),  # type: ignore[arg-type]
        (LogError, r"cannot read the log '.*missing'", lambda: open_log(tmp_path / "missing")),
        (LogError, r"no log in '.*want a directory", lambda: open_log(tmp_path)),
        (ArgumentTypeError, "from_step: got str", lambda: log.replay(from_step="1")),  # type: ignore[arg-type]
        (ArgumentTypeError, "to_step: got float", lambda: log.replay(to_step=1.5)),  # type: ignore[arg-type]
        (ArgumentValueError, "layers: got 'nope', want one of", lambda: log.replay(layers=["head", "nope"])),
        (ArgumentTypeError, "layers: got int", lambda: log.replay(layers=3)),  # type: ignore[arg-type]
    ]
    for kind, message, call in bad:
        with pytest.raises(kind, match=message):
            call()
    (tmp_path / "ranks" / "rank-00000").mkdir(parents=True)
    with pytest.raises(LogError, match=r"nothing can be read from the log .*rank-00000: no log in"):
        open_log(tmp_path / "ranks")


@pytest.mark.parametrize("accept", [{"a": {"dead": "known"}}, {"*": "*"}, {"b*": ["saturated", "dead"], "x": "dead"}])
def test_what_is_accepted_goes_with_the_log(accept: Any, tmp_path: Path) -> None:
    with ActivationMonitor(tmp_path / "run", accept=accept) as monitor:
        for _ in range(40):
            for name in ("a", "b", "b.out"):
                monitor.record(name, np.zeros((64, 8), np.float32), axis=1, layer_type="ReLU")
            monitor.step()
        live = monitor.diagnose()
    log = open_log(tmp_path / "run")
    assert live.accepted
    assert log.diagnose() == live
    tail = Tail(tmp_path / "run")
    tail.look()
    assert tail.diagnose() == live
    bare = log.diagnose(accept={})
    assert (bare.accepted, bare.accepted_in_vain) == ((), ())
    assert {f.layer for f in bare.findings} == {"a", "b", "b.out"}
    assert log.diagnose(accept=log.accepted) == live
    with pytest.raises(ArgumentValueError, match="accept"):
        log.diagnose(accept={"a": "dying"})
