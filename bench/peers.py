"""The contestants: which of the numbers that `summarize` gives each of them gives, and how it is asked.

Each is asked in the best way that its documentation shows, and only for what it has: a peer that gives four numbers
is timed for four. What it returns is compared with `truth` before it is timed, and where its mean or std is off by
more than rounding in the tensor's dtype explains, the tables say so. A peer that is not installed takes no part.
"""

import importlib
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import fastact
from fastact.benchmark import peers
from fastact.benchmark.peers import NUMBERS
from fastact.cpu.threads import get_num_threads

__all__ = ["FLOATS", "NUMBERS", "PEERS", "Data", "Peer", "contestants", "truth"]

FLOATS = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Data:
    """A tensor of normal values, one in eleven zero, all finite, on the CPU.

    Standard normal; 30 times that in int8, without -128, whose absolute value int8 lacks.

    Attributes:
        tensor: in torch.
        array: the same memory in numpy; for bfloat16, which numpy lacks, as int16.
        dtype: its name.
        axis: the neurons' axis, or None to have numbers for the whole tensor.
        limit: what lies beyond ±limit is saturated.
    """

    tensor: torch.Tensor
    array: npt.NDArray[Any]
    dtype: str
    axis: int | None
    limit: float

    @classmethod
    def make(cls, shape: tuple[int, ...], dtype: str, axis: int | None = None) -> "Data":
        """Fills a tensor of this shape and dtype."""
        values = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
        values.reshape(-1)[::11] = 0  # not the same neurons throughout
        limit = 0.99 if dtype in FLOATS else 100.0
        tensor = torch.from_numpy(values)
        tensor = (
            tensor.to(getattr(torch, dtype))
            if dtype in FLOATS
            else (tensor * 30).clamp(-127, 127).to(getattr(torch, dtype))
        )
        # Some compare with the limit rounded to the dtype; what equals that would be a matter of rounding.
        tensor[tensor == torch.tensor(limit).to(tensor.dtype)] = 0
        tensor[tensor == torch.tensor(-limit).to(tensor.dtype)] = 0
        array = (tensor.view(torch.int16) if dtype == "bfloat16" else tensor).numpy()
        return cls(tensor, array, dtype, axis, limit)

    @property
    def others(self) -> tuple[int, ...] | None:
        """The axes to reduce over; None for the whole tensor."""
        if self.axis is None:
            return None
        return tuple(i for i in range(self.tensor.ndim) if i != self.axis % self.tensor.ndim)

    @property
    def reduced(self) -> int:
        """How many elements each number is computed from."""
        return self.tensor.numel() // (1 if self.axis is None else self.tensor.shape[self.axis])


def truth(data: Data) -> dict[str, Any]:
    """The numbers, computed in float64 in two passes; arrays with one entry per neuron."""
    elements = data.tensor.float().numpy() if data.dtype == "bfloat16" else data.array
    return peers.truth(elements, data.axis, data.limit)


@dataclass(frozen=True)
class Peer:
    """A contestant.

    Attributes:
        name: as the tables show it.
        asked: what is run for the whole tensor, for the reader.
        neurons: what is run per neuron, or why it is not.
        start: makes the call that is timed, or returns None where this peer has no such thing.
        named: what the call returned, by the names in `NUMBERS`, as numbers or arrays.
    """

    name: str
    asked: str
    neurons: str
    start: Callable[[Data], Callable[[], Any] | None]
    named: Callable[[Data, Any], dict[str, Any]]


def _fastact(data: Data) -> Callable[[], Any]:
    # numpy arrays and torch tensors are both read in place; a numpy array is what most peers get.
    x: Any = data.tensor if data.dtype == "bfloat16" else data.array
    axis, limits = data.axis, (-data.limit, data.limit)
    if data.limit == 0.99:  # the default
        return (lambda: fastact.summarize(x)) if axis is None else (lambda: fastact.summarize(x, axis=axis))
    return lambda: fastact.summarize(x, axis=axis, saturation=limits)


