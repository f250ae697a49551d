"""`fastact.cuda.words` in Numba's simulator, where device memory is the host's."""

import ctypes
from typing import Any

import numpy as np

from fastact.cuda.words import HASH_FACTOR

__all__ = ["HASH_FACTOR"]


def memory(address: int, dtype: Any, count: int) -> Any:
    size = count * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(int(address)), dtype)


def _word(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return np.float64
    return np.uint64 if isinstance(value, np.uint64) else np.int64


def _like(values: Any, example: Any) -> Any:
    """A tuple of the class and the types of `example`."""
    found = [type(one)(value) for one, value in zip(example, values, strict=True)]
    return type(example)(*found) if hasattr(example, "_fields") else tuple(found)


def store_word(address: int, value: Any) -> None:
    dtype: Any = _word(value)
    memory(address, dtype, 1)[0] = dtype(value)


def load_word(address: int, example: Any) -> Any:
    return type(example)(memory(address, _word(example), 1)[0])


def store_words(first: int, apart: int, values: Any) -> None:
    for place, value in enumerate(values):
        store_word(first + place * apart, value)


def load_words(first: int, apart: int, example: Any) -> Any:
    return _like([load_word(first + place * apart, one) for place, one in enumerate(example)], example)


def store_hashed(first: int, check: int, values: Any) -> int:
    for place, value in enumerate(values):
        store_word(first + 8 * place, value)
        bits = int(np.array(value, _word(value)).view(np.uint64))
        check = (int(check) * HASH_FACTOR + (bits ^ bits >> 32)) & (1 << 64) - 1
        check -= check >> 63 << 64
    return check


def shared_words(extremes: tuple[int, ...]) -> tuple[Any, Any]:
    def lines(values: Any) -> Any:
        used = [0, 0, 0]
        for place, value in enumerate(values):
            which = 2 if place in extremes else 0 if isinstance(value, (int, np.integer)) else 1
            yield which, used[which]
            used[which] += 1

    def put(integers: Any, floats: Any, ends: Any, slot: int, values: Any) -> None:
        for (which, line), value in zip(lines(values), values, strict=True):
            (integers, floats, ends)[which][line, slot] = value

    def take(integers: Any, floats: Any, ends: Any, slot: int, example: Any) -> Any:
        return _like([(integers, floats, ends)[which][line, slot] for which, line in lines(example)], example)

    return put, take
