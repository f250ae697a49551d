"""A toy framework and its adapter, made of the shared parts alone: what every trainer's adapter can rely on."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastact import ActivationMonitor, ArgumentTypeError, FastactError, open_log
from fastact._adapters.attachment import Attachment, Run
from fastact._adapters.layers import is_selected, named_outputs


class ToyCallback:
    """What the toy trainer calls."""

    def __init__(self, run: Run, *, layers: Any = None, strict: bool = False) -> None:
        self.attachment = Attachment("ToyCallback", run, strict=strict)
        self.layers = layers

    def output(self, name: str, layer_type: str, outputs: list[Any]) -> None:
        if self.attachment.active and is_selected(self.layers, name, layer_type):
            for full, x in named_outputs(name, outputs):
                self.attachment.record(full, x, axis=-1, layer_type=layer_type)


def train(
    callback: ToyCallback, *, rank: int = 0, ranks: int = 1, during: Callable[[int], None] = lambda step: None
) -> int:
    """Three steps of two layers, one of which has two outputs, with a validation in each; how many steps there were."""
    mode = ""
    callback.attachment.open(rank, ranks)
    callback.attachment.when = lambda: mode == "training"
    for step in range(3):
        for mode in ("training", "validation"):  # noqa: B007 - `when` looks at it
            callback.output("dense", "Linear", [np.full((4, 3), step, np.float32)])
            callback.output("lstm", "LSTM", [np.zeros((4, 3)), np.ones((4, 2))])
            during(step)
        callback.attachment.step()
    callback.attachment.close()
    return step + 1


def test_the_rows_are_those_of_the_training(tmp_path: Path) -> None:
    callback = ToyCallback(tmp_path, strict=True)
    with pytest.raises(FastactError, match="ToyCallback: no monitor yet"):
        _ = callback.attachment.monitor
    train(callback)
    log = open_log(tmp_path)
    assert [(info.name, info.layer_type) for info in log.layers] == [
        ("dense", "Linear"), ("lstm[0]", "LSTM"), ("lstm[1]", "LSTM"),
    ]  # fmt: skip
    assert [(record.step, record.stats.count, record.stats.mean) for record in log.replay(layers="dense")] == [
        (0, 12, 0.0), (1, 12, 1.0), (2, 12, 2.0),
    ]  # fmt: skip
    assert callback.attachment.monitor.closed
    assert len(callback.attachment.monitor.diagnose().layers) == 3  # it still diagnoses


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("d*", ["dense"]),
        (["lstm", "none"], ["lstm[0]", "lstm[1]"]),
        (lambda name, layer_type: layer_type == "Linear", ["dense"]),
    ],
)
def test_layers_are_selected(layers: Any, names: list[str]) -> None:
    monitor = ActivationMonitor()
    train(ToyCallback(monitor, layers=layers, strict=True))
    assert list(monitor.history) == names
    assert not monitor.closed  # it is the caller's


def test_each_process_has_its_own_log(tmp_path: Path) -> None:
    for rank in range(2):
        train(ToyCallback(tmp_path, strict=True), rank=rank, ranks=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank-00000", "rank-00001"]
    assert open_log(tmp_path).ranks == (0, 1)


def test_a_failure_is_warned_of_once_and_the_training_continues() -> None:
    monitor = ActivationMonitor()
    callback = ToyCallback(monitor)

    def spoil(step: int) -> None:
        callback.output("bad", "Linear", ["no numbers"])

    with pytest.warns(RuntimeWarning, match=r"ToyCallback could not record layer 'bad' .*ArgumentTypeError") as caught:
        assert train(callback, during=spoil) == 3
    assert len(caught) == 1
    assert callback.attachment.failure_counter.failures == 3
    assert [len(layer) for layer in monitor.history.values()] == [3, 3, 3]
    with pytest.raises(ArgumentTypeError):
        ToyCallback(monitor, strict=True).output("bad", "Linear", ["no numbers"])


def test_a_copy_begins_anew(tmp_path: Path) -> None:
    original = ToyCallback(tmp_path, strict=True)
    for callback in (copy.deepcopy(original), original):
        train(callback)
    for session in range(2):
        assert open_log(tmp_path, session=session).to_table().num_rows == 3 * 3
    with pytest.warns(RuntimeWarning, match="ToyCallback: a copy of it"):
        copied = copy.deepcopy(ToyCallback(ActivationMonitor()))
    assert train(copied) == 3
    assert not copied.attachment.active
