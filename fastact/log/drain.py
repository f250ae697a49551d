"""The background half of a writer: takes rows out of the ring and puts them on the disk, in a thread of its own.

The thread alone touches the disk, so a slow one costs the training nothing, and an interrupt of the main thread cannot
come between two calls to the system. It is a daemon: it does not keep the interpreter alive. Where no thread can be
started (the interpreter is ending, or the platform has none), whoever appends or flushes does its work.

A disk that refuses is tried again after a while, in a new segment (see `files.Segment`). A batch that may be on the
disk already is repeated under the same number, and readers leave the repetition out.
"""

import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.fields import ROW_BYTES
from fastact.history import LayerInfo
from fastact.log.codec import Encoder
from fastact.log.files import Segment, list_segments, next_number, remove_empty, remove_run, sync_folder
from fastact.log.folder import segment_frames
from fastact.log.frames import END_MARK
from fastact.log.late import LateNames, fitting, within
from fastact.log.lock import RunLock
from fastact.log.options import LogOptions
from fastact.log.plan import KeptSegment
from fastact.log.retention import Retention
from fastact.log.ring import Dropped, Ring
from fastact.log.schema import Header, orders_of
from fastact.log.sessions import Sessions, front_of
from fastact.log.snapshots import WaitingSnapshots
from fastact.log.thin import SegmentFacts

#: Seconds between two portions of retention's work, in which the training has Python's lock for itself.
_BETWEEN_PORTIONS: Final = 0.004
#: Seconds for which a disk that refuses is left alone: the first time, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
#: When the log is closed: seconds between two tries, at first, and for how long none may have got on.
_SHORTEST_PAUSE, _LAST_TRIES = 0.02, 5.0
#: A segment with enough steps is sealed when it is this old: sealing waits for the disk, however fast the steps are.
_BETWEEN_SEALS: Final = 0.1
#: Rows that wait because they come faster than they are written, and those of the largest batch that they make.
_PILED_UP, _MOST_ROWS = 4_096, 32_768
#: Characters of the layers that a header names, some 100,000 layers: readers bound what a message may hold.
_MOST_NAMED: Final = 16 << 20
_drains: "Final[weakref.WeakSet[Drain]]" = weakref.WeakSet()


