"""Messages whose checksum holds, and that are no part of a log that is known here."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from log_rows import make, segment_of, write

from fastact.errors import LogError
from fastact.fields import SCHEMA_VERSION
from fastact.log import RunReader
from fastact.log.frames import END_MARK, Frame, finish, frames, stamp_text


def rewrap(segment: Path, change: Callable[[Frame], bytes], version: tuple[int, int] = SCHEMA_VERSION) -> None:
    """Rewrites a segment's messages with stamps that hold, as somebody with bad intent could."""
    data = b""
    with segment.open("rb") as file:
        for frame in frames(file, segment.stat().st_size, pytest.fail):
            stamp = stamp_text(version, frame.kind, frame.session, frame.batch, frame.row)
            begin = frame.message.index(b"version=")
            message = bytearray(change(frame))
            message[begin : begin + len(stamp)] = stamp.encode()
            data += finish(bytes(message), stamp)
    segment.write_bytes(data + END_MARK)


def test_a_newer_major_version_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [make(0)]).close()
    segment = segment_of(tmp_path)
    ours, newer = f"{SCHEMA_VERSION[0]}.{SCHEMA_VERSION[1]}".encode(), f"{SCHEMA_VERSION[0] + 1}.0".encode()
    rewrap(segment, lambda frame: frame.message.replace(ours + b"\x00", newer + b"\x00"))
    with pytest.raises(LogError, match=r"schema version 2\.0, want at most 1\.x: it was written by a newer fastact"):
        RunReader(tmp_path)


def test_a_newer_major_version_is_refused_without_its_schema(tmp_path: Path) -> None:
    write(tmp_path, [make(0)]).close()
    segment = segment_of(tmp_path)
    rewrap(segment, lambda frame: frame.message, version=(SCHEMA_VERSION[0] + 1, 0))
    with segment.open("r+b") as file:
        file.write(b"torn")
    with pytest.raises(LogError, match=r"segment-000000\.arrows: log of schema version 2\.0"):
        RunReader(tmp_path)


@pytest.mark.parametrize(
    ("compression", "old", "new", "reason"),
    [
        (None, b"encoder.0", b"encoder\xff\xfe", "UTF8"),
        (None, struct.pack("<ii", 0, 9), struct.pack("<ii", 0, 2**30), "ffset"),
        ("lz4", struct.pack("<q", 16), struct.pack("<q", 2**40), "bytes after decompression"),
    ],
)
def test_a_bad_batch_with_a_good_stamp_is_refused(
    tmp_path: Path, compression: str | None, old: bytes, new: bytes, reason: str
) -> None:
    """Bad text, an offset out of range, and a terabyte for one buffer."""
    write(tmp_path, [make(0), make(1)], compression=compression).close()

    def change(frame: Frame) -> bytes:
        if frame.kind == "schema":
            return frame.message
        body = frame.message[frame.metadata :]
        assert old in body
        return frame.message[: frame.metadata] + body.replace(old, new, 1)

    rewrap(segment_of(tmp_path), change)
    told: list[str] = []
    assert list(RunReader(tmp_path).batches(told.append)) == []
    assert len(told) == 1
    assert reason in told[0]


def test_stamped_nonsense_is_refused_not_run(tmp_path: Path) -> None:
    """Bytes that Arrow would crash on or allocate gigabytes for, with checksums that hold."""
    rows = [make(step) for step in range(4)]
    random = np.random.default_rng(3)
    refused = 0
    for attempt in range(150):
        run = tmp_path / str(attempt)
        write(run, rows, batch_rows=2, compression=["lz4", None][attempt % 2]).close()

        def change(frame: Frame) -> bytes:
            message = bytearray(frame.message)
            if frame.kind == "batch":
                at = int(random.integers(8, len(message) - 8)) // 8 * 8
                message[at : at + 8] = struct.pack("<q", int(random.choice([-1, 2**62, 2**33, 1, 255, -(2**40)])))
            return bytes(message)

        rewrap(segment_of(run), change)
        try:
            refused += len(list(RunReader(run).batches(lambda _: None))) < 2
        except LogError:
            refused += 1
    assert refused > 30


def test_foreign_arrow_files_are_no_log(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2]})
    with pa.ipc.new_stream(tmp_path / "segment-000000.arrows", table.schema) as stream:
        stream.write_table(table)
    with pytest.raises(LogError, match="hold no whole batch"):
        RunReader(tmp_path)
