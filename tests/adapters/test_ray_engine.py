"""`fastact.ray` on a real Ray of two CPUs: what one process finds, for any blocks."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from frameworks import run_example

import fastact
from fastact import ArgumentTypeError, ArgumentValueError, summarize

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'fastact[ray]'")
pytest.importorskip("ray.data", reason="needs Ray Data: pip install 'fastact[ray]'")

import fastact.ray  # noqa: E402

X = np.random.default_rng(0).standard_normal((90, 12)).astype(np.float32)
X[3, 4], X[50, 1], X[7] = np.nan, np.inf, 0.0

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # By default 200 tasks share out what is grouped.
        context.default_hash_shuffle_parallelism = 2
        yield
        ray.shutdown()


def same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    for name in ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated", "min", "max"):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name
    for name in ("mean", "std", "abs_mean"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=4e-6, atol=4e-6, err_msg=name)


@pytest.mark.usefixtures("engine")
def test_columns_of_numbers_lists_and_tensors_are_swept_as_one() -> None:
    table = pa.table(
        {
            "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(X.reshape(90, 3, 4)),
            "lists": pa.array(list(X)),
            "numbers": pa.array(X[:, 0]),
            "layer": [f"fc{i % 3}" for i in range(90)],
            "nulls": pa.array([None if i % 2 else float(i) for i in range(90)]),
        }
    )
    dataset = ray.data.from_arrow([table.slice(0, 50), table.slice(50, 0), table.slice(50)])
    stats = [fastact.ray.Stats(name) for name in ("tensor", "lists", "numbers", "nulls")]
    found = dataset.aggregate(*stats, fastact.ray.Stats("lists", extras="quantiles", name="detailed"))
    same(found["stats(tensor)"], summarize(X))
    same(found["stats(lists)"], summarize(X))
    same(found["stats(numbers)"], summarize(X[:, 0]))
    same(found["stats(nulls)"], summarize(np.arange(0.0, 90.0, 2.0)))
    same(fastact.ray.summarize(dataset, "tensor"), summarize(X))
    groups = fastact.ray.summarize(dataset, "lists", by="layer", saturation=(-2, 2))
    assert sorted(groups) == ["fc0", "fc1", "fc2"]
    for name, stats in groups.items():
        same(stats, summarize(X[int(name[-1]) :: 3], saturation=(-2, 2)))
    assert found["detailed"].quantile(0.25) == summarize(X, extras="quantiles").quantile(0.25)


@pytest.mark.usefixtures("engine")
def test_files_are_swept_as_by_one_process(tmp_path: Path) -> None:
    for i in range(20):
        np.savez(tmp_path / f"{i:02}.npz", fc1=X[i], fc2=X[i] * 2)
    (tmp_path / "cut.npz").write_bytes(b"PK")
    one = fastact.sweep_files(tmp_path, on_error="skip")
    other = fastact.ray.sweep_files(tmp_path, on_error="skip", resume=tmp_path / "journal")
    assert repr(other.total._state) == repr(one.total._state)
    assert (other.files, other.layers, other.failed) == (one.files, one.layers, one.failed)
    with pytest.raises(ArgumentValueError, match=r"cut\.npz"):
        fastact.ray.sweep_files(tmp_path)
    with pytest.raises(ArgumentValueError, match="workers: Ray has its own"):
        fastact.ray.sweep_files(tmp_path, workers=2)


@pytest.mark.usefixtures("engine")
def test_the_example_on_the_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dumps").mkdir()
    np.save(tmp_path / "dumps/x.npy", X[:9, :10])
    monkeypatch.chdir(tmp_path)
    run_example("terabytes-of-dumps", "fastact.ray")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ActivationStats(count=20, mean=5,")
    assert sorted(lines[1:3]) == ["fc0 10 4.5", "fc1 10 5.5"]
    assert lines[3].startswith("ActivationStats(count=90,")


def test_arguments_are_checked() -> None:
    with pytest.raises(ArgumentTypeError, match="on: got int"):
        fastact.ray.Stats(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentValueError, match="extras: got 'no'"):
        fastact.ray.Stats("x", extras="no")
    with pytest.raises(ArgumentTypeError, match="by: got int"):
        fastact.ray.summarize(None, "x", by=3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentValueError, match="by: got 'x', which is swept"):
        fastact.ray.summarize(None, "x", by="x")
    stats = fastact.ray.Stats("x")
    with pytest.raises(ArgumentTypeError, match="column 'x' of string, want numbers"):
        stats.aggregate_block(pa.table({"x": ["a"]}))
    assert stats.finalize(stats.combine(b"", b"")).count == 0
