"""What a segment holds: every number comes back as it was, and any Arrow reader opens it."""

import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_rows import INFINITY, LAYERS, NAN, Row, expect, make, read, segment_of, write

from fastact.errors import LogError
from fastact.fields import ROW, ROW_DTYPE
from fastact.log import RunReader
from fastact.log.schema import Header, numbered, orders_of, to_batch, to_rows


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
any_row = st.tuples(*[st.just(0) if field.name == "layer" else numbers[field.dtype] for field in ROW])


@settings(max_examples=150, deadline=None)
@given(st.lists(any_row, min_size=1, max_size=4))
def test_any_numbers_come_back_bit_for_bit(rows: list[Row]) -> None:
    table = np.frombuffer(b"".join(expect(rows)), np.dtype([(field.name, field.dtype) for field in ROW]))
    back = to_rows(to_batch(table, {0: "a"}))
    for field in ROW:
        got, want = back[field.name], table[field.name]
        if field.dtype == "float64":
            # The payload of a NaN that stands for "nothing" is not kept; every other bit is.
            assert np.array_equal(np.isnan(got), np.isnan(want))
            got, want = np.nan_to_num(got, nan=1.5).view(np.int64), np.nan_to_num(want, nan=1.5).view(np.int64)
        assert np.array_equal(got, want)


@pytest.mark.parametrize("orders", [[], [0], [3, 3], [5, 0, 5, 2], [1 << 40, 7, 1 << 40], [(1 << 63) - 1, 0, 1 << 20]])
def test_layers_are_numbered_whatever_their_orders(orders: list[int]) -> None:
    rows = np.zeros(len(orders), ROW_DTYPE)
    rows["layer"] = orders
    different, codes = numbered(np.array(orders, np.int64))
    assert different == orders_of(rows) == sorted(set(orders))
    assert [different[code] for code in codes.tolist()] == orders
    batch = to_batch(rows, {order: f"layer {order}" for order in different})
    assert batch.column("layer").to_pylist() == [f"layer {order}" for order in orders]


def test_null_is_not_zero(tmp_path: Path) -> None:
    write(tmp_path, [make(3), make(4)]).close()
    (part,) = RunReader(tmp_path).batches(pytest.fail)
    swept, empty = part.batch.to_pylist()
    assert [name for name, value in swept.items() if value is None] == []
    assert [name for name, value in empty.items() if value is None] == [
        *("mean", "std", "abs_mean", "min", "max", "neurons", "silent_neurons", "dead_neurons"),
        *("saturated_neurons", "constant_neurons", "within_std", "peak_neuron", "typical_peak", "bit_sum"),
    ]


@pytest.mark.parametrize("compression", ["zstd", "lz4", None])
def test_other_arrow_readers_open_a_segment(tmp_path: Path, compression: str | None) -> None:
    write(tmp_path, [make(step, step % 2) for step in range(40)], batch_rows=16, compression=compression).close()
    segment = segment_of(tmp_path)
    with pa.ipc.open_stream(segment) as stream:
        table = stream.read_all()
    assert table.schema.metadata[b"fastact.schema_version"] == b"1.6"
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


def test_rows_are_written_and_read_without_pandas(tmp_path: Path) -> None:
    # pyarrow imports it where it is installed, and its import fails while the interpreter ends.
    pytest.importorskip("pandas")
    program = """
import sys
import subprocess
import sys
from pathlib import Path
import numpy as np, fastact
from fastact.log import RunReader
from fastact.log.schema import to_rows
with fastact.ActivationMonitor(sys.argv[1]) as monitor:
    for _ in range(3):
        monitor.record("a", np.ones((4, 4), np.float32))
        monitor.step()
print([to_rows(part.batch)["step"].tolist() for part in RunReader(Path(sys.argv[1])).batches(print)])
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True)
    assert done.stdout.split("\n") == ["[[0, 1, 2]]", "False", ""]
