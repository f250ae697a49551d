"""A layer between two calls: parts of a step, silent neurons, and memory that is used again."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

import fastact
from fastact import ActivationMonitor, summarize


def test_parts_of_one_step_make_one_row() -> None:
    x = np.random.default_rng(1).standard_normal((30, 4))
    with ActivationMonitor() as monitor:
        for part in np.split(x, 3):
            monitor.record("a", part, axis=-1)
        monitor.record("b", x[:, :2], axis=-1)
        monitor.record("b", x[:, 2:], axis=-1)
        monitor.record("c", x[:, :1], axis=-1)
        monitor.record("c", x[:, 1:], axis=-1)  # other neurons than the part before
        monitor.step()
        whole = summarize(x)
        for name in "abc":
            rows = monitor.history[name].rows
            assert len(rows) == 1
            assert rows[0]["count"] == whole.count
            assert rows[0]["std"] == pytest.approx(whole.std, rel=1e-12)
        assert [int(monitor.history[name].rows[0]["neurons"]) for name in "abc"] == [4, 2, 0]


def test_dead_neurons_are_those_silent_in_every_recent_row() -> None:
    thresholds = fastact.Thresholds(dead_window=3)
    with ActivationMonitor(thresholds=thresholds) as monitor:
        for step in range(6):
            x = np.ones((10, 4))
            x[:, 0] = 0  # always silent
            x[:, 1] = step % 2  # now and then
            x[:, 2] = step < 3  # since step 3
            monitor.record("a", x, axis=-1, kind="ReLU")
            monitor.step()
        assert monitor.history["a"]["dead_neurons"].tolist() == [2, 1, 1, 1, 1, 2]
        assert monitor.history["a"]["silent_neurons"].tolist() == [2, 1, 2, 2, 3, 2]


#: What one layer gives in some steps: the same shape again and again, several parts in a step, other shapes, dtypes and
#: orders in memory, something odd, and nothing.
GIVEN: list[list[Any]] = [
    *([torch.relu(torch.randn(64, 40))] for _ in range(4)),
    [torch.randn(64, 40), torch.randn(64, 40), torch.randn(64, 40)],
    [torch.randn(64, 40)],
    [torch.randn(7, 40), torch.randn(64, 40)],
    [torch.randn(64, 12)],
    [torch.randn(64, 40)],
    [torch.randn(40, 64).T],
    [],
    [torch.randn(64, 40, dtype=torch.float64)],
    [torch.full((64, 40), torch.nan)],
    *([torch.randn(64, 40).bfloat16()] for _ in range(3)),
    [np.ones((64, 40)), torch.randn(64, 40)],
    *([torch.zeros(500, 400)] for _ in range(3)),
]


def test_in_place_is_recorded_what_record_would_record() -> None:
    with ActivationMonitor(strict=True) as recorded, ActivationMonitor(strict=True) as in_place:
        for parts in GIVEN:
            for part in parts:
                recorded.record("layer", part, axis=1, kind="ReLU")
                in_place.record_in_place("layer", part, 1, "ReLU")
            recorded.step()
            in_place.step()
        rows = [list(monitor.history["layer"].rows.tolist()) for monitor in (recorded, in_place)]
        assert [row[3:] for row in rows[1]] == [pytest.approx(row[3:], rel=0, abs=0, nan_ok=True) for row in rows[0]]
        assert len(rows[0]) == len([parts for parts in GIVEN if parts])


def test_in_place_the_same_memory_is_used_again_and_by_record_never() -> None:
    x = torch.randn(64, 40)
    with ActivationMonitor() as monitor:
        for _ in range(2):  # a layer is known from the second tensor on
            monitor.record_in_place("layer", x, 1, "ReLU")
            monitor.step()
        plans = monitor._layers["layer"].plans
        addresses = set()
        for _ in range(5):
            monitor.record_in_place("layer", x, 1, "ReLU")
            assert not plans.free
            monitor.step()
            addresses |= {swept.address for swept in plans.free}
        assert len(addresses) == 1
        stats = monitor.record("layer", x, axis=1)
        monitor.step()
        assert [swept.address for swept in plans.free] == list(addresses)
        assert stats == summarize(x, axis=1).total


def test_threads_that_record_one_layer_in_place_do_not_write_into_each_others_memory() -> None:
    tensors = [torch.full((256, 64), float(i)) for i in range(8)]
    whole = summarize(torch.cat(tensors), axis=1)
    with ActivationMonitor(strict=True) as monitor, ThreadPoolExecutor(8) as pool:
        for _ in range(30):
            list(pool.map(lambda x: monitor.record_in_place("layer", x, 1, ""), tensors))
            monitor.step()
        rows = monitor.history["layer"].rows
        assert (rows["count"] == whole.total.count).all()
        assert rows["std"] == pytest.approx(whole.total.std, rel=1e-12)


def test_nothing_is_recorded_in_place_in_a_step_that_is_skipped_or_after_the_end() -> None:
    x = torch.ones(4, 3)
    with ActivationMonitor(every=2) as monitor:
        for _ in range(5):
            monitor.record_in_place("layer", x, 1, "")
            monitor.step()
    assert monitor.history["layer"]["step"].tolist() == [0, 2, 4]
    with pytest.raises(fastact.FastactError, match="closed"):
        monitor.record_in_place("layer", x, 1, "")
