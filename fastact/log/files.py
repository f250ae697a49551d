"""One segment on disk: numbered names, whole writes, and sealing.

A segment being written is ``segment-000000.live``; sealing gives it its end mark, brings it to the disk and renames it
to ``segment-000000.arrows``. A number is used once: nothing is ever appended to an older segment or written over it.
"""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from fastact.log.frames import END_MARK

__all__ = ["Segment", "list_segments"]

_NAME: Final = re.compile(r"segment-(\d{6,12})\.(arrows|live)")


def list_segments(folder: Path) -> list[tuple[int, str]]:
    """(number, file name) of every segment in a folder, in order. Raises OSError where the folder cannot be read."""
    found = []
    for place in folder.iterdir():
        match = _NAME.fullmatch(place.name)
        if match:
            found.append((int(match[1]), place.name))
    return sorted(found)


class Segment:
    """The live segment of a writer. Every method but `abandon` raises OSError when the disk refuses."""

    def __init__(self, folder: Path, number: int) -> None:
        while True:
            self.number = number
            self._live = folder / f"segment-{number:06d}.live"
            self._sealed = folder / f"segment-{number:06d}.arrows"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
            number += 1
            try:
                self._file = os.open(self._live, flags, 0o644)
            except FileExistsError:
                continue
            # Whoever holds the live name may seal this number, nobody else: so this check cannot be overtaken.
            if not os.path.lexists(self._sealed):
                break
            os.close(self._file)
            self._live.unlink()
        self._folder = folder
        #: Bytes written so far.
        self.size = 0

    def write(self, data: bytes) -> None:
        """Writes all of `data`, in one system call unless the system takes less."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._file, left) :]
        self.size += len(data)

    def seal(self) -> None:
        """Ends the stream, brings it to the disk and gives the segment its final name."""
        self.write(END_MARK)
        os.fsync(self._file)
        os.close(self._file)
        self._file = -1
        self._live.rename(self._sealed)
        # The name is only on the disk when the folder is; not every system lets a folder be opened.
        with suppress(OSError):
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def abandon(self) -> None:
        """Gives the segment up after an error: cuts off what is not whole as far as the system lets it."""
        if self._file < 0:
            return
        file, self._file = self._file, -1
        with suppress(OSError):
            if os.fstat(file).st_size > self.size:
                os.ftruncate(file, self.size)
            if self.size == 0:
                self._live.unlink()
        with suppress(OSError):
            os.close(file)

    def leave(self) -> None:
        """Closes this process's hold on the file and changes nothing: for a forked child."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
