"""Estimates from drawn samples: unbiased, and their standard errors never too small."""

import math

import numpy as np
import pytest

from fastact import summarize
from fastact._adapters.drawing import Drawing
from fastact.errors import ArgumentValueError
from fastact.estimates import COUNTS, MOMENTS, estimate, share_swept
from fastact.fields import COLUMN, ROW, ROW_DTYPE
from fastact.history import LayerHistory, LayerInfo

BATCH = 80


def rows_of(x: np.ndarray, steps: int) -> np.ndarray:
    """The rows of draws from one batch, by a sweep of what was drawn."""
    drawing, rows = Drawing(0.1), np.zeros(steps, ROW_DTYPE)
    for step in range(steps):
        part = x[drawing.samples(step, 0, len(x))]
        total = summarize(part).state
        rows[step] = tuple({"step": step}.get(field.name, 0) for field in ROW)
        for name, value in zip(list(COLUMN)[3:], total, strict=False):
            rows[step][name] = value
        rows["within_std"][step] = np.sqrt(part.astype(float).var(axis=0).mean())
        rows["drawn"][step], rows["left_out"][step] = len(part), x.size - part.size
    return rows


def samples(kind: str) -> np.ndarray:
    random = np.random.default_rng(5)
    if kind == "apart":  # elements of a sample have nothing in common
        return np.maximum(random.standard_normal((BATCH, 20)), 0.0)
    common = random.standard_normal((BATCH, 1)) + 0.3
    x = np.repeat(np.maximum(common, 0.0), 20, axis=1)  # and here everything
    return x if kind == "together" else np.sort(x, axis=0)


@pytest.mark.parametrize("kind", ["apart", "together", "sorted"])
@pytest.mark.parametrize("name", [*COUNTS, *MOMENTS])
def test_estimates_vary_by_no_more_than_their_errors_say(name: str, kind: str) -> None:
    x = samples(kind)
    rows, whole = rows_of(x, 1000), summarize(x)
    value, error = estimate(rows, name)
    want = dict(zip((*COUNTS, *MOMENTS), whole.state, strict=False))[name]
    slack = 0.04 * abs(want) if name == "std" else 1e-9 * whole.count
    if name == "std":  # its square lacks one part in as many as samples were drawn, where their elements move together
        assert (1.0 - 1.0 / rows["drawn"][0]) * want**2 <= (value**2).mean() <= 1.001 * want**2
    else:
        assert value.mean() == pytest.approx(want, abs=slack)
    assert value.std() <= 1.03 * np.sqrt((error**2).mean()) + slack
    if kind == "together" and name in ("zeros", "mean"):  # where the bound is the error
        assert value.std() > 0.85 * np.sqrt((error**2).mean())


def test_what_was_swept_whole_is_exact() -> None:
    x = samples("apart")
    row = dict(zip((*COUNTS, *MOMENTS, "min", "max"), summarize(x).state, strict=True))
    row |= {"drawn": 0, "left_out": 0, "within_std": math.nan}
    for name in (*COUNTS, *MOMENTS):
        assert estimate(row, name) == (row[name], 0.0)


def test_of_one_sample_no_error_is_known() -> None:
    row = {"count": 10, "left_out": 90, "drawn": 1, "zeros": 5}
    value, error = estimate(row, "zeros")
    assert value == 50.0
    assert math.isinf(error)


def test_a_history_has_estimates_by_row() -> None:
    layer = LayerHistory(LayerInfo("act", 0), 10)
    for row in rows_of(samples("apart"), 4).tolist():
        layer.append(row)
    value, error = layer.estimate("zeros")
    assert value == pytest.approx(layer["zeros"] * 10.0)
    assert (error > 0.0).all()
    assert share_swept(layer.rows) == 0.1
    with pytest.raises(ArgumentValueError, match="name: got 'max', want one of count, nans"):
        layer.estimate("max")
