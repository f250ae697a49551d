"""How much of a run stays: the oldest whole segments are removed or thinned, so that a log of any length is bounded.

The segments of one folder form a line from the oldest to the newest, across the writers that have resumed the run.
Room is made before a batch is written (`make_room`: `LogOptions.keep_bytes`); what is too old in steps goes in small
portions of work between batches (`work`: `keep_steps`, `merge_steps`). Only files with a segment's name are ever
touched, and never the one being written. A thinned segment takes the place of the whole one by a rename, so that a
reader, or a power loss, meets one or the other.
"""

import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastact.log.files import list_segments, sealed_name, sync_folder
from fastact.log.options import LogOptions
from fastact.log.thin import SegmentFacts, read_facts, thin

_DRAFT: Final = re.compile(r"segment-\d{6,12}\.thin")


def _draft(number: int) -> str:
    return f"segment-{number:06d}.thin"


@dataclass(slots=True)
class KeptSegment:
    """One segment that is no longer written to: a ".live" one was left by a writer that died, or whose disk refused.

    `facts` are None before it was read (`known`), or where they cannot be told; nothing more is merged once `settled`.
    """

    number: int
    name: str
    size: int
    facts: SegmentFacts | None = None
    known: bool = False
    settled: bool = False


class Retention:
    """Keeps a run's folder, which the caller has locked, within the bounds of its options. For one thread.

    Without bounds nothing is ever looked at or touched. `tell` is called with an error where the system refuses to
    remove or to thin a segment. Raises OSError where the folder cannot be read.
    """

    def __init__(self, folder: Path, options: LogOptions, tell: Callable[[OSError], None]) -> None:
        self._folder, self._options, self._tell = folder, options, tell
        self._kept: list[KeptSegment] = []
        self._thinning: tuple[KeptSegment, Iterator[None]] | None = None
        self._idle = False
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
        if self._thinning is not None:
            return self._continue_thinning()
        for kept in self._kept:
            if not kept.known:
                kept.known = True
                with suppress(OSError):
                    kept.facts = read_facts(self._folder / kept.name)
                return True
        old = self._old(session, first_step, last_step)
        options, merge_steps = self._options, self._options.merge_steps
        if merge_steps is None:
            if any(not self._drop(kept) for kept in old):
                self._idle = True
            return False
        for kept in old:
            if not kept.settled and kept.facts is not None:
                kept.settled = True  # whatever comes of it, it is tried once
                if kept.facts.merged_steps == 1:
                    source, draft = self._folder / kept.name, self._folder / _draft(kept.number)
                    steps = thin(source, draft, kept.facts, merge_steps, options.batch_rows, options.compression)
                    self._thinning = kept, steps
                    return True
        self._idle = True
        return False

    def stop(self) -> None:
        """Gives up the thinning under way; the next writer begins it anew."""
        if self._thinning is not None:
            self._thinning[1].close()  # type: ignore[attr-defined]
            self._thinning = None

    def _old(self, session: str, first_step: int, last_step: int) -> list[KeptSegment]:
        """The segments with no row of the newest steps, the oldest first."""
        assert self._options.keep_steps is not None
        # For each writer, from the newest on: its last step, and the steps that later writers recorded.
        last, later, first = last_step, 0, first_step
        old = False
        found = []
        for kept in reversed(self._kept):
            facts = kept.facts
            if facts is not None:
                if facts.session != session:
                    later += last - first + 1
                    session, last = facts.session, facts.last_step
                first = facts.first_step
                old = old or later + last - facts.last_step >= self._options.keep_steps
            if old:  # one that cannot be read is as old as its neighbour
                found.append(kept)
        return found[::-1]

    def _drop(self, kept: KeptSegment) -> bool:
        if self._thinning is not None and self._thinning[0] is kept:
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

    def _continue_thinning(self) -> bool:
        assert self._thinning is not None
        kept, steps = self._thinning
        try:
            if next(steps, self) is not self:
                return True
            self._thinning = None
            self._replace(kept)
        except (ValueError, ArithmeticError, struct.error):
            self._thinning = None  # it stays as it is
        except OSError as error:
            self._thinning = None
            self._tell(error)
        return True

    def _replace(self, kept: KeptSegment) -> None:
        """Puts the thinned file in the place of the whole one."""
        draft, name = _draft(kept.number), sealed_name(kept.number)
        try:
            size = os.stat(self._folder / draft).st_size  # noqa: PTH116
            os.replace(self._folder / draft, self._folder / name)  # noqa: PTH105
        except OSError:
            self._remove(draft)
            raise
        left, kept.name, kept.size = kept.name, name, size
        sync_folder(self._folder)
        if left != name:
            # Dying just before leaves both; readers drop the rows that they have had.
            self._remove(left)
