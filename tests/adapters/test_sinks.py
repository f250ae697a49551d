"""Every sink with its real package: what was sent is read back from where it went."""

import io
import json
import math
import os
import sqlite3
import struct
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact
from fastact import (
    ActivationMonitor,
    ArgumentTypeError,
    ArgumentValueError,
    FastactError,
    MissingExtraError,
    open_log,
    sinks,
)

Sent = dict[int, dict[str, dict[str, float]]]

#: A heat map after every second step, and at the end.
MAP: Any = {"heat_map": "rms", "heat_map_every": 2}
#: A name that every backend has an opinion about.
ODD = "encoder.0['h']"


class Memory:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.sent: Sent = {}
        self.closed = 0

    def write(self, step: int, layers: Mapping[str, Mapping[str, float]]) -> None:
        self.sent[step] = {name: dict(found) for name, found in layers.items()}

    def close(self) -> None:
        self.closed += 1


class Images(Memory):
    """A sink that keeps images as well."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[tuple[int, str, tuple[int, int]]] = []

    def write_image(self, step: int, name: str, png: bytes) -> None:
        self.images.append((step, name, size_of(png)))


def size_of(png: bytes) -> tuple[int, int]:
    """The width and height of a PNG file, which must be whole and not of one colour."""
    from PIL import Image

    image = Image.open(io.BytesIO(png))
    image.load()
    assert len(set(image.convert("RGB").tobytes())) > 3
    return image.size


def train(monitor: ActivationMonitor) -> None:
    """Three steps of two layers; in the second step one has a NaN and an Inf, the other nothing finite at all."""
    for step in range(3):
        x = np.arange(12, dtype=np.float32).reshape(4, 3) * step
        bad = np.zeros(5, np.float32)
        if step == 1:
            x[0, 0], x[1, 1] = np.nan, -np.inf
            bad[:] = [np.nan, np.nan, np.inf, np.inf, np.inf]
        monitor.record(ODD, x, axis=-1, kind="ReLU")
        monitor.record("loss", bad)
        monitor.step()
    monitor.close()


@pytest.fixture
def expected() -> Sent:
    """What any sink must have got."""
    memory = Memory()
    monitor = ActivationMonitor()
    sinks.attach(monitor, memory)
    train(monitor)
    return memory.sent


def flat(layers: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"activations/{layer}/{name}": value for layer, found in layers.items() for name, value in found.items()}


def test_scalars_are_the_stats_of_the_layer(expected: Sent) -> None:
    x = np.arange(12, dtype=np.float32)
    stats = fastact.summarize(x)
    got = expected[1][ODD]
    assert (got["nans"], got["infs"]) == (1, 1)
    finite = x[[1, 2, 3, 5, 6, 7, 8, 9, 10, 11]]
    assert got["mean"] == pytest.approx(finite.mean())
    assert got["std"] == pytest.approx(finite.std())
    assert (got["min"], got["max"]) == (1.0, 11.0)
    assert expected[0][ODD]["zero_ratio"] == 1.0
    assert (expected[0][ODD]["neurons"], expected[0][ODD]["dead_neurons"]) == (3, 0)  # too few samples to tell
    assert expected[2][ODD]["saturation_ratio"] == pytest.approx(11 / 12)
    assert expected[2][ODD]["mean"] == pytest.approx(2 * stats.mean)
    assert set(expected[2][ODD]) == set(sinks.SCALARS)


def test_what_is_not_finite_is_counted_and_nothing_else_goes_missing(expected: Sent) -> None:
    bad = expected[1]["loss"]
    assert (bad["nans"], bad["infs"], bad["saturation_ratio"]) == (2, 3, 0.6)
    assert {"mean", "std", "min", "max"}.isdisjoint(bad)
    assert all(
        math.isfinite(value) for layers in expected.values() for found in layers.values() for value in found.values()
    )
    assert set(expected[0]["loss"]) >= {"mean", "std", "nans", "infs"}
    assert "neurons" not in expected[0]["loss"]


def test_the_log_sends_what_the_monitor_sent(expected: Sent, tmp_path: Path) -> None:
    train(ActivationMonitor(tmp_path))
    memory = Memory()
    sinks.send(open_log(tmp_path), memory)
    assert memory.sent == expected
    assert memory.closed == 1


def test_ranks_are_told_apart(tmp_path: Path) -> None:
    for rank in range(2):
        train(ActivationMonitor(tmp_path / f"rank-{rank:05d}"))
    names: set[str] = set()

    class Names(Memory):
        def write(self, step: int, layers: Mapping[str, Mapping[str, float]]) -> None:
            names.update(layers)

    sinks.send(open_log(tmp_path), Names())
    assert names == {f"rank-0000{rank}/{layer}" for rank in range(2) for layer in (ODD, "loss")}


def test_every_thins_the_recorded_steps() -> None:
    monitor, memory = ActivationMonitor(every=2), Memory()
    sinks.attach(monitor, memory, every=3)
    for _ in range(20):
        monitor.record("a", np.ones(4))
        monitor.step()
    monitor.close()
    assert list(memory.sent) == [0, 6, 12, 18]
    assert memory.closed == 1


class Broken(Memory):
    def write(self, step: int, layers: Mapping[str, Mapping[str, float]]) -> None:
        raise ConnectionError("no route to the dashboard")

    def close(self) -> None:
        raise OSError("the dashboard is gone")


def test_a_sink_that_fails_does_not_end_the_training(tmp_path: Path) -> None:
    monitor, good = ActivationMonitor(tmp_path), Memory()
    sinks.attach(monitor, Broken())
    sinks.attach(monitor, good)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(monitor)
    assert "(FastactError: Broken did not take step 0: ConnectionError('no route" in str(caught[0].message)
    assert [str(warning.message).partition(" and continues")[0] for warning in caught] == [
        "fastact could not hand its rows to a listener",
        "fastact.sinks.Broken could not close",
    ]
    assert monitor.failures == 3
    assert list(good.sent) == [0, 1, 2]
    assert open_log(tmp_path).to_table().num_rows == 6


def test_a_strict_monitor_raises() -> None:
    monitor = ActivationMonitor(strict=True)
    sinks.attach(monitor, Broken())
    monitor.record("a", np.ones(4))
    with pytest.raises(FastactError, match="Broken did not take step 0") as caught:
        monitor.step()
    assert isinstance(caught.value.__cause__, ConnectionError)


@pytest.mark.parametrize("every", [0, -1, 1.5, None])
def test_every_must_be_a_number_of_steps(every: Any) -> None:
    with pytest.raises((ArgumentTypeError, ArgumentValueError), match="every: got"):
        sinks.attach(ActivationMonitor(), Memory(), every=every)


def test_heat_maps_come_every_so_many_steps_and_at_the_end(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    monitor, images, plain = ActivationMonitor(tmp_path, strict=True), Images(), Images()
    sinks.attach(monitor, images, every=2, heat_map="rms", heat_map_every=2)
    sinks.attach(monitor, plain)
    train(monitor)
    high = 2 * 20 + 200
    assert images.images == [(1, "heat_map/rms", (1000, high)), (2, "heat_map/rms", (1000, high))]
    assert list(images.sent) == [0, 2]
    assert plain.images == []
    afterwards = Images()
    sinks.send(open_log(tmp_path), afterwards, heat_map="zero_ratio")
    assert afterwards.images == [(2, "heat_map/zero_ratio", (1000, high))]
    sinks.send(open_log(tmp_path), plain)
    assert plain.images == []


def test_the_heat_map_is_that_of_the_log_and_does_not_grow_with_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from fastact import heatmap
    from fastact._adapters.heat_maps import GrowingMap
    from fastact.heatmap.cells import of_grid

    monitor = ActivationMonitor(tmp_path, window_size=5)
    growing = GrowingMap(monitor, "std", layers=2)

    class Grow(Memory):
        def write(self, step: int, rows: Any) -> None:
            growing.add(rows)

    monitor.listen(Grow())
    for step in range(700):
        monitor.record("a", np.full(4, step))
        if step > 300:
            monitor.record("b", np.arange(4.0) * step)
        monitor.step()
    monitor.close()
    cells = heatmap.cells(open_log(tmp_path), "std")
    grown = of_grid(growing._grid, 0, growing._infos, 16_384)
    assert (grown.width, grown.names) == (cells.width, cells.names) == (2, ("a", "b"))
    assert np.array_equal(grown.median, cells.median, equal_nan=True)


def test_a_heat_map_is_refused_at_once_where_it_cannot_be_sent(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ArgumentTypeError, match="heat_map: got a sink of type Memory, want one that takes images"):
        sinks.attach(ActivationMonitor(), Memory(), heat_map="rms")
    with pytest.raises(ArgumentValueError, match="statistic: got 'none', want one of rms, "):
        sinks.attach(ActivationMonitor(), Images(), heat_map="none")
    with pytest.raises(ArgumentValueError, match="heat_map_every: got 0"):
        sinks.attach(ActivationMonitor(), Images(), heat_map="rms", heat_map_every=0)
    train(ActivationMonitor(tmp_path))
    with pytest.raises(ArgumentTypeError, match="heat_map: got a sink of type Memory"):
        sinks.send(open_log(tmp_path), Memory(), heat_map="rms")
    code = "import sys; sys.modules['matplotlib'] = None\nimport fastact, fastact.sinks\n"
    code += "fastact.sinks.attach(fastact.ActivationMonitor(), fastact.sinks.Trackio(None), heat_map='rms')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: fastact.plots needs matplotlib: pip install 'fastact[plot]'" in done.stderr


def test_tensorboard(expected: Sent, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monitor = ActivationMonitor(strict=True)
    sinks.attach(monitor, sinks.TensorBoard(tmp_path), **MAP)
    train(monitor)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    images = events.Images("activations/heat_map/rms")
    assert [(image.step, image.width, image.height) for image in images] == [(1, 1000, 240), (2, 1000, 240)]
    assert size_of(images[0].encoded_image_string) == (1000, 240)
    got: dict[int, dict[str, float]] = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            got.setdefault(event.step, {})[tag] = event.value
    assert got == {step: pytest.approx(flat(layers)) for step, layers in expected.items()}


def test_weights_and_biases_offline(expected: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", project="test", dir=str(tmp_path)) as run:
        # What else is logged has its own steps, and neither drops the other's.
        run.log({"other": 1.0}, step=500)
        monitor = ActivationMonitor()
        sinks.attach(monitor, sinks.WeightsAndBiases(run), **MAP)
        train(monitor)
        run.log({"other": 0.5})
    # Its own process writes the file, and is at times not done when the run has ended.
    deadline = time.monotonic() + 300
    while len(rows := list(_history(tmp_path))) < 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [row["other"] for row in rows if "other" in row] == [1.0, 0.5]
    got = {}
    image = "activations/heat_map/rms/"
    images: list[Any] = [row for row in rows if f"{image}path" in row]
    assert [row["activations/step"] for row in images] == [1, 2]
    for row in images:
        (path,) = tmp_path.rglob(Path(row[f"{image}path"]).name)
        assert (row[f"{image}width"], row[f"{image}height"]) == size_of(path.read_bytes()) == (1000, 240)
    for row in rows:
        if "activations/step" in row and row not in images:
            step = row.pop("activations/step")
            got[step] = {name: value for name, value in row.items() if name.startswith("activations")}
    assert got == {step: pytest.approx(flat(layers)) for step, layers in expected.items()}


def _history(folder: Path) -> Iterator[dict[str, float]]:
    """The rows in the file of an offline run: protocol buffers in LevelDB's log format, in blocks of 32 kB."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.rglob("*.wandb")
    data, at, message = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if at % 32768 > 32768 - 7:  # no header fits into the rest of a block
            at += -at % 32768
            continue
        _, length, part = struct.unpack_from("<IHB", data, at)
        message += data[at + 7 : at + 7 + length]
        at += 7 + length
        if part in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(message)
            message = b""
            if record.WhichOneof("record_type") == "history":
                yield {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}


