"""`DetailedStats`: what `summarize(x, extras=...)` tells beside the plain stats.

Two things are kept, and both merge: the third and fourth moments (Pébay 2008), for the shape of the distribution, and a
histogram (`buckets`), for what it is made of.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES, NARROW_FLOATS
from fastact.arithmetic.in_python import merge_states
from fastact.checks import check_not_negative
from fastact.cpu.extras import TALLIES, sweep_details
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.stats.activation import ActivationStats
from fastact.stats.buckets import bucket_values, empty, far_end, sorted_once, stored_values, tally, to_buckets
from fastact.stats.options import EXTRA_OF, Bounds, check_same_options, missing_extra
from fastact.stats.statistics import NAN

#: The types of which `overflow_share` and its kin speak, in the order of the tally's counters.
_TYPES: Final = tuple(NARROW_FLOATS)
#: Counters of a sweep are 32 bits wide.
_AT_MOST: Final = 1 << 31


class Exponents(NamedTuple):
    """How many finite non-zero elements have each binary exponent.

    Attributes:
        exponent: int64[k], ascending without gaps from the smallest to the largest there is: 2^e <= |x| < 2^(e + 1).
        counts: int64[k], elements of each.
    """

    exponent: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


class Outliers(NamedTuple):
    """A count of elements beyond a threshold: the same number twice where it is exact.

    Attributes:
        at_least: elements that certainly are beyond.
        at_most: those, and the elements of the buckets that the threshold divides.
    """

    at_least: int
    at_most: int


class _Details(NamedTuple):
    extras: tuple[str, ...]
    shape: arithmetic.Shape
    #: As in `cpu.extras.TALLIES`.
    tally: tuple[int, ...]
    #: Whether `values` are the elements' own; otherwise each is the end of its bucket that is nearer to zero.
    exact: bool
    #: float64[k] ascending, finite, each once; and int64[k], how many elements have it.
    values: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


class DetailedStats(ActivationStats):
    """ActivationStats with the extras that `summarize` was asked for: immutable, mergeable with its like.

    An attribute of an extra that was not asked for raises AttributeError, which names the extra.

    Example:
        >>> from fastact import summarize
        >>> x = np.array([1.0, 2.0, 3.0, 4.0, 100.0], np.float16)
        >>> s = summarize(x, extras=("shape", "exponents", "quantiles"))
        >>> s.quantile(0.5), s.quantile([0.0, 1.0]).tolist(), round(s.skewness, 3)
        (3.0, [1.0, 100.0], 1.498)
        >>> s.exponents.exponent.tolist(), s.exponents.counts.tolist()
        ([0, 1, 2, 3, 4, 5, 6], [1, 2, 1, 0, 0, 0, 1])
        >>> (s | s).quantile(0.5)
        3.0
    """

    __slots__ = ("_details",)
    _details: _Details

    @property
    def extras(self) -> tuple[str, ...]:
        """What was asked for."""
        return self._details.extras

    def _need(self, name: str) -> _Details:
        if EXTRA_OF[name] not in self._details.extras:
            raise missing_extra(name)
        return self._details

    @property
    def skewness(self) -> float:
        """Skewness of the finite elements, m3 / m2^1.5 (population moments, Fisher-Pearson's g1); NaN if std is 0.

        Powers are summed in the element's precision, 2048 at a time, and joined in float64 by Pébay's formulas: the
        error is below 1e-6 (float64: 1e-13) of the mean of |z^3|, with z = (x - mean) / std. Where std is itself a
        denormal float64, with few digits, it is larger.
        """
        third = self._need("skewness").shape[0]
        return third if self.std > 0.0 else NAN

    @property
    def kurtosis(self) -> float:
        """Excess kurtosis (Fisher) of the finite elements, m4 / m2^2 - 3: 0 for a normal distribution, NaN if std is 0.

        The relative error of m4 / m2^2 is below 1e-6 (float64: 1e-13).
        """
        fourth = self._need("kurtosis").shape[1]
        return fourth - 3.0 if self.std > 0.0 else NAN

    @property
    def exponents(self) -> Exponents:
        """How many elements have each binary exponent: exact, but for float64 elements below 2^-1029, left out."""
        details = self._need("exponents")
        values, counts = details.values, details.counts
        nonzero = values != 0.0
        exponent = np.frexp(values[nonzero])[1].astype(np.int64) - 1
        if not exponent.size:
            return Exponents(exponent, counts[nonzero])
        first = int(exponent.min())
        count = np.zeros(int(exponent.max()) - first + 1, np.int64)
        np.add.at(count, exponent - first, counts[nonzero])
        return Exponents(np.arange(first, first + count.size), count)

    def overflow_share(self, dtype: Any) -> float:
        """The share of the finite elements that `dtype` cannot hold, from an exact count; NaN for no finite elements.

        They are those that rounding to nearest, ties to even, takes beyond the largest finite value: to Inf, in
        float8_e4m3fn to NaN, or to the largest finite value where a conversion saturates.

        Args:
            dtype: "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", or a NumPy, ml_dtypes or torch dtype so named.

        Raises:
            ArgumentValueError: `dtype` is another type.

        Example:
            >>> from fastact import summarize
            >>> s = summarize(np.array([1.0, 448.0, 470.0, 1e5], np.float32), extras="exponents")
            >>> s.overflow_share("float8_e4m3fn"), s.overflow_share("float16"), s.overflow_share("bfloat16")
            (0.5, 0.25, 0.0)
        """
        counted = self._need("overflow_share").tally
        lost = counted[1 + 2 * len(_TYPES) + _type_number(dtype)] - self.infs
        return lost / self.finite if self.finite else NAN

    def underflow_share(self, dtype: Any) -> float:
        """The share of the finite non-zero elements that would round to zero in `dtype`, from an exact count.

        The type is named as in `overflow_share`; the rounding is the same; NaN for no non-zero elements.

        Example:
            >>> from fastact import summarize
            >>> summarize(np.array([0.0, 1.0, 1e-8], np.float32), extras="exponents").underflow_share("float16")
            0.5
        """
        counted = self._need("underflow_share").tally
        nonzero = self.finite - counted[0]
        return (counted[1 + 2 * _type_number(dtype)] - counted[0]) / nonzero if nonzero else NAN

    def denormal_share(self, dtype: Any) -> float:
        """The share of the finite non-zero elements that would be denormal in `dtype`, with fewer digits than others.

        Those that round to zero are not among them; otherwise as `underflow_share`.
        """
        counted = self._need("denormal_share").tally
        nonzero = self.finite - counted[0]
        place = 1 + 2 * _type_number(dtype)
        return (counted[place + 1] - counted[place]) / nonzero if nonzero else NAN

    @property
    def quantile_error(self) -> float:
        """Bound of the relative error of each element that `quantile` interpolates: 0 for 8- and 16-bit types, or 2^-7.

        In the middle of many elements it is far smaller: within its bucket an element is placed by its rank.
        """
        return 0.0 if self._need("quantile_error").exact else 2.0**-7

    @overload
    def quantile(self, q: float) -> float: ...

    @overload
    def quantile(self, q: Sequence[float] | npt.NDArray[Any]) -> npt.NDArray[np.float64]: ...

    def quantile(self, q: Any) -> Any:
        """Quantiles of the finite elements, interpolated linearly between the two nearest, as NumPy does by default.

        Exact (to float64 rounding) for elements of 8 and 16 bits. For wider ones each of the two is known to a
        relative error of `quantile_error` (float64 elements below 2^-1029 count as 0), the smallest and the largest
        exactly. DDSketch (Masson et al. 2019) bounds its error the same way, by buckets of equal ratio; here their
        edges are bits of the element, so that no logarithm is taken.

        Args:
            q: a number from 0 to 1, or a sequence or array of them.

        Returns:
            A float for a number, else float64 of the shape of `q`; NaN without finite elements.

        Raises:
            ArgumentTypeError: `q` holds no numbers.
            ArgumentValueError: one of them is not between 0 and 1.
        """
        details = self._need("quantile")
        try:
            wanted = np.asarray(q, np.float64)
        except (TypeError, ValueError):
            raise ArgumentTypeError(f"q: got {q!r}, want a number from 0 to 1, or a sequence of them") from None
        if not ((wanted >= 0.0) & (wanted <= 1.0)).all():
            raise ArgumentValueError(f"q: got {q!r}, want numbers from 0 to 1")
        if not details.counts.size:
            result = np.full(wanted.shape, NAN)
        else:
            last = self.finite - 1
            place = wanted * last
            below = np.atleast_1d(np.floor(place).astype(np.int64))
            part = np.atleast_1d(place) - below
            low = self._ranked(details, below)
            high = self._ranked(details, np.minimum(below + 1, last))
            # Not low + (high - low) * part: the difference may be out of range. Between equals this would round.
            result = np.where(low == high, low, low * (1.0 - part) + high * part).reshape(wanted.shape)
        return float(result) if wanted.ndim == 0 else result

    def _ranked(self, details: _Details, rank: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The elements of these ranks, 0 the smallest."""
        values, counts = details.values, details.counts
        until = np.cumsum(counts)
        place = np.searchsorted(until, rank, side="right")
        found = values[place]
        if not details.exact:
            inside = (rank - (until[place] - counts[place]) + 0.5) / counts[place]
            # A bucket of negative elements begins at its far end.
            found = found + (far_end(found) - found) * np.where(found < 0.0, 1.0 - inside, inside)
            found = np.clip(found, float(self.min), float(self.max))
            found = np.where(rank == 0, float(self.min), found)
            found = np.where(rank == self.finite - 1, float(self.max), found)
        return found

    def outliers(self, threshold: float = 6.0, *, absolute: bool = False) -> Outliers:
        """How many finite elements are outliers.

        Two criteria are published. Bondarenko et al. (2021), "Understanding and overcoming the challenges of efficient
        transformer quantization", count values further than 6 standard deviations from the tensor's mean: the default
        here. Dettmers et al. (2022), "LLM.int8()", take magnitudes of at least 6: `absolute=True`.

        One pass learns the standard deviation when it has seen all, so for elements wider than 16 bits the count comes
        from the buckets, and those that a threshold divides count in `at_most` only. A magnitude of 6, as any number
        of at most 8 significant bits, is the edge of a bucket: that count is exact.

        Args:
            threshold: in standard deviations, exclusive; or in the elements' units, inclusive. At least 0.
            absolute: count |x| >= threshold instead of |x - mean| > threshold * std.

        Raises:
            ArgumentTypeError: `threshold` is not a number.
            ArgumentValueError: `threshold` is negative or NaN.

        Example:
            >>> from fastact import summarize
            >>> x = np.append(np.linspace(-1.0, 1.0, 1000), [-9.0, 50.0])
            >>> s = summarize(x, extras="outliers")
            >>> s.outliers(), s.outliers(absolute=True)
            (Outliers(at_least=1, at_most=1), Outliers(at_least=2, at_most=2))
        """
        details = self._need("outliers")
        limit = check_not_negative("threshold", threshold)
        near = details.values
        # A float64 is spaced finer than a bucket: just inside the far end, which belongs to the next one.
        far = near if details.exact else np.nextafter(far_end(near), near)
        if absolute:
            certain = np.abs(near) >= limit
            possible = np.abs(far) >= limit
        elif not self.finite:
            return Outliers(0, 0)
        else:
            # In halves, since x - mean may be out of range where x is not.
            reach = limit * (0.5 * self.std)
            low, high = np.minimum(near, far), np.maximum(near, far)
            above_low, above_high = (0.5 * v - 0.5 * self.mean for v in (low, high))
            certain = (above_low > reach) | (above_high < -reach)
            possible = (above_high > reach) | (above_low < -reach)
        return Outliers(int(details.counts[certain].sum()), int(details.counts[possible].sum()))

    def to_dict(self) -> dict[str, Any]:
        """As of `ActivationStats`, and what the extras are made of, under the names of `to_arrow`'s columns."""
        found = self._details
        about = {"extras": list(found.extras), "third": found.shape[0], "fourth": found.shape[1]}
        histogram = {"values": found.values.tolist(), "counts": found.counts.tolist()}
        return super().to_dict() | about | {"tally": list(found.tally), "exact": found.exact} | histogram

    def __or__(self, other: ActivationStats) -> "DetailedStats":
        if not isinstance(other, ActivationStats):
            return NotImplemented
        if not isinstance(other, DetailedStats):
            if not other.count:
                return self
            raise ArgumentValueError(
                f"merge: got stats with extras={self.extras} and without, want the same: sweep both with these extras"
            )
        check_same_options(self._bounds, other._bounds, bool(self.count and other.count))
        if not (self.count and other.count):
            return self if self.count or not other.count else other
        mine, theirs = self._details, other._details
        if mine.extras != theirs.extras:
            raise ArgumentValueError(f"merge: got stats with extras={mine.extras} and {theirs.extras}, want the same")
        exact = mine.exact and theirs.exact
        values = [d.values if d.exact == exact else to_buckets(d.values) for d in (mine, theirs)]
        details = _Details(
            mine.extras,
            arithmetic.merge_shape(self._state, other._state, mine.shape, theirs.shape),
            tuple(a + b for a, b in zip(mine.tally, theirs.tally, strict=True)),
            exact,
            *sorted_once(np.concatenate(values), np.concatenate([mine.counts, theirs.counts])),
        )
        return _wrap(merge_states(self._state, other._state), self._bounds, details)

    def __ror__(self, other: ActivationStats) -> "DetailedStats":
        return self | other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActivationStats):
            return NotImplemented
        if not isinstance(other, DetailedStats) or not super().__eq__(other):
            return False
        mine, theirs = self._details, other._details
        return mine[:4] == theirs[:4] and all(map(np.array_equal, mine[4:], theirs[4:]))

    def __hash__(self) -> int:
        return hash((super().__hash__(), self._details[:4]))

    def __reduce__(self) -> tuple[Any, ...]:
        return _wrap, (self._state, self._bounds, self._details)

    def __repr__(self) -> str:
        shape = f", skewness={self.skewness:.6g}, kurtosis={self.kurtosis:.6g}" if "shape" in self.extras else ""
        return f"Detailed{super().__repr__()[10:-1]}{shape}, extras={self.extras})"


