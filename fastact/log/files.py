"""One segment on disk: numbered names, whole writes, and sealing, as `fastact.log` describes.

Only thinning puts another file in the place of a whole segment, at once (`retention`).
"""

import errno
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from fastact.log.frames import END_MARK
from fastact.log.lock import LOCK_NAME
from fastact.opening import open_regular

#: Numbers that are tried for a new segment before the folder is given up as one that cannot be written to.
_TRIES: Final = 1000
_LAST: Final = 10**12 - 1
_NAME: Final = re.compile(r"segment-(\d{6,12})\.(arrows|live)")


def list_segments(folder: Path) -> list[tuple[int, str]]:
    """(number, file name) of every segment in a folder, in order. Raises OSError where the folder cannot be read."""
    names = (place.name for place in folder.iterdir())
    return sorted((int(match[1]), name) for name in names if (match := _NAME.fullmatch(name)))


def is_part_of_a_run(name: str) -> bool:
    """Whether a file of this name is a segment, or its writer's lock: nobody else may write it."""
    return name == LOCK_NAME or _NAME.fullmatch(name) is not None


def next_number(taken: Iterable[int]) -> int:
    """The number of a writer's next segment: after the others, but for the very last, after which no name is read."""
    return max((number for number in taken if number < _LAST), default=-1) + 1


def remove_empty(folder: Path) -> None:
    """Removes the empty segments that writers have left who were killed before their first batch.

    For who holds the folder's lock. Where there are no locks, a writer whose segment is gone makes another one.
    """
    for _, name in list_segments(folder):
        with suppress(OSError):
            if name.endswith(".live") and os.stat(folder / name).st_size == 0:  # noqa: PTH116
                os.unlink(folder / name)  # noqa: PTH108


def remove_run(folder: Path) -> None:
    """Removes the segments of a run, the newest first: what an interrupt leaves is the beginning of the run.

    For who holds the folder's lock. Raises OSError where the system refuses.
    """
    for _, name in reversed(list_segments(folder)):
        with suppress(FileNotFoundError):
            os.unlink(folder / name)  # noqa: PTH108 - every call to the system stands as one


def sealed_name(number: int) -> str:
    """The file name of a whole segment."""
    return f"segment-{number:06d}.arrows"


def write_all(file: int, data: bytes) -> None:
    """Writes all of `data`, in one system call unless the system takes less. Raises OSError when it takes nothing."""
    left = memoryview(data)
    while left:
        written = os.write(file, left)
        if written <= 0:
            raise OSError(errno.EIO, "nothing was written")
        left = left[written:]


def sync_folder(folder: Path) -> None:
    """Brings the folder's names to the disk: a file that is synced has a name only then.

    Raises OSError, but not where the system does not let a folder be opened or synced at all.
    """
    try:
        file = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows
        return
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(file)


class Segment:
    """The live segment of a writer. Every method but `abandon` and `leave` raises OSError when the disk refuses.

    Then it is to be abandoned: what a failed write or sync has left is not known, and a second sync may say "done" of
    pages that the system has thrown away.
    """

    def __init__(self, folder: Path, number: int, durable: bool = False) -> None:
        for self.number in range(number, number + _TRIES):
            self.name = f"segment-{self.number:06d}.live"
            self._live = folder / self.name
            self._sealed = folder / sealed_name(self.number)
            try:
                self._file = open_regular(self._live, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
            except FileExistsError:
                continue
            # Whoever holds the live name may seal this number, nobody else: so this check cannot be overtaken.
            if not os.path.lexists(self._sealed):
                break
            os.close(self._file)
            os.unlink(self._live)  # noqa: PTH108 - every call to the system stands as one
        else:
            raise FileExistsError(errno.EEXIST, f"no free number from {number} on")
        self._folder = folder
        self._durable = durable
        self._named = False
        #: Bytes of whole messages written so far.
        self.size = 0

    def write(self, data: bytes) -> None:
        """Writes whole messages. They are in the kernel's hands when this returns, on the disk where it is durable."""
        write_all(self._file, data)
        if self._durable:
            getattr(os, "fdatasync", os.fsync)(self._file)
            if not self._named:
                sync_folder(self._folder)
                self._named = True
        # Writing to a file that somebody removed succeeds, for nothing.
        if os.fstat(self._file).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, f"{self.name} was removed while it was written")
        self.size += len(data)

    def seal(self) -> None:
        """Ends the stream, brings it to the disk and gives the segment its final name."""
        write_all(self._file, END_MARK)
        os.fsync(self._file)
        file, self._file = self._file, -1
        os.close(file)
        os.rename(self._live, self._sealed)  # noqa: PTH104
        self.name = self._sealed.name
        self.size += len(END_MARK)
        sync_folder(self._folder)

    def abandon(self) -> None:
        """Gives the segment up after an error: cuts off what is not whole as far as the system lets it."""
        file, self._file = self._file, -1
        if file < 0:
            return
        with suppress(OSError):
            if os.fstat(file).st_size > self.size:
                os.ftruncate(file, self.size)
        with suppress(OSError):
            if self.size == 0:
                os.unlink(self._live)  # noqa: PTH108
        with suppress(OSError):
            os.close(file)

    def leave(self) -> None:
        """Closes this process's hold on the file and changes nothing: for a forked child."""
        file, self._file = self._file, -1
        if file >= 0:
            with suppress(OSError):
                os.close(file)
