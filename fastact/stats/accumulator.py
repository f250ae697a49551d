"""`Accumulator`: the statistics of a stream, chunk by chunk."""

from collections.abc import Iterable, Sequence
from typing import Any

from fastact import arithmetic
from fastact.stats.activation import ActivationStats, wrap
from fastact.stats.channel import ChannelStats
from fastact.stats.detailed import detail
from fastact.stats.merge import merge
from fastact.stats.options import NO_EXTRAS, SATURATION, check_extras, check_options
from fastact.stats.summarize import summarize

__all__ = ["Accumulator"]


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
