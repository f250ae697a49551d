"""`summarize` of what lies on a GPU, against the same oracle as the CPU.

The tests marked gpu run on a device where there is one, and in any case in Numba's simulator: it is chosen when
`numba.cuda` is first imported, so a process of its own runs them there.
"""

import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from oracle import describe, nasty

import fastact
from fastact import summarize, summarize_many
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cuda import arrays, device, info
from fastact.cuda import many as cuda_many
from fastact.cuda.device import INSTALLED, SIMULATED
from fastact.cuda.host import unusable

COUNTS = ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated")
FLOATS: dict[str, Any] = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
ERROR = {"float64": 1e-13, "int32": 1e-13, "uint32": 1e-13, "int64": 1e-13, "uint64": 1e-13}
#: A part of the table; tests/cuda/test_cuda_kernels.py has all of it.
NASTY = ["one", "negative zero", "offset 1e4", "outlier first", "one nan", "infs", "all nan", "huge", "denormals"]

_needs_device = pytest.mark.skipif(unusable() is not None, reason=f"{unusable()}; run in the simulator")


def on_device(test: Any) -> Any:
    # NumPy's warnings of NaN and overflow in the simulator, where a device says nothing.
    quiet = pytest.mark.filterwarnings("ignore::RuntimeWarning")
    return pytest.mark.gpu(_needs_device(quiet(test)))


def run_in_the_simulator(file: str, least: int) -> None:
    """Runs the tests marked gpu of a file, of which so many must pass, in a process of their own."""
    if SIMULATED or unusable() is None:
        pytest.skip("the tests marked gpu run in this process")
    pytest.importorskip("numba.cuda.simulator", reason="this Numba has no CUDA simulator")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", file],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= least


def test_in_the_simulator() -> None:
    run_in_the_simulator(__file__, 80)


def place() -> int:
    """A thread's number in its block, in the simulator."""
    return threading.current_thread().threadIdx.x  # type: ignore[attr-defined, no-any-return]


in_simulator = pytest.mark.skipif(not SIMULATED, reason="of the simulator alone; run there")


@pytest.mark.gpu
@in_simulator
@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_a_barrier_that_is_missing_shows_in_the_simulator(barriers: int) -> None:
    from numba import cuda

    shared, right = np.zeros(4, np.int64), []

    @cuda.jit  # type: ignore[untyped-decorator]
    def kernel() -> None:
        for turn in range(3):
            shared[place()] = turn
            if barriers > 0:
                device.barrier()
            right.append(set(shared.tolist()) == {turn})
            if barriers > 1:
                device.barrier()

    kernel[5, 4]()
    assert len(right) == 60
    assert all(right) == (barriers == 2)


@pytest.mark.gpu
@in_simulator
def test_a_thread_that_fails_ends_its_block_in_the_simulator() -> None:
    from numba import cuda

    came: list[int] = []

    @cuda.jit  # type: ignore[untyped-decorator]
    def kernel() -> None:
        device.barrier()
        came.append(place())
        if place() == 2:
            raise ZeroDivisionError("not mine")
        device.barrier()
        came.append(-1)

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="not mine"):
        kernel[9, 4]()
    assert 2 in came
    assert -1 not in came
    assert threading.active_count() == before


class OnDevice:
    """An owner of device memory that speaks `__cuda_array_interface__`, and tells its dtype."""

    def __init__(self, x: Any, view: Callable[[Any], Any] = lambda x: x, stream: int | None = None) -> None:
        self.dtype = x.dtype
        stored = x if x.dtype.kind in "fiub" else x.view(f"u{x.itemsize}")
        self.memory: Any
        if SIMULATED:  # where a device's memory is the host's
            self.memory = np.array(stored, order="K")
            address = self.memory.ctypes.data
        else:
            from numba import cuda

            self.memory = cuda.to_device(stored)
            address = self.memory.__cuda_array_interface__["data"][0]
        start, shown = stored.__array_interface__["data"][0], view(stored).__array_interface__
        self.__cuda_array_interface__ = {
            "version": 3,
            "typestr": f"<V{x.itemsize}" if stored is not x else shown["typestr"],
            "shape": shown["shape"],
            "strides": shown["strides"],
            "data": (address + shown["data"][0] - start, False),
            "stream": stream,
        }


def check(stats: Any, x: Any, error: float, **options: Any) -> None:
    want = describe(np.asarray(x), **options)
    assert [getattr(stats, name) for name in COUNTS] == [want[name] for name in COUNTS]
    if math.isnan(want["mean"]):
        assert all(math.isnan(getattr(stats, name)) for name in ("mean", "std", "abs_mean", "min", "max"))
        return
    assert (stats.min, stats.max) == (want["min"], want["max"])
    size = max(abs(want["mean"]), want["std"])
    assert abs(stats.mean - want["mean"]) <= error * size + 1e-322
    assert abs(stats.std - want["std"]) <= error * want["std"] + 1e-322
    assert abs(stats.abs_mean - want["abs_mean"]) <= max(error, 1e-15) * want["abs_mean"] + 1e-322


