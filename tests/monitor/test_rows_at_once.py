"""A step's rows in one go are those that are made one by one."""

from contextlib import nullcontext

import numpy as np
import pytest

import fastact
from fastact.monitor.delivery import FinishedStep, Rows
from fastact.monitor.layer import row_of


def finished(monitor: fastact.ActivationMonitor) -> FinishedStep:
    return FinishedStep.of(0, 7, list(monitor._queue.layers.values()))


def test_equal_rows() -> None:
    random = np.random.default_rng(0)
    with fastact.ActivationMonitor() as monitor:
        for name in "abc":
            monitor.record(name, random.standard_normal((4, 5)), layer_type="Linear")
        monitor.record("c", np.array([np.nan, np.inf, 0.0]))
        step = finished(monitor)
        rows = Rows.at_once(step)
        columns = zip(step.layers, step.recorded, step.rest, strict=True)
        one_by_one = [row_of(layer, recorded, rest, 0, 7) for layer, recorded, rest in columns if recorded is not None]
        assert rows.packed == [row for _, row, *_ in one_by_one]
        assert rows.before == [0, 0, 0]
        assert [layer.info.name for layer in rows.layers] == ["a", "b", "c"]
        assert not rows.silent
        assert [row[0:3] for row in rows.numbers()] == [(0, 0, 7), (0, 1, 7), (0, 2, 7)]


@pytest.mark.parametrize("other", ["neurons", "drawn", "fails"])
def test_one_that_differs(other: str) -> None:
    """Then none is made in one go, and the step's rows are all there, but one that cannot be made."""
    with fastact.ActivationMonitor() as monitor:
        monitor.record("plain", np.ones((4, 5)))
        monitor.record("other", np.ones((4, 5)), axis=-1 if other == "neurons" else None)
        layer = monitor._queue.layers["other"]
        if other == "drawn":
            layer.left((4, 5))
        if other == "fails":
            layer.order = "no number"  # type: ignore[assignment]
        assert not Rows.at_once(finished(monitor)).layers
        with pytest.warns(RuntimeWarning, match="'other'") if other == "fails" else nullcontext():
            monitor.step()
        assert [len(layer) for layer in monitor.history.values()] == [1, 0 if other == "fails" else 1]
        assert monitor.failures == (other == "fails")
        assert monitor.history["other"]["left_out"].tolist() == ([5] if other == "drawn" else [0] * (other != "fails"))
