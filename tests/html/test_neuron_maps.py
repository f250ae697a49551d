"""The report shows which neurons are dead: a picture of neurons by steps, and their numbers."""

import base64
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import HOSTILE, Elements

import fastact
from fastact.diagnosis.show.neuron_maps import MOST_MAPS, neuron_maps
from fastact.html.page import MOST_BYTES
from fastact.neurons import MOST_NEURONS, Neurons

SICK = [*range(3, 12), 14]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    with fastact.ActivationMonitor(path) as monitor:
        for step in range(80):
            x = np.maximum(np.random.default_rng(step).standard_normal((64, 16)), 0.0)
            monitor.record("fine", x, axis=-1, layer_type="ReLU")
            x[:, SICK] *= step < 25
            for name in ("act", HOSTILE[1]):
                monitor.record(name, x, axis=-1, layer_type="ReLU")
            monitor.step()
    return path


def cells(picture: str) -> Any:
    """The rows of a picture: 255 is blank, 253 a neuron that is dead."""
    data = base64.b64decode(picture)
    width, height = (int.from_bytes(data[16 + 4 * i : 20 + 4 * i], "big") for i in range(2))
    found = np.frombuffer(zlib.decompress(data[data.index(b"IDAT") + 4 : data.index(b"IEND") - 8]), np.uint8)
    return found.reshape(height, width + 1)[:, 1:]


def test_the_page_of_a_diagnosis_has_the_dead_neurons_of_a_log_and_of_a_monitor(run: Path) -> None:
    log = fastact.open_log(run)
    monitor = fastact.ActivationMonitor()
    for step in range(60):
        x = np.maximum(np.random.default_rng(step).standard_normal((64, 16)), 0.0)
        x[:, SICK] = 0.0
        monitor.record("act", x, axis=-1, layer_type="ReLU")
        monitor.step()
    for diagnosis, source, maps in (
        (log.diagnose(), log, 2),
        (monitor.diagnose(), monitor, 1),
        (monitor.diagnose(), monitor.history, 0),
    ):
        page = diagnosis.to_html(source)
        parts = re.findall(r'<section [^>]*class="neurons">(.*?)</section>', page, re.DOTALL)
        assert sum(part.count("<figure>") for part in parts) == maps
        assert ("10 of 16 neurons (62%) dead at step" in page) == bool(maps)
        assert "no map of single neurons" not in page


def test_the_report_has_the_dead_neurons(run: Path, tmp_path: Path) -> None:
    fastact.open_log(run).report(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    (part,) = re.findall(r'<section [^>]*class="neurons">(.*?)</section>', page, re.DOTALL)
    assert part.count("<figure>") == 2
    text = " ".join(" ".join(Elements(part).text).split())
    assert "act (ReLU) : 10 of 16 neurons (62%) dead at step 79" in text
    assert "dead at step 49 and since: 3-11, 14" in text
    assert "fine" not in text
    picture = cells(re.findall(r"<image [^>]*base64,([^\"]*)\"", part)[0])
    assert (picture[SICK, -1] == 253).all()
    assert (np.delete(picture[:, -1], SICK) == 255).all()
    assert (picture[:, 0] == 255).all()
    first = np.argmax(picture[3] == 253) / picture.shape[1]
    assert first == pytest.approx((49 - 9) / (79 - 9), abs=0.05)
    silent = picture[3][(picture[3] != 253) & (picture[3] != 255)]
    assert set(silent.tolist()) == {round(0.25 * 253)}


def test_a_run_without_dead_neurons_has_no_such_part(tmp_path: Path) -> None:
    with fastact.ActivationMonitor(tmp_path / "run") as monitor:
        for _ in range(30):
            monitor.record("act", np.ones((4, 4)), axis=-1, layer_type="ReLU")
            monitor.step()
    fastact.open_log(tmp_path / "run").report(tmp_path / "r.html")
    assert 'class="neurons"' not in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_wide_layers_share_rows_and_take_little() -> None:
    random = np.random.default_rng(0)
    dead = random.random((256, 70_000)) < 0.5
    dead[:, :300] = True
    found = [Neurons(f"act {i}", "ReLU", MOST_NEURONS, 100 * np.arange(256), dead, dead) for i in range(20)]
    maps = neuron_maps(found, 100)
    assert len(maps) == MOST_MAPS
    assert sum(len(str(each)) for each in maps) < MOST_BYTES
    picture = cells(maps[0]["png"])
    assert picture.shape[0] <= 256
    assert (picture[0] == 253).all()  # of 274 neurons all
    assert (np.abs(picture[2:].astype(float) - 126) < 40).all()
    many = f"{int(dead[-1].sum()):,} of the first 70,000 of 262,144 neurons (50%) dead"
    assert maps[0]["said"] == f"{many} at step 25,500"


def test_of_one_step_and_of_one_neuron() -> None:
    one = Neurons("act", "", 1, np.array([7]), np.ones((1, 1), np.bool_), np.ones((1, 1), np.bool_))
    (found,) = neuron_maps([one, Neurons.of("none", "", [])], 100)
    assert found["said"] == "1 of 1 neurons (100%) dead at step 7"
    assert (cells(found["png"]) == 253).all()
