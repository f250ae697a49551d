"""Summaries of activations: what a sweep yields, and how two of them merge.

`ActivationStats` wraps the tuple that a kernel returned and computes nothing until it is asked.
"""

import collections
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, overload

import numpy as np
import numpy.typing as npt

from fastact import arithmetic
from fastact.checks import check_number, check_share
from fastact.cpu.sweep import merge_kernel
from fastact.cpu.workspace import NeuronStates, NeuronWorkspace, summarize_neurons
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import STATE

__all__ = [
    "DEFAULT_BOUNDS",
    "EXTRA_OF",
    "SATURATION",
    "ActivationStats",
    "Bounds",
    "ChannelStats",
    "DeferredStats",
    "as_logged",
    "check_bounds",
    "merge",
    "missing_extra",
    "wrap",
    "wrap_all",
    "wrap_channels",
    "wrap_late",
    "wrap_swept",
]

#: The options of a sweep: the saturation interval's ends and the largest |x| that counts as a zero.
Bounds = tuple[float, float, float]

#: The default saturation interval: tanh's ends.
SATURATION: Final = (-0.99, 0.99)
DEFAULT_BOUNDS: Final[Bounds] = (*SATURATION, 0.0)
_NAN: Final = math.nan

#: Which of `summarize`'s extras brings which attribute of `extras.DetailedStats`.
EXTRA_OF: Final = {
    "skewness": "shape",
    "kurtosis": "shape",
    "exponents": "exponents",
    "overflow_share": "exponents",
    "underflow_share": "exponents",
    "denormal_share": "exponents",
    "quantile": "quantiles",
    "quantile_error": "quantiles",
    "outliers": "outliers",
}


def missing_extra(name: str) -> AttributeError:
    """What to raise when an extra's attribute is asked of stats that were made without it."""
    return AttributeError(f"{name}: these stats were made without it, want summarize(x, extras={EXTRA_OF[name]!r})")


class _Immutable:
    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name!r}")


