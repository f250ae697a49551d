"""Sealed segments move to a store and are read from there: a server that speaks S3, on the loopback."""

import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_rows import LAYERS, make, segments, write
from typer.testing import CliRunner

import fastact
import fastact.log.upload
from fastact.cli.app import app
from fastact.errors import ArgumentValueError, LogError
from fastact.log import LogOptions, LogWriter
from fastact.log.upload import Uploader
from fastact.remote import locate
from fastact.replay.tail import Tail

server = pytest.importorskip("moto.server", reason="moto[server], which speaks S3, is not installed")


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The options of a URI that lead to the server."""
    names = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        running.start()
        host, port = running.get_host_and_port()
        options = f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
        locate(f"s3://bucket{options}&allow_bucket_creation=true")[0].create_dir("bucket")
        yield options
        running.stop()


def wait_for_uploads(writer: LogWriter) -> None:
    until = time.monotonic() + 120
    while writer.not_uploaded and time.monotonic() < until:
        time.sleep(0.01)


def steps_of(where: str | Path) -> list[int]:
    """The steps of all sessions; nothing may be missing."""
    found = []
    for session in fastact.open_log(where).sessions:
        log = fastact.open_log(where, session=session.number)
        found += log.to_table()["step"].to_pylist()
        assert log.warnings == ()
    return found


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastact.log.upload, "_LOOK", 0.02)
    monkeypatch.setattr(fastact.log.upload, "_FIRST_PAUSE", 0.02)


def test_segments_move_as_they_are_sealed_and_are_read_there(tmp_path: Path, store: str) -> None:
    where = f"s3://bucket/plain{store}"
    writer = write(tmp_path, [], {"model": "tiny"}, batch_rows=4, segment_bytes=6_000, upload=where)
    for step in range(40):
        writer.append(make(step))
        if step % 4 == 3:
            writer.flush()
    wait_for_uploads(writer)
    assert len(segments(tmp_path)) <= 1  # the one that is written
    assert not fastact.open_log(where).closed
    writer.close()
    assert (segments(tmp_path), writer.not_uploaded) == ([], 0)
    log = fastact.open_log(where)
    assert log.to_table()["step"].to_pylist() == list(range(40))
    assert (log.warnings, log.closed, log.metadata["model"], log.layers) == ((), True, "tiny", LAYERS)
    assert log.path.name == "plain"
    result = CliRunner().invoke(app, ["layers", where])
    assert result.exit_code == 0
    assert "encoder.0" in result.output
    copy = log.path
    del log
    assert not copy.exists()


def test_a_later_writer_goes_on_after_what_is_there(tmp_path: Path, store: str) -> None:
    where = f"s3://bucket/again{store}"
    for begin in (0, 10, 20):
        folder = tmp_path / str(begin)  # another machine's disk
        write(folder, map(make, range(begin, begin + 10)), upload=where).close()
    # One that died before it removed what it had uploaded, and one that had not uploaded yet.
    folder = tmp_path / "died"
    write(folder, map(make, range(30, 40))).close()
    kept = segments(folder)[0].read_bytes()
    write(folder, map(make, range(40, 50)), upload=where).close()
    segments_there = folder / "segment-000000.arrows"
    segments_there.write_bytes(kept)
    write(folder, map(make, range(50, 60)), upload=where).close()
    assert steps_of(where) == list(range(60))


def test_a_store_that_fails_now_and_then_loses_nothing(tmp_path: Path) -> None:
    """Half of the calls fail, some after a part of the bytes: what was written is there once, and told once."""
    place = tmp_path / "store"
    random = np.random.default_rng(0)
    true_put = Uploader._put

    def put(self: Uploader, name: str, data: bytes) -> None:
        way = random.integers(4)
        if way == 0:
            raise OSError(5, "the store is out of reach")
        if way == 1:
            true_put(self, name, data[: len(data) // 2])
            raise TimeoutError
        true_put(self, name, data)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        patch.setattr(Uploader, "_put", put)
        patch.setattr(fastact.log.upload, "_LONGEST_PAUSE", 0.02)
        writer = write(tmp_path / "run", [], batch_rows=4, segment_bytes=6_000, upload=str(place))
        for step in range(80):
            writer.append(make(step))
            if step % 4 == 3:
                writer.flush()
        wait_for_uploads(writer)
        patch.setattr(Uploader, "_put", true_put)
        writer.close()
    assert writer.not_uploaded == 0
    assert len([warning for warning in told if "cannot be uploaded" in str(warning.message)]) == 1
    log = fastact.open_log(place)
    assert log.to_table()["step"].to_pylist() == list(range(80))
    assert log.warnings == ()


def test_a_store_that_is_away_stalls_nothing_and_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def hang(*_: Any) -> None:
        gate.wait(300)
        raise OSError(5, "the store is out of reach")

    monkeypatch.setattr(Uploader, "_put", hang)
    writer = write(tmp_path / "run", [], batch_rows=4, segment_bytes=3_000, upload=str(tmp_path / "store"))
    for step in range(40):
        writer.append(make(step))
        assert writer.flush()
    assert writer.not_uploaded >= 3
    monkeypatch.setattr(fastact.log.writer, "PATIENCE", 0.2)  # now, and not while the disk has to answer
    with pytest.warns(RuntimeWarning, match=r"sealed segments are not uploaded: they stay there"):
        writer.close()
    monkeypatch.undo()
    left = segments(tmp_path / "run")
    gate.set()  # the store is back: who closed has let go of the folder, and moves nothing from it any more
    for thread in threading.enumerate():
        if thread.name == "fastact-upload":
            thread.join(300)
    assert segments(tmp_path / "run") == left
    assert writer.not_uploaded == len(left)
    assert fastact.open_log(tmp_path / "run").to_table().num_rows == 40
    LogWriter(tmp_path / "run", LogOptions(upload=str(tmp_path / "store"))).close()
    assert segments(tmp_path / "run") == []
    assert steps_of(tmp_path / "store") == list(range(40))


def test_addresses_are_refused_where_a_folder_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ArgumentValueError, match=r"'s3://bucket/run', want a local directory.*LogOptions\(upload='s3://"
    ):
        fastact.ActivationMonitor("s3://bucket/run")
    with pytest.raises(ArgumentValueError, match="want a local directory"):
        LogWriter(Path("gs://bucket/run"))
    with pytest.raises(ArgumentValueError, match="neither Arrow nor fsspec knows"):
        LogWriter("run", LogOptions(upload="s4://bucket/run"))
    with pytest.raises(ArgumentValueError, match="upload: got 's3://b/run' with keep_bytes=5"):
        LogOptions(upload="s3://user:secret@b/run", keep_bytes=5)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_is_not_there_is_told_by_its_address(store: str) -> None:
    with pytest.raises(
        LogError, match=r"'s3://bucket/nothing'.*no log|no log in 's3://bucket/nothing'|cannot read the log"
    ):
        fastact.open_log(f"s3://bucket/nothing{store}")
    with pytest.raises(LogError, match="is not local"):
        Tail(f"s3://bucket/plain{store}")
