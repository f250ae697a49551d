"""Tracks the rules' row conditions through the rows of one layer: since when each has held.

A row at a time (`OnsetTracker.append`, live) and many at once (`OnsetTracker.extend`, from a log) leave the same state:
a row condition is written once, as an expression that Python evaluates on the numbers of a row and numpy on columns.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis.network import LayerView
from fastact.diagnosis.row_conditions import Holds, Row, RowCondition, Streak
from fastact.diagnosis.rule import Rule
from fastact.diagnosis.thresholds import CommonThresholds
from fastact.fields import COLUMN, ROW
from fastact.history import LayerHistory

_STEP, _MEAN = COLUMN["step"], COLUMN["mean"]
_NAMES: Final = [item.name for item in ROW]

#: Rows. For fewer, a loop over rows is faster than the 60 µs or so that the columns of a healthy layer cost at least.
_FEW: Final = 48


class _Run:
    """The latest run of one row condition. Rows are counted from 1, the layer's first one."""

    __slots__ = ("before", "holds", "last", "lookback", "narrower", "patience", "step", "undecided")

    def __init__(self, patience: int) -> None:
        self.patience = patience
        #: The step at which it began, and the rows before it.
        self.step = self.before = 0
        #: The last row in which it held or, being undecided, continued; at first so far back that any hit begins a run.
        self.last = -patience
        #: What the condition makes of a row, and the run of the next one of its cascade.
        self.holds: Holds
        self.undecided: Holds | None
        self.lookback: int
        self.narrower: _Run | None


