"""The log on disk: every row comes back as it was, or its loss is told; the training never pays for a bad disk."""

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastact.errors import LogError
from fastact.fields import NEURON, ROW, ROW_FORMAT, SCHEMA_VERSION
from fastact.history import LayerInfo
from fastact.log import LogOptions, LogWriter, RunReader
from fastact.log.files import Segment
from fastact.log.frames import END_MARK, Frame, finish, frames, stamp_text
from fastact.log.schema import Header, to_batch, to_rows

Row = tuple[Any, ...]
INFINITY = float("inf")
NAN = float("nan")
LAYERS = (
    LayerInfo("encoder.0", 0, "ReLU", "float32", (-INFINITY, 5.99)),
    LayerInfo("../../etc \x1b[31m<b>é", 1, "Tanh", "bfloat16", (-0.1 - 0.2, 0.3)),
)
NO_STATE = (NAN, NAN, NAN, INFINITY, -INFINITY)
NO_NEURONS = tuple(field.nothing for field in NEURON)


def make(step: int, layer: int = 0) -> Row:
    """A row that is like none other."""
    if step % 5 == 4:  # nothing finite, and not swept per neuron
        return (step, layer, step * 7, 3, 1, 1, 1, 0, 2, *NO_STATE, *NO_NEURONS)
    neurons = (8, 1, 1, 0, 0, step / 7, 5, 1e9)
    return (step, layer, step * 7, 100, 0, 0, 0, step, 1, step / 3, 0.1, -0.0, -1e300, 5e-324, *neurons)


def write(run: Path, rows: Iterable[Row], metadata: dict[str, str] | None = None, **options: Any) -> LogWriter:
    writer = LogWriter(run, LogOptions(**options), metadata=metadata)
    for info in LAYERS:
        writer.add_layer(info)
    for row in rows:
        writer.append(row)
    return writer


def read(run: Path) -> tuple[list[bytes], list[str]]:
    """The rows as bytes, so that NaN and both zeros compare, and what the reader has to tell."""
    told: list[str] = []
    parts = list(RunReader(run).batches(told.append))
    for part in parts:
        for name, row in zip(part.batch.column("layer").to_pylist(), to_rows(part.batch).tolist(), strict=True):
            assert part.layers.get(name, LAYERS[row[1]]).order == row[1]
    return [bits(row) for part in parts for row in to_rows(part.batch).tolist()], told


def bits(row: Row) -> bytes:
    return struct.pack(ROW_FORMAT, *row)


def expect(rows: Iterable[Row]) -> list[bytes]:
    return [bits(row) for row in rows]


def segments(run: Path) -> list[Path]:
    return sorted(run.glob("segment-*"))


def segment_of(run: Path) -> Path:
    (segment,) = segments(run)
    return segment


def ends(segment: Path) -> list[tuple[int, int]]:
    """(byte after a batch, rows up to there), from the frames of an undamaged segment."""
    result, rows = [], 0
    with segment.open("rb") as file:
        schema: Any = None
        for frame in frames(file, segment.stat().st_size, pytest.fail):
            if frame.kind == "schema":
                schema = pa.ipc.read_schema(pa.py_buffer(frame.message))
            else:
                rows += pa.ipc.read_record_batch(pa.py_buffer(frame.message), schema).num_rows
            result.append((frame.offset + len(frame.message), rows))
    return result


def test_rows_layers_and_metadata_come_back(tmp_path: Path) -> None:
    rows = [make(step, layer) for step in range(23) for layer in (0, 1)]
    write(tmp_path / "deep" / "run", rows, metadata={"model": "ärger", "fastact.layers": "mine"}, batch_rows=5).close()
    reader = RunReader(tmp_path / "deep" / "run")
    assert reader.layers == LAYERS
    assert reader.metadata == {"model": "ärger", "fastact.layers": "mine"}
    assert read(tmp_path / "deep" / "run") == (expect(rows), [])
    assert segment_of(tmp_path / "deep" / "run").name == "segment-000000.arrows"


numbers = {
    "int64": st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2),
    "float64": st.floats() | st.sampled_from([NAN, INFINITY, -INFINITY, 0.0, -0.0]),
}
any_row = st.tuples(*[st.just(0) if field.name == "layer" else numbers[field.kind] for field in ROW])


@settings(max_examples=150, deadline=None)
@given(st.lists(any_row, min_size=1, max_size=4))
def test_any_numbers_come_back_bit_for_bit(rows: list[Row]) -> None:
    table = np.frombuffer(b"".join(expect(rows)), np.dtype([(field.name, field.kind) for field in ROW]))
    back = to_rows(to_batch(table, {0: "a"}))
    for field in ROW:
        got, want = back[field.name], table[field.name]
        if field.kind == "float64":
            # The payload of a NaN that stands for "nothing" is not kept; every other bit is.
            assert np.array_equal(np.isnan(got), np.isnan(want))
            got, want = np.nan_to_num(got, nan=1.5).view(np.int64), np.nan_to_num(want, nan=1.5).view(np.int64)
        assert np.array_equal(got, want)


