"""`summarize` against the oracle: every dtype, every layout, nasty data, and what it refuses."""

import array
import functools
import math
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracle import describe, nasty

import fastact
from fastact import summarize
from fastact.cpu.sweep import SMALL

COUNTS = ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated")
#: Bounds of the relative error of std, and of the mean's error relative to the larger of |mean| and std.
ERROR = {"float64": 1e-13, "float32": 1e-6, "float16": 1e-6, "bfloat16": 1e-6}
FLOATS: dict[str, Any] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}


def check(stats: Any, x: Any, error: float, **options: Any) -> None:
    want = describe(np.asarray(x), **options)
    for name in COUNTS:
        assert getattr(stats, name) == want[name], name
    for name in ("min", "max"):
        assert getattr(stats, name) == want[name] or (math.isnan(stats.min) and math.isnan(want["min"])), name
    if math.isnan(want["mean"]):
        assert math.isnan(stats.mean)
        assert math.isnan(stats.std)
        return
    size = max(abs(want["mean"]), want["std"])
    assert abs(stats.mean - want["mean"]) <= error * size, (stats.mean, want["mean"])
    assert abs(stats.std - want["std"]) <= error * want["std"], (stats.std, want["std"])
    assert abs(stats.abs_mean - want["abs_mean"]) <= max(error, 1e-15) * want["abs_mean"]


@pytest.mark.parametrize(("dtype", "name"), [(dtype, name) for dtype in FLOATS for name in nasty(FLOATS[dtype])])
def test_nasty_data(dtype: str, name: str) -> None:
    x = nasty(FLOATS[dtype])[name]
    check(summarize(x), x, ERROR[dtype])


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integers(name: str) -> None:
    info = np.iinfo(name)
    x = np.random.default_rng(3).integers(info.min, info.max, 9001, dtype=name, endpoint=True)
    x[:3] = info.min, info.max, 0
    stats = summarize(x)
    check(stats, x, 1e-6 if info.bits <= 16 else 1e-13)
    assert (stats.min, stats.max) == (info.min, info.max)  # exact, where float64 would round
    assert isinstance(stats.count, int)


def test_bool() -> None:
    x = np.arange(9001) % 3 == 0
    check(summarize(x), x, 1e-6)


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_every_float8_value(dtype: Any) -> None:
    every = np.arange(256, dtype=np.uint8).view(dtype)
    check(summarize(every), every, 1e-6)
    for value in every:
        one = np.array([value])
        check(summarize(one), one, 0.0)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_every_16_bit_value(dtype: Any) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    stats = summarize(every)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        want = every.astype(np.float64)
    finite = want[np.isfinite(want)]
    assert stats.nans == np.isnan(want).sum()
    assert stats.infs == np.isinf(want).sum() == 2
    assert (stats.min, stats.max) == (finite.min(), finite.max())
    assert stats.zeros == 2
    wide = finite.astype(np.longdouble)
    assert stats.std == pytest.approx(float(np.sqrt((wide * wide).mean())), rel=1e-6)


def test_longer_than_a_chunk() -> None:
    x = np.random.default_rng(5).standard_normal(3 * SMALL + 77).astype(np.float32) + np.float32(100)
    x[SMALL + 5] = np.nan
    check(summarize(x), x, 1e-6)


def test_options() -> None:
    x = np.array([-1.0, 0.005, 0.01, 0.5, 0.99, 5.99, 6.0, np.nan, np.inf, -np.inf], np.float32)
    for saturation in [(0.01, 0.99), (-math.inf, 5.99), (0.0, 0.0), (-1e300, 1e300), (1e300, 1e300)]:
        for zero_tol in [0.0, 0.01, 1.0, 1e300]:
            stats = summarize(x, saturation=saturation, zero_tol=zero_tol)
            check(stats, x, 1e-6, saturation=saturation, zero_tol=zero_tol)
            assert (stats.saturation, stats.zero_tol) == (saturation, zero_tol)


def test_bounds_are_compared_exactly_not_rounded_to_the_dtype() -> None:
    above = np.float32(0.99)  # 0.9900000095, more than 0.99
    assert summarize(np.array([above, -above])).saturated == 2
    below = np.nextafter(above, np.float32(0))
    assert summarize(np.array([below, -below])).saturated == 0
    assert summarize(np.array([0.1], np.float32), zero_tol=0.1).zeros == 0  # float32's 0.1 is more than 0.1


