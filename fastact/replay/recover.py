"""Writes a whole copy of a damaged run, for readers that take only whole streams.

A segment whose writer died has no end mark, and may end within a batch; some readers refuse such a file (polars does),
others read less than there is. The copy has every message whose checksum holds, byte for byte, in streams with a header
at the front and an end mark. The original is only read.
"""

import os
import shutil
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from fastact.errors import ArgumentValueError
from fastact.log.files import sync_folder
from fastact.log.frames import END_MARK, finish, stamp_text
from fastact.log.reader import RunReader, StoredBatch
from fastact.log.schema import Header
from fastact.replay.frames import Progress
from fastact.replay.log import Log


def recover(log: Log, to: str | os.PathLike[str], *, progress: Progress | None = None) -> int:
    """Writes a whole copy of a log and returns its rows; `Log.warnings` then says what was lost.

    Of all of it: the copy has the run's other sessions too, and what was recorded again.

    The new directory `to` gets its name when all of it is on the disk. `progress` is called with the bytes of the log
    that have been read.

    Raises:
        ArgumentValueError: `to` is there already.
        OSError: it cannot be written.

    Example:
        >>> import tempfile, fastact
        >>> folder = Path(tempfile.mkdtemp())
        >>> with fastact.ActivationMonitor(folder / "run") as monitor:
        ...     stats = monitor.record("encoder.0", memoryview(b"abc"))
        >>> segment = folder / "run" / "segment-000000.arrows"
        >>> size = segment.write_bytes(segment.read_bytes()[:-3])  # its end mark is torn
        >>> recover(fastact.open_log(folder / "run"), folder / "whole")
        1
        >>> fastact.open_log(folder / "whole").warnings
        ()
    """
    target = Path(to)
    if target.exists() or target.is_symlink():
        raise ArgumentValueError(f"to: {str(target)!r} exists already, want the name of a new directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        rows = 0
        for rank, group in groupby(log.stored_batches(log.ranks, progress, everything=True), key=itemgetter(0)):
            run = log.runs[rank]
            folder = part if run.path == log.path else part / run.path.name
            rows += _copy(folder, (stored for _, stored in group), run)
        sync_folder(part)
        part.rename(target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return rows


def _copy(folder: Path, batches: Iterator[StoredBatch], run: RunReader) -> int:
    """Copies one run's batches into sealed segments; returns the rows."""
    folder.mkdir(exist_ok=True)
    rows = 0
    # Messages belong to the header that they came after. Where that is lost, a header is made for them.
    for number, (_, group) in enumerate(groupby(batches, key=lambda stored: (stored.frame.session, stored.front))):
        with (folder / f"segment-{number:06d}.arrows").open("xb") as file:
            for i, stored in enumerate(group):
                if i == 0:
                    file.write(stored.front.message if stored.front is not None else _front(stored, run))
                file.write(stored.frame.message)
                rows += stored.batch.num_rows
            file.write(END_MARK)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)
    return rows


def _front(stored: StoredBatch, run: RunReader) -> bytes:
    """A schema message for batches whose own is lost, with what the run's other segments tell."""
    frame, writer = stored.frame, run.writer(stored.frame.session)
    header = Header(
        frame.session, frame.row, tuple(stored.layers.values()), run.metadata, frame.version,
        run_session=writer.session, start_step=writer.start_step, started=writer.started,
    )  # fmt: skip
    stamp = stamp_text(frame.version, "schema", frame.session, frame.batch, frame.row)
    return finish(header.schema("unknown", stamp).serialize().to_pybytes(), stamp)