def test_null_is_not_zero(tmp_path: Path) -> None:
    write(tmp_path, [make(3), make(4)]).close()
    (part,) = RunReader(tmp_path).batches(pytest.fail)
    swept, empty = part.batch.to_pylist()
    assert [name for name, value in swept.items() if value is None] == []
    assert [name for name, value in empty.items() if value is None] == [
        *("mean", "std", "abs_mean", "min", "max", "neurons", "silent_neurons", "dead_neurons"),
        *("saturated_neurons", "constant_neurons", "within_std", "peak_neuron", "typical_peak"),
    ]


@pytest.mark.parametrize("compression", ["zstd", "lz4", None])
def test_other_arrow_readers_open_a_segment(tmp_path: Path, compression: str | None) -> None:
    write(tmp_path, [make(step, step % 2) for step in range(40)], batch_rows=16, compression=compression).close()
    segment = segment_of(tmp_path)
    with pa.ipc.open_stream(segment) as stream:
        table = stream.read_all()
    assert table.schema.metadata[b"fastact.schema_version"] == b"1.2"
    assert table.num_rows == 40
    frame = pl.read_ipc_stream(segment)
    assert frame.filter(pl.col("mean").is_null()).height == 8
    assert frame["layer"].unique().sort().to_list() == sorted(info.name for info in LAYERS)
    with pa.ipc.open_stream(segment) as stream, duckdb.connect() as database:
        query = "SELECT layer, count(*), max(zeros), avg(within_std) FROM stream GROUP BY layer ORDER BY layer DESC"
        first, second = database.sql(query).fetchall()
    assert first[:3] == ("encoder.0", 20, 38)
    assert second[:3] == (LAYERS[1].name, 20, 37)
    assert second[3] == pytest.approx(np.mean([step / 7 for step in range(1, 40, 2) if step % 5 != 4]))


def test_every_truncation_keeps_exactly_the_whole_batches(tmp_path: Path) -> None:
    rows = [make(step) for step in range(4)]
    write(tmp_path / "whole", rows, batch_rows=2).close()
    source = segment_of(tmp_path / "whole")
    whole, marks = source.read_bytes(), ends(source)
    target = tmp_path / "cut" / "segment-000000.arrows"
    target.parent.mkdir()
    for size in range(len(whole)):
        target.write_bytes(whole[:size])
        if size < marks[0][0]:
            with pytest.raises(LogError, match="nothing can be read from the log"):
                RunReader(target.parent)
            continue
        kept = max(count for end, count in marks if end <= size)
        got, told = read(target.parent)
        assert got == expect(rows[:kept])
        assert told


def test_flipped_bits_cost_their_batch_only(tmp_path: Path) -> None:
    rows = [make(step) for step in range(8)]
    write(tmp_path / "whole", rows, batch_rows=2).close()
    source = segment_of(tmp_path / "whole")
    whole, marks = source.read_bytes(), ends(source)
    target = tmp_path / "flipped" / "segment-000000.arrows"
    target.parent.mkdir()
    random = np.random.default_rng(1)
    for bit in random.choice(8 * len(whole), 400, replace=False):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << (bit % 8)
        target.write_bytes(damaged)
        got, told = read(target.parent)
        index = sum(end <= bit // 8 for end, _ in marks)  # 0 the schema, 1 to 4 the batches, 5 the end mark
        lost = range(2 * index - 2, 2 * index) if 1 <= index <= 4 else range(0)
        assert got == expect(row for step, row in enumerate(rows) if step not in lost)
        assert told


def test_many_mutations_never_yield_a_wrong_row(tmp_path: Path) -> None:
    rows = [make(step) for step in range(8)]
    write(tmp_path / "whole", rows, batch_rows=2).close()
    whole = segment_of(tmp_path / "whole").read_bytes()
    target = tmp_path / "mutant" / "segment-000000.live"
    target.parent.mkdir()
    right = set(expect(rows))
    random = np.random.default_rng(2)
    for _ in range(300):
        a, b, c = sorted(random.integers(0, len(whole), 3))
        noise = random.bytes(int(random.integers(0, 50)))
        ways = [whole[:a] + whole[b:], whole[:b] + whole[a:], whole[:a] + noise + whole[a:], whole[:a] + bytes(c - a)]
        ways.append(whole[:a] + END_MARK[:4] * int(random.integers(1, 9)) + whole[b:])
        target.write_bytes(ways[random.integers(len(ways))])
        try:
            got, _ = read(target.parent)
        except LogError:
            continue
        assert set(got) <= right
        assert len(got) == len(set(got))


def test_a_lost_schema_is_taken_from_a_neighbour(tmp_path: Path) -> None:
    rows = [make(step) for step in range(4)]
    write(tmp_path, rows, batch_rows=2, segment_bytes=1).close()
    first, second = segments(tmp_path)
    data = bytearray(first.read_bytes())
    data[300] ^= 1
    first.write_bytes(data)
    parts = list(RunReader(tmp_path).batches(lambda _: None))
    assert [part.layers["encoder.0"] for part in parts] == [LAYERS[0], LAYERS[0]]
    got, told = read(tmp_path)
    assert got == expect(rows)
    assert all(line.startswith("segment-000000.arrows: ") for line in told)
    second.unlink()
    assert read(tmp_path)[0] == expect(rows[:2])


def test_a_whole_batch_that_is_missing_is_told(tmp_path: Path) -> None:
    rows = [make(step) for step in range(6)]
    write(tmp_path, rows, batch_rows=2).close()
    segment = segment_of(tmp_path)
    (begin, _), (end, _) = ends(segment)[1:3]
    data = segment.read_bytes()
    segment.write_bytes(data[:begin] + data[end:])
    got, told = read(tmp_path)
    assert got == expect(rows[:2] + rows[4:])
    assert told == [f"segment-000000.arrows: rows 2 to 3 of this writer are missing before byte {begin}"]
    segment.write_bytes(data[:end] + data[begin:])
    got, told = read(tmp_path)
    assert got == expect(rows)
    assert told == [f"segment-000000.arrows: the batch at byte {end} repeats rows and was left out"]


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


def test_two_segments_never_share_a_number(tmp_path: Path) -> None:
    first, second = Segment(tmp_path, 0), Segment(tmp_path, 0)
    first.seal()
    third = Segment(tmp_path, 0)
    assert [first.number, second.number, third.number] == [0, 1, 2]
    second.leave()
    third.leave()
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "segment-000000.arrows",
        "segment-000001.live",
        "segment-000002.live",
    ]


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


