"""The bytes of a segment: its header, then batches of rows, each a stamped message of an Arrow stream."""

import functools
import io
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastact.fields import SCHEMA_VERSION
from fastact.log.frames import finish, stamp_text
from fastact.log.schema import Header, to_batch


class Encoder:
    """Makes the messages of one segment.

    Args:
        header: what the segment says about itself.
        batch: number of its first batch, counted from the writer's start.
        compression: as in `LogOptions`.

    Attributes:
        header: as given.
        front: the message that the segment begins with.
    """

    def __init__(self, header: Header, batch: int, compression: str | None) -> None:
        self.header = header
        self._names: Mapping[int, str] = {info.order: info.name for info in header.layers}
        self._batch = batch
        stamp = stamp_text(SCHEMA_VERSION, "schema", header.session, batch, header.first_row)
        schema = header.schema(_package_version(), stamp)
        message = schema.serialize().to_pybytes()
        self.front = finish(message, stamp)
        self._sink = io.BytesIO()
        self._stream: Any = pa.ipc.new_stream(
            self._sink, schema, options=pa.ipc.IpcWriteOptions(compression=compression)
        )
        # The stream writer emits the schema with its first batch: that many bytes are to be skipped there.
        self._skip = len(message)

    def batch(self, rows: npt.NDArray[np.void], row: int, dropped: int = 0) -> bytes:
        """The next batch.

        Args:
            rows: shape (rows,) of `fields.ROW_DTYPE`; also none.
            row: number of its first row, counted from the writer's start.
            dropped: rows that the writer had dropped before this batch in all.
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
