"""`ActivationStats`: the statistics of a whole tensor, around the tuple that a kernel returned or is yet to return."""

import collections
import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from fastact import arithmetic
from fastact.arithmetic.in_python import merge_states
from fastact.arithmetic.state import COUNT, MAX, MEAN, MIN, NANS, NEG_INFS, POS_INFS, REST
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import STATE
from fastact.stats.options import DEFAULT_BOUNDS, EXTRA_OF, SATURATION, Bounds, check_same_options, missing_extra
from fastact.stats.statistics import NAN, Statistics


class ActivationStats(Statistics[int, float, float]):
    """The statistics of a tensor, from one sweep: immutable, mergeable.

    Moments and extremes are over the finite elements, counts and ratios over all. Without a finite element, mean,
    std, min, max and whatever follows from them are NaN. Counts are ints, the rest are floats in the tensor's units
    (min and max of 64-bit integers stay ints, which float64 could not hold).

    Two of them merge with ``|``: counts, min and max exactly, moments to float64 rounding.

    Example:
        >>> import numpy as np
        >>> from fastact import summarize
        >>> s = summarize(np.array([0.0, 1.0, -2.0, np.nan], np.float32))
        >>> s.count, s.nans, s.zeros, s.mean, s.min, s.max
        (4, 1, 1, -0.3333333333333333, -2.0, 1.0)
        >>> (s | s).count
        8
    """

    __slots__ = ("_bounds", "_state")
    _bounds: Bounds
    _state: arithmetic.State

    @classmethod
    def from_state(
        cls,
        state: Sequence[Any] | Mapping[str, Any],
        *,
        saturation: tuple[float, float] | None = None,
        zero_tol: float | None = None,
    ) -> "ActivationStats":
        """Stats with the numbers of `fields.STATE`: what `state` or `to_dict` gave.

        Args:
            state: those numbers in that order, or by name. Of what `to_dict` gave nothing is lost: it merges as the
                stats that it came from, and with the extras of `DetailedStats` it is one.
            saturation: as in the sweep that made them; by default what the mapping says, else that of `summarize`.
            zero_tol: likewise.

        Raises:
            ArgumentTypeError: `state` is neither a sequence nor a mapping.
            ArgumentValueError: `state` does not have one number for each field, or they contradict each other.

        Example:
            >>> import json
            >>> from fastact import ActivationStats, summarize
            >>> part = summarize([1.0, 2.0, 4.0])
            >>> kept = json.dumps(part.to_dict())
            >>> ActivationStats.from_state(json.loads(kept)) == part
            True
        """
        if isinstance(state, Mapping):
            from fastact.stats.plain import from_mapping

            return from_mapping(state, saturation, zero_tol)
        if not isinstance(state, Sequence) or isinstance(state, (str, bytes)):
            raise ArgumentTypeError(f"state: got {type(state).__name__}, want a sequence of numbers or a mapping")
        if len(state) != len(STATE):
            raise ArgumentValueError(f"state: got {len(state)} numbers, want {len(STATE)}, as in fields.STATE")
        if not state[COUNT] - state[NANS] - state[POS_INFS] - state[NEG_INFS]:
            # Not NaN, as `min` and `max` have it: merged with anything, that would stay.
            state = (*state[:MEAN], *arithmetic.EMPTY[MEAN : len(STATE)])
        own = bool(saturation or zero_tol)
        return wrap((*state, 0.0), (*(saturation or SATURATION), zero_tol or 0.0) if own else DEFAULT_BOUNDS)

    @property
    def nulls(self) -> int:
        """How many elements were null, in a table, a data frame or a column of one, and so are in no other number.

        It merges by ``|`` and `fastact.merge`; a log's row and `to_dict` do not have it.

        Example:
            >>> import pyarrow as pa
            >>> from fastact import summarize
            >>> s = summarize(pa.array([1.0, None, 3.0]))
            >>> s.count, s.nulls, s.mean
            (2, 1, 2.0)
        """
        return 0

    @property
    def state(self) -> tuple[Any, ...]:
        """The numbers of `fields.STATE`, in that order: what merges, and what the log keeps."""
        return self._state[: len(STATE)]

    # Builtin functions, which do not bind.
    _times = operator.mul  # type: ignore[assignment]
    _hypot = math.hypot

    def _ratio(self, part: int, whole: int) -> float:
        return part / whole if whole else NAN

    def _magnitude(self, smallest: float, largest: float) -> float:
        return max(-smallest, largest)

    def _if_finite(self, state: arithmetic.State, value: float) -> float:
        return value if state[COUNT] - state[NANS] - state[POS_INFS] - state[NEG_INFS] else NAN

    def to_dict(self) -> dict[str, Any]:
        """All that merges, by name: what `from_state` takes back without a loss.

        The numbers of `fields.STATE` (min and max are NaN without a finite element), then ``mean_rest``, what rounding
        took from the mean, and the options ``saturation_low``, ``saturation_high`` and ``zero_tol``.

        Example:
            >>> import numpy as np
            >>> from fastact import summarize
            >>> summarize(np.zeros(3)).to_dict()["zeros"]
            3
        """
        state, bounds = self._state, self._bounds
        numbers = {field.name: getattr(self, field.name) for field in STATE}
        options = zip(("saturation_low", "saturation_high", "zero_tol"), bounds, strict=True)
        return numbers | {"mean_rest": state[REST]} | dict(options)

    def _repr_html_(self) -> str:
        from fastact.stats.cards import card_of_tensor  # only a notebook pays for it

        return card_of_tensor(self).to_html()

    def __or__(self, other: "ActivationStats") -> "ActivationStats":
        if not isinstance(other, ActivationStats):
            return NotImplemented
        check_same_options(self._bounds, other._bounds, bool(self.count and other.count))
        bounds = self._bounds if self.count else other._bounds
        return wrap_with_nulls(merge_states(self._state, other._state), bounds, self.nulls + other.nulls)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActivationStats):
            return NotImplemented
        pairs = zip(self.state, other.state, strict=True)
        same = self._bounds == other._bounds and self.nulls == other.nulls
        return same and all(a == b or (a != a and b != b) for a, b in pairs)

    def __hash__(self) -> int:
        return hash((self._bounds, *(0 if value != value else value for value in self.state)))

    def __reduce__(self) -> tuple[Any, ...]:
        return wrap, (self._state, self._bounds)

    def __repr__(self) -> str:
        return (
            f"ActivationStats(count={self.count}, mean={self.mean:.6g}, std={self.std:.6g}, min={self.min:.6g}, "
            f"max={self.max:.6g}, zeros={self.zeros}, saturated={self.saturated}, nans={self.nans}, "
            f"infs={self.infs})"
        )


