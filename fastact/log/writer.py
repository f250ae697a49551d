"""Writes rows into Arrow stream segments: cheap to append to, a whole batch for each write.

Rows are packed into a buffer of fixed-size rows that is allocated once. A full buffer, or `flush`, becomes one record
batch, serialised in memory and handed to the system in one write: what was flushed is in the kernel's hands and
survives the death of the process at any instant (not a loss of power; that is what sealing brings to the disk).
A disk that refuses costs rows, never the training.
"""

import io
import os
import struct
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from fastact.errors import ArgumentValueError, LogError
from fastact.fields import ROW, ROW_DTYPE, ROW_FORMAT, SCHEMA_VERSION
from fastact.history import LayerInfo
from fastact.log.files import Segment, list_segments
from fastact.log.frames import finish, stamp_text
from fastact.log.schema import MAX_BATCH_ROWS, Header, check_integer, check_layer, check_metadata, check_path, to_batch

__all__ = ["LogWriter"]

_PACK: Final = struct.Struct(ROW_FORMAT).pack_into
_ROW_BYTES: Final = ROW_DTYPE.itemsize
_LAYER: Final = [field.name for field in ROW].index("layer")


class LogWriter:
    """Appends rows to a run's directory. For one thread; a forked child that inherits it writes nothing.

    A directory that holds a run already is continued in new segments; what is there is never changed. The first
    trouble with the disk is told in a `RuntimeWarning`, later ones are silent: rows wait in the buffer, each flush
    tries again in a fresh segment, and when the buffer is full its rows are dropped and counted in `dropped`.

    Args:
        path: the run's directory; it and its parents are made when missing.
        metadata: what shall stand in each segment's schema about the run, text to text.
        batch_rows: rows the buffer holds (160 bytes each), 1 to 65536; a full one is flushed.
        segment_bytes: a segment that has grown to this is sealed and the next one begun.
        compression: "lz4", "zstd" or None: how Arrow compresses the columns. A row of a real layer takes some 40 to 55
            bytes with lz4, a fifth less with zstd, which takes longer to write and to read, and 187 without.

    Raises:
        LogError: the directory cannot be made or written to.
        ArgumentTypeError, ArgumentValueError: an argument is unusable.

    Example:
        >>> import tempfile
        >>> from fastact import open_log
        >>> run = tempfile.mkdtemp()
        >>> with LogWriter(run, metadata={"model": "tiny"}) as writer:
        ...     writer.add_layer(LayerInfo("encoder.0", 0, "ReLU"))
        ...     writer.append((7, 0, *[0] * 18))
        >>> open_log(run).to_table().select(["step", "layer"]).to_pylist()
        [{'step': 7, 'layer': 'encoder.0'}]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        metadata: Mapping[str, str] | None = None,
        batch_rows: int = 1024,
        segment_bytes: int = 64 << 20,
        compression: str | None = "lz4",
    ) -> None:
        self._metadata = check_metadata(metadata)
        check_integer("batch_rows", batch_rows, 1, MAX_BATCH_ROWS)
        check_integer("segment_bytes", segment_bytes, 1, 1 << 62)
        if compression not in ("zstd", "lz4", None):
            raise ArgumentValueError(f"compression: got {compression!r}, want 'zstd', 'lz4' or None")
        #: The run's directory, as it was given.
        self.path = check_path(path)
        #: Rows that could not be written and are lost.
        self.dropped = 0
        self._pid = os.getpid()
        self._session = os.urandom(8).hex()
        self._segment_bytes = segment_bytes
        self._options = pa.ipc.IpcWriteOptions(compression=compression)
        self._rows = np.zeros(batch_rows, ROW_DTYPE)
        self._buffer = self._rows.data.cast("B")
        self._capacity = batch_rows
        self._used = 0
        self._taken = 0  # rows that have left the buffer, written or dropped
        self._batches = 0
        self._layers: dict[str, LayerInfo] = {}
        self._names: dict[int, str] = {}
        self._closed = False
        self._warned = False
        self._stale = False  # the open segment's schema lacks a layer
        self._stream: tuple[io.BytesIO, Any, int] | None = None
        self._segment: Segment | None = None
        try:
            # Later segments go there as well, whatever the working directory is then.
            self._folder = self.path.absolute()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._next = max((number for number, _ in list_segments(self._folder)), default=-1) + 1
            # Made now, so that a place that cannot be written to is told before the training begins.
            self._segment = self._open()
        except (OSError, ValueError) as error:
            raise LogError(
                f"path: cannot write a log into {str(self.path)!r}, want a writable directory: {error}"
            ) from error

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._closed

    def add_layer(self, info: LayerInfo) -> None:
        """Makes a layer known, before its first row. The same name again changes nothing.

        Raises:
            ArgumentValueError: its order belongs to another layer, or its name to another order.
            LogError: the log is closed.
        """
        self._check_open()
        check_layer(info)
        known = self._layers.get(info.name)
        if known is not None:
            if known.order != info.order:
                raise ArgumentValueError(
                    f"info.order: got {info.order} for {info.name!r}, want {known.order} as before"
                )
            return
        if info.order in self._names:
            raise ArgumentValueError(f"info.order: got {info.order}, which belongs to {self._names[info.order]!r}")
        self._layers[info.name] = info
        self._names[info.order] = info.name
        self._stale = True

    def append(self, row: tuple[Any, ...]) -> None:
        """Takes in one row: the numbers of `fields.ROW`, in that order. Touches the disk only when the buffer is full.

        Raises:
            ArgumentValueError: the layer is unknown, or the row is not of that form.
            LogError: the log is closed.
        """
        if row[_LAYER] not in self._names:  # closing empties the names, so this one test sees both
            self._check_open()
            raise ArgumentValueError(f"row: got layer {row[_LAYER]!r}, want one given to add_layer before")
        try:
            _PACK(self._buffer, self._used * _ROW_BYTES, *row)
        except struct.error as error:
            if self._used == self._capacity:  # an interrupt has kept the last flush from making room
                self.flush()
                self.append(row)
                return
            raise ArgumentValueError(f"row: got {row!r}, want the {len(ROW)} numbers of fields.ROW: {error}") from None
        self._used += 1
        if self._used == self._capacity:
            self.flush()

    def flush(self) -> None:
        """Writes the rows in the buffer as one batch. They survive the death of the process when this returns."""
        self._check_open()
        self._flush()

    def close(self) -> None:
        """Flushes, brings the segment to the disk and gives it its final name. Calling it again does nothing."""
        if self._closed:
            return
        try:
            self._flush(final=True)
        finally:
            self._closed = True
            self._names = {}
            segment, self._segment = self._segment, None
            if segment is not None:
                segment.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"LogWriter({str(self.path)!r}, rows={self._taken + self._used}, dropped={self.dropped})"

    def _check_open(self) -> None:
        if self._closed:
            raise LogError(f"the log in {str(self.path)!r} is closed: open a new LogWriter to continue the run")

    def _flush(self, final: bool = False) -> None:
        if os.getpid() != self._pid:  # a forked child: the file belongs to the parent
            self._drop()
            return
        try:
            if self._used:
                self._write()
            if final and self._segment is not None:
                self._seal()
        except BaseException as error:
            # Interrupted or refused in the middle: this segment is not to be trusted with more.
            segment, self._segment, self._stream = self._segment, None, None
            if segment is not None:
                segment.abandon()
            if not isinstance(error, OSError):
                raise
            if final or self._used == self._capacity:
                self._drop()
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"fastact: the log in {str(self.path)!r} cannot be written ({error}); the run goes on, "
                    "writing is tried again, and rows that find no room are dropped",
                    RuntimeWarning,
                    stacklevel=4,
                )

    def _drop(self) -> None:
        self.dropped += self._used
        self._taken += self._used
        self._used = 0

    def _write(self) -> None:
        begun = self._segment is not None and self._stream is not None
        if begun and (self._stale or self._full()):
            self._seal()
        if self._segment is None:
            self._segment = self._open()
        data = self._begin() if self._stream is None else b""
        self._segment.write(data + self._encode())
        # One statement after the write: an interrupt before it repeats the batch, and readers drop repeats.
        self._used, self._taken, self._batches = 0, self._taken + self._used, self._batches + 1

    def _full(self) -> bool:
        return self._segment is not None and self._segment.size >= self._segment_bytes

    def _open(self) -> Segment:
        segment = Segment(self._folder, self._next)
        self._next = segment.number + 1
        return segment

    def _seal(self) -> None:
        assert self._segment is not None
        if self._stream is None:  # closed without a row: the header says what there is to say
            self._segment.write(self._begin())
        self._segment.seal()
        self._segment, self._stream = None, None

    def _begin(self) -> bytes:
        """Starts a stream with all layers known so far; returns its schema message."""
        stamp = stamp_text(SCHEMA_VERSION, "schema", self._session, self._batches, self._taken)
        header = Header(self._session, self._taken, tuple(self._layers.values()), self._metadata)
        schema = header.schema(_package_version(), stamp)
        message = schema.serialize().to_pybytes()
        sink = io.BytesIO()
        # The stream writer emits the schema with its first batch: that many bytes are to be skipped there.
        self._stream = (sink, pa.ipc.new_stream(sink, schema, options=self._options), len(message))
        self._stale = False
        return finish(message, stamp)

    def _encode(self) -> bytes:
        """The rows in the buffer as one stamped message."""
        assert self._stream is not None
        sink, stream, skip = self._stream
        batch = to_batch(self._rows[: self._used], self._names)
        stamp = stamp_text(SCHEMA_VERSION, "batch", self._session, self._batches, self._taken)
        stream.write_batch(batch, custom_metadata={"fastact.stamp": stamp})
        message = sink.getvalue()[skip:]
        sink.seek(0)
        sink.truncate()
        self._stream = (sink, stream, 0)
        return finish(message, stamp)


def _package_version() -> str:
    try:
        return version("fastact")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
