"""`fastact replay`: each row as it was recorded."""

from pathlib import Path

from command_line import STEPS, call, complaint

import fastact


def test_replay_shows_the_rows_as_they_were(sick: Path) -> None:
    out, err = call("replay", sick)
    lines = out.splitlines()
    assert len(lines) == 1 + 2 * STEPS
    assert "80 rows" in err
    want = list(fastact.open_log(sick).replay())
    assert [int(line.split()[0]) for line in lines[1:]] == [row.step for row in want]
    assert lines[1].split()[2:5] == ["linear", "1024", f"{want[0].stats.mean:.5g}"]


def test_replay_filters(sick: Path) -> None:
    out, _ = call("replay", sick, "--from", 5, "--to", 7, "--layer", "lin*")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["5", "6", "7"]
    assert "layer: got 'no*'" in complaint("replay", sick, "--layer", "no*")
