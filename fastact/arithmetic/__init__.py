"""What the statistics are, without a loop: NumPy is all that this folder imports.

- `element_types`: the one table of element types, and what follows from each format.
- `state`: the numbers of a summary as a tuple, and its layout, made from `fields.STATE`.
- `moments`: the formulas by which states merge, as plain functions that every target compiles for itself.
- `columns`: the merging of many pairs of states at once.
- `silence`: when a neuron that is silent is dead, in integers that every target counts alike.

The loops that fold elements into states are those of each target, in `fastact.cpu` and `fastact.cuda`.
"""

from fastact.arithmetic.moments import add_sums, merge, merge_shape, sums_to_state, two_sum, unscaled
from fastact.arithmetic.state import EMPTY, Shape, State, Sums

__all__ = [
    "EMPTY",
    "Shape",
    "State",
    "Sums",
    "add_sums",
    "merge",
    "merge_shape",
    "sums_to_state",
    "two_sum",
    "unscaled",
]
