"""Every owner of memory that `summarize` takes, and what it refuses."""

import array
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from oracle import check

import fastact
from fastact import summarize

SOURCES: dict[str, Callable[[Any], Any]] = {
    "torch": torch.from_numpy,
    "torch, requires grad": lambda x: torch.from_numpy(x).requires_grad_(),
    "torch parameter": lambda x: torch.nn.Parameter(torch.from_numpy(x)),
    "torch, result of a computation": lambda x: torch.from_numpy(x).requires_grad_() * 1.0,
    "torch, strided": lambda x: torch.from_numpy(np.repeat(x, 2))[::2],
    "arrow": pa.array,
    "arrow, chunked": lambda x: pa.chunked_array([x[:10], x[10:]]),
    "arrow, with nulls": lambda x: pa.concat_arrays([pa.array(x), pa.array([None] * 3, pa.float32())]),
    "memoryview": memoryview,
    "array.array": lambda x: array.array("f", x.tolist()),
    "list": lambda x: x.tolist(),
    "bytearray's view": lambda x: memoryview(bytearray(x.tobytes())).cast("f"),
    "arrow, sliced": lambda x: pa.array(np.repeat(x, 2)[:-1]).take(pa.array(range(0, 199, 2))).slice(0, 100),
    "arrow, many nulls": lambda x: pa.array([v for pair in zip(x, [None] * 100, strict=True) for v in pair]),
    "polars": lambda x: pl.Series(x),
    "polars, with nulls": lambda x: pl.Series([*x.tolist(), None], dtype=pl.Float32),
    "__array_interface__": lambda x: type("Owner", (), {"__array_interface__": x.__array_interface__, "x": x})(),
    "__dlpack__": lambda x: type(
        "Owner", (), {"__dlpack__": lambda self, **k: x.__dlpack__(**k), "__dlpack_device__": lambda self: (1, 0)}
    )(),
    "__array__": lambda x: type("Owner", (), {"__array__": lambda self, dtype=None, copy=None: x})(),
}


@pytest.mark.parametrize("source", SOURCES)
def test_sources(source: str) -> None:
    x = np.random.default_rng(1).standard_normal(100).astype(np.float32)
    owner = SOURCES[source](x)
    check(summarize(owner), x, 1e-6)
    assert summarize(owner) == summarize(owner)  # the second goes the short way, if there is one


def test_jax() -> None:
    jax = pytest.importorskip("jax", reason="JAX has no wheel for this platform")
    x = np.random.default_rng(1).standard_normal((8, 100)).astype(np.float32)
    owner = jax.numpy.asarray(x)
    check(summarize(owner), x, 1e-6)
    check(summarize(owner.T[::2]), x.T[::2], 1e-6)
    low = owner.astype("bfloat16")
    check(summarize(low), np.asarray(low).astype(np.float32), 1e-6)
    check(summarize(owner > 0), x > 0, 1e-6)
    assert summarize(owner, axis=-1).shape == (100,)
    with pytest.raises(fastact.ArgumentTypeError, match="x: got"):
        jax.jit(summarize)(owner)
    owner.delete()
    with pytest.raises(fastact.ArgumentTypeError, match="deleted"):
        summarize(owner)


def dlpack_only(x: Any, device: int = 1) -> Any:
    """An owner that speaks DLPack and nothing else."""
    members = {"__dlpack__": lambda self, **k: x.__dlpack__(**k), "__dlpack_device__": lambda self: (device, 0)}
    return type("Owner", (), members)()


LOW_PRECISION = {
    torch.bfloat16: ml_dtypes.bfloat16,
    torch.float8_e4m3fn: ml_dtypes.float8_e4m3fn,
    torch.float8_e5m2: ml_dtypes.float8_e5m2,
}


@pytest.mark.parametrize("dtype", LOW_PRECISION)
def test_low_precision_over_dlpack(dtype: torch.dtype) -> None:
    x = (torch.arange(600, dtype=torch.float32).reshape(20, 30) / 7 - 30).to(dtype)
    try:
        x.__dlpack__()
    except (BufferError, RuntimeError) as error:
        pytest.skip(f"this torch does not export it: {error}")
    for view in (x, x.T, x[3:, ::2], x[:0]):
        check(summarize(dlpack_only(view)), view.float().numpy(), 1e-6)
    owner = dlpack_only(x)
    stats = summarize(owner)
    del x  # its memory lives as long as the owner
    assert summarize(owner) == stats


def test_dlpack_of_other_kinds() -> None:
    x = np.arange(10.0)
    x.flags.writeable = False
    check(summarize(dlpack_only(x)), x, 1e-13)
    for torch_only in (torch.ones(3, dtype=torch.complex64),):
        with pytest.raises(fastact.ArgumentTypeError, match="complex64"):
            summarize(dlpack_only(torch_only))
    with pytest.raises(fastact.ArgumentValueError, match="DLPack device 10"):
        summarize(dlpack_only(x, device=10))