def _fastact_named(data: Data, got: Any) -> dict[str, Any]:
    return {name: getattr(got, name) for name in NUMBERS}


def _numpy(data: Data) -> Callable[[], Any] | None:
    if data.dtype == "bfloat16":
        return None
    x, axis, limit = data.array, data.others, data.limit
    return lambda: peers.numpy_numbers(x, axis, limit)


def _numpy_named(data: Data, got: Any) -> dict[str, Any]:
    return {**dict(zip(NUMBERS, got, strict=True)), "zeros": data.reduced - got[0]}


def _torch(data: Data) -> Callable[[], Any]:
    x, dim, limit = data.tensor, data.others, data.limit
    return lambda: peers.torch_numbers(x, dim, limit)


def _compiled(data: Data) -> Callable[[], Any] | None:
    x, dim, limit = data.tensor, data.others, data.limit
    # Compiled for this shape alone, or the second shape would get the slower code for any shape.
    torch._dynamo.reset()
    ask = torch.compile(peers.torch_numbers, fullgraph=True, dynamic=False)
    try:
        ask(x, dim, limit)
    except Exception as error:  # noqa: BLE001 - no C++ compiler, or whatever else keeps it from working here
        warnings.warn(f"torch.compile: {type(error).__name__}", stacklevel=2)
        return None
    return lambda: ask(x, dim, limit)


