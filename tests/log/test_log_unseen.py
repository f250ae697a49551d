"""What was watched and not recorded is in the newest segment's header, whenever the run ends."""

import os
import signal
from pathlib import Path

import pyarrow as pa
import pytest
from log_rows import make, segments, write

from fastact.log import LogOptions, LogWriter, RunFollower, RunReader
from fastact.log.schema import Header
from fastact.log.thin import thin

WHY = {"rnn": "it was not called", "bell\a é": "it returns no tensor"}


def test_a_flush_tells_the_log_without_a_row(tmp_path: Path) -> None:
    writer = write(tmp_path, [make(0)])
    writer.flush()
    writer.unseen = WHY
    assert writer.flush()
    assert RunReader(tmp_path).unseen == WHY
    assert len(segments(tmp_path)) == 1
    writer.append(make(1))
    writer.flush()
    writer.unseen = dict(WHY)  # the same again
    writer.flush()
    assert len(segments(tmp_path)) == 1
    writer.unseen = {}
    writer.close()
    reader = RunReader(tmp_path)
    told: list[str] = []
    assert sum(stored.batch.num_rows for stored in reader.batches(told.append)) == 2
    assert (reader.unseen, told) == ({}, [])


def test_a_run_without_rows_tells_it_as_it_closes(tmp_path: Path) -> None:
    with LogWriter(tmp_path) as writer:
        writer.unseen = WHY
    reader = RunReader(tmp_path)
    assert (reader.unseen, next(reader.batches(pytest.fail)).batch.num_rows) == (WHY, 0)


def test_other_arrow_readers_see_it_in_the_metadata(tmp_path: Path) -> None:
    with write(tmp_path, [make(0)]) as writer:
        writer.unseen = {"rnn": "why"}
    with pa.ipc.open_stream(segments(tmp_path)[-1]) as stream:
        assert stream.schema.metadata[b"fastact.unseen"] == b'{"rnn": "why"}'


def test_a_reader_and_a_follower_of_a_growing_run_have_the_newest(tmp_path: Path) -> None:
    writer = write(tmp_path, [make(0)])
    writer.flush()
    reader, follower = RunReader(tmp_path), RunFollower(tmp_path, pytest.fail)
    for unseen in ({}, WHY, {}, {"rnn": "why"}):
        writer.unseen = unseen
        writer.append(make(1))
        writer.flush()
        for _ in (*reader.batches(pytest.fail), *follower.read()):
            pass
        assert reader.unseen == follower.unseen == unseen
    writer.close()


def test_a_segment_that_is_thinned_keeps_it(tmp_path: Path) -> None:
    with write(tmp_path, []) as writer:
        writer.unseen = WHY
        for step in range(40):
            writer.append(make(step))
    (source,) = segments(tmp_path)
    for _ in thin([source], tmp_path / "segment-000001.arrows", 40, 10, 16, "lz4"):
        pass
    source.unlink()
    assert RunReader(tmp_path).unseen == WHY


def test_retention_leaves_the_newest(tmp_path: Path) -> None:
    writer = write(tmp_path, [], batch_rows=16, segment_bytes=6_000, keep_bytes=20_000)
    writer.unseen = WHY
    for step in range(3000):
        writer.append(make(step))
        if step % 50 == 0:
            writer.flush()
    writer.close()
    assert segments(tmp_path)[0].name > "segment-000000"
    assert RunReader(tmp_path).unseen == WHY


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_what_was_told_outlives_the_process(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            writer = LogWriter(tmp_path, LogOptions(batch_rows=16))
            writer.unseen = WHY
            if writer.flush():
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert RunReader(tmp_path).unseen == WHY


@pytest.mark.parametrize("nonsense", ["[1]", "3", '"text"', "{", "[[]]"])
def test_nonsense_in_its_place_is_no_header(nonsense: str) -> None:
    schema = Header("0123456789abcdef").schema("0", "")
    schema = schema.with_metadata({**schema.metadata, b"fastact.unseen": nonsense.encode()})
    with pytest.raises(ValueError, match=r"."):
        Header.read(schema)
