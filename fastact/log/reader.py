"""Reads what is whole in a run's directory, however the run ended, and says what is not.

Bytes reach Arrow only after their checksum held, their columns are of the expected types and their sizes are within
bounds; after that the batch is validated in full. So damage costs the batch it is in, and hostile bytes cost memory
and time up to a bound.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import pyarrow as pa

from fastact.errors import LogError
from fastact.fields import SCHEMA_VERSION
from fastact.history import LayerInfo
from fastact.log.files import list_segments
from fastact.log.frames import MAX_MESSAGE, Frame, frames
from fastact.log.schema import COLUMNS, MAX_BATCH_ROWS, Header, check_schema, check_version

__all__ = ["Part", "RunReader"]

#: What bytes that are no log make Arrow and the lines below raise; OSError is what its decompression raises.
_NONSENSE: Final = (pa.ArrowException, OSError, OverflowError, ValueError, struct.error)


class Part(NamedTuple):
    """One batch of rows as it was flushed: a `pyarrow.RecordBatch` and its writer's layers by name."""

    batch: Any
    layers: dict[str, LayerInfo]


class RunReader:
    """The segments of one run's directory. Opens files only while it reads them, and never changes one.

    Raises:
        LogError: nothing can be read, or a newer major version of fastact wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sessions: dict[str, dict[str, LayerInfo]] = {}
        #: The run's own metadata; where segments differ, the newest holds.
        self.metadata: dict[str, str] = {}
        try:
            # It is read again and again, whatever the working directory is then.
            self._folder = path.absolute()
            found = list_segments(path)
        except (OSError, ValueError) as error:
            raise LogError(f"cannot read the log {str(path)!r}, want a run's directory: {error}") from error
        if not found:
            raise LogError(f"no log in {str(path)!r}, want a directory with segment-*.arrows or segment-*.live files")
        self._names = [name for _, name in found]
        reasons: list[str] = []
        headers = [self._look(name, reasons.append) for name in self._names]
        for header in headers:
            if header is not None:
                self._sessions.setdefault(header.session, {}).update({info.name: info for info in header.layers})
                self.metadata |= header.metadata
        if not any(headers) and next(self.batches(reasons.append), None) is None:
            why = "; ".join(dict.fromkeys(reasons)) or "the run has written nothing yet"
            raise LogError(f"nothing can be read from the log {str(path)!r}: {why}")

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every layer that a segment names, in forward order; where writers differ, the newest holds."""
        layers = {name: info for known in self._sessions.values() for name, info in known.items()}
        return tuple(sorted(layers.values(), key=lambda info: info.order))

    def batches(self, lost: Callable[[str], None]) -> Iterator[Part]:
        """Yields the whole batches in the order in which they were written; `lost` is told of what is missing."""
        due: dict[str, int] = {}
        unclosed: tuple[str, str] | None = None
        for name in self._names:

            def tell(what: str, name: str = name) -> None:
                lost(f"{name}: {what}")

            header: Header | None = None
            schema: Any = None
            session = ""
            for frame in self._frames(name, tell):
                session = frame.session
                if unclosed and unclosed[1] != session:
                    lost(f"{unclosed[0]}: it was never closed; rows that were not flushed are not in it")
                unclosed = None
                try:
                    if frame.kind == "schema":
                        header, schema = None, None
                        header, schema = _header(frame)
                        continue
                    if schema is None:
                        schema = _own_schema(frame, tell)
                    batch = _batch(frame, schema)
                except _NONSENSE as error:
                    tell(f"the message at byte {frame.offset} is no part of a fastact log ({ascii(error)[:200]})")
                    continue
                start = header.first_row if header is not None and header.session == session else frame.row
                start = due.get(session, start)
                if frame.row < start:
                    tell(f"the batch at byte {frame.offset} repeats rows and was left out")
                    continue
                if frame.row > start:
                    tell(f"rows {start} to {frame.row - 1} of this writer are missing before byte {frame.offset}")
                due[session] = frame.row + batch.num_rows
                yield Part(batch, self._layers(session, header))
            if session and name.endswith(".live"):
                unclosed = (name, session)

    def _layers(self, session: str, header: Header | None) -> dict[str, LayerInfo]:
        if header is not None:
            return {info.name: info for info in header.layers}
        # The segment's schema is lost; the same writer's other segments know its layers, or else the newest do.
        return self._sessions.get(session) or {info.name: info for info in self.layers}

    def _look(self, name: str, lost: Callable[[str], None]) -> Header | None:
        """The header at the front of a segment, None where it is damaged."""
        for frame in self._frames(name, lambda what: lost(f"{name}: {what}")):
            with suppress(*_NONSENSE):
                if frame.kind == "schema":
                    return _header(frame)[0]
            return None
        return None

    def _frames(self, name: str, lost: Callable[[str], None]) -> Iterator[Frame]:
        try:
            with _open(self._folder, name) as file:
                # A live segment grows: what is there now is what is read.
                size = file.seek(0, 2)
                for frame in frames(file, size, lost, name.endswith(".arrows")):
                    try:
                        check_version(frame.version)
                    except LogError as error:
                        raise LogError(f"{self.path / name}: {error}") from None
                    yield frame
        except OSError as error:
            lost(f"cannot be read: {error.strerror or error}")


