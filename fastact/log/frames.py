"""Messages of an Arrow stream with a stamp in Arrow's own metadata, so that damage is seen and stepped over.

Arrow has no checksum, and where one message ends is known only from inside it. Each message that fastact writes
(schema or record batch) therefore carries one metadata entry, the stamp: whose it is, its place in the writer's
sequence, its length and the CRC-32 of the whole message, taken with the CRC's own eight digits as zeros. A reader
checks the stamp before it gives a single byte to Arrow, and after damage it looks for the next message that has one.
Every other Arrow reader sees an ordinary stream with an entry ``fastact.stamp`` that it may ignore.

The form of the stamp stays the same in all versions, so that old readers can refuse new logs by name.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple, Protocol

#: An Arrow stream ends with a continuation mark and a length of zero.
END_MARK: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
#: No message may have more metadata, nor be longer: a bound for what is allocated, whatever a file says.
MAX_METADATA: Final = 1 << 26
MAX_MESSAGE: Final = 1 << 29
_STAMP: Final = re.compile(
    rb"version=(\d{1,4})\.(\d{1,4}) kind=(schema|batch) session=([0-9a-f]{16})"
    rb" batch=(\d{12}) row=(\d{18}) length=(\d{12}) crc32=([0-9a-f]{8})"
)
#: Bytes that are read at a time in search of a message.
_SEARCH: Final = 1 << 20
#: Bytes of the end of a segment, in which its last message is looked for.
_TAIL: Final = 1 << 18
#: A continuation mark with a metadata length of at most MAX_METADATA after it.
_START: Final = re.compile(rb"\xff\xff\xff\xff(?=[\x00-\xff]{3}[\x00-\x04])")


class Source(Protocol):
    """What bytes are read from: a binary file, or a `sparing.SparingFile`."""

    def seek(self, offset: int, /) -> int:
        """Sets where the next `read` begins."""

    def read(self, count: int, /) -> bytes:
        """The next bytes, fewer at the end."""


class Frame(NamedTuple):
    """One whole message whose checksum holds.

    `version`, `kind` ("schema" or "batch"), `session`, `batch` (number of this batch) and `row` (number of its first
    row, both counted from the writer's start) come from the stamp; `metadata` is the length in bytes of the metadata
    at the front of `message`, its 8-byte prefix included; `offset` is the place in the file.
    """

    version: tuple[int, int]
    kind: str
    session: str
    batch: int
    row: int
    offset: int
    metadata: int
    message: bytes


def stamp_text(version: tuple[int, int], kind: str, session: str, batch: int, row: int) -> str:
    """The stamp of a message that is yet to be serialised: length and checksum are zeros of the final width."""
    front = f"version={version[0]}.{version[1]} kind={kind} session={session}"
    return f"{front} batch={batch:012d} row={row:018d} length={0:012d} crc32={0:08x}"


def finish(message: bytes, stamp: str) -> bytes:
    """The message with length and checksum filled into its stamp."""
    # The session's random digits are in the stamp, so no name and no user metadata can look like it by accident.
    begin = message.index(stamp.encode())
    end = begin + len(stamp)
    length = f"{len(message):012d}".encode()
    draft = message[: end - 27] + length + message[end - 15 :]
    return draft[: end - 8] + f"{zlib.crc32(draft):08x}".encode() + draft[end:]


def frames(
    file: Source, size: int, lost: Callable[[str], None] = lambda _: None, sealed: bool = True, begin: int = 0
) -> Iterator[Frame]:
    """Yields the whole messages from byte `begin` to byte `size` of a segment; `lost` is told of what is not whole.

    Memory is bounded by one message, and the work by a few times the size of the file: where false starts would make it
    more, the search is given up, and `lost` is told so.
    """
    position = begin
    budget = _Budget(8 * size + (1 << 24))
    search = _Search(file, size, budget)
    ended = False
    found: Frame | str | None = None
    while position < size:
        found = found or _frame(file, position, size, budget)
        if isinstance(found, Frame):
            position += len(found.message)
            whole, found = [found], None
            yield whole.pop()  # and is not kept while the next one waits to be asked for
            continue
        if found == "end":
            ended = True
            position += len(END_MARK)
            if position == size:
                break
        found = search.next(position if ended else position + 1)
        if budget.left < 0:
            lost(
                f"the search for whole batches was given up within bytes {position} to {size - 1}, which are damaged: "
                "what is whole among them was left out"
            )
            break
        if found is None:
            lost(f"{size - position} bytes from byte {position} on hold no whole batch and were left out")
            break
        lost(f"bytes {position} to {found.offset - 1} are damaged and were skipped")
        position, ended = found.offset, False
    if sealed and not ended:
        lost(f"the end mark is missing at byte {size}: batches may have been cut off")


def last_frame(file: Source, size: int) -> Frame | None:
    """The message at the end of a segment, before its end mark; None where it is not whole, or not a short one."""
    begin = max(0, size - _TAIL)
    budget = _Budget(4 * _TAIL)
    tail = budget.read(file, begin, size - begin)
    if not tail.endswith(END_MARK):
        return None
    for match in islice(reversed(list(_STAMP.finditer(tail))), 8):
        length = int(match[7])
        found = _frame(file, size - len(END_MARK) - length, size, budget) if length <= len(tail) - len(END_MARK) else ""
        if isinstance(found, Frame) and len(found.message) == length:
            return found
    return None


class _Budget:
    """Bytes that may yet be read or searched: else a file of false starts would cost time that grows as its square."""

    def __init__(self, left: int) -> None:
        self.left = left

    def read(self, file: Source, offset: int, count: int) -> bytes:
        self.left -= count
        if self.left < 0:
            return b""
        file.seek(offset)
        return file.read(count)


def _frame(file: Source, offset: int, size: int, budget: _Budget) -> Frame | str:
    """The message at `offset`; "end" for an end mark; "damaged" for everything else."""
    prefix = budget.read(file, offset, min(8, size - offset))
    if prefix == END_MARK:
        return "end"
    length = int.from_bytes(prefix[4:8], "little")
    if len(prefix) < 8 or prefix[:4] != END_MARK[:4] or length > min(MAX_METADATA, size - offset - 8):
        return "damaged"
    head = prefix + budget.read(file, offset + 8, length)
    # A name may hold the text of a stamp, so a few are tried; the true one comes first unless somebody plays tricks.
    for match in islice(_STAMP.finditer(head), 8):
        major, minor, kind, session, batch, row, total, checksum = match.groups()
        if not len(head) <= int(total) <= min(MAX_MESSAGE, size - offset):
            continue
        message = head + budget.read(file, offset + len(head), int(total) - len(head))
        crc = zlib.crc32(b"00000000", zlib.crc32(memoryview(message)[: match.end() - 8]))
        crc = zlib.crc32(memoryview(message)[match.end() :], crc)
        # In text, not as numbers: a flipped bit may turn "a" into "A", and then the message is not what was written.
        if len(message) == int(total) and b"%08x" % crc == checksum:
            version = (int(major), int(minor))
            return Frame(version, kind.decode(), session.decode(), int(batch), int(row), offset, len(head), message)
    return "damaged"


class _Search:
    """Looks for whole messages after damage, from one place to the next: no byte is searched twice."""

    def __init__(self, file: Source, size: int, budget: _Budget) -> None:
        self._file, self._size, self._budget = file, size, budget
        self._begin, self._data = 0, b""

    def next(self, offset: int) -> Frame | None:
        """The first whole message at or after `offset`; None when there is none, or the budget is spent."""
        while offset < self._size:
            # A mark may lie on the edge: seven more bytes than are searched.
            end = min(self._begin + _SEARCH, self._size)
            if not self._begin <= offset < end or not self._data:
                self._begin, end = offset, min(offset + _SEARCH, self._size)
                self._file.seek(offset)
                self._data = self._file.read(min(_SEARCH + 7, self._size - offset))
            for match in _START.finditer(self._data, offset - self._begin):
                place = self._begin + match.start()
                if place >= end:
                    break
                self._budget.left -= place - offset
                offset = place
                found = _frame(self._file, place, self._size, self._budget)
                if isinstance(found, Frame):
                    return found
            self._budget.left -= end - offset
            if self._budget.left < 0:
                return None
            offset = end
        return None
