"""Many small or thinned segments of a run made few; and rows as Parquet files by run and range of steps.

In its own folder a run is compacted under the writer's lock, so that no writer is at work meanwhile, in the way of
retention (`fastact.log.retention`): a new file takes the place of the first of its segments by a rename, the others go
then. Killed at any instant, the run has all of its rows, each once. Rows stay as they are, thinned ones too.
"""

import os
import shutil
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from fastact.checks import check_integer
from fastact.errors import ArgumentValueError, LogError
from fastact.log.files import list_segments
from fastact.log.lock import RunLock
from fastact.log.options import LogOptions
from fastact.log.plan import Job, KeptSegment
from fastact.log.retention import Retention
from fastact.log.schema import check_path
from fastact.replay.frames import Progress
from fastact.replay.log import Log
from fastact.replay.ranks import rank_folders

#: Bytes of the segments that become one.
_SIZE: Final = 64 << 20


class Compacted(NamedTuple):
    """What was made of a run: its segments and their bytes, before and after."""

    segments_before: int
    bytes_before: int
    segments: int
    bytes: int


def compact(path: str | os.PathLike[str]) -> Compacted:
    """Makes a run's many segments few, in its own directory or in those of its ranks; the rows stay as they are.

    A segment whose writer was killed is sealed on the way. What is damaged stays as it is, in a segment of its own.

    Raises:
        ArgumentTypeError: `path` is not a path.
        LogError: there is no log, it is not local, or a writer is at work on it.
        OSError: the disk refuses; the run is whole then, too.

    Example:
        >>> import tempfile, fastact
        >>> from fastact.fields import ROW
        >>> run = tempfile.mkdtemp()
        >>> for start in range(3):
        ...     with fastact.log.LogWriter(run, fastact.LogOptions(segment_bytes=1, batch_rows=1)) as writer:
        ...         writer.add_layer(fastact.LayerInfo("a", 0))
        ...         for step in range(4):
        ...             writer.append((4 * start + step, 0, *[0] * (len(ROW) - 2)))
        >>> found = compact(run)
        >>> found.segments, found.bytes < found.bytes_before
        (3, True)
    """
    place, ranks = rank_folders(path)
    folders = [place / name for _, name in sorted(ranks.items())] if ranks else [place]
    before = [size for folder in folders for size in _sizes(folder)]
    if not before:
        raise LogError(f"no log in {str(check_path(path))!r}, want a directory with segments")
    for folder in folders:
        lock = RunLock(folder)
        try:
            _compact(folder)
        finally:
            lock.release()
    after = [size for folder in folders for size in _sizes(folder)]
    return Compacted(len(before), sum(before), len(after), sum(after))


def _sizes(folder: Path) -> list[int]:
    return [(folder / name).stat().st_size for _, name in list_segments(folder)]


def _refuse(error: OSError) -> None:
    raise error


def _compact(folder: Path) -> None:
    # With all steps to keep it looks at the segments, and removes what a compaction that was killed has left.
    retention = Retention(folder, LogOptions(keep_steps=1 << 62), _refuse)
    while retention.work("", 0, 0):
        pass
    for job in list(_jobs(retention.kept)):
        retention.merge(job)


def _jobs(kept: list[KeptSegment]) -> Iterator[Job]:
    """Neighbours of one writer, with as many steps a row, of up to `_SIZE` bytes."""
    for key, group in groupby(kept, lambda each: each.facts and (each.facts.session, each.facts.merged_steps)):
        some: list[KeptSegment] = []
        for each in group:
            if sum(other.size for other in some) + each.size > _SIZE:
                yield from _job(some)
                some = []
            some.append(each)
        if key is not None:
            yield from _job(some)


def _job(some: list[KeptSegment]) -> Iterator[Job]:
    facts = [each.facts for each in some if each.facts is not None]
    if len(facts) == len(some) > 1:
        first = facts[0]
        yield Job(some, first.merged_steps, facts[-1]._replace(first_step=first.first_step, first_row=first.first_row))


def to_parquet(
    log: Log,
    to: str | os.PathLike[str],
    *,
    name: str | None = None,
    steps: int = 100_000,
    progress: Progress | None = None,
) -> int:
    """Writes a log's rows as Parquet below ``to/run=NAME/steps=FIRST/``, which duckdb and polars read as one table.

    Both take ``run`` and ``steps`` as columns, and read only the files that a query needs.

    Args:
        log: the log.
        to: the folder, which may have other runs already; this run's is replaced as a whole.
        name: the run's name there; by default that of its directory.
        steps: how many steps a folder has; its name is the first of them.
        progress: called with the bytes of the log that have been read.

    Returns:
        The rows.

    Raises:
        ArgumentValueError: `steps` is out of range, or `name` is no name of a folder.
        OSError: the files cannot be written.
    """
    import pyarrow.parquet as pq

    check_integer("steps", steps, 1, 1 << 62)
    name = log.path.absolute().name if name is None else name
    if not name or name in {".", ".."} or set(name) & set("/\\\0=%"):
        raise ArgumentValueError(f"name: got {name!r}, want the name of a folder, without / \\ = %")
    target = Path(to) / f"run={name}"
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    rows = files = 0
    writer: Any = None
    place: int | None = None
    try:
        for batch in log.to_batches(progress=progress):
            ranges = np.frombuffer(batch.column("step").buffers()[1], np.int64)[batch.column("step").offset :] // steps
            ranges = ranges[: batch.num_rows]
            bounds = [0, *(np.flatnonzero(np.diff(ranges)) + 1).tolist(), batch.num_rows]
            for begin, end in pairwise(bounds):
                if end > begin and int(ranges[begin]) != place:
                    if writer is not None:
                        writer.close()
                    place = int(ranges[begin])
                    folder = part / f"steps={place * steps}"
                    folder.mkdir(exist_ok=True)
                    writer = pq.ParquetWriter(folder / f"part-{files:06d}.parquet", log.schema, compression="zstd")
                    files += 1
                if end > begin:
                    writer.write_batch(batch.slice(begin, end - begin))
                    rows += end - begin
        if writer is not None:
            writer.close()
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return rows
