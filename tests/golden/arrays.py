"""Data of every dtype, the same on every machine: random words of PCG64 and plain arithmetic, no function of libm."""

import math
from typing import Any, Final

import ml_dtypes
import numpy as np
import numpy.typing as npt

__all__ = ["FLOATS", "KINDS", "bell", "nasty", "sample", "words"]

Array = npt.NDArray[Any]

FLOATS: Final[dict[str, Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
_INTEGERS: Final = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
KINDS: Final[dict[str, Any]] = {**FLOATS, **{name: np.dtype(name) for name in _INTEGERS}, "bool": np.dtype(np.bool_)}


def words(seed: int, size: int) -> npt.NDArray[np.uint64]:
    """Random words; NumPy promises that this stream stays as it is."""
    return np.asarray(np.random.PCG64(seed).random_raw(size), np.uint64)


def bell(seed: int, size: int) -> npt.NDArray[np.float64]:
    """Nearly normal: the sum of twelve uniform 16-bit integers, mean 0, deviation 1, all exact."""
    parts = words(seed, 3 * size).view(np.uint16).reshape(size, 12)
    total: npt.NDArray[np.int64] = parts.sum(1, dtype=np.int64)
    return np.asarray((2 * total - 12 * 65535) / 131072.0, np.float64)


def sample(name: str, size: int, seed: int = 1, *, broken: bool = False) -> Array:
    """Activations of a dtype: zeros of a ReLU among them, integers of their whole range; `broken`: NaN and Inf too."""
    dtype = KINDS[name]
    if name == "bool":
        return np.asarray(words(seed, size) % 3 == 0)
    if name not in FLOATS:
        found = words(seed, size).view(np.int64) if name.startswith("int") else words(seed, size)
        found = found.astype(dtype, casting="unsafe")
        found[::7] = 0
        return found
    values = 1.25 * bell(seed, size)
    values[::7] = 0.0
    if broken:
        picked = words(seed + 1, size) % 16
        values[picked == 3] = math.nan
        if name != "float8_e4m3fn":
            values[picked == 4], values[picked == 5] = math.inf, -math.inf
    return values.astype(dtype)


def nasty(name: str) -> dict[str, Array]:
    """Named arrays on which naive sums fail, most of them two blocks of 4096 long and a bit."""
    dtype = KINDS[name]
    if name == "bool":
        return {"all": np.ones(9001, bool), "none": np.zeros(9001, bool), "one": np.arange(9001) == 4096}
    if name not in FLOATS:
        info = np.iinfo(dtype)
        ends = np.array([info.min, info.max], dtype)
        return {
            "largest": np.full(9001, info.max, dtype),
            "smallest": np.full(9001, info.min, dtype),
            "both ends": np.tile(ends, 4500),
            "near the end": (info.max - np.arange(100).astype(dtype)).astype(dtype),
            "one": np.array([1], dtype),
            "constant": np.full(9001, 3, dtype),
        }
    limits: Any = ml_dtypes.finfo
    normal = bell(7, 9001)
    big, tiny = float(limits(dtype).max), float(limits(dtype).smallest_subnormal)
    small = 1e-20 if big > 1e10 else 1e-3
    data = {
        "one": np.array([3.5]),
        "two": np.array([-1.5, 2.0]),
        "zeros": np.zeros(5000),
        "negative zero": np.array([0.0, -0.0, -0.0]),
        "constant": np.full(9001, 1.1),
        "normal": normal,
        "relu": np.maximum(normal, 0.0),
        "offset 1e2": normal + 1e2,
        "offset 1e4": normal + 1e4,
        "jump": np.concatenate([normal, normal + 1e4]),
        "drift": np.arange(9001.0) * 1.125 - 1.0,
        "outlier first": np.concatenate([[1e4], normal]),
        "outlier last": np.concatenate([normal, [-1e4]]),
        "nan": np.where(words(8, 9001) % 10 < 3, math.nan, normal),
        "one nan": np.concatenate([normal[:5000], [math.nan], normal[:100]]),
        "infs": np.concatenate([[math.inf], normal, [-math.inf, math.inf]]),
        "all nan": np.full(5000, math.nan),
        "all inf": np.full(10, -math.inf),
        "nan block": np.concatenate([np.full(4096, math.nan), normal]),
        "inf first, offset": np.concatenate([[-math.inf], normal + 1e3]),
        "huge": normal / 6.0 * big / 2.0,
        "huge of both signs": np.array([big, -big] * 2500 + [big]),
        "denormals": ((words(9, 9001) % 2001).astype(np.int64) - 1000) * tiny,
        "small": normal * small,
        "small beside zero": np.concatenate([np.zeros(8192), normal * small]),
        "bits": words(10, 2500).view(np.uint16)[:9001] * (big / 65536.0),
    }
    if name == "float64":
        data |= {
            "numacc3": np.array([1000000.2] + [1000000.1, 1000000.3] * 500),
            "numacc4": np.array([10000000.2] + [10000000.1, 10000000.3] * 500),
            "numacc 1e13": np.array([1e13 + 0.2] + [1e13 + 0.1, 1e13 + 0.3] * 500),
            "alternating": np.array([1e8, -1e8, 1.0, -1.0] * 2500),
            "1e300": normal * 1e300,
            "1e-300": normal * 1e-300,
            "beside 1": 1.0 + normal * 1e-15,
            "blocks far apart": np.repeat([1e-200, 3e-200, 1e200, -1e200], 4096),
        }
    with np.errstate(all="ignore"):
        made = {what: values.astype(dtype) for what, values in data.items()}
        width = {1: np.uint8, 2: np.uint16}.get(dtype.itemsize)
        if width is not None:  # each bit pattern there is
            made["every pattern"] = np.arange(1 << 8 * dtype.itemsize, dtype=np.int64).astype(width).view(dtype)
    return made
