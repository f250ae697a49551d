"""Periods: what repeats is found with its shortest period, and noise of any kind seldom looks like it."""

import numpy as np
import pytest

from fastact.diagnosis.evidence.periods import in_step, likeness, repetitions


def periods(table: np.ndarray) -> list[int]:
    return [0 if found is None else found.rows for found in repetitions(table, 0.66, 1e-3, 40)]


@pytest.mark.parametrize("rows", [20, 28, 45, 60, 100, 300])
def test_the_shortest_period_is_found(rows: int) -> None:
    time = np.arange(rows)
    for period in (2, 3, 5, 9, 20):
        if rows >= 5 * period:
            table = np.array([time % period < (period + 1) // 2, time % period / period], float)
            noisy = table + 0.02 * np.random.default_rng(0).standard_normal(table.shape)
            assert periods(table) == periods(noisy) == [period] * 2, period


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9, 0.98, 1.0])
def test_noise_repeats_once_in_a_thousand_series_at_most(memory: float) -> None:
    random = np.random.default_rng(3)
    table = random.standard_normal((1000, 100))
    for i in range(1, 100):
        table[:, i] += memory * table[:, i - 1]
    assert np.count_nonzero(periods(table)) <= 1


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.3])
def test_spikes_at_random_do_not_repeat(share: float) -> None:
    random = np.random.default_rng(4)
    spikes = (random.random((1000, 100)) < share) + 0.03 * random.standard_normal((1000, 100))
    assert np.count_nonzero(periods(spikes)) <= 1


def test_what_has_nothing_to_repeat_has_no_period() -> None:
    table = np.array(
        [np.zeros(50), np.full(50, 3e80), np.arange(50.0), np.exp(np.arange(50.0)), -(np.arange(50.0) ** 2)]
    )
    assert periods(table) == [0] * 5
    assert repetitions(np.zeros((3, 19)), 0.66, 1e-3, 40) == [None] * 3
    assert repetitions(np.zeros((0, 50)), 0.66, 1e-3, 40) == []


def test_each_series_is_judged_by_itself() -> None:
    random = np.random.default_rng(5)
    table = random.standard_normal((30, 80))
    table[::3] += 5.0 * (np.arange(80) % 4 == 0)
    alone = [repetitions(series[None], 0.66, 1e-3, 40)[0] for series in table]
    together = repetitions(table, 0.66, 1e-3, 40)
    assert [found and (found.rows, found.first) for found in alone] == [
        found and (found.rows, found.first) for found in together
    ]


def test_likeness_and_steps() -> None:
    assert likeness(np.array([1.0, 2.0]), np.array([7.0, 7.0])) == 0.0
    assert likeness(np.array([1.0, 2.0, 4.0]), -np.array([1.0, 2.0, 4.0])) == pytest.approx(1.0)
    assert [in_step(*pair) for pair in ((2, 2), (2, 4), (2, 3), (3, 2), (10, 21), (10, 14))] == [
        True,
        True,
        False,
        False,
        True,
        False,
    ]
