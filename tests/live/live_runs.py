"""Runs for the terminal view: rows of a network that falls sick, as a monitor would write them."""

from pathlib import Path
from typing import Any

from synthetic import plain, row

from fastact.diagnosis.layer_types import LOSS
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.log import LogOptions, LogWriter

#: A name that would clear the screen, and turn red, if it were shown as it is.
NASTY = "act\x1b[2J[red]\n"
LAYERS = (
    LayerInfo("fc1", 0, "Linear", "float32"),
    LayerInfo(NASTY, 1, "Tanh", "float32"),
    LayerInfo("fc2", 2, "Linear", "float32"),
    LayerInfo("loss", 3, LOSS),
)


def begin(path: Path, start_step: int = 0, **more: Any) -> LogWriter:
    writer = LogWriter(path, LogOptions(**more), metadata={"window_size": "20"}, start_step=start_step)
    for info in LAYERS:
        writer.add_layer(info)
    return writer


def placed(values: tuple[Any, ...], layer: int) -> tuple[Any, ...]:
    numbers = list(values)
    numbers[COLUMN["layer"]] = layer
    return tuple(numbers)


def write(writer: LogWriter, steps: range, *, sick: bool) -> None:
    """Some steps; where they are sick, the tanh is saturated."""
    for step in steps:
        writer.append(placed(row(step, std=1.0 + step % 3), 0))
        writer.append(placed(row(step, saturated=4000 if sick else 0, min=-1.0, max=1.0), 1))
        writer.append(placed(row(step), 2))
        loss = 1.0 / (1 + step)
        one = {"count": 1, "std": 0.0, "mean": loss, "abs_mean": loss, "min": loss, "max": loss}
        writer.append(placed(plain(step, **one), 3))
    writer.flush()
