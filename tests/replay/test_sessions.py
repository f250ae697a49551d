"""A run that is started again: sessions that read apart, resuming, and overwriting."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact
from fastact import ActivationMonitor, open_log
from fastact.cli import app as cli
from fastact.errors import ArgumentTypeError, ArgumentValueError, LogError
from fastact.log import LogOptions, RunFollower
from fastact.replay.recover import recover
from fastact.replay.tail import Tail

LAYERS = ("fc", "act", "late")


def train(monitor: ActivationMonitor, steps: range, *, shift: float = 0.0) -> None:
    """Trains as a checkpoint's rerun does, but for `shift`: the rows of a step are always the same."""
    for step in steps:
        random = np.random.default_rng(step)
        x = random.standard_normal((32, 8)).astype(np.float32)
        monitor.record("fc", x + np.float32(shift), axis=-1, layer_type="Linear")
        monitor.record("act", np.maximum(x - 9.0 * (step > 12), 0.0), axis=-1, layer_type="ReLU")
        if step > 4:
            monitor.record("late", x, axis=-1, layer_type="Tanh")
        monitor.step()


def steps_of(log: Any, layer: str = "fc") -> list[int]:
    return [record.step for record in log.replay(layers=layer)]


def test_a_second_start_is_a_session_of_its_own(tmp_path: Path) -> None:
    for session, count in enumerate((30, 10)):
        with ActivationMonitor(tmp_path) as monitor:
            train(monitor, range(count), shift=float(session))
            live = monitor.diagnose()
    log = open_log(tmp_path)
    assert (log.session, [each.number for each in log.sessions]) == (1, [0, 1])
    assert steps_of(log) == list(range(10))
    assert log.diagnose() == live
    assert log.warnings == ()
    assert log.notes == ("this is session 1 of the run; its directory has another one, which is read apart: 0",)
    assert "session=1 of 2" in repr(log)
    first = open_log(tmp_path, session=0)
    assert steps_of(first) == steps_of(open_log(tmp_path, session=-2)) == list(range(30))
    assert first.closed
    assert first.nbytes + log.nbytes == sum(path.stat().st_size for path in tmp_path.glob("segment-*"))
    assert {finding.layer for finding in first.diagnose().findings} == {"act"}
    assert open_log(tmp_path, session=1).aggregate()["fc"].count == 10 * 256


def test_resuming_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    with ActivationMonitor(whole) as monitor:
        train(monitor, range(60))
        expected = monitor.diagnose()
    with ActivationMonitor(parts) as monitor:
        train(monitor, range(40), shift=1.0)
    with ActivationMonitor(parts, start_step=1) as monitor:
        train(monitor, range(1, 48))
    with ActivationMonitor(parts, start_step=44) as monitor:
        assert monitor.current_step == 44
        train(monitor, range(44, 60))
        live = monitor.diagnose()
    log = open_log(parts)
    assert steps_of(log) == list(range(60))
    assert log.diagnose() == live
    findings = [[(each.layer, each.condition, each.first_step) for each in of.findings] for of in (live, expected)]
    assert findings[0] == findings[1] != []
    assert [layer.rows for layer in live.layers] == [layer.rows for layer in expected.layers] == [60, 60, 55]
    table = log.to_table()
    assert table["layer_order"].to_pylist() == open_log(whole).to_table()["layer_order"].to_pylist()
    assert log.sessions[0].resumed_at == (1, 44)
    assert log.notes == (
        "steps 1 to 39 were recorded again by a run that resumed; the earlier rows are left out",
        "steps 44 to 47 were recorded again by a run that resumed; the earlier rows are left out",
    )


def test_a_monitor_of_the_same_process_hands_on_what_it_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ActivationMonitor(tmp_path / "whole") as whole:
        train(whole, range(30))
    with ActivationMonitor(tmp_path / "a") as first:
        train(first, range(18))
    with monkeypatch.context() as patch:
        patch.delattr("fastact.monitor.resuming.RunReader")  # nothing is read
        with ActivationMonitor(tmp_path / "a", start_step=18) as second:
            train(second, range(18, 30))
    assert first.current_step == 18
    assert second.diagnose() == whole.diagnose() == open_log(tmp_path / "a").diagnose()


