"""What goes wrong in a watch is counted and warned of once, or raised, and the training continues."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch_doubles import Recorder, mlp_in_place

import fastact
from fastact.errors import FastactError
from fastact.monitor import layer as layers
from fastact.torch import watch


def test_a_failing_record_warns_once_is_counted_and_takes_nothing_else_with_it() -> None:
    model, recorder = mlp_in_place(), Recorder(broken=("1", "2", "0:input", "0:grad"))
    with watch(model, recorder, inputs=True, gradients=True) as handle:
        with pytest.warns(RuntimeWarning, match=r"layer '0:input' .*OSError: no room") as caught:
            y = model(torch.ones(2, 4))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model(torch.ones(2, 4))
            y.sum().backward()
    assert len(caught) == 1
    assert handle.failures == 7
    assert {name: len(given) for name, given in recorder.given.items()} == {
        "input": 2, "0": 2, "1:input": 2, "2:input": 2, "2:grad": 1, "1:grad": 1,
    }  # fmt: skip
    assert torch.equal(y, model(torch.ones(2, 4)))


@pytest.mark.parametrize("broken", ["0:input", "1", "0:grad"])
def test_strict_raises(broken: str) -> None:
    model = mlp_in_place()
    recorder = Recorder(broken=(broken,))
    with pytest.raises(OSError, match="no room"), watch(model, recorder, inputs=True, gradients=True, strict=True):
        model(torch.ones(2, 4)).sum().backward()


class Odd(nn.Module):
    def __init__(self, output: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: torch.Tensor) -> Any:
        return self.output(x)


class Hostile(dict[str, Any]):
    def items(self) -> Any:
        raise ValueError("no items")


@pytest.mark.parametrize("output", [lambda x: x.to("meta"), lambda x: Hostile(x=x)])
def test_odd_outputs_warn_once_or_raise_when_strict(output: Callable[[torch.Tensor], Any]) -> None:
    model, x = Odd(output), torch.ones(2, 3)
    want = type(model(x))
    with fastact.ActivationMonitor() as monitor:
        with watch(model, monitor) as handle:
            with pytest.warns(RuntimeWarning, match="fastact could not record layer 'Odd'"):
                assert type(model(x)) is want
            for _ in range(2):  # here another warning is an error
                model(x)
            assert handle.failures == 3
            monitor.step()
            assert monitor.unseen["Odd"].startswith("it could not be recorded (")
        with watch(model, monitor, strict=True), pytest.raises((FastactError, ValueError)):
            model(x)


def test_a_sampling_function_that_fails_warns_once_and_records_nothing() -> None:
    def every(step: int) -> bool:
        raise KeyError(step)

    model = mlp_in_place()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, every=every) as handle:
        with pytest.warns(RuntimeWarning, match="KeyError: 0"):
            model(torch.ones(8, 4))
        for _ in range(2):
            monitor.step()
            model(torch.ones(8, 4))
        assert handle.failures == 3
        assert not monitor.history


def test_a_closed_monitor_warns_once_and_the_training_goes_on() -> None:
    model, monitor = mlp_in_place(), fastact.ActivationMonitor()
    with watch(model, monitor) as handle:
        monitor.close()
        with pytest.warns(RuntimeWarning, match="the monitor is closed"):
            model(torch.ones(2, 4))
        assert model(torch.ones(2, 4)).shape == (2, 3)  # here another warning is an error
    assert handle.failures == 2  # one for each pass
    with watch(model, monitor, strict=True), pytest.raises(FastactError, match="the monitor is closed"):
        model(torch.ones(2, 4))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_warns_once_and_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    model, x = mlp_in_place(), torch.ones(2, 4)
    with fastact.ActivationMonitor(tmp_path / "run") as monitor, watch(model, monitor, strict=True) as handle:
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: write(full, data))

        def train() -> None:
            for _ in range(3):
                model(x)
                monitor.step()
            monitor.flush()

        with pytest.warns(RuntimeWarning, match="No space left on device"):
            train()
        assert len(monitor.history["0"]) == 3
        assert (handle.failures, monitor.failures) == (0, 0)
        monkeypatch.undo()
    os.close(full)


@pytest.mark.parametrize("strict", [False, True])
def test_an_error_of_our_own_costs_that_layer_s_row_alone(strict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, monitor = mlp_in_place(), fastact.ActivationMonitor(strict=strict)
    row_of = layers.row_of

    def broken(layer: layers.WatchedLayer, *arguments: Any) -> layers.PendingRow:
        if layer.info.name == "1":
            raise ZeroDivisionError("a defect")
        return row_of(layer, *arguments)

    monkeypatch.setattr(layers, "row_of", broken)
    with monitor, watch(model, monitor):
        model(torch.ones(2, 4))
        if strict:
            with pytest.raises(ZeroDivisionError):
                monitor.step()
        else:
            with pytest.warns(RuntimeWarning, match=r"row of layer '1' .*ZeroDivisionError: a defect"):
                monitor.step()
            model(torch.ones(2, 4))
            monitor.step()  # here another warning is an error
            assert monitor.failures == 2
        assert len(monitor.history["0"]) == len(monitor.history["2"]) == monitor.failures
        assert len(monitor.history["1"]) == 0
