"""What a sweep of many files has come to, on the disk, so that an interrupted one goes on.

An Arrow stream: its schema, and a batch for each file that has been swept, in the order in which they were done. A
batch that a killed process has left half-written is cut off. The file can be read by whatever reads Arrow; its rows
are those of `fastact.stats.rows` beside columns for file and array.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from fastact.errors import ArgumentValueError, LogError
from fastact.files.array import ArrayStats, Ask
from fastact.files.source import Source
from fastact.stats.channel import ChannelStats
from fastact.stats.rows import SCHEMA, from_arrow, to_arrow

_KEY: Final = b"fastact.sweep"
#: Columns beside those of the state.
ABOUT: Final = pa.schema(
    [
        ("file", pa.string()),
        ("bytes", pa.int64()),
        ("changed", pa.int64()),
        ("array", pa.string()),
        ("dtype", pa.string()),
        ("array_shape", pa.list_(pa.int64())),
        ("nulls", pa.int64()),
    ]
)


def rows_of(swept: Sequence[tuple[Source, tuple[ArrayStats, ...]]]) -> pa.Table:
    """The rows of the arrays of some files, in order."""
    arrays = [(source, array) for source, found in swept for array in found]
    states = to_arrow(array.stats if array.neurons is None else array.neurons for _, array in arrays)
    about = {
        "file": [source.name for source, _ in arrays],
        "bytes": [source.size for source, _ in arrays],
        "changed": [source.changed for source, _ in arrays],
        "array": [array.name for _, array in arrays],
        "dtype": [array.dtype for _, array in arrays],
        "array_shape": [array.shape for _, array in arrays],
        "nulls": [array.nulls for _, array in arrays],
    }
    columns = [pa.array(about[field.name], field.type) for field in ABOUT]
    return pa.table([*columns, *states.columns], schema=pa.schema([*ABOUT, *SCHEMA]))


def arrays_of(table: pa.Table) -> tuple[ArrayStats, ...]:
    """The arrays that `rows_of` made rows of."""
    about = table.select(["array", "dtype", "array_shape", "nulls"]).to_pylist()
    return tuple(
        ArrayStats(
            row["array"],
            row["dtype"],
            tuple(row["array_shape"]),
            row["nulls"],
            stats.total if isinstance(stats, ChannelStats) else stats,
            stats if isinstance(stats, ChannelStats) else None,
        )
        for row, stats in zip(about, from_arrow(table), strict=True)
    )


class Journal:
    """The file, open to be added to.

    Raises:
        ArgumentValueError: it is of a sweep that asked for something else, or no such file.
        LogError: another process writes it.
    """

    def __init__(self, path: str | os.PathLike[str], ask: Ask) -> None:
        self._path = Path(path)
        asked = {"axis": ask.axis, "saturation": ask.saturation, "zero_tol": ask.zero_tol, "extras": ask.extras}
        self._asked = json.dumps(asked)
        self._schema = pa.schema([*ABOUT, *SCHEMA], metadata={_KEY: self._asked.encode()})
        self._done: dict[tuple[str, int, int], pa.Table] = {}
        self._file = self._path.open("ab+")
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LogError(f"resume: {str(self._path)!r} is being written by another sweep") from error

    def _read(self) -> None:
        self._file.seek(0)
        good = 0
        if self._path.stat().st_size:
            try:
                reader = pa.ipc.open_stream(self._file)
            except pa.ArrowException as error:
                raise ArgumentValueError(f"resume: {str(self._path)!r} is no journal of a sweep: {error}") from error
            before = (reader.schema.metadata or {}).get(_KEY, b"").decode()
            if not before:
                raise ArgumentValueError(f"resume: {str(self._path)!r} is an Arrow file, but no journal of a sweep")
            if before != self._asked:
                raise ArgumentValueError(f"resume: {str(self._path)!r} was made with {before}, want {self._asked}")
            good = self._file.tell()
            while True:
                try:
                    batch = reader.read_next_batch()
                    batch.validate(full=True)
                    first = batch.slice(0, 1).select(["file", "bytes", "changed"]).to_pylist()[0]
                except (StopIteration, pa.ArrowException, OSError, LookupError):
                    break
                self._done[first["file"], first["bytes"], first["changed"]] = pa.Table.from_batches([batch])
                good = self._file.tell()
        self._file.truncate(good)
        if not good:
            self._append(self._schema.serialize())

    def _append(self, message: Any) -> None:
        self._file.write(message)
        self._file.flush()

    def swept(self, source: Source) -> tuple[ArrayStats, ...] | None:
        """What is known of a file; None where that is nothing, or the file has changed since."""
        found = self._done.get((source.name, source.size, source.changed))
        return None if found is None else arrays_of(found)

    def add(self, source: Source, arrays: tuple[ArrayStats, ...]) -> None:
        """Keeps what was found of a file. It outlives this process; a machine that loses power may lose it."""
        (batch,) = rows_of([(source, arrays)]).combine_chunks().to_batches()
        self._append(batch.serialize())

    def close(self) -> None:
        """Lets others have the file."""
        self._file.close()
