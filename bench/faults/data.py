"""What the data of several parts have in common: how they are divided, made once, and given to Keras."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.faults.run import Data

Array = npt.NDArray[Any]


def divided(x: Array, y: Array, *, seed: int, train: tuple[int, int]) -> Data:
    """A share to train on (train: such as (2, 3) for two thirds), in an order drawn at random.

    Whole numbers become int64, others float32.
    """
    order = np.random.default_rng(seed).permutation(len(x))
    cut = len(x) * train[0] // train[1]
    parts = [
        torch.from_numpy(np.ascontiguousarray(part[chosen])).to(torch.int64 if part.dtype.kind in "iu" else torch.float)
        for chosen in (order[:cut], order[cut:])
        for part in (x, y)
    ]
    return Data(*parts)


def made_once(made: Callable[..., Data]) -> Callable[..., Data]:
    """Makes data once in a process, and hands out copies."""
    cached = functools.cache(made)

    @functools.wraps(made)
    def copied(*arguments: Any) -> Data:
        return Data(*(part.clone() for part in cached(*arguments)))

    return copied


def for_keras(data: Data) -> Data:
    """The same as arrays: images with their channels last."""
    return Data(*(np.moveaxis(part.numpy(), 1, -1) if part.ndim == 4 else part.numpy() for part in data))


def as_column(data: Data) -> Data:
    """Classes as a column of float32."""
    return data._replace(y=data.y.float()[:, None], test_y=data.test_y.float()[:, None])
