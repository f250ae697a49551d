"""The sum of bits: exact, whatever the order, strides and parts; one flipped bit changes it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastact.cpu.bit_sum import bit_sum
from fastact.stats.bits import bits_of


def by_definition(x: Any) -> int:
    total = sum(map(int, np.ascontiguousarray(x).reshape(-1).view(f"u{x.itemsize}")))
    return (total + (1 << 63)) % (1 << 64) - (1 << 63)


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, 7, 70_001])
def test_it_is_what_its_definition_says(dtype: Any, count: int) -> None:
    bits = np.random.default_rng(count).bytes(count * np.dtype(dtype).itemsize)
    x = np.frombuffer(bits, dtype)  # NaN of every kind, too
    assert bit_sum(x) == by_definition(x)


def test_equal_tensors_have_the_same_and_a_flipped_bit_another() -> None:
    x = np.random.default_rng(0).standard_normal((300, 410)).astype(np.float32)
    same = [x.T, x[::-1], x.reshape(-1), np.random.default_rng(1).permutation(x), np.asfortranarray(x)]
    assert {bit_sum(each) for each in same} == {by_definition(x)}
    assert bit_sum(x[:, ::2]) + bit_sum(x[:, 1::2]) == bit_sum(x)
    for bit in (0, 22, 31):
        flipped = x.copy()
        flipped.view(np.uint32)[17, 3] ^= np.uint32(1 << bit)
        assert abs(bit_sum(flipped) - bit_sum(x)) == 1 << bit


def _bfloat16(torch: Any) -> Any:
    return torch.arange(9.0).to(torch.bfloat16).reshape(3, 3).t()


@pytest.mark.parametrize("make", [_bfloat16, lambda torch: torch.nn.Parameter(torch.ones(4))])
def test_tensors_are_summed_as_they_are_stored(make: Callable[[Any], Any]) -> None:
    torch = pytest.importorskip("torch")
    x = make(torch).detach()
    stored = x.contiguous().view(torch.int16 if x.dtype is torch.bfloat16 else torch.int32).numpy()
    assert bits_of(x) == by_definition(stored) != 0
