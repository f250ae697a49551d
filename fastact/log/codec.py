"""Rows to the bytes of a segment, and from a message whose checksum holds to columns that are safe to use.

A checksum tells damage, not intent: whoever wrote the bytes may have meant harm. So a message is inspected before
Arrow sees it (`_check_message`), only columns of plain types are let in (`schema.check_schema`), and what Arrow makes
of the bytes is validated in full before it is handed on: offsets and UTF-8 that are wrong would crash the process
later. What comes of a batch is never more than `frames.MAX_MESSAGE` bytes.
"""

import functools
import io
import json
import struct
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fastact.fields import ROW_DTYPE, SCHEMA_VERSION
from fastact.history import LayerInfo
from fastact.log.frames import MAX_MESSAGE, Frame, finish, stamp_text
from fastact.log.index_entries import IndexEntries
from fastact.log.repeats import Layout, Repeats
from fastact.log.schema import (
    COLUMNS,
    MAX_BATCH_ROWS,
    Header,
    check_schema,
    layers_from_json,
    layers_to_json,
    to_batch,
    unseen_from_json,
)

#: What Arrow and the lines below raise for bytes that are no log; OSError comes from Arrow's decompression.
NONSENSE: Final = (pa.ArrowException, OSError, OverflowError, ValueError, struct.error, MemoryError)

#: The level at which lz4 looks for repetitions in batches of so few rows: 5 bytes a row fewer for half a microsecond of
#: the background's time, and as fast to read. Larger ones are those that have piled up.
_THOROUGH, _THOROUGH_ROWS = 3, 4_096
_FLOATS: Final = [field.name for field in COLUMNS if pa.types.is_floating(field.type)]
_FRONT: Final = COLUMNS.serialize().to_pybytes()
_WHOLE: Final = [i for i, field in enumerate(COLUMNS) if not field.nullable]


class Encoder:
    """Makes the messages of one segment: `front`, with its header, and batches.

    `batch` is the number of its first one, counted from the writer's start; `compression` is as in `LogOptions`.
    `layers` are those that the segment names so far, by their orders, which is how rows refer to them.
    """

    def __init__(self, header: Header, batch: int, compression: str | None) -> None:
        self.header = header
        self.layers = {info.order: info for info in header.layers}
        self._names = {info.order: info.name for info in header.layers}
        self._batch = batch
        stamp = stamp_text(SCHEMA_VERSION, "schema", header.session, batch, header.first_row)
        schema = header.schema(_package_version(), stamp)
        message = schema.serialize().to_pybytes()
        self.front = finish(message, stamp)
        self._size = len(self.front)
        self._entries = IndexEntries()
        #: What its batches added to the header.
        self._added: list[LayerInfo] = []
        self._unseen: Mapping[str, str] | None = None
        self._sink = io.BytesIO()
        self._schema, self._compression = schema, compression
        #: What writes batches, by whether it searches long; and the bytes of the schema, which each emits with its
        #: first one, where they are skipped.
        self._streams: dict[bool, Any] = {}
        self._front = len(message)

    def batch(
        self,
        rows: npt.NDArray[np.void],
        row: int,
        dropped: int = 0,
        layers: Sequence[LayerInfo] = (),
        unseen: Mapping[str, str] | None = None,
        refused: int | None = None,
        neurons: str = "",
    ) -> bytes:
        """The next batch, which may have no rows (of `fields.ROW_DTYPE`).

        Counted from the writer's start, its first row is number `row`, and `dropped` rows had been dropped before it,
        `refused` of them because the disk refused, the others because it was too slow; None where that is not known.
        `layers` are those of its rows that the segment has not named yet, `unseen` takes the place of the header's.
        `neurons` says which were dead at some steps (`snapshots`).
        """
        stamp = stamp_text(SCHEMA_VERSION, "batch", self.header.session, self._batch, row)
        metadata = {"fastact.stamp": stamp}
        if dropped:
            metadata["fastact.dropped"] = str(dropped)
            if refused is not None:
                metadata["fastact.refused"] = str(refused)  # 1.5
        if layers:
            metadata["fastact.layers"] = layers_to_json(layers)  # 1.5
            self.layers |= {info.order: info for info in layers}
            self._names |= {info.order: info.name for info in layers}
            self._added += layers
        if unseen is not None:
            metadata["fastact.unseen"] = json.dumps(dict(unseen))  # 1.5
            self._unseen = unseen
        if neurons:
            metadata["fastact.neurons"] = neurons  # 1.5
        if len(rows):
            self._entries.add(self._size, int(rows["step"].min()), int(rows["step"].max()))
        return self._message(rows, metadata, stamp)

    def index(self, row: int) -> bytes:
        """What ends a segment before its end mark: where in it which steps are (`step_index`); b"" of few batches.

        It takes the number of a batch. `row` is the number of the row after the last one.
        """
        text = self._entries.text()
        if not text:
            return b""
        stamp = stamp_text(SCHEMA_VERSION, "batch", self.header.session, self._batch, row)
        metadata = {"fastact.stamp": stamp, "fastact.index": text}  # 1.5
        if self._added:
            metadata["fastact.layers"] = layers_to_json(self._added)
        if self._unseen is not None:
            metadata["fastact.unseen"] = json.dumps(dict(self._unseen))
        return self._message(np.empty(0, ROW_DTYPE), metadata, stamp)

    def _message(self, rows: npt.NDArray[np.void], metadata: dict[str, str], stamp: str) -> bytes:
        thorough = self._compression == "lz4" and len(rows) <= _THOROUGH_ROWS
        new = thorough not in self._streams
        if new:
            codec = pa.Codec("lz4", _THOROUGH) if thorough else self._compression
            # Threads of its own cost more than they save, and at the limit of processes there are none to be had.
            options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
            self._streams[thorough] = pa.ipc.new_stream(self._sink, self._schema, options=options)
        self._streams[thorough].write_batch(to_batch(rows, self._names), custom_metadata=metadata)
        message = self._sink.getvalue()[self._front if new else 0 :]
        self._sink.seek(0)
        self._sink.truncate()
        self._batch += 1
        self._size += len(message)
        return finish(message, stamp)


