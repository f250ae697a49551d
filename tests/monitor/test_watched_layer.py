"""A layer between two calls: parts of a step, silent neurons, and memory that is used again."""

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fastact
from fastact import ActivationMonitor, summarize
from fastact.fields import COPY, DRAWN, NEURON, PACK_ROW


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


def test_dead_neurons_are_those_silent_in_enough_rows() -> None:
    thresholds = fastact.Thresholds(dead_window=3, dead_samples=30)
    with ActivationMonitor(thresholds=thresholds) as monitor:
        for step in range(6):
            x = np.ones((10, 4))
            x[:, 0] = 0  # always silent
            x[:, 1] = step % 2  # now and then
            x[:, 2] = step < 3  # since step 3
            monitor.record("a", x, axis=-1, kind="ReLU")
            monitor.step()
        assert monitor.history["a"]["dead_neurons"].tolist() == [0, 0, 1, 1, 1, 2]
        assert monitor.history["a"]["silent_neurons"].tolist() == [2, 1, 2, 2, 3, 2]


def dead_at(x: Any, splits: list[int], *, sparse: bool = False) -> list[int]:
    """How many of the columns are dead after each batch; `splits` are the batches' ends."""
    with ActivationMonitor(strict=True, window_size=1 << 15) as monitor:
        for batch in np.split(x, splits):
            if len(batch):
                monitor.record("a", batch, axis=-1, layer_type="ReLU", sparse=sparse)
                monitor.step()
        dead: list[int] = monitor.history["a"]["dead_neurons"].tolist()
        return dead


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(40, 400), st.lists(st.integers(1, 400), min_size=1, max_size=9))
def test_however_samples_are_ordered_and_split_the_same_neurons_are_dead(
    seed: int, often: int, sizes: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.random((12000, 12)) < 1 / often) * rng.random((12000, 12)).astype(np.float32)
    x[:, ::4] = 0  # three that never fire
    ends = np.cumsum(sizes * 12000)
    ends = ends[ends < 12000].tolist()
    for order in (x, rng.permutation(x), rng.permutation(x)):
        assert dead_at(order, ends)[-1] == 3
    x[-1, 0] = 1  # one wakes
    assert dead_at(x, ends)[-1] == 2


@pytest.mark.parametrize(("batch", "rows"), [(1, 300), (2, 150), (15, 20), (256, 20)])
def test_a_batch_of_one_takes_as_many_samples_as_a_large_one_which_takes_rows(batch: int, rows: int) -> None:
    x = np.ones((batch * 400, 2), np.float32)
    x[:, 0] = 0
    assert dead_at(x, list(range(batch, batch * 400, batch)))[: rows + 1] == [0] * (rows - 1) + [1, 1]


def test_what_fires_within_the_samples_that_are_needed_is_never_dead() -> None:
    x = np.ones((3000, 3), np.float32)
    x[:, 0] = np.arange(3000) % 299 == 0
    assert max(dead_at(x, list(range(1, 3000)))) == 0
    x[:, 0] = np.arange(3000) % 300 == 0
    assert max(dead_at(x, list(range(1, 3000)))) == 0  # 299 without
    x[:, 0] = np.arange(3000) % 301 == 0
    assert max(dead_at(x, list(range(1, 3000)))) == 1


def test_sparse_layers_need_more_samples_and_those_that_were_declared_sparse_still_more() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((40_000, 1000)) < 0.002).astype(np.float32)  # once in 500 samples: 10 times in 5000
    x[:, :100] = 0
    ends = list(range(200, 40_000, 200))
    dead = dead_at(x, ends)
    assert dead[20] == 0
    assert dead[30] in range(100, 103)
    declared = dead_at(x, ends, sparse=True)
    assert declared[-1] == 0  # it takes 50,000
    x[:, 100:] = rng.random((40_000, 900)) < 0.02
    assert dead_at(x, ends, sparse=True)[40] == 100


def test_many_dead_neurons_do_not_make_a_layer_sparse() -> None:
    x = np.zeros((64 * 30, 500), np.float32)
    x[:, 7] = np.random.default_rng(0).random(len(x)) < 0.5
    assert dead_at(x, list(range(64, len(x), 64)))[20] == 499


@pytest.mark.parametrize("batch", [1, 64])
def test_what_dies_late_is_dead_soon_and_stays_so_while_another_fires_now_and_then(batch: int) -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((batch * 1200, 40)) < 0.5).astype(np.float32)
    x[batch * 400 :] = 0
    x[batch * 800 :: 50, 0] = 1
    dead = dead_at(x, list(range(batch, len(x), batch)))
    rows = 300 if batch == 1 else 20
    assert dead[399 + rows - 12] <= 2
    assert set(dead[400 + rows : 800]) == {40}
    assert set(dead[800:]) <= {39, 40}


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


def test_layers_that_match_a_pattern_are_sparse_wherever_they_are_called() -> None:
    with ActivationMonitor() as monitor:
        monitor.declare_sparse("sae.*", "features")
        for name in ("sae.act", "features:eval", "other", "a.features"):
            monitor.record(name, np.eye(4), axis=-1)
        monitor.step()
        sparse = [name for name, layer in monitor.history.items() if layer.info.sparse]
    assert sparse == ["sae.act", "features:eval"]


def test_a_row_without_neurons_is_that_of_its_numbers() -> None:
    with ActivationMonitor(window_size=3) as monitor:
        for step in range(5):
            x = np.random.default_rng(step).standard_normal(50)
            stats = monitor.record("a", x)
            monitor.step()
            assert stats is not None
            last = monitor.history["a"].rows[-1]
            nothing = tuple(field.nothing for field in NEURON + COPY + DRAWN)
            want = (step, 0, int(last["time"]), *stats.state, *nothing)
            assert last.tobytes() == PACK_ROW(*want)
            assert monitor.history["a"].steps.tolist() == monitor.history["a"]["step"].tolist()


def test_a_step_of_many_layers_does_not_call_the_garbage_collector() -> None:
    """A tuple for each of thousands of layers has it look through all objects there are, several times a step."""
    with ActivationMonitor() as monitor:
        for _ in range(2):
            for layer in range(1_000):
                monitor.record(f"layer{layer}", np.ones(10))
            thresholds = gc.get_threshold()
            gc.collect()
            gc.set_threshold(500)
            try:
                before = gc.get_stats()[0]["collections"]
                monitor.step()
                collections = gc.get_stats()[0]["collections"] - before
            finally:
                gc.set_threshold(*thresholds)
        assert collections == 0
