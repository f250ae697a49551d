"""Conditions of single rows: what a rule wants followed while rows arrive, written once, for numbers and for arrays.

`followed.FollowedAlike` evaluates them on columns of rows of all layers that have the same ones.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastact.fields import COLUMN

#: The numbers of `fields.ROW`, in that order.
Row = tuple[Any, ...]

#: The numbers of `fields.ROW` in that order: those of one row, or columns of them, each an array of shape (rows,).
Cells = Sequence[Any]

#: An expression for numbers and arrays alike: comparisons of float64 and of int64 with their own type, joined by `&`,
#: `|` and `~` of comparisons. No branches, no `and`, no `math`; an int64 that meets a float64 becomes one first
#: (``1.0 * count``), since Python compares the two exactly and numpy does not. Floats that a function closes over may
#: differ between layers: arrays take their place, with a number for each row. All else that it closes over is as it is.
Holds = Callable[[Cells], Any]

_MEAN = COLUMN["mean"]


class RowCondition(NamedTuple):
    """A condition of single rows, followed from the first row on at a few comparisons a row.

    Attributes:
        name: unique among all rules; `LayerView.streaks` has the current run under this name.
        holds: whether a row fulfils the condition.
        patience: rows; a run ends after this many rows in which it did not hold; 0 stands for a whole window.
        lookback: rows; the condition speaks of the last `lookback` rows, so a run began that many rows earlier.
    """

    name: str
    holds: Holds
    patience: int = 1
    lookback: int = 1


class Cascade(NamedTuple):
    """Row conditions from the widest to the narrowest: where one does not hold, the narrower ones are not asked.

    Attributes:
        conditions: a row that fulfils one fulfils all before it.
        undecided: whether a row says neither yes nor no to any of them: a run that is under way then continues.
    """

    conditions: tuple[RowCondition, ...]
    undecided: Holds | None = None


class Streak(NamedTuple):
    """A run of rows in which a row condition held: the step at which it began, and its length in rows."""

    step: int
    rows: int


def share_at_least(share: float, part: int, whole: int) -> Holds:
    """Whether the field `part` is at least `share` of the field `whole`, which is not zero; both by `COLUMN`."""

    def holds(cells: Cells) -> Any:
        return (1.0 * cells[part] >= share * cells[whole]) & (cells[whole] > 0)

    return holds


def is_nan(value: Any) -> Any:
    """Whether a float64 is NaN, or which ones of an array are."""
    return value != value  # noqa: PLR0124 - holds for numbers and arrays alike


def nothing_finite(cells: Cells) -> Any:
    """Whether a row has no finite element: the usual `Cascade.undecided`."""
    return is_nan(cells[_MEAN])
