"""What was found on the way and is gone again: the same live and from the log, bounded."""

from pathlib import Path

import numpy as np
import pytest

from fastact import ActivationMonitor, open_log
from fastact.diagnosis.report import Diagnosis
from fastact.diagnosis.timeline import Episode, Timeline, next_look
from fastact.log import LogOptions


def sick_for_a_while(monitor: ActivationMonitor, steps: range) -> None:
    """A tanh that is saturated in steps 30 to 99, and a ReLU that dies at step 200."""
    for step in steps:
        x = np.random.default_rng(step).standard_normal((16, 8)).astype(np.float32)
        monitor.record("fc", x, axis=-1, layer_type="Linear")
        monitor.record("act", np.tanh(100.0 * x if 30 <= step < 100 else x / 4), axis=-1, layer_type="Tanh")
        monitor.record("relu", np.maximum(x - 99.0 * (step >= 200), 0.0), axis=-1, layer_type="ReLU")
        monitor.step()


def of(diagnosis: Diagnosis, layer: str) -> list[Episode]:
    return [each for each in diagnosis.timeline if each.layer == layer and each.condition in ("saturated", "dead")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, Diagnosis]]:
    path, live = tmp_path_factory.mktemp("run"), {}
    with ActivationMonitor(path, window_size=30, log=LogOptions(batch_rows=50)) as monitor:
        for begin, end in ((0, 60), (60, 230)):
            sick_for_a_while(monitor, range(begin, end))
            live[end] = monitor.diagnose()
    return path, live


def test_what_came_and_went_is_told_with_its_steps(run: tuple[Path, dict[int, Diagnosis]]) -> None:
    _, live = run
    (early,) = of(live[60], "act")
    assert (early.condition, early.first_step, early.resolved) == ("saturated", 30, None)
    (gone,) = of(live[230], "act")
    assert (gone.first_step, gone.severity) == (30, "critical")
    assert gone.resolved is not None
    # Looked for at 16, 32, 48, ... and then after a quarter more steps each time.
    assert 99 <= gone.last_step < gone.resolved <= 160
    (dead,) = of(live[230], "relu")
    assert (dead.first_step, dead.resolved) == (200, None)
    text = str(live[230])
    assert (
        f"act: saturated from step 30 to {gone.last_step} at least [critical], no more at step {gone.resolved}" in text
    )
    assert "Came and went" in live[230].to_html()
    assert live[230].to_dict()["timeline"] == [each.to_dict() for each in live[230].timeline]
    assert not any(each.layer == "act" for each in live[230].since(150).timeline)


def test_live_and_replayed_are_equal(run: tuple[Path, dict[int, Diagnosis]], monkeypatch: pytest.MonkeyPatch) -> None:
    path, live = run
    assert open_log(path).diagnose() == live[230]
    monkeypatch.setattr("fastact.replay.blocks.BLOCK_ROWS", 64)
    assert open_log(path).diagnose() == live[230]


def test_a_resumed_run_goes_on_with_its_timeline(tmp_path: Path) -> None:
    with ActivationMonitor(tmp_path, window_size=30) as monitor:
        sick_for_a_while(monitor, range(120))
    with ActivationMonitor(tmp_path, window_size=30, start_step=110) as monitor:
        sick_for_a_while(monitor, range(110, 180))
        live = monitor.diagnose()
    assert [(each.first_step, each.resolved is None) for each in of(live, "act")] == [(30, False)]
    assert open_log(tmp_path).diagnose() == live


def test_a_diagnosis_on_the_way_changes_nothing() -> None:
    with ActivationMonitor(window_size=30) as asked, ActivationMonitor(window_size=30) as alone:
        for step in range(130):
            for monitor in (asked, alone):
                sick_for_a_while(monitor, range(1))
            if step % 7 == 0:
                asked.diagnose()
        assert asked.diagnose().timeline == alone.diagnose().timeline


def test_what_comes_again_is_another_episode_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastact.diagnosis.timeline._MOST", 3)
    timeline = Timeline()
    for step in range(0, 100, 10):
        timeline.take(step, {("a", "dead"): ("warning", step)} if step % 20 else {})
    episodes = timeline.episodes(100, {})
    assert [(each.first_step, each.last_step, each.resolved) for each in episodes] == [
        (50, 50, 60),
        (70, 70, 80),
        (90, 90, 100),
    ]


def test_the_gravest_severity_stays() -> None:
    timeline = Timeline()
    timeline.take(16, {("a", "dead"): ("critical", 3)})
    timeline.take(32, {("a", "dead"): ("warning", 3)})
    assert timeline.episodes(48, {("a", "dead"): ("note", 5)}) == (Episode("a", "dead", "critical", 3, 48),)
    assert timeline.episodes(48, {}) == (Episode("a", "dead", "critical", 3, 32, 48),)


def test_looks_are_few() -> None:
    steps, looks = 0, 0
    while steps < 1_000_000:
        steps, looks = next_look(steps), looks + 1
    assert looks < 60
