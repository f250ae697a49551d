"""What a log says of the sessions of its run: each start of a training in the same directory that was no resuming."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from fastact.errors import ArgumentValueError, LogError
from fastact.log.files import list_segments
from fastact.log.reader import RunReader
from fastact.log.sessions import Session
from fastact.opening import is_exhausted
from fastact.replay.absent import missing

#: Numbers of sessions that a note lists.
_MOST: Final = 8


class OfSessions:
    """What `Log` knows of sessions."""

    path: Path
    runs: dict[int, RunReader]
    session: int

    ranks: tuple[int, ...]
    _warnings: tuple[str, ...] | None

    def stored_batches(self, ranks: Iterable[int]) -> Iterator[object]:
        """As `Log.stored_batches`."""
        raise NotImplementedError

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is damaged or missing, and where; empty if all is whole. Reads all of the log if nothing has yet."""
        if self._warnings is None:
            for _ in self.stored_batches(self.ranks):
                pass
        return self._warnings or ()

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions of the run that there were when it was opened, the oldest first: each start begins one.

        A start that resumes (`ActivationMonitor`'s `start_step`) continues the last one. `open_log` reads the last one
        unless it is told which. Logs of before schema 1.5 are one session.
        """
        found: dict[int, Session] = {}
        for run in self.runs.values():
            found = {each.number: each for each in run.sessions} | found
        return tuple(found[number] for number in sorted(found))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is good to know, and no damage: other sessions in its directory, and steps that were recorded again.

        Reads all of the log if nothing has yet.
        """
        _ = self.warnings
        notes = []
        others = [str(each.number) for each in self.sessions if each.number != self.session]
        if others:
            known = ("..., " if len(others) > _MOST else "") + ", ".join(others[-_MOST:])
            what = "another one, which is" if len(others) == 1 else f"{len(others)} others, which are"
            notes.append(f"this is session {self.session} of the run; its directory has {what} read apart: {known}")
        for run in self.runs.values():
            prefix = "" if run.path == self.path else f"{run.path.name}: "
            for first, last in run.replaced:
                what = f"step {first} was" if first == last else f"steps {first} to {last} were"
                notes.append(f"{prefix}{what} recorded again by a run that resumed; the earlier rows are left out")
        return tuple(notes)


def runs_in(place: Path, ranks: Mapping[int, str], session: int | None) -> tuple[dict[int, RunReader], list[str]]:
    """The readers of what a folder holds, by rank, and what is to be said of it.

    Where a run of one process and one of several were started in the same folder, it is the one that began last, as it
    is with sessions. Raises as `readers`.
    """
    if not ranks:
        return {0: RunReader(place, session)}, []
    if not list_segments(place):
        return readers(place, ranks, session)
    alone = max((each.started for each in RunReader(place).sessions), default=0)
    with suppress(LogError):
        runs, failed = readers(place, ranks, None)
        if max((each.started for run in runs.values() for each in run.sessions), default=0) > alone:
            if session is not None:
                runs, failed = readers(place, ranks, session)
            return runs, [*failed, "an older run of one process lies beside the rank directories and was not read"]
    return {0: RunReader(place, session)}, [f"{len(ranks)} rank directories lie beside the segments and were not read"]


def readers(place: Path, ranks: Mapping[int, str], session: int | None) -> tuple[dict[int, RunReader], list[str]]:
    """The readers of the ranks' directories in a folder, by rank, and what could not be read.

    Raises LogError where nothing can. Ranks whose session is not the last that a rank has are left out.
    """
    runs: dict[int, RunReader] = {}
    failed: list[str] = []
    for rank, name in sorted(ranks.items()):
        try:
            runs[rank] = RunReader(place / name, session)
        except (LogError, ArgumentValueError) as error:
            if is_exhausted(error.__cause__):
                raise  # which says nothing of this rank
            failed.append(f"{name}: {error}")
    if not runs:
        raise LogError(f"nothing can be read from the log {str(place)!r}: {'; '.join(failed)}")
    last = max(run.session for run in runs.values())
    others = {rank: run for rank, run in runs.items() if run.session != last}
    for rank, run in others.items():
        del runs[rank]
        failed.append(f"{run.path.name}: it has no session {last}, only {run.session}, and is left out")
    return runs, failed + missing(ranks, (run.metadata for run in runs.values()))