_set_state: Final = ActivationStats.__dict__["_state"].__set__
_set_bounds: Final = ActivationStats.__dict__["_bounds"].__set__
_set_details: Final = DetailedStats.__dict__["_details"].__set__


def _wrap(state: arithmetic.State, bounds: Bounds, details: _Details | tuple[Any, ...]) -> DetailedStats:
    stats = DetailedStats.__new__(DetailedStats)
    details = _Details(*details)
    for array in (details.values, details.counts):
        array.flags.writeable = False
    _set_state(stats, state)
    _set_bounds(stats, bounds)
    _set_details(stats, details)
    return stats


#: For other modules. Pickles name it as it is defined.
wrap_detailed: Final = _wrap


def detail(parts: Iterable[npt.NDArray[Any]], name: str, bounds: Bounds, extras: tuple[str, ...]) -> DetailedStats:
    """The stats of contiguous 1-D arrays of the storage dtype of the element type `name`, together."""
    result = _wrap(arithmetic.EMPTY, bounds, (extras, (0.0, 0.0), (0,) * TALLIES, True, *empty()))
    for part in parts:
        for start in range(0, part.size, _AT_MOST):
            result |= _detail(part[start : start + _AT_MOST], name, bounds, extras)
    return result


def _detail(x: npt.NDArray[Any], name: str, bounds: Bounds, extras: tuple[str, ...]) -> DetailedStats:
    narrow = ELEMENT_TYPES[name].storage.itemsize <= 2
    tallied = "exponents" in extras
    found = sweep_details(
        x, name, *bounds, shaped="shape" in extras, tallied=tallied and not narrow, counted=extras != ("shape",)
    )
    values = stored_values(found.buckets, name) if narrow else bucket_values(found.buckets)
    finite = np.isfinite(values)
    tallied_values = tally(values, found.counts) if tallied and narrow else tuple(found.tally.tolist())
    values, counts = sorted_once(values[finite], found.counts[finite])
    return _wrap(found.state, bounds, _Details(extras, found.shape, tallied_values, narrow, values, counts))


def _type_number(dtype: Any) -> int:
    name = dtype if isinstance(dtype, str) else str(dtype).removeprefix("torch.")
    if name not in _TYPES:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = ""
    if name not in _TYPES:
        raise ArgumentValueError(f"dtype: got {dtype!r}, want one of {', '.join(_TYPES)}")
    return _TYPES.index(name)
