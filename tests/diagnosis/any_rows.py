"""Layers of any type with rows of any numbers, so that nothing can be assumed of them."""

import math
from typing import Any

from hypothesis import strategies as st

from fastact.diagnosis import layer_types
from fastact.diagnosis.accept import Accept
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.fields import ROW
from fastact.history import LayerInfo

LAYER_TYPES = [
    "",
    "Linear",
    "Gradient",
    "Conv2d",
    "ReLU",
    "Tanh",
    "Sigmoid",
    "Dropout",
    "Flatten",
    "BatchNorm1d",
    "Softmax",
    "LogSoftmax",
    "ReLU6",
    "GELU",
    "LSTM",
    "Embedding",
    "ScaledDotProductAttention",
]


DTYPES = ["float32", "float16", "bfloat16", "float8_e4m3fn"]
dtypes = st.sampled_from(DTYPES)

counts = st.one_of(st.sampled_from([0, 1, 64, 4096, 2**62]), st.integers(0, 5000))
reals = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 1e-9, 1e5, 1e300, -1e308, 5e-324, math.inf, -math.inf, math.nan]), st.floats()
)


@st.composite
def _runs(draw: st.DrawFn, order: int) -> list[tuple[Any, ...]]:
    """Runs of equal rows of any numbers, so that conditions last."""
    rows: list[tuple[Any, ...]] = []
    step = draw(st.integers(0, 9))
    for _ in range(draw(st.integers(0, 3))):
        numbers = [draw(counts if field.dtype == "int64" else reals) for field in ROW[3:]]
        for _ in range(draw(st.integers(1, 12))):
            rows.append((step, order, 0, *numbers))
            step += draw(st.integers(1, 3)) if step % 7 == 0 else 1
    return rows


@st.composite
def layers_and_rows(draw: st.DrawFn) -> tuple[list[LayerInfo], list[list[tuple[Any, ...]]]]:
    """Up to five layers, the model's input before them now and then, each with rows of any numbers.

    Some have rows of evaluation and of their gradient too, or count how often their rows were looked up.
    """
    names = [draw(st.sampled_from(["layer", "experts."])) + str(i) for i in range(draw(st.integers(0, 5)))]
    infos: list[LayerInfo] = []

    def add(name: str, layer_type: str, **more: Any) -> None:
        infos.append(LayerInfo(name, len(infos), layer_type, draw(dtypes), **more))

    if draw(st.booleans()):
        add("input", layer_types.INPUT)
    for name in names:
        add(
            name, draw(st.sampled_from(LAYER_TYPES)), source=draw(st.sampled_from(["", *(info.name for info in infos)]))
        )
    for info in tuple(infos):
        if draw(st.integers(0, 3)) == 0:
            add(info.name + layer_types.EVALUATION_SUFFIX, info.layer_type, mode="evaluation")
        if draw(st.integers(0, 5)) == 0:
            add(info.name + layer_types.GRADIENT_SUFFIX, layer_types.GRADIENT)
        if draw(st.integers(0, 5)) == 0:
            usage = draw(st.sampled_from([layer_types.USAGE, layer_types.VOCABULARY]))
            add(info.name + layer_types.USAGE_SUFFIX, usage)
    return infos, [draw(_runs(info.order)) for info in infos]


def fill(
    infos: list[LayerInfo], rows: list[list[tuple[Any, ...]]], window_size: int, accept: Accept | None = None
) -> Diagnoser:
    diagnoser = Diagnoser(window_size, accept=accept)
    for info in infos:
        diagnoser.add(info)
    for info, mine in zip(infos, rows, strict=True):
        for one in mine:
            diagnoser.append(info.name, one)
    return diagnoser
