"""The same numbers asked of NumPy and PyTorch, each in the best way that its documentation shows; the exact answer."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

#: What is compared. `summarize` gives more: the mean of |x|, and +inf and -inf apart.
NUMBERS: Final = ("zeros", "mean", "std", "min", "max", "saturated", "nans", "infs")
#: Elements that are widened to float64 at a time to find the truth.
_CHUNK: Final = 1 << 17


def numpy_numbers(x: npt.NDArray[Any], axis: tuple[int, ...] | None, limit: float) -> tuple[Any, ...]:
    """The numbers of `NUMBERS`, reduced over `axis` (None: all), with the count of nonzero elements in place of zeros.

    Elements beyond ±`limit` count as saturated.
    """
    integers = x.dtype.kind != "f"  # never NaN or infinite, so not asked
    # In float16 itself the sums overflow.
    wide = np.float32 if x.dtype == np.float16 else None
    return (
        np.count_nonzero(x, axis=axis),
        *(x.mean(axis=axis, dtype=wide), x.std(axis=axis, dtype=wide), x.min(axis=axis), x.max(axis=axis)),
        np.count_nonzero((x < -limit) | (x > limit), axis=axis),
        0 if integers else np.count_nonzero(np.isnan(x), axis=axis),
        0 if integers else np.count_nonzero(np.isinf(x), axis=axis),
    )


def torch_numbers(x: Any, dim: tuple[int, ...] | None, limit: float) -> tuple[Any, ...]:
    """What `numpy_numbers` gives, for a tensor: var in place of std, no NaN and Inf of integers. Can be compiled."""
    import torch

    floats = x if x.is_floating_point() else x.float()
    moments = torch.var_mean(floats, dim, correction=0)
    extremes = torch.aminmax(x) if dim is None else (x.amin(dim), x.amax(dim))  # aminmax takes one axis
    tests = [x.abs() > limit]
    if x.is_floating_point():
        tests += [torch.isnan(x), torch.isinf(x)]
    counts = [torch.count_nonzero(test, dim) for test in tests]
    return (torch.count_nonzero(x, dim), *moments, *extremes, *counts)


def truth(x: npt.NDArray[Any], axis: int | None, limit: float) -> dict[str, Any]:
    """The numbers of `NUMBERS`, computed in float64 in two passes; arrays with one entry per neuron along `axis`."""
    neurons = 1 if axis is None else x.shape[axis]
    inner = 1 if axis is None else int(np.prod(x.shape[axis % x.ndim + 1 :], dtype=np.int64))
    blocks = x.reshape(-1, neurons, inner)
    step = max(1, _CHUNK // (neurons * inner))
    reduced = x.size // neurons

    def chunks() -> Any:
        for start in range(0, blocks.shape[0], step):
            yield blocks[start : start + step].astype(np.float64)

    mean = sum(chunk.sum((0, 2)) for chunk in chunks()) / reduced
    moment = np.zeros(neurons)
    counts = np.zeros((4, neurons), np.int64)
    low, high = np.full(neurons, np.inf), np.full(neurons, -np.inf)
    for chunk in chunks():
        # Counts, squared deviations and extremes of the same chunk: it is read from memory once.
        tests = (chunk == 0, np.abs(chunk) > limit, np.isnan(chunk), np.isinf(chunk))
        counts += np.array([np.count_nonzero(test, (0, 2)) for test in tests])
        moment += np.square(chunk - mean[:, None]).sum((0, 2))
        low, high = np.minimum(low, chunk.min((0, 2))), np.maximum(high, chunk.max((0, 2)))
    values = (counts[0], mean, np.sqrt(moment / reduced), low, high, *counts[1:])
    return {name: value if axis is not None else value[0] for name, value in zip(NUMBERS, values, strict=True)}
