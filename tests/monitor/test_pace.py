"""`every="auto"`: how many steps are recorded, by a clock that tests turn themselves."""

from collections.abc import Callable

import numpy as np
import pytest

import fastact
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import ROW
from fastact.monitor.pace import ALLOWANCE, LONGEST, Auto, Changes


class Training:
    """Steps that take `bare` seconds, `hooks` more where they are recorded, and `end` in their end."""

    def __init__(self, share: float = 0.005, bare: float = 0.1, hooks: float = 0.008, end: float = 0.002) -> None:
        self.now = 0.0
        self.pace = Auto(share, clock=lambda: self.now)
        self.bare, self.hooks, self.end = bare, hooks, end
        self.unseen = 0.0
        self.step, self.findings = 0, 0
        self.recorded: list[int] = []
        self.rows: Callable[[int], list[tuple[float, ...]]] = lambda step: [row(step, 1.0)]

    def run(self, steps: int) -> "Training":
        for _ in range(steps):
            recorded = self.pace.records(self.step)
            self.now += self.bare
            if recorded:
                self.recorded.append(self.step)
                self.now += self.unseen
                self.pace.timed(self._work, self.hooks)
            self.pace.stepping(self._finish)
            self.step += 1
        return self

    def _work(self, seconds: float) -> None:
        self.now += seconds

    def _finish(self) -> None:
        recorded = self.pace.records(self.step)
        self.pace.ended(self.step, self.findings)
        if recorded:
            self._work(self.end)
            self.pace.took(self.rows(self.step))

    @property
    def cost(self) -> float:
        return len(self.recorded) * (self.hooks + self.unseen + self.end)


def row(step: int, size: float, **numbers: float) -> tuple[float, ...]:
    values = {"step": step, "count": 100, "std": size, "neurons": 10} | numbers
    return tuple(values.get(field.name, 0) for field in ROW)


@pytest.mark.parametrize("share", [0.002, 0.005, 0.05])
@pytest.mark.parametrize("hooks", [0.0005, 0.008, 0.2])
def test_a_run_costs_its_share_and_the_allowance_at_most_and_begins_densely(share: float, hooks: float) -> None:
    training = Training(share, hooks=hooks)
    assert training.run(4).recorded == [0, 1, 2, 3]
    training.run(20_000)
    cost = hooks + 0.002
    assert training.cost <= ALLOWANCE + share * training.step * training.bare + 4 * cost
    # And what is earned is not left lying about: a quarter at least is spent where it is needed.
    assert len(training.recorded) >= min(training.step, 0.25 * share * training.step * 0.1 / cost)


def test_a_short_run_is_recorded_throughout() -> None:
    assert Training(bare=0.0003, hooks=0.0003, end=0.0001).run(1000).recorded == list(range(1000))


def test_it_is_sparse_while_nothing_changes_and_dense_once_something_does() -> None:
    training = Training().run(6000)
    sparse = [step for step in training.recorded if step >= 5000]
    assert 10 < len(sparse) < 60
    assert np.diff(sparse).max() < 100
    training.rows = lambda step: [row(step, 1.0 if step < 6000 else 8.0)]
    training.run(200)
    since = [step for step in training.recorded if step >= 6000]
    assert since[0] < 6100
    assert since[1:15] == list(range(since[0] + 1, since[0] + 15))


def test_a_finding_that_comes_or_goes_is_a_change() -> None:
    training = Training().run(6000)
    training.findings += 1
    training.run(200)
    since = [step for step in training.recorded if step >= 6000]
    assert since[1:15] == list(range(since[0] + 1, since[0] + 15))


def test_what_is_not_measured_around_calls_shows_in_how_long_steps_take() -> None:
    seen, hidden = Training(hooks=0.01), Training(hooks=0.0)
    hidden.unseen = 0.01
    few, many = (len(each.run(20_000).recorded) for each in (seen, hidden))
    assert many < 1.6 * few


def test_what_is_compiled_at_first_or_once_later_is_not_paid_for() -> None:
    training = Training(hooks=20.0).run(1)
    training.hooks = 0.008
    assert training.run(60).recorded[:50] == list(range(50))
    before = training.run(3000).pace.account
    training.hooks = 20.0
    count = len(training.recorded)
    while len(training.recorded) == count:
        training.run(1)
    assert training.pace.account > before - 1.0


def test_a_pause_pays_for_no_more_than_ten_steps() -> None:
    training = Training().run(3000)
    before = training.pace.account
    training.now += 3600.0
    training.run(1)
    assert training.pace.account < before + 0.01


def test_where_it_costs_more_than_the_training_one_step_in_a_thousand_is_recorded() -> None:
    training = Training(hooks=50.0).run(5000)
    assert np.diff(training.recorded[1:]).max() <= LONGEST
    assert 4 <= len(training.recorded) <= 8


@pytest.mark.parametrize(
    ("numbers", "changed"),
    [({}, False), ({"std": 1.2}, False), ({"std": 2.0}, True), ({"nans": 1}, True), ({"silent_neurons": 4}, True)],
)
def test_what_is_a_change_of_a_layer(numbers: dict[str, float], changed: bool) -> None:
    changes = Changes()
    assert not any(changes.in_rows([row(step, 1.0)]) for step in range(20))
    assert changes.in_rows([row(20, 1.0, **numbers)]) is changed


def test_noise_is_no_change() -> None:
    changes, random = Changes(), np.random.default_rng(0)
    told = [changes.in_rows([row(step, float(np.exp(0.3 * random.standard_normal())))]) for step in range(400)]
    assert sum(told[20:]) < 8


def test_a_monitor_records_as_its_pace_says(tmp_path: object) -> None:
    with fastact.ActivationMonitor(f"{tmp_path}/run", every="auto") as monitor:
        for _ in range(5):
            assert monitor.active
            assert monitor.record("act", np.ones((4, 2), np.float32), axis=-1) is not None
            monitor.step()
        monitor._queue.pace._next = 8  # type: ignore[attr-defined] # as if the account were empty
        for _ in range(4):
            monitor.record("act", np.ones((4, 2), np.float32), axis=-1)
            monitor.step()
        assert monitor.history["act"]["step"].tolist() == [0, 1, 2, 3, 4, 8]
    log = fastact.open_log(f"{tmp_path}/run")
    assert [record.step for record in log.replay()] == [0, 1, 2, 3, 4, 8]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ArgumentTypeError, match='every: got str, want an int or "auto"'):
        fastact.ActivationMonitor(every="often")  # type: ignore[arg-type]
    with pytest.raises(ArgumentValueError, match=r"cost: got 0, want 0\.0001 to 1"):
        fastact.ActivationMonitor(every="auto", cost=0)
    with pytest.raises(ArgumentValueError, match="every: got 'auto' in a run of 4 ranks, want a number"):
        fastact.ActivationMonitor(every="auto", rank=1, ranks=4)
