"""Whole tensors by size: `summarize`, NumPy, PyTorch where it is installed, and a bare read of the bytes.

All read the same buffer, in one process, by turns, warm. Every contestant's answer is compared with the truth before
it is timed: counts, minimum and maximum must be exact, mean and std as exact as their dtype allows.
"""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.benchmark.peers import NUMBERS, numpy_numbers, torch_numbers, truth
from fastact.benchmark.turns import compare, reader_of
from fastact.checks import check_choice, check_integer
from fastact.cpu.threads import get_num_threads
from fastact.errors import FastactError
from fastact.stats.summarize import summarize

DEFAULT_SIZES: Final = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
#: NumPy has no bfloat16, and of integers the limit differs: `python -m bench` in the repository has those too.
DTYPES: Final = ("float32", "float64", "float16")
_LIMIT: Final = 0.99
#: Parts of the truth by which a mean or std may be off; a float16 result is rounded to 11 bits.
_TOLERANCE: Final = {"float16": 2e-3}


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured for one buffer: of "fastact", "numpy", "torch" if it is installed, and "read", a bare read."""

    elements: int
    dtype: str
    nbytes: int
    seconds: dict[str, float]  # median time of a call
    ratios: dict[str, float]  # median over the rounds of a contestant's time over fastact's in the same round
    wrong: tuple[str, ...]  # contestants whose mean or std is off by more than rounding explains

    @property
    def bandwidth(self) -> float:
        """Bytes that fastact sweeps in a second."""
        return self.nbytes / self.seconds["fastact"]


def measure(sizes: Iterable[int] = DEFAULT_SIZES, dtype: str = "float32", *, rounds: int = 7) -> Iterator[Row]:
    """Measures one row after the other, for buffers of so many elements; each takes seconds.

    Slow contestants sit out some of the rounds. If an answer is wrong, `FastactError` is raised.

    Example:
        >>> row = next(measure([1000], rounds=1))
        >>> row.elements, row.nbytes, sorted({"numpy", "read"} - set(row.seconds))
        (1000, 4000, [])
    """
    sizes = list(sizes)
    check_choice("dtype", dtype, DTYPES)
    check_integer("rounds", rounds, 1)
    for size in sizes:
        check_integer("sizes", size, 1)
    return (_measured(size, dtype, rounds) for size in sizes)


def _measured(size: int, dtype: str, rounds: int) -> Row:
    x = _buffer(size, dtype)
    calls = _contestants(x)
    want = truth(x, None, _LIMIT)
    wrong = tuple(name for name, (call, named) in calls.items() if not _right(name, named(call()), want, dtype))
    read = reader_of(x.view(np.uint8))
    found = compare({name: call for name, (call, _) in calls.items()}, rounds, read=read)
    return Row(size, dtype, x.nbytes, found.seconds, found.ratios, wrong)


def _buffer(size: int, dtype: str) -> npt.NDArray[Any]:
    """Normal values, one in eleven zero, none at the limit, where it would be a matter of rounding."""
    values = np.random.default_rng(1).standard_normal(size, dtype=np.float32)
    values[::11] = 0
    x = values.astype(dtype, copy=False)
    x[np.abs(x) == np.asarray(_LIMIT, dtype)] = 0
    return x


def _contestants(x: npt.NDArray[Any]) -> dict[str, tuple[Callable[[], Any], Callable[[Any], dict[str, Any]]]]:
    """By name: the call, and the function that turns its answer into numbers by the names in `NUMBERS`."""

    def ours(stats: Any) -> dict[str, Any]:
        return {name: getattr(stats, name) for name in NUMBERS}

    def theirs(numbers: Any) -> dict[str, Any]:
        found = dict(zip(NUMBERS, map(float, numbers), strict=True))
        return {**found, "zeros": x.size - found["zeros"]}

    calls = {"fastact": (lambda: summarize(x), ours), "numpy": (lambda: numpy_numbers(x, None, _LIMIT), theirs)}
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(get_num_threads())
        tensor = torch.from_numpy(x)

        def of_torch(numbers: Any) -> dict[str, Any]:
            nonzero, var, *rest = numbers
            return theirs((nonzero, rest[0], var.sqrt(), *rest[1:]))

        calls["torch"] = (lambda: torch_numbers(tensor, None, _LIMIT), of_torch)
    return calls


def _right(name: str, got: dict[str, Any], want: dict[str, Any], dtype: str) -> bool:
    """Whether mean and std are as exact as their dtype; `FastactError` if another number is wrong, or fastact's are."""
    size = max(abs(want["mean"]), want["std"])
    off = {key for key in ("mean", "std") if not abs(got[key] - want[key]) <= _TOLERANCE.get(dtype, 1e-5) * size}
    worse = [key for key in NUMBERS if key not in ("mean", "std") and got[key] != want[key]]
    if worse or (off and name == "fastact"):
        key = (worse or sorted(off))[0]
        raise FastactError(f"{name}: {key} is {got[key]}, want {want[key]}; nothing was timed")
    return not off