def test_mlflow(expected: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    monitor = ActivationMonitor()
    with mlflow.start_run() as run:
        sink = sinks.MLflow()
        sinks.attach(monitor, sink, **MAP)
        train(monitor)
    assert sink.run_id == run.info.run_id
    client = mlflow.MlflowClient()
    images = sorted(tmp_path.rglob("images/*.png"))
    assert [size_of(image.read_bytes()) for image in images] == [(1000, 240)] * 2
    assert all("heat_map" in image.name and "rms" in image.name for image in images)
    got: dict[int, dict[str, float]] = {}
    for name in client.get_run(sink.run_id).data.metrics:
        for metric in client.get_metric_history(sink.run_id, name):
            got.setdefault(metric.step, {})[name] = metric.value
    # MLflow refuses brackets and quotes.
    assert got == {
        step: {name.replace("['h']", "__h__"): pytest.approx(value) for name, value in flat(layers).items()}
        for step, layers in expected.items()
    }


def test_trackio(expected: Sent, tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="trackio is not installed")
    # It takes its folder from the environment when it is imported, and leaves threads behind.
    code = """
import sys; sys.path.insert(0, sys.argv[1])
import trackio, fastact.sinks, test_sinks
run = trackio.init(project="test", embed=False, auto_log_gpu=False, auto_log_cpu=False)
monitor = fastact.ActivationMonitor()
fastact.sinks.attach(monitor, fastact.sinks.Trackio(run), **test_sinks.MAP)
test_sinks.train(monitor)
trackio.finish()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TRACKIO_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "test.db") as database:
        rows = [(step, json.loads(text)) for step, text in database.execute("select step, metrics from metrics")]
    images = [(step, found["activations/heat_map/rms"]) for step, found in rows if "activations/heat_map/rms" in found]
    assert sorted(step for step, _ in images) == [1, 2]
    for _, image in images:
        (path,) = tmp_path.rglob(Path(image["file_path"]).name)
        assert size_of(path.read_bytes()) == (1000, 240)
    got = {step: found for step, found in rows if "activations/heat_map/rms" not in found}
    assert got == {step: pytest.approx(flat(layers)) for step, layers in expected.items()}


def test_openmetrics(expected: Sent) -> None:
    prometheus = pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    registry = prometheus.CollectorRegistry()
    monitor, sink = ActivationMonitor(), sinks.OpenMetrics(registry)
    sinks.attach(monitor, sink)
    server, thread = prometheus.start_http_server(0, "127.0.0.1", registry)

    def scrape() -> dict[str, dict[str, float]]:
        address = f"http://127.0.0.1:{server.server_port}/metrics"
        request = urllib.request.Request(address, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        with urllib.request.urlopen(request) as answer:
            text = answer.read().decode()
        found: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                layer = found.setdefault(sample.labels.get("layer", ""), {})
                layer[sample.name.removeprefix("fastact_activation_")] = sample.value
        return found

    try:
        assert scrape() == {}
        for step, layers in expected.items():
            sink.write(step, layers)
            assert scrape() == {"": {"fastact_step": step}, **layers}
        monitor.close()
        assert scrape() == {}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("package", "make"),
    [("tensorboard", "TensorBoard('x')"), ("mlflow", "MLflow()"), ("prometheus_client", "OpenMetrics()")],
)
def test_a_missing_package_names_the_extra(package: str, make: str) -> None:
    extra = make.partition("(")[0].lower()
    code = f"import sys; sys.modules[{package!r}] = None\nimport fastact.sinks\nfastact.sinks.{make}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert MissingExtraError.__name__ in done.stderr
    assert f"pip install 'fastact[{extra}]'" in done.stderr
