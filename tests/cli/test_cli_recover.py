"""`fastact recover`: a whole copy of a torn log, which any Arrow reader opens."""

import os
import shutil
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from command_line import call, complaint

import fastact
import fastact.log


@pytest.fixture
def torn(sick: Path, tmp_path: Path) -> Path:
    """The sick run as a process that was killed leaves it, in small batches, one of them damaged and the last torn."""
    run = tmp_path / "torn"
    with fastact.log.LogWriter(run, fastact.log.LogOptions(batch_rows=10)) as writer:
        for record in fastact.open_log(sick).replay():
            writer.add_layer(record.info)
            writer.append(record.row)
    segment = run / "segment-000000.arrows"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.with_suffix(".live").write_bytes(data[:-100])
    segment.unlink()
    return run


def test_recover_writes_a_whole_copy(torn: Path, tmp_path: Path) -> None:
    before = {item.name: item.read_bytes() for item in torn.iterdir()}
    segment = torn / "segment-000000.live"
    with pytest.raises((pl.exceptions.ComputeError, OSError)):  # why the command is there
        pl.read_ipc_stream(segment)
    copy = tmp_path / "deep" / "copy"
    _, err = call("recover", torn, "--to", copy)
    assert "60 rows to" in err
    assert "lost: segment-000000.live: bytes" in err
    assert "rows 30 to 39 of this writer are missing" in err
    want = fastact.open_log(torn).to_table()
    assert want.num_rows == 60
    (whole,) = copy.iterdir()
    assert whole.name == "segment-000000.arrows"
    assert pl.read_ipc_stream(whole).height == 60
    with pa.ipc.open_stream(whole) as stream, duckdb.connect() as database:
        assert len(database.from_arrow(stream).fetchall()) == 60
    log = fastact.open_log(copy)
    assert log.to_table().equals(want)
    assert [line for line in log.warnings if "missing" not in line] == []
    assert (log.layers, log.metadata) == (fastact.open_log(torn).layers, {})
    assert {item.name: item.read_bytes() for item in torn.iterdir()} == before
    assert sorted(item.name for item in copy.parent.iterdir()) == ["copy"]


def test_recover_makes_a_header_where_it_is_lost(torn: Path, tmp_path: Path) -> None:
    segment = torn / "segment-000000.live"
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(data)
    call("recover", torn, "--to", tmp_path / "copy")
    log = fastact.open_log(tmp_path / "copy")
    assert log.to_table().num_rows == 60
    assert {info.name for info in log.layers} == set()  # nothing else tells their kinds
    assert pl.read_ipc_stream(tmp_path / "copy" / "segment-000000.arrows").height == 60


def test_recover_keeps_the_ranks(sick: Path, torn: Path, tmp_path: Path) -> None:
    (tmp_path / "ranks").mkdir()
    torn.rename(tmp_path / "ranks" / "rank-00001")
    shutil.copytree(sick, tmp_path / "ranks" / "rank-00000")
    call("recover", tmp_path / "ranks", "--to", tmp_path / "copy")
    assert fastact.open_log(tmp_path / "copy").ranks == (0, 1)
    assert fastact.open_log(tmp_path / "copy").to_table().equals(fastact.open_log(tmp_path / "ranks").to_table())


def test_recover_leaves_nothing_half(torn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "exists already" in complaint("recover", torn, "--to", torn)

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in complaint("recover", torn, "--to", tmp_path / "copy")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["torn"]
