"""A monitor keeps which neurons are dead: when, how much of it, and the same in its log."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact
from fastact import ActivationMonitor, open_log
from fastact.log import RunReader
from fastact.monitor.kept_neurons import KeptNeurons

NEURONS, SICK = 24, (3, 4, 11)
#: Enough of them for a finding.
MOST = tuple(range(20))


def activations(step: int, dies: int = 33, sick: tuple[int, ...] = SICK) -> Any:
    x = np.maximum(np.random.default_rng(step).standard_normal((64, NEURONS)), 0.0).astype(np.float32)
    x[:, sick] *= step < dies
    return x


def train(monitor: ActivationMonitor, first: int, last: int, dies: int = 33, sick: tuple[int, ...] = SICK) -> None:
    for step in range(first, last):
        monitor.record("act", activations(step, dies, sick), axis=-1, layer_type="ReLU")
        monitor.step()


def test_the_dead_neurons_by_name_and_since_when(tmp_path: Path) -> None:
    with ActivationMonitor(tmp_path) as monitor:
        train(monitor, 0, 250)
        live = monitor.neurons("act")
    assert live.steps.tolist() == [9, 19, 29, 39, 49, 59, 69, 79, 89, 99, 199, 249]
    assert live.dead_now.tolist() == [*SICK]
    assert live.dead_since.tolist() == [59] * 3  # dead after 20 rows: 33 + 19
    assert np.array_equal(live.silent[4:, SICK], np.ones((8, 3)))
    assert live.dead.sum() == 3 * 7
    assert (live.layer_type, live.neurons) == ("ReLU", NEURONS)
    assert open_log(tmp_path).neurons("act").to_dict() == live.to_dict()


def test_a_change_is_kept_at_the_next_tenth_row() -> None:
    monitor = ActivationMonitor()
    train(monitor, 0, 200, dies=133)
    assert monitor.neurons("act").steps.tolist() == [*range(9, 100, 10), 159, 199]
    assert monitor.neurons("act").dead_since.tolist() == [159] * 3


def test_a_new_finding_is_kept_once(tmp_path: Path) -> None:
    with ActivationMonitor(tmp_path) as monitor:
        train(monitor, 0, 125, 0, MOST)
        for _ in range(3):
            assert {f.layer for f in monitor.diagnose().findings} == {"act"}
        train(monitor, 125, 135, 0, MOST)
        monitor.diagnose()
        train(monitor, 135, 136, 0, MOST)
    assert open_log(tmp_path).neurons("act").steps.tolist() == [*range(9, 100, 10), 124, 135]


def test_a_step_is_kept_once(tmp_path: Path) -> None:
    with ActivationMonitor(tmp_path) as monitor:
        train(monitor, 0, 20, 0, MOST)
        assert monitor.diagnose().findings  # at the step of which the schedule and the end have one, too
    assert [each.step for _, each in RunReader(tmp_path).snapshots()] == [9, 19]


def test_an_alert_is_kept(tmp_path: Path) -> None:
    seen: list[fastact.Finding] = []
    with ActivationMonitor(tmp_path, on_finding=seen.append, alert_every=7, alert_severity="warning") as monitor:
        train(monitor, 0, 24, 0, MOST)
    assert [finding.condition for finding in seen] == ["dead"]
    assert open_log(tmp_path).neurons("act").steps.tolist() == [9, 19, 20, 23]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastact.monitor.kept_neurons, "_SELDOM", 10)
    monitor = ActivationMonitor()
    x = activations(0)
    for _ in range(1500):
        monitor.record("act", x, axis=-1)
        monitor.step()
    steps = monitor.neurons("act").steps
    assert len(steps) <= 64
    assert steps[0] == 9
    assert steps[-16:].tolist() == list(range(1349, 1500, 10))


def test_parts_of_a_step_and_other_widths() -> None:
    monitor = ActivationMonitor()
    for step in range(30):
        width = 6 if step < 15 else 9
        for _ in range(2):
            monitor.record("act", np.zeros((4, width)), axis=-1)
        monitor.step()
    found = monitor.neurons("act")
    assert (found.neurons, found.steps.tolist()) == (9, [19, 29])
    assert found.silent_now.tolist() == list(range(9))


def test_layers_without_neurons_and_of_no_name() -> None:
    monitor = ActivationMonitor()
    with pytest.raises(fastact.ArgumentValueError, match="layer: got 'act', want one of those that were recorded"):
        monitor.neurons("act")
    for _ in range(12):
        monitor.record("whole", np.ones(3))
        monitor.step()
    assert monitor.neurons("whole").to_dict()["steps"] == []
    with pytest.raises(fastact.ArgumentValueError, match="want one of whole"):
        monitor.neurons("act")


def test_rows_of_a_gpu_do_not_pass_for_what_was_swept_before() -> None:
    monitor = ActivationMonitor()
    train(monitor, 0, 15, dies=0)
    for _ in range(15):  # rows without neurons leave the silence as it was
        monitor.record("act", activations(0).sum())
        monitor.step()
    assert monitor.neurons("act").steps.tolist() == [9, 14]


def test_an_error_costs_no_row_of_another_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(KeptNeurons, "look", fail)
    monitor = ActivationMonitor()

    def record(step: int) -> None:
        for name in ("a", "b"):
            monitor.record(name, activations(step), axis=-1)
        monitor.step()

    for step in range(9):
        record(step)
    with pytest.warns(RuntimeWarning, match="keep the dead neurons"):
        record(9)
    record(10)
    assert [monitor.history[name].total for name in ("a", "b")] == [11, 11]
