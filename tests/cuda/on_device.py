"""What tests of elements on a GPU share: owners of device memory, and who runs where.

The tests marked gpu run on a device where there is one, and in Numba's simulator: `test_cuda_simulator` runs them all
in a process of its own.
"""

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from oracle import describe
from simulated import SIMULATED

from fastact.cuda.driver import unusable

__all__ = [
    "COUNTS",
    "ERROR",
    "FLOATS",
    "SIMULATED",
    "OnDevice",
    "OnDeviceTensor",
    "check",
    "dlpack_only",
    "in_simulator",
    "normal",
    "on_device",
]

COUNTS = ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated")
FLOATS: dict[str, Any] = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}
ERROR = {"float64": 1e-13, "int32": 1e-13, "uint32": 1e-13, "int64": 1e-13, "uint64": 1e-13}

_needs_device = pytest.mark.skipif(unusable() is not None, reason=f"{unusable()}; run in the simulator")


def on_device(test: Any) -> Any:
    # NumPy's warnings of NaN and overflow in the simulator, where a device says nothing.
    quiet = pytest.mark.filterwarnings("ignore::RuntimeWarning")
    return pytest.mark.gpu(_needs_device(quiet(test)))


def in_simulator(test: Any) -> Any:
    only = pytest.mark.skipif(not SIMULATED, reason="of the simulator alone, whose streams can be held back; run there")
    return pytest.mark.gpu(only(pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")(test)))


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


class OnDeviceTensor:
    """A CUDA tensor's memory as another library shows it, with the stream that its elements come on."""

    def __init__(self, x: Any, stream: int) -> None:
        self.__cuda_array_interface__ = {**x[None].__cuda_array_interface__, "stream": stream}
