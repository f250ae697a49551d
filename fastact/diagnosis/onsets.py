"""Follows the rules' row conditions through the rows of all layers: since when each has held.

Rows are followed many at a time. Of a log they come so; live ones wait in the history until enough have come together,
or somebody asks. How they are split changes nothing. Layers whose conditions are the same expressions, with other
limits, are followed together, so that numpy evaluates an expression once for all rows of all of them.
"""

import threading
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.diagnosis.followed import FollowedAlike, apart
from fastact.diagnosis.network import LayerView
from fastact.diagnosis.row_conditions import Row, Streak, is_nan
from fastact.diagnosis.rule import Rule
from fastact.diagnosis.thresholds import CommonThresholds
from fastact.fields import COLUMN, ROW_DTYPE
from fastact.history import LayerHistory, newest, put

Rows = npt.NDArray[np.void]
_STEP, _MEAN = COLUMN["step"], COLUMN["mean"]

#: Rows that wait, and rows of each layer, from which on it pays to follow them: evaluating all expressions takes half a
#: millisecond, however few they are.
_MANY, _MANY_EACH = 4096, 8


class OnsetTracker:
    """What is followed of one layer.

    Attributes:
        layer: its history.
        rules: those that apply to it.
        start: the step of its first row.
        first: its first row with finite elements; its first row where none has any; None before a row was followed.
        settled: whether that row has finite elements.
        followed: its rows so far through which the conditions were followed.
        alike: the layers that are followed with it, and its place among them; None before a row was followed.
        earlier: the steps of the rows before those that wait, the latest last; None where the history has them.
        looks_back: whether what it is followed for, or may yet be, began before the row that tells of it.
    """

    __slots__ = ("alike", "earlier", "first", "followed", "layer", "looks_back", "place", "rules", "settled", "start")

    def __init__(self, layer: LayerHistory, rules: Iterable[Rule[Any]]) -> None:
        self.layer = layer
        self.rules = tuple(rule for rule in rules if rule.applies(layer.info))
        self.start = self.followed = self.place = 0
        self.first: Row | None = None
        self.settled, self.looks_back = False, True
        self.alike: FollowedAlike | None = None
        self.earlier: npt.NDArray[np.int64] | None = None

    def step_of(self, row: int) -> int:
        """The step of a row that is followed already, one of the last `window_size` of these; counted from 1."""
        if self.earlier is None:
            return self.layer.step_of(row)
        return int(self.earlier[row - self.followed - 1])


