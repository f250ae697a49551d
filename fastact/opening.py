"""Opening what others may have put there: a pipe would keep its reader waiting, and a link may lead anywhere."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final


def open_regular(
    path: str | os.PathLike[str], flags: int = os.O_RDONLY, *, follow: bool = True, folder: int | None = None
) -> int:
    """Opens a regular file, and nothing else, without ever waiting; returns its descriptor.

    Args:
        path: the file; relative to `folder` where that is given.
        flags: those of `os.open`. A file that is created is readable by all.
        follow: whether the last part of the path may be a link.
        folder: the descriptor of an open folder.

    Raises OSError: there is none, or it is something else.

    Example:
        >>> import tempfile
        >>> pipe = Path(tempfile.mkdtemp()) / "pipe"
        >>> os.mkfifo(pipe)
        >>> open_regular(pipe)
        Traceback (most recent call last):
        OSError: [Errno 22] not a regular file: '...'
    """
    flags |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    if not follow:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    file = os.open(path, flags, 0o644, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return file


def read_regular(path: Path) -> BinaryIO:
    """A regular file, opened for reading bytes. Raises OSError: there is none, or it is something else."""
    return os.fdopen(open_regular(path), "rb")


def others_may_write(status: os.stat_result) -> bool:
    """Whether others than this user and root may write a file or a folder; root could do as he likes anyway."""
    return hasattr(os, "geteuid") and (_is_of_another(status) or bool(status.st_mode & _BY_OTHERS))


#: The permissions to write of a group and of everybody.
_BY_OTHERS: Final = 0o022


def _is_of_another(status: os.stat_result) -> bool:
    return status.st_uid not in (os.geteuid(), 0)


def is_exhausted(error: BaseException | None) -> bool:
    """Whether a file could not be opened because too many are open: that says nothing of the file itself.

    Example:
        >>> is_exhausted(OSError(errno.EMFILE, "Too many open files")), is_exhausted(FileNotFoundError(2, "no file"))
        (True, False)
    """
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def untrusted(folder: Path) -> str:
    """Why others than this user and root could put something else into the place of `folder`, or into it; "" if not.

    As sshd has it (StrictModes): the folder and each one above it belong to this user or to root, and nobody else may
    write them, but for those in which nobody may rename what is another's (the sticky bit, as of /tmp).
    """
    if not hasattr(os, "geteuid"):
        return ""
    whole = folder.resolve()
    for place in (whole, *whole.parents):
        status = place.stat()
        if _is_of_another(status):
            return f"{place} belongs to another user"
        if others_may_write(status) and (place == whole or not status.st_mode & stat.S_ISVTX):
            return f"{place} can be written by others than this user and root"
    return ""
