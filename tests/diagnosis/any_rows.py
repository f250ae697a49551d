"""Layers of any type with rows of any numbers, so that nothing can be assumed of them."""

import math
from typing import Any

from hypothesis import strategies as st

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
]

DTYPES = ["float32", "float16", "bfloat16", "float8_e4m3fn"]
dtypes = st.sampled_from(DTYPES)

counts = st.one_of(st.sampled_from([0, 1, 64, 4096, 2**62]), st.integers(0, 5000))
reals = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 1e-9, 1e5, 1e300, -1e308, 5e-324, math.inf, -math.inf, math.nan]), st.floats()
)


@st.composite
def layers_and_rows(draw: st.DrawFn) -> tuple[list[LayerInfo], list[list[tuple[Any, ...]]]]:
    """Up to five layers, each with runs of equal rows of any numbers, so that conditions last."""
    infos = [
        LayerInfo(
            f"{draw(st.sampled_from(['layer', 'experts.']))}{i}", i, draw(st.sampled_from(LAYER_TYPES)), draw(dtypes)
        )
        for i in range(draw(st.integers(0, 5)))
    ]
    rows = []
    for info in infos:
        mine: list[tuple[Any, ...]] = []
        for _ in range(draw(st.integers(0, 3))):
            numbers = [draw(counts if field.dtype == "int64" else reals) for field in ROW[3:]]
            length = draw(st.integers(1, 12))
            mine += [(len(mine) + i, info.order, 0, *numbers) for i in range(length)]
        rows.append(mine)
    return infos, rows


def fill(infos: list[LayerInfo], rows: list[list[tuple[Any, ...]]], window_size: int) -> Diagnoser:
    diagnoser = Diagnoser(window_size)
    for info in infos:
        diagnoser.add(info)
    for info, mine in zip(infos, rows, strict=True):
        for one in mine:
            diagnoser.append(info.name, one)
    return diagnoser