class Drain:
    """Empties a ring into a run's folder, an absolute path that is made where it is missing.

    The writer adds to `layers`, by the number that rows have for them, before the first row of a layer; `metadata` is
    for the headers. `start_step` and `overwrite` are those of `LogWriter`.

    Raises OSError where the folder cannot be made or written to, LogError where another writer has it.
    """

    def __init__(
        self,
        folder: Path,
        options: LogOptions,
        metadata: dict[str, str],
        layers: dict[int, LayerInfo],
        start_step: int = 0,
        overwrite: bool = False,
    ) -> None:
        self.ring = Ring(options.capacity)
        #: The text of a warning, once the disk has refused; whoever gives the warning takes it away.
        self.trouble: str | None = None
        #: What was watched and not recorded, for the headers; replaced by a new mapping, never changed.
        self.unseen: Mapping[str, str] = {}
        self._told_unseen: Mapping[str, str] = {}
        #: Which neurons were dead at some steps, for the next batch.
        self.snapshots = WaitingSnapshots()
        self._folder, self._options, self._metadata, self._layers = folder, options, metadata, layers
        self._session = os.urandom(8).hex()
        #: Those that the last segment has rows of, which the next one names at its front; None before the first one.
        self._used: set[int] | None = None
        self._late = LateNames()
        self._batches = 0
        self._repeat = 0  # rows of a batch that failed and is written again as it was
        self._dropped = Dropped()  # before the next batch
        self._told = 0  # of these, how many the log tells of
        self._first_step: int | None = None
        self._last_step = self._segment_step = 0
        self._segment: Segment | None = None
        self._encoder: Encoder | None = None
        self._failures = 0
        self._warned = self._ended = False
        self._begun = self._resting = 0.0
        self._flush_at = time.monotonic() + options.flush_seconds
        #: Requests to write all rows that the ring holds: whether to close the log as well, and what is released when
        #: that is done. A lock: Python code takes that of an event, and an interrupt may leave it half done.
        self._requests: deque[tuple[bool, threading.Lock]] = deque()
        self._alarm = threading.Lock()
        self._alarm.acquire()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = RunLock(folder)
        try:
            remove_empty(folder)
            found = list_segments(folder)
            # Numbers go on after what is overwritten, so that whoever follows the run notices.
            self._next = next_number(number for number, _ in found)
            places = Sessions(lambda name: front_of(segment_frames(folder, name, lambda _: None)))
            self._run_session, self._start_step = places.begin(found, start_step, overwrite), start_step or None
            self._started = time.time_ns()
            if overwrite:
                remove_run(folder)
            cuts = {} if overwrite or options.merge_steps is None else places.cuts(found, self._start_step)
            self._retention = Retention(folder, options, self._tell, cuts)
            # Made now, so that a place that cannot be written to is told before the training begins.
            self._segment = self._open()
            if options.durability == "fsync":
                sync_folder(folder.parent)
        except BaseException:
            self._lock.release()
            raise
        _drains.add(self)
        self._thread: threading.Thread | None = threading.Thread(target=self._run, name="fastact-log", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._thread = None

    @property
    def run_session(self) -> int:
        """The session of the run that this writer is of: see `fastact.log.sessions`."""
        return self._run_session

    @property
    def refused(self) -> bool:
        """Whether the disk has refused the last time that something was to be written."""
        return self._failures > 0

    def wake(self) -> None:
        """Wakes the thread: a batch is full, or somebody waits."""
        if self._thread is None:
            self._serve()
            return
        # One call into C, so that no interrupt can leave anything half done; where it fails, the thread is awake.
        with suppress(RuntimeError):
            self._alarm.release()

    def finish(self, timeout: float, final: bool = False) -> bool:
        """Writes what the ring holds; `final`: also seals the segment and ends the thread.

        Returns whether all of it is written: False where the disk refused, or needed more than `timeout` seconds. What
        is not written by `final` is lost, so it tries again for as long as that gets on, and some seconds more.
        """
        ring, goal = self.ring, self.ring.head
        until = time.monotonic() + timeout
        if final and threading.current_thread() is not self._thread:
            tail, pause, patience = -1, _SHORTEST_PAUSE, 0.0
            while ring.tail < goal and not self._ended and time.monotonic() < until:
                if tail >= 0:
                    time.sleep(pause)
                    pause = min(2.0 * pause, _FIRST_PAUSE)
                self._request(False, until, timeout)
                if ring.tail > tail:
                    tail, pause, patience = ring.tail, _SHORTEST_PAUSE, time.monotonic() + _LAST_TRIES
                elif time.monotonic() >= patience:
                    break
        self._request(final, until, timeout)
        return ring.tail >= goal and ring.room > 0

    def _request(self, final: bool, until: float, timeout: float) -> None:
        """Has the thread write what the ring holds, and waits for it."""
        done = threading.Lock()
        done.acquire()
        if not self._ended:
            self._requests.append((final, done))
            self.wake()
        # The garbage collector may close a forgotten writer in the drain's own thread, which cannot wait for itself.
        while not self._ended and threading.current_thread() is not self._thread:
            # Now and then it looks around: the thread may have ended before it saw the request.
            if done.acquire(timeout=0.1):
                break
            if time.monotonic() >= until:
                self._tell(TimeoutError(f"the disk has not answered for {timeout:g} seconds"))
                break

    def orphan(self) -> None:
        """In a forked child: rows and files belong to the parent, and so does its trouble."""
        self._ended = self._warned = True
        self.trouble = None
        self.ring.orphan()
        if self._segment is not None:
            self._segment.leave()
        self._lock.release()

    def _run(self) -> None:
        more = False
        while not self._ended:
            wake = min(self._flush_at, self._resting or self._flush_at)
            pause = 0.0 if self._retention.behind else _BETWEEN_PORTIONS
            self._alarm.acquire(timeout=pause if more else max(0.0, wake - time.monotonic()))
            more = self._serve()

    def _serve(self) -> bool:
        """Does what is due now; returns whether retention has more to do at once."""
        requests = []
        while self._requests:
            requests.append(self._requests.popleft())
        final = any(closing for closing, _ in requests)
        now, tail = time.monotonic(), self.ring.tail
        more = False
        try:
            if requests or now >= self._resting:
                self._write_due(bool(requests) or now >= self._flush_at, final)
                self._failures = 0
                self._resting = 0.0
                if not final and self._first_step is not None and 2 * self.ring.waiting < self.ring.capacity:
                    more = self._retention.work(self._session, self._first_step, self._last_step)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the thread, nor the training
            self._give_up()
            if self.ring.tail > tail:  # it got on: a disk that is slow to recover, or full now and then
                self._failures = 0
            self._resting = time.monotonic() + min(_FIRST_PAUSE * 2.0**self._failures, _LONGEST_PAUSE)
            self._failures = min(self._failures + 1, 30)
            self._tell(error)
        except BaseException:  # only without a thread: an interrupt of the training
            self._give_up()
            self._requests.extendleft(reversed(requests))
            raise
        if final:
            self._ended = True
            self._retention.stop()
            self._give_up()
            self._lock.release()
        elif now >= self._flush_at or requests:
            self._flush_at = now + self._options.flush_seconds
        for _, done in requests:
            done.release()
        return more

    def _write_due(self, everything: bool, final: bool) -> None:
        ring, options = self.ring, self._options
        # Rows that come in meanwhile are for the next time: a flush must end.
        goal = ring.head
        while ring.tail < goal and (everything or goal - ring.tail >= options.batch_rows or self._repeat):
            rows, dropped = ring.oldest(self._repeat or self._batch_size(goal - ring.tail))
            rows = fitting(rows, self._not_named(orders_of(rows)), _MOST_NAMED)
            self._repeat = len(rows)
            self._write(rows, dropped)
            # An interrupt before this repeats the batch, and readers drop repeats.
            ring.advance(len(rows))
            self._repeat = 0
            self._batches += 1
            assert self._segment is not None
            steps = self._last_step - self._segment_step
            aged = time.monotonic() - self._begun >= _BETWEEN_SEALS
            if self._segment.size >= options.rotate_bytes or (steps >= options.rotate_steps and aged):
                self._seal()
        oldest = time.monotonic() - (options.segment_seconds or math.inf)
        if self._encoder is not None and self._begun <= oldest:
            self._seal()
        if everything and self.unseen != self._told_unseen:
            self._write_nothing(self.unseen)
        while everything and self.snapshots:
            self._write_nothing()
        if final:
            if ring.oldest(0)[1] is not None or self._dropped.rows > self._told:
                self._write_nothing()
            if self._segment is not None:
                self._seal()

    def _batch_size(self, waiting: int) -> int:
        """Rows of the next batch.

        Each call to the system gives Python's lock away, and a loop that does nothing else gives it back after 5 ms: so
        what has piled up goes in few large batches.
        """
        options = self._options
        if waiting < max(4 * options.batch_rows, _PILED_UP):
            return options.batch_rows
        return max(options.batch_rows, min(waiting, _MOST_ROWS, options.rotate_bytes // ROW_BYTES))

    def _write_nothing(self, unseen: Mapping[str, str] | None = None) -> None:
        """Writes a batch without rows, for what there is to say beside them."""
        self._write(*self.ring.oldest(0), unseen)
        self._batches += 1

    def _write(self, rows: npt.NDArray[np.void], gone: Dropped | None, unseen: Mapping[str, str] | None = None) -> None:
        self._dropped = gone = gone or self._dropped
        if self._segment is None:
            self._segment = self._open()
        front = b""
        if self._encoder is None:
            front = self._begin()
            self._segment_step = int(rows["step"][0]) if len(rows) else self._segment_step
        assert self._encoder is not None
        orders = orders_of(rows)
        late = self._not_named(orders)
        neurons = self.snapshots.text()
        data = front + self._encoder.batch(rows, self.ring.tail, gone.rows, late, unseen, gone.refused, neurons)
        # Sealing adds its end mark, and asks for no room.
        self._retention.make_room(self._segment.size + len(data) + len(END_MARK))
        self._segment.write(data)
        self.snapshots.written()
        self._told = self._dropped.rows
        self._used = {*orders, *(self._used or ())} if not front else set(orders)
        if front or unseen is not None:
            self._told_unseen = self._encoder.header.unseen if unseen is None else unseen
        if len(rows):
            self._last_step = int(rows["step"][-1])
            self.trouble = self.trouble or self._late.count(late, self._last_step, self._first_step)
            if self._first_step is None:
                self._first_step = int(rows["step"][0])

    def _not_named(self, orders: list[int]) -> tuple[LayerInfo, ...]:
        """The layers, by what rows call them, that the segment has not named yet."""
        named = self._encoder.layers if self._encoder is not None else {}
        return tuple(self._layers[order] for order in orders if order not in named)

    def _begin(self) -> bytes:
        told, unseen = self._told, dict(self.unseen)
        used = tuple(self._layers) if self._used is None else sorted(self._used)
        layers = within(_MOST_NAMED, (self._layers[order] for order in used))
        header = Header(
            self._session, self.ring.tail, layers, self._metadata, dropped=told, unseen=unseen,
            run_session=self._run_session, start_step=self._start_step, started=self._started,
        )  # fmt: skip
        self._encoder = Encoder(header, self._batches, self._options.compression)
        self._begun = time.monotonic()
        return self._encoder.front

    def _open(self) -> Segment:
        durable = self._options.durability == "fsync"
        try:
            segment = Segment(self._folder, self._next, durable)
        except FileNotFoundError:
            # The run's own folder is made again; not its parents: where a disk is gone, its mount point stays empty.
            os.mkdir(self._folder)  # noqa: PTH102 - every call to the system stands as one
            self._lock.release()
            self._lock = RunLock(self._folder)
            segment = Segment(self._folder, self._next, durable)
        self._next = segment.number + 1
        return segment

    def _seal(self) -> None:
        assert self._segment is not None
        if self._encoder is None:  # closed without a row: the header says what there is to say
            self._segment.write(self._begin())
        assert self._encoder is not None
        index = self._encoder.index(self.ring.tail)
        if index:
            self._retention.make_room(self._segment.size + len(index) + len(END_MARK))
            self._segment.write(index)
            self._batches += 1
        try:
            self._segment.seal()
        finally:
            self._give_up()

    def _give_up(self) -> None:
        """Writes no more to the segment, which is sealed, or whose state is unknown after an error."""
        segment, self._segment, encoder, self._encoder = self._segment, None, self._encoder, None
        if segment is None:
            return
        segment.abandon()  # does nothing to a sealed one
        if segment.size:
            assert encoder is not None
            facts = None
            if self.ring.tail > encoder.header.first_row:
                first, tail = encoder.header.first_row, self.ring.tail
                facts = SegmentFacts(self._session, self._segment_step, self._last_step, first, tail)
            self._retention.add(KeptSegment(segment.number, segment.name, segment.size, facts, known=True))

    def _tell(self, error: Exception) -> None:
        self.complain(f"cannot be written ({error})")

    def complain(self, what: str) -> None:
        """Keeps the first trouble as the text of a warning."""
        if not self._warned:
            self._warned = True
            self.trouble = (
                f"fastact: the log in {str(self._folder)!r} {what}; training continues, writing is retried, and rows "
                "that find no room are dropped"
            )


def _forked() -> None:
    for drain in list(_drains):
        drain.orphan()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
