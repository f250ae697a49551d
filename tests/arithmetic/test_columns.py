"""Many states merged at once are the same, bit for bit, as those that are merged one by one."""

import math
import struct
from itertools import product

import numpy as np

from fastact import summarize
from fastact.arithmetic import State, merge
from fastact.arithmetic.columns import Columns, counts_fit, merge_columns, merge_groups
from fastact.fields import ROW_DTYPE, STATE_PART


def states() -> list[State]:
    random = np.random.default_rng(0)
    parts = [random.standard_normal(size) * 10.0**scale for size, scale in ((1, 0), (7, 3), (100, -200), (33, 150))]
    parts += [np.full(5, 2.0), np.zeros(3), np.array([1.7e308, -1.7e308]), np.array([np.nan, np.inf, -np.inf])]
    parts += [np.array([np.nan, 3.0]), np.array([5e-324, 0.0]), np.array([1e16, 1e16 + 2])]
    return [state_of(part) for part in parts]


def state_of(x: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> State:
    stats = summarize(x)
    row = [stats.count, stats.nans, stats.pos_infs, stats.neg_infs, stats.zeros, stats.saturated]
    low, high = (stats.min, stats.max) if stats.min == stats.min else (math.inf, -math.inf)
    return (*row, stats.mean, stats.std, stats.abs_mean, low, high, 0.25 * 2.0**-52)


def columns(of: list[State]) -> Columns:
    table = list(zip(*of, strict=True))
    moments = np.array([*table[6:9], table[11]], np.float64)
    return np.array(table[:6], np.int64), moments, np.array(table[9:11], np.float64)


def bits(state: State) -> bytes:
    return struct.pack("6q6d", *state)


def test_pairs_merge_as_they_do_alone() -> None:
    pairs = list(product(states(), repeat=2))
    counts, moments, extremes = merge_columns(*(columns([pair[side] for pair in pairs]) for side in (0, 1)))
    for i, (a, b) in enumerate(pairs):
        got = (*counts[:, i].tolist(), *moments[:3, i].tolist(), *extremes[:, i].tolist(), float(moments[3, i]))
        want = merge(a, b)
        assert bits(got) == bits(want) or all(
            x == y or (math.isnan(x) and math.isnan(y)) for x, y in zip(got, want, strict=True)
        )


def test_groups_of_any_size_become_one_row_each() -> None:
    some = states()
    sizes = np.array([1, 2, 5, 3])
    rows = np.zeros(sizes.sum(), ROW_DTYPE)
    rows["layer"] = np.repeat(np.arange(4), sizes)
    for i, state in enumerate(some):
        rows[i] = (*rows[i].tolist()[: STATE_PART.start], *state[:-1], *rows[i].tolist()[STATE_PART.stop :])
    merged = rows[np.cumsum(sizes) - sizes].copy()
    merge_groups(rows, sizes, merged)
    begin = 0
    for size, row in zip(sizes.tolist(), merged.tolist(), strict=True):
        want = (*some[begin][:-1], 0.0)
        for state in some[begin + 1 : begin + size]:
            want = merge(want, (*state[:-1], 0.0))
        got = row[STATE_PART]
        assert got[:6] == want[:6]
        np.testing.assert_allclose(got[6:9], want[6:9], rtol=1e-14)
        assert got[9:] == want[9:11]
        begin += size


def test_counts_that_would_wrap_are_known_beforehand() -> None:
    rows = np.zeros(3, ROW_DTYPE)
    rows["count"] = 2**61
    assert counts_fit(rows, np.array([0]))
    rows["count"] = 2**62
    assert counts_fit(rows, np.arange(3))
    assert not counts_fit(rows, np.array([0, 1]))
