"""`merge`: the statistics of a whole from those of its parts."""

import operator
from collections.abc import Iterable
from typing import Any, overload

from fastact import arithmetic
from fastact.errors import ArgumentTypeError
from fastact.stats.activation import ActivationStats, wrap
from fastact.stats.channel import ChannelStats
from fastact.stats.deferred import DeferredStats
from fastact.stats.options import DEFAULT_BOUNDS

__all__ = ["merge"]


def _class(stats: Any) -> type:
    return ActivationStats if type(stats) is DeferredStats else type(stats)


@overload
def merge(parts: Iterable[ActivationStats]) -> ActivationStats: ...


@overload
def merge(parts: Iterable[ChannelStats]) -> ChannelStats: ...


def merge(parts: Iterable[Any]) -> Any:
    """The stats of the union of disjoint parts, from the stats of each: the same as sweeping the whole.

    Args:
        parts: ActivationStats, or ChannelStats of the same neurons. No parts give the stats of no elements.

    Raises:
        ArgumentTypeError: `parts` is not an iterable of stats, or mixes both classes.
        ArgumentValueError: the parts were counted with different options, or have different neurons.

    Example:
        >>> import numpy as np
        >>> from fastact import summarize
        >>> x = np.arange(10.0)
        >>> merge([summarize(x[:3]), summarize(x[3:])]).mean
        4.5
    """
    result: Any = None
    try:
        iterator = iter(parts)
    except TypeError:
        raise ArgumentTypeError(f"parts: got {type(parts).__name__}, want an iterable of stats") from None
    for part in iterator:
        if not isinstance(part, (ActivationStats, ChannelStats)) or (
            result is not None and _class(part) is not _class(result)
        ):
            seen = "" if result is None else f" among {type(result).__name__}"
            raise ArgumentTypeError(f"parts: got {type(part).__name__}{seen}, want stats of one class")
        result = part if result is None else operator.or_(result, part)
    return wrap(arithmetic.EMPTY, DEFAULT_BOUNDS) if result is None else result
