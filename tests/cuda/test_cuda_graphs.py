"""CUDA graphs that captured a monitor's records: rows at each replay."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from deferred_rows import relu, same_rows, small_ring, step_and_wait
from on_device import OnDevice, in_simulator, normal, on_device

import fastact
from fastact import ActivationMonitor


class Graph:
    """What the simulator's stream was given while it was captured."""

    def __init__(self, stream: Any, work: Callable[[], object]) -> None:
        stream.captured = []
        try:
            work()
        finally:
            self._work, stream.captured = stream.captured, None
        self._stream = stream

    def replay(self) -> None:
        for work in self._work:
            self._stream.run(work)


@in_simulator
def test_a_graph_gives_rows_at_each_replay(stream: Any) -> None:
    owners = {"columns": OnDevice(relu(9, 11)), "twice": OnDevice(relu(6, 5)), "whole": OnDevice(normal(30))}
    with ActivationMonitor() as want, ActivationMonitor() as got:
        stats: list[Any] = []

        def work() -> None:
            stats.append(got.record("columns", owners["columns"], axis=-1))
            stats.append(got.record("twice", owners["twice"], axis=-1))
            stats.append(got.record("twice", owners["twice"], axis=-1))
            stats.append(got.record("whole", owners["whole"]))

        graph = Graph(stream, work)
        with pytest.raises(fastact.FastactError, match="CUDA graph"):
            _ = stats[0].mean
        for step in range(4):
            x = {name: np.roll(owner.memory, step) for name, owner in owners.items()}
            for name, owner in owners.items():
                owner.memory[...] = x[name]
            if step == 2:
                stream.held = []
            graph.replay()
            for name in ("columns", "twice", "twice", "whole"):
                want.record(name, x[name], axis=None if name == "whole" else -1)
            want.step()
            got.step()
            if step == 2:
                assert got._diagnoser.history["whole"].total == 2
                stream.release()
        same_rows(got, want)
        assert got.failures == 0
    before = len(got._diagnoser.history["whole"])
    graph.replay()  # of a monitor that is closed
    assert len(got._diagnoser.history["whole"]) == before


@in_simulator
def test_a_graph_that_is_replayed_twice_a_step_and_not_in_each(stream: Any) -> None:
    x = relu(6, 5)
    owner = OnDevice(x)
    with ActivationMonitor() as want, ActivationMonitor(every=2) as got:
        graph = Graph(stream, lambda: got.record("layer", owner, axis=-1))
        for step, replays in enumerate((2, 1, 0, 1, 1)):
            owner.memory[...] = 1 if step % 2 else x  # which would end the silence of a neuron
            for _ in range(replays):
                graph.replay()
                if step % 2 == 0:
                    want.record("layer", x, axis=-1)
            want.step()
            got.step()
        same_rows(got, want)
        assert got.history["layer"]["step"].tolist() == [0, 4]
        graph.replay()  # of a step that only closing ends, but which is not recorded
    assert got.history["layer"].total == 2


@in_simulator
def test_replays_that_overrun_the_ring_are_counted(stream: Any) -> None:
    with ActivationMonitor() as monitor:
        small_ring(monitor, 4)
        owner = OnDevice(normal(3))
        graph = Graph(stream, lambda: monitor.record("layer", owner))
        graph.replay()
        monitor.step()
        for _ in range(9):
            graph.replay()
        with pytest.warns(RuntimeWarning, match="replayed CUDA graph"):
            step_and_wait(monitor)
        # Of nine rows and the word that the step has ended the last four are there.
        assert monitor.history["layer"]["count"].tolist() == [3, 9]
        assert monitor.failures == 6
        graph.replay()
        monitor.step()
        assert monitor.history["layer"]["count"].tolist() == [3, 9, 3]
        assert monitor.failures == 6


@on_device
def test_a_torch_graph_gives_rows_at_each_replay(torch: Any) -> None:
    x = torch.zeros(64, 16, device="cuda")
    with ActivationMonitor() as monitor:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            monitor.record("layer", torch.relu(x), axis=-1)
        torch.cuda.current_stream().wait_stream(side)
        monitor.step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = torch.relu(x)
            captured: Any = monitor.record("layer", y, axis=-1)
        with pytest.raises(fastact.FastactError, match="CUDA graph"):
            _ = captured.mean
        for step in range(1, 200):
            x.fill_(float(step))
            graph.replay()
            monitor.step()
        rows = monitor.history["layer"].rows
        assert rows["step"].tolist() == list(range(100, 200))
        assert rows["mean"].tolist() == [float(step) for step in range(100, 200)]
        assert (rows["silent_neurons"] == 0).all()
        assert monitor.failures == 0
    graph.replay()
    torch.cuda.synchronize()
