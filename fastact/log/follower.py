"""Follows a run while it is written: what was written since the last look."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from fastact.errors import LogError
from fastact.log.frames import Frame
from fastact.log.lock import is_held
from fastact.log.reader import StoredBatch, Walk, present_segments, segment_frames, unlocked


class RunFollower:
    """Follows one run's directory, which may be empty yet, from its oldest segment on. Between calls no file is open.

    Segments that the writer begins, seals, or removes are followed as they come. A torn message at the end of the
    newest one may be half of a write, and is looked at again the next time. `lost` is told of what is missing.
    """

    def __init__(self, path: Path, lost: Callable[[str], None]) -> None:
        self.path = path
        #: The run's own metadata, as the newest segment that was read has it.
        self.metadata: dict[str, str] = {}
        #: What was watched and not recorded, by name, and why, as the newest segment that was read has it.
        self.unseen: dict[str, str] = {}
        #: Whether the newest segment was sealed, when it was read last.
        self._sealed = False
        self._folder = path.absolute()
        self._walk = Walk({}, lost)
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
        found = [entry for entry in found if entry[0] >= self._number]
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
                yield stored
            if whole:
                self._end()

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