def test_a_layer_keeps_its_place_where_the_resumed_run_meets_another_first(tmp_path: Path) -> None:
    with ActivationMonitor(tmp_path) as monitor:
        train(monitor, range(8))
    with ActivationMonitor(tmp_path, start_step=8) as monitor:
        monitor.record("new", np.ones((4, 2)), axis=-1)
        monitor.record("late", np.ones((4, 2)), axis=-1, layer_type="ReLU")
        monitor.step()
        orders = {name: layer.info.order for name, layer in monitor.history.items()}
        live = monitor.diagnose()
    assert orders == {"fc": 0, "act": 1, "late": 2, "new": 3}
    log = open_log(tmp_path)
    assert log.diagnose() == live
    assert {info.name: (info.order, info.layer_type) for info in log.layers}["late"] == (2, "Tanh")


def test_resuming_where_nothing_is(tmp_path: Path) -> None:
    with ActivationMonitor(tmp_path, start_step=100) as monitor:
        train(monitor, range(100, 105))
        live = monitor.diagnose()
    log = open_log(tmp_path)
    assert (steps_of(log), log.session, log.notes) == (list(range(100, 105)), 0, ())
    assert log.diagnose() == live


def test_resuming_continues_the_last_session_only(tmp_path: Path) -> None:
    for _ in range(2):
        with ActivationMonitor(tmp_path) as monitor:
            train(monitor, range(6))
    with ActivationMonitor(tmp_path, start_step=3) as monitor:
        train(monitor, range(3, 4))
        assert monitor.history["fc"].total == 4
    assert steps_of(open_log(tmp_path)) == [0, 1, 2, 3]
    assert steps_of(open_log(tmp_path, session=0)) == [0, 1, 2, 3, 4, 5]


def test_overwriting(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):
        with ActivationMonitor(tmp_path) as monitor:
            train(monitor, range(6))
    tail = Tail(tmp_path)
    tail.look()
    with ActivationMonitor(tmp_path, overwrite=True, start_step=2) as monitor:
        train(monitor, range(2, 4))
        assert monitor.history["fc"].total == 2
        live = monitor.diagnose()
    log = open_log(tmp_path)
    assert (steps_of(log), len(log.sessions), log.notes) == ([2, 3], 1, ())
    assert log.diagnose() == live
    tail.look()
    assert tail.diagnose() == live
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_nobody_overwrites_what_another_process_writes(tmp_path: Path) -> None:
    with ActivationMonitor(tmp_path) as monitor:
        train(monitor, range(6))
        code = "import sys, fastact; fastact.ActivationMonitor(sys.argv[1], overwrite=True)"
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
        assert "want a run without another writer" in other.stderr
    assert steps_of(open_log(tmp_path)) == list(range(6))


def test_arguments(tmp_path: Path) -> None:
    with pytest.raises(ArgumentValueError, match="start_step: got -1"):
        ActivationMonitor(tmp_path, start_step=-1)
    with pytest.raises(ArgumentTypeError, match="overwrite: got str, want a bool"):
        ActivationMonitor(tmp_path, overwrite="yes")  # type: ignore[arg-type]
    with ActivationMonitor(tmp_path) as monitor:
        train(monitor, range(1))
    with pytest.raises(ArgumentValueError, match="session: got 1, want one of 0; or -1"):
        open_log(tmp_path, session=1)
    with pytest.raises(ArgumentTypeError, match="session: got str"):
        open_log(tmp_path, session="0")  # type: ignore[arg-type]


def test_what_is_followed_begins_anew(tmp_path: Path) -> None:
    seen: list[int] = []
    tail = Tail(tmp_path, seen=lambda block, _: seen.extend(block.rows["step"].tolist()), anew=seen.clear)
    for start, stop, want in ((0, 6, range(6)), (4, 9, range(9)), (9, 11, range(11)), (0, 3, range(3))):
        with ActivationMonitor(tmp_path, start_step=start) as monitor:
            train(monitor, range(start, stop))
            monitor.flush()
            assert tail.look() == len(seen) or start == 9
            live = monitor.diagnose()
        assert sorted(set(seen)) == list(want)
        assert tail.diagnose() == live
    assert (tail.step, tail.rows) == (2, 6)
    assert RunFollower(tmp_path, pytest.fail).void is False


def test_a_copy_has_all_sessions(tmp_path: Path) -> None:
    for start in (0, 0, 4):
        options = LogOptions(batch_rows=5, segment_bytes=1)
        with ActivationMonitor(tmp_path / "run", start_step=start, log=options) as monitor:
            train(monitor, range(start, start + 6))
    segment = tmp_path / "run" / "segment-000003.arrows"
    data = bytearray(segment.read_bytes())
    data[100] ^= 1  # in the header, which is made again for the copy
    segment.write_bytes(data)
    recover(open_log(tmp_path / "run"), tmp_path / "copy")
    for session in (0, 1):
        ours, copy = (open_log(tmp_path / name, session=session) for name in ("run", "copy"))
        assert steps_of(copy) == steps_of(ours) == list(range(6 + 4 * session))
        assert copy.diagnose() == ours.diagnose()
        assert copy.notes == ours.notes