class ActivationStats(_Immutable):
    """What one sweep says of a tensor: immutable, mergeable.

    Moments and extremes are over the finite elements, counts and ratios over all. Without a finite element, mean,
    std, min, max and whatever follows from them are NaN. Counts are ints, the rest are floats in the tensor's units
    (min and max of 64-bit integers stay ints, which float64 could not hold).

    Two of them merge with ``|``: counts, min and max exactly, moments to float64 rounding.

    Example:
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
        cls, state: tuple[Any, ...], *, saturation: tuple[float, float] = SATURATION, zero_tol: float = 0.0
    ) -> Self:
        """Stats with the numbers of `fields.STATE`, in that order; the options are those of the sweep that made them.

        Raises:
            ArgumentValueError: `state` does not have one number for each field.
        """
        if len(state) != len(STATE):
            raise ArgumentValueError(f"state: got {len(state)} numbers, want {len(STATE)}, as in fields.STATE")
        self = cls.__new__(cls)
        _set_state(self, (*state, 0.0))
        _set_bounds(self, (*saturation, zero_tol))
        return self

    @property
    def state(self) -> tuple[int, int, int, int, int, int, float, float, float, float, float]:
        """The numbers of `fields.STATE`, in that order: what merges, and what the log keeps."""
        return self._state[:11]

    @property
    def count(self) -> int:
        """Elements swept, NaN and Inf included."""
        return self._state[0]

    @property
    def finite(self) -> int:
        """Elements that are neither NaN nor Inf."""
        state = self._state
        return state[0] - state[1] - state[2] - state[3]

    @property
    def nans(self) -> int:
        """Elements that are NaN."""
        return self._state[1]

    @property
    def infs(self) -> int:
        """Elements that are +inf or -inf."""
        return self._state[2] + self._state[3]

    @property
    def pos_infs(self) -> int:
        """Elements that are +inf."""
        return self._state[2]

    @property
    def neg_infs(self) -> int:
        """Elements that are -inf."""
        return self._state[3]

    @property
    def zeros(self) -> int:
        """Elements with |x| <= zero_tol (by default exact zeros of both signs)."""
        return self._state[4]

    @property
    def saturated(self) -> int:
        """Elements x < lo or x > hi of the saturation interval; Inf is one, NaN is not."""
        return self._state[5]

    @property
    def mean(self) -> float:
        """Mean of the finite elements."""
        return self._state[6]

    @property
    def std(self) -> float:
        """Population standard deviation (ddof 0) of the finite elements."""
        return self._state[7]

    @property
    def var(self) -> float:
        """Population variance (ddof 0) of the finite elements: std squared, inf where that overflows."""
        return self._state[7] * self._state[7]

    @property
    def min(self) -> float:
        """Smallest finite element."""
        return self._state[9] if self.finite else _NAN

    @property
    def max(self) -> float:
        """Largest finite element."""
        return self._state[10] if self.finite else _NAN

    @property
    def absmax(self) -> float:
        """Largest |x| of the finite elements."""
        return max(-self._state[9], self._state[10]) if self.finite else _NAN

    @property
    def abs_mean(self) -> float:
        """Mean of |x| over the finite elements."""
        return self._state[8]

    @property
    def rms(self) -> float:
        """Root mean square of the finite elements: sqrt(mean^2 + std^2)."""
        return math.hypot(self._state[6], self._state[7])

    @property
    def zero_ratio(self) -> float:
        """zeros / count; NaN for no elements."""
        return self._state[4] / self._state[0] if self._state[0] else _NAN

    @property
    def saturation_ratio(self) -> float:
        """saturated / count; NaN for no elements."""
        return self._state[5] / self._state[0] if self._state[0] else _NAN

    @property
    def saturation(self) -> tuple[float, float]:
        """The interval (lo, hi) outside which an element counts as saturated."""
        return self._bounds[:2]

    @property
    def zero_tol(self) -> float:
        """The largest |x| that counts as a zero."""
        return self._bounds[2]

    total_elements = count
    num_zeros = zeros
    num_saturated = saturated
    min_val = min
    max_val = max

    if not TYPE_CHECKING:  # or any misspelt attribute would have a type

        def __getattr__(self, name: str) -> Any:
            if name in EXTRA_OF:
                raise missing_extra(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def to_dict(self) -> dict[str, float]:
        """The numbers of `fields.STATE` by name; min and max are NaN without a finite element.

        Example:
            >>> from fastact import summarize
            >>> summarize(np.zeros(3)).to_dict()["zeros"]
            3
        """
        return {field.name: getattr(self, field.name) for field in STATE}

    def __or__(self, other: "ActivationStats") -> "ActivationStats":
        if not isinstance(other, ActivationStats):
            return NotImplemented
        check_bounds(self._bounds, other._bounds, bool(self.count and other.count))
        bounds = self._bounds if self.count else other._bounds
        return wrap(arithmetic.merge(self._state, other._state), bounds)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActivationStats):
            return NotImplemented
        pairs = zip(self.state, other.state, strict=True)
        return self._bounds == other._bounds and all(a == b or (a != a and b != b) for a, b in pairs)

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


_new_stats: Final = ActivationStats.__new__
# The slots' own setters: they pass by the immutability, and cost 20 ns each.
_set_state: Final[Callable[..., None]] = ActivationStats.__dict__["_state"].__set__
_set_bounds: Final[Callable[..., None]] = ActivationStats.__dict__["_bounds"].__set__


def wrap(state: arithmetic.State, bounds: Bounds) -> ActivationStats:
    """Stats around a kernel's result."""
    stats = _new_stats(ActivationStats)
    _set_state(stats, state)
    _set_bounds(stats, bounds)
    return stats


def wrap_all(states: Sequence[arithmetic.State], bounds: Bounds) -> list[ActivationStats]:
    """Stats around many results, in two thirds of the time."""
    stats = list(map(_new_stats, itertools.repeat(ActivationStats, len(states))))
    collections.deque(map(_set_state, stats, states), maxlen=0)
    collections.deque(map(_set_bounds, stats, itertools.repeat(bounds)), maxlen=0)
    return stats


def as_logged(state: Sequence[Any]) -> tuple[Any, ...]:
    """The numbers of `fields.STATE`; of 64-bit integers too min and max as floats, so that live and log agree."""
    return (*state[:9], float(state[9]), float(state[10]))


