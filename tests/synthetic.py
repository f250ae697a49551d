"""Rows as a monitor would make them, from the few numbers that a test is about."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastact.diagnosis.accept import Accept
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.layer_types import BASELINE, EVALUATION_SUFFIX, LOSS, TARGET
from fastact.diagnosis.rules import Thresholds
from fastact.fields import COPY, NEURON, ROW
from fastact.history import LayerInfo, Mode

Row = tuple[Any, ...]

#: A healthy layer's row: 64 samples of 64 neurons around 0, no zeros, nothing saturated, no neuron that stands out.
HEALTHY = {
    "count": 4096, "mean": 0.1, "std": 1.0, "abs_mean": 0.8, "min": -3.0, "max": 3.0, "neurons": 64, "within_std": 0.9,
    "peak_neuron": 7,
}  # fmt: skip

#: What a row holds of its neurons where there are none.
NO_NEURONS: dict[str, Any] = {field.name: field.nothing for field in NEURON + COPY}


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


def loss_rows(
    function: str,
    prediction: Mapping[str, Any],
    target: Mapping[str, Any],
    output: tuple[str, Mapping[str, float]] = ("Linear", {}),
    *,
    framework: str = "torch",
    steps: int = 3,
    values: Sequence[float] = (),
    constant: float | None = None,
    known: Mapping[str, Any] | None = None,
    before: Mapping[str, tuple[str, str]] | None = None,
    own: Mapping[str, Any] | None = None,
) -> Diagnoser:
    """What a loss is known to compare: a hidden layer, an output layer, the loss, its targets and its baseline.

    Args:
        function: the loss function; "" for one that is not known.
        prediction: the facts of the predictions, of which `units` and `sums_to_one` follow from the others.
        target: the facts of the targets, and under "rows" the numbers of its rows.
        output: the type of the layer "out", and the numbers of its rows.
        framework: that of the loss.
        steps: how many rows there are.
        values: the loss in each step; 1 where there are fewer.
        constant: what the best constant answer comes to.
        known: more facts of the loss.
        before: the layers before the output, each with its type and its source; by default a ReLU.
        own: facts of the output layer.
    """
    diagnoser = Diagnoser()
    shape = list(prediction.get("shape", ()))
    facts = {"units": shape[-1] if len(shape) > 1 else 1, "sums_to_one": False, "exp_sums_to_one": False, **prediction}
    facts = facts if shape else {}
    given = {"function": function, "spelled": function, "framework": framework, "prediction": facts, **(known or {})}
    kind, numbers = output
    of_target = {name: value for name, value in target.items() if name != "rows"}
    layers = dict(before if before is not None else {"act": ("ReLU", "")})
    infos = [LayerInfo(name, i, of, "float32", source=source) for i, (name, (of, source)) in enumerate(layers.items())]
    place = len(infos)
    last = infos[-1].name if infos else ""
    infos += [
        LayerInfo("out", place, kind, "float32", source=last if before is not None else "", facts=own or {}),
        LayerInfo("loss:target", place + 1, TARGET, saturation=(0.0, 1.0), facts=of_target),
        LayerInfo("loss", place + 2, LOSS, source="out", facts=given),
    ]
    if constant is not None:
        infos.append(LayerInfo("loss:baseline", place + 3, BASELINE))
    for info in infos:
        diagnoser.add(info)
    count = math.prod(shape) if shape else 96
    for step in range(steps):
        for name in layers:
            diagnoser.append(name, row(step, zeros=1800))
        wide = len(shape) != 1
        ours = {"count": count, "neurons": shape[-1] if shape else 3, "min": -2.0, "max": 2.0, **numbers}
        diagnoser.append("out", row(step, **ours) if wide else plain(step, **ours))
        rows = {"count": math.prod(of_target.get("shape", (64,))), "min": 0.0, "max": 1.0, "mean": 0.5, "std": 0.5,
                **target.get("rows", {})}  # fmt: skip
        diagnoser.append("loss:target", plain(step, **{"abs_mean": abs(rows["mean"]), **rows}))
        value = values[step] if step < len(values) else 1.0
        one = {"count": 1, "std": 0.0}
        diagnoser.append("loss", plain(step, mean=value, abs_mean=abs(value), min=value, max=value, **one))
        if constant is not None:
            diagnoser.append("loss:baseline", plain(step, mean=constant, min=constant, max=constant, **one))
    return diagnoser
