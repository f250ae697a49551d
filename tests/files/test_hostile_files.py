"""`sweep_files` on what is hostile, damaged or odd: refused by name, and never run."""

import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastact import ArgumentValueError, summarize, sweep_files
from fastact.errors import MissingExtraError

# What is hostile or damaged.


class Bomb:
    """Runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


def hostile(folder: Path) -> Iterator[tuple[Path, str]]:
    np.save(folder / "objects.npy", np.array([Bomb()], object), allow_pickle=True)
    yield folder / "objects.npy", "holds Python objects, which are pickled: they are not loaded"
    np.savez(folder / "objects.npz", x=np.array([Bomb()], object))
    yield folder / "objects.npz", "holds Python objects"
    np.save(folder / "names.npy", np.zeros(3, [("a", "f4")]))
    yield folder / "names.npy", "want numbers"
    np.save(folder / "complex.npy", np.zeros(3, complex))
    yield folder / "complex.npy", "want numbers"
    (folder / "empty.npy").touch()
    yield folder / "empty.npy", "cannot be read"
    (folder / "empty.safetensors").touch()
    yield folder / "empty.safetensors", "is cut off"
    for suffix in (".arrow", ".parquet", ".npz", ".h5", ".pt"):
        (folder / f"empty{suffix}").touch()
        yield folder / f"empty{suffix}", f"empty{suffix}"
        (folder / f"noise{suffix}").write_bytes(bytes(range(256)) * 40)
        yield folder / f"noise{suffix}", f"noise{suffix}"
    np.savez(folder / "sum.npz", x=np.arange(100_000.0))
    raw = bytearray((folder / "sum.npz").read_bytes())
    raw[700_000] ^= 1
    (folder / "sum.npz").write_bytes(raw)
    yield folder / "sum.npz", "its checksum is"
    np.savez_compressed(folder / "deflated.npz", x=np.random.default_rng(0).standard_normal(1000))
    raw = bytearray((folder / "deflated.npz").read_bytes())
    raw[4000] ^= 1
    (folder / "deflated.npz").write_bytes(raw)
    yield folder / "deflated.npz", "deflated.npz"
    with zipfile.ZipFile(folder / "long.npz", "w") as archive:
        head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + b"\0" * 80)
    yield folder / "long.npz", "its array does not fit its bytes"
    (folder / "negative.npy").write_bytes(
        b"\x93NUMPY\x01\x00\x45\x00{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8), }         \n"
        + b"\0" * 64
    )
    yield folder / "negative.npy", "damaged"


def test_what_is_hostile_or_damaged_is_refused_by_name_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path, message in hostile(tmp_path):
        with pytest.raises((ArgumentValueError, OSError), match=message):
            sweep_files(path)
    torch = pytest.importorskip("torch")
    torch.save({"x": torch.ones(3), "bomb": Bomb()}, "bomb.pt")
    with pytest.raises(ArgumentValueError, match=r"holds more than tensors and plain data.* It asks for .*mkdir"):
        sweep_files("bomb.pt")
    torch.save({"x": torch.eye(3).to_sparse()}, "sparse.pt")
    with pytest.raises(ArgumentValueError, match=r"tensor 'x' of 'sparse\.pt' is torch\.sparse_coo, want a dense one"):
        sweep_files("sparse.pt")
    monkeypatch.setattr(torch, "__version__", "2.5.1")
    with pytest.raises(MissingExtraError, match=r"need torch 2\.6"):
        sweep_files("bomb.pt")
    assert not Path("exploded").exists()


def test_a_file_in_a_file_elsewhere_is_not_followed(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    np.arange(8.0).tofile(tmp_path / "secret.bin")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", (8,), "f8", external=[(str(tmp_path / "secret.bin"), 0, 64)])
    with pytest.raises(ArgumentValueError, match="lies in other files: not followed"):
        sweep_files(tmp_path / "x.h5")


def test_scalars_empties_and_odd_types(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", scalar=np.float64(3), none=np.zeros((0, 4)), big=np.array([1, 2], ">i2"))
    found = sweep_files(tmp_path, axis=-1)
    assert {name: (s.count, s.max) for name, s in found.layers.items() if s.count} == {"scalar": (1, 3), "big": (2, 2)}
    assert found.neurons["none"].shape == (4,)
    assert sweep_files(tmp_path).layers["none"].count == 0


def test_columns_of_lists_tensors_structs_and_nulls(tmp_path: Path) -> None:
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(24.0, dtype=np.float32).reshape(4, 2, 3))
    columns = {
        "lists": pa.array([[1.0, None], None, [], [2.0, float("nan")]]),
        "deep": pa.array([[[1, 2], [3]], None, [None, []], [[4]]]),
        "tensor": tensor,
        "struct": pa.array([{"a": 1.0, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 4.0, "b": "z"}]),
        "codes": pa.array([7, 7, None, 9]).dictionary_encode(),
        "half": pa.array(np.arange(4, dtype=np.float16)),
        "text": pa.array(["a", "b", "c", "d"]),
    }
    table = pa.table(columns)
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=3)
    with pa.ipc.new_file(tmp_path / "x.arrow", table.schema) as writer:
        writer.write_table(table)
    for name in ("x.parquet", "x.arrow"):
        got = {array.name: array for _, array in sweep_files(tmp_path / name)}
        assert {name: (a.stats.count, a.nulls, a.shape) for name, a in got.items()} == {
            "lists": (3, 2, (4,)),
            "deep": (4, 2, (4,)),
            "tensor": (24, 0, (4, 2, 3)),
            "struct.a": (2, 2, (4,)),
            "codes": (3, 1, (4,)),
            "half": (4, 0, (4,)),
        }
        assert (got["lists"].stats.nans, got["struct.a"].stats.max, got["codes"].stats.max) == (1, 4.0, 9)
        assert got["tensor"].stats == summarize(np.arange(24.0, dtype=np.float32))
