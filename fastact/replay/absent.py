"""Ranks that a log does not have, and ranks that stopped before the others: what a merged diagnosis has to say of."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from fastact.log.lock import is_held
from fastact.log.reader import RunReader, StoredBatch
from fastact.log.schema import numbers_of

#: Ranks that are named; of more, how many there are.
_MOST = 8


class Reach:
    """Up to which step a rank was read, and how far its recorded steps are apart."""

    def __init__(self) -> None:
        #: The steps of its first and its last row; None before the first one.
        self.first: int | None = None
        self.last = 0
        self._changes = 0

    def see(self, stored: StoredBatch) -> None:
        """Takes in the next batch."""
        steps = numbers_of(stored.batch.column("step"))
        if len(steps):
            self._changes += int(np.count_nonzero(steps[1:] != steps[:-1]))
            self._changes += self.first is not None and int(steps[0]) != self.last
            self.first = int(steps[0]) if self.first is None else self.first
            self.last = int(steps[-1])

    @property
    def stride(self) -> float:
        """Steps from one recorded step to the next."""
        return max(1.0, (self.last - (self.first or 0)) / max(self._changes, 1))


class Seen:
    """What was read of which rank; `progress` is called with the bytes read so far of all."""

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        self.reaches: dict[int, Reach] = {}
        self._progress, self._bytes = progress, 0

    def __call__(self, rank: int, stored: StoredBatch) -> StoredBatch:
        """Takes in the next batch of a rank, and hands it on."""
        if rank not in self.reaches:
            self.reaches[rank] = Reach()
        self.reaches[rank].see(stored)
        self._bytes += len(stored.frame.message)
        if self._progress is not None:
            self._progress(self._bytes)
        return stored


def missing(there: Iterable[int], metadata: Iterable[Mapping[str, str]]) -> list[str]:
    """What to say of ranks that have no folder: those between others, and all up to the number that was started.

    Example:
        >>> missing([0, 1, 3], [{"ranks": "6"}])
        ['ranks 2, 4, 5 of 6 have no directory: what they saw is in nothing that is told of the run']
    """
    known = set(there)
    said = [
        int(each["ranks"]) for each in metadata if each.get("ranks", "").isascii() and each.get("ranks", "").isdigit()
    ]
    count = max([max(known) + 1, *(each for each in said if each <= 10**6)])
    absent = [
        rank for rank in range(count if said else max(known)) if rank not in known and (said or rank > min(known))
    ]
    if not absent:
        return []
    are, have = ("rank", "has") if len(absent) == 1 else ("ranks", "have")
    named = ", ".join(map(str, absent[:_MOST])) + (f" and {len(absent) - _MOST} more" if len(absent) > _MOST else "")
    return [f"{are} {named} of {count} {have} no directory: what they saw is in nothing that is told of the run"]


def behind(runs: Mapping[int, RunReader], seen: Seen) -> list[str]:
    """What to say of ranks whose rows end before those of the others, once all of them were read."""
    read = {rank: reach for rank, reach in seen.reaches.items() if reach.first is not None}
    if len(runs) < 2 or not read:
        return []
    furthest = max(reach.last for reach in read.values())
    lines = []
    for rank, run in runs.items():
        if rank not in read:
            lines.append(f"{run.path.name}: it has no rows, where other ranks reach step {furthest}")
            continue
        reach = read[rank]
        gap = furthest - reach.last
        # Ranks that are being written are not written in the same moment.
        held = is_held(run.path)
        slack = max(2.0 * reach.stride, 0.1 * furthest if held else 0.0)
        if gap > slack:
            why = "it lags" if held else "it ended there" if run.closed else "its process died, or could not write"
            lines.append(
                f"{run.path.name}: its last row is of step {reach.last}, where other ranks reach step {furthest}: "
                f"{why}; what is told of later steps is without it"
            )
    return lines[:_MOST] + ([f"and {len(lines) - _MOST} more ranks end early"] if len(lines) > _MOST else [])
