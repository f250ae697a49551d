"""Sweeps on a device: `summarize`, its kernel alone, a copy, a bare read, and the same numbers from others."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console

import fastact
from bench.gpu.clock import Clock, about, compare
from bench.gpu.reader import reader
from bench.run import Benchmark
from bench.tables import gpu_table
from fastact.benchmark.peers import NUMBERS, torch_numbers

__all__ = ["NEURONS", "WHOLE", "Data", "bare", "contestants", "cupy_numbers", "neurons", "row", "truth", "whole"]

LIMIT = 0.99
#: Elements that are widened to float64 at a time.
CHUNK = 1 << 26
ROUNDS = 15
#: 1 KiB to 4 GiB of float32, and what models compute in.
SIZES = [*((1 << power, "float32") for power in range(10, 33, 2)), (1 << 28, "bfloat16"), (1 << 30, "bfloat16")]
QUICK_SIZES = [(1 << 10, "float32"), (1 << 20, "float32"), (1 << 20, "bfloat16")]
#: Activations of transformers, [tokens, neurons] or [batch, positions, neurons], and images.
SHAPES = [
    ((16_384, 4_096), -1),
    ((65_536, 1_024), -1),
    ((8, 1_024, 768), -1),
    ((64, 256, 56, 56), 1),
    ((64, 512, 7, 7), 1),
]
QUICK_SHAPES = [((256, 128), -1), ((4, 8, 7, 7), 1)]


class Data(NamedTuple):
    """A tensor of standard normal values, one in eleven zero, none so near ±LIMIT that rounding would decide.

    Attributes:
        x: it.
        axis: of the neurons; None for the whole tensor.
    """

    x: torch.Tensor
    axis: int | None

    @classmethod
    def make(cls, shape: Sequence[int], dtype: str, axis: int | None, device: str) -> "Data":
        """Fills a tensor of this shape and dtype."""
        torch.manual_seed(1)
        x = torch.randn(*shape, device=device, dtype=getattr(torch, dtype))
        x.view(-1)[::11] = 0
        for chunk in x.view(-1).split(CHUNK):
            chunk[(chunk.abs() - LIMIT).abs() < 0.01] = 0
        return cls(x, axis)

    @property
    def others(self) -> tuple[int, ...] | None:
        """The axes to reduce over; None for the whole tensor."""
        if self.axis is None:
            return None
        return tuple(i for i in range(self.x.ndim) if i != self.axis % self.x.ndim)

    @property
    def reduced(self) -> int:
        """How many elements each number is computed from."""
        return self.x.numel() // (1 if self.axis is None else self.x.shape[self.axis])


def truth(data: Data) -> dict[str, Any]:
    """The numbers of `NUMBERS`, computed in float64 in two passes, on the device."""
    if data.axis is None:
        chunks = data.x.view(-1, 1).split(CHUNK)
    else:
        neurons = data.x.movedim(data.axis, -1).reshape(-1, data.x.shape[data.axis])
        chunks = neurons.split(max(1, CHUNK // neurons.shape[1]))
    mean = sum(chunk.double().sum(0) for chunk in chunks) / data.reduced
    moment = sum((chunk.double() - mean).square().sum(0) for chunk in chunks)
    found = {
        "zeros": sum((chunk == 0).sum(0) for chunk in chunks),
        "mean": mean,
        "std": (moment / data.reduced).sqrt(),
        "min": torch.stack([chunk.amin(0) for chunk in chunks]).amin(0).double(),
        "max": torch.stack([chunk.amax(0) for chunk in chunks]).amax(0).double(),
        "saturated": sum((chunk.abs() > LIMIT).sum(0) for chunk in chunks),
        "nans": torch.zeros_like(mean),
        "infs": torch.zeros_like(mean),
    }
    return {name: value.cpu().numpy() for name, value in found.items()}


def cupy_numbers(cupy: Any, x: Any, axis: tuple[int, ...] | None) -> tuple[Any, ...]:
    """The same numbers from CuPy, in the order of `torch_numbers`; from NumPy as well."""
    return (
        cupy.count_nonzero(x, axis=axis),
        cupy.var(x, axis=axis),
        cupy.mean(x, axis=axis),
        cupy.min(x, axis=axis),
        cupy.max(x, axis=axis),
        cupy.count_nonzero(cupy.abs(x) > LIMIT, axis=axis),
        cupy.count_nonzero(cupy.isnan(x), axis=axis),
        cupy.count_nonzero(cupy.isinf(x), axis=axis),
    )


def _named(data: Data, got: Any) -> dict[str, Any]:
    """What a call returned, by name, on the host."""
    if isinstance(got, fastact.ActivationStats | fastact.ChannelStats):
        return {name: np.asarray(getattr(got, name)) for name in NUMBERS}
    numbers = [number.double().cpu().numpy() if isinstance(number, torch.Tensor) else _host(number) for number in got]
    nonzero, var, mean, low, high, saturated, nans, infs = numbers
    values = (data.reduced - nonzero, mean, np.sqrt(var), low, high, saturated, nans, infs)
    return dict(zip(NUMBERS, values, strict=True))


def _host(x: Any) -> Any:
    return x.get() if hasattr(x, "get") else np.asarray(x)


def contestants(data: Data) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """Who gives the numbers, warm and checked, and by how many parts of std a mean or std of theirs is off.

    Raises:
        SystemExit: a count, a minimum or a maximum is wrong, or any number of fastact's.
    """
    x, axis, dim = data.x, data.axis, data.others
    torch._dynamo.reset()
    compiled = torch.compile(torch_numbers, fullgraph=True, dynamic=False)
    calls: dict[str, Callable[[], Any]] = {
        "fastact": lambda: fastact.summarize(x, axis=axis),
        "fallback": _fallback(x, axis),
        "torch": lambda: torch_numbers(x, dim, LIMIT),
        "compile": lambda: compiled(x, dim, LIMIT),
    }
    cupy = _cupy(x)
    if cupy is not None:
        array = cupy.from_dlpack(x)
        calls["cupy"] = lambda: cupy_numbers(cupy, array, dim)
    want = truth(data)
    off: dict[str, float] = {}
    tolerance = 1e-5 if x.dtype == torch.float32 else 1e-2
    for name, call in calls.items():
        for number, value in _named(data, call()).items():
            error = float(np.max(np.abs(np.asarray(value, np.float64) - want[number]), initial=0.0))
            if number in ("mean", "std"):
                error /= float(np.min(want["std"]))
                if error > tolerance and name != "fastact":
                    off[name] = max(error, off.get(name, 0.0))
                    continue
            if error > (tolerance if number in ("mean", "std") else 0):
                raise SystemExit(f"{name}: {number} of {tuple(x.shape)} {x.dtype} is off by {error:.3g}")
    return calls, off


def _fallback(x: torch.Tensor, axis: int | None) -> Callable[[], Any]:
    """`summarize` by torch's own operations, as where a kernel has not proven itself."""
    from fastact.arrays.shapes import channel_view
    from fastact.cuda import framework_sweep
    from fastact.cuda.arrays import DeviceArray, device_array
    from fastact.cuda.frameworks import TorchFramework
    from fastact.stats.activation import wrap
    from fastact.stats.channel import wrap_channels

    by = TorchFramework(torch, on_host=not x.is_cuda)
    name = str(x.dtype).removeprefix("torch.")
    if x.is_cuda:
        found = device_array(x)
    else:
        stored = x if name != "bfloat16" else x.view(torch.uint16)
        found = DeviceArray(stored.numpy(), name, 0, 0, True)
    bounds = (-LIMIT, LIMIT, 0.0)
    if axis is None:
        flat = found._replace(array=found.array.reshape(-1))
        return lambda: wrap(framework_sweep.state(by, flat, bounds), bounds)
    view, shape = channel_view(found.array, axis)
    assert view is not None
    outer, neurons, inner = view.shape
    seen = found._replace(array=view)
    return lambda: wrap_channels(framework_sweep.sweep(by, seen, (outer, neurons, inner), bounds), bounds, shape)


