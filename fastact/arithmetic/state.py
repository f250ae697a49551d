"""The state of a summary: the numbers that a sweep yields and that merge, as one tuple."""

import math

__all__ = ["EMPTY", "Shape", "State", "Sums"]

#: The numbers of `fields.STATE`, in that order, and last what rounding to float64 took from the mean: where the spread
#: is a few units in the mean's last place, the merge of many parts would take rounding for variance.
State = tuple[int, int, int, int, int, int, float, float, float, float, float, float]

#: The state of no elements: merging it changes nothing.
EMPTY: State = (0, 0, 0, 0, 0, 0, math.nan, math.nan, math.nan, math.inf, -math.inf, 0.0)

#: As a state, but with sums in place of the moments: of x - origin, of its square and of |x| over the finite elements;
#: and last the origin, which is the same in all that are added.
Sums = tuple[int, int, int, int, int, int, float, float, float, float, float, float]

#: The third and the fourth central moment of the finite elements over std^3 and std^4; zeros where std is 0. Like the
#: state, it stays in range where its data does.
Shape = tuple[float, float]
