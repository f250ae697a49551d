"""Follows a run while it is written: what was written since the last look, and whether that still is the same run."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pyarrow.compute as pc

from fastact.errors import LogError
from fastact.log.folder import present_segments, segment_frames, unlocked
from fastact.log.frames import Frame
from fastact.log.lock import is_held
from fastact.log.reader import StoredBatch, Walk, without
from fastact.log.sessions import Front, Sessions, front_of


class RunFollower:
    """Follows the last session in a run's directory, which may be empty yet. Between calls no file is open.

    Segments that the writer begins, seals, or removes are followed as they come. A torn message at the end of the
    newest one may be half of a write, and is looked at again the next time. `lost` is told of what is missing. Where a
    new session begins, or a writer resumes and records again what was read, nothing more is read, and `void` is true:
    what was read does not hold any more, and whoever follows begins anew with another follower.
    """

    def __init__(self, path: Path, lost: Callable[[str], None]) -> None:
        self.path = path
        #: The run's own metadata, as the newest segment that was read has it.
        self.metadata: dict[str, str] = {}
        #: What was watched and not recorded, by name, and why, as the newest segment that was read has it.
        self.unseen: dict[str, str] = {}
        #: Whether the newest segment was sealed, when it was read last.
        self._sealed = False
        #: Whether what was read does not hold any more.
        self.void = False
        self._folder = path.absolute()
        self._walk = Walk({}, lost)
        self._places = Sessions(self._look)
        #: The session that is followed, and the last step that was read of each of its writers.
        self._session = 0
        self._read: dict[str, int] = {}
        self._number, self._offset, self._finished = -1, 0, True

    @property
    def closed(self) -> bool:
        """Whether the writer closed the run, and all of it was read. A writer that was killed leaves it open."""
        return self._sealed and unlocked(self._folder)

    @property
    def written(self) -> bool | None:
        """Whether a writer is at work on the run; None where the system does not tell."""
        return is_held(self._folder)

    def read(self) -> Iterator[StoredBatch]:
        """Yields the batches that were written since the last call; raises as `RunReader`."""
        try:
            found = present_segments(self._folder)
        except OSError as error:
            raise LogError(f"cannot read the log {str(self.path)!r}, want a run's directory: {error}") from error
        self._places.update(found)
        session, last = self._places.of_segments(), self._places.all[-1].number
        if self._read and (last != self._session or any(map(self._recorded_again, self._read))):
            self.void = True
            return
        self._session = last
        found = [(number, name) for number, name in found if session[number] == last and number >= self._number]
        self._sealed = bool(found) and found[-1][1].endswith(".arrows")
        for number, name in found:
            if number > self._number:
                self._end()
                self._number, self._offset, self._finished = number, 0, False
                self._walk.begin(name)
            elif self._finished:
                continue
            whole = name.endswith(".arrows") or number < found[-1][0]
            for stored in self._walk.batches(self._frames(name, whole=whole)):
                if stored.header is not None:
                    self.metadata, self.unseen = stored.header.metadata, stored.header.unseen
                if (cut := self._places.cut(stored.frame.session)) is not None:
                    stored = without(stored, cut, {}, self._walk.tell)  # noqa: PLW2901
                if stored.batch.num_rows:
                    step = int(pc.max(stored.batch.column("step")).as_py())
                    self._read[stored.frame.session] = max(step, self._read.get(stored.frame.session, step))
                yield stored
            if whole:
                self._end()

    def _recorded_again(self, writer: str) -> bool:
        """Whether another writer has resumed at a step that was read of this one already."""
        cut = self._places.cut(writer)
        return cut is not None and self._read[writer] >= cut

    def _look(self, name: str) -> Front:
        return front_of(segment_frames(self._folder, name, lambda _: None, shown=self.path))

    def _end(self) -> None:
        if not self._finished:
            self._finished = True
            self._walk.end()

    def _frames(self, name: str, *, whole: bool) -> Iterator[Frame]:
        """What was added to a segment; without `whole`, damage is told only when something whole comes after it."""
        told: list[str] = []
        self._walk.name = name
        found = segment_frames(self._folder, name, told.append, begin=self._offset, shown=self.path)
        for frame in chain(found, (None,) if whole else ()):
            for what in told:
                self._walk.tell(what)
            told.clear()
            if frame is not None:
                self._offset = frame.offset + len(frame.message)
                yield frame
