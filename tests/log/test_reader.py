"""What the reader makes of what a writer says of itself: drops, thinned history, segments that come and go."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fastact
from fastact.errors import LogError
from fastact.fields import ROW_DTYPE
from fastact.history import LayerInfo
from fastact.log import LogOptions, LogWriter, RunFollower, RunReader
from fastact.log.decode import Decoder
from fastact.log.encode import Encoder
from fastact.log.frames import END_MARK, Frame, finish, stamp_text
from fastact.log.schema import COLUMNS, Header, to_batch

LAYER = LayerInfo("a", 0)
SESSION = "0123456789abcdef"


def rows(first: int, count: int) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    made = np.zeros(count, ROW_DTYPE)
    made["step"] = np.arange(first, first + count)
    made["count"] = 1
    return made


def segment(run: Path, number: int, header: Header, batches: list[tuple[int, int, int]], end: bytes = END_MARK) -> None:
    """A segment of batches, each given as (its first row, its rows, what was dropped before it in all)."""
    encoder = Encoder(header, 0, "lz4")
    data = b"".join(encoder.batch(rows(first, count), first, dropped) for first, count, dropped in batches)
    run.mkdir(exist_ok=True)
    (run / f"segment-{number:06d}.{'arrows' if end else 'live'}").write_bytes(encoder.front + data + end)


def read(run: Path) -> tuple[list[int], list[str]]:
    told: list[str] = []
    parts = list(RunReader(run).batches(told.append))
    return [step for part in parts for step in part.batch["step"].to_pylist()], told


def test_what_the_writer_dropped_is_told_where_it_was(tmp_path: Path) -> None:
    segment(tmp_path, 0, Header(SESSION, 0, (LAYER,)), [(0, 3, 0), (3, 2, 7), (5, 1, 7)])
    segment(tmp_path, 1, Header(SESSION, 6, (LAYER,), dropped=9), [(6, 1, 9), (7, 0, 11)])
    steps, told = read(tmp_path)
    assert steps == list(range(7))
    assert [line.split(": the disk")[0] for line in told] == [
        "segment-000000.arrows: 7 rows were dropped before step 3",
        "segment-000001.arrows: 2 rows were dropped before its first row",
        "segment-000001.arrows: 2 rows were dropped at the end",
    ]


def test_what_retention_removed_is_no_damage(tmp_path: Path) -> None:
    """Neither its rows nor what was dropped among them."""
    segment(tmp_path, 4, Header(SESSION, 100, (LAYER,), dropped=9), [(100, 3, 9)])
    assert read(tmp_path) == ([100, 101, 102], [])


def test_a_thinned_segment_stands_for_its_rows(tmp_path: Path) -> None:
    segment(tmp_path, 0, Header(SESSION, 0, (LAYER,), merged_steps=10, next_row=50), [(0, 3, 0), (3, 2, 0)])
    segment(tmp_path, 1, Header(SESSION, 50, (LAYER,)), [(50, 2, 0)])
    assert read(tmp_path) == ([*range(5), 50, 51], [])
    segment(tmp_path, 1, Header(SESSION, 60, (LAYER,)), [(60, 2, 0)])
    (told,) = read(tmp_path)[1]
    assert told.startswith("segment-000001.arrows: rows 50 to 59 of this writer are missing before byte ")
    header = next(RunReader(tmp_path).batches(pytest.fail)).header
    assert header is not None
    assert (header.merged_steps, header.next_row) == (10, 50)


def test_a_whole_segment_that_was_thinned_is_read_once(tmp_path: Path) -> None:
    """Its writer died between putting the thinned one in place and removing the other."""
    segment(tmp_path, 0, Header(SESSION, 0, (LAYER,)), [(0, 40, 0)], end=b"")
    segment(tmp_path, 0, Header(SESSION, 0, (LAYER,), merged_steps=10, next_row=40), [(0, 4, 0)])
    segment(tmp_path, 1, Header(SESSION, 40, (LAYER,)), [(40, 2, 0)])
    assert read(tmp_path) == ([0, 1, 2, 3, 40, 41], [])


def test_an_open_log_sees_new_segments_and_misses_no_old_ones(tmp_path: Path) -> None:
    for number in range(3):
        segment(tmp_path, number, Header(SESSION, 10 * number, (LAYER,)), [(10 * number, 10, 0)])
    log = fastact.open_log(tmp_path)
    batches = log.to_batches()
    assert next(batches).num_rows == 10
    (tmp_path / "segment-000001.arrows").unlink()
    (tmp_path / "segment-000000.arrows").unlink()
    assert [batch["step"][0].as_py() for batch in batches] == [20]
    assert [line for line in log.warnings if "gone" in line] == []
    segment(tmp_path, 3, Header(SESSION, 30, (LAYER, LayerInfo("late", 1)), {"new": "yes"}), [(30, 10, 0)])
    assert log.to_table()["step"].to_pylist() == list(range(20, 40))
    assert log.warnings == ()
    assert [info.name for info in log.layers] == ["a", "late"]


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


def test_columns_of_a_newer_minor_version_are_ignored(tmp_path: Path) -> None:
    """Also where they come first, or the known ones in another order."""
    batch = to_batch(rows(0, 3), {0: "a"})
    columns = pa.schema([pa.field("new", pa.int8()), *reversed(list(COLUMNS))])
    wider = pa.RecordBatch.from_arrays([pa.array([1, 2, 3], pa.int8()), *reversed(batch.columns)], schema=columns)
    stamp = stamp_text((1, 9), "batch", SESSION, 0, 0)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, columns) as stream:
        stream.write_batch(wider, custom_metadata={"fastact.stamp": stamp})
        end = sink.tell()
    begin = columns.serialize().size
    message = finish(sink.getvalue().to_pybytes()[begin:end], stamp)
    head = 8 + struct.unpack_from("<i", message, 4)[0]
    frame = Frame((1, 9), "batch", SESSION, 0, 0, 0, head, message)
    got, metadata = Decoder(columns, (1, 9)).batch(frame)
    assert got.equals(batch)
    assert b"fastact.stamp" in metadata
