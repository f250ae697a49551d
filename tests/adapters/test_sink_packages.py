"""Every sink with its real package: what was sent is read back from where it went."""

import json
import os
import sqlite3
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sink_doubles import MAP, Sent, size_of, train

from fastact import (
    ActivationMonitor,
    MissingExtraError,
    sinks,
)


def flat(layers: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"activations/{layer}/{name}": value for layer, found in layers.items() for name, value in found.items()}


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
import trackio, fastact.sinks, sink_doubles
run = trackio.init(project="test", embed=False, auto_log_gpu=False, auto_log_cpu=False)
monitor = fastact.ActivationMonitor()
fastact.sinks.attach(monitor, fastact.sinks.Trackio(run), **sink_doubles.MAP)
sink_doubles.train(monitor)
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
