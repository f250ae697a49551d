"""Files that are read a piece at a time, by many readers at once, with few of them open.

A merged diagnosis of a thousand ranks reads a thousand segments side by side. Systems allow as few as 256 open files a
process, and others in it need some. So of the files that are being read the last few used are open; any other is opened
again when its next piece is wanted.
"""

import errno
import os
import threading
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from fastact.errors import LogError
from fastact.opening import is_exhausted, read_regular

#: Files that stay open at a time, of all readers of the process.
MOST_OPEN: Final = 16
_open: "Final[OrderedDict[int, SparingFile]]" = OrderedDict()
_lock: Final = threading.RLock()


class SparingFile:
    """A regular file to read bytes from, closed while others are read. It has what `frames.frames` asks of a file.

    `size` is that at the time it was opened first. Where another file has taken its place since, `read` raises
    OSError: its bytes are not a continuation of those that were read.

    Raises:
        OSError: there is none, or it is something else.
        LogError: no more files can be opened.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "some"
        >>> count = path.write_bytes(b"abc")
        >>> with SparingFile(path) as file:
        ...     file.seek(1), file.read(1), file.size
        (1, b'b', 3)
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._identity: tuple[int, int] | None = None
        self._position = 0
        with _lock:
            self.size = os.fstat(self._opened().fileno()).st_size

    def seek(self, offset: int, whence: int = 0) -> int:
        """Sets where the next `read` begins: from the start, or from the end where `whence` is 2; returns it."""
        self._position = offset + (self.size if whence == 2 else 0)
        return self._position

    def read(self, count: int) -> bytes:
        """The next bytes, fewer at the end of the file. Raises as the class."""
        with _lock:
            file = self._opened()
            file.seek(self._position)
            data = file.read(count)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Closes the file. A second call does nothing."""
        with _lock:
            _open.pop(id(self), None)
            if self._file is not None:
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            while len(_open) >= MOST_OPEN:
                _close_oldest()
            file = self._reopen()
            status = os.fstat(file.fileno())
            identity = status.st_dev, status.st_ino
            if self._identity not in (None, identity):
                file.close()
                raise OSError(errno.ESTALE, "it was replaced while it was read")
            self._identity, self._file = identity, file
        _open[id(self)] = self
        _open.move_to_end(id(self))
        return self._file

    def _reopen(self) -> BinaryIO:
        while True:
            try:
                # A live segment is sealed, and gets its final name, while it is read.
                sealed = self._path.with_suffix(".arrows")
                found = self._path if self._path.exists() or self._identity is None else sealed
                return read_regular(found)
            except OSError as error:
                if not is_exhausted(error):
                    raise
                if not _open:
                    raise LogError(f"cannot read the log's {self._path.name!r}: {error.strerror}") from error
                _close_oldest()


def _close_oldest() -> None:
    _, oldest = _open.popitem(last=False)
    if oldest._file is not None:
        oldest._file.close()
        oldest._file = None
