"""Columns that came before are read once: what is read is what was written, and memory holds it once."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from log_rows import LAYERS, bits, make, read, write

import fastact
from fastact.fields import ROW_DTYPE
from fastact.log import repeats
from fastact.log.codec import Encoder, read_header
from fastact.log.frames import Frame
from fastact.log.schema import Header, to_rows


def encoded(*batches: npt.NDArray[np.void], compression: str | None = "lz4") -> list[Frame]:
    """A segment's messages."""
    encoder = Encoder(Header("0" * 16, layers=LAYERS), 0, compression)
    messages, row = [encoder.front], 0
    for rows in batches:
        messages.append(encoder.batch(rows, row))
        row += len(rows)
    # The metadata's length is in the four bytes after the mark.
    lengths = [8 + int.from_bytes(message[4:8], "little") for message in messages]
    kinds = ["schema", *["batch"] * len(batches)]
    given = zip(kinds, lengths, messages, strict=True)
    return [Frame((1, 6), kind, "0" * 16, 0, 0, 0, length, message) for kind, length, message in given]


def decoded(messages: list[Frame]) -> list[pa.RecordBatch]:
    decoder = read_header(messages[0])[1]
    return [decoder.batch(message)[0] for message in messages[1:]]


def rows_of(first: int, many: int, **constant: int) -> npt.NDArray[np.void]:
    rows = np.array([make(step) for step in range(first, first + many)], ROW_DTYPE)
    for name, value in constant.items():
        rows[name] = value
    return rows


def address(batch: pa.RecordBatch, name: str) -> int:
    return int(batch.column(name).buffers()[1].address)


@pytest.mark.parametrize("compression", ["lz4", "zstd", None])
def test_columns_that_come_again_are_shared_and_the_others_are_not(compression: str | None) -> None:
    given = [rows_of(0, 64, count=9), rows_of(64, 64, count=9), rows_of(128, 63, count=9), rows_of(192, 64, count=8)]
    found = decoded(encoded(*given, compression=compression))
    for batch, rows in zip(found, given, strict=True):
        batch.validate(full=True)
        assert [bits(row) for row in to_rows(batch).tolist()] == [bits(row) for row in rows.tolist()]
    if compression is not None:
        for name in ("count", "layer", "layer_order"):
            assert address(found[0], name) == address(found[1], name) != address(found[2], name)
        assert address(found[0], "count") != address(found[3], "count")
        assert address(found[0], "layer") == address(found[3], "layer")
    assert len({address(batch, "step") for batch in found}) == len({address(batch, "mean") for batch in found}) == 4


def test_a_batch_of_which_all_came_before() -> None:
    first, second = decoded(encoded(rows_of(0, 40), rows_of(0, 40)))
    assert first.equals(second)
    assert address(first, "count") != 0


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "_KEPT", 0)
    first, second = decoded(encoded(rows_of(0, 40), rows_of(0, 40)))
    assert first.equals(second)
    assert address(first, "count") != address(second, "count")


def test_a_column_that_never_comes_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "_MISSES", 2)
    given = [rows_of(0, 64, count=count, zeros=5) for count in (1, 2, 3, 3, 3)]
    found = decoded(encoded(*given))
    assert len({address(batch, "count") for batch in found}) == len(found)
    assert len({address(batch, "zeros") for batch in found}) == 1
    assert [batch.column("count")[0].as_py() for batch in found] == [1, 2, 3, 3, 3]


def test_a_key_is_refused_where_buffers_lie_where_they_do_not() -> None:
    columns = repeats.Repeats(pa.schema([("a", pa.int64()), ("b", pa.int64())]))
    body, nodes = memoryview(bytes(64)), (8, 0, 8, 0)
    sizes: tuple[int, ...] = (0, 64, 0, 64)

    def kept(*places: int) -> list[bool]:
        return [key is not None for key in columns.keys(body, repeats.Layout(nodes, places, sizes))]

    assert kept(0, 0, 0, 16, 16, 0, 16, 16) == [True, True]
    assert kept(0, 0, 0, 16, 16, 0, 56, 16) == [True, False]  # beyond the end
    assert kept(0, 24, 0, 16, 16, 0, 16, 16) == [False, True]  # one over the other
    assert kept(-8, 0, 0, 16, 16, 0, 16, 16) == [False, True]
    assert kept(0, 0, 0, 40, 40, 0, 40, 16) == [False, True]  # hardly compressed: it never comes again
    places = (0, 0, 0, 16, 16, 0, 16, 16)
    sizes = (0, 64, 0, -1)
    assert kept(*places) == [True, False]
    sizes = (0, 64)
    assert kept(0, 0, 0, 16) == [False, False]  # a column without buffers


def test_equal_bytes_of_other_columns_are_no_repetition() -> None:
    columns = repeats.Repeats(pa.schema([("a", pa.int64())]))
    layouts = [
        repeats.Layout((8, 0), (0, 0, 0, 16), (0, 64)),
        repeats.Layout((7, 0), (0, 0, 0, 16), (0, 64)),
        repeats.Layout((8, 1), (0, 0, 0, 16), (0, 64)),
        repeats.Layout((8, 0), (0, 8, 0, 16), (8, 64)),
        repeats.Layout((8, 0), (0, 8, 8, 8), (8, 64)),
    ]
    keys = [columns.keys(memoryview(bytes(16)), layout)[0] for layout in layouts]
    assert [key is None for key in keys] == [False, False, False, True, False]
    assert len(set(keys)) == len(keys)


def test_a_table_has_all_rows_of_batches_that_share_columns(tmp_path: Path) -> None:
    rows = [make(step, layer) for step in range(300) for layer in (0, 1)]
    write(tmp_path, rows, batch_rows=50, flush_seconds=60).close()
    log = fastact.open_log(tmp_path)
    table = log.to_table()
    assert list(map(bits, to_rows(table).tolist())) == list(map(bits, rows))
    assert table.equals(pa.Table.from_batches(log.to_batches(), log.schema))
    assert table.schema.equals(log.schema, check_metadata=True)
    assert table["rank"].unique().to_pylist() == [0]
    assert read(tmp_path) == (list(map(bits, rows)), [])
    table.validate(full=True)


def test_small_batches_are_searched_longer_and_large_ones_are_not() -> None:
    rows = rows_of(0, 5_000)
    for row in ("mean", "std"):
        rows[row] = np.random.default_rng(0).standard_normal(5_000).astype(np.float32)
    small, again, large = encoded(rows[:4_096], rows[:4_096], rows)[1:]
    assert 5_000 / 4_096 * len(small.message) < 0.95 * len(large.message)
    assert len(again.message) == len(small.message)
    assert [batch.num_rows for batch in decoded(encoded(rows[:4_096], rows, rows[:1]))] == [4_096, 5_000, 1]
