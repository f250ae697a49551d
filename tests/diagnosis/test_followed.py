"""Layers that are followed together: what grows in two steps is whole after an interrupt between them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from synthetic import row

from fastact.diagnosis import followed
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.history import LayerInfo


@pytest.mark.parametrize("interrupted", [1, 2])
def test_an_interrupt_while_room_for_more_layers_is_made_costs_none(
    monkeypatch: pytest.MonkeyPatch, interrupted: int
) -> None:
    calls, real = [0], np.concatenate

    def concatenate(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == interrupted:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    diagnoser, interrupts = Diagnoser(), 0
    # In that module alone.
    monkeypatch.setattr(followed, "np", SimpleNamespace(**{**vars(np), "concatenate": concatenate}))
    for order in range(40):
        diagnoser.add(LayerInfo(f"layer {order}", order, "ReLU", "float32"))
        for step in range(10):
            diagnoser.append(f"layer {order}", row(step, dead_neurons=64, zeros=4096))
        while True:
            try:
                found = diagnoser.diagnose()
            except KeyboardInterrupt:
                interrupts += 1
            else:
                break
    assert interrupts == 1
    assert len([layer for layer in found.layers if layer.severity]) == 40
