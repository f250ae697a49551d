# A formula holds for numbers and for arrays, so what it returns is told by its signature alone.
# mypy: disable-error-code="no-any-return"
"""Every statistic, declared once for a tensor (`ActivationStats`) and for each of its neurons (`ChannelStats`).

A property here reads the state: a tuple of numbers for a tensor, of arrays with one entry a neuron for neurons. What
a number and an array need different code for, such as a division by zero, is a method of each of the two classes.

To add a *derived* statistic, write its property below; both classes and their kin have it then. A statistic of the
*state* is one more field of `fields.STATE`, folded by the kernels, and one more property below.
"""

import math
from typing import Any, Final, Generic, TypeVar

from fastact import frames
from fastact.arithmetic.state import ABS_MEAN, COUNT, MAX, MEAN, MIN, NANS, NEG_INFS, POS_INFS, SATURATED, STD, ZEROS
from fastact.fields import STATE
from fastact.stats.options import Bounds

#: int of a tensor, int64 array of neurons.
Count = TypeVar("Count")
#: float of a tensor, float64 array of neurons.
Value = TypeVar("Value")
#: As `Value`, in the elements' own precision: ints for integers of 64 bits, which float64 could not hold.
Extreme = TypeVar("Extreme")

NAN: Final = math.nan
#: What frames and cards have: the state, and what is asked for most of what follows from it.
SHOWN: Final = (*(field.name for field in STATE), "rms", "absmax", "zero_ratio", "saturation_ratio")