def _open(folder: Path, name: str) -> BinaryIO:
    """Opens a segment, also when it was sealed since it was listed."""
    for candidate in (name, name.replace(".live", ".arrows")):
        with suppress(FileNotFoundError):
            path = folder / candidate
            if not path.is_file():  # opening a pipe would wait for ever
                continue
            return path.open("rb")
    raise OSError("it is gone, or no regular file")


def _header(frame: Frame) -> tuple[Header, Any]:
    schema = pa.ipc.read_schema(pa.py_buffer(frame.message))
    header = Header.read(schema)
    check_schema(schema)
    return header, schema


def _own_schema(frame: Frame, lost: Callable[[str], None]) -> Any:
    """The schema for batches whose own schema message is damaged: known when this version wrote them."""
    if frame.version != SCHEMA_VERSION:
        raise ValueError(f"its schema is damaged, and version {frame.version[0]}.{frame.version[1]} is not this one")
    lost(
        "the schema at its front is damaged: kinds of layers and metadata come from other segments, where there are any"
    )
    return COLUMNS


def _batch(frame: Frame, schema: Any) -> Any:
    _check_sizes(frame)
    batch = pa.ipc.read_record_batch(pa.py_buffer(frame.message), schema)
    batch.validate(full=True)
    batch = batch.select(COLUMNS.names)
    for column, want in zip(batch.columns, COLUMNS, strict=True):
        if column.null_count and not want.nullable:
            raise ValueError(f"nulls in column {want.name!r}")
    return pa.RecordBatch.from_arrays(batch.columns, schema=COLUMNS)


# Arrow takes the size of a decompressed buffer from eight bytes in front of it and allocates that much. These few
# lines look at the message's flatbuffer beforehand: Message.header is field 2; RecordBatch has length, nodes,
# buffers and compression as fields 0 to 3 (format/Message.fbs of Apache Arrow).
_I32: Final = struct.Struct("<i")
_I64: Final = struct.Struct("<q")


def _check_sizes(frame: Frame) -> None:
    meta = memoryview(frame.message)[8 : frame.metadata]
    body = memoryview(frame.message)[frame.metadata :]
    header = _slot(meta, _I32.unpack_from(meta, 0)[0], 2)
    if header is None:
        raise ValueError("a message without header")
    record = header + _I32.unpack_from(meta, header)[0]
    length = _slot(meta, record, 0)
    rows = 0 if length is None else _I64.unpack_from(meta, length)[0]
    if not 0 <= rows <= MAX_BATCH_ROWS:
        raise ValueError(f"{rows} rows in a batch")
    buffers = _slot(meta, record, 2)
    if buffers is None or _slot(meta, record, 3) is None:
        return  # not compressed: buffers are slices of the body, and Arrow checks their bounds
    begin = buffers + _I32.unpack_from(meta, buffers)[0]
    count = _I32.unpack_from(meta, begin)[0]
    if not 0 <= count <= len(meta) // 16:
        raise ValueError(f"{count} buffers")
    total = 0
    for i in range(count):
        offset, size = struct.unpack_from("<qq", meta, begin + 4 + 16 * i)
        if size < 8:
            continue
        if not 0 <= offset <= len(body) - 8:
            raise ValueError("a buffer outside of the message")
        total += max(0, _I64.unpack_from(body, offset)[0])
    if total > MAX_MESSAGE:
        raise ValueError(f"{total} bytes after decompression, at most {MAX_MESSAGE} are allowed")


def _slot(meta: memoryview, table: int, field: int) -> int | None:
    """Where a flatbuffer table keeps a field, None when it is absent."""
    vtable = table - _I32.unpack_from(meta, table)[0]
    if vtable < 0 or 4 + 2 * field >= struct.unpack_from("<H", meta, vtable)[0]:
        return None
    offset = struct.unpack_from("<H", meta, vtable + 4 + 2 * field)[0]
    return table + offset if offset else None