def normal(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).standard_normal(shape) * 3).astype(dtype)


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
def test_dlpack() -> None:
    x = normal(30, 5)
    if not SIMULATED:
        torch = pytest.importorskip("torch", reason="makes CUDA tensors")
        tensor = torch.from_numpy(x).cuda()
        check(summarize(tensor), x, 1e-6)
        check(summarize(dlpack_only(tensor, tensor.__dlpack_device__()[1])), x, 1e-6)
        check(summarize(tensor.bfloat16()), x.astype(ml_dtypes.bfloat16), 1e-6)
        return
    owner = dlpack_only(x)
    check(summarize(owner), x, 1e-6)
    assert owner.asked["stream"] == 1  # the legacy default stream, on which it is swept
    assert summarize(owner, axis=-1).shape == (5,)
    check(summarize(dlpack_only(np.arange(9))), np.arange(9), 1e-13)


def dlpack_only(x: Any, device: int = 0) -> Any:
    """An owner on a GPU that speaks DLPack and nothing else."""

    class Owner:
        def __init__(self) -> None:
            self.asked: dict[str, Any] = {}

        def __dlpack__(self, **options: Any) -> Any:
            self.asked |= options
            return x.__dlpack__() if isinstance(x, np.ndarray) else x.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, device

    return Owner()


@on_device
def test_many_in_one_launch_are_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[int] = []
    begin = cuda_many.Launch.__init__

    def counted(self: Any, xs: Any, bounds: Any) -> None:
        launched.append(len(xs))
        begin(self, xs, bounds)

    monkeypatch.setattr(cuda_many.Launch, "__init__", counted)
    xs: list[Any] = [normal(1 + 37 * i) for i in range(9)]
    xs[3] = np.full(500, np.nan, np.float32)
    xs += [normal(700, dtype=np.float64), normal(3000, dtype=ml_dtypes.bfloat16), np.arange(-9, 600), normal(2, 0)]
    owners = [OnDevice(x) for x in xs]
    owners[1] = OnDevice(normal(60), lambda x: x[23:])
    choices: list[dict[str, Any]] = [{}, {"saturation": (-math.inf, 0.5), "zero_tol": 0.1}]
    for _ in range(2):
        for options in choices:
            launched.clear()
            # What lies elsewhere goes with them, in its place.
            got = summarize_many([*owners[:5], xs[0], *owners[5:]], **options)
            assert sorted(launched) == [1, 1, 1, 9]
            assert [repr(s._state) for s in got[:5] + got[6:]] == [repr(summarize(x, **options)._state) for x in owners]
            assert got[5] == summarize(xs[0], **options)
            assert got[0].saturation == options.get("saturation", (-0.99, 0.99))
    check(summarize_many([OnDevice(xs[8])])[0], xs[8], 1e-6)
    assert summarize_many(owners[:2], axis=-1)[0] == summarize(owners[0], axis=-1)


@on_device
def test_many_of_several_streams(torch: Any) -> None:
    want, owners = [], []
    for i in range(4):
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(10_000_000)
            x = torch.full((1000 + i,), float(i), device="cuda")
            owners.append(OnDeviceTensor(x, torch.cuda.current_stream().cuda_stream))
            want.append(i)
    assert [s.mean for s in summarize_many(owners)] == want


@on_device
def test_an_error_names_which_of_many() -> None:
    owners = [OnDevice(normal(6, 8)), OnDevice(normal(6, 8), lambda x: x[:, ::2])]
    with pytest.raises(fastact.ArgumentValueError, match=r"^xs\[1\]: got elements on a GPU"):
        summarize_many(owners)


@on_device
@pytest.mark.parametrize("view", [lambda x: x[:, ::2], lambda x: np.broadcast_to(x[:1], (3, 8))])
def test_what_has_gaps_is_refused(view: Any) -> None:
    for axis in (None, -1):
        with pytest.raises(fastact.ArgumentValueError, match="contiguous"):
            summarize(OnDevice(normal(6, 8), view), axis=axis)


@on_device
@pytest.mark.parametrize(
    ("change", "words"),
    [({"typestr": ">f4"}, "byte order"), ({"typestr": "<c8"}, "Owner"), ({"mask": 1}, "masked"), ({"data": 1}, "x: ")],
)
def test_what_cannot_be_swept_is_refused(change: dict[str, Any], words: str) -> None:
    interface = {**OnDevice(normal(6)).__cuda_array_interface__, **change}
    owner = type("Owner", (), {"__cuda_array_interface__": interface})()
    with pytest.raises(fastact.ArgumentTypeError, match=words):
        summarize(owner)


@on_device
def test_extras_are_refused() -> None:
    with pytest.raises(fastact.ArgumentValueError, match=r"extras: got .* on a GPU"):
        summarize(OnDevice(normal(6)), extras="shape")


