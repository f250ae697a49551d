"""Layers that are followed alike: by the same expressions, each with limits of its own.

A row condition is a closure, whose numbers are the limits that a rule has drawn from thresholds and the layer's first
row. Put arrays in their place, with an entry for each row, and one call evaluates it for the rows of many layers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from types import CellType, FunctionType
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastact.diagnosis.row_conditions import Cascade, Holds, Streak
from fastact.fields import ROW
from fastact.history import joined

Rows = npt.NDArray[np.void]
Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]
_NAMES: Final = [item.name for item in ROW]
#: The state of a run: the last row in which it held or, being undecided, continued; the rows before it; the step at
#: which it began. Its condition's patience and lookback beside it. Rows are counted from 1, the layer's first one.
_LAST, _BEFORE, _BEGAN, _PATIENCE, _LOOKBACK = range(5)


class Tracked(Protocol):
    """A layer that is followed."""

    place: int
    """What `FollowedAlike.add` gave."""

    def step_of(self, row: int) -> int:
        """The step of a row that is followed already, one of the last `window_size` of these; counted from 1."""


def apart(cascades: Sequence[Cascade]) -> tuple[Any, list[float]]:
    """What is equal for cascades that differ in nothing but their limits; and these limits, in order."""
    limits: list[float] = []
    keys: list[Any] = []
    # Flat, and in place: it is done for some thirty expressions of each layer, and layers come in thousands.
    for conditions, undecided in cascades:
        expressions = [(condition.name, condition.holds) for condition in conditions]
        for name, holds in (*expressions, ("", undecided)):
            if not isinstance(holds, FunctionType):
                keys += name, holds
                continue
            keys += name, holds.__code__, holds.__defaults__
            if holds.__closure__:
                values = [cell.cell_contents for cell in holds.__closure__]
                own = [value for value in values if isinstance(value, float)]
                limits += own
                if len(own) < len(values):
                    keys.append(tuple([float if isinstance(value, float) else value for value in values]))
    return tuple(keys), limits


def _values(function: FunctionType) -> list[Any]:
    return [cell.cell_contents for cell in function.__closure__ or ()]


class _Expression:
    """What a condition makes of rows; the limits of its closure are `count` from `first` on among those of a layer."""

    __slots__ = ("_function", "_values", "count", "first")

    def __init__(self, holds: Holds, first: int) -> None:
        self._function = holds
        self._values = _values(holds) if isinstance(holds, FunctionType) else []
        self.first, self.count = first, sum(isinstance(value, float) for value in self._values)

    def __call__(self, cells: "_Columns", limit: Callable[[int], Any]) -> Any:
        of = self._function
        if not self.count:
            return of(cells)  # type: ignore[arg-type]
        assert isinstance(of, FunctionType)
        places = iter(range(self.first, self.first + self.count))
        closure = [CellType(limit(next(places)) if isinstance(value, float) else value) for value in self._values]
        return FunctionType(of.__code__, of.__globals__, of.__name__, of.__defaults__, tuple(closure))(cells)


class _Columns:
    """The columns of rows, by `fields.COLUMN`: each is brought together when it is first asked for."""

    __slots__ = ("_found", "_rows")

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._found: dict[int, npt.NDArray[Any]] = {}

    def __getitem__(self, column: int) -> npt.NDArray[Any]:
        found = self._found.get(column)
        if found is None:
            found = self._found[column] = np.ascontiguousarray(self._rows[_NAMES[column]])
        return found


class _Batch(NamedTuple):
    """Rows of some of the layers, one layer after the other."""

    trackers: Sequence[Tracked]
    rows: Rows
    columns: _Columns
    places: Ints  # of each layer, as the next three: its place among those alike
    before: Ints  # its rows before these
    starts: Ints  # the first of these, in `rows`
    layer: Ints  # of each row: which of the layers it is of


class FollowedAlike:
    """Follows the layers that are given to `add`; `cascades` are those of the first, `window_size` is that of all."""

    def __init__(self, cascades: Sequence[Cascade], window_size: int) -> None:
        self._window = window_size
        #: The names of the conditions, and for each cascade the first of its conditions and what it makes of rows.
        self._names: list[str] = []
        self._cascades: list[tuple[list[tuple[int, _Expression]], _Expression | None]] = []
        count = 0
        for conditions, undecided in cascades:
            asked = []
            for condition in conditions:
                asked.append((len(self._names), _Expression(condition.holds, count)))
                self._names.append(condition.name)
                count += asked[-1][1].count
            last = None if undecided is None else _Expression(undecided, count)
            count += 0 if last is None else last.count
            self._cascades.append((asked, last))
        self._layers = 0
        #: For each layer its limits, and the states of its runs; with room for more layers.
        self._limits = np.zeros((count, 4))
        self._runs = np.zeros((5, len(self._names), 4), np.int64)
        #: Which of the limits are the same for all layers.
        self._same = [True] * count
        #: Whether one of the conditions speaks of rows before the one that fulfils it.
        self.looks_back = False

    def add(self, cascades: Sequence[Cascade], limits: Sequence[float], runs: Mapping[str, Ints]) -> int:
        """Follows another layer, by what `apart` makes of its cascades; its runs may be under way. Gives its place."""
        place = self._layers
        if place == self._limits.shape[1]:
            self._limits = np.concatenate((self._limits, np.zeros_like(self._limits)), axis=1)
        if place == self._runs.shape[2]:  # asked apart: an interrupt may come in between
            self._runs = np.concatenate((self._runs, np.zeros_like(self._runs)), axis=2)
        if place:
            self._same = [a and b == c for a, b, c in zip(self._same, limits, self._limits[:, 0].tolist(), strict=True)]
        self._limits[:, place] = limits
        conditions = [condition for cascade in cascades for condition in cascade.conditions]
        patience = [condition.patience or self._window for condition in conditions]
        lookback = [min(condition.lookback, self._window) for condition in conditions]
        zeros = [0] * len(conditions)
        # At first so far back that any hit begins a run.
        self._runs[:, :, place] = [-rows for rows in patience], zeros, zeros, patience, lookback
        for at, condition in enumerate(conditions if runs else ()):
            if condition.name in runs:
                self._runs[:_PATIENCE, at, place] = runs[condition.name]
        self.looks_back = self.looks_back or any(rows > 1 for rows in lookback)
        self._layers = place + 1
        return place

    def runs(self, place: int) -> dict[str, Ints]:
        """The last row, the rows before and the beginning of each of a layer's runs, by the name of the condition."""
        return {name: self._runs[:_PATIENCE, at, place] for at, name in enumerate(self._names)}

    def streaks(self, places: Ints, totals: Ints) -> Iterator[tuple[int, str, Streak]]:
        """The runs of conditions that hold in the last row of layers: which one of these, the name, and the run.

        Args:
            places: those of the layers, shape (layers,).
            totals: how many rows each has.
        """
        runs = self._runs[:, :, places]
        holding = (runs[_LAST] > 0) & (runs[_LAST] > totals - runs[_PATIENCE])
        at, which = holding.nonzero()
        steps, rows = runs[_BEGAN, at, which].tolist(), (totals[which] - runs[_BEFORE, at, which]).tolist()
        names = map(self._names.__getitem__, at.tolist())
        # As `Streak(step, rows)`, in half the time: there are five of each sick layer.
        runs_of = map(tuple.__new__, repeat(Streak), zip(steps, rows, strict=True))
        return zip(which.tolist(), names, runs_of, strict=True)

    def follow(self, parts: Sequence[tuple[Tracked, int, Rows]]) -> None:
        """Takes the runs through rows.

        Args:
            parts: layers, each with how many rows were before, and its rows: of `fields.ROW_DTYPE`, or as bytes.
        """
        trackers, befores, of_each = zip(*parts, strict=True)
        rows = joined(of_each)
        counts = np.array(list(map(len, of_each)))
        places = np.array([tracker.place for tracker in trackers])
        layer = np.repeat(np.arange(len(parts)), counts)
        batch = _Batch(trackers, rows, _Columns(rows), places, np.array(befores), np.cumsum(counts) - counts, layer)
        for conditions, undecided in self._cascades:
            for at, holds in conditions:
                if not self._advance(at, holds, undecided, batch):
                    break

    def _advance(self, at: int, holds: _Expression, undecided: _Expression | None, batch: _Batch) -> bool:
        """Takes the runs of a condition through rows; whether one was under way in any of these."""
        runs, places = self._runs[:, at], batch.places

        def limit(which: int) -> Any:
            """One number, or an array with one for each row."""
            own = self._limits[which]
            return own[0].item() if self._same[which] else own[places][batch.layer]

        held = holds(batch.columns, limit)
        hits = np.flatnonzero(held)
        if undecided is not None:
            continues = runs[_LAST, places] == batch.before
            if len(hits) < len(held) and (len(hits) or continues.any()):
                hits = np.flatnonzero(_prolonged(held, undecided(batch.columns, limit), continues, batch))
        if not len(hits):
            return False
        layer = batch.layer[hits]
        rows = hits + (batch.before - batch.starts + 1)[layer]
        changes = np.flatnonzero(layer[1:] != layer[:-1])
        firsts, lasts = np.append(0, changes + 1), np.append(changes, len(hits) - 1)
        previous = np.append(0, rows[:-1])
        previous[firsts] = runs[_LAST, places[layer[firsts]]]
        begins = np.flatnonzero(rows - previous > runs[_PATIENCE, places][layer])
        if len(begins):
            begins = begins[np.append(layer[begins[1:]] != layer[begins[:-1]], True)]  # the last one of each layer
            own = layer[begins]
            reach = np.minimum(runs[_LOOKBACK, places[own]], rows[begins])
            oldest = hits[begins] - reach + 1
            steps = batch.rows["step"][np.maximum(oldest, 0)]
            for hit in np.flatnonzero(oldest < batch.starts[own]).tolist():
                steps[hit] = batch.trackers[own[hit]].step_of(int(rows[begins[hit]] - reach[hit] + 1))
            runs[_BEFORE, places[own]], runs[_BEGAN, places[own]] = rows[begins] - reach, steps
        ends = places[layer[lasts]]
        runs[_LAST, ends] = np.maximum(rows[lasts], runs[_LAST, ends])
        return True


def _prolonged(held: Bits, undecided: Bits, continues: Bits, batch: _Batch) -> Bits:
    """The rows that hold, and undecided ones that follow such a row with nothing but undecided ones between.

    Args:
        held: shape (rows,).
        undecided: shape (rows,).
        continues: shape (layers,), whether a run was under way in the row before the first.
        batch: whose rows they are.
    """
    place = np.arange(len(held)) + 3 * batch.layer + 2  # so far apart that layers know nothing of each other
    first = place[batch.starts]
    last_held, last_missed = np.where(held, place, 0), np.where(held | undecided, 0, place)
    last_held[batch.starts] = np.maximum(last_held[batch.starts], first - np.where(continues, 1, 2))
    last_missed[batch.starts] = np.maximum(last_missed[batch.starts], first - 2)
    found: Bits = np.maximum.accumulate(last_held) > np.maximum.accumulate(last_missed)
    return found
