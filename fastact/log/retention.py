"""How much of a run stays: the oldest whole segments are removed or thinned, so that a log of any length is bounded.

The segments of one folder form a line from the oldest to the newest, across the writers that have resumed the run.
Room is made before a batch is written (`make_room`: `LogOptions.keep_bytes`); what is too old in steps goes in small
portions of work between batches (`work`: `keep_steps`, `merge_steps`), as `plan` says. Only files with a segment's name
are ever touched, and never the one being written. A thinned file takes the place of the first of the segments that it
was made from by a rename, and the others are removed: so a reader, or a power loss, meets the rows before or after it,
and what is left of the others repeats rows, which readers leave out.
"""

import os
import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fastact.log.files import list_segments, sealed_name, sync_folder
from fastact.log.options import LogOptions
from fastact.log.plan import Job, KeptSegment, ages, next_job, repeated
from fastact.log.thin import read_facts, thin

_DRAFT: Final = re.compile(r"segment-\d{6,12}\.thin")
#: Seconds of one portion of work.
_PORTION: Final = 0.002


def _draft(number: int) -> str:
    return f"segment-{number:06d}.thin"


class Retention:
    """Keeps a run's folder, which the caller has locked, within the bounds of its options. For one thread.

    `cuts` has the steps from which on a writer's rows were recorded again, by its session: merged rows go without them.
    Without bounds nothing is ever looked at or touched. `tell` is called with an error where the system refuses to
    remove or to thin a segment. Raises OSError where the folder cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        options: LogOptions,
        tell: Callable[[OSError], None],
        cuts: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._cuts = cuts
        self._folder, self._options, self._tell = folder, options, tell
        self._kept: list[KeptSegment] = []
        self._reading: tuple[KeptSegment, Iterator[None]] | None = None
        self._thinning: tuple[Job, Iterator[None]] | None = None
        self._idle = False
        #: Whether segments become too old faster than they are thinned.
        self.behind = False
        if options.keep_bytes is None and options.keep_steps is None:
            return
        names = set(os.listdir(folder))  # noqa: PTH208 - every call to the system stands as one
        for name in sorted(names):
            # What a writer leaves that died while it thinned: a draft, or the segment that was thinned already.
            if _DRAFT.fullmatch(name) or name.replace(".live", ".arrows") in names - {name}:
                self._remove(name)
        for number, name in list_segments(folder):
            with suppress(OSError):
                self._kept.append(KeptSegment(number, name, os.stat(folder / name).st_size))  # noqa: PTH116

    def add(self, kept: KeptSegment) -> None:
        """Takes in a segment that this writer has sealed or given up."""
        if self._options.keep_bytes is not None or self._options.keep_steps is not None:
            self._kept.append(kept)
            self._idle = False

    def make_room(self, size: int) -> None:
        """Removes the oldest segments until they leave room for `size` bytes: the live segment and what it will get."""
        keep = self._options.keep_bytes
        if keep is None:
            return
        total = size + sum(kept.size for kept in self._kept)
        while total > keep and self._kept:
            oldest = self._kept[0]
            if not self._drop(oldest):
                return  # it is tried again before the next batch
            total -= oldest.size

    def work(self, session: str, first_step: int, last_step: int) -> bool:
        """Does a small portion of what is due; returns whether there is more to do at once.

        `session` is the writer's, `first_step` and `last_step` are the first and last step that it wrote.
        """
        if self._options.keep_steps is None or self._idle:
            return False
        until = time.monotonic() + _PORTION
        while self._go_on(session, first_step, last_step):
            if time.monotonic() >= until:
                return True
        return False

    @property
    def kept(self) -> list[KeptSegment]:
        """The segments, the oldest first."""
        return self._kept[:]

    def merge(self, job: Job) -> None:
        """Does a job at once; where its segments cannot be merged, or that saves nothing, they stay."""
        self._start(job)
        while self._thinning is not None:
            self._continue_thinning()

    def stop(self) -> None:
        """Gives up the work under way; the next writer begins it anew."""
        for _, work in filter(None, (self._reading, self._thinning)):
            work.close()  # type: ignore[attr-defined]
        self._reading = self._thinning = None

    def _go_on(self, session: str, first_step: int, last_step: int) -> bool:
        if self._thinning is not None:
            return self._continue_thinning()
        if self._reading is not None:
            return self._continue_reading()
        for kept in self._kept:
            if not kept.known:
                kept.known = True
                self._reading = kept, read_facts(self._folder / kept.name)
                return True
        options, old = self._options, ages(self._kept, session, first_step, last_step)
        assert options.keep_steps is not None
        for kept in repeated(self._kept):  # what a writer leaves that died after it had thinned
            if not self._drop(kept):
                self._idle = True
                return False
            return True
        if options.merge_steps is None:
            dropped = [
                self._drop(kept) for kept, age in zip(self._kept[:], old, strict=True) if age >= options.keep_steps
            ]
            self._idle = not all(dropped)
            return False
        job = next_job(self._kept, old, options.keep_steps, options.merge_steps, options.segment_bytes)
        if job is None:
            self._idle = True
            return False
        self._start(job)
        return True

    def _start(self, job: Job) -> None:
        self.behind = len(job.sources) > 1
        sources = [self._folder / kept.name for kept in job.sources]
        draft = self._folder / _draft(job.sources[0].number)
        for kept in job.sources:
            kept.tried = len(job.sources)  # whatever comes of it, it is not tried with these alone again
        options = self._options
        work = thin(
            sources,
            draft,
            job.next_row,
            job.k,
            options.batch_rows,
            options.compression,
            self._cuts.get(job.facts.session),
        )
        self._thinning = job, work

    def _drop(self, kept: KeptSegment) -> bool:
        if self._thinning is not None and kept in self._thinning[0].sources:
            self.stop()
        if self._reading is not None and self._reading[0] is kept:
            self.stop()
        if not self._remove(kept.name):
            return False
        self._kept.remove(kept)
        return True

    def _remove(self, name: str) -> bool:
        try:
            with suppress(FileNotFoundError):
                os.unlink(self._folder / name)  # noqa: PTH108
        except OSError as error:
            self._tell(error)
            return False
        return True

    def _continue_reading(self) -> bool:
        assert self._reading is not None
        kept, work = self._reading
        try:
            next(work)
        except StopIteration as done:
            kept.facts, self._reading = done.value, None
        except OSError:
            self._reading = None  # it has no facts
        return True

    def _continue_thinning(self) -> bool:
        assert self._thinning is not None
        job, work = self._thinning
        try:
            if next(work, self) is not self:
                return True
            self._thinning = None
            self._replace(job)
        except (ValueError, ArithmeticError, struct.error):
            self._thinning = None  # they stay as they are
        except OSError as error:
            self._thinning = None
            self._tell(error)
        return True

    def _replace(self, job: Job) -> None:
        """Puts the thinned file in the place of the whole segments, unless it is no smaller."""
        first = job.sources[0]
        draft, name = _draft(first.number), sealed_name(first.number)
        try:
            size = os.stat(self._folder / draft).st_size  # noqa: PTH116
            if size >= sum(kept.size for kept in job.sources):
                self._remove(draft)
                return
            os.replace(self._folder / draft, self._folder / name)  # noqa: PTH105
        except OSError:
            self._remove(draft)
            raise
        merged = KeptSegment(first.number, name, size, job.facts, known=True)
        place = self._kept.index(first)
        self._kept[place : place + len(job.sources)] = [merged]
        sync_folder(self._folder)
        # Dying just before leaves them all; readers drop the rows that they have had.
        for kept in job.sources:
            if kept.name != name and not self._remove(kept.name):
                self._kept.insert(self._kept.index(merged) + 1, kept)
