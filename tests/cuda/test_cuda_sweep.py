"""`summarize` of what lies on a GPU, against the same oracle as the CPU."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from on_device import (
    COUNTS,
    ERROR,
    FLOATS,
    SIMULATED,
    OnDevice,
    OnDeviceTensor,
    check,
    normal,
    on_device,
)
from oracle import nasty

import fastact
from fastact import summarize
from fastact.cuda.driver import unusable

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
#: A part of the table; tests/cuda/test_cuda_kernels.py has all of it.
NASTY = ["one", "negative zero", "offset 1e4", "outlier first", "one nan", "infs", "all nan", "huge", "denormals"]


@on_device
@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("dtype", FLOATS)
def test_nasty_data(dtype: str, name: str) -> None:
    x = nasty(FLOATS[dtype])[name]
    x = x if unusable() is None and not SIMULATED else np.ascontiguousarray(x[:: max(1, x.size // 1000)])
    check(summarize(OnDevice(x)), x, ERROR.get(dtype, 1e-6))


@on_device
@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name: str) -> None:
    ends = np.iinfo(name)
    x = np.random.default_rng(3).integers(ends.min, ends.max, 1001, dtype=name, endpoint=True)
    x[:3] = ends.min, ends.max, 0
    stats = summarize(OnDevice(x))
    check(stats, x, ERROR.get(name, 1e-6))
    assert (stats.min, stats.max) == (ends.min, ends.max)  # exact, where float64 would round


@on_device
@pytest.mark.parametrize("dtype", [bool, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_8_bits(dtype: Any) -> None:
    x = np.arange(256) % 3 == 0 if dtype is bool else np.arange(256, dtype=np.uint8).view(dtype)
    check(summarize(OnDevice(x)), x, 1e-6)


@on_device
def test_options_are_compared_exactly_not_rounded_to_the_dtype() -> None:
    x = np.array([-1.0, 0.005, 0.01, 0.5, 0.99, 5.99, 6.0, np.nan, np.inf, -np.inf], np.float32)
    for saturation in [(0.01, 0.99), (-math.inf, 5.99), (0.0, 0.0), (-1e300, 1e300), (1e300, 1e300)]:
        for zero_tol in [0.0, 0.01, 1e300]:
            stats = summarize(OnDevice(x), saturation=saturation, zero_tol=zero_tol)
            check(stats, x, 1e-6, saturation=saturation, zero_tol=zero_tol)
            assert (stats.saturation, stats.zero_tol) == (saturation, zero_tol)
    assert summarize(OnDevice(np.array([0.1], np.float32)), zero_tol=0.1).zeros == 0  # float32's 0.1 is more than 0.1


VIEWS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda x: x,
    "from the second element": lambda x: x.reshape(-1)[1:],
    "transposed": lambda x: x.transpose(2, 0, 1),
    "reversed": lambda x: x[::-1, :, ::-1],
    "some rows": lambda x: x[2:4],
    "0-d": lambda x: x[0, 0, :1].reshape(()),
    "empty": lambda x: x[:, :0],
}


@on_device
@pytest.mark.parametrize("view", VIEWS)
def test_views(view: str) -> None:
    x = normal(6, 8, 9)
    check(summarize(OnDevice(x, VIEWS[view])), VIEWS[view](x), 1e-6)


@on_device
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((60, 11), -1),
        ((60, 11), 0),
        ((3, 5, 4, 4), 1),
        ((3, 5, 3, 3), 1),
        ((2, 3, 4), (0, 2)),
        ((7, 1), 1),
        ((3, 0), -1),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64"])
def test_per_neuron(shape: tuple[int, ...], axis: Any, dtype: str) -> None:
    x = normal(*shape, dtype=FLOATS.get(dtype, dtype))
    if axis == (0, 2):  # neurons that are no neighbours in memory
        with pytest.raises(fastact.ArgumentValueError, match="contiguous"):
            summarize(OnDevice(x), axis=axis)
        return
    got, want = summarize(OnDevice(x), axis=axis), summarize(x, axis=axis)
    assert got.shape == want.shape
    for name in (*COUNTS, "min", "max"):
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
        assert getattr(got, name).dtype == getattr(want, name).dtype
        np.testing.assert_equal(getattr(got.total, name), getattr(want.total, name))
    for name in ("mean", "std", "abs_mean"):
        np.testing.assert_allclose(getattr(got, name), getattr(want, name), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(getattr(got.total, name), getattr(want.total, name), rtol=1e-6, atol=1e-6)


@on_device
def test_bit_for_bit_the_same_each_time() -> None:
    x = normal(60, 40)
    owner = OnDevice(x)
    assert summarize(owner) == summarize(owner)
    assert summarize(owner, axis=-1) == summarize(owner, axis=-1)


@on_device
def test_an_error_leaves_the_next_sweep_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastact.cuda.driver import DeviceMemory

    owner = OnDevice(normal(60, 5))
    want = summarize(owner)
    with monkeypatch.context() as patch:
        patch.setattr(DeviceMemory, "copy_to", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            summarize(owner)
    assert summarize(owner) == want


@on_device
def test_the_callers_stream_is_waited_for(torch: Any) -> None:
    x = torch.zeros(1 << 20, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(100_000_000)
        x.fill_(3.0)
        assert summarize(x).mean == 3.0
        torch.cuda._sleep(100_000_000)
        x.fill_(4.0)
        assert summarize(OnDeviceTensor(x, torch.cuda.current_stream().cuda_stream), axis=-1).total.mean == 4.0


@on_device
def test_threads_and_streams_do_not_mix(torch: Any) -> None:
    def work(i: int) -> bool:
        with torch.cuda.stream(torch.cuda.Stream()):
            x = torch.full((1000 + i, 64), float(i), device="cuda")
            return all(
                summarize(x).mean == i and (summarize(x, axis=-1).mean == i).all() and summarize(x).count == x.numel()
                for _ in range(50)
            )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))
