"""The state of stats as plain names and numbers, as JSON has them, and what makes such numbers impossible."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from fastact import arithmetic
from fastact.arithmetic.state import (
    ABS_MEAN,
    COUNT,
    MAX,
    MEAN,
    MIN,
    N_COUNTS,
    NANS,
    NEG_INFS,
    POS_INFS,
    REST,
    SATURATED,
    STD,
    ZEROS,
)
from fastact.cpu.extras import TALLIES
from fastact.errors import ArgumentValueError
from fastact.fields import STATE
from fastact.stats.activation import ActivationStats, wrap
from fastact.stats.detailed import DetailedStats, wrap_detailed
from fastact.stats.options import SATURATION, Bounds, check_extras, check_options


def from_mapping(
    found: Mapping[str, Any], saturation: tuple[float, float] | None, zero_tol: float | None
) -> ActivationStats:
    """The stats that `to_dict` gave; raises `ArgumentValueError` where it gave no such thing."""
    missing = [field.name for field in STATE if field.name not in found]
    if missing:
        raise ArgumentValueError(f"state: got no {', '.join(missing)}, want a number for each field of fields.STATE")
    try:
        counts = [int(found[field.name]) for field in STATE[:N_COUNTS]]
        numbers = [_number(found[field.name]) for field in STATE[N_COUNTS:]]
        state = (*counts, *numbers, _number(found.get("mean_rest", 0.0)))
    except (TypeError, ValueError) as error:
        raise ArgumentValueError(f"state: got what is no number: {error}") from error
    state = settled(state)
    if reason := contradiction(state):
        raise ArgumentValueError(f"state: {reason}")
    if saturation is None:
        saturation = found.get("saturation_low", SATURATION[0]), found.get("saturation_high", SATURATION[1])
    bounds = check_options(saturation, found.get("zero_tol", 0.0) if zero_tol is None else zero_tol)
    if found.get("extras") is None:
        return wrap(state, bounds)
    try:
        shape = (_number(found["third"]), _number(found["fourth"]))
        tally = tuple(int(n) for n in found["tally"])
        values, counted = np.array(found["values"], np.float64), np.array(found["counts"], np.int64)
        exact = bool(found["exact"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ArgumentValueError(f"state: its extras cannot be read: {error!r}") from error
    return detailed(state, bounds, check_extras(found["extras"]), shape, tally, exact, values, counted)


def _number(value: Any) -> Any:
    """A number as JSON may have it: null where there is none."""
    return math.nan if value is None else value if isinstance(value, int) else float(value)


def settled(state: Sequence[Any]) -> arithmetic.State:
    """The state, with what merges as nothing does where there is no finite element: not NaN, which would stay."""
    if state[COUNT] - state[NANS] - state[POS_INFS] - state[NEG_INFS]:
        return tuple(state)
    return (*state[:N_COUNTS], *arithmetic.EMPTY[N_COUNTS:])


def contradiction(state: Sequence[Any]) -> str:
    """What is wrong with a state, "" for nothing."""
    counts = state[:N_COUNTS]
    count = state[COUNT]
    finite = count - state[NANS] - state[POS_INFS] - state[NEG_INFS]
    if min(counts) < 0 or finite < 0 or state[ZEROS] > finite or state[SATURATED] > count - state[NANS]:
        return f"its counts are {tuple(counts)}"
    if finite:
        mean, std, abs_mean, smallest, largest = (state[place] for place in (MEAN, STD, ABS_MEAN, MIN, MAX))
        if not (math.isfinite(mean) and 0.0 <= std < math.inf and 0.0 <= abs_mean < math.inf):
            return f"its mean, std and abs_mean are {mean}, {std} and {abs_mean} of {finite} finite elements"
        if not -math.inf < smallest <= largest < math.inf or not math.isfinite(state[REST]):
            return f"its min and max are {smallest} and {largest} of {finite} finite elements"
    return ""


#: All extras but this one need the histogram.
_WITHOUT_BUCKETS: Final = ("shape",)


def detailed(
    state: arithmetic.State,
    bounds: Bounds,
    extras: tuple[str, ...],
    shape: tuple[float, float],
    tally: tuple[int, ...],
    exact: bool,
    values: "np.ndarray[Any, np.dtype[np.float64]]",
    counts: "np.ndarray[Any, np.dtype[np.int64]]",
) -> DetailedStats:
    """Stats with extras from outside; raises `ArgumentValueError` where the numbers are impossible."""
    if not extras or values.shape != counts.shape or values.ndim != 1:
        raise ArgumentValueError(f"state: got extras={extras} with {values.shape} values and {counts.shape} counts")
    if not np.isfinite(values).all() or (np.diff(values) <= 0.0).any() or (counts <= 0).any():
        raise ArgumentValueError("state: got buckets out of order, want ascending finite values, each with elements")
    finite = state[COUNT] - state[NANS] - state[POS_INFS] - state[NEG_INFS]
    if int(counts.sum()) != (0 if extras == _WITHOUT_BUCKETS else finite):
        raise ArgumentValueError(f"state: got buckets of {counts.sum()} elements, want those of {finite} finite ones")
    if len(tally) != TALLIES or min(tally) < 0:
        raise ArgumentValueError(f"state: got tally {tally}, want {TALLIES} counts")
    if not all(map(math.isfinite, shape)):
        raise ArgumentValueError(f"state: got moments {shape}, want finite ones")
    return wrap_detailed(state, bounds, (extras, shape, tally, exact, values, counts))