def _cupy(x: torch.Tensor) -> Any:
    # It has no bfloat16, and no CPU.
    if not x.is_cuda or x.dtype == torch.bfloat16:
        return None
    try:
        return importlib.import_module("cupy")
    except ImportError:
        return None


def bare(data: Data) -> dict[str, Callable[[], Any]]:
    """What the device itself takes: a copy of the bytes, a read of them, and fastact's kernel without the way back."""
    x, axis = data.x, data.axis
    other = torch.empty_like(x)
    calls: dict[str, Callable[[], Any]] = {"copy": lambda: other.copy_(x)}
    if x.is_cuda:
        stream = torch.cuda.current_stream(x.device).cuda_stream
        read = reader(x.data_ptr(), x.numel() * x.element_size() // 16, x.device.index, stream)
        calls |= {"read": read, "kernel": _kernel(x, axis)}
    return calls


def _kernel(x: torch.Tensor, axis: int | None) -> Callable[[], None]:
    from fastact.arrays.shapes import channel_view
    from fastact.cuda.arrays import device_array
    from fastact.cuda.driver import active
    from fastact.cuda.sweep import launch
    from fastact.cuda.workspace import Workspace
    from fastact.stats.options import DEFAULT_BOUNDS

    found = device_array(x)
    shape = (x.numel(), 1, 1)
    if axis is not None:
        view, _ = channel_view(found.array, axis)
        assert view is not None
        outer, neurons, inner = view.shape
        shape = (outer, neurons, inner)
    workspace = Workspace()

    def call() -> None:
        with active(found.device):
            launch(workspace, found, shape, DEFAULT_BOUNDS)

    return call


def row(data: Data, rounds: int) -> dict[str, Any]:
    """How long everyone takes for one tensor."""
    calls, off = contestants(data)
    calls |= bare(data)
    clock = Clock(data.x.device.type)
    times = compare(clock, calls, rounds, base="kernel" if "kernel" in calls else "fastact")
    return {
        "shape": list(data.x.shape),
        "axis": data.axis,
        "dtype": str(data.x.dtype).removeprefix("torch."),
        "bytes": data.x.numel() * data.x.element_size(),
        "off": off,
        **times,
    }


#: What each contestant runs, for the page beside the results.
ASKED = {
    "summarize": "summarize(x), which waits for the answer",
    "kernel": "its kernel alone, launched again and again without waiting; GB/s and ratios are of this",
    "read": "a kernel that loads the bytes, 16 at a time, and adds them up",
    "copy": "torch's y.copy_(x) on the device, which reads and writes: twice the bytes",
    "fallback": "the same by torch's own operations, which stands in where a kernel fails; waits for the answer",
    "torch, compile, cupy": "the same numbers, left on the device: no waiting for the host",
}


def whole(device: str, sizes: Sequence[tuple[int, str]], rounds: int, step: Callable[[str], None]) -> dict[str, Any]:
    """Whole tensors: one row for each size in bytes and dtype."""
    rows = []
    for nbytes, dtype in sizes:
        step(f"{nbytes:,} bytes of {dtype}")
        elements = nbytes // getattr(torch, dtype).itemsize
        rows.append(row(Data.make((elements,), dtype, None, device), rounds))
    return {"gpu": about(device), "asked": ASKED, "rounds": rounds, "rows": rows}


def neurons(
    device: str, shapes: Sequence[tuple[tuple[int, ...], int]], rounds: int, step: Callable[[str], None]
) -> dict[str, Any]:
    """Per neuron: one row for each shape and dtype."""
    rows = []
    for shape, axis in shapes:
        for dtype in ("float32", "bfloat16"):
            step(f"{shape} axis {axis} {dtype}")
            rows.append(row(Data.make(shape, dtype, axis, device), rounds))
    return {"gpu": about(device), "asked": ASKED, "rounds": rounds, "rows": rows}


def _run_whole(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    del console
    return whole("cuda", QUICK_SIZES if quick else SIZES, 3 if quick else ROUNDS, step)


def _run_neurons(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    del console
    return neurons("cuda", QUICK_SHAPES if quick else SHAPES, 3 if quick else ROUNDS, step)


WHOLE = Benchmark("gpu_sweep", "GPU: whole tensors by size", _run_whole, gpu_table)
NEURONS = Benchmark("gpu_neurons", "GPU: per neuron, by shape", _run_neurons, gpu_table)
