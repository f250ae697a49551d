"""The two questions that are asked most: how many neurons are dead, how many elements are saturated."""

from typing import Any

from fastact.checks import check_not_negative
from fastact.stats.summarize import summarize

__all__ = ["detect_dead_neurons", "detect_saturation"]


def detect_dead_neurons(x: Any, threshold: float = 0.01) -> tuple[int, float]:
    """How many neurons of [batch, ..., neurons] are silent in this buffer, and their share of all.

    Args:
        x: anything that `summarize` takes, of at least one dimension.
        threshold: a neuron is silent when at most this share of its elements differs from zero.

    Returns:
        (number, ratio); the ratio of no neurons is 0.0.

    Example:
        >>> import numpy as np
        >>> detect_dead_neurons(np.array([[0.0, 1.0], [0.0, 2.0]]))
        (1, 0.5)
    """
    dead = summarize(x, axis=-1).dead(threshold)
    number = int(dead.sum())
    return number, number / dead.size if dead.size else 0.0


def detect_saturation(x: Any, threshold: float = 0.99) -> tuple[int, float]:
    """How many elements lie beyond ±`threshold`, and their share of all.

    Args:
        x: anything that `summarize` takes.
        threshold: at least 0; the default is a tanh's end.

    Returns:
        (number, ratio); the ratio of no elements is 0.0. Inf is saturated, NaN is not.

    Example:
        >>> import numpy as np
        >>> detect_saturation(np.array([-1.0, 0.0, 0.5, 1.0]))
        (2, 0.5)
    """
    limit = check_not_negative("threshold", threshold)
    stats = summarize(x, saturation=(-limit, limit))
    return stats.saturated, stats.saturated / stats.count if stats.count else 0.0
