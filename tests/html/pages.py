"""Reports to look at: made once, from few rows, with names that try to break out of the page."""

import base64
import json
import re
import zlib
from html.parser import HTMLParser
from typing import Any

import numpy as np

import fastact
from fastact.diagnosis.report import Diagnosis
from fastact.diagnosis.show.webpage import Subject, document
from fastact.fields import ROW_DTYPE
from fastact.heatmap.collect import Collector
from fastact.history import LayerInfo

STEPS = 60
HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1">',
    "' onmouseover='window.hacked = 1",
    "{{ 7 * 7 }}{% raw %}",
    "<!-- <script> -->",
    "layer.שלום.\u202eevil\u202c",
    "👩‍👩‍👧.🧠.数学",
    "\x1b[2J\x00\n\t\u2028\u2029",
    "a" * 10_000,
    ".".join(["deep"] * 400),
    "a..b.",
)


def sick_monitor(names: tuple[str, ...] = ()) -> fastact.ActivationMonitor:
    """A monitor that has seen a Tanh saturate, a ReLU die at step 30, a loss that falls, and layers of other names."""
    random = np.random.default_rng(0)
    monitor = fastact.ActivationMonitor(window_size=100)
    for step in range(STEPS):
        x = random.normal(size=(32, 16))
        monitor.record("encoder.0.linear", x, axis=1, kind="Linear")
        monitor.record("encoder.0.act", np.tanh(9.0 * x), axis=1, kind="Tanh")
        monitor.record("encoder.1.linear", 0.5 * x, axis=1, kind="Linear")
        monitor.record("encoder.1.act", np.maximum(x, 0.0) * (step < 30), axis=1, kind="ReLU")
        for i, name in enumerate(names):
            monitor.record(name, x + i, axis=1, kind="Linear")
        monitor.record("head", x[:, :4] * 1e-3, axis=1, kind="Linear")
        monitor.record_loss(3.0 / (step + 1.0))
        monitor.step()
    return monitor


def large_page(layers: int = 10_000, steps: int = 12, length: int = 40) -> str:
    """The report of many layers, whose numbers are noise, which deflates worst, and whose names differ."""
    random = np.random.default_rng(1)
    infos = [
        LayerInfo(f"model.blocks.{i // 100}.experts.{i % 100 // 4}.{'qkvo'[i % 4]}" + "x" * (length - 30), i, "Linear")
        for i in range(layers)
    ]
    rows = np.zeros((steps, layers), ROW_DTYPE)
    rows["step"], rows["count"], rows["neurons"] = np.arange(steps)[:, None], 1000, 10
    for name in ("mean", "std", "abs_mean", "min", "max", "within_std", "typical_peak"):
        rows[name] = np.exp(5.0 * random.normal(size=rows.shape))
    for name, most in (("zeros", 1000), ("nans", 1000), ("dead_neurons", 10), ("silent_neurons", 10)):
        rows[name] = random.integers(0, most, rows.shape)
    collector = Collector(infos)
    collector.add(infos, np.tile(np.arange(layers), steps), rows.ravel())
    return document([Subject("large", Diagnosis((), ()), collector.finish())])


class Elements(HTMLParser):
    """What a browser would make of a page: tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        (self.scripts if self.cdata_elem else self.text).append(data)


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    for run in data["runs"]:
        if run is not None:
            run |= json.loads(zlib.decompress(base64.b64decode(run["about"])))
    return data


def values_of(page: str, statistic: str, which: str, run: int = 0, level: int = 0) -> np.ndarray:
    """What `assets/data.js` makes of a page's numbers, written once more."""
    facts = data_of(page)["runs"][run]
    blob = re.search(rf'id="numbers-{run}">(.*?)</script>', page)
    assert blob
    content = zlib.decompress(base64.b64decode(blob[1]))
    cells = facts["levels"][level]
    shape, size = (cells["rows"], cells["columns"]), cells["rows"] * cells["columns"]

    def codes(at: int) -> np.ndarray:
        low, high = (np.frombuffer(content, np.uint8, size, at + i * size).astype(np.uint16) for i in (0, 1))
        folded = low | (high << 8)
        return ((folded >> 1) ^ -(folded & 1)).astype(np.int16).reshape(shape)

    about = cells["statistics"][statistic]
    found = codes(about["at"])
    found[:, 0] = np.cumsum(found[:, 0], dtype=np.int16)
    found = np.cumsum(found, axis=1, dtype=np.int16)
    place = ["median", "low", "lower", "upper", "high"].index(which)
    if place:
        found = found + codes(about["at"] + 2 * size * place)
    values = np.sign(found) * np.exp((np.abs(found.astype(float)) - about["shift"]) * about["step"])
    return np.where(found == -32768, np.nan, np.where(found == 0, 0.0, values))
