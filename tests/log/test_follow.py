"""A follower reads each row once, and tells what is missing once."""

from pathlib import Path
from typing import Any

import pytest
from log_segments import LAYER, SESSION, rows, segment

from fastact.errors import LogError
from fastact.log import LogOptions, LogWriter, RunFollower, RunReader
from fastact.log.frames import END_MARK
from fastact.log.schema import Header


class Follow:
    """A follower and what it told."""

    def __init__(self, run: Path) -> None:
        self.told: list[str] = []
        self.run = RunFollower(run, self.told.append)

    def steps(self) -> list[int]:
        return [step for part in self.run.read() for step in part.batch["step"].to_pylist()]


def test_a_follower_reads_each_row_once(tmp_path: Path) -> None:
    follow = Follow(tmp_path)
    assert follow.steps() == []
    with LogWriter(tmp_path, LogOptions(segment_bytes=8000), metadata={"a": "b"}) as writer:
        writer.add_layer(LAYER)
        seen = []
        table: list[Any] = rows(0, 200).tolist()
        for row in table:
            writer.append(row)
            if row[0] % 9 == 8:
                writer.flush()
                new = follow.steps()
                assert len(new) == 9
                seen += new
                assert not follow.run.closed
    seen += follow.steps()
    assert seen == list(range(200))
    assert follow.run.closed
    assert (follow.steps(), follow.told, follow.run.metadata) == ([], [], {"a": "b"})
    assert len(list(tmp_path.glob("*.arrows"))) > 3


def test_a_follower_waits_for_the_rest_of_a_batch(tmp_path: Path) -> None:
    segment(tmp_path, 0, Header(SESSION, 0, (LAYER,)), [(0, 3, 0), (3, 3, 0)], end=b"")
    live = tmp_path / "segment-000000.live"
    whole = live.read_bytes()
    follow = Follow(tmp_path)
    seen = []
    live.write_bytes(b"")
    for size in range(0, len(whole) + 1, 97):
        with live.open("r+b") as file:
            file.write(whole[:size])
        seen += follow.steps()
    live.write_bytes(whole)
    seen += follow.steps()
    assert (seen, follow.told) == (list(range(6)), [])
    live.write_bytes(whole + END_MARK)
    live.rename(tmp_path / "segment-000000.arrows")
    assert (follow.steps(), follow.told, follow.run.closed) == ([], [], True)


def test_a_follower_tells_damage_once_and_goes_on(tmp_path: Path) -> None:
    segment(tmp_path, 0, Header(SESSION, 0, (LAYER,)), [(0, 3, 0), (3, 3, 0), (6, 3, 0)])
    place = tmp_path / "segment-000000.arrows"
    data = bytearray(place.read_bytes())
    data[[part.frame.offset for part in RunReader(tmp_path).batches(pytest.fail)][1] + 500] ^= 1
    place.write_bytes(data)
    follow = Follow(tmp_path)
    assert follow.steps() == [0, 1, 2, 6, 7, 8]
    told = list(follow.told)
    assert len(told) == 2
    segment(tmp_path, 1, Header(SESSION, 9, (LAYER,)), [(9, 1, 0)])
    place.unlink()
    assert follow.steps() == [9]
    assert follow.told == told
    with pytest.raises(LogError, match="cannot read the log"):
        Follow(tmp_path / "no").steps()
