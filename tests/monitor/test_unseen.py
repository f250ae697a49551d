"""The monitor asks its watchers at a handful of steps, warns once, and keeps the names of each apart."""

import gc
import warnings
from collections.abc import Collection, Mapping

import numpy as np
import pytest

import fastact
from fastact.monitor.unseen import Missing

X = np.ones((4, 3), np.float32)


class Asked:
    """A watcher that counts how often it is asked."""

    def __init__(self, *names: str, by_record: bool = False, warn: bool = True) -> None:
        self.names, self.by_record, self.warn = names, by_record, warn
        self.times = 0

    def unseen(self, recorded: Collection[str]) -> Mapping[str, Missing]:
        self.times += 1
        return {name: Missing("why", self.warn) for name in self.names if name not in recorded}


def step(monitor: fastact.ActivationMonitor, steps: int, *names: str) -> None:
    for _ in range(steps):
        for name in names:
            monitor.record_in_place(name, X, 1, "")
        monitor.step()


def test_watchers_are_asked_at_a_handful_of_steps() -> None:
    monitor, watcher = fastact.ActivationMonitor(), Asked("a", "b", warn=False)
    monitor.add_watcher(watcher)
    step(monitor, 1000, "a")
    assert watcher.times < 12
    assert monitor.unseen == {"b": "why"}


def test_nothing_is_unseen_before_a_step_was_recorded() -> None:
    monitor, watcher = fastact.ActivationMonitor(every=4), Asked("a")
    monitor.step()
    monitor.add_watcher(watcher)
    assert monitor.unseen == {}
    step(monitor, 3)
    assert monitor.unseen == {}
    step(monitor, 1)
    assert monitor.unseen == {"a": "why"}


def test_steps_that_are_not_recorded_do_not_count() -> None:
    monitor, watcher = fastact.ActivationMonitor(every=10), Asked("a", "b")
    monitor.add_watcher(watcher)
    step(monitor, 40, "a")  # here a warning is an error
    with pytest.warns(RuntimeWarning, match="nothing of b in 5 steps: why"):
        step(monitor, 10, "a")


def test_one_warning_names_a_few() -> None:
    monitor, watcher = fastact.ActivationMonitor(), Asked(*"abcdefg", "bell\a")
    monitor.add_watcher(watcher)
    with pytest.warns(RuntimeWarning, match=r"nothing of a, b, c, d and 4 more in 5 steps: why") as caught:
        step(monitor, 100)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_watcher_that_comes_late_has_its_own_first_steps() -> None:
    monitor, first, late = fastact.ActivationMonitor(), Asked("a"), Asked("b")
    monitor.add_watcher(first)
    step(monitor, 100, "a")
    monitor.add_watcher(late)
    assert monitor.unseen == {}
    step(monitor, 4, "a")
    assert monitor.unseen == {"b": "why"}
    with pytest.warns(RuntimeWarning, match="nothing of b"):
        step(monitor, 1, "a")


def test_what_a_watcher_said_last_holds_when_it_is_gone() -> None:
    monitor, watcher = fastact.ActivationMonitor(), Asked("a", "b", warn=False)
    monitor.add_watcher(watcher)
    step(monitor, 6, "a")
    del watcher
    gc.collect()
    assert monitor.unseen == {"b": "why"} == dict(monitor.diagnose().unseen)


def test_what_an_earlier_watcher_recorded_is_not_unseen_by_a_later_one() -> None:
    class Forgetful(Asked):
        def unseen(self, recorded: Collection[str]) -> Mapping[str, Missing]:
            return super().unseen(())

    monitor, earlier, later = fastact.ActivationMonitor(), Asked("a", "b", warn=False), Forgetful("a", "b", warn=False)
    monitor.add_watcher(earlier)
    step(monitor, 1, "a")
    monitor.remove_watcher(earlier)
    monitor.add_watcher(later)
    step(monitor, 1)
    assert monitor.unseen == {"b": "why"}


def test_after_close_nobody_is_asked() -> None:
    watcher = Asked("a", "b", warn=False)
    with fastact.ActivationMonitor() as monitor:
        monitor.add_watcher(watcher)
        step(monitor, 2, "a")
    times = watcher.times
    assert monitor.unseen == {"b": "why"} == dict(monitor.diagnose().unseen)
    assert watcher.times == times


def test_a_name_belongs_to_one_watcher_until_it_is_removed() -> None:
    monitor, watcher, other = fastact.ActivationMonitor(), Asked("a", "b"), Asked("b", "c")
    monitor.add_watcher(watcher)
    with pytest.raises(fastact.ArgumentValueError, match=r"layer 'b' too; .* prefix="):
        monitor.add_watcher(other)
    monitor.remove_watcher(watcher)
    monitor.add_watcher(other)


@pytest.mark.parametrize("by_record", [False, True])
def test_a_name_that_is_recorded_by_hand_too_is_told_of_once(by_record: bool) -> None:
    monitor, watcher = fastact.ActivationMonitor(), Asked("a", by_record=by_record)
    monitor.add_watcher(watcher)
    monitor.record("b", X)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            monitor.record("a", X)
    # Who records by `record` itself cannot be told from a user.
    assert len(caught) == (0 if by_record else 1)
    assert all(each.filename == __file__ for each in caught)