class _MissingExtra:
    """Stands for an attribute of `DetailedStats` in stats without that extra; `__getattr__` would slow all others."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, stats: object, owner: type) -> Any:
        raise missing_extra(self._name)


for _name in EXTRA_OF:  # not in the class's body, where type checkers would take each for an attribute
    setattr(ActivationStats, _name, _MissingExtra(_name))

new_stats: Final = ActivationStats.__new__
# The slots' own: setters pass by the immutability, and each costs 20 ns, where a property takes 60.
set_state: Final[Callable[..., None]] = ActivationStats.__dict__["_state"].__set__
set_bounds: Final[Callable[..., None]] = ActivationStats.__dict__["_bounds"].__set__
get_state: Final[Callable[..., arithmetic.State]] = ActivationStats.__dict__["_state"].__get__


def wrap(state: arithmetic.State, bounds: Bounds) -> ActivationStats:
    """Stats around a kernel's result."""
    stats = new_stats(ActivationStats)
    set_state(stats, state)
    set_bounds(stats, bounds)
    return stats


class NullableStats(ActivationStats):
    """Stats of what has nulls."""

    __slots__ = ("_nulls",)
    _nulls: int

    @property
    def nulls(self) -> int:
        """How many elements were null."""
        return self._nulls

    def __reduce__(self) -> tuple[Any, ...]:
        return wrap_with_nulls, (self._state, self._bounds, self._nulls)


def wrap_with_nulls(state: arithmetic.State, bounds: Bounds, nulls: int) -> ActivationStats:
    """`wrap`, with the number of nulls beside them."""
    if not nulls:
        return wrap(state, bounds)
    stats = new_stats(NullableStats)
    set_state(stats, state)
    set_bounds(stats, bounds)
    _set_nulls(stats, nulls)
    return stats


_set_nulls: Final[Callable[..., None]] = NullableStats.__dict__["_nulls"].__set__


def wrap_all(states: Sequence[arithmetic.State], bounds: Bounds) -> list[ActivationStats]:
    """Stats around many results, in two thirds of the time."""
    stats = list(map(new_stats, itertools.repeat(ActivationStats, len(states))))
    collections.deque(map(set_state, stats, states), maxlen=0)
    collections.deque(map(set_bounds, stats, itertools.repeat(bounds)), maxlen=0)
    return stats


def as_logged(state: Sequence[Any]) -> tuple[Any, ...]:
    """The numbers of `fields.STATE`; of 64-bit integers too min and max as floats, so that live and log agree."""
    return (*state[:MIN], float(state[MIN]), float(state[MAX]))


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


_set_pending: Final[Callable[..., None]] = DeferredStats.__dict__["_pending"].__set__


def wrap_deferred(pending: PendingState, bounds: Bounds) -> DeferredStats:
    """Stats around the result of a kernel that is under way."""
    stats = DeferredStats.__new__(DeferredStats)
    _set_pending(stats, pending)
    set_bounds(stats, bounds)
    return stats