class OnsetTracker:
    """Tracks one layer.

    Args:
        layer: its history, which the tracker fills.
        rules: those whose row conditions are tracked, where they apply to the layer.
        thresholds: what they compare with.

    Attributes:
        layer: its history.
        rules: those that apply to it.
        start: the step of its first row.
        first: its first row with finite elements; its first row where none has any; None without rows.
    """

    __slots__ = ("_heads", "_runs", "_settled", "_thresholds", "first", "layer", "rules", "start")

    def __init__(self, layer: LayerHistory, rules: Iterable[Rule[Any]], thresholds: CommonThresholds) -> None:
        self.layer = layer
        self.start = 0
        self.first: Row | None = None
        self._settled = False
        self.rules = tuple(rule for rule in rules if rule.applies(layer.info))
        self._thresholds = thresholds
        self._runs: dict[str, _Run] = {}
        #: The run of each cascade's widest condition.
        self._heads: list[_Run] = []

    def append(self, row: Row) -> None:
        """Takes one row: the numbers of `fields.ROW`."""
        if not self._settled:
            self._settled = not math.isnan(row[_MEAN])
            if self.first is None or self._settled:
                self._begin(row)
        layer = self.layer
        previous = layer.total
        layer.append(row)
        total = previous + 1
        for head in self._heads:
            run: _Run | None = head
            while run is not None:
                if run.holds(row):
                    if total - run.last > run.patience:
                        run.before = total - min(run.lookback, len(layer))
                        run.step = layer.step_of(run.before + 1)
                    run.last = total
                # An undecided row matters only to a run that it can prolong, so only there it is asked for.
                elif run.last == previous and run.undecided is not None and run.undecided(row):
                    run.last = total
                else:
                    break
                run = run.narrower

    def extend(self, rows: npt.NDArray[np.void]) -> None:
        """Takes many rows, shape (rows,) of `fields.ROW_DTYPE`, with the result of `append` for each."""
        if len(rows) < _FEW:
            for row in rows.tolist():
                self.append(row)
            return
        if not self._settled:
            finite = np.flatnonzero(~np.isnan(rows["mean"]))
            broken = int(finite[0]) if len(finite) else len(rows)
            if broken and self.first is None:
                self._begin(rows[0].item())
            if broken:
                self._follow(rows[:broken])
            if broken == len(rows):
                return
            self._settled = True
            self._begin(rows[broken].item())
            rows = rows[broken:]
        self._follow(rows)

    def _begin(self, row: Row) -> None:
        """Takes the first row, or the first with finite elements, as the one that conditions compare with."""
        if self.first is None:
            self.start = int(row[_STEP])
        self.first = row
        self._heads = []
        for rule in self.rules:
            for cascade in rule.row_conditions(self.layer.info, row, self._thresholds):
                narrower = None
                for condition in reversed(cascade.conditions):
                    narrower = self._run(condition, cascade.undecided, narrower)
                if narrower is not None:
                    self._heads.append(narrower)

    def _run(self, condition: RowCondition, undecided: Holds | None, narrower: _Run | None) -> _Run:
        """The run of a condition; one that is under way continues with what the new first row makes of it."""
        run = self._runs.get(condition.name)
        if run is None:
            run = self._runs[condition.name] = _Run(condition.patience or self.layer.window_size)
        run.holds, run.lookback, run.undecided, run.narrower = condition.holds, condition.lookback, undecided, narrower
        return run

    def _follow(self, rows: npt.NDArray[np.void]) -> None:
        columns = [rows[name] for name in _NAMES]
        with np.errstate(all="ignore"):  # as Python's own arithmetic
            for head in self._heads:
                run: _Run | None = head
                while run is not None and self._advance(run, columns):
                    run = run.narrower
        self.layer.extend(rows)

    def _advance(self, run: _Run, columns: list[npt.NDArray[Any]]) -> bool:
        """Takes a run through columns of rows that are not in the history yet; whether it was under way in any."""
        before, undecided = self.layer.total, run.undecided
        held = run.holds(columns)
        hits = int(np.count_nonzero(held))
        continues = undecided is not None and run.last == before
        if not hits and not continues:
            return False
        if undecided is not None and hits < len(held):
            held = _prolonged(held, undecided(columns), continues=continues)
        rows = np.flatnonzero(held) + (before + 1)
        if not len(rows):
            return False
        first, last = int(rows[0]), int(rows[-1])
        begin = first if first - run.last > run.patience else 0
        if last - first >= len(rows):  # there are gaps
            breaks = np.flatnonzero(rows[1:] - rows[:-1] > run.patience)
            if len(breaks):
                begin = int(rows[breaks[-1] + 1])
        if begin:
            run.before = begin - min(run.lookback, begin, self.layer.window_size)
            oldest = run.before + 1
            run.step = int(columns[_STEP][oldest - before - 1]) if oldest > before else self.layer.step_of(oldest)
        run.last = last
        return True

    def view(self, place: int, rows: npt.NDArray[np.void] | None = None) -> LayerView:
        """The layer as a rule sees it.

        Args:
            place: its place among the layers that have rows.
            rows: those of its history, where they are at hand.
        """
        if rows is None:
            rows = self.layer.rows
        return self._view(place, rows, rows[-1].item(), int(rows["step"][0]))

    def _view(self, place: int, rows: npt.NDArray[np.void], last: Row, oldest: int) -> LayerView:
        assert self.first is not None
        total = self.layer.total
        streaks = {
            name: Streak(run.step, total - run.before)
            for name, run in self._runs.items()
            if 0 < run.last > total - run.patience
        }
        return LayerView(self.layer.info, rows, last, oldest, self.start, self.first, streaks, place)


def views_of(trackers: Sequence[OnsetTracker], table: npt.NDArray[np.void]) -> list[LayerView]:
    """The layers as rules see them, each of which has rows; `table` has those of all, one layer after the other."""
    bounds = np.array(list(accumulate([len(tracker.layer) for tracker in trackers], initial=0)))
    starts, ends = bounds[:-1], bounds[1:]
    lasts, oldest = table[ends - 1].tolist(), table["step"][starts].tolist()
    each = zip(trackers, starts.tolist(), ends.tolist(), lasts, oldest, strict=True)
    return [
        tracker._view(place, table[start:end], last, first)
        for place, (tracker, start, end, last, first) in enumerate(each)
    ]


def _prolonged(
    held: npt.NDArray[np.bool_], undecided: npt.NDArray[np.bool_], *, continues: bool
) -> npt.NDArray[np.bool_]:
    """The rows that hold, and undecided ones that follow such a row with nothing but undecided ones between.

    Args:
        held: shape (rows,).
        undecided: shape (rows,).
        continues: whether a run was under way in the row before the first.
    """
    place = np.arange(len(held))
    last_held = np.maximum.accumulate(np.where(held, place, -1 if continues else -2))
    last_missed = np.maximum.accumulate(np.where(held | undecided, -2, place))
    return last_held > last_missed
