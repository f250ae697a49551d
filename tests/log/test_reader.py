"""What the reader makes of what a writer says of itself: drops, thinned history, segments that come and go."""

import struct
from pathlib import Path

import pyarrow as pa
import pytest
from log_segments import LAYER, SESSION, read, rows, segment

import fastact
from fastact.history import LayerInfo
from fastact.log import RunReader
from fastact.log.codec import Decoder
from fastact.log.frames import Frame, finish, stamp_text
from fastact.log.schema import COLUMNS, Header, to_batch


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