class Onsets:
    """Follows the rows of all layers; `thresholds` are what conditions compare with."""

    def __init__(self, thresholds: CommonThresholds) -> None:
        self._thresholds = thresholds
        self._alike: dict[Any, FollowedAlike] = {}
        #: The layers that have rows in their history which are not followed yet; how many rows that may be.
        self._waiting: dict[OnsetTracker, None] = {}
        self._rows = self._layers = 0
        # A diagnosis may be asked for in one thread while another one trains.
        self._lock = threading.RLock()

    def add(self, layer: LayerHistory, rules: Iterable[Rule[Any]]) -> OnsetTracker:
        """Follows another layer, by those of the rules that apply to it."""
        self._layers += 1
        return OnsetTracker(layer, rules)

    def append(self, rows: Iterable[tuple[OnsetTracker, bytes, int]]) -> None:
        """Takes a row of each of some layers into its history, to be followed later.

        Args:
            rows: layers, with the row as `fields.PACK_ROW` packs it, and how many are to be there before it; where
                there are others, it is left out.
        """
        waiting, full = self._waiting, False
        for tracker, row, before in rows:
            layer = tracker.layer
            if layer.total != before:
                continue
            if tracker not in waiting:
                if layer.total and tracker.looks_back:
                    tracker.earlier = layer.steps
                waiting[tracker] = None
            put(layer, row)
            self._rows += 1
            if before - tracker.followed >= layer.window_size - 1:
                full = True
        if full or self._rows >= max(_MANY, _MANY_EACH * self._layers):
            self.catch_up()

    def extend(self, trackers: Sequence[OnsetTracker], rows: Sequence[Rows]) -> None:
        """Takes many rows of layers, (rows,) of `fields.ROW_DTYPE` of each, with the result of `append` for each."""
        self.catch_up()
        self._follow(list(zip(trackers, rows, strict=True)))
        for tracker, own in zip(trackers, rows, strict=True):
            tracker.layer.extend(own)
            tracker.followed = tracker.layer.total

    def catch_up(self) -> None:
        """Follows the rows that wait. After an interrupt they wait on, and to follow some twice changes nothing."""
        with self._lock:
            waiting = [(tracker, tracker.layer.total) for tracker in list(self._waiting)]
            given = [(tracker, newest(tracker.layer, total - tracker.followed)) for tracker, total in waiting]
            try:
                self._follow(given)
            except Exception:
                self._forget(waiting)  # a rule that fails would fail again
                raise
            self._forget(waiting)

    def _forget(self, waiting: Sequence[tuple[OnsetTracker, int]]) -> None:
        self._rows = 0
        for tracker, total in waiting:
            tracker.followed, tracker.earlier = total, None
            if tracker.layer.total == total:
                self._waiting.pop(tracker, None)

    def _follow(self, given: Sequence[tuple[OnsetTracker, Rows]]) -> None:
        of_alike: dict[FollowedAlike, list[tuple[OnsetTracker, int, Rows]]] = {}
        with np.errstate(all="ignore"):  # as Python's own arithmetic
            for tracker, rows in given:
                left = rows if tracker.settled else self._settle(tracker, rows)
                if len(left):
                    assert tracker.alike is not None
                    part = tracker, tracker.followed + len(rows) - len(left), left
                    of_alike.setdefault(tracker.alike, []).append(part)
            for alike, parts in of_alike.items():
                alike.follow(parts)

    def _settle(self, tracker: OnsetTracker, rows: Rows) -> Rows:
        """Follows rows up to the first with finite elements, with which conditions compare; gives those from it on."""
        rows = rows.view(ROW_DTYPE)
        first = rows[0].item()
        if not is_nan(first[_MEAN]):  # as a rule, and in a quarter of the time
            self._begin(tracker, first)
            assert tracker.alike is not None
            tracker.settled, tracker.looks_back = True, tracker.alike.looks_back
            return rows
        finite = np.flatnonzero(~np.isnan(rows["mean"]))
        broken = int(finite[0]) if len(finite) else len(rows)
        if tracker.first is None:
            self._begin(tracker, first)
        assert tracker.alike is not None
        tracker.alike.follow([(tracker, tracker.followed, rows[:broken])])
        if broken < len(rows):
            self._begin(tracker, rows[broken].item())
            tracker.settled, tracker.looks_back = True, tracker.alike.looks_back
        return rows[broken:]

    def _begin(self, tracker: OnsetTracker, row: Row) -> None:
        """Takes the first row, or the first with finite elements, as the one that conditions compare with."""
        if tracker.first is None:
            tracker.start = int(row[_STEP])
        tracker.first = row
        cascades = [
            cascade
            for rule in tracker.rules
            for cascade in rule.row_conditions(tracker.layer.info, row, self._thresholds)
        ]
        key, limits = apart(cascades)
        try:
            alike = self._alike.get(key)
        except TypeError:  # an expression over something that cannot be looked up
            alike, key = None, tracker
        if alike is None:
            alike = self._alike[key] = FollowedAlike(cascades, tracker.layer.window_size)
        # Runs that are under way go on with what the new first row makes of their conditions.
        runs = {} if tracker.alike is None else tracker.alike.runs(tracker.place)
        tracker.alike, tracker.place = alike, alike.add(cascades, limits, runs)

    def views(self, trackers: Sequence[OnsetTracker], table: Rows) -> list[LayerView]:
        """The layers as rules see them, each of which has rows; `table` has those of all, one layer after the other."""
        self.catch_up()
        bounds = np.array(list(accumulate([len(tracker.layer) for tracker in trackers], initial=0)))
        starts, ends = bounds[:-1], bounds[1:]
        lasts, oldest = table[ends - 1].tolist(), table["step"][starts].tolist()
        drawn = table["left_out"]
        parts = np.logical_or.reduceat(drawn != 0, starts).tolist() if drawn.any() else [False] * len(trackers)
        each = zip(trackers, starts.tolist(), ends.tolist(), lasts, oldest, self._streaks(trackers), parts, strict=True)
        found = []
        for place, (tracker, start, end, last, first_step, streaks, part) in enumerate(each):
            layer, first, rows = tracker.layer, tracker.first, table[start:end]
            assert first is not None
            found.append(LayerView(layer.info, rows, last, first_step, tracker.start, first, streaks, place, part))
        return found

    def _streaks(self, trackers: Sequence[OnsetTracker]) -> list[dict[str, Streak]]:
        """The runs of conditions that hold now, by their names, of each layer."""
        streaks: list[dict[str, Streak]] = [{} for _ in trackers]
        of_alike: dict[FollowedAlike, list[int]] = {}
        for at, tracker in enumerate(trackers):
            if tracker.alike is not None:
                of_alike.setdefault(tracker.alike, []).append(at)
        for alike, own in of_alike.items():
            totals = np.array([trackers[at].followed for at in own])
            for at, name, streak in alike.streaks(np.array([trackers[at].place for at in own]), totals):
                streaks[own[at]][name] = streak
        return streaks