@functools.cache
def _package_version() -> str:
    try:
        return version("fastact")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"


def adds_to_header(frame: Frame) -> bool:
    """Whether a batch may have what belongs to a header in its metadata, found without reading it."""
    return any(frame.message.find(entry, 0, frame.metadata) >= 0 for entry in (b"fastact.layers", b"fastact.unseen"))


def added(metadata: Mapping[bytes, bytes]) -> tuple[tuple[LayerInfo, ...], dict[str, str] | None]:
    """The layers that a batch's metadata name, and what is unseen from there on; raises ValueError for nonsense."""
    unseen = metadata.get(b"fastact.unseen")
    layers = layers_from_json(metadata.get(b"fastact.layers", b"[]"))
    return layers, None if unseen is None else unseen_from_json(unseen)


def read_header(frame: Frame) -> tuple[Header, "Decoder"]:
    """What a schema message says, and what reads the batches after it. Raises one of `NONSENSE` for what is no log."""
    schema = pa.ipc.read_schema(pa.py_buffer(frame.message))
    header = Header.read(schema)
    return header, Decoder(schema, header.version)


class Decoder:
    """Reads the batches of one segment, with the columns of this version in their order.

    `schema` is the one at the segment's front; ValueError if it lacks a column of its version, or has a foreign one.
    """

    def __init__(self, schema: Any, version: tuple[int, int]) -> None:
        # Version 1.0 wrote NaN for the within_std of a layer whose neurons were all NaN; null says so since.
        self._nan_is_null = version < (1, 1)
        if version == SCHEMA_VERSION and schema.equals(COLUMNS):  # as a rule, metadata apart
            self._places, self._front, self._repeats = None, _FRONT, Repeats(COLUMNS)
            return
        check_schema(schema, version)
        bare = pa.schema([field.remove_metadata() for field in schema])
        #: Where each column is; -1 for one that the version does not have yet.
        places = [bare.get_field_index(name) for name in COLUMNS.names]
        # As a rule a segment has the columns of this version in their order, and a batch of it is used as it is read.
        self._places = None if places == list(range(len(bare))) else places
        self._front = _FRONT if self._places is None else bare.serialize().to_pybytes()
        self._repeats = Repeats(bare)

    def batch(self, frame: Frame) -> tuple[Any, dict[bytes, bytes]]:
        """The `pyarrow.RecordBatch` in a message and the message's own metadata. Raises one of `NONSENSE`."""
        layout = _check_message(frame)
        body = memoryview(frame.message)[frame.metadata :]
        keys = self._repeats.keys(body, layout)
        columns = self._repeats.known(keys)
        new = tuple(i for i, column in enumerate(columns) if column is None) or tuple(range(len(columns)))
        # `pa.ipc.read_record_batch` has no options and no metadata; a stream of one batch costs 8 µs more and has both.
        with pa.ipc.open_stream(self._front + frame.message, options=self._repeats.options(new)) as stream:
            try:
                batch, metadata = stream.read_next_batch_with_custom_metadata()
            except StopIteration:
                raise ValueError("no batch in the message") from None
        batch.validate(full=True)
        if self._places is not None or len(new) < len(columns):
            for i, column in zip(new, batch.columns, strict=True):
                columns[i] = column
            places = range(len(columns)) if self._places is None else self._places
            own = [
                columns[i] if i >= 0 else pa.nulls(batch.num_rows, f.type) for i, f in zip(places, COLUMNS, strict=True)
            ]
            batch, read = pa.RecordBatch.from_arrays(own, schema=COLUMNS), batch
        else:
            read = batch
        for i, column in zip(new, read.columns, strict=True):
            self._repeats.keep(i, keys[i], column)
        for i in _WHOLE:
            if batch.column(i).null_count:
                raise ValueError(f"nulls in column {COLUMNS.names[i]!r}")
        return without_nan(batch) if self._nan_is_null else batch, dict(metadata or {})


