"""A run that is followed: each rank's rows, diagnosis and loss, read at a bounded share of a core.

One thread looks; others read what it left. Diagnoses are values, and `recent` copies rows under the tail's lock.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from fastact.diagnosis.finding import SEVERITIES, Finding
from fastact.diagnosis.layer_types import LOSS
from fastact.diagnosis.report import Diagnosis
from fastact.errors import LogError
from fastact.heatmap.grid import Grid
from fastact.heatmap.statistics import STATISTICS, Floats
from fastact.replay.blocks import Block, LayerNumbers
from fastact.replay.ranks import check_rank, rank_folders
from fastact.replay.tail import Tail

#: Ranks that are followed: each has the window of every layer in memory.
MOST_RANKS: Final = 64
#: Messages about what is lost, and events, that are kept.
_KEPT: Final = 500
#: Columns of the losses' curves.
_COLUMNS: Final = 256
#: Seconds without a row after which a run is called quiet.
QUIET: Final = 10.0


class Event(NamedTuple):
    """A culprit that was found, or that is gone.

    Attributes:
        step: the last step that was seen by then; None before the first row.
        finding: what was found.
        found: False where it is gone.
        look: the number of the look that found it, from 1.
    """

    step: int | None
    finding: Finding
    found: bool
    look: int


class Rank:
    """One rank's log as it is followed; of a run of one process the only one.

    Attributes:
        number: the rank; None for a run of one process.
        folder: where its segments are.
        tail: its rows.
        diagnosis: what is wrong by the rows of the last look; None before the first diagnosis.
        events: culprits that were found or are gone, the latest last.
        error: why it cannot be read at present; "" where it can.
        looks: how often it was looked at.
    """

    def __init__(self, number: int | None, folder: Path, window_size: int | None, lost: Callable[[str], None]) -> None:
        self.number = number
        self.folder = folder
        self.tail = Tail(folder, window_size=window_size, lost=lost, seen=self._take, anew=self._begin)
        self.diagnosis: Diagnosis | None = None
        self.events: deque[Event] = deque(maxlen=_KEPT)
        self.error, self.looks = "", 0
        self._grown = time.monotonic()
        self._begin()

    def _begin(self) -> None:
        """Nothing was seen, or nothing of it holds any more."""
        self._losses: dict[str, int] = {}
        self._grid = Grid([STATISTICS["mean"]], _COLUMNS, 1)
        self._diagnosed = -1

    @property
    def label(self) -> str:
        """The rank in words; "" for a run of one process."""
        return "" if self.number is None else f"rank {self.number}"

    @property
    def gravest(self) -> str:
        """The severity of the gravest finding; "" without one."""
        found = () if self.diagnosis is None else self.diagnosis.findings
        return max((finding.severity for finding in found), key=SEVERITIES.index, default="")

    @property
    def sick(self) -> int:
        """How many layers have a finding."""
        return 0 if self.diagnosis is None else sum(1 for layer in self.diagnosis.layers if layer.severity)

    def new(self, looks: int) -> set[tuple[str, str]]:
        """The layer and condition of each culprit that was found in the last looks, but not in the first one."""
        recent = [each for each in self.events if each.step is not None and self.looks - each.look < looks]
        return {_key(each.finding) for each in recent if each.found}

    @property
    def state(self) -> str:
        """Whether it is written, quiet, closed, or left by a writer that is gone: in words."""
        if self.error:
            return self.error
        if self.tail.closed:
            return "closed"
        if self.tail.written is False:
            return "not closed, and nobody writes it: killed?"
        quiet = time.monotonic() - self._grown
        if self.tail.step is None:
            return "waiting for the first row"
        return "being written" if quiet < QUIET else f"no row for {_duration(quiet)}"

    def look(self) -> bool:
        """Reads what is new, and judges it; returns whether there was anything. What cannot be read is in `error`."""
        self.looks += 1
        try:
            grown = self.tail.look()
            self.error = ""
        except LogError as error:
            self.error = str(error)
            grown = 0
        if grown:
            self._grown = time.monotonic()
        if self.tail.rows == self._diagnosed:
            return False
        first = self.diagnosis is None
        before = {} if self.diagnosis is None else {_key(finding): finding for finding in self.diagnosis.culprits}
        self._diagnosed = self.tail.rows
        self.diagnosis = self.tail.diagnose()
        now = {_key(finding): finding for finding in self.diagnosis.culprits}
        step = None if first else self.tail.step
        found = [finding for key, finding in now.items() if key not in before]
        gone = [finding for key, finding in before.items() if key not in now]
        self.events.extend(Event(step, each, True, self.looks) for each in found)
        self.events.extend(Event(step, each, False, self.looks) for each in gone)
        return True

    def recent(self, layer: str, statistic: str, wait: float = 0.0) -> Floats | None:
        """A statistic of a layer's last rows, oldest first; None while rows come in, so that it cannot be told."""
        rows = self.rows(layer, wait)
        return None if rows is None else STATISTICS[statistic].of(rows)

    def rows(self, layer: str, wait: float = 0.0) -> Any | None:
        """The last rows of a layer, oldest first, of `fields.ROW_DTYPE`; None as `recent`."""
        if not self.tail.lock.acquire(timeout=wait):
            return None
        try:
            found = self.tail.history.get(layer)
            return None if found is None else found.rows
        finally:
            self.tail.lock.release()

    def losses(self) -> dict[str, tuple[float, Floats]]:
        """The last value of each loss, and its curve from the first step on: medians of equal parts of the steps."""
        curves = self._grid.parts(0).median
        found = {}
        for name, number in list(self._losses.items()):
            recent = self.recent(name, "mean")
            if number < len(curves):
                curve = curves[number]
                found[name] = (float("nan") if recent is None or not len(recent) else float(recent[-1]), curve)
        return found

    def _take(self, block: Block, layers: LayerNumbers) -> None:
        for info in layers.infos:
            if info.layer_type == LOSS:
                self._losses.setdefault(info.name, len(self._losses))
        if self._losses:
            places = np.array([self._losses.get(info.name, -1) for info in layers.infos], np.int64)[block.layers]
            keep = places >= 0
            self._grid.add(places[keep], block.rows[keep])


