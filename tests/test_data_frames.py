"""Data frames of pandas and polars: the numbers are those of the stats, the history and the log, and nothing is NaN."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import row

import fastact
from fastact.fields import COLUMN, ROW
from fastact.log import LogWriter

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")


@pytest.fixture(scope="module")
def x() -> Any:
    x = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    x[:, 1, 2] = np.nan
    return x


def test_channel_stats_have_a_row_for_each_neuron(x: Any) -> None:
    stats = fastact.summarize(x, axis=-1)
    for frame in (stats.to_pandas(), stats.to_polars()):
        assert frame.shape == (3, 16)
        assert list(frame["neuron"]) == [0, 1, 2]
        assert list(frame["mean"]) == stats.mean.tolist()
        assert list(frame["nans"]) == [0, 0, 4]
        assert list(frame["max"]) == stats.max.tolist()


def test_what_has_no_finite_element_is_null(x: Any) -> None:
    stats = fastact.summarize(x, axis=(1, 2))
    pandas, polars = stats.to_pandas(), stats.to_polars()
    assert list(pandas["neuron_0"]) == [0, 0, 0, 1, 1, 1]
    assert list(polars["neuron_1"]) == [0, 1, 2] * 2
    for name in ("mean", "std", "min", "max", "rms"):
        assert list(pandas[name].isna()) == [False] * 5 + [True]
        assert polars[name].null_count() == 1
        assert pandas[name].dtype == "Float64"
    assert pandas["zeros"].dtype == "Int64"
    assert polars["zeros"].dtype == pl.Int64
    assert polars["mean"].is_nan().sum() == 0


def test_a_whole_tensor_is_one_row_and_large_integers_stay_whole() -> None:
    stats = fastact.summarize(np.array([2**62 + 1, 3], np.int64))
    assert stats.to_pandas()["max"].tolist() == [2**62 + 1]
    assert stats.to_polars()["max"].to_list() == [2**62 + 1]
    assert "neuron" not in stats.to_pandas()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, fastact.History]:
    path = tmp_path_factory.mktemp("run")
    monitor = fastact.ActivationMonitor(path, window_size=3)
    for step in range(4):
        for name in ("z", "a"):  # forward order is not that of the alphabet
            monitor.record(name, np.full((8, 2), step - 1.0), axis=-1 if name == "z" else None)
        monitor.step()
    monitor.record("z", np.full((8, 2), math.nan), axis=-1)
    monitor.close()
    return path, monitor.history


def test_the_history_as_frames(run: tuple[Path, fastact.History]) -> None:
    _, history = run
    pandas, polars = history.to_pandas(), history.to_polars()
    assert list(pandas.columns) == polars.columns == [field.name for field in ROW]
    assert list(pandas["layer"]) == list(polars["layer"]) == ["z"] * 3 + ["a"] * 3
    assert list(pandas["layer"].cat.categories) == polars["layer"].dtype.categories.to_list() == ["z", "a"]
    assert list(pandas["step"]) == [2, 3, 4, 1, 2, 3]
    assert list(pandas["mean"].isna()) == [False, False, True, False, False, False]
    assert polars["dead_neurons"].is_null().to_list() == [False] * 3 + [True] * 3
    assert str(pandas["time"].dtype) == "datetime64[ns, UTC]"
    assert polars["time"].dtype == pl.Datetime("ns", "UTC")
    assert pandas["time"].astype("int64").tolist() == history["z"]["time"].tolist() + history["a"]["time"].tolist()
    one = history["a"].to_pandas()
    assert one["mean"].tolist() == history["a"]["mean"].tolist()
    assert history["a"].to_polars()["mean"].to_list() == history["a"]["mean"].tolist()
    assert fastact.History().to_pandas().shape == fastact.History().to_polars().shape == (0, len(ROW))


def test_a_log_as_frames_is_its_table(run: tuple[Path, fastact.History]) -> None:
    log = fastact.open_log(run[0])
    table = log.to_table()
    pandas, polars = log.to_pandas(), log.to_polars()
    assert len(pandas) == len(polars) == 9
    for field in ROW:
        want = table[field.name].to_pylist()
        got = pandas[field.name]
        if field.name == "time":
            assert polars["time"].cast(pl.Int64).to_list() == want
            assert got.astype("int64").tolist() == want
            continue
        assert polars[field.name].to_list() == want, field.name
        assert [None if value is pd.NA else value for value in got] == want, field.name
    assert polars["layer"].cast(pl.Enum(["z", "a"])).sort().to_list() == ["z"] * 5 + ["a"] * 4
    some = log.to_pandas(layers="a", from_step=1, to_step=2)
    assert (list(some["step"]), set(some["layer"]), set(some["rank"])) == ([1, 2], {"a"}, {0})
    assert log.to_polars(from_step=99).height == 0
    with pytest.raises(fastact.ArgumentValueError, match="layers: got 'b'"):
        log.to_polars(layers="b")


def test_layers_are_in_forward_order_however_they_were_written(tmp_path: Path) -> None:
    with LogWriter(tmp_path) as writer:
        for place, name in enumerate("abc"):
            writer.add_layer(fastact.LayerInfo(name, place))
        for place in (2, 0, 1):
            numbers = list(row(0, mean=float(place)))
            numbers[COLUMN["layer"]] = place
            writer.append(tuple(numbers))
    frame = fastact.open_log(tmp_path).to_pandas()
    assert list(frame["layer"]) == ["c", "a", "b"]
    assert list(frame["layer"].cat.categories) == ["a", "b", "c"]
    assert list(frame.sort_values("layer")["mean"]) == [0.0, 1.0, 2.0]


def test_ranks_are_a_column(tmp_path: Path) -> None:
    for rank in range(2):
        with fastact.ActivationMonitor(tmp_path / f"rank-{rank:05d}") as monitor:
            monitor.record("a", np.ones(2))
            monitor.record(f"only {rank}", np.ones(2))
            monitor.step()
    frame = fastact.open_log(tmp_path).to_pandas()
    rows = list(zip(frame["rank"], frame["layer"], strict=True))
    assert rows == [(0, "a"), (0, "only 0"), (1, "a"), (1, "only 1")]


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_missing_package_names_the_extra(package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None\nimport fastact\nfastact.History().to_{package}()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"MissingExtraError: to_{package} needs {package}: pip install 'fastact[{package}]'" in done.stderr
