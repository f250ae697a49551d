"""Which samples are drawn: without bias, the share on average, every place of a batch in its turn."""

import numpy as np
import pytest

from fastact._adapters.drawing import LEAST, Drawing, checked_share
from fastact.errors import ArgumentTypeError, ArgumentValueError


def draws(drawing: Drawing, batch: int, steps: int, number: int = 0) -> list[np.ndarray]:
    return [drawing.samples(step, number, batch) for step in range(steps) if drawing.due(step, batch)]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.3, 0.7, 1 / 3])
@pytest.mark.parametrize("batch", [1, 3, 8, 15, 16, 17, 23, 64, 80, 100, 128, 1000])
def test_each_sample_is_drawn_once_in_a_round_and_the_share_holds(share: float, batch: int) -> None:
    drawing = Drawing(share)
    parts = drawing.parts(batch)
    found = draws(drawing, batch, 240)
    assert all((np.diff(each) > 0).all() and each[0] >= 0 and each[-1] < batch for each in found)
    for begin in range(0, len(found) - parts + 1, parts):
        assert np.sort(np.concatenate(found[begin : begin + parts])).tolist() == list(range(batch))
    assert min(len(each) for each in found) >= min(LEAST, batch, batch // parts)
    rounds = len(found) // parts
    assert rounds * parts >= len(found) - parts
    swept = sum(map(len, found)) / (240 * batch)
    assert swept == pytest.approx(share, abs=1.1 / 240 + parts / 240 / 100)
    assert drawing.due(0, batch)  # of what a run begins with there is a row


def test_every_sample_is_as_likely_as_any_other_and_neighbours_are_seldom_together() -> None:
    drawing, batch = Drawing(0.1), 96
    times, together = np.zeros(batch), 0
    for step in range(0, 20_000, 10):  # the first part of each round
        chosen = drawing.samples(step, 0, batch)
        times[chosen] += 1
        together += int((np.diff(chosen) == 1).sum())
    share = times / 2000
    assert np.abs(share - 0.1).max() < 5 * np.sqrt(0.1 * 0.9 / 2000)
    assert together / 2000 < 1.0  # one of each stratum: two are neighbours only across a border


@pytest.mark.parametrize("order", ["sorted", "halves", "interleaved", "shuffled"])
def test_estimates_of_means_are_unbiased_and_no_worse_than_those_of_a_simple_random_sample(order: str) -> None:
    batch, drawing = 100, Drawing(0.1)
    values = np.sort(np.random.default_rng(1).standard_normal(batch)) + 3.0
    values = {
        "sorted": values,
        "halves": np.concatenate([values[::2], values[1::2]]),
        "interleaved": values.reshape(2, -1).T.reshape(-1),
        "shuffled": np.random.default_rng(2).permutation(values),
    }[order]
    means = np.array([values[each].mean() for each in draws(drawing, batch, 3000)])
    # Every round of ten is the batch, so that its mean is exact.
    assert means.mean() == pytest.approx(values.mean(), abs=1e-12)
    simple = values.var() / 10 * (batch - 10) / (batch - 1)
    assert means.var() < 1.15 * simple


def test_draws_follow_from_the_step_and_nobody_elses_random_numbers_are_used() -> None:
    state = np.random.get_state(legacy=False)["state"]["key"].copy()
    one, other = draws(Drawing(0.1), 128, 30), draws(Drawing(0.1), 128, 30)
    assert all(map(np.array_equal, one, other))
    assert (np.random.get_state(legacy=False)["state"]["key"] == state).all()
    assert Drawing(0.1).samples(17, 0, 128).tolist() == one[17].tolist()
    # Passes of one step, as of accumulated gradients, have draws of their own; and so have rounds.
    assert one[0].tolist() != Drawing(0.1).samples(0, 1, 128).tolist()
    assert one[0].tolist() != one[10].tolist()


@pytest.mark.parametrize("share", ["0.1", None, True, 0.1j])
def test_a_share_is_a_number(share: object) -> None:
    with pytest.raises(ArgumentTypeError, match=r"sample: got .*, want a number from 0 to 1"):
        checked_share(share)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_is_above_zero_and_up_to_one(share: float) -> None:
    with pytest.raises(ArgumentValueError, match=r"sample: got .*, want a "):
        checked_share(share)
