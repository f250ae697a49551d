"""`DeferredStats`: the statistics of a sweep on a GPU, which whoever reads them waits for."""

from collections.abc import Callable
from typing import Final, Protocol

from fastact import arithmetic
from fastact.stats.activation import ActivationStats
from fastact.stats.options import Bounds

__all__ = ["DeferredStats", "PendingState", "wrap_deferred"]


class PendingState(Protocol):
    """A state that may still be under way."""

    @property
    def done(self) -> bool:
        """Whether the state is here, or never will be."""

    def wait(self) -> arithmetic.State:
        """The state, once it is here; raises `FastactError` where it never will be."""


class DeferredStats(ActivationStats):
    """Stats of a sweep on a GPU that may be under way: whatever is read waits for that sweep, and for nothing else.

    Pickled or copied they are plain `ActivationStats`. Reading raises a `FastactError` where the numbers were lost, or
    belong to a CUDA graph, which has numbers of its own at each replay.
    """

    __slots__ = ("_pending",)
    _pending: PendingState

    @property
    def _state(self) -> arithmetic.State:  # type: ignore[override]
        return self._pending.wait()

    @property
    def ready(self) -> bool:
        """Whether reading would not wait."""
        return self._pending.done


_set_bounds: Final[Callable[..., None]] = ActivationStats.__dict__["_bounds"].__set__
_set_pending: Final[Callable[..., None]] = DeferredStats.__dict__["_pending"].__set__


def wrap_deferred(pending: PendingState, bounds: Bounds) -> DeferredStats:
    """Stats around the result of a kernel that is under way."""
    stats = DeferredStats.__new__(DeferredStats)
    _set_pending(stats, pending)
    _set_bounds(stats, bounds)
    return stats