@pytest.mark.parametrize("typestr", ["<V2", "<f2"])
def test_the_owners_dtype_counts_not_the_protocols(typestr: str) -> None:
    x = np.linspace(-3, 3, 50).astype(ml_dtypes.bfloat16)
    interface = {**x.view(np.uint16).__array_interface__, "typestr": typestr}
    owner = type("Owner", (), {"__array_interface__": interface, "dtype": "bfloat16", "x": x})()
    check(summarize(owner), x.astype(np.float32), 1e-6)


def test_arrow_kinds() -> None:
    flags = pa.array([True, None, False, True])
    assert (summarize(flags).count, summarize(flags).zeros) == (3, 1)
    halves = pa.array(np.array([1.0, 2.0], np.float16))
    assert summarize(pa.concat_arrays([halves, pa.array([None], pa.float16())])).mean == 1.5
    assert summarize(pa.chunked_array([], pa.float32())).count == 0
    assert summarize(pa.chunked_array([pa.array([1, None]), pa.array([], pa.int64())])).max == 1
    assert summarize(pa.array([None, None], pa.float64())).count == 0
    for text in (pa.chunked_array([], pa.string()), pa.chunked_array([["a"]])):
        with pytest.raises(fastact.ArgumentTypeError, match="string"):
            summarize(text)


def test_arrow_with_nulls_is_not_copied_whole() -> None:
    x = np.arange(4_000_000, dtype=np.float32)  # 16 MB
    with_nulls = pa.array(x, mask=x % 1000 == 0)
    whole = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(whole)
    pa.set_memory_pool(pool)
    try:
        for owner in (with_nulls, pa.chunked_array([with_nulls, with_nulls])):
            stats = summarize(owner)
            assert (stats.nans, stats.min, stats.max) == (0, 1.0, x[-1])
            assert stats.count == len(owner) - owner.null_count
        assert 0 < pool.max_memory() < 4 << 20
    finally:
        pa.set_memory_pool(whole)


def test_tensors_without_memory_of_their_own() -> None:
    def summarized(x: torch.Tensor) -> torch.Tensor:
        with pytest.raises(fastact.ArgumentValueError, match="without memory to read"):
            summarize(x)
        return x.sum()

    torch.vmap(summarized)(torch.ones(3, 2))
    torch.func.grad(summarized)(torch.ones(3))
    with pytest.raises(fastact.ArgumentValueError, match="nested"):
        summarize(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged))


def test_memory_map(tmp_path: Any) -> None:
    x = np.random.default_rng(1).standard_normal(100).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    check(summarize(np.load(tmp_path / "x.npy", mmap_mode="r")), x, 1e-6)


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
        *(torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool),
    ],
)
def test_torch_dtypes(dtype: torch.dtype) -> None:
    x = (torch.arange(-50, 50).reshape(10, 10) / 7).to(dtype)
    for view in (x, x.T, x[:, ::2], x[0, 0], x[:0]):
        check(summarize(view), view.to(torch.float64 if dtype.is_floating_point else torch.int64).numpy(), 1e-6)


def test_torch_is_not_tracked_and_inference_tensors_are_read() -> None:
    x = torch.ones(10, requires_grad=True)
    y = x * 2
    version = y._version
    summarize(y)
    assert y._version == version
    y.sum().backward()
    with torch.inference_mode():
        assert summarize(torch.ones(3) * 2).mean == 2.0
    assert summarize(torch.complex(torch.ones(2), torch.ones(2)).conj().imag).mean == -1.0  # a lazy negation


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.zeros(3, np.complex64), TypeError, ["x", "complex64", "float64"]),
        (np.array(["a"]), TypeError, ["x", "<U1"]),
        (np.array([object()]), TypeError, ["x", "object"]),
        (np.zeros(3, "M8[s]"), TypeError, ["x", "datetime64"]),
        (np.zeros(3, np.longdouble), TypeError, ["x", "float128"]),
        (np.ma.masked_array([1.0], [True]), TypeError, ["x", "masked"]),
        ("text", TypeError, ["x", "str"]),
        (b"bytes", TypeError, ["x", "bytes"]),
        (None, TypeError, ["x"]),
        ({"a": 1}, TypeError, ["x"]),
        ([[1.0], [1.0, 2.0]], TypeError, ["x", "list"]),
        (torch.zeros(3, dtype=torch.complex64), TypeError, ["x", "torch.complex64"]),
        (torch.zeros(3, device="meta"), ValueError, ["x", "meta"]),
        (torch.eye(3).to_sparse(), ValueError, ["x", "sparse"]),
        (pa.array(["a"]), TypeError, ["x", "string"]),
    ],
)
def test_what_is_refused(x: Any, error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        summarize(x)
    assert isinstance(caught.value, fastact.FastactError)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*deprecated.*:UserWarning")
def test_quantised_tensors_are_refused() -> None:
    try:
        x = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)
    except RuntimeError as error:
        pytest.skip(f"this torch cannot quantise: {error}")
    with pytest.raises(fastact.ArgumentValueError, match="quantised"):
        summarize(x)
