"""Every sink with its real package: what was sent is read back from where it went."""

import math
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sink_doubles import ODD, Memory, Sent, size_of, train

import fastact
from fastact import (
    ActivationMonitor,
    ArgumentTypeError,
    ArgumentValueError,
    FastactError,
    open_log,
    sinks,
)


class Images(Memory):
    """A sink that keeps images as well."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[tuple[int, str, tuple[int, int]]] = []

    def write_image(self, step: int, name: str, png: bytes) -> None:
        self.images.append((step, name, size_of(png)))


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
