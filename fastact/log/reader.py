"""Reads every whole batch in a run's directory, however the run ended or while it is written; says what is missing.

Bytes reach Arrow only after their checksum held (`frames`) and their sizes and types were looked at (`codec`). So
damage costs the batch it is in, and hostile bytes cost memory and time up to a bound.

Segments are read, never mapped: where a mapped file shrinks, the process is killed. Reading takes a tenth of the time
of decompressing.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from fastact.errors import ArgumentValueError, LogError
from fastact.fields import SCHEMA_VERSION
from fastact.history import LayerInfo
from fastact.log.codec import NONSENSE, Decoder, added, adds_to_header, read_header
from fastact.log.folder import Tell, present_segments, segment_frames, unlocked
from fastact.log.frames import Frame
from fastact.log.schema import Header, columns_of, numbers_of
from fastact.log.sessions import Front, Session, Sessions, Writer, front_of
from fastact.log.snapshots import read_snapshots
from fastact.log.step_index import read_index
from fastact.neurons import Snapshot
from fastact.opening import is_exhausted

#: The versions whose columns are known.
_KNOWN: Final = ((1, 0), SCHEMA_VERSION)
#: The first and the last step that are wanted; None is no bound.
Steps = tuple[int | None, int | None]


class StoredBatch(NamedTuple):
    """One batch of rows as it lies in a segment, with its writer's layers by name.

    `batch` is a `pyarrow.RecordBatch` with the columns `schema.COLUMNS`; it may have no rows. `frame` is the message
    that holds it, and `front` the one that holds the segment's `header`; both are None where that is damaged. Where
    some of its rows were recorded again by a writer that resumed the run, the message has more rows than the batch.
    """

    batch: Any
    layers: dict[str, LayerInfo]
    header: Header | None
    front: Frame | None
    frame: Frame


class Walk:
    """Goes through a run's messages in the order in which they were written; `lost` is told of what is missing.

    `sessions` has the layers by name that each writer is known to have; schemas that come by add to it. Without `whole`
    it is given some of the batches, and what is between them is not missing.
    """

    def __init__(self, sessions: dict[str, dict[str, LayerInfo]], lost: Tell, *, whole: bool = True) -> None:
        self._sessions, self._lost, self._whole = sessions, lost, whole
        self._due: dict[str, int] = {}
        #: The first row of each writer after the segments before this one.
        self._past: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._unclosed: tuple[str, str] | None = None
        self.begin("")

    def begin(self, name: str, late: Iterable[LayerInfo] = ()) -> None:
        """Begins a segment; `late` are the layers that batches name which may not come by."""
        self._late = {info.name: info for info in late}
        #: The segment's file name.
        self.name = name
        self._session = ""
        self._header: Header | None = None
        self._front: Frame | None = None
        self._decoder: Decoder | None = None
        self._layers: dict[str, LayerInfo] | None = None

    def end(self) -> None:
        """Ends the segment."""
        if self._header is not None and self._header.next_row is not None:
            # A thinned segment stands for more rows than it has.
            session = self._header.session
            self._due[session] = max(self._header.next_row, self._due.get(session, 0))
        if self._session in self._due:
            self._past[self._session] = self._due[self._session]
        if self._session and self.name.endswith(".live"):
            self._unclosed = (self.name, self._session)

    def tell(self, what: str) -> None:
        """Reports that something of this segment is missing."""
        self._lost(f"{self.name}: {what}")

    def batches(self, messages: Iterable[Frame]) -> Iterator[StoredBatch]:
        """Yields the batches among the segment's messages."""
        for frame in messages:
            self._session = frame.session
            if self._unclosed and self._unclosed[1] != frame.session:
                self._lost(f"{self._unclosed[0]}: it was never closed; rows that were not flushed are not in it")
            self._unclosed = None
            try:
                if frame.kind == "schema":
                    self._header, self._front, self._decoder, self._layers = None, None, None, None
                    self._header, self._decoder = read_header(frame)
                    self._front = frame
                    self._take_header(self._header)
                    continue
                if self._decoder is None:
                    self._decoder = self._own_decoder(frame)
                batch, metadata = self._decoder.batch(frame)
                dropped = int(metadata.get(b"fastact.dropped", b"0"))
                refused = int(metadata[b"fastact.refused"]) if b"fastact.refused" in metadata else None
                late, unseen = added(metadata)
            except NONSENSE as error:
                self.tell(f"the message at byte {frame.offset} is not part of a fastact log ({ascii(error)[:200]})")
                continue
            header = self._header if self._header is not None and self._header.session == frame.session else None
            due = self._due.get(frame.session, frame.row if header is None else header.first_row)
            if frame.row < due:
                # What is left of segments that were made one, or was written again in a new one, is no news.
                if frame.row + batch.num_rows > self._past.get(frame.session, 0):
                    self.tell(f"the batch at byte {frame.offset} repeats rows and was left out")
                continue
            if frame.row > due and self._whole:
                self.tell(f"rows {due} to {frame.row - 1} of this writer are missing before byte {frame.offset}")
            self._due[frame.session] = frame.row + batch.num_rows
            if b"fastact.index" in metadata:
                continue
            where = f"before step {batch.column('step')[0]}" if batch.num_rows else "at the end"
            self._take_dropped(frame.session, dropped, where, refused)
            if unseen is not None and self._header is not None:
                self._header = replace(self._header, unseen=unseen)
            if late:
                found = {info.name: info for info in late}
                self._layers_of(frame.session).update(found)
                self._sessions.setdefault(frame.session, {}).update(found)
            whole = [StoredBatch(batch, self._layers_of(frame.session), self._header, self._front, frame)]
            # Thousands of ranks that wait for each other keep no batch meanwhile.
            del batch, frame, metadata
            yield whole.pop()

    def _take_header(self, header: Header) -> None:
        self._sessions.setdefault(header.session, {}).update({info.name: info for info in header.layers})
        if header.session not in self._due and header.first_row > 0:
            # Retention has removed this writer's first segments: what was dropped there is nobody's loss any more.
            self._dropped[header.session] = header.dropped
        self._take_dropped(header.session, header.dropped, "before its first row")

    def _take_dropped(self, session: str, dropped: int, where: str, refused: int | None = None) -> None:
        more = dropped - self._dropped.get(session, 0)
        if more > 0 and self._whole:
            # What the disk refused is known since 1.5.
            of_disk = None if refused is None else refused - self._refused.get(session, 0)
            why = "the disk refused them when they were to be written, or they came faster than it took them"
            if of_disk is not None:
                slow = f"{more - of_disk} came faster than they could be written, and found no room in memory"
                of_it = f"the disk refused {of_disk} when they were to be written"
                why = of_it if of_disk >= more else f"{of_it}; {slow}" if of_disk > 0 else slow
                self._refused[session] = refused or 0
            self.tell(f"{more} rows were dropped {where}: {why}")
            self._dropped[session] = dropped

    def _layers_of(self, session: str) -> dict[str, LayerInfo]:
        if self._layers is None:
            if self._header is not None:
                self._layers = {info.name: info for info in self._header.layers} | self._late
            else:
                # The segment's schema is lost; the same writer's other segments know its layers, or else all do.
                self._layers = self._sessions.get(session) or {
                    name: info for known in self._sessions.values() for name, info in known.items()
                }
        return self._layers

    def _own_decoder(self, frame: Frame) -> Decoder:
        """For batches whose own schema message is damaged: their columns are known by their version."""
        if not _KNOWN[0] <= frame.version <= _KNOWN[1]:
            major, minor = frame.version
            raise ValueError(f"its schema is damaged, and the columns of version {major}.{minor} are not known")
        others = "layer types and metadata come from other segments, where there are any"
        self.tell(f"the schema at its front is damaged: {others}")
        return Decoder(columns_of(frame.version), frame.version)


