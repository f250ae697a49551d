"""Sweeping files in other processes: which files make a task, and what comes back, as Arrow rows."""

from collections.abc import Iterator

import pyarrow as pa

from fastact.cpu.threads import at_most
from fastact.errors import FastactError
from fastact.files.array import ArrayStats, Ask
from fastact.files.journal import arrays_of, rows_of
from fastact.files.readers import sweep_source
from fastact.files.source import Source
from fastact.files.sweep import Found

#: A task has at least so many bytes, where there are as many: an engine takes milliseconds to hand one over.
_TASK_BYTES = 1 << 28
#: A file's place, and its rows or what went wrong.
Part = tuple[int, "pa.Table | Exception"]


def tasks(sources: list[Source], tasks_at_least: int) -> Iterator[list[tuple[int, Source]]]:
    """The files in groups: of some size, but at least so many, so that all workers have one."""
    total = sum(source.size for source in sources)
    enough = min(_TASK_BYTES, total // max(tasks_at_least, 1))
    group: list[tuple[int, Source]] = []
    size = 0
    for place, source in enumerate(sources):
        group.append((place, source))
        size += source.size
        if size >= enough:
            yield group
            group, size = [], 0
    if group:
        yield group


def sweep_task(group: list[tuple[int, Source]], ask: Ask) -> list[Part]:
    """What a worker does: the rows of each file, or what went wrong with it.

    In one thread: an engine runs a task for each CPU, and threads of several would wait for each other at every slab.
    """
    parts: list[Part] = []
    with at_most(1):
        for place, source in group:
            try:
                parts.append((place, rows_of(source, tuple(sweep_source(source, ask)))))
            except (FastactError, OSError) as error:
                parts.append((place, error))
    return parts


def found(part: Part) -> tuple[int, Found]:
    """What a worker sent, as `sweep_by` takes it."""
    place, rows = part
    arrays: tuple[ArrayStats, ...] | Exception = rows if isinstance(rows, Exception) else arrays_of(rows)
    return place, arrays
