"""`fastact stats`: files of arrays, whole, damaged and hostile."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import call, complaint
from typer.testing import CliRunner

from fastact.cli.app import app


def test_what_is_not_finite_is_null_in_json(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((8, 4), np.nan, np.float32))
    out, _ = call("stats", "--json", "--axis", "1", tmp_path / "x.npy")
    (entry,) = json.loads(out, parse_constant=pytest.fail)
    assert (entry["nans"], entry["mean"], entry["neurons"]["mean"]) == (32, None, [None] * 4)


def arrays(*args: object, code: int = 0) -> dict[str, dict[str, Any]]:
    out, _ = call("stats", "--json", *args, code=code)
    return {entry["array"]: entry for entry in json.loads(out)}


def check(entry: dict[str, Any], x: npt.NDArray[Any]) -> None:
    values = x.astype(np.float64)
    finite = values[np.isfinite(values)]
    assert entry["count"] == values.size
    assert entry["mean"] == pytest.approx(finite.mean(), rel=1e-6)
    assert entry["std"] == pytest.approx(finite.std(), rel=1e-6)
    assert (entry["min"], entry["max"]) == (finite.min(), finite.max())
    assert entry["nans"] == int(np.isnan(values).sum())


def test_stats_of_npy(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    x[:, 1] = 0
    x[0, 0] = np.nan
    np.save(tmp_path / "x.npy", x)
    check(arrays(tmp_path / "x.npy")[""], x)
    entry = arrays(tmp_path / "x.npy", "--axis", "1")[""]
    assert entry["neurons"]["zeros"] == [0, 50, 0, 0]
    assert entry["neurons"]["nans"] == [1, 0, 0, 0]
    out, _ = call("stats", tmp_path / "x.npy", "--axis", "-1")
    assert out.splitlines()[2].replace("│", " ").split()[-2:] == ["4", "1"]
    assert arrays(tmp_path / "x.npy", "--saturation", "-9", "9")[""]["saturated"] == 0


def safetensors(path: Path, tensors: dict[str, npt.NDArray[Any]], **header: Any) -> bytes:
    """The format as its document says: a length, that much JSON, the bytes."""
    names = {"float32": "F32", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "int64": "I64", "bool": "BOOL"}
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, x in tensors.items():
        raw = x.tobytes()
        entries[name] = {"dtype": names[x.dtype.name], "shape": x.shape, "data_offsets": [len(data), len(data + raw)]}
        data += raw
    entries.update(header)
    text = json.dumps(entries).encode()
    whole = struct.pack("<Q", len(text)) + text + data
    path.write_bytes(whole)
    return whole


def test_stats_of_safetensors(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tensors = {
        "a.weight": random.standard_normal((8, 5)).astype(np.float32),
        "b": random.standard_normal(7).astype(ml_dtypes.bfloat16),
        "c": random.standard_normal(9).astype(ml_dtypes.float8_e4m3fn),
        "d": np.arange(6),
        "e": np.array([True, False, True]),
    }
    path = tmp_path / "model.safetensors"
    safetensors(path, tensors)
    got = arrays(path)
    assert list(got) == list(tensors)
    for name, x in tensors.items():
        check(got[name], x)
        assert (got[name]["dtype"], got[name]["shape"]) == (x.dtype.name, list(x.shape))


def test_a_damaged_safetensors_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    whole = safetensors(path, {"a": np.ones((4, 4), np.float32)})
    for size in [0, 3, 8, 20, len(whole) - 1]:
        path.write_bytes(whole[:size])
        assert "model.safetensors" in complaint("stats", path)
    assert "tensor 'a' does not fit its bytes" in complaint("stats", path)
    entry = {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}
    changes: tuple[dict[str, Any], ...] = (
        {"data_offsets": [0, 1 << 60]},
        {"data_offsets": [-64, 0]},
        {"data_offsets": [64, 0]},
        {"data_offsets": "ab"},
        {"data_offsets": None},
        {"shape": [-4, -4]},
        {"shape": [1 << 40, 1 << 40]},
        {"shape": 3},
        {"dtype": "F7"},
        {"dtype": []},
    )
    for change in changes:
        safetensors(path, {}, a=entry | change)
        complaint("stats", path)
    for header in (b"[]", b"null", b"{", b'{"a": 3}', b"\xff\xfe"):
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        complaint("stats", path)


@pytest.mark.parametrize("suffix", [".arrow", ".feather", ".parquet"])
def test_stats_of_columns(suffix: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal(1000)
    table = pa.table(
        {
            "x": x,
            "with_nulls": pa.array([1.0, None, 3.0, math.nan] * 250),
            "name": ["a"] * 1000,
            "vectors": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(4000.0)), 4),
            "flags": [True, False] * 500,
        }
    )
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        pq.write_table(table, path, row_group_size=300)
    else:
        make = pa.ipc.new_stream if suffix == ".arrow" else pa.ipc.new_file
        with make(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=300)
    got = arrays(path)
    assert list(got) == ["x", "with_nulls", "vectors", "flags"]
    check(got["x"], x)
    entry = got["with_nulls"]
    assert (entry["count"], entry["nulls"], entry["nans"], entry["mean"]) == (750, 250, 250, 2.0)
    check(got["vectors"], np.arange(4000.0))
    assert got["vectors"]["shape"] == [1000, 4]
    assert (got["flags"]["count"], got["flags"]["zeros"]) == (1000, 500)
    path.write_bytes(path.read_bytes()[:-700])
    CliRunner().invoke(app, ["stats", str(path)])
    path.write_bytes(b"PAR1 ARROW1 no")
    complaint("stats", path)


def test_stats_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "x.txt").touch()
    assert f"FILE: got '{tmp_path / 'x.txt'}', want a name" in complaint("stats", tmp_path / "x.txt")
    complaint("stats", tmp_path / "missing.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "objects.npy" in complaint("stats", tmp_path / "objects.npy")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    complaint("stats", tmp_path / "cut.npy")
    pq.write_table(pa.table({"a": ["b"]}), tmp_path / "text.parquet")
    assert "without any numeric array" in complaint("stats", tmp_path / "text.parquet")
    assert "axis: got 1" in complaint("stats", tmp_path / "text.parquet", "--axis", "1")


def test_stats_goes_on_after_a_file_that_fails(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(3))
    out, err = call("stats", tmp_path / "no.npy", tmp_path / "x.npy", code=2)
    assert "x.npy" in out
    assert err.startswith("error: ")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deep.safetensors", (200_000).to_bytes(8, "little") + b"[" * 200_000),
        ("inf.safetensors", (58).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,0]}}'),
        ("open.npy", b"\x93NUMPY\x01\x00\x0a\x00{'descr': \n"),
    ],
)
def test_hostile_headers_are_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert name in complaint("stats", tmp_path / name)


@pytest.mark.parametrize("out", ["rows.csv", "no/rows.parquet"])
def test_where_rows_cannot_go_is_told_before_anything_is_read(out: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(3))
    progress = tmp_path / "journal"
    said = complaint("stats", tmp_path / "x.npy", "--out", tmp_path / out, "--resume", progress)
    assert "want a name that ends in .parquet, in a folder that is there" in said
    assert not progress.exists()
