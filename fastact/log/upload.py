"""Sealed segments move to another place: an object store, or whatever `fastact.remote` knows.

A thread of its own copies each sealed segment as a whole, asks the store how much it has, and only then removes the
local file: what is in neither place does not occur. A store that does not answer is tried again after a while, less and
less often; until then segments stay where they were written, the training goes on, and `Uploader.waiting` counts them.
A later writer of the same folder takes them along.

Segments keep their order. Where the store has segments of earlier writers, numbers go on after those: two writers at a
time must not share a place, and no object store has a lock that would stop them.
"""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from fastact.log.files import list_segments
from fastact.log.lock import LOCK_NAME
from fastact.opening import read_regular
from fastact.remote import locate, redacted

#: Seconds between two looks for sealed segments; after a failure, at first and at most.
_LOOK, _FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 1.0, 60.0
#: The front of a segment, which has its writer's random number: two that agree in it are the same.
_FRONT: Final = 4096


class Uploader:
    """Moves the segments of a run's folder, which the caller has locked, to `where`, a URI or a path.

    Raises what `remote.locate` raises.
    """

    def __init__(self, folder: Path, where: str) -> None:
        #: The text of a warning, once the store has refused; whoever gives the warning takes it away.
        self.trouble: str | None = None
        self._folder, self._shown = folder, redacted(where)
        self._filesystem, self._root = locate(where)
        self._offset: int | None = None
        #: `_left`: the writer has let go of the folder, which may be another's by now.
        self._warned = self._final = self._left = False
        self._pause = 0.0
        self._process = os.getpid()
        self._alarm = threading.Lock()
        self._alarm.acquire()
        self._thread: threading.Thread | None = threading.Thread(target=self._run, name="fastact-upload", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread can be had: `finish` does it all
            self._thread = None

    @property
    def waiting(self) -> int:
        """Sealed segments that are not uploaded yet."""
        with suppress(OSError):
            return len(self._sealed())
        return 0

    def finish(self, timeout: float) -> bool:
        """Uploads what is there, the writer being closed; returns whether all of it is, within `timeout` seconds."""
        if os.getpid() != self._process:
            return True  # a forked child's: the segments are the parent's
        until = time.monotonic() + timeout
        self._final = True
        with suppress(RuntimeError):
            self._alarm.release()
        if self._thread is None:
            self._try()
        else:
            while self._thread.is_alive() and time.monotonic() < until:
                self._thread.join(0.05)
        self._left = True
        left = self.waiting
        if left:
            self._tell(f"{left} sealed segments are not uploaded: they stay there, and go along with the next writer")
        return not left

    def _run(self) -> None:
        failed_once = False
        while True:
            self._alarm.acquire(timeout=self._pause or _LOOK)
            final = self._final
            done = self._try()
            if self._left or (final and (done or failed_once)):
                return
            failed_once = final

    def _try(self) -> bool:
        """Uploads what is sealed; returns whether all of it is."""
        if self._left:
            return False
        final = self._final
        try:
            if self._offset is None:
                self._offset = self._begin()
            for number, name in list_segments(self._folder) if final else self._sealed():
                self._move(number, name)
                if self._left:
                    return False
            if final:
                with suppress(FileNotFoundError):
                    self._filesystem.delete_file(f"{self._root}/{LOCK_NAME}")
        except Exception as error:  # noqa: BLE001 - whatever a store's library raises, it is tried again
            self._pause = min(2.0 * self._pause or _FIRST_PAUSE, _LONGEST_PAUSE)
            self._tell(
                f"cannot be uploaded to {self._shown!r} ({str(error).splitlines()[0][:300] if str(error) else error!r})"
            )
            return False
        self._pause = 0.0
        return True

    def _sealed(self) -> list[tuple[int, str]]:
        return [(number, name) for number, name in list_segments(self._folder) if name.endswith(".arrows")]

    def _begin(self) -> int:
        """Looks at what the store has: what is added to a segment's number there."""
        from pyarrow import fs

        there = self._filesystem.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        sizes = {info.base_name: info.size for info in there if info.is_file}
        numbers = [int(name[8:].partition(".")[0]) for name in sizes if _is_segment(name)]
        for _, name in self._sealed():  # uploaded by a writer that died before it removed them
            front = self._front(name)
            size = (self._folder / name).stat().st_size
            alike = [other for other, there in sizes.items() if there == size and _is_segment(other)]
            if any(self._read(other, len(front)) == front for other in alike):
                os.unlink(self._folder / name)  # noqa: PTH108
        self._put(LOCK_NAME, f"process {os.getpid()}".encode())
        local = [number for number, _ in list_segments(self._folder)]
        first, last = min(local, default=0), max(numbers, default=-1)
        return 0 if first > last else last + 1 - first

    def _front(self, name: str) -> bytes:
        with read_regular(self._folder / name) as file:
            return file.read(_FRONT)

    def _read(self, name: str, count: int) -> Any:
        with self._filesystem.open_input_stream(f"{self._root}/{name}") as stream:
            return stream.read(count)

    def _move(self, number: int, name: str) -> None:
        assert self._offset is not None
        # As a whole: what a stream has taken becomes an object when it is closed, be it all or not.
        with read_regular(self._folder / name) as file:
            data = file.read()
        if data:
            self._put(f"segment-{number + self._offset:06d}{Path(name).suffix}", data)
        if self._left:  # it came back too late: the next writer finds the segment in the store, and removes this one
            return
        os.unlink(self._folder / name)  # noqa: PTH108

    def _put(self, name: str, data: bytes) -> None:
        filesystem, place = self._filesystem, f"{self._root}/{name}"
        # A file appears as it is written, an object when all of it is there.
        draft = f"{self._root}/.{name}.part" if filesystem.type_name == "local" else place
        try:
            stream = filesystem.open_output_stream(draft)
        except FileNotFoundError:
            filesystem.create_dir(self._root, recursive=True)
            stream = filesystem.open_output_stream(draft)
        with stream:
            stream.write(data)
        if draft != place:
            filesystem.move(draft, place)
        size = filesystem.get_file_info(place).size
        if size != len(data):
            raise OSError(f"{name} has {size} bytes there, want {len(data)}")

    def _tell(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            self.trouble = (
                f"fastact: the log in {str(self._folder)!r}: {what}; training continues, segments stay there, and "
                "uploading is tried again"
            )


def _is_segment(name: str) -> bool:
    number, _, suffix = name.removeprefix("segment-").partition(".")
    return name.startswith("segment-") and number.isdecimal() and suffix in {"arrows", "live"}
