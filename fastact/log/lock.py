"""One writer a run: a lock that a dead process cannot hold.

The lock is a POSIX record lock on the file ``writer.lock`` in the run's folder (a locked byte on Windows). The system
gives it back when the process ends, however it ends, and a forked child does not inherit it, which both `flock` and
Linux's open file description locks would allow: there a surviving data loader keeps a dead trainer's lock. Record locks
know nothing of two writers within one process; a registry of the folders that this process has locked does. They also
end when the process closes any other descriptor of the file, so nothing here opens it a second time.

The file itself stays: removing it would let two writers lock two files of the same name.
"""

import errno
import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from fastact.errors import LogError
from fastact.opening import open_regular

LOCK_NAME: Final = "writer.lock"
#: Linux's ``struct flock``: the lock's type, whence, start, length, and who holds it.
_FLOCK: Final = "hhqqi4x"
#: Who of this process holds a folder, by the folder's device and inode. One call into a dict needs no lock, which a
#: forked child might find taken for ever.
_held: "Final[dict[tuple[int, int], RunLock]]" = {}

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        # Far behind the text: Windows keeps others from reading a locked byte.
        os.lseek(file, 1 << 30, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    # A child holds none of its parent's locks.
    os.register_at_fork(after_in_child=_held.clear)


class RunLock:
    """Holds a run's folder, which must be there, for one writer, until `release` or the end of the process.

    Raises:
        LogError: another writer holds it; the message names the process and its host.
        OSError: the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> lock = RunLock(folder)
        >>> RunLock(folder)
        Traceback (most recent call last):
        fastact.errors.LogError: path: ... is being written by this process, want a run without another writer
        >>> lock.release()
        >>> RunLock(folder).release()
    """

    def __init__(self, folder: Path) -> None:
        status = os.stat(folder)  # noqa: PTH116 - every call to the system stands as one
        self._key = (status.st_dev, status.st_ino)
        self._file = -1
        self._taken = False
        if _held.setdefault(self._key, self) is not self:
            raise _refusal(folder, "this process")
        try:
            # What is written into it may not reach what somebody else's link points to.
            self._file = open_regular(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, follow=False)
            self._take(folder)
        except BaseException:
            self.release()
            raise

    def _take(self, folder: Path) -> None:
        try:
            _lock(self._file)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise _refusal(folder, _holder(self._file)) from None
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            # A file system without locks: the writers of one process still see each other, and segments are never
            # shared whoever writes, so this is no reason to go without a log.
        self._taken = True
        # For the reader of an error message only: a disk that is full is none of the lock's business.
        with suppress(OSError):
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, f"process {os.getpid()} on {socket.gethostname()}".encode(errors="replace"))

    def release(self) -> None:
        """Gives the folder back. A second call does nothing; in a forked child the parent keeps what it holds."""
        file, self._file = self._file, -1
        mine = _held.get(self._key) is self
        if mine:
            del _held[self._key]
        if file >= 0:
            with suppress(OSError):
                # Empty means that nobody writes; a process that died leaves its text.
                if mine and self._taken:
                    os.ftruncate(file, 0)
            with suppress(OSError):
                os.close(file)


def is_held(folder: Path) -> bool | None:
    """Whether a writer, of this process or another, holds a run's folder; None where the system does not tell.

    Nothing is locked for it, so that no writer is ever refused because somebody asks.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> lock = RunLock(folder)
        >>> is_held(folder)
        True
    """
    try:
        status = os.stat(folder)  # noqa: PTH116 - every call to the system stands as one
        key = (status.st_dev, status.st_ino)
        if key in _held:
            return True
        file = os.open(folder / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return None
    try:
        if sys.platform != "linux":
            return None
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_ = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
        return bool(kind != fcntl.F_UNLCK)
    except OSError:
        return None
    finally:
        # Closing it would give back the lock of a writer of this process that has begun in the meantime.
        if key not in _held:
            os.close(file)


def _refusal(folder: Path, holder: str) -> LogError:
    return LogError(f"path: {str(folder)!r} is being written by {holder}, want a run without another writer")


def _holder(file: int) -> str:
    with suppress(OSError):
        os.lseek(file, 0, os.SEEK_SET)
        # Whoever wrote into the file, it must not reach a terminal as it is.
        text = os.read(file, 200).decode("ascii", "replace")
        if text.isprintable() and text.startswith("process "):
            return text
    return "another process"
