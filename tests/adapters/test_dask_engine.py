"""`fastact.dask` on a real cluster of two processes: what one process finds, for any chunks."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frameworks import run_example

import fastact
from fastact import ArgumentTypeError, ArgumentValueError, summarize

pytest.importorskip("distributed", reason="needs dask and distributed: pip install 'fastact[dask]'")
da = pytest.importorskip("dask.array")
db = pytest.importorskip("dask.bag")

import fastact.dask  # noqa: E402

X = np.random.default_rng(0).standard_normal((90, 12)).astype(np.float32)
X[3, 4], X[50, 1], X[7] = np.nan, np.inf, 0.0


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
            Client(cluster) as started,
        ):
            yield started


def same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    for name in ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated", "min", "max"):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name
    for name in ("mean", "std", "abs_mean"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=4e-6, atol=4e-6, err_msg=name)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("chunks", [(90, 12), (1, 12), (17, 5)])
def test_an_array_of_any_chunks_is_swept_as_one(chunks: tuple[int, int]) -> None:
    x = da.from_array(X, chunks=chunks)
    same(fastact.dask.summarize(x).compute(), summarize(X))
    if chunks == (17, 5):
        for axis in (0, 1, -1):
            same(fastact.dask.summarize(x, axis=axis).compute(), summarize(X, axis=axis))
        found = fastact.dask.summarize(x, extras=("quantiles", "outliers"), saturation=(-2, 2)).compute()
        want = summarize(X, extras=("quantiles", "outliers"), saturation=(-2, 2))
        same(found, want)
        assert found.quantile(0.25) == want.quantile(0.25)
        assert found.outliers(absolute=True) == want.outliers(absolute=True)
        same(fastact.dask.summarize(da.zeros((0, 3))).compute(), summarize(np.zeros((0, 3))))


@pytest.mark.usefixtures("client")
def test_a_bag_is_swept_as_one_and_by_name() -> None:
    items = [(f"fc{i % 3}", X[i]) for i in range(90)]
    bag = db.from_sequence(items, npartitions=20)
    same(fastact.dask.summarize(bag.map(lambda item: item[1])).compute(), summarize(X))
    found = fastact.dask.summarize_by_name(bag).compute()
    assert list(found) == ["fc0", "fc1", "fc2"]
    for i in range(3):
        same(found[f"fc{i}"], summarize(X[i::3]))


@pytest.mark.usefixtures("client")
def test_files_are_swept_as_by_one_process(tmp_path: Path) -> None:
    for i in range(40):
        np.savez(tmp_path / f"{i:02}.npz", fc1=X[i], fc2=X[i] * 2)
    (tmp_path / "cut.npz").write_bytes(b"PK")
    one = fastact.sweep_files(tmp_path, on_error="skip")
    seen: list[tuple[int, int]] = []
    journal = tmp_path / "journal"
    other = fastact.dask.sweep_files(
        tmp_path, on_error="skip", resume=journal, progress=lambda done, total: seen.append((done, total))
    )
    assert repr(other.total._state) == repr(one.total._state)
    assert (other.files, other.layers, other.failed) == (one.files, one.layers, one.failed)
    assert seen[-1][0] == seen[-1][1]
    assert fastact.sweep_files(tmp_path, on_error="skip", resume=journal).layers == one.layers
    with pytest.raises(ArgumentValueError, match=r"cut\.npz"):
        fastact.dask.sweep_files(tmp_path)
    with pytest.raises(ArgumentValueError, match="workers: Dask has its own"):
        fastact.dask.sweep_files(tmp_path, workers=2)


def test_without_a_cluster_it_is_dask_s_own_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    np.save(tmp_path / "x.npy", X)
    monkeypatch.setattr(fastact.dask, "_client", lambda: None)
    with dask.config.set(scheduler="threads"):
        found = fastact.dask.sweep_files(tmp_path)
        same(fastact.dask.summarize(da.from_array(X, chunks=(8, 12))).compute(), summarize(X))
    assert found.total == fastact.sweep_files(tmp_path).total


@pytest.mark.usefixtures("client")
def test_the_example_on_the_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dumps").mkdir()
    np.save(tmp_path / "dumps/x.npy", X[:9, :10])
    monkeypatch.chdir(tmp_path)
    run_example("terabytes-of-dumps", "fastact.dask")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ActivationStats(count=256000, mean=")
    assert lines[1:3] == ["64", "{'fc0': 9.0, 'fc1': 10.0}"]
    assert lines[3].startswith("ActivationStats(count=90,")


def test_arguments_are_checked() -> None:
    x = da.ones((4, 4))
    with pytest.raises(ArgumentTypeError, match="x: got ndarray, want an array or a bag of Dask"):
        fastact.dask.summarize(np.ones(3))
    with pytest.raises(ArgumentTypeError, match="pairs: got Array"):
        fastact.dask.summarize_by_name(x)
    with pytest.raises(ArgumentValueError, match="axis: got 2"):
        fastact.dask.summarize(x, axis=2)
    with pytest.raises(ArgumentValueError, match="extras: got"):
        fastact.dask.summarize(x, axis=1, extras="shape")
    with pytest.raises(ArgumentTypeError, match="axis: got str"):
        fastact.dask.summarize(x, axis="0")  # type: ignore[arg-type]
