"""The bytes of a segment: its header, then batches of rows, each a stamped message of an Arrow stream."""

import functools
import io
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastact.fields import SCHEMA_VERSION
from fastact.log.frames import finish, stamp_text
from fastact.log.schema import Header, to_batch


class Encoder:
    """Makes the messages of one segment: `front`, with its header, and batches.

    `batch` is the number of its first one, counted from the writer's start; `compression` is as in `LogOptions`.
    """

    def __init__(self, header: Header, batch: int, compression: str | None) -> None:
        self.header = header
        self._names = {info.order: info.name for info in header.layers}
        self._batch = batch
        stamp = stamp_text(SCHEMA_VERSION, "schema", header.session, batch, header.first_row)
        schema = header.schema(_package_version(), stamp)
        message = schema.serialize().to_pybytes()
        self.front = finish(message, stamp)
        self._sink = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression=compression)
        self._stream: Any = pa.ipc.new_stream(self._sink, schema, options=options)
        # The stream writer emits the schema with its first batch: that many bytes are to be skipped there.
        self._skip = len(message)

    def batch(self, rows: npt.NDArray[np.void], row: int, dropped: int = 0) -> bytes:
        """The next batch, which may have no rows (of `fields.ROW_DTYPE`).

        Counted from the writer's start, its first row is number `row`, and `dropped` rows had been dropped before it.
        """
        stamp = stamp_text(SCHEMA_VERSION, "batch", self.header.session, self._batch, row)
        metadata = {"fastact.stamp": stamp}
        if dropped:
            metadata["fastact.dropped"] = str(dropped)
        self._stream.write_batch(to_batch(rows, self._names), custom_metadata=metadata)
        message = self._sink.getvalue()[self._skip :]
        self._skip = 0
        self._sink.seek(0)
        self._sink.truncate()
        self._batch += 1
        return finish(message, stamp)


@functools.cache
def _package_version() -> str:
    try:
        return version("fastact")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
