"""The statistics of a whole from those of its parts: `merge`, and `Accumulator` for a stream."""

import operator
from collections.abc import Iterable, Sequence
from typing import Any, overload

from fastact import arithmetic
from fastact.errors import ArgumentTypeError
from fastact.stats.activation import ActivationStats, DeferredStats, NullableStats, wrap
from fastact.stats.channel import ChannelStats
from fastact.stats.detailed import detail
from fastact.stats.options import DEFAULT_BOUNDS, NO_EXTRAS, SATURATION, check_extras, check_options
from fastact.stats.summarize import summarize


def _class(stats: Any) -> type:
    return ActivationStats if type(stats) in (DeferredStats, NullableStats) else type(stats)


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


class Accumulator:
    """Sweeps a stream chunk by chunk, in memory that does not grow: for data out of core, or many batches.

    Args:
        axis: as in `summarize`: None, or the neurons' axis of every chunk.
        saturation: as in `summarize`.
        zero_tol: as in `summarize`.
        extras: as in `summarize`.

    Example:
        >>> import numpy as np
        >>> acc = Accumulator()
        >>> for chunk in np.split(np.arange(12.0), 3):
        ...     acc.update(chunk)
        >>> acc.stats.count, acc.stats.mean
        (12, 5.5)
    """

    __slots__ = ("_axis", "_bounds", "_extras", "_stats")

    def __init__(
        self,
        *,
        axis: int | Sequence[int] | None = None,
        saturation: tuple[float, float] = SATURATION,
        zero_tol: float = 0.0,
        extras: str | Iterable[str] = NO_EXTRAS,
    ) -> None:
        self._axis = axis
        self._bounds = check_options(saturation, zero_tol)
        self._extras = check_extras(extras)
        self._stats: Any = None

    def update(self, chunk: Any) -> None:
        """Adds a buffer, or stats of one that was swept elsewhere with the same options.

        Raises what `summarize` and `merge` raise; what was added before stays as it was.
        """
        if not isinstance(chunk, (ActivationStats, ChannelStats)):
            lo, hi, tol = self._bounds
            chunk = summarize(chunk, axis=self._axis, saturation=(lo, hi), zero_tol=tol, extras=self._extras)
        self._stats = chunk if self._stats is None else merge([self._stats, chunk])

    @property
    def stats(self) -> Any:
        """What `summarize` would return for all chunks so far; the plain stats of no elements before the first."""
        if self._stats is not None:
            return self._stats
        return (
            detail((), "float64", self._bounds, self._extras) if self._extras else wrap(arithmetic.EMPTY, self._bounds)
        )

    def __repr__(self) -> str:
        return f"Accumulator({self.stats!r})"
