"""A bit of everything, in seconds: what scripts/test runs with the oldest packages and the newest Python.

Needs no framework. One element type alone is compiled, since there compiling is most of the time.
"""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import fastact
from fastact.cli.app import app

DATA = Path(__file__).parent / "data"
COMMANDS = (
    "demo", "diagnose", "report", "explain", "layers", "replay", "stats", "export", "recover", "tail", "bench", "info",
    "warmup",
)  # fmt: skip


def values(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with a healthy layer and a layer most of whose neurons are dead."""
    path = tmp_path_factory.mktemp("smoke") / "run"
    with fastact.ActivationMonitor(path, metadata={"model": "ärger"}) as monitor:
        for _ in range(30):
            x = values(64, 16)
            monitor.record("linear", x, axis=1, kind="Linear")
            monitor.record("relu", np.maximum(x, 0) * (np.arange(16) < 4), axis=1, kind="ReLU")
            monitor.step()
        (path.parent / "live.json").write_text(monitor.diagnose().to_json())
    return path


def command(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "fastact", *map(str, arguments)],
        capture_output=True, text=True, check=False, encoding="utf-8", env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_a_sweep_is_right() -> None:
    x = values(100, 1000)
    x[::7] = 0
    x[0, :3] = np.nan, np.inf, -np.inf
    finite = x[np.isfinite(x)].astype(np.float64)
    stats = fastact.summarize(x)
    assert (stats.count, stats.nans, stats.pos_infs, stats.neg_infs) == (x.size, 1, 1, 1)
    assert (stats.min, stats.max, stats.zeros) == (finite.min(), finite.max(), int((x == 0).sum()))
    assert stats.mean == pytest.approx(finite.mean(), abs=1e-6 * finite.std())
    assert stats.std == pytest.approx(finite.std(), rel=1e-6)


def test_a_long_sweep_has_the_answer_of_its_parts() -> None:
    x = values(3_000_000)
    whole, parts = fastact.summarize(x), fastact.merge([fastact.summarize(part) for part in np.split(x, 3)])
    assert (whole.count, whole.min, whole.max) == (parts.count, parts.min, parts.max)
    assert whole.std == pytest.approx(parts.std, rel=2e-6)  # each is off by 1e-6 at most


def test_a_sweep_per_neuron_is_right() -> None:
    x = np.maximum(values(200, 48), 0)
    x[:, 5] = 0
    neurons = fastact.summarize(x, axis=-1)
    assert isinstance(neurons, fastact.ChannelStats)
    np.testing.assert_array_equal(neurons.max, x.max(axis=0))
    np.testing.assert_array_equal(neurons.zeros, (x == 0).sum(axis=0))
    np.testing.assert_allclose(neurons.mean, x.mean(axis=0, dtype=np.float64), rtol=0, atol=1e-6 * x.std())
    assert np.flatnonzero(neurons.dead()).tolist() == [5]
    assert neurons.total.count == x.size


@pytest.mark.parametrize(
    "owner", [np.asfortranarray, memoryview, lambda x: pa.array(x.ravel()), lambda x: x[::-1, ::2]]
)
def test_other_owners_and_strides(owner: Callable[[Any], Any]) -> None:
    x = values(64, 16)
    stats = fastact.summarize(owner(x))
    assert stats.max in x
    assert stats.count in (x.size, x.size // 2)


def test_stats_are_pickled() -> None:
    for stats in (fastact.summarize(values(8, 4)), fastact.summarize(values(8, 4), axis=1)):
        assert str(pickle.loads(pickle.dumps(stats))) == str(stats)


def test_streams_and_many() -> None:
    x = values(8, 1000)
    stream = fastact.Accumulator()
    for chunk in x:
        stream.update(chunk)
    assert stream.stats.max == x.max()
    assert [stats.max for stats in fastact.summarize_many(list(x))] == x.max(axis=1).tolist()


def test_what_cannot_be_swept_is_refused() -> None:
    with pytest.raises(fastact.ArgumentTypeError, match="x: "):
        fastact.summarize(np.array(["a"]))
    with pytest.raises(fastact.ArgumentValueError, match="axis"):
        fastact.summarize(values(3), axis=1)


def test_the_log_gives_the_live_diagnosis(run: Path) -> None:
    log = fastact.open_log(run)
    assert (log.warnings, log.metadata["model"]) == ((), "ärger")
    assert log.diagnose().to_json() == (run.parent / "live.json").read_text()
    first = log.diagnose().findings[0]
    assert (first.layer, first.condition, first.severity) == ("relu", "dead", "critical")
    assert log.to_table().num_rows == 60
    assert [info.name for info in log.layers] == ["linear", "relu"]


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_logs_of_all_versions_are_read(version: str) -> None:
    log = fastact.open_log(DATA / f"schema-{version}")
    assert log.to_table().num_rows > 0
    assert log.diagnose().layers


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_diagnose(run: Path) -> None:
    assert "12 of its 16 neurons" in command("diagnose", run, code=1)
    assert json.loads(command("diagnose", run, "--json", code=1))["findings"][0]["layer"] == "relu"


@pytest.mark.parametrize("name", ["layers", "replay", "tail", "explain", "info"])
def test_commands_print(name: str, run: Path) -> None:
    arguments: dict[str, tuple[object, ...]] = {"tail": (run, "--once"), "explain": ("dead",), "info": ()}
    assert len(command(name, *arguments.get(name, (run,))).splitlines()) >= 3


def test_export_and_recover(run: Path, tmp_path: Path) -> None:
    command("export", run, "--to", tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet").equals(fastact.open_log(run).to_table())
    command("recover", run, "--to", tmp_path / "copy")
    assert fastact.open_log(tmp_path / "copy").to_table().equals(fastact.open_log(run).to_table())


def test_stats_of_files(tmp_path: Path) -> None:
    x = values(50, 4)
    np.save(tmp_path / "x.npy", x)
    pq.write_table(pa.table({"x": x[:, 0]}), tmp_path / "x.parquet")
    npy, parquet = json.loads(command("stats", "--json", tmp_path / "x.npy", tmp_path / "x.parquet"))
    assert (npy["max"], parquet["count"]) == (x.max(), 50)


def test_an_error_is_one_line(tmp_path: Path) -> None:
    assert command("diagnose", tmp_path / "no-run", code=2) == ""
