"""A run that is followed: closed, killed, resumed, damaged, and of many ranks."""

import subprocess
import sys
from pathlib import Path

import pytest
from live_runs import LAYERS, NASTY, begin, write

import fastact
from fastact.errors import ArgumentValueError, LogError
from fastact.live import following
from fastact.live.following import Following, Rank


def conditions(rank: Rank) -> list[tuple[str, str]]:
    assert rank.diagnosis is not None
    return [(finding.layer, finding.condition) for finding in rank.diagnosis.findings]


def test_findings_come_and_go_and_losses_are_curves_from_the_first_step_on(tmp_path: Path) -> None:
    watched = Following(tmp_path)
    assert watched.look() > 0
    assert watched.shown.state == "waiting for the first row"
    with begin(tmp_path) as writer:
        write(writer, range(10), sick=False)
        watched.look()
        rank = watched.shown
        assert (rank.state, rank.sick, rank.gravest, list(rank.events)) == ("being written", 0, "", [])
        write(writer, range(10, 40), sick=True)
        watched.look()
        assert conditions(rank) == [(NASTY, "saturated")]
        assert (rank.sick, rank.gravest) == (1, "critical")
        assert [(event.step, event.found, event.finding.layer) for event in rank.events] == [(39, True, NASTY)]
        assert rank.new(1) == {(NASTY, "saturated")}
        again = Following(tmp_path)
        again.look()
        assert again.shown.new(10) == set()  # what the first look finds is not new
        write(writer, range(40, 80), sick=False)
        watched.look()
        assert (conditions(rank), rank.events[-1].found) == ([], False)
        assert fastact.open_log(tmp_path).diagnose() == rank.diagnosis
    last, curve = rank.losses()["loss"]
    assert last == 1 / 80
    assert (len(curve), curve[0]) == (80, 1.0)
    recent = rank.recent("fc1", "std")
    assert recent is not None
    assert recent.tolist() == [1.0 + step % 3 for step in range(60, 80)]  # the window
    assert rank.rows("none") is None
    watched.look()
    assert rank.state == "closed"
    assert not watched.messages


def test_nothing_is_judged_twice(tmp_path: Path) -> None:
    with begin(tmp_path) as writer:
        write(writer, range(3), sick=False)
        rank = Following(tmp_path).shown
        assert rank.look()
        before = rank.diagnosis
        assert not rank.look()
        assert rank.diagnosis is before


def test_rows_are_not_read_while_they_come_in(tmp_path: Path) -> None:
    begin(tmp_path).close()
    rank = Following(tmp_path).shown
    with rank.tail.lock:
        assert rank.rows("fc1") is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell who holds a lock")
def test_a_run_that_was_killed_and_resumed(tmp_path: Path) -> None:
    code = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from live_runs import begin, write
writer = begin(Path({str(tmp_path)!r}))
write(writer, range(5), sick=False)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    watched = Following(tmp_path)
    watched.look()
    assert (watched.shown.tail.step, watched.shown.state) == (4, "not closed, and nobody writes it: killed?")
    with begin(tmp_path, 5) as writer:
        write(writer, range(5, 9), sick=False)
        watched.look()
        assert (watched.shown.tail.step, watched.shown.state) == (8, "being written")
        assert watched.shown.tail.history["fc1"]["step"].tolist() == list(range(9))
    watched.look()
    assert watched.shown.state == "closed"
    assert any("it was never closed" in message for message in watched.messages)


def test_a_damaged_log_is_shown_with_what_is_lost(tmp_path: Path) -> None:
    with begin(tmp_path, batch_rows=8) as writer:
        write(writer, range(50), sick=False)
    (segment,) = tmp_path.glob("*.arrows")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 255
    segment.write_bytes(data)
    watched = Following(tmp_path)
    watched.look()
    assert 0 < watched.shown.tail.rows < 50 * len(LAYERS)
    assert watched.lost > 0
    assert segment.name in watched.messages[0]


def test_a_folder_that_goes_away_is_no_end(tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run).close()
    watched = Following(run)
    watched.look()
    run.rename(tmp_path / "away")
    watched.look()
    assert "cannot read the log" in watched.shown.state
    (tmp_path / "away").rename(run)
    watched.look()
    assert watched.shown.error == ""
    with pytest.raises(LogError):
        Following(tmp_path / "nowhere")


def test_ranks_are_found_as_they_begin_and_a_sick_one_is_seen(tmp_path: Path) -> None:
    watched = Following(tmp_path)
    watched.look()
    assert [rank.number for rank in watched.ranks] == [None]
    for number in (3, 0):
        with begin(tmp_path / f"rank-{number:05d}") as writer:
            write(writer, range(30), sick=number == 3)
    watched.look()
    assert [rank.number for rank in watched.ranks] == [0, 3]
    assert watched.shown.number == 0
    watched.look()  # each look takes some of the others
    assert [(rank.label, rank.sick, rank.tail.step) for rank in watched.ranks] == [("rank 0", 0, 29), ("rank 3", 1, 29)]
    watched.turn(1)
    assert watched.shown.number == 3
    watched.turn(1)
    assert watched.shown.number == 0
    assert Following(tmp_path, rank=3).shown.number == 3
    with pytest.raises(ArgumentValueError, match="rank: got 1, want one of 0, 3"):
        Following(tmp_path, rank=1)
    assert Following(tmp_path / "rank-00003", rank=0).shown.number is None
    with pytest.raises(ArgumentValueError, match="rank: got 3, want one of 0, since the run has no"):
        Following(tmp_path / "rank-00003", rank=3)


def test_ranks_beyond_the_most_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MOST_RANKS", 2)
    for number in range(4):
        begin(tmp_path / f"rank-{number:05d}").close()
    watched = Following(tmp_path, rank=3)
    assert [rank.number for rank in watched.ranks] == [0, 3]
    watched.look()
    assert watched.left_out == 2


def test_the_pause_is_such_that_looks_take_their_share_of_a_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path).close()
    now = [0.0]

    def look(_: Rank) -> bool:
        now[0] += cost
        return True

    monkeypatch.setattr(Rank, "look", look)
    monkeypatch.setattr("time.process_time", lambda: now[0])
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    watched = Following(tmp_path, every=1.0, share=0.25)
    cost = 0.1
    assert watched.look() == pytest.approx(0.9)
    cost = 2.0
    assert watched.look() == pytest.approx(6.0)