class Statistics(Generic[Count, Value, Extreme]):
    """The statistics of a sweep, read from its state. Immutable."""

    __slots__ = ()
    #: The numbers of `fields.STATE` by place; at most one read for each property, since it may wait for a GPU.
    _state: Any
    _bounds: Bounds

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name!r}")

    # What differs between numbers and arrays. Methods, since a static one takes 10 ns more to be found.

    def _times(self, a: Any, b: Any, /) -> Value:
        """a * b, inf where that overflows."""
        raise NotImplementedError

    def _hypot(self, a: Any, b: Any, /) -> Value:
        """sqrt(a^2 + b^2), in range where a and b are."""
        raise NotImplementedError

    def _ratio(self, part: Any, whole: Any) -> Value:
        """part / whole, NaN where whole is 0."""
        raise NotImplementedError

    def _magnitude(self, smallest: Any, largest: Any) -> Any:
        """The largest |x| between the two."""
        raise NotImplementedError

    def _if_finite(self, state: Any, value: Any) -> Any:
        """`value` where there are finite elements, elsewhere NaN."""
        raise NotImplementedError

    # The statistics of the state.

    @property
    def count(self) -> Count:
        """Elements swept, NaN and Inf included."""
        return self._state[COUNT]

    @property
    def nans(self) -> Count:
        """Elements that are NaN."""
        return self._state[NANS]

    @property
    def pos_infs(self) -> Count:
        """Elements that are +inf."""
        return self._state[POS_INFS]

    @property
    def neg_infs(self) -> Count:
        """Elements that are -inf."""
        return self._state[NEG_INFS]

    @property
    def zeros(self) -> Count:
        """Elements with |x| <= zero_tol (by default exact zeros of both signs)."""
        return self._state[ZEROS]

    @property
    def saturated(self) -> Count:
        """Elements x < lo or x > hi of the saturation interval; Inf is one, NaN is not."""
        return self._state[SATURATED]

    @property
    def mean(self) -> Value:
        """Mean of the finite elements."""
        return self._state[MEAN]

    @property
    def std(self) -> Value:
        """Population standard deviation (ddof 0) of the finite elements."""
        return self._state[STD]

    @property
    def abs_mean(self) -> Value:
        """Mean of |x| over the finite elements."""
        return self._state[ABS_MEAN]

    @property
    def min(self) -> Extreme:
        """Smallest finite element."""
        state = self._state
        return self._if_finite(state, state[MIN])

    @property
    def max(self) -> Extreme:
        """Largest finite element."""
        state = self._state
        return self._if_finite(state, state[MAX])

    # The statistics derived from them.

    @property
    def finite(self) -> Count:
        """Elements that are neither NaN nor Inf."""
        state = self._state
        return state[COUNT] - state[NANS] - state[POS_INFS] - state[NEG_INFS]

    @property
    def infs(self) -> Count:
        """Elements that are +inf or -inf."""
        state = self._state
        return state[POS_INFS] + state[NEG_INFS]

    @property
    def var(self) -> Value:
        """Population variance (ddof 0) of the finite elements: std squared, inf where that overflows."""
        std = self._state[STD]
        return self._times(std, std)

    @property
    def rms(self) -> Value:
        """Root mean square of the finite elements: sqrt(mean^2 + std^2)."""
        state = self._state
        return self._hypot(state[MEAN], state[STD])

    @property
    def absmax(self) -> Value:
        """Largest |x| of the finite elements."""
        state = self._state
        return self._if_finite(state, self._magnitude(state[MIN], state[MAX]))

    @property
    def zero_ratio(self) -> Value:
        """zeros / count; NaN for no elements."""
        state = self._state
        return self._ratio(state[ZEROS], state[COUNT])

    @property
    def saturation_ratio(self) -> Value:
        """saturated / count; NaN for no elements."""
        state = self._state
        return self._ratio(state[SATURATED], state[COUNT])

    # The options that they were counted with.

    @property
    def saturation(self) -> tuple[float, float]:
        """The interval (lo, hi) outside which an element counts as saturated."""
        return self._bounds[:2]

    @property
    def zero_tol(self) -> float:
        """The largest |x| that counts as a zero."""
        return self._bounds[2]

    # As frames.

    def to_pandas(self) -> Any:
        """The statistics as a `pandas.DataFrame`: a row for each neuron, or one row for a whole tensor.

        The columns are the fields of the state, ``rms``, ``absmax``, ``zero_ratio`` and ``saturation_ratio``, as
        nullable Int64 and Float64, with NA where there is nothing to measure. Neurons come first: ``neuron`` is the
        place in the flattened neuron axes, and with several axes ``neuron_0``, ``neuron_1``, ... those along each.

        Raises:
            MissingExtraError: pandas is not installed.

        Example:
            >>> import numpy as np
            >>> from fastact import summarize
            >>> summarize(np.array([[0.0, 1.0], [0.0, 3.0]]), axis=-1).to_pandas()[["neuron", "zeros", "mean"]]
               neuron  zeros  mean
            0       0      2   0.0
            1       1      0   2.0
        """
        return frames.to_pandas(self._columns())

    def to_polars(self) -> Any:
        """The statistics as a `polars.DataFrame`, with the rows and columns of `to_pandas`; null where NA is there.

        Raises:
            MissingExtraError: polars is not installed.

        Example:
            >>> import numpy as np
            >>> from fastact import summarize
            >>> summarize(np.array([[0.0, 1.0], [0.0, 3.0]]), axis=-1).to_polars()["mean"].to_list()
            [0.0, 2.0]
        """
        return frames.to_polars(self._columns())

    def to_arrow(self) -> Any:
        """What merges, as a `pyarrow.Table` of one row: what `fastact.from_arrow` reads, exactly, wherever it is.

        `fastact.to_arrow` makes one table of many stats, and `fastact.merge_arrow` merges its rows.

        Example:
            >>> import numpy as np
            >>> from fastact import from_arrow, summarize
            >>> part = summarize(np.arange(6.0).reshape(2, 3), axis=-1)
            >>> from_arrow(part.to_arrow()) == [part]
            True
        """
        from fastact.stats.rows import to_arrow  # most need no Arrow

        return to_arrow([self])  # type: ignore[list-item]

    def _columns(self) -> dict[str, frames.Column]:
        return {name: frames.floats(getattr(self, name)) for name in SHOWN}

    # Other names of the same, after the document that the project grew from.

    total_elements = count
    num_zeros = zeros
    num_saturated = saturated
    min_val = min
    max_val = max