def _torch_named(data: Data, got: Any) -> dict[str, Any]:
    nonzero, var, mean, low, high, saturated, *rest = (number.double().numpy() for number in got)
    nans, infs = rest or (0, 0)
    values = (data.reduced - nonzero, mean, np.sqrt(var), low, high, saturated, nans, infs)
    return dict(zip(NUMBERS, values, strict=True))


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _numbagg(data: Data) -> Callable[[], Any] | None:
    # Its one switch for speed, read when it is imported.
    os.environ["NUMBAGG_FASTMATH"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        numbagg = _package("numbagg")
    if numbagg is None or data.dtype not in ("float64", "float32"):
        return None
    x, axis = data.array, data.others
    return lambda: (
        numbagg.nanmean(x, axis=axis),
        numbagg.nanstd(x, axis=axis, ddof=0),
        numbagg.nanmin(x, axis=axis),
        numbagg.nanmax(x, axis=axis),
        numbagg.nancount(x, axis=axis),
    )


def _numbagg_named(data: Data, got: Any) -> dict[str, Any]:
    return {**dict(zip(("mean", "std", "min", "max"), got[:4], strict=True)), "nans": data.reduced - got[4]}


def _bottleneck(data: Data) -> Callable[[], Any] | None:
    bottleneck = _package("bottleneck")
    # It takes one axis; other dtypes it hands on to numpy.
    if bottleneck is None or data.dtype not in ("float64", "float32"):
        return None
    x, axis = data.array, None
    if data.axis is not None:
        if data.axis % x.ndim != x.ndim - 1:
            return None
        x, axis = x.reshape(-1, x.shape[-1]), 0
    return lambda: (
        bottleneck.nanmean(x, axis),
        bottleneck.nanstd(x, axis),
        bottleneck.nanmin(x, axis),
        bottleneck.nanmax(x, axis),
    )


def _bottleneck_named(data: Data, got: Any) -> dict[str, Any]:
    return dict(zip(("mean", "std", "min", "max"), got, strict=True))


def _numkong(data: Data) -> Callable[[], Any] | None:
    numkong = _package("numkong")
    if numkong is None:
        return None
    x, dtype, axis = data.array, data.dtype, data.others
    if axis is not None:
        return lambda: (
            numkong.sum(x, axis=axis, dtype=dtype),
            numkong.norm(x, axis=axis, dtype=dtype),
            numkong.min(x, axis=axis, dtype=dtype),
            numkong.max(x, axis=axis, dtype=dtype),
        )
    if dtype == "bfloat16":
        return lambda: (numkong.moments(x, dtype=dtype), numkong.minmax(x, dtype=dtype))
    return lambda: (numkong.moments(x), numkong.minmax(x))


def _numkong_named(data: Data, got: Any) -> dict[str, Any]:
    if data.axis is None:
        (total, squares), (low, _, high, _) = got
    else:
        total, norm, low, high = map(np.asarray, got)
        squares = norm**2
    mean = total / data.reduced
    return {"mean": mean, "std": np.sqrt(squares / data.reduced - mean**2), "min": low, "max": high}


#: In the order of the tables.
PEERS = (
    Peer("fastact", "summarize(x)", "summarize(x, axis)", _fastact, _fastact_named),
    Peer(
        "numpy",
        "count_nonzero(x), mean, std, min, max, count_nonzero((x < lo) | (x > hi)), count_nonzero(isnan(x)), "
        "count_nonzero(isinf(x)); float16 with dtype=float32; it has no bfloat16",
        "the same with axis",
        _numpy,
        _numpy_named,
    ),
    Peer(
        "torch",
        "count_nonzero(x), var_mean(x, correction=0), aminmax(x), count_nonzero(abs(x) > hi), count_nonzero(isnan(x)), "
        "count_nonzero(isinf(x)); int8 as float() for var_mean",
        "the same with dim (amin and amax for aminmax)",
        _torch,
        _torch_named,
    ),
    Peer(
        "compile",
        "the same by torch.compile(fullgraph=True, dynamic=False)",
        "the same as for torch",
        _compiled,
        _torch_named,
    ),
    Peer(
        "numbagg",
        "nanmean, nanstd(ddof=0), nanmin, nanmax, nancount with NUMBAGG_FASTMATH=1: five numbers, no counts of zeros, "
        "saturated or infinite elements; float64 and float32 only",
        "the same with axis",
        _numbagg,
        _numbagg_named,
    ),
    Peer(
        "bottleneck",
        "nanmean, nanstd, nanmin, nanmax: four numbers, no counts; float64 and float32 only",
        "the same with axis, where one axis is reduced",
        _bottleneck,
        _bottleneck_named,
    ),
    Peer(
        "NumKong",
        "moments, minmax: four numbers, no counts; NaN is not left out of the moments",
        "sum, norm, min, max with axis: four numbers",
        _numkong,
        _numkong_named,
    ),
)


def contestants(data: Data) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """The calls to time, warm and checked, and how far a std is off where rounding does not explain it.

    Returns:
        The calls by peer, and for each peer with a mean or a std that is off, by how much, in parts of the true std.

    Raises:
        SystemExit: a count, a minimum or a maximum is wrong, or any number of fastact's.
    """
    torch.set_num_threads(get_num_threads())
    want = truth(data)
    # 1e-5 for float32 and wider; what a float16 or bfloat16 result can hold, where the peer rounds to that.
    tolerance = {"float16": 2e-3, "bfloat16": 1e-2}.get(data.dtype, 1e-5)
    calls: dict[str, Callable[[], Any]] = {}
    off: dict[str, float] = {}
    for peer in PEERS:
        call = peer.start(data)
        if call is None:
            continue
        got = peer.named(data, call())
        for name, value in got.items():
            error = float(np.max(np.abs(np.asarray(value, np.float64) - want[name]), initial=0.0))
            if name in ("mean", "std"):
                error /= float(np.min(want["std"]))
                if error > tolerance and peer.name != "fastact":
                    off[peer.name] = max(error, off.get(peer.name, 0.0))
                    continue
            if error > (tolerance if name in ("mean", "std") else 0):
                where = f"{tuple(data.tensor.shape)} {data.dtype}"
                raise SystemExit(f"{peer.name}: {name} of {where} is off by {error:.3g}")
        calls[peer.name] = call
    return calls, off
