"""Rows as a monitor would make them, from the few numbers that a test is about."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from fastact.diagnosis.accept import Accept
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.layer_types import EVALUATION_SUFFIX
from fastact.diagnosis.rules import Thresholds
from fastact.fields import NEURON, ROW
from fastact.history import LayerInfo, Mode

Row = tuple[Any, ...]

#: A healthy layer's row: 64 samples of 64 neurons around 0, no zeros, nothing saturated, no neuron that stands out.
HEALTHY = {
    "count": 4096, "mean": 0.1, "std": 1.0, "abs_mean": 0.8, "min": -3.0, "max": 3.0, "neurons": 64, "within_std": 0.9,
    "peak_neuron": 7,
}  # fmt: skip

#: What a row holds of its neurons where there are none.
NO_NEURONS: dict[str, Any] = {field.name: field.nothing for field in NEURON}


def row(step: int, **numbers: float) -> Row:
    """A healthy row with some numbers replaced; what is neither is zero. The typical peak is near the largest one."""
    values = {**HEALTHY, **numbers, "step": step}
    values.setdefault("typical_peak", 0.8 * max(-values["min"], values["max"]))
    return tuple(values.get(field.name, 0) for field in ROW)


def plain(step: int, **numbers: float) -> Row:
    """The same without per-neuron numbers."""
    return row(step, **{**NO_NEURONS, **numbers})


def nothing_finite(step: int) -> Row:
    """A row of NaN alone."""
    return row(step, nans=4096, mean=math.nan, std=math.nan, abs_mean=math.nan, min=math.inf, max=-math.inf,
               within_std=math.nan, peak_neuron=-1, typical_peak=math.nan)  # fmt: skip


def watch(
    layers: Mapping[str, tuple[str, Iterable[Row]]],
    window_size: int = 100,
    thresholds: Thresholds | None = None,
    accept: Accept | None = None,
) -> Diagnoser:
    """A diagnoser that has seen these layers: name -> (layer type, rows), in forward order, step by step."""
    diagnoser = Diagnoser(window_size, thresholds, accept)
    rows = {name: list(given) for name, (_, given) in layers.items()}
    for order, (name, (layer_type, _)) in enumerate(layers.items()):
        mode: Mode = "evaluation" if name.endswith(EVALUATION_SUFFIX) else ""
        diagnoser.add(LayerInfo(name, order, layer_type, "float32", mode=mode))
    for i in range(max(map(len, rows.values()))):
        for name, given in rows.items():
            if i < len(given):
                diagnoser.append(name, given[i])
    return diagnoser


def found(diagnoser: Diagnoser) -> list[tuple[str, str, str, int]]:
    """(layer, condition, severity, first step) of each finding, in order."""
    return [(f.layer, f.condition, f.severity, f.first_step) for f in diagnoser.diagnose().findings]


def only(layers: Mapping[str, tuple[str, Iterable[Row]]], **more: Any) -> Finding:
    """The one finding there is, in layers as `watch` takes them."""
    (finding,) = watch(layers, **more).diagnose().findings
    return finding


def saturated(share: float, steps: range = range(10), **more: float) -> list[Row]:
    """Rows of a tanh with a share of its outputs at the bounds."""
    return [row(step, saturated=int(4096 * share), min=-1.0, max=1.0, **more) for step in steps]


def scaled(*scales: float, first: int = 0) -> list[Row]:
    """A row for each scale, around 0, from step `first` on."""
    return [row(first + i, mean=0.0, std=scale, within_std=scale) for i, scale in enumerate(scales)]


def signals(
    *values: float, layer_type: str = "Linear", rows: int = 10, **more: float
) -> dict[str, tuple[str, list[Row]]]:
    """A layer for each value, with so much spread between its samples."""
    return {str(i): (layer_type, [row(s, within_std=v, **more) for s in range(rows)]) for i, v in enumerate(values)}
