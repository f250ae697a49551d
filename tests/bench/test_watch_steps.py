"""What watching costs: a planted cost is found and told from nothing, whatever other programs do to some steps."""

import numpy as np
import pytest

from bench.watch_steps import cost_of


@pytest.mark.parametrize("planted", [0.0, 0.005])
def test_a_cost_of_half_a_percent_shows_and_nothing_comes_to_nothing(planted: float) -> None:
    """Steps of one second that differ by 1%, one in ten interrupted for longer than itself."""
    covered = shown = 0
    for seed in range(25):
        chosen = np.random.default_rng(seed)
        noise = chosen.normal(planted, 0.01, (400, 2)) + chosen.choice([0.0, 1.5], (400, 1), p=[0.9, 0.1])
        bare = chosen.normal(0.0, 0.01, (400, 2)) + chosen.choice([0.0, 1.5], (400, 1), p=[0.9, 0.1])
        cost = cost_of({True: [(float(a), float(b)) for a, b in noise - bare], False: []})
        covered += cost.cpu.low <= planted <= cost.cpu.high
        shown += cost.cpu.low > 0
    assert covered >= 20
    assert shown >= 23 if planted else shown <= 3


def test_steps_with_rows_and_without_are_weighed_by_how_many_there_were() -> None:
    """One step in fifty has no part in a mean of the middle half."""
    cost = cost_of({True: [(5.0, 50.0)] * 2, False: [(0.0, 0.0)] * 98})
    assert (cost.clock.value, cost.cpu.value, cost.recorded) == pytest.approx((0.1, 1.0, 0.02))
    assert cost.each == {True: 50.0, False: 0.0}
