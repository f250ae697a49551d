"""Sweeps of what is no plain NumPy array: torch tensors, Arrow arrays, buffers; and the small functions beside."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import fastact

from .arrays import KINDS, sample

__all__ = ["tensor", "ways"]

Case = tuple[str, Callable[[], Any]]


def ways() -> Iterator[Case]:
    """Each way in, by name."""
    sweep, many = fastact.summarize, fastact.summarize_many
    for kind in KINDS:
        for label, case in _torch(kind):
            yield f"torch/{kind}/{label}", case
    yield from _arrow()
    for kind in ("float32", "float64", "int32", "uint8"):
        x = sample(kind, 3001)
        yield f"buffer/{kind}", partial(sweep, x.data)
        yield f"dlpack/{kind}", partial(sweep, _Given(x))
        yield f"dlpack/{kind}/neurons", partial(sweep, _Given(x[:3000].reshape(-1, 30)), axis=-1)
    mixed = [sample(kind, 500 + 40 * seed, seed) for seed, kind in enumerate([*KINDS] * 4)]
    yield "many/mixed", partial(many, mixed)
    yield "many/odd", partial(many, [mixed[0][::2], mixed[1][:0], *mixed, mixed[2][::-1], tensor(mixed[1])])
    yield "many/neurons", partial(many, [x[:480].reshape(-1, 8) for x in mixed[:40]], axis=1)
    grid = np.maximum(sample("float32", 6400).reshape(100, 64), 0)
    grid[:, ::5] = 0
    for threshold in (0.01, 0.6, 2.0):
        yield f"saturation/{threshold}", partial(fastact.detect_saturation, grid, threshold)
        if threshold <= 1.0:
            yield f"dead/{threshold}", partial(fastact.detect_dead_neurons, grid, threshold)
    yield "no parts", partial(fastact.merge, [])
    yield "accumulated/nothing", lambda: [fastact.Accumulator().stats, fastact.Accumulator(extras="shape").stats]
    yield "from a state", lambda: fastact.ActivationStats.from_state(fastact.summarize(grid).state, zero_tol=0.5)


class _Given:
    """What speaks DLPack and nothing else."""

    def __init__(self, x: Any) -> None:
        self._x = x

    def __dlpack__(self, **options: Any) -> Any:
        return self._x.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._x.__dlpack_device__()


def tensor(x: Any) -> Any:
    """The same memory as a torch tensor."""
    import torch

    name = x.dtype.name
    if name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        return torch.from_numpy(x.view(np.int16 if x.dtype.itemsize == 2 else np.uint8)).view(getattr(torch, name))
    return torch.from_numpy(x)


def _again(x: Any, *axes: int | None) -> Any:
    """Along each axis, or as a whole, twice: the second call may take a shorter way."""
    return [fastact.summarize(x, axis=axis) for axis in axes or (None,) for _ in range(2)]


def _torch(kind: str) -> Iterator[Case]:
    import torch

    short, long = tensor(sample(kind, 900, 5)), tensor(sample(kind, 48_000, 6))
    yield "short", partial(_again, short)
    yield "long", partial(_again, long)
    for shape, axis in (((750, 64), -1), ((64, 750), 1), ((750, 64), 0), ((10, 48, 100), 1), ((20, 48, 50), 2)):
        label = f"{shape} axis {axis}".replace(" ", "")
        yield label, partial(_again, long.reshape(shape), axis)
    grid = long.reshape(750, 64)
    yield "turned", partial(_again, grid.t(), None, 0)
    yield "part", partial(_again, grid[:, 3:40], None, 1)
    yield "many", partial(fastact.summarize_many, [tensor(sample(kind, n)) for n in range(1, 50)])
    # More than 4 MB: torch's own threads take part where neurons are swept.
    wide = tensor(np.resize(sample(kind, 48_000, 6), 5_017_600 // min(KINDS[kind].itemsize, 4)).reshape(-1, 224))
    yield "wide", partial(_again, wide, None, -1)
    if kind in ("float32", "float64", "bfloat16"):
        yield "parameter", partial(_again, torch.nn.Parameter(grid.clone()), None, -1)


def _arrow() -> Iterator[Case]:
    import pyarrow as pa

    for kind in ("float64", "float32", "float16", "int8", "uint64"):
        whole = pa.array(sample(kind, 3000, 4))
        chunked = pa.chunked_array([whole[:1001], whole[:0], whole[1001:]])
        yield f"arrow/{kind}", partial(fastact.summarize, whole)
        yield f"arrow/{kind}/part", partial(fastact.summarize, whole[7:2001])
        yield f"arrow/{kind}/chunks", partial(fastact.summarize, chunked)
        yield f"arrow/{kind}/chunks/extras", partial(fastact.summarize, chunked, extras=("quantiles", "shape"))
