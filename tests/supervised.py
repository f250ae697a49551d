"""Rows of a loss with its targets and its constant answer, of parameters and of an optimiser, from few numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from synthetic import Row, plain

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.layer_types import GRADIENT_SUFFIX, UPDATE_SUFFIX
from fastact.history import LayerInfo

Given = dict[str, tuple[LayerInfo, list[Row]]]

LN10 = math.log(10.0)


def values(numbers: Iterable[float], stride: int = 1) -> list[Row]:
    """A row of one number each, as those of a loss; NaN and Inf are counted."""
    rows = []
    for step, x in enumerate(numbers):
        known = {"mean": x, "std": 0.0, "abs_mean": abs(x), "min": x, "max": x}
        if not math.isfinite(x):
            known = {"nans": int(math.isnan(x)), "pos_infs": int(x == math.inf), "mean": math.nan, "std": math.nan}
        rows.append(plain(step * stride, **{"count": 1, "zeros": int(x == 0.0), "typical_peak": math.nan, **known}))
    return rows


def noisy(levels: Sequence[float] | np.ndarray[Any, Any], share: float = 0.03, seed: int = 0) -> list[float]:
    """Losses around these levels, as batches have them."""
    level = np.asarray(levels, float)
    noise = np.random.default_rng(seed).normal(0.0, share, len(level))
    return [float(x) for x in level * (1.0 + noise)]


def loss(
    numbers: Sequence[float], constant: float | None = LN10, *, function: str = "cross_entropy", name: str = "loss",
    batch: int = 64, targets: Mapping[str, float] | None = None, stride: int = 1,
) -> Given:  # fmt: skip
    """A loss, its targets, and what the best constant answer gets (no such row where that is None)."""
    facts = {"function": function, "spelled": function}
    given: Given = {name: (LayerInfo(name, 0, "Loss", "float64", facts=facts), values(numbers, stride))}
    if constant is not None:
        like = {"count": batch, "mean": 4.5, "std": 2.9, "min": 0.0, "max": 9.0, **(targets or {})}
        rows = [plain(step * stride, **like) for step in range(len(numbers))]
        given[f"{name}:target"] = LayerInfo(f"{name}:target", 0, "Target", "int64", facts={"shape": [batch]}), rows
        given[f"{name}:baseline"] = (
            LayerInfo(f"{name}:baseline", 0, "Baseline"),
            values([constant] * len(numbers), stride),
        )
    return given


def parameter(
    name: str, *, rows: int = 10, weight: float = 0.1, gradient: float | None = 1e-3, update: float | None = 1e-4,
    growth: float = 1.0, **facts: Any,
) -> Given:  # fmt: skip
    """A weight matrix with its gradient and its update, by their root mean squares; None leaves a row out."""
    known = {"trainable": True, "optimiser": True, "shape": [8, 4], "elements": 32, **facts}
    given: Given = {}
    parts = (
        ("", "Parameter", weight),
        (GRADIENT_SUFFIX, "ParameterGradient", gradient),
        (UPDATE_SUFFIX, "Update", update),
    )
    for suffix, layer_type, size in parts:
        if size is not None:
            moved = 1e-7 if suffix == "" and update else 0.0  # what is updated is not the same any more
            powers = [step / rows if suffix == UPDATE_SUFFIX else 0.0 for step in range(rows)]
            varies = (
                0.1 if suffix == GRADIENT_SUFFIX else 0.0
            )  # no norm is the same in each step unless it is cut to one
            grown = [size * growth**p * (1.0 + moved * step + varies * (step % 3)) for step, p in enumerate(powers)]
            given[name + suffix] = (
                LayerInfo(name + suffix, 0, layer_type, "float32", facts=known),
                [plain(s, count=32, zeros=0 if x else 32, mean=0.0, std=x, min=-x, max=x) for s, x in enumerate(grown)],
            )
    return given


def optimiser(rate: float = 1e-3, rows: int = 10, **facts: Any) -> Given:
    """An optimiser's learning rates."""
    known = {"function": "Adam", "parameters": 2, "trainable": 2, **facts}
    return {"optimiser": (LayerInfo("optimiser", 0, "Optimiser", "float64", facts=known), values([rate] * rows))}


def layer(name: str, rows: Sequence[Row], layer_type: str = "Linear", source: str = "", **facts: Any) -> Given:
    """A layer of the network, and the layer whose output it is given."""
    return {name: (LayerInfo(name, 0, layer_type, "float32", source=source, facts=facts), list(rows))}


def seen(*parts: Given, unseen: Mapping[str, str] | None = None, window_size: int = 100) -> Diagnoser:
    """A diagnoser that has seen all of these, in this order."""
    diagnoser = Diagnoser(window_size)
    for order, (info, rows) in enumerate(each for part in parts for each in part.values()):
        fields = {name: getattr(info, name) for name in ("name", "layer_type", "dtype", "mode", "source", "facts")}
        diagnoser.add(LayerInfo(order=order, **fields))
        for row in rows:
            diagnoser.append(info.name, row)
    diagnoser.unseen = dict(unseen or {})
    return diagnoser