class Following:
    """All ranks of a run, of which one is shown.

    Args:
        path: as `fastact.open_log` takes it; the directory may be empty yet.
        window_size: rows of each layer to judge by; by default the monitor's own.
        rank: the rank to show first; by default the lowest.
        every: seconds between two looks, at least.
        share: the most of one core that looks may take.

    Raises:
        ArgumentValueError: `rank` is not there.
        LogError: the directory cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        window_size: int | None = None,
        rank: int | None = None,
        every: float = 1.0,
        share: float = 0.25,
    ) -> None:
        self.path = Path(path)
        self.messages: deque[str] = deque(maxlen=_KEPT)
        #: How many messages there were in all.
        self.lost = 0
        self.ranks: list[Rank] = []
        self._window_size = window_size
        self._every, self._share = every, share
        self._others = 0
        #: Ranks that are there and not followed.
        self.left_out = 0
        place, folders = rank_folders(path)
        check_rank(rank, folders)
        self._find(place, folders, rank)
        self.shown = next((each for each in self.ranks if each.number == rank), self.ranks[0])

    def _find(self, place: Path, folders: dict[int, str], first: int | None = None) -> None:
        """Takes in the ranks that are there, `first` before all others."""
        known = {each.number for each in self.ranks}
        if not folders:
            if not known:
                self.ranks.append(Rank(None, place, self._window_size, self._lose("")))
            return
        if known == {None} and self.ranks[0].tail.step is None:  # the folder was empty, and ranks have begun to write
            self.ranks, known = [], set()
        new = sorted(set(folders) - known, key=lambda number: (number != first, number))
        room = MOST_RANKS - len(self.ranks)
        self.left_out = len(new[room:])
        for number in new[:room]:
            self.ranks.append(Rank(number, place / folders[number], self._window_size, self._lose(folders[number])))
        self.ranks.sort(key=lambda each: -1 if each.number is None else each.number)

    def _lose(self, prefix: str) -> Callable[[str], None]:
        def lose(what: str) -> None:
            self.messages.append(f"{prefix}/{what}" if prefix else what)
            self.lost += 1

        return lose

    def look(self) -> float:
        """Looks at the rank that is shown, and at others in turn while there is time; returns the seconds to pause."""
        begin, cost = time.monotonic(), time.process_time()
        with suppress(LogError):
            self._find(*rank_folders(self.path))
        if self.shown not in self.ranks:
            self.shown = self.ranks[0]
        self.shown.look()
        for _ in range(len(self.ranks) - 1):
            self._others = (self._others + 1) % len(self.ranks)
            if self.ranks[self._others] is not self.shown:
                self.ranks[self._others].look()
                if time.process_time() - cost > self._every * self._share:
                    break
        spent, took = time.process_time() - cost, time.monotonic() - begin
        return max(self._every - took, spent / self._share - took, 0.05)

    def follow(self, stop: threading.Event, wake: threading.Event, looked: Callable[[], None]) -> None:
        """Looks again and again until `stop`, in the caller's thread; `wake` ends a pause, `looked` follows a look."""
        while not stop.is_set():
            pause = self.look()
            looked()
            wake.wait(pause)
            wake.clear()

    def turn(self, by: int) -> None:
        """Shows another rank."""
        self.shown = self.ranks[(self.ranks.index(self.shown) + by) % len(self.ranks)]


def _key(finding: Finding) -> tuple[str, str]:
    return finding.layer, finding.condition


def _duration(seconds: float) -> str:
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 7200.0 else f"{seconds / 3600.0:.1f} h"
