"""Which session of a run each of its segments belongs to, and what a writer that resumed has recorded again.

A run is started once, or again and again. A plain start begins a *session*, with the next number; a writer that resumes
(`LogWriter`'s `start_step`) continues the last one, and the rows that earlier writers of that session had from that
step on are replaced by what it records. Nothing is rewritten: a segment's header has the session's number and the step
at which its writer resumed, and readers leave the replaced rows out. Logs of before 1.5 are one session.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from fastact.log.codec import NONSENSE, read_header
from fastact.log.frames import Frame
from fastact.log.schema import Header

#: What stands at the front of a segment: its first whole message and its header; None where it is not known.
Front = tuple[Frame | None, Header | None]


class Session(NamedTuple):
    """One session of a run.

    Attributes:
        number: from 0, as `open_log` takes it. Numbers stay when retention removes older sessions.
        started: when its first writer that is still there began, in nanoseconds since 1970-01-01 UTC; 0 of a log of
            before schema 1.5.
        resumed_at: the steps at which it was resumed, in the order in which that happened.
    """

    number: int
    started: int
    resumed_at: tuple[int, ...]


class Writer(NamedTuple):
    """What a writer's headers say of its place in the run: see `Header`."""

    session: int
    start_step: int | None
    started: int


class Sessions:
    """The sessions of one run's folder, from the fronts of its segments; `look` reads one, by the segment's name."""

    def __init__(self, look: Callable[[str], Front]) -> None:
        self._look = look
        #: The writer of each segment, by the segment's number; "" where it cannot be told, None while it is empty.
        self._writers: dict[int, str | None] = {}
        self._known: dict[str, Writer] = {}
        self._cuts: dict[str, int] = {}

    def update(self, found: Iterable[tuple[int, str]]) -> None:
        """Takes in the segments (number, name) that there are, in order; those that are known are not read again."""
        writers: dict[int, str | None] = {}
        for number, name in found:
            writer = self._writers.get(number)
            if not writer:
                frame, header = self._look(name)
                writer = frame.session if frame is not None else None
                if writer is not None and header is not None:
                    self._known.setdefault(writer, Writer(header.run_session, header.start_step, header.started))
            writers[number] = writer
        self._writers = writers
        self._cuts = {}
        cut: dict[int, int] = {}
        for writer in reversed(dict.fromkeys(each for each in writers.values() if each in self._known)):
            session, start_step, _ = self._known[writer]
            if session in cut:
                self._cuts[writer] = cut[session]
            if start_step is not None:
                cut[session] = min(start_step, cut.get(session, start_step))

    def begin(self, found: Sequence[tuple[int, str]], start_step: int, overwrite: bool) -> int:
        """The session of a writer that begins in a folder with these segments (number, name), in order.

        `start_step` and `overwrite` are those of `LogWriter`.
        """
        last = self.last(found)
        return max(0, last) if start_step and not overwrite else last + 1

    def last(self, found: Sequence[tuple[int, str]]) -> int:
        """The number of the last session by the segments, as in `begin`; -1 where there is none."""
        for _, name in reversed(found):
            _, header = self._look(name)
            if header is not None:
                return header.run_session
        return 0 if found else -1

    @property
    def all(self) -> tuple[Session, ...]:
        """The sessions that there are, the oldest first."""
        found: dict[int, Session] = {}
        for writer in dict.fromkeys(each for each in self._writers.values() if each in self._known):
            number, start_step, started = self._known[writer]
            before = found.get(number, Session(number, started, ()))
            resumed = before.resumed_at if start_step is None else (*before.resumed_at, start_step)
            found[number] = before._replace(resumed_at=resumed)
        return tuple(found[number] for number in sorted(found)) or (Session(0, 0, ()),)

    def of_segments(self) -> dict[int, int]:
        """The session of each segment, by the segment's number. One that cannot be told is as its older neighbour."""
        found: dict[int, int] = {}
        last = self.all[0].number
        for number, writer in self._writers.items():
            last = self._known[writer].session if writer in self._known else last
            found[number] = last
        return found

    def of_writer(self, writer: str) -> Writer:
        """What is known of a writer; where nothing is, it is taken for one that has not resumed in the last session."""
        return self._known.get(writer) or Writer(self.all[-1].number, None, 0)

    def cuts(self, found: Sequence[tuple[int, str]], start_step: int | None) -> dict[str, int]:
        """`cut` of each writer that has one, when another one resumes the last session at a step as well."""
        self.update(found)
        cuts, last = dict(self._cuts), self.all[-1].number
        if start_step is not None:
            for writer, known in self._known.items():
                if known.session == last:
                    cuts[writer] = min(start_step, cuts.get(writer, start_step))
        return cuts

    def cut(self, writer: str) -> int | None:
        """The step from which on a writer's rows were recorded again by another one that resumed; None: none was."""
        return self._cuts.get(writer)


def front_of(messages: Iterator[Frame]) -> Front:
    """The first whole message of a segment and its header; each None where there is none."""
    frame = next(messages, None)
    with suppress(*NONSENSE):
        if frame is not None and frame.kind == "schema":
            return frame, read_header(frame)[0]
    return frame, None
