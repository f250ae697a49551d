"""Numbers as text: what is drawn is what the numbers are."""

import math

import numpy as np
import pytest

from fastact.live.sparks import binned, curve, scale, sparkline


def test_the_least_is_at_the_bottom_and_the_largest_at_the_top() -> None:
    assert sparkline(np.array([0.0, 7.0, 3.5]), 10) == "▁█▅"
    assert sparkline(np.array([0.0, 0.1]), 10, "share") == "▁▂"  # a share is of one
    assert sparkline(np.array([]), 10) == sparkline(np.array([1.0]), 0) == ""


def test_what_has_no_number_is_marked() -> None:
    assert sparkline(np.array([1.0, math.nan, 2.0]), 3) == "▁×█"
    assert sparkline(np.full(2, math.nan), 3) == "××"


def test_a_peak_is_never_lost_between_columns() -> None:
    values = np.zeros(1000)
    values[777] = 1.0
    line = sparkline(values, 10)
    assert (len(line), line.count("█"), line.index("█")) == (10, 1, 7)


def test_noise_is_no_drama_and_many_orders_of_magnitude_are_seen() -> None:
    assert set(sparkline(np.array([1.0, 1.001, 0.999]), 3)) <= set("▄▅")
    assert sparkline(np.geomspace(1.0, 1e7, 8), 8, "size") == "▁▂▃▄▅▆▇█"
    assert sparkline(np.geomspace(1.0, 1e7, 8), 8) == "▁▁▁▁▁▁▂█"
    assert sparkline(np.zeros(3), 3, "size") == "▁▁▁"
    assert scale(np.array([-1e308, 1e308]), "signed").ends == (-1e308, 1e308)


def test_columns_have_the_least_and_the_largest_of_their_values() -> None:
    low, high = binned(np.array([3.0, 1.0, math.nan, 2.0, math.nan, math.nan]), 3)
    assert low[:2].tolist() == [1.0, 2.0]
    assert high[:2].tolist() == [3.0, 2.0]
    assert math.isnan(low[2])


@pytest.mark.parametrize("count", [1, 7, 8, 100])
def test_a_curve_rises_from_the_lower_left_to_the_upper_right(count: int) -> None:
    values = np.linspace(0.0, 1.0, count)
    lines = curve(values, values, 4, 3, scale(np.array([0.0, 1.0]), "share"))
    assert [len(line) for line in lines] == [4, 4, 4]
    if count > 1:
        assert lines[-1][0] != "\u2800" != lines[0][-1]
        assert lines[0][0] == "\u2800" == lines[-1][-1]


def test_a_gap_in_a_curve_stays_one() -> None:
    values = np.array([0.0, math.nan, 1.0, 1.0])
    (line,) = curve(values, values, 2, 1, scale(values, "share"))
    assert line == "\u2840\u2809"
