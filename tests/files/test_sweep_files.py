"""`sweep_files`: every format, here and on an object store, in total, by file and by layer, interrupted and resumed."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastact import ArgumentTypeError, ArgumentValueError, from_arrow, merge_arrow, summarize, sweep_files
from fastact.errors import FastactError, LogError
from fastact.files import array as array_module
from fastact.files.readers import sweep_source

Floats = npt.NDArray[np.float32]

RANDOM = np.random.default_rng(0)


def numbers(*shape: int) -> Floats:
    x = RANDOM.standard_normal(shape).astype(np.float32)
    x.flat[0] = np.nan
    return x


def write_hdf5(path: Path, arrays: dict[str, Floats]) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, x in arrays.items():
            file.create_dataset(name, data=x, chunks=(7, 2) if x.ndim == 2 else None)
        file["text"] = "no numbers"


def write_zarr(path: Path, arrays: dict[str, Floats]) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="w")
    for name, x in arrays.items():
        group.create_array(name, data=x, chunks=(7, 2) if x.ndim == 2 else "auto")


def write_torch(path: Path, arrays: dict[str, Floats]) -> None:
    torch = pytest.importorskip("torch")
    torch.save({name: torch.from_numpy(x) for name, x in arrays.items()}, path)


def write_safetensors(path: Path, arrays: dict[str, Floats]) -> None:
    pytest.importorskip("safetensors.numpy").save_file(arrays, path)


def write_parquet(path: Path, arrays: dict[str, Floats]) -> None:
    columns = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x[0].size) if x.ndim > 1 else pa.array(x)
        for name, x in arrays.items()
    }
    pq.write_table(pa.table(columns), path, row_group_size=9)


WRITERS: dict[str, Callable[[Path, dict[str, Floats]], None]] = {
    ".npz": lambda path, arrays: np.savez(path, **arrays),  # type: ignore[arg-type]
    "_small.npz": lambda path, arrays: np.savez_compressed(path, **arrays),  # type: ignore[arg-type]
    ".h5": write_hdf5,
    ".zarr": write_zarr,
    ".pt": write_torch,
    ".safetensors": write_safetensors,
    ".parquet": write_parquet,
}


def same(a: Any, b: Any) -> None:
    for name in ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated", "min", "max"):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name
    for name in ("mean", "std", "abs_mean"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=4e-6, atol=4e-6, err_msg=name)


@pytest.mark.parametrize("suffix", WRITERS)
def test_each_format_has_the_numbers_of_its_arrays(suffix: str, tmp_path: Path) -> None:
    arrays = {"fc1": numbers(40, 6), "fc2": numbers(40, 3)}
    WRITERS[suffix](tmp_path / f"x{suffix}", arrays)
    found = sweep_files(tmp_path)
    assert list(found.layers) == ["fc1", "fc2"]
    for name, x in arrays.items():
        same(found.layers[name], summarize(x))
    same(found.total, summarize(np.concatenate([x.ravel() for x in arrays.values()])))
    (name,) = found.files
    assert name == f"{tmp_path}/x{suffix}"
    if suffix == ".parquet":
        with pytest.raises(ArgumentValueError, match="whose columns have no axes"):
            sweep_files(tmp_path, axis=1)
        return
    for axis in (0, 1, -1, 2):
        neurons = sweep_files(tmp_path, axis=axis).neurons
        assert set(neurons) == (set(arrays) if axis < 2 else set())
        for name, stats in neurons.items():
            same(stats, summarize(arrays[name], axis=axis))
    quantiles = sweep_files(tmp_path, extras="quantiles").layers["fc1"]
    assert quantiles == summarize(arrays["fc1"], extras="quantiles")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_an_array_is_swept_by_windows_as_a_whole(
    order: Any, axis: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.asarray(numbers(11, 6, 5), order=order)
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr(array_module, "WINDOW", 400)
    monkeypatch.setattr(array_module, "SLAB", 200)
    ((_, found),) = sweep_files(tmp_path / "x.npy", axis=axis)
    assert found.shape == x.shape
    same(found.stats, summarize(x))
    if axis is not None:
        same(found.neurons, summarize(x, axis=axis))


@pytest.fixture
def dumps(tmp_path: Path) -> Path:
    """Two ranks, three steps, two layers; one folder is hidden."""
    for rank in range(2):
        (tmp_path / f"rank{rank}").mkdir()
        for step in range(3):
            for layer in ("fc1", "fc2"):
                np.save(tmp_path / f"rank{rank}/{layer}_{step}.npy", np.full(10 + step, rank, np.float32))
    (tmp_path / ".cache").mkdir()
    np.save(tmp_path / ".cache/x.npy", np.ones(99))
    (tmp_path / "notes.txt").write_text("no numbers")
    return tmp_path


def test_folders_and_patterns_count_each_file_once(dumps: Path) -> None:
    found = sweep_files(dumps)
    assert (found.total.count, found.total.zeros, len(found.files), len(found)) == (132, 66, 12, 12)
    again = sweep_files([dumps, dumps / "rank0", f"{dumps}/rank1/fc1_0.npy", f"{dumps}/*/*.npy", dumps.as_uri()])
    assert again.total == found.total
    assert list(again.files) == list(found.files) == sorted(found.files)
    counts = {
        "rank0/*.npy": 66,
        "*/fc1_?.npy": 66,
        "**/fc1_0.npy": 20,
        "*/fc[2]_[02].npy": 44,
        "rank*": 132,
        "**": 132,
    }
    for pattern, count in counts.items():
        if pattern != "rank*":
            assert sweep_files(f"{dumps}/{pattern}").total.count == count, pattern
    for nothing in ("*.npy", "rank0/*.npz", "rank7/*.npy"):
        with pytest.raises(ArgumentValueError, match="where there is no file that ends in"):
            sweep_files(f"{dumps}/{nothing}")
    with pytest.raises(FileNotFoundError):
        sweep_files(dumps / "rank7")
    relative = Path(os.path.relpath(dumps))
    assert set(sweep_files(relative).files) == {f"{relative}/{Path(name).relative_to(dumps)}" for name in found.files}


def test_layers_by_name_expression_and_function(dumps: Path) -> None:
    assert set(sweep_files(dumps).layers) == {f"fc{layer}_{step}" for layer in (1, 2) for step in range(3)}
    found = sweep_files(dumps, layer=r"(?P<layer>\w+)_\d+\.npy")
    assert {name: stats.count for name, stats in found.layers.items()} == {"fc1": 66, "fc2": 66}
    by_rank = sweep_files(dumps, layer=lambda file, array: Path(file).parent.name)
    assert {name: stats.mean for name, stats in by_rank.layers.items()} == {"rank0": 0.0, "rank1": 1.0}
    for layer in ("(", "fc", 3):
        with pytest.raises(FastactError, match="layer: got"):
            sweep_files(dumps, layer=layer)  # type: ignore[arg-type]


def test_the_rows_merge_to_the_same_by_any_columns(dumps: Path) -> None:
    found = sweep_files(dumps, layer=r"(?P<layer>\w+)_\d+\.npy")
    table = found.to_arrow()
    assert table.column_names[:5] == ["layer", "file", "bytes", "changed", "array"]
    assert from_arrow(merge_arrow(table)) == [found.total]
    assert from_arrow(merge_arrow(table, by="layer")) == list(found.layers.values())
    assert from_arrow(merge_arrow(table, by="file")) == list(found.files.values())


@pytest.mark.parametrize("workers", [1, 3, 20])
def test_any_number_of_workers_finds_the_same_bit_for_bit(workers: int, tmp_path: Path) -> None:
    for i in range(9):
        np.save(tmp_path / f"{i}.npy", numbers(100 * i + 1))
    one, other = sweep_files(tmp_path, workers=1), sweep_files(tmp_path, workers=workers)
    assert repr(one.total._state) == repr(other.total._state)
    assert list(one.files) == list(other.files)


def test_headers_are_parsed_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 fails now and then where two threads parse at once."""
    parse, free, met = np.lib.format.read_array_header_1_0, threading.Lock(), threading.Event()

    def alone(file: Any) -> Any:
        assert free.acquire(blocking=False)
        met.wait(0.01)  # long enough for another worker to come
        free.release()
        return parse(file)

    monkeypatch.setattr(np.lib.format, "read_array_header_1_0", alone)
    for i in range(6):
        np.save(tmp_path / f"{i}.npy", np.full(3, i))
    assert sweep_files(tmp_path, workers=3).total.count == 18