class Replaced(NamedTuple):
    """Rows that a writer left out of the reading, since the run was resumed: those from step `first` to `last`."""

    first: int
    last: int


class RunReader:
    """One session of one run's directory. Opens files only while it reads them, and never changes one.

    `session` is its number, by default that of the last one; one below 0 counts from the last, which is -1.

    Raises LogError where nothing can be read, or a newer major version of fastact wrote it, and ArgumentValueError
    where there is no such session.
    """

    def __init__(self, path: Path, session: int | None = None) -> None:
        self.path = path
        #: The steps of which rows were left out when the batches were read last: they were recorded again.
        self.replaced: list[Replaced] = []
        self._sessions: dict[str, dict[str, LayerInfo]] = {}
        #: The run's own metadata; where segments differ, the newest holds.
        self.metadata: dict[str, str] = {}
        #: What was watched and not recorded, by name, and why, as the newest segment has it.
        self.unseen: dict[str, str] = {}
        try:
            # It is read again and again, whatever the working directory is then.
            self._folder = path.absolute()
            found = present_segments(path)
        except (OSError, ValueError) as error:
            raise LogError(f"cannot read the log {str(path)!r}, want a run's directory: {error}") from error
        if not found:
            raise LogError(f"no log in {str(path)!r}, want a directory with segment-*.arrows or segment-*.live files")
        reasons: list[str] = []
        fronts = {name: self._look(name, reasons.append) for _, name in found}
        headers = {name: header for name, (_, header) in fronts.items()}
        self._places = Sessions(lambda name: fronts.pop(name, None) or self._look(name))
        self._places.update(found)
        #: The sessions that there were when it was opened, the oldest first.
        self.sessions: tuple[Session, ...] = self._places.all
        #: The number of the one that is read.
        self.session = self._chosen(session)
        mine = self._places.of_segments()
        names = [name for number, name in found if mine[number] == self.session]
        last: dict[str, str] = {}
        for name in names:
            header = headers[name]
            if header is not None:
                self._sessions.setdefault(header.session, {}).update({info.name: info for info in header.layers})
                self.metadata |= header.metadata
                self.unseen = header.unseen
                last[header.session] = name
        # What came late is in the header of its writer's next segment, where there is one.
        for writer, name in last.items():
            for late, unseen in self._added(name):
                self._sessions[writer].update({info.name: info for info in late})
                if unseen is not None and name == names[-1]:
                    self.unseen = unseen
        if not any(headers.values()) and next(self.batches(reasons.append), None) is None:
            why = "; ".join(dict.fromkeys(reasons)) or "the run has written nothing yet"
            raise LogError(f"nothing can be read from the log {str(path)!r}: {why}")

    def _chosen(self, session: int | None) -> int:
        numbers = [each.number for each in self.sessions]
        if session is None:
            return numbers[-1]
        if session in numbers:
            return session
        if -len(numbers) <= session < 0:
            return numbers[session]
        known = ", ".join(map(str, numbers[-20:]))
        raise ArgumentValueError(f"session: got {session}, want one of {known}; or -1, the last one, and so on")

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every layer that a segment names, in forward order; where writers differ, the newest holds."""
        layers = {name: info for known in self._sessions.values() for name, info in known.items()}
        return tuple(sorted(layers.values(), key=lambda info: info.order))

    @property
    def nbytes(self) -> int:
        """Bytes of the segments that are there now."""
        total = 0
        for name in self._names():
            with suppress(OSError):
                total += (self._folder / name).stat().st_size
        return total

    @property
    def closed(self) -> bool:
        """Whether the writer closed the run. A writer that was killed leaves it open."""
        names = self._names()
        is_last = self._places.all[-1].number == self.session
        return bool(names) and names[-1].endswith(".arrows") and (not is_last or unlocked(self._folder))

    def batches(
        self, lost: Tell, steps: Steps | None = None, *, everything: bool = False, before: int | None = None
    ) -> Iterator[StoredBatch]:
        """Yields the whole batches in the order in which they were written; `lost` is told of what is missing.

        With `steps`, the first and the last one that are wanted, batches without any of them may be left out, and
        `lost` is told of what is damaged among the others alone. With `everything`, those of all sessions, and rows
        that were recorded again as well. With `before`, without rows from that step on, as if they were.
        """
        walk = Walk(self._sessions, lost, whole=steps is None)
        header: Header | None = None
        replaced: dict[str, Replaced] = {}
        try:
            names = self._present(everything=everything)
        except OSError as error:
            if is_exhausted(error):
                raise LogError(f"cannot read the log {str(self.path)!r}: {error.strerror}") from error
            lost(f"its directory cannot be read any more: {error.strerror or error}")
            return
        for name in names:
            index = None if steps is None or name.endswith(".live") else read_index(self._folder / name)
            walk.begin(name, () if index is None else index.layers)
            messages = self._frames(name, walk.tell)
            if index is not None and steps is not None:
                found = index.stretches(*steps)
                ranges = (self._frames(name, walk.tell, *bounds) for bounds in found)
                messages = chain(islice(messages, 1 if found else 0), *ranges)
            for stored in walk.batches(messages):
                header = stored.header or header
                cuts = [self._places.cut(stored.frame.session), before]
                cut = min((each for each in cuts if each is not None and not everything), default=None)
                whole = [stored if cut is None else without(stored, cut, replaced, walk.tell)]
                del stored
                yield whole.pop()
            walk.end()
        if steps is not None:
            return
        self.replaced = list(replaced.values())
        self.unseen = self.unseen if header is None else header.unseen

    def snapshots(self) -> Iterator[tuple[str, Snapshot]]:
        """Which neurons were dead at some steps, with their layers, in the order in which that was written."""
        return read_snapshots(self._folder, self._names(), self._places.cut, self.path)

    def writer(self, session: str) -> Writer:
        """The place in the run of a writer, which a message names as its session."""
        return self._places.of_writer(session)

    def _names(self) -> list[str]:
        try:
            return self._present()
        except OSError:
            return []

    def _present(self, *, everything: bool = False) -> list[str]:
        found = present_segments(self._folder)
        self._places.update(found)
        session = self._places.of_segments()
        return [name for number, name in found if everything or session[number] == self.session]

    def _look(self, name: str, lost: Tell = lambda _: None) -> Front:
        """What stands at the front of a segment."""
        return front_of(self._frames(name, lambda what: lost(f"{name}: {what}")))

    def _added(self, name: str) -> Iterator[tuple[tuple[LayerInfo, ...], dict[str, str] | None]]:
        """What the batches of a segment add to its header, as `codec.added` has it."""
        index = read_index(self._folder / name) if name.endswith(".arrows") else None
        if index is not None:
            yield index.layers, index.unseen
            return
        decoder: Decoder | None = None
        for frame in self._frames(name, lambda _: None):
            with suppress(*NONSENSE):
                if frame.kind == "schema":
                    decoder = read_header(frame)[1]
                elif decoder is not None and adds_to_header(frame):
                    yield added(decoder.batch(frame)[1])

    def _frames(self, name: str, lost: Tell, begin: int = 0, end: int | None = None) -> Iterator[Frame]:
        return segment_frames(self._folder, name, lost, begin=begin, end=end, shown=self.path)


def without(stored: StoredBatch, cut: int, replaced: dict[str, Replaced], lost: Tell) -> StoredBatch:
    """The batch without the rows from step `cut` on, which were recorded again; notes by its writer what they were."""
    steps = numbers_of(stored.batch.column("step"))
    again = steps >= cut
    if not again.any():
        return stored
    first, last = int(steps[again].min()), int(steps.max())
    merged = 1 if stored.header is None else stored.header.merged_steps
    if merged > 1 and first // merged * merged < cut:
        first = cut
        lost(f"steps {cut // merged * merged} to {cut - 1} were merged with steps that were recorded again")
    writer = stored.frame.session
    before = replaced.get(writer, Replaced(first, last))
    replaced[writer] = Replaced(min(first, before.first), max(last, before.last))
    return stored._replace(batch=stored.batch.filter(pa.array(~again)))
