"""What was to be recorded and was not: collected from those who record, and warned of once.

A monitor cannot miss what nobody told it of. Who knows beforehand what will be recorded, such as `fastact.torch.watch`,
registers with it, and is asked now and then what it has not seen: after a handful of steps, then after twice as many
each time, and whenever somebody wants to know. Steps in between cost the comparison of two numbers.
"""

import math
import weakref
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple, Protocol, runtime_checkable

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.errors import ArgumentValueError
from fastact.log.writer import LogWriter
from fastact.monitor.queue import StepQueue
from fastact.text import shown
from fastact.warn import warn

#: Recorded steps after which a layer that has not run is warned of: enough for those that run in every other step.
PATIENCE: Final = 5
#: Names in the warning.
_MOST: Final = 4


class Missing(NamedTuple):
    """Why nothing is recorded of a layer: a sentence without a full stop; and whether the user should be warned."""

    reason: str
    warn: bool = True


class Watcher(Protocol):
    """Who knows beforehand what will be recorded."""

    @property
    def names(self) -> tuple[str, ...]:
        """What it records; these names are its own."""

    @property
    def by_record(self) -> bool:
        """Whether it calls the monitor's `record`, as a user does, so that the two cannot be told apart."""

    def unseen(self, recorded: Collection[str]) -> Mapping[str, Missing]:
        """What it has not recorded so far, by name; `recorded` has the names of everything that has rows."""


@runtime_checkable
class Resting(Protocol):
    """A watcher that can do without its hooks in a step that is not recorded."""

    def begin_step(self, *, closing: bool = False) -> None:
        """Another step of the monitor has begun, or the monitor is closing; it must not raise."""


class _Watched:
    """A watcher, since which recorded step it has been there, and what it said last."""

    def __init__(self, watcher: Watcher, since: int) -> None:
        self.watcher: weakref.ref[Watcher] = weakref.ref(watcher)
        self.names = frozenset(watcher.names)
        self.by_record = watcher.by_record
        self.since = since
        self.missing: dict[str, Missing] = {}


class Unseen:
    """What the watchers of one monitor have not seen; the diagnosis and the log are told of it.

    Attributes:
        guarded: names of watchers that nobody else should record.
    """

    def __init__(self, queue: StepQueue, diagnoser: Diagnoser, writer: LogWriter | None) -> None:
        self.guarded: frozenset[str] = frozenset()
        self._queue, self._diagnoser, self._writer = queue, diagnoser, writer
        self._watched: list[_Watched] = []
        self._resting: weakref.WeakSet[Resting] = weakref.WeakSet()
        #: Recorded steps after which to look, and layers that there were at the last look.
        self._due: float = math.inf
        self._layers = 0
        self._warned = self._claimed = self._closed = False

    def add(self, watcher: Watcher) -> None:
        """Registers a watcher; ArgumentValueError where one of its names is another's."""
        owned = {name for watched in self._watched for name in watched.names}
        both = next((name for name in watcher.names if name in owned), None)
        if both is not None:
            raise ArgumentValueError(
                f"model: another watch of this monitor has a layer {both!r} too; tell the layers of the two models "
                'apart by a prefix, such as watch(model, monitor, prefix="d.")'
            )
        self._watched.append(_Watched(watcher, self._queue.recorded))
        self._due = min(self._due, self._queue.recorded + PATIENCE)
        self._guard()
        if isinstance(watcher, Resting):
            self._resting.add(watcher)

    def begin_step(self) -> None:
        """To be called when another step has begun."""
        for watcher in self._resting:
            watcher.begin_step()

    def remove(self, watcher: Watcher) -> None:
        """Asks a watcher for the last time, and gives its names free."""
        self.look()
        for watched in self._watched:
            if watched.watcher() is watcher:
                watched.names = frozenset()
        if isinstance(watcher, Resting):
            self._resting.discard(watcher)
        self._guard()

    def _guard(self) -> None:
        self.guarded = frozenset(name for each in self._watched if not each.by_record for name in each.names)

    def claim(self, name: str) -> None:
        """Tells, once, that a guarded name is recorded by somebody else."""
        if not self._claimed:
            self._claimed = True
            warn(
                f"fastact: a watch of this monitor records layer {name!r} already, and both are merged into one row; "
                "record what is another layer under another name"
            )

    def end_step(self) -> None:
        """To be called at the end of each recorded step."""
        steps = self._queue.recorded
        # A layer that runs after all is told of at once.
        if steps >= self._due or (self._diagnoser.unseen and len(self._queue.layers) != self._layers):
            self.look()
        if steps >= self._due:
            self._due = 2 * steps
            self._warn(steps)

    def look(self) -> Mapping[str, str]:
        """Asks all watchers that have been there for a recorded step: what is not seen, by name, and why."""
        if self._closed:
            return self._diagnoser.unseen
        recorded = self._queue.layers.keys()
        self._layers = len(recorded)
        found: dict[str, str] = {}
        for watched in self._watched:
            watcher = watched.watcher()
            if watcher is not None and watched.names and self._queue.recorded > watched.since:
                watched.missing = dict(watcher.unseen(recorded))
            # A second watch of the same model may have missed what the first one recorded.
            found |= {name: each.reason for name, each in watched.missing.items() if name not in recorded}
        self._diagnoser.unseen = found
        if self._writer is not None:
            self._writer.unseen = found
        return found

    def close(self) -> None:
        """Asks all watchers for the last time."""
        self.look()
        self._closed = True
        for watcher in self._resting:
            watcher.begin_step(closing=True)

    def _warn(self, steps: int) -> None:
        late = [watched for watched in self._watched if steps - watched.since >= PATIENCE]
        told = {name: each.reason for watched in late for name, each in watched.missing.items() if each.warn}
        if self._warned or not told:
            return
        self._warned = True
        names = ", ".join(shown(name, 40) for name in list(told)[:_MOST])
        more = f" and {len(told) - _MOST} more" if len(told) > _MOST else ""
        reason = shown(next(iter(told.values())), 400)
        warn(
            f"fastact has recorded nothing of {names}{more} in {PATIENCE} steps: {reason} "
            "(`ActivationMonitor.unseen` says why of each)"
        )