@on_device
def test_an_error_leaves_the_next_sweep_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastact.cuda.host import DeviceMemory

    owner = OnDevice(normal(60, 5))
    want = summarize(owner)
    with monkeypatch.context() as patch:
        patch.setattr(DeviceMemory, "copy_to", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            summarize(owner)
    assert summarize(owner) == want


@pytest.fixture
def torch() -> Any:
    if SIMULATED:
        pytest.skip("the simulator has no streams")
    return pytest.importorskip("torch", reason="makes CUDA tensors and streams")


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


class OnDeviceTensor:
    """A CUDA tensor's memory as another library shows it, with the stream that its elements come on."""

    def __init__(self, x: Any, stream: int) -> None:
        self.__cuda_array_interface__ = {**x[None].__cuda_array_interface__, "stream": stream}


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


@on_device
def test_the_benchmarks_reader_reads_every_packet() -> None:
    from bench.gpu.reader import NEVER, reader
    from fastact.cuda.host import stream_at

    for place in (0, 4 * 129 + 3, 4 * 700 - 1):
        x = np.zeros(4 * 700, np.float32)
        for value, found in ((1.0, 0), (NEVER, 1)):
            x[place] = value
            owner = OnDevice(x)
            out, rows = reader(owner.__cuda_array_interface__["data"][0], 700, 0, 0)(), np.empty(1, np.int64)
            out.copy_to(rows, stream_at(0, 0))
            stream_at(0, 0).synchronize()
            assert rows[0] == found


def test_a_plan_takes_each_element_once_and_no_more_blocks_than_fit() -> None:
    from fastact.cuda import kernels
    from fastact.cuda.sweep import plan

    for name, itemsize in (("float32", 4), ("bfloat16", 2), ("int64", 8), ("bool", 1)):
        for shape in [
            (1, 1, 1),
            (1000, 1, 1),
            (1 << 28, 1, 1),
            (64, 512, 49),
            (64, 512, 64),
            (8192, 4096, 1),
            (3, 70, 1),
        ]:
            for address in (1 << 20, (1 << 20) + itemsize):
                way = plan(address, name, shape, 132)
                layout, (head, edges, packets, neurons, inner, pitch, apart) = way.layout, way.numbers
                width, _ = kernels.lane_plan(ELEMENT_TYPES[name], layout)
                assert (packets * width + edges) * neurons == math.prod(shape)
                assert head <= edges <= kernels.THREADS
                assert way.groups * layout.beside >= neurons
                assert way.parts == 1 or way.groups * way.parts <= 4 * 132
                if layout.packed:
                    assert (address + head * itemsize) % 16 == 0 or not packets
                    assert layout is kernels.FLAT or pitch % 16 == apart % 16 == 0
                assert layout is kernels.FLAT or (inner * width, apart) == (shape[2], shape[2] * itemsize)
                assert pitch == apart * neurons
    assert plan(1 << 20, "float32", (1 << 28, 1, 1), 132).parts == 4 * 132


def test_without_a_device_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = type("Owner", (), {"__cuda_array_interface__": {}})()
    for axis in (None, -1):
        monkeypatch.setattr(arrays, "unusable", lambda: "the extra fastact[cuda] is not installed")
        with pytest.raises(fastact.MissingExtraError, match=r"x: got Owner on a GPU.*fastact\[cuda\].*\.cpu\(\)"):
            summarize(owner, axis=axis)
        monkeypatch.setattr(arrays, "unusable", lambda: "the CUDA driver finds no device")
        with pytest.raises(fastact.ArgumentValueError, match=r"the CUDA driver finds no device.*\.cpu\(\)"):
            summarize(dlpack_only(None), axis=axis)


def test_the_gpu_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "SIMULATED", False)
    monkeypatch.setattr(info, "_devices", lambda: ("no CUDA driver found", 0))
    extra = "is installed" if INSTALLED else "is not installed"
    assert info.gpu_line() == f"no CUDA driver found; fastact[cuda] {extra}; sweeps run on the CPU"
    monkeypatch.setattr(info, "_devices", lambda: ("1 CUDA device(s): H100", 1))
    monkeypatch.setattr(info, "unusable", lambda: None)
    assert info.gpu_line() == "1 CUDA device(s): H100; CUDA tensors are swept there"
    monkeypatch.setattr(info, "unusable", lambda: "the extra fastact[cuda] is not installed")
    assert info.gpu_line() == "1 CUDA device(s): H100; not used: the extra fastact[cuda] is not installed"


def test_work_bounds_keep_every_comparison() -> None:
    from fastact.cuda.sweep import work_bounds

    rng = np.random.default_rng(4)
    x = np.concatenate([normal(200), np.array([0, np.inf, -np.inf, 0.99, -0.99, 3.4e38, 1e-45], np.float32)])
    for bound in [0.99, -0.99, 1e300, -1e300, math.inf, -math.inf, 1e-60, 0.0, *rng.standard_normal(50)]:
        low, high, near = work_bounds((bound, bound, abs(bound)), "float16")
        wide = x.astype(np.float64)
        assert ((x < np.float32(low)) == (wide < bound)).all()
        assert ((x > np.float32(high)) == (wide > bound)).all()
        assert ((np.abs(x) <= np.float32(near)) == (np.abs(wide) <= abs(bound))).all()
        assert work_bounds((bound, bound, abs(bound)), "float64") == (bound, bound, abs(bound))