def without_nan(batch: Any) -> Any:
    """The batch with null for NaN."""
    for name in _FLOATS:
        nan = pc.is_nan(batch.column(name))
        if pc.any(nan).as_py():
            place = batch.schema.get_field_index(name)
            column = pc.if_else(nan, pa.scalar(None, pa.float64()), batch.column(name))
            batch = batch.set_column(place, batch.schema.field(place), column)
    return batch


# A reader of a stream takes what is in the message's flatbuffer at its word: how long the body is, and for each
# compressed buffer, from the eight bytes in front of it, how much to allocate. These few lines check that beforehand.
# Message has header_type, header and bodyLength as fields 1 to 3; RecordBatch has length, nodes, buffers and
# compression as fields 0 to 3 (format/Message.fbs of Apache Arrow).
_I32: Final = struct.Struct("<i")
_I64: Final = struct.Struct("<q")
_RECORD_BATCH: Final = 3


def _check_message(frame: Frame) -> Layout:
    meta = memoryview(frame.message)[8 : frame.metadata]
    body = memoryview(frame.message)[frame.metadata :]
    message = _I32.unpack_from(meta, 0)[0]
    kind, header, length = (_slot(meta, message, field) for field in (1, 2, 3))
    if kind is None or header is None or struct.unpack_from("B", meta, kind)[0] != _RECORD_BATCH:
        raise ValueError("a message that is no batch")
    if (0 if length is None else _I64.unpack_from(meta, length)[0]) != len(body):
        raise ValueError("a body of another length")
    record = header + _I32.unpack_from(meta, header)[0]
    length = _slot(meta, record, 0)
    rows = 0 if length is None else _I64.unpack_from(meta, length)[0]
    if not 0 <= rows <= MAX_BATCH_ROWS:
        raise ValueError(f"{rows} rows in a batch")
    places = _pairs(meta, record, 2, "buffers")
    if not places or _slot(meta, record, 3) is None:
        return Layout((), (), ())  # not compressed: buffers are slices of the body, and Arrow checks their bounds
    unpack, within = _I64.unpack_from, range(len(body) - 7)
    sizes = []
    for offset, size in zip(places[::2], places[1::2], strict=True):
        if size >= 8 and offset not in within:
            raise ValueError("a buffer outside of the message")
        sizes.append(unpack(body, offset)[0] if size >= 8 else 0)
    total = sum(size for size in sizes if size > 0)
    if total > MAX_MESSAGE:
        raise ValueError(f"{total} bytes after decompression, at most {MAX_MESSAGE} are allowed")
    return Layout(_pairs(meta, record, 1, "columns"), places, sizes)


def _pairs(meta: memoryview, record: int, field: int, what: str) -> tuple[int, ...]:
    """A vector of pairs of int64 in a flatbuffer table; () when it is absent."""
    found = _slot(meta, record, field)
    if found is None:
        return ()
    begin = found + _I32.unpack_from(meta, found)[0]
    count = _I32.unpack_from(meta, begin)[0]
    if not 0 <= count <= len(meta) // 16:
        raise ValueError(f"{count} {what}")
    return struct.unpack_from(f"<{2 * count}q", meta, begin + 4)


def _slot(meta: memoryview, table: int, field: int) -> int | None:
    """Where a flatbuffer table keeps a field, None when it is absent."""
    vtable = table - _I32.unpack_from(meta, table)[0]
    if vtable < 0 or 4 + 2 * field >= struct.unpack_from("<H", meta, vtable)[0]:
        return None
    offset = struct.unpack_from("<H", meta, vtable + 4 + 2 * field)[0]
    return table + offset if offset else None
