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
_TASK_BYTES = 1 << 30
#: The rows of a task's files; and of each file its place, and how many of the rows are its, or what went wrong.
Answer = tuple["pa.Table", list[tuple[int, "int | Exception"]]]


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


def sweep_task(group: list[tuple[int, Source]], ask: Ask) -> Answer:
    """What a worker does: the rows of all files, and what went wrong with some.

    In one thread: an engine runs a task for each CPU, and threads of several would wait for each other at every slab.
    """
    swept: list[tuple[Source, tuple[ArrayStats, ...]]] = []
    about: list[tuple[int, int | Exception]] = []
    with at_most(1):
        for place, source in group:
            try:
                swept.append((source, tuple(sweep_source(source, ask))))
                about.append((place, len(swept[-1][1])))
            except (FastactError, OSError) as error:
                about.append((place, error))
    return rows_of(swept), about


def found(answer: Answer) -> Iterator[tuple[int, Found]]:
    """What a worker sent, as `sweep_by` takes it."""
    rows, about = answer
    arrays, begin = arrays_of(rows), 0
    for place, said in about:
        if isinstance(said, Exception):
            yield place, said
        else:
            yield place, arrays[begin : (begin := begin + said)]
