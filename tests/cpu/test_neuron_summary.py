"""What a row says of its neurons, by definition and by hand."""

import math
from typing import Any

import numpy as np
import pytest

from fastact import summarize
from fastact.fields import STATE
from fastact.stats.activation import as_logged


def _neurons(x: Any, *, silence: Any, **options: Any) -> tuple[Any, ...]:
    """The numbers of `fields.NEURON`: from the memory of a sweep and from its arrays, which must agree."""
    stats = summarize(x, axis=-1)
    before = silence.copy()
    numbers = stats.numbers(silence=silence, weight=1, **options)
    assert stats.mean.size == silence.size  # what was in memory is arrays from now on
    again = stats.numbers(silence=before, weight=1, **options)
    assert numbers == pytest.approx(again, rel=0, abs=0, nan_ok=True)
    assert [type(number) for number in numbers] == [type(number) for number in again]
    assert before.tolist() == silence.tolist()
    assert numbers[: len(STATE)] == pytest.approx(as_logged(stats.total.state), rel=0, abs=0, nan_ok=True)
    return numbers[len(STATE) :]


def test_the_weights_of_silent_rows_are_summed() -> None:
    silence = np.zeros(3, np.int64)
    options: Any = {"saturated_share": 0.95, "silence": silence}
    x = np.zeros((100, 3))
    x[:, 1] = 2.0
    x[:, 2] = np.arange(100)
    first = _neurons(x, **options, dead_after=1)
    assert first[:5] == (3, 1, 1, 2, 1)  # neurons, silent, dead, saturated (1 and most of 2), constant
    assert first[5] == pytest.approx(math.sqrt(np.arange(100).var() / 3))
    assert _neurons(x, **options, dead_after=3)[2] == 0
    assert _neurons(x, **options, dead_after=3)[2] == 1
    x[:50, 0] = 1.0
    assert _neurons(x, **options, dead_after=1)[1:3] == (0, 0)
    assert silence.tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint64", "int8"])
@pytest.mark.parametrize("neurons", [1, 3, 70, 1000])
def test_finds_the_largest_neuron_and_the_typical_one(dtype: str, neurons: int) -> None:
    rng = np.random.default_rng(neurons)
    with np.errstate(all="ignore"):
        x = (rng.standard_normal((9, neurons)) * 10.0 ** rng.integers(-2, 3, neurons)).astype(dtype)
    x[:, 1::4] = 0
    if x.dtype.kind == "f":
        x[3:, ::7], x[:, 2::9], x[4, 5::6] = np.nan, np.inf, -np.inf
    elif dtype != "int8":
        x[2, -1] = np.iinfo(dtype).min or np.iinfo(dtype).max
    check_peaks(x)


@pytest.mark.parametrize("scale", [1e-310, 1e-300, 1e-160, 1e-20, 1.0, 1e20, 1e160, 1e300])
def test_peaks_out_of_range(scale: float) -> None:
    x = np.random.default_rng(0).uniform(0.5, 1.0, (4, 333)) * scale
    check_peaks(x)
    x[:, 100:200] = 3e5
    check_peaks(x)


def check_peaks(x: Any) -> None:
    """`peak_neuron` and `typical_peak` of a matrix, by their definitions, in Python's own numbers."""
    columns = [[abs(float(v)) for v in column if math.isfinite(v)] for column in x.T.tolist()]
    peaks = [max(column) if column else None for column in columns]
    known = [peak for peak in peaks if peak is not None]
    want = peaks.index(max(known)) if known else -1
    logs = [math.log(peak) for peak in known if peak]
    got = _neurons(x, saturated_share=0.95, silence=np.zeros(x.shape[1], np.int64), dead_after=1)[6:]
    typical = math.exp(math.fsum(logs) / len(logs)) if logs else math.nan
    assert got[0] == want
    assert got[1] == pytest.approx(typical, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("x", "want"),
    [
        ([[1.0, -2.0, 2.0]], (1, 4.0 ** (1 / 3))),  # the first of equals
        ([[0.0, 0.0]], (0, math.nan)),
        ([[math.nan, math.inf]], (-1, math.nan)),
        ([[math.nan, 0.0, -8.0, 2.0]], (2, 4.0)),
    ],
)
def test_peaks_by_hand(x: list[list[float]], want: tuple[int, float]) -> None:
    options: Any = {"saturated_share": 0.95, "silence": np.zeros(len(x[0]), np.int64)}
    got = _neurons(np.array(x), **options, dead_after=1)[6:]
    assert got[0] == want[0]
    assert got[1] == pytest.approx(want[1], nan_ok=True)
