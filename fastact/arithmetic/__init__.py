"""What the statistics are: the state of a summary, and the formulas by which states merge.

The loops that fold elements into states are those of each target, in `fastact.cpu` and `fastact.cuda`.
"""

from fastact.arithmetic.moments import add_sums, merge, merge_shape, settle, sums_to_state, unscaled
from fastact.arithmetic.state import EMPTY, Shape, State, Sums

__all__ = ["EMPTY", "Shape", "State", "Sums", "add_sums", "merge", "merge_shape", "settle", "sums_to_state", "unscaled"]