class Late(Protocol):
    """Stats on their way."""

    @property
    def done(self) -> bool:
        """Whether they are here, or never will be."""

    def wait(self) -> arithmetic.State:
        """The state, when it is here; raises `FastactError` where it never will be."""


class DeferredStats(ActivationStats):
    """Stats of a sweep on a GPU that may be under way: whatever is read waits for that sweep, and for nothing else.

    Pickled or copied they are plain `ActivationStats`. Reading raises a `FastactError` where the numbers were lost, or
    belong to a CUDA graph, which has numbers of its own at each replay.
    """

    __slots__ = ("_late",)
    _late: Late

    @property
    def _state(self) -> arithmetic.State:  # type: ignore[override]
        return self._late.wait()

    @property
    def ready(self) -> bool:
        """Whether reading would not wait."""
        return self._late.done


_set_late: Final[Callable[..., None]] = DeferredStats.__dict__["_late"].__set__


def wrap_late(late: Late, bounds: Bounds) -> DeferredStats:
    """Stats around the result of a kernel that is under way."""
    stats = DeferredStats.__new__(DeferredStats)
    _set_late(stats, late)
    _set_bounds(stats, bounds)
    return stats


class ChannelStats(_Immutable):
    """The same names as `ActivationStats`, each an array with one entry per neuron; `total` is the whole tensor.

    Counts are int64 arrays, the rest float64 (min and max in the elements' own precision), all read-only and of the
    shape of the neuron axes.

    Example:
        >>> from fastact import summarize
        >>> c = summarize(np.array([[0.0, 1.0], [0.0, 3.0]]), axis=-1)
        >>> c.mean.tolist(), c.dead().tolist(), c.total.zeros
        ([0.0, 2.0], [True, False], 2)
    """

    __slots__ = ("_bounds", "_found", "shape")
    _found: NeuronStates | NeuronWorkspace
    _bounds: Bounds
    #: Shape of the neuron axes; every property has it.
    shape: tuple[int, ...]

    @property
    def _arrays(self) -> NeuronStates:
        found = self._found
        if type(found) is not NeuronStates:
            # Most stats are asked for their total alone, and made for every layer at every step.
            found = found.arrays()  # type: ignore[union-attr]
            for array in found[:3]:
                array.flags.writeable = False
            _set_found(self, found)
        return found

    def _count(self, row: int) -> npt.NDArray[np.int64]:
        values: npt.NDArray[np.int64] = self._arrays.counts[row].reshape(self.shape)
        return values

    def _moment(self, row: int) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64] = self._arrays.moments[row].reshape(self.shape)
        return values

    def _extreme(self, row: int) -> npt.NDArray[Any]:
        values = self._arrays.extremes[row].reshape(self.shape)
        finite = self.finite
        return values if finite.all() else np.where(finite > 0, values, _NAN)

    @property
    def neurons(self) -> int:
        """How many neurons there are."""
        return math.prod(self.shape)

    @property
    def total(self) -> ActivationStats:
        """The stats of the whole tensor, from the same sweep."""
        return wrap(self._found.total, self._bounds)

    @property
    def count(self) -> npt.NDArray[np.int64]:
        """Elements of each neuron."""
        return self._count(0)

    @property
    def finite(self) -> npt.NDArray[np.int64]:
        """Finite elements of each neuron."""
        counts = self._arrays.counts
        values: npt.NDArray[np.int64] = (counts[0] - counts[1] - counts[2] - counts[3]).reshape(self.shape)
        return values

    @property
    def nans(self) -> npt.NDArray[np.int64]:
        """NaN elements of each neuron."""
        return self._count(1)

    @property
    def pos_infs(self) -> npt.NDArray[np.int64]:
        """Elements of each neuron that are +inf."""
        return self._count(2)

    @property
    def neg_infs(self) -> npt.NDArray[np.int64]:
        """Elements of each neuron that are -inf."""
        return self._count(3)

    @property
    def infs(self) -> npt.NDArray[np.int64]:
        """Elements of each neuron that are +inf or -inf."""
        return self._count(2) + self._count(3)

    @property
    def zeros(self) -> npt.NDArray[np.int64]:
        """Elements of each neuron with |x| <= zero_tol."""
        return self._count(4)

    @property
    def saturated(self) -> npt.NDArray[np.int64]:
        """Saturated elements of each neuron."""
        return self._count(5)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean of each neuron's finite elements."""
        return self._moment(0)

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """Population standard deviation of each neuron's finite elements."""
        return self._moment(1)

    @property
    def var(self) -> npt.NDArray[np.float64]:
        """Population variance of each neuron's finite elements: std squared, inf where that overflows."""
        with np.errstate(over="ignore", under="ignore"):
            return np.square(self._moment(1))

    @property
    def abs_mean(self) -> npt.NDArray[np.float64]:
        """Mean of |x| over each neuron's finite elements."""
        return self._moment(2)

    @property
    def rms(self) -> npt.NDArray[np.float64]:
        """Root mean square of each neuron's finite elements."""
        return np.hypot(self._moment(0), self._moment(1))

    @property
    def min(self) -> npt.NDArray[Any]:
        """Smallest finite element of each neuron."""
        return self._extreme(0)

    @property
    def max(self) -> npt.NDArray[Any]:
        """Largest finite element of each neuron."""
        return self._extreme(1)

    @property
    def absmax(self) -> npt.NDArray[np.float64]:
        """Largest |x| of each neuron's finite elements."""
        return np.maximum(np.abs(self.min.astype(np.float64)), np.abs(self.max.astype(np.float64)))

    @property
    def zero_ratio(self) -> npt.NDArray[np.float64]:
        """zeros / count of each neuron; NaN for no elements."""
        return _ratio(self.zeros, self.count)

    @property
    def saturation_ratio(self) -> npt.NDArray[np.float64]:
        """saturated / count of each neuron; NaN for no elements."""
        return _ratio(self.saturated, self.count)

    @property
    def saturation(self) -> tuple[float, float]:
        """The interval (lo, hi) outside which an element counts as saturated."""
        return self._bounds[:2]

    @property
    def zero_tol(self) -> float:
        """The largest |x| that counts as a zero."""
        return self._bounds[2]

    total_elements = count
    num_zeros = zeros
    num_saturated = saturated
    min_val = min
    max_val = max

    def dead(self, threshold: float = 0.01) -> npt.NDArray[np.bool_]:
        """Which neurons are silent: at most `threshold` of their elements differ from zero (bool, shape of the axes).

        The default is SageMaker Debugger's DeadRelu: a unit active under 1% of the time. With threshold=0 a neuron
        is dead when all of its elements are zero. NaN is not zero; a neuron without elements is not dead.
        """
        check_share("threshold", threshold)
        count = self.count
        return (count > 0) & (count - self.zeros <= threshold * count)

    def outliers(self, threshold: float = 6.0) -> npt.NDArray[np.bool_]:
        """Which neurons hold an outlier: a finite |x - mean| > `threshold` * std (bool, shape of the axes).

        mean and std are the whole tensor's (`total`), exact as the sweep knows them. The default, 6, is that of
        Bondarenko et al. (2021), "Understanding and overcoming the challenges of efficient transformer quantization".
        Dettmers et al. (2022), "LLM.int8()", take a magnitude instead: ``absmax >= 6``.

        Raises:
            ArgumentTypeError: `threshold` is not a number.
            ArgumentValueError: `threshold` is negative or NaN.

        Example:
            >>> from fastact import summarize
            >>> x = np.tile([1.0, -1.0, 0.5], (100, 1))
            >>> x[7, 2] = 40.0
            >>> summarize(x, axis=-1).outliers().tolist()
            [False, False, True]
        """
        check_number("threshold", threshold, 0)
        # In halves, since x - mean may be out of range where x is not. NaN, for no finite element, is no outlier.
        mean, reach = 0.5 * self.total.mean, threshold * (0.5 * self.total.std)
        low, high = (0.5 * values.astype(np.float64) - mean for values in (self.min, self.max))
        result: npt.NDArray[np.bool_] = (high > reach) | (low < -reach)
        return result

    def numbers(
        self, silent_share: float, saturated_share: float, silence: npt.NDArray[np.int64], dead_after: int
    ) -> tuple[Any, ...]:
        """The numbers of `fields.STATE` and `fields.NEURON` for this sweep, in that order.

        Args:
            silent_share: a neuron is silent with at most this share of non-zero elements.
            saturated_share: a neuron is saturated with at least this share of saturated elements.
            silence: int64[neurons], for how many sweeps in sequence each neuron has been silent; brought up to date.
            dead_after: a neuron is dead when it has been silent for at least so many sweeps.
        """
        found = self._found
        if type(found) is NeuronWorkspace:
            return found.numbers(silent_share, saturated_share, silence, dead_after)
        arrays = self._arrays
        neurons = summarize_neurons(arrays, silent_share, saturated_share, silence, dead_after)
        return *as_logged(arrays.total), self.neurons, *neurons

    def __or__(self, other: "ChannelStats") -> "ChannelStats":
        if not isinstance(other, ChannelStats):
            return NotImplemented
        if self.shape != other.shape:
            raise ArgumentValueError(f"merge: got neurons of shape {self.shape} and {other.shape}, want the same")
        both = bool(self._found.total[0] and other._found.total[0])
        check_bounds(self._bounds, other._bounds, both)
        if not both:
            return self if self._found.total[0] else other
        sides = (self._arrays, other._arrays)
        dtype = sides[0].extremes.dtype
        if dtype != sides[1].extremes.dtype:
            dtype = np.dtype(np.float64)
        outputs = [np.ascontiguousarray(np.stack([side[i] for side in sides], 1)) for i in range(2)]
        extremes = np.ascontiguousarray(np.stack([side.extremes.astype(dtype) for side in sides], 1))
        total = merge_kernel(dtype)(*outputs, extremes)
        return wrap_channels(
            NeuronStates(outputs[0][:, 0], outputs[1][:, 0], extremes[:, 0], total), self._bounds, self.shape
        )

    def __len__(self) -> int:
        return self.neurons

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChannelStats):
            return NotImplemented
        mine, theirs = self._arrays, other._arrays
        return (
            self._bounds == other._bounds
            and self.shape == other.shape
            and np.array_equal(mine.counts, theirs.counts)
            and np.array_equal(mine.moments, theirs.moments, equal_nan=True)
            and np.array_equal(mine.extremes, theirs.extremes)
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return wrap_channels, (self._arrays, self._bounds, self.shape)

    def __repr__(self) -> str:
        return f"ChannelStats(neurons={self.neurons}, dead={int(self.dead().sum())}, total={self.total!r})"


_set_found: Final[Callable[..., None]] = ChannelStats.__dict__["_found"].__set__
_set_channel_bounds: Final[Callable[..., None]] = ChannelStats.__dict__["_bounds"].__set__
_set_shape: Final[Callable[..., None]] = ChannelStats.__dict__["shape"].__set__


def wrap_channels(found: NeuronStates | NeuronWorkspace, bounds: Bounds, shape: tuple[int, ...]) -> ChannelStats:
    """Stats around the result of a sweep per neuron, whose arrays become read-only."""
    stats = ChannelStats.__new__(ChannelStats)
    if type(found) is NeuronStates:
        for array in found[:3]:
            array.flags.writeable = False
    _set_found(stats, found)
    _set_channel_bounds(stats, bounds)
    _set_shape(stats, shape)
    return stats


def wrap_swept(swept: NeuronWorkspace) -> ChannelStats:
    """The same around the memory of a sweep, where the neurons have one axis."""
    return wrap_channels(swept, swept.plan.bounds, (swept.plan.neurons,))


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    ratio = np.full(part.shape, _NAN)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def check_bounds(a: Bounds, b: Bounds, both: bool) -> None:
    """Refuses to merge what was counted with different options, unless one side is empty."""
    if both and a != b:
        raise ArgumentValueError(
            f"merge: got stats counted with saturation={a[:2]}, zero_tol={a[2]} and with saturation={b[:2]}, "
            f"zero_tol={b[2]}, want the same: their counts do not add up"
        )


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
