"""`fastact.cuda.vectors` in Numba's simulator: a vector is a small array."""

from collections.abc import Callable
from typing import Any

import numpy as np
from simulated_words import memory

from fastact.cpu.jit import BFloat16, Float8E4M3, Float8E5M2, Float16, Kind


def loader(kind: Kind, width: int) -> Callable[..., Any]:
    def load(address: int) -> Any:
        assert address % (width * kind.storage.itemsize) == 0, "a load must be aligned"
        return memory(address, kind.storage, width).copy()

    return load

def widener(kind: Kind) -> Callable[..., Any]:
    def widened(raw: Any) -> Any:
        if isinstance(kind.tag, BFloat16):
            return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
        if isinstance(kind.tag, Float8E4M3):
            bits = raw.astype(np.uint32)
            sign, rest = (bits & 0x80) << 24, bits & 0x7F
            value = (sign | rest << 20).view(np.float32) * np.float32(2.0**120)
            return np.where(rest == 0x7F, np.float32(np.nan), value)
        if isinstance(kind.tag, Float8E5M2):
            raw = raw.astype(np.uint16) << np.uint16(8)
        if isinstance(kind.tag, (Float16, Float8E5M2)):
            raw = raw.view(np.float16)
        return raw.astype(kind.work)

    return widened

def concatenate(a: Any, b: Any) -> Any:
    return np.concatenate([a, b])

def lane_count(a: Any) -> int:
    return len(a)

def splat(value: Any, like: Any) -> Any:
    return np.full(len(like), value, like.dtype)

def magnitude(a: Any) -> Any:
    return np.abs(a)

def as_float64(a: Any) -> Any:
    return a.astype(np.float64)

def where_finite(x: Any, a: Any, b: Any) -> Any:
    return np.where(np.abs(x) < np.inf, a, b)

def reduce_sum(a: Any) -> Any:
    while len(a) > 1:
        a = a[: len(a) // 2] + a[len(a) // 2 :]
    return a[0]

def reduce_min(a: Any) -> Any:
    return a.min()

def reduce_max(a: Any) -> Any:
    return a.max()

def count_at_most(a: Any, bound: Any) -> int:
    return int((a <= bound).sum())

def count_outside(a: Any, low: Any, high: Any) -> int:
    return int(((a < low) | (a > high)).sum())

def count_equal(a: Any, value: Any) -> int:
    return int((a == value).sum())

def count_nan(a: Any) -> int:
    return int(np.isnan(a).sum())
