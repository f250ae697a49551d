"""What was to be recorded and was not: collected from those who record, and warned of once.

A monitor cannot miss what nobody told it of. Who knows beforehand what will be recorded, such as `fastact.torch.watch`,
registers with it, and is asked now and then what it has not seen: after a handful of steps, then after twice as many
each time, and whenever somebody wants to know. Steps in between cost the comparison of two numbers.
"""

import math
import warnings
import weakref
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple, Protocol

from fastact.errors import ArgumentValueError
from fastact.text import shown

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


class _Watched:
    """A watcher, since which recorded step it has been there, and what it said last."""

    def __init__(self, watcher: Watcher, since: int) -> None:
        self.watcher: weakref.ref[Watcher] = weakref.ref(watcher)
        self.names = frozenset(watcher.names)
        self.by_record = watcher.by_record
        self.since = since
        self.missing: dict[str, Missing] = {}


class Unseen:
    """What the watchers of one monitor have not seen.

    Attributes:
        reasons: by name, as of the last `look`.
        owned: the names that belong to a watcher.
        guarded: those of them that nobody else should record.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.owned: frozenset[str] = frozenset()
        self.guarded: frozenset[str] = frozenset()
        self._watched: list[_Watched] = []
        self._due: float = math.inf
        self._warned = False
        self._layers = 0
        self._claimed = False

    def claim(self) -> bool:
        """Whether the user is to be told that a name which belongs to a watcher is recorded by hand: once."""
        first, self._claimed = not self._claimed, True
        return first

    def add(self, watcher: Watcher, steps: int) -> None:
        """Registers a watcher after so many recorded steps; ArgumentValueError where one of its names is another's."""
        both = [name for name in watcher.names if name in self.owned]
        if both:
            raise ArgumentValueError(
                f"model: another watch of this monitor has a layer {both[0]!r} too; tell the layers of the two models "
                'apart by a prefix, such as watch(model, monitor, prefix="d.")'
            )
        self._watched.append(_Watched(watcher, steps))
        self._due = min(self._due, steps + PATIENCE)
        self._own()

    def remove(self, watcher: Watcher) -> None:
        """Asks a watcher no more, and gives its names free; what it said last holds."""
        for watched in self._watched:
            if watched.watcher() is watcher:
                watched.names = frozenset()
        self._own()

    def _own(self) -> None:
        self.owned = frozenset(name for watched in self._watched for name in watched.names)
        self.guarded = frozenset(name for each in self._watched if not each.by_record for name in each.names)

    def end_step(self, recorded: Collection[str], steps: int) -> bool:
        """To be called at the end of each recorded step, the `steps`-th; whether `reasons` may have changed."""
        late = bool(self.reasons) and len(recorded) != self._layers
        if steps < self._due and not late:
            return False
        self.look(recorded, steps)
        if steps >= self._due:
            self._due = 2 * steps
            self._warn(steps)
        return True

    def look(self, recorded: Collection[str], steps: int) -> None:
        """Asks all watchers that have been there for a recorded step."""
        self._layers = len(recorded)
        found: dict[str, str] = {}
        for watched in self._watched:
            watcher = watched.watcher()
            if watcher is not None and watched.names and steps > watched.since:
                watched.missing = dict(watcher.unseen(recorded))
            found |= {name: missing.reason for name, missing in watched.missing.items()}
        self.reasons = found

    def _warn(self, steps: int) -> None:
        late = [watched for watched in self._watched if steps - watched.since >= PATIENCE]
        told = [name for watched in late for name, missing in watched.missing.items() if missing.warn]
        if self._warned or not told:
            return
        self._warned = True
        names = ", ".join(shown(name, 40) for name in told[:_MOST])
        more = f" and {len(told) - _MOST} more" if len(told) > _MOST else ""
        warnings.warn(
            f"fastact has recorded nothing of {names}{more} in {PATIENCE} steps: {shown(self.reasons[told[0]], 400)} "
            "(`ActivationMonitor.unseen` says why of each)",
            RuntimeWarning,
            stacklevel=4,
        )
