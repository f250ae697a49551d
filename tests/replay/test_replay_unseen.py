"""What was not seen, told by a log as it was told live: of one process, of several ranks, of a run that was resumed."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

import fastact
from fastact.monitor.unseen import Missing
from fastact.replay.recover import recover
from fastact.replay.tail import Tail


class Layers:
    """A watcher of layers: those that have rows are seen."""

    by_record = False

    def __init__(self, *names: str) -> None:
        self.names = names

    def unseen(self, recorded: Collection[str]) -> Mapping[str, Missing]:
        return {name: Missing(f"{name} was not called", warn=False) for name in self.names if name not in recorded}


def run(path: Path, watched: Layers, recorded: Collection[str], steps: int = 6) -> fastact.ActivationMonitor:
    with fastact.ActivationMonitor(path) as monitor:
        monitor.add_watcher(watched)
        for _ in range(steps):
            for name in recorded:
                monitor.record_in_place(name, np.ones((4, 3), np.float32), 1, "Linear")
            monitor.step()
    return monitor


def test_live_replayed_streamed_and_recovered_diagnoses_are_equal(tmp_path: Path) -> None:
    monitor = run(tmp_path / "run", Layers("a", "b", "c"), ["a"])
    live, log, tail = monitor.diagnose(), fastact.open_log(tmp_path / "run"), Tail(tmp_path / "run")
    tail.look()
    assert live.unseen == (("b", "b was not called"), ("c", "c was not called"))
    assert live == log.diagnose() == tail.diagnose()
    assert live.to_json() == log.diagnose().to_json()
    recover(log, tmp_path / "copy")
    assert fastact.open_log(tmp_path / "copy").diagnose() == live


def test_of_ranks_together_that_is_unseen_which_no_rank_has_seen(tmp_path: Path) -> None:
    watched = [Layers("experts.0", "experts.1", "experts.2", "lstm") for _ in range(2)]
    for rank, recorded in enumerate((["experts.0"], ["experts.1", "lstm[0]", "lstm[1][0]"])):
        run(tmp_path / f"rank-{rank:05d}", watched[rank], recorded)
    log = fastact.open_log(tmp_path)
    assert dict(log.diagnose().unseen) == {"experts.2": "experts.2 was not called"}
    assert set(dict(log.diagnose(rank=0).unseen)) == {"experts.1", "experts.2", "lstm"}


def test_of_a_resumed_run_the_last_writer_knows(tmp_path: Path) -> None:
    run(tmp_path, Layers("a", "b"), ["a"])
    assert set(fastact.open_log(tmp_path).unseen) == {"b"}
    run(tmp_path, Layers("a", "b"), ["a", "b"])
    assert fastact.open_log(tmp_path).unseen == {}


def test_a_layer_with_rows_is_not_unseen_whatever_the_header_says(tmp_path: Path) -> None:
    with fastact.ActivationMonitor(tmp_path) as monitor:
        monitor.add_watcher(stubborn := Layers("a", "b"))
        monitor.record_in_place("b", np.ones((4, 3), np.float32), 1, "Linear")
        monitor.step()
        stubborn.unseen = lambda recorded: {"b": Missing("said too early")}  # type: ignore[method-assign]
        assert monitor.diagnose().unseen == ()
    assert fastact.open_log(tmp_path).diagnose().unseen == ()
