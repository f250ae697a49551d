"""Sweeps by a framework's own operations, which stand in where a kernel fails: on the host, against the oracle."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from on_device import COUNTS, ERROR, check, normal
from oracle import describe, nasty

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cuda import framework_sweep
from fastact.cuda.arrays import DeviceArray
from fastact.cuda.frameworks import ArrayFramework, Framework, TorchFramework
from fastact.stats.activation import wrap
from fastact.stats.channel import ChannelStats, wrap_channels

BOUNDS = (-0.99, 0.99, 0.0)
#: Sums in float64.
CLOSE = 1e-13


@pytest.fixture(params=["torch", "numpy"], scope="module")
def by(request: pytest.FixtureRequest) -> Framework:
    if request.param == "numpy":
        return ArrayFramework(np)
    return TorchFramework(pytest.importorskip("torch"), on_host=True)


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(name) if ELEMENT_TYPES[name].in_numpy else np.dtype(getattr(ml_dtypes, name))


def on_host(x: Any, name: str) -> DeviceArray:
    return DeviceArray(np.ascontiguousarray(x).view(ELEMENT_TYPES[name].storage), name, 0, 0, True)


def whole(by: Framework, x: Any, name: str, bounds: Any = BOUNDS) -> Any:
    return wrap(framework_sweep.state(by, on_host(x.reshape(-1), name), bounds), bounds)


def per_neuron(by: Framework, x: Any, name: str) -> ChannelStats:
    found = framework_sweep.sweep(by, on_host(x, name), x.shape, BOUNDS)
    return wrap_channels(found, BOUNDS, (x.shape[1],))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of NaN and Inf, where a device says nothing
@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16"])
def test_nasty_data(by: Framework, name: str) -> None:
    for what, x in nasty(dtype_of(name)).items():
        try:
            check(whole(by, x, name), x, CLOSE if name == "float64" else 1e-12)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", sorted(set(ELEMENT_TYPES) - {"float64"}))
def test_every_element_type(by: Framework, name: str) -> None:
    """All bit patterns of the narrow types, the ends of the wide ones, and a neuron of each."""
    dtype = dtype_of(name)
    if name == "bool":
        x = np.arange(64) % 3 > 0
    elif dtype.itemsize <= 2:
        x = np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}").view(dtype)
    elif dtype.kind in "iu":
        info = np.iinfo(dtype)
        x = np.concatenate([np.array([info.min, info.max, info.max - 1], dtype), np.arange(300).astype(dtype)])
    else:
        x = normal(256).astype(dtype)
    check(whole(by, x, name), x, max(CLOSE, ERROR.get(name, CLOSE)))
    x = x[: x.size // 4 * 4].reshape(-1, 4, 2) if x.size % 8 == 0 else x[:300].reshape(-1, 4, 3)
    found = per_neuron(by, x, name)
    for j in range(4):
        want = describe(x[:, j])
        for counted in COUNTS:
            assert getattr(found, counted)[j] == want[counted], (j, counted)
        for shown in ("min", "max"):
            got = getattr(found, shown)[j]
            assert got == want[shown] or (math.isnan(got) and math.isnan(want[shown]))
        if math.isfinite(want["mean"]):
            assert found.std[j] == pytest.approx(want["std"], rel=1e-12)
            assert found.mean[j] == pytest.approx(want["mean"], rel=1e-12, abs=1e-12 * want["std"])


def test_long_ones_are_swept_in_pieces(by: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    x = normal(7, 5, 11)
    want, want_total = per_neuron(by, x, "float32"), whole(by, x, "float32")
    for most in (1, 30, 60, 200):
        monkeypatch.setattr(framework_sweep, "_AT_ONCE", most)
        found = per_neuron(by, x, "float32")
        for name in (*COUNTS, "min", "max"):
            np.testing.assert_array_equal(getattr(found, name), getattr(want, name))
        for name in ("mean", "std", "abs_mean"):
            np.testing.assert_allclose(getattr(found, name), getattr(want, name), rtol=1e-12, atol=1e-12)
        assert whole(by, x, "float32").std == pytest.approx(want_total.std, rel=1e-12)
    monkeypatch.setattr(framework_sweep, "_AT_ONCE", 30)
    assert len(framework_sweep._pieces(x, x.shape)) > 7


def test_bounds_are_those_asked_for(by: Framework) -> None:
    x = np.array([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0], np.float32)
    stats = whole(by, x, "float32", (-1.0, 1.0, 0.25))
    assert (stats.saturated, stats.zeros) == (2, 2)
