"""Rows on their way from the device: torn ones, full rings, copies that lag."""

from typing import Any

import numpy as np
import pytest
from deferred_rows import small_ring, soon
from on_device import OnDevice, in_simulator, normal

import fastact
from fastact import ActivationMonitor


@in_simulator
def test_a_copy_that_is_under_way_is_not_waited_for_and_copied_once_more(stream: Any) -> None:
    from fastact.cuda.driver import side_stream

    side = side_stream(0)
    with ActivationMonitor() as monitor:
        monitor.record("layer", OnDevice(normal(9)))
        monitor.step()
        stream.held, side.held = [], []
        first: Any = monitor.record("layer", OnDevice(np.full(4, 1.0)))
        monitor.step()
        assert not first.ready
        side.release()  # copied before the kernel ran
        side.held = []
        stream.release()
        second: Any = monitor.record("layer", OnDevice(np.full(4, 2.0)))
        monitor.step()
        assert not first.ready
        assert not second.ready
        soon(side.release)
        assert (second.mean, first.mean) == (2.0, 1.0)


@in_simulator
def test_a_torn_row_is_not_taken() -> None:
    from fastact.cuda.ring import CHECK, RING_WORDS, STAMP, Ring, checks

    ring = Ring(0, slots=4)
    device_memory: Any = ring._memory
    memory = device_memory._words[-4 * RING_WORDS :].reshape(4, RING_WORDS)
    rng = np.random.default_rng(0)
    for lap in range(3):
        numbers = [ring.next() for _ in range(3)]
        rows = rng.integers(-(2**62), 2**62, (3, RING_WORDS))
        rows[:, STAMP] = np.array(numbers) + 1
        rows[:, CHECK] = checks(rows)
        slots = [number % 4 for number in numbers]
        for torn in range(CHECK + 1):  # word by word, the stamp first
            memory[slots[1], torn] = rows[1, torn]
            ring.fetch()
            taken = [number for number, _ in ring.take()]
            assert taken == ([numbers[1]] if torn == CHECK else []), (lap, torn)
        memory[slots] = rows
        ring.fetch()
        assert [number for number, _ in ring.take()] == [numbers[0], numbers[2]]
        assert ring.tail == ring.head == 3 * (lap + 1)


@in_simulator
def test_a_full_ring_drops_rows_and_says_so(stream: Any) -> None:
    with ActivationMonitor() as monitor:
        small_ring(monitor, 4)
        for _ in range(3):  # around the ring
            monitor.record("first", OnDevice(normal(9)))
            monitor.step()
        stream.held = []
        stats: list[Any] = [monitor.record(f"layer {i}", OnDevice(normal(9))) for i in range(6)]
        monitor.step()
        stream.release()
        assert [s.count for s in stats[:4]] == [9] * 4
        with pytest.raises(fastact.FastactError, match="full"):
            _ = stats[4].mean
        monitor.record("layer 4", OnDevice(normal(9)))
        with pytest.warns(RuntimeWarning, match="'layer 4'.*ring of 4 rows was full"):
            monitor.step()
        assert [layer.total for layer in monitor.history.values()] == [3, 1, 1, 1, 1, 1, 0]
        assert monitor.failures == 2


@in_simulator
def test_more_rows_than_slots_in_one_step() -> None:
    with ActivationMonitor() as monitor:
        small_ring(monitor, 4)
        for _ in range(11):
            monitor.record("layer", OnDevice(normal(3)))
        monitor.step()
        assert monitor.history["layer"]["count"].tolist() == [33]
        assert monitor.failures == 0