def test_a_new_layer_begins_a_new_segment(tmp_path: Path) -> None:
    writer = write(tmp_path, [make(0, 0)])
    writer.flush()
    late = LayerInfo("late", 7, "GELU")
    writer.add_layer(late)
    writer.add_layer(late)
    rows = [make(0, 0), make(1, 7), make(2, 0)]
    for row in rows[1:]:
        writer.append(row)
    writer.close()
    assert len(segments(tmp_path)) == 2
    assert RunReader(tmp_path).layers == (*LAYERS, late)
    parts = list(RunReader(tmp_path).batches(pytest.fail))
    assert parts[1].layers["late"] == late
    assert [bits(row) for part in parts for row in to_rows(part.batch).tolist()] == expect(rows)


def test_segments_rotate_by_size(tmp_path: Path) -> None:
    rows = [make(step) for step in range(40)]
    write(tmp_path, rows, batch_rows=4, segment_bytes=20_000).close()
    assert len(segments(tmp_path)) > 1
    assert all(item.suffix == ".arrows" for item in segments(tmp_path))
    assert read(tmp_path) == (expect(rows), [])


def test_closing_ends_it(tmp_path: Path) -> None:
    with write(tmp_path, []) as writer:
        pass
    writer.close()
    assert writer.closed
    assert segment_of(tmp_path).suffix == ".arrows"
    assert read(tmp_path) == ([], [])
    assert RunReader(tmp_path).layers == LAYERS
    calls: list[Callable[[], object]] = [
        lambda: writer.append(make(0)),
        writer.flush,
        lambda: writer.add_layer(LAYERS[0]),
    ]
    for call in calls:
        with pytest.raises(LogError, match="is closed: open a new LogWriter"):
            call()


def test_places_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for place in (file, file / "below", tmp_path / "nul\0"):
        with pytest.raises(LogError, match=r"cannot write a log into '.*want a writable directory"):
            LogWriter(place)
        with pytest.raises(LogError, match=r"cannot read the log '.*want a run's directory"):
            RunReader(place)
    with pytest.raises(LogError, match=r"no log in .*want a directory with segment"):
        RunReader(tmp_path)
    (tmp_path / "segment-000000.arrows").mkdir()
    with pytest.raises(LogError, match=r"nothing can be read .*no regular file"):
        RunReader(tmp_path)


def test_foreign_arrow_files_are_no_log(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2]})
    with pa.ipc.new_stream(tmp_path / "segment-000000.arrows", table.schema) as stream:
        stream.write_table(table)
    with pytest.raises(LogError, match="hold no whole batch"):
        RunReader(tmp_path)


def test_a_header_of_nonsense_is_refused() -> None:
    schema = Header("0" * 16, layers=LAYERS).schema("1", "")
    assert Header.read(schema).layers == LAYERS
    for key, value in [
        ("layers", "[1]"),
        ("layers", "[" * 5000),
        ("layers", "nul"),
        ("first_row", "x"),
        ("schema_version", "1"),
    ]:
        with pytest.raises(ValueError, match=r".") as caught:
            Header.read(schema.with_metadata({**schema.metadata, f"fastact.{key}".encode(): value}))
        assert not isinstance(caught.value, LogError)