def test_a_segment_without_a_header_is_of_its_writers_session(tmp_path: Path) -> None:
    for _ in range(3):
        with ActivationMonitor(tmp_path, log=LogOptions(batch_rows=4, segment_bytes=1)) as monitor:
            train(monitor, range(6))
    places = sorted(tmp_path.glob("segment-*.arrows"))
    third = len(places) // 3
    for place in (places[third], places[third + 1]):
        data = bytearray(place.read_bytes())
        data[100] ^= 1
        place.write_bytes(data)
    assert [steps_of(open_log(tmp_path, session=n)) for n in range(3)] == [list(range(6))] * 3


@pytest.mark.parametrize("merge", [None, 4], ids=["removed", "thinned"])
def test_resuming_after_retention(tmp_path: Path, merge: int | None) -> None:
    options = LogOptions(batch_rows=8, segment_bytes=2048, keep_steps=40, merge_steps=merge)
    for start, stop in ((0, 90), (58, 130), (101, 160)):
        with ActivationMonitor(tmp_path, start_step=start, log=options) as monitor:
            for step in range(start, stop):
                monitor.record("fc", np.full((4, 2), step, np.float32), axis=-1)
                monitor.step()
                if step % 10 == 9:
                    monitor.flush()
    log = open_log(tmp_path)
    counted = {record.step: record.stats.count // 8 for record in log.replay()}
    assert sum(counted.values()) == (160 if merge else 160 - min(counted))
    assert list(counted) == sorted(counted)
    assert set(range(125, 160)) <= set(counted)
    assert all(record.stats.max == record.step for record in log.replay())
    assert log.warnings == ()


def test_ranks_of_different_sessions_are_not_mixed(tmp_path: Path) -> None:
    for rank, starts in ((0, 2), (1, 2), (2, 1)):
        for _ in range(starts):
            with ActivationMonitor(tmp_path / f"rank-{rank:05d}") as monitor:
                train(monitor, range(4 + starts))
    log = open_log(tmp_path)
    assert (log.ranks, log.session) == ((0, 1), 1)
    assert log.warnings == ("rank-00002: it has no session 1, only 0, and is left out",)
    assert open_log(tmp_path, session=0).ranks == (0, 1, 2)


def test_the_command_line_says_which_session_it_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    for count in (4, 3):
        with ActivationMonitor(tmp_path / "run") as monitor:
            train(monitor, range(count))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(cli.app, [*arguments])

    run_dir = str(tmp_path / "run")
    last, first = run("replay", run_dir, "--layer", "fc"), run("replay", run_dir, "--layer", "fc", "--session", "0")
    assert (last.stdout.count("fc"), first.stdout.count("fc")) == (3, 4)
    assert "note: this is session 1 of the run; its directory has another one, which is read apart: 0" in last.stderr
    assert "note: this is session 0" in first.stderr
    assert run("diagnose", run_dir, "--session", "7").exit_code == 2
    for command in (
        ("diagnose", run_dir, "--json"),
        ("layers", run_dir),
        ("report", run_dir, "-o", str(tmp_path / "r")),
    ):
        assert run(*command, "--session=-2").exit_code == 0
    compared = run("compare", run_dir, run_dir, "--session-a", "0", "--json")
    assert compared.exit_code == 0, compared.output
    assert "Session" not in capsys.readouterr().out


def test_the_same_process_takes_its_own_run_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Hooks:
        removed = 0

        def remove(self) -> None:
            self.removed += 1

    old, hooks = ActivationMonitor(tmp_path), Hooks()
    old.on_release(hooks.remove)
    train(old, range(4))
    with caplog.at_level(logging.WARNING, "fastact"), ActivationMonitor(str(tmp_path)) as new:
        assert (old.closed, hooks.removed, len(caplog.messages)) == (True, 1, 1)
        assert "was still open in this process" in caplog.messages[0]
        train(new, range(3))
    assert steps_of(open_log(tmp_path)) == [0, 1, 2]
    assert steps_of(open_log(tmp_path, session=0)) == [0, 1, 2, 3]
    with pytest.raises(fastact.FastactError, match="closed"):
        old.step()
    with ActivationMonitor(tmp_path):  # which is said only where something was open
        assert len(caplog.messages) == 1
    writer = fastact.log.LogWriter(tmp_path)
    with pytest.raises(LogError, match="is being written by this process"):
        ActivationMonitor(tmp_path)
    writer.close()
