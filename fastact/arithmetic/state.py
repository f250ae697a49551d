"""The state of a summary: the numbers that a sweep yields and that merge, as one tuple.

Its layout follows from `fields.STATE`, here and nowhere else: the places of the numbers in the tuple, and how the
states of many neurons lie in memory. There they are three arrays, each [numbers, ...]: counts (int64), moments
(float64) and extremes (the element type's own for 64-bit integers), with a row for each number of a state.
"""

from typing import Any, Final

from fastact.fields import STATE

#: The numbers of `fields.STATE`, in that order, and last the mean's rest: what rounding to float64 took from the mean.
#: Where the spread is a few units in the mean's last place, the merge of many parts would take rounding for variance.
State = tuple[Any, ...]

#: As a state, but with sums in place of the moments: of x - origin, of its square and of |x| over the finite elements;
#: and last the origin, which is the same in all that are added.
Sums = tuple[Any, ...]

#: The third and the fourth central moment of the finite elements over std^3 and std^4; zeros where std is 0. Like the
#: state, it stays in range where its data does.
Shape = tuple[float, float]

#: The state of no elements: merging it changes nothing.
EMPTY: Final[State] = (*(0 if field.nothing is None else field.nothing for field in STATE), 0.0)

_EXTREMES: Final = ("min", "max")
_names: Final = (*(field.name for field in STATE), "rest")
_counts: Final = [field.name for field in STATE if field.dtype == "int64"]
_moments: Final = [name for name in _names if name not in (*_counts, *_EXTREMES)]
_rows: Final = (_counts, _moments, list(_EXTREMES))
#: Rows of each of the three arrays.
N_COUNTS, N_MOMENTS, N_EXTREMES = (len(names) for names in _rows)
#: For each number of a state which of the three arrays has it, and in which row.
STORED_AT: Final = tuple(
    next((array, names.index(name)) for array, names in enumerate(_rows) if name in names) for name in _names
)
assert STORED_AT[:N_COUNTS] == tuple((0, row) for row in range(N_COUNTS)), "counts come first in a state"

#: Places in a state. Those of counts are rows of their array as well.
_place = _names.index
COUNT, NANS, POS_INFS, NEG_INFS = map(_place, ("count", "nans", "pos_infs", "neg_infs"))
ZEROS, SATURATED, MEAN, STD = map(_place, ("zeros", "saturated", "mean", "std"))
ABS_MEAN, MIN, MAX, REST = map(_place, ("abs_mean", "min", "max", "rest"))
#: Rows of the moments' array and of the extremes'.
MEANS, STDS, ABS_MEANS, RESTS, MINS, MAXS = (STORED_AT[place][1] for place in (MEAN, STD, ABS_MEAN, REST, MIN, MAX))