def test_derived_numbers() -> None:
    x = np.array([-3.0, 0.0, 1.0, 4.0, np.nan])
    s = summarize(x)
    finite = x[:4]
    assert s.var == pytest.approx(finite.var())
    assert s.rms == pytest.approx(math.sqrt((finite**2).mean()))
    assert s.abs_mean == np.abs(finite).mean()
    assert s.absmax == 4.0
    assert (s.finite, s.zero_ratio, s.saturation_ratio) == (4, 0.2, 0.6)
    assert (s.total_elements, s.num_zeros, s.num_saturated) == (s.count, s.zeros, s.saturated)
    assert (s.min_val, s.max_val) == (s.min, s.max)
    assert fastact.compute_activation_stats is summarize


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda x: x,
    "fortran": np.asfortranarray,
    "transposed": lambda x: x.transpose(2, 0, 1),
    "reversed": lambda x: x[::-1, :, ::-1],
    "every second": lambda x: x[:, ::2],
    "inner gaps": lambda x: x[..., 1::3],
    "broadcast": lambda x: np.broadcast_to(x[:1], (3, *x.shape[1:])),
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "0-d": lambda x: x[0, 0, 0],
    "empty": lambda x: x[:, :0],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype),
    "unaligned": lambda x: np.frombuffer(b"!" + x.tobytes(), x.dtype, offset=1),
    "subclass": lambda x: x.view(np.matrix) if x.ndim == 2 else x.view(_Subclass),
    "column of a record": lambda x: _in_record(x)["x"],
}


class _Subclass(np.ndarray[Any, Any]):
    pass


def _in_record(x: Any) -> Any:
    record = np.zeros(x.size, [("pad", "u1"), ("x", x.dtype)])
    record["x"] = x.reshape(-1)
    return record


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int16", "uint64"])
def test_layouts(dtype: str, layout: str) -> None:
    x = (np.random.default_rng(0).standard_normal((6, 8, 9)) * 100).astype(dtype)
    view = LAYOUTS[layout](x)
    check(summarize(view), np.array(view, dtype), 1e-6)


def peak(work: Callable[[], Any]) -> int:
    """Bytes that NumPy and Python had at once for `work`, the second time it runs."""
    work()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_contiguous_memory_is_not_copied_in_any_axis_order() -> None:
    x = np.ones((64, 128, 256), np.float32)  # 8 MB
    for view in (x, x.T, x.transpose(1, 2, 0), x[::-1], x[:32]):
        assert peak(functools.partial(summarize, view)) < 1 << 20
    assert peak(x.copy) > 1 << 20  # the probe sees a copy


GAPS: dict[str, Callable[[Any], Any]] = {
    "one stride": lambda x: x[:, ::2],
    "part of each row": lambda x: x[:, :1500],
    "columns, reversed": lambda x: x.T[:1000, ::-2],
    "zero stride": lambda x: np.broadcast_to(x[0], x.shape),
    "big-endian": lambda x: x.view(x.dtype.newbyteorder(">")),
    "unaligned": lambda x: x.reshape(-1).view(np.uint8)[1:-3].view(np.float32).reshape(-1, 1),
}


