"""`ChannelStats`: the statistics of each neuron of a tensor. They wrap the memory of a sweep."""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.arithmetic.state import COUNT, NANS, NEG_INFS, POS_INFS, STORED_AT
from fastact.checks import check_number, check_share
from fastact.cpu.sweep import merge_kernel
from fastact.cpu.workspace import NeuronStates, NeuronWorkspace, summarize_neurons
from fastact.errors import ArgumentValueError
from fastact.frames import Column
from fastact.stats.activation import ActivationStats, as_logged, wrap
from fastact.stats.options import Bounds, check_same_options
from fastact.stats.statistics import NAN, Statistics

_Floats = npt.NDArray[np.float64]


class _StateOfEach:
    """The state of each neuron, to be read as a tensor's is: by the places of `arithmetic.state`. Read-only."""

    __slots__ = ("_shape", "arrays", "total")

    def __init__(self, arrays: NeuronStates, shape: tuple[int, ...]) -> None:
        for array in arrays[:3]:
            array.setflags(write=False)
        self.arrays = arrays
        self.total = arrays.total
        self._shape = shape

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """Which neurons have finite elements."""
        counts = self.arrays.counts
        finite: npt.NDArray[np.bool_] = counts[COUNT] > counts[NANS] + counts[POS_INFS] + counts[NEG_INFS]
        return finite.reshape(self._shape)

    def __getitem__(self, field: int) -> npt.NDArray[Any]:
        array, row = STORED_AT[field]
        values: npt.NDArray[Any] = self.arrays[array][row]
        return values if len(self._shape) == 1 else values.reshape(self._shape)


class ChannelStats(Statistics[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[Any]]):
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
    _found: _StateOfEach | NeuronWorkspace
    _bounds: Bounds
    #: Shape of the neuron axes; every property has it.
    shape: tuple[int, ...]

    @property
    def _state(self) -> _StateOfEach:
        found = self._found
        if type(found) is NeuronWorkspace:
            # Only now: most stats are asked for their total alone, and made for every layer at every step.
            found = _StateOfEach(found.arrays(), self.shape)
            _set_found(self, found)
        return found  # type: ignore[return-value]

    @property
    def _arrays(self) -> NeuronStates:
        return self._state.arrays

    def _times(self, a: Any, b: Any) -> _Floats:
        with np.errstate(over="ignore", under="ignore"):
            return np.multiply(a, b)  # type: ignore[no-any-return]

    def _hypot(self, a: Any, b: Any) -> _Floats:
        return np.hypot(a, b)  # type: ignore[no-any-return]

    def _ratio(self, part: Any, whole: Any) -> _Floats:
        ratio = np.full(part.shape, NAN)
        np.divide(part, whole, out=ratio, where=whole > 0)
        return ratio

    def _magnitude(self, smallest: Any, largest: Any) -> _Floats:
        magnitudes = (np.abs(extreme.astype(np.float64)) for extreme in (smallest, largest))
        return np.maximum(*magnitudes)  # type: ignore[no-any-return]

    def _if_finite(self, state: Any, value: Any) -> npt.NDArray[Any]:
        finite = state.finite
        return value if finite.all() else np.where(finite, value, NAN)

    @property
    def neurons(self) -> int:
        """How many neurons there are."""
        return math.prod(self.shape)

    @property
    def total(self) -> ActivationStats:
        """The stats of the whole tensor, from the same sweep."""
        return wrap(self._found.total, self._bounds)

    def dead(self, threshold: float = 0.01) -> npt.NDArray[np.bool_]:
        """Which neurons are silent: at most `threshold` of their elements differ from zero (bool, shape of the axes).

        The default is SageMaker Debugger's DeadRelu: a unit active under 1% of the time. With threshold=0 a neuron
        is dead when all of its elements are zero. NaN is not zero; a neuron without elements is not dead.

        Raises:
            ArgumentTypeError: `threshold` is not a number.
            ArgumentValueError: `threshold` is not from 0 to 1.
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
        self, saturated_share: float, silence: npt.NDArray[np.int64], weight: int, dead_after: int
    ) -> tuple[Any, ...]:
        """The numbers of `fields.STATE` and `fields.NEURON` for this sweep, in that order.

        Args:
            saturated_share: a neuron is saturated with at least this share of saturated elements.
            silence: int64[neurons], what each neuron's silence has come to; brought up to date.
            weight: what this sweep adds to it where a neuron has no non-zero element (`arithmetic.silence`).
            dead_after: a neuron is dead when its silence has come to this.
        """
        found = self._found
        if type(found) is NeuronWorkspace:
            return found.numbers(saturated_share, silence, weight, dead_after)
        arrays = self._arrays
        neurons = summarize_neurons(arrays, saturated_share, silence, weight, dead_after)
        return *as_logged(arrays.total), self.neurons, *neurons

    def _columns(self) -> dict[str, Column]:
        columns = {"neuron": Column(np.arange(self.neurons))}
        if len(self.shape) > 1:
            places = np.indices(self.shape).reshape(len(self.shape), -1)
            columns |= {f"neuron_{axis}": Column(place) for axis, place in enumerate(places)}
        return columns | super()._columns()

    def _repr_html_(self) -> str:
        from fastact.stats.cards import card_of_neurons  # only a notebook pays for it

        return card_of_neurons(self).to_html()

    def __or__(self, other: "ChannelStats") -> "ChannelStats":
        if not isinstance(other, ChannelStats):
            return NotImplemented
        if self.shape != other.shape:
            raise ArgumentValueError(f"merge: got neurons of shape {self.shape} and {other.shape}, want the same")
        both = bool(self._found.total[COUNT] and other._found.total[COUNT])
        check_same_options(self._bounds, other._bounds, both)
        if not both:
            return self if self._found.total[COUNT] else other
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
_set_bounds: Final[Callable[..., None]] = ChannelStats.__dict__["_bounds"].__set__
_set_shape: Final[Callable[..., None]] = ChannelStats.__dict__["shape"].__set__


def wrap_channels(found: NeuronStates | NeuronWorkspace, bounds: Bounds, shape: tuple[int, ...]) -> ChannelStats:
    """Stats around the result of a sweep per neuron, whose arrays become read-only."""
    stats = ChannelStats.__new__(ChannelStats)
    _set_found(stats, _StateOfEach(found, shape) if type(found) is NeuronStates else found)
    _set_bounds(stats, bounds)
    _set_shape(stats, shape)
    return stats


def wrap_workspace(workspace: NeuronWorkspace) -> ChannelStats:
    """Stats around the memory of a sweep whose neurons have one axis."""
    return wrap_channels(workspace, workspace.plan.bounds, (workspace.plan.neurons,))
