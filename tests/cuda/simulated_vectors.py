"""`fastact.cuda.vectors` in Numba's simulator: a vector is a small array."""

from collections.abc import Callable
from typing import Any

import numpy as np
from simulated_words import memory

from fastact.arithmetic.element_types import ElementType
from fastact.cpu.widen import widen_array


def loader(element: ElementType, width: int) -> Callable[..., Any]:
    def load(address: int) -> Any:
        assert address % (width * element.storage.itemsize) == 0, "a load must be aligned"
        return memory(address, element.storage, width).copy()

    return load


def widener(element: ElementType) -> Callable[..., Any]:
    def widened(raw: Any) -> Any:
        return widen_array(raw, element.tag)

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