@pytest.mark.parametrize("gaps", GAPS)
def test_what_must_be_copied_is_copied_bit_by_bit(gaps: str) -> None:
    x = np.random.default_rng(2).standard_normal((8000, 2000)).astype(np.float32)  # 64 MB
    view = GAPS[gaps](x)
    if gaps == "big-endian":
        view = x.byteswap().view(x.dtype.newbyteorder(">"))
    with np.errstate(invalid="ignore"):
        wide = view.astype(np.float64)
    wide = np.where(np.isfinite(wide), wide, np.nan)
    whole, rows = summarize(view), summarize(view, axis=-1)
    assert whole.count == rows.total.count == view.size
    assert (whole.min, whole.max) == (rows.total.min, rows.total.max) == (np.nanmin(wide), np.nanmax(wide))
    if gaps != "unaligned":  # whose bytes make numbers of any size
        assert whole.std == pytest.approx(wide.std(), rel=1e-6)
        assert rows.total.std == pytest.approx(wide.std(), rel=1e-6)
        np.testing.assert_allclose(rows.mean, wide.mean(axis=0), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(rows.std, wide.std(axis=0), rtol=1e-5)
    assert peak(lambda: summarize(view)) < 2 << 20
    assert peak(lambda: summarize(view, axis=-1)) < 16 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds what is mapped on Linux alone")
@pytest.mark.parametrize("view", ["x", "x[:, ::2]", "x.view('>f4')"])
def test_a_memory_map_larger_than_the_memory_allowed(tmp_path: Path, view: str) -> None:
    path = tmp_path / "x.bin"
    with path.open("wb") as file:  # 256 MB of zeros that no disk holds, and one 1.0
        file.truncate(1 << 28)
        file.seek(4096)
        file.write(np.array([1.0], ">f4" if "view" in view else "<f4").tobytes())
    code = f"""
import resource, numpy as np, fastact
x = np.memmap({str(path)!r}, np.float32, "r").reshape(-1, 1024)
big, x = x, x[:8192]  # what compiles, does it now: it takes more memory than is allowed
fastact.summarize({view}), fastact.summarize({view}, axis=-1)
x = big
allowed = 64 << 20
used = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + allowed, used + allowed))
try:
    np.array(x)
except MemoryError:
    print("no copy", end=" ")
s, c = fastact.summarize({view}), fastact.summarize({view}, axis=-1)
print(s.count - s.zeros, s.max, c.total.max, int((c.max == 1.0).sum()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), done.stderr) == ("no copy 1 1.0 1.0 1", "")


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


def test_the_short_way_of_tensors_refuses_and_detaches_too() -> None:
    x = torch.linspace(-2, 2, 100)
    want = summarize(x)
    assert summarize(x) == summarize(x.clone().requires_grad_()) == summarize(torch.nn.Parameter(x)) == want
    assert summarize(x.reshape(10, 10)) == want
    assert summarize(x[::2]).count == 50
    assert summarize(x[:0]).count == 0
    for dtype in (torch.float16, torch.bfloat16, torch.float8_e5m2, torch.bool):
        first = summarize(x.to(dtype))
        assert summarize(x.to(dtype)) == first
        check(first, x.to(dtype).to(torch.float32).numpy(), 1e-6)
    negated = torch.complex(torch.ones(2), torch.ones(2)).conj().imag
    assert negated.is_neg()
    assert summarize(negated).mean == -1.0
    with pytest.raises(fastact.ArgumentValueError, match="meta"):
        summarize(x.to("meta"))
    with pytest.raises(fastact.ArgumentValueError, match="sparse"):
        summarize(x.to_sparse())
    for dtype in (torch.float32, torch.float64):  # seen before, and not
        freed = torch.ones(100, dtype=dtype)
        freed.untyped_storage().resize_(0)  # as FSDP does
        with pytest.raises(fastact.ArgumentValueError, match="freed"):
            summarize(freed)


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


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"saturation": 3}, TypeError, "saturation"),
        ({"saturation": (1.0, -1.0)}, ValueError, "saturation"),
        ({"saturation": (math.nan, 1.0)}, ValueError, "saturation"),
        ({"saturation": ("a", "b")}, TypeError, "saturation"),
        ({"zero_tol": -1.0}, ValueError, "zero_tol"),
        ({"zero_tol": math.nan}, ValueError, "zero_tol"),
        ({"zero_tol": "a"}, TypeError, "zero_tol"),
        ({"axis": 2}, ValueError, "axis"),
        ({"axis": (0, 0)}, ValueError, "axis"),
        ({"axis": ()}, ValueError, "axis"),
        ({"axis": 0.5}, TypeError, "axis"),
        ({"axis": True}, TypeError, "axis"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        summarize(np.zeros((2, 2)), **options)
    assert isinstance(caught.value, fastact.FastactError)


def test_stats_are_immutable_comparable_and_picklable() -> None:
    s = summarize(np.array([1.0, np.nan]))
    for name in ("mean", "_state", "other"):
        with pytest.raises(AttributeError):
            setattr(s, name, 1)
    with pytest.raises(AttributeError):
        del s._state
    assert s == summarize(np.array([1.0, np.nan])) != summarize(np.array([1.0]))
    assert hash(s) == hash(summarize(np.array([1.0, np.nan])))
    empty = summarize(np.array([]))
    assert pickle.loads(pickle.dumps(s)) == s
    assert pickle.loads(pickle.dumps(empty)) == empty
    assert s != "stats"
    assert fastact.ActivationStats.from_state(s.state) == s


def test_no_elements() -> None:
    s = summarize(np.zeros((0, 3)))
    assert (s.count, s.zeros) == (0, 0)
    assert all(math.isnan(v) for v in (s.mean, s.std, s.min, s.max, s.absmax, s.rms, s.zero_ratio, s.saturation_ratio))


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.float16]),
        hnp.array_shapes(max_dims=3, max_side=40),
        elements={"allow_nan": True, "allow_infinity": True, "allow_subnormal": True},
    )
)
def test_any_floats(x: Any) -> None:
    check(summarize(x), x, 1e-5 if x.dtype != np.float64 else 1e-12)


def test_detect_helpers() -> None:
    x = np.array([[0.0, 1.0, 0.0], [0.0, 0.5, 2.0]])
    assert fastact.detect_dead_neurons(x) == (1, 1 / 3)
    assert fastact.detect_dead_neurons(x, threshold=0.5) == (2, 2 / 3)
    assert fastact.detect_dead_neurons(np.zeros((3, 0))) == (0, 0.0)
    assert fastact.detect_saturation(x) == (2, 1 / 3)
    assert fastact.detect_saturation(x, threshold=1.5) == (1, 1 / 6)
    assert fastact.detect_saturation(np.zeros(0)) == (0, 0.0)
    for bad in (-1.0, math.nan):
        with pytest.raises(fastact.ArgumentValueError, match="threshold"):
            fastact.detect_saturation(x, threshold=bad)
        with pytest.raises(fastact.ArgumentValueError, match="threshold"):
            fastact.detect_dead_neurons(x, threshold=bad)