def test_a_failure_is_raised_or_told(dumps: Path) -> None:
    (dumps / "cut.npy").write_bytes((dumps / "rank0/fc1_0.npy").read_bytes()[:-4])
    (dumps / "text.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArgumentValueError, match=r"cut\.npy' is cut off or damaged|text\.parquet"):
        sweep_files(dumps)
    found = sweep_files([dumps, dumps / "nowhere.npy"], on_error="skip")
    assert {Path(name).name for name in found.failed} == {"cut.npy", "text.parquet", "nowhere.npy"}
    assert all(Path(name).name in reason for name, reason in found.failed.items())
    assert found.total.count == 132
    assert "3 files could not be read, and are not in these numbers" in str(found)
    nothing = sweep_files(dumps / "cut.npy", on_error="skip")
    assert (nothing.total.count, nothing.files, len(nothing), nothing.to_arrow().num_rows) == (0, {}, 0, 0)


# Interrupted and resumed.


def test_an_interrupted_sweep_goes_on_where_it_was(dumps: Path, tmp_path: Path) -> None:
    journal = tmp_path / "sweep.arrow.journal"
    seen: list[int] = []

    def interrupt(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_files(dumps, resume=journal, workers=1, progress=interrupt, axis=0, saturation=(-2, 2))
    whole = sweep_files(dumps, axis=0, saturation=(-2, 2))
    # Half of a batch, as a killed process leaves it.
    size = journal.stat().st_size
    with journal.open("r+b") as file:
        file.truncate(size - 100)
    changed = dumps / "rank0/fc1_0.npy"
    np.save(changed, np.ones(50, np.float32))
    os.utime(changed, ns=(1, 1))
    read: list[str] = []

    def counted(source: Any, ask: Any) -> Any:
        read.append(Path(source.name).name)
        return sweep_source(source, ask)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastact.files.sweep.sweep_source", counted)
        again = sweep_files(dumps, resume=journal, axis=0, saturation=(-2, 2))
        # Of five, the last was cut off and the first has changed.
        assert len(read) == 12 - 3
        assert again.total.count == whole.total.count + 40
        read.clear()
        assert sweep_files(dumps, resume=journal, axis=0, saturation=(-2, 2)).total == again.total
        assert read == []
    with pytest.raises(ArgumentValueError, match=r"resume: .* was made with .*, want"):
        sweep_files(dumps, resume=journal)
    rows = pa.ipc.open_stream(journal).read_all()
    assert from_arrow(rows.slice(0, 1))[0].count


def test_a_journal_is_a_journal_and_has_one_writer(dumps: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"what a user wrote")
    with pytest.raises(ArgumentValueError, match="is no journal of a sweep"):
        sweep_files(dumps, resume=tmp_path / "other")
    with pa.ipc.new_stream(tmp_path / "table", pa.schema([("a", pa.int64())])):
        pass
    with pytest.raises(ArgumentValueError, match="but no journal"):
        sweep_files(dumps, resume=tmp_path / "table")
    assert (tmp_path / "other").read_bytes() == b"what a user wrote"
    inner: list[str] = []

    def twice(done: int, total: int) -> None:
        with pytest.raises(LogError, match="is being written by another sweep"):
            sweep_files(dumps, resume=tmp_path / "journal")
        inner.append("refused")

    sweep_files(dumps, resume=tmp_path / "journal", progress=twice)
    assert inner


def test_what_a_sweep_writes_is_no_data_of_the_next(tmp_path: Path) -> None:
    np.save(tmp_path / "fc1.npy", np.ones(50, np.float32))
    for _ in range(2):  # the second finds the first one's journal among the files
        assert sweep_files(tmp_path, resume=tmp_path / "sweep.arrow").total.count == 50
        assert sweep_files(f"{tmp_path}/*", resume=tmp_path / "sweep.arrow").total.count == 50
    rows = sweep_files(tmp_path / "fc1.npy").to_arrow()
    pq.write_table(rows, tmp_path / "rows.parquet")
    for resume, name in ((tmp_path / "sweep.arrow", "rows.parquet"), (None, "sweep.arrow")):
        with pytest.raises(ArgumentValueError, match=f"{name}' holds rows of statistics, not arrays"):
            sweep_files([tmp_path / "fc1.npy", tmp_path / name], resume=resume)
    found = sweep_files(tmp_path, on_error="skip")
    assert (found.total.count, len(found.failed)) == (50, 2)


def test_progress_comes_to_the_whole(dumps: Path) -> None:
    seen: list[tuple[int, int]] = []
    sweep_files(dumps, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (sweep_files(dumps).bytes,) * 2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_no_thread_outlives_a_sweep_that_failed(dumps: Path) -> None:
    (dumps / "cut.npy").write_bytes(b"\x93NUMPY")
    before = {thread for thread in threading.enumerate() if thread.name == "fastact-files"}
    with pytest.raises(ArgumentValueError):
        sweep_files(dumps, workers=4)
    for thread in threading.enumerate():
        if thread.name == "fastact-files" and thread not in before:
            thread.join(300)
            assert not thread.is_alive()


def test_arguments_are_checked(dumps: Path) -> None:
    calls: list[tuple[dict[str, Any], type[FastactError], str]] = [
        ({"paths": 3}, ArgumentTypeError, "paths: got int"),
        ({"paths": [3]}, ArgumentTypeError, "paths: got int among them"),
        ({"paths": []}, ArgumentValueError, "paths: got none"),
        ({"paths": ""}, ArgumentValueError, "paths: got an empty one"),
        ({"workers": 0}, ArgumentValueError, "workers: got 0"),
        ({"on_error": "ignore"}, ArgumentValueError, "on_error: got 'ignore'"),
        ({"extras": "shape", "axis": 0}, ArgumentValueError, "extras: got"),
        ({"paths": dumps / "notes.txt"}, ArgumentValueError, "want a name that ends in .npy"),
    ]
    for options, error, message in calls:
        with pytest.raises(error, match=message):
            sweep_files(**({"paths": dumps} | options))


# Elsewhere.


@pytest.mark.parametrize("suffix", [".npy", *WRITERS])
def test_what_lies_elsewhere_is_swept_as_what_lies_here(suffix: str, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    here = tmp_path / f"x{suffix}"
    x = numbers(40, 6)
    if suffix == ".npy":
        np.save(here, x)
    else:
        WRITERS[suffix](here, {"x": x})
    there = f"memory://{tmp_path.name}"
    fsspec.filesystem("memory").put(str(here), f"/{tmp_path.name}/x{suffix}", recursive=True)
    one, other = sweep_files(tmp_path), sweep_files(there)
    assert repr(one.total._state) == repr(other.total._state)
    assert list(other.files) == [f"{there}/x{suffix}"]
    assert sweep_files(f"{there}/*{suffix}").total == one.total
    if suffix != ".parquet":
        assert sweep_files(tmp_path, axis=0).neurons == sweep_files(there, axis=0).neurons
