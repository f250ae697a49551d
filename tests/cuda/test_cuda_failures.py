"""A monitor's rows on a GPU when something fails: they are counted as lost, and the training goes on."""

import time
from typing import Any

import pytest
from on_device import OnDevice, in_simulator, normal

import fastact
from fastact import ActivationMonitor


@in_simulator
def test_a_device_that_fails_costs_rows_and_not_the_training(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastact.cuda.driver import Event

    with ActivationMonitor() as monitor:
        monitor.record("layer", OnDevice(normal(3)))
        monitor.step()
        monkeypatch.setattr(Event, "done", lambda _: fail("an illegal memory access"))
        stats: list[Any] = []
        for step in range(3):
            stats.append(monitor.record("layer", OnDevice(normal(3))))
            monitor.record("here", normal(3))
            if step:
                monitor.step()
            else:
                with pytest.warns(RuntimeWarning, match="an illegal memory access"):
                    monitor.step()
        with pytest.raises(fastact.FastactError, match="illegal memory access"):
            _ = stats[0].mean
        assert [layer.total for layer in monitor.history.values()] == [1, 3]
        assert monitor.failures == 3


def fail(words: str) -> None:
    raise OSError(words)


@in_simulator
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_launch_that_fails_leaves_the_next_as_it_was(
    error: Any, stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastact.cuda import recorder

    with ActivationMonitor() as monitor:
        monitor.record("layer", OnDevice(normal(3)))
        monitor.step()

        def launcher(*_: Any) -> Any:
            def launch(*_: Any) -> None:
                raise error("no launch")

            return launch

        with monkeypatch.context() as patch:
            patch.setattr(recorder, "_kernel", launcher)
            if error is KeyboardInterrupt:
                with pytest.raises(KeyboardInterrupt):
                    monitor.record("layer", OnDevice(normal(3)))
            else:
                monitor.record("layer", OnDevice(normal(3)))
                with pytest.warns(RuntimeWarning, match="'layer'.*no launch"):
                    monitor.step()
        stats: Any = monitor.record("layer", OnDevice(normal(4)))
        monitor.step()
        assert stats.count == 4
        assert monitor.history["layer"]["count"].tolist() == [3, 4]
        assert monitor.failures == (error is OSError)
        rows = monitor._queue.deferred
        assert rows is not None
        assert rows._devices[0].ring.tail == rows._devices[0].ring.head == 3


@in_simulator
def test_an_interrupt_while_closing_is_counted(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monitor = ActivationMonitor()
    stream.held = []
    monitor.record("layer", OnDevice(normal(3)))
    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.warns(RuntimeWarning, match="step 0.*interrupted"), pytest.raises(KeyboardInterrupt):
        monitor.close()
    monkeypatch.undo()
    assert monitor.closed
    assert monitor.failures == 1
