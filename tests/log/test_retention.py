"""What is kept of a run: bytes and steps are bounded, and the newest stay."""

from pathlib import Path

import pytest
from log_rows import make, segments, table, write

import fastact.log.drain


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


def test_old_steps_are_removed_in_whole_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastact.log.drain, "_BETWEEN_SEALS", 0.0)
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
