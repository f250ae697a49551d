"""Thinning: for older steps one row where there were many, and still exact.

In a thinned segment a layer has one row for all of its rows with the same ``step // k``. The row is what a sweep over
the elements of all those steps would have given, up to rounding of the moments:

- `fields.STATE` is merged by `arithmetic.merge`: counts add, min and max are exact, mean and std follow from those of
  the parts. So any range of steps aggregates to the same numbers before and after.
- `step` and `time` are those of the last step merged.
- `fields.NEURON` cannot be merged, since which neurons were silent is not kept: they are those of the last step
  merged, as a sample (so `typical_peak` is of one step, while min and max are of all).

A group of steps that two segments share has a row in each. Damage is passed over: readers tell of it.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np

from fastact.arithmetic import State
from fastact.arithmetic.in_python import merge_states
from fastact.fields import COLUMN, NEURON_PART, ROW_DTYPE, SCHEMA_VERSION, STATE_PART
from fastact.log.codec import NONSENSE, Decoder, Encoder, read_header
from fastact.log.files import write_all
from fastact.log.frames import END_MARK, frames
from fastact.log.schema import Header, to_rows
from fastact.opening import open_regular, read_regular

#: Rows that are merged at a time, some 3 µs each: as long may the training wait for Python's lock.
_SLICE: Final = 256
_STEP, _LAYER = COLUMN["step"], COLUMN["layer"]
_Row = tuple[int | float, ...]


class SegmentFacts(NamedTuple):
    """What retention must know of a whole segment; `next_row` and `merged_steps` are as in `schema.Header`."""

    session: str
    first_step: int
    last_step: int
    next_row: int
    merged_steps: int = 1


def read_facts(path: Path) -> SegmentFacts | None:
    """The facts of a segment, None where it has none: no rows, or damage in its header. Raises OSError."""
    with read_regular(path) as file:
        header: Header | None = None
        decoder: Decoder | None = None
        first: int | None = None
        last, last_row = 0, 0
        # Every message is looked at: how many there are, and where the last one begins, stands nowhere.
        for frame in frames(file, file.seek(0, os.SEEK_END)):
            with suppress(*NONSENSE):
                if frame.kind == "schema":
                    header, decoder = read_header(frame)
                elif decoder is not None:
                    batch, _ = decoder.batch(frame)
                    if batch.num_rows:
                        steps = to_rows(batch)["step"]
                        first = int(steps[0]) if first is None else first
                        last = int(steps[-1])
                    last_row = frame.row + batch.num_rows
    if header is None or first is None:
        return None
    return SegmentFacts(header.session, first, last, header.next_row or last_row, header.merged_steps)


def thin(
    source: Path, target: Path, facts: SegmentFacts, k: int, batch_rows: int, compression: str | None
) -> Iterator[None]:
    """Writes a thinned copy of a segment that is whole, or that its dead writer has left: some rows at each `next`.

    The file `target` is on the disk when the iterator ends, and removed if it is closed earlier. Each merged row has
    `k` steps; `batch_rows` and `compression` are as in `LogOptions`.

    Raises OSError where the disk refuses, and ValueError or OverflowError where the segment cannot be thinned: it has
    no header, a newer version wrote it, or its numbers add up to more than 64 bits.
    """
    output = -1
    try:
        with read_regular(source) as file:
            with suppress(FileNotFoundError):
                os.unlink(target)  # noqa: PTH108 - what a writer that died has left
            output = open_regular(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            yield from _copy(file, output, facts, k, batch_rows, compression)
        write_all(output, END_MARK)
        os.fsync(output)
        file_, output = output, -1
        os.close(file_)
    except BaseException:
        with suppress(OSError):
            if output >= 0:
                os.close(output)
        with suppress(OSError):
            os.unlink(target)  # noqa: PTH108 - every call to the system stands as one
        raise


def _copy(
    file: BinaryIO, output: int, facts: SegmentFacts, k: int, batch_rows: int, compression: str | None
) -> Iterator[None]:
    decoder: Decoder | None = None
    encoder: Encoder | None = None
    merged = _Merged(k)
    rows, dropped = 0, 0
    for frame in frames(file, file.seek(0, os.SEEK_END)):
        if frame.kind == "schema":
            if encoder is not None:
                raise ValueError("a second header")
            header, decoder = read_header(frame)
            if header.version > SCHEMA_VERSION or header.version[0] != SCHEMA_VERSION[0]:
                raise ValueError(f"written by schema version {header.version}, whose columns may not all be known")
            header = replace(header, version=SCHEMA_VERSION, merged_steps=k, next_row=facts.next_row)
            encoder = Encoder(header, frame.batch, compression)
            write_all(output, encoder.front)
            continue
        if decoder is None or encoder is None:
            raise ValueError("no header")
        try:
            batch, metadata = decoder.batch(frame)
            dropped = max(dropped, int(metadata.get(b"fastact.dropped", b"0")))
        except NONSENSE:
            continue
        for begin in range(0, batch.num_rows, _SLICE):
            for row in to_rows(batch.slice(begin, _SLICE)).tolist():
                merged.add(row)
            yield
        while len(merged.done) >= batch_rows:
            first = encoder.header.first_row + rows
            write_all(output, encoder.batch(merged.take(batch_rows), first))
            rows += batch_rows
    if encoder is None:
        raise ValueError("no header")
    merged.end()
    while merged.done or dropped:
        table = merged.take(batch_rows)
        # What was dropped meanwhile is told with the last rows: the rows around it are one row now.
        last = not merged.done
        write_all(output, encoder.batch(table, encoder.header.first_row + rows, dropped if last else 0))
        rows += len(table)
        if last:
            break


class _Merged:
    """Merges rows as they come, in the order of their steps."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._group = 0
        self._open: dict[int, tuple[_Row, State]] = {}
        #: Rows that nothing will be merged into any more.
        self.done: list[_Row] = []

    def add(self, row: _Row) -> None:
        group = int(row[_STEP]) // self._k
        if group != self._group:
            self.end()
            self._group = group
        layer = int(row[_LAYER])
        # What rounding took from the mean is not kept in a row.
        state: State = (*row[STATE_PART], 0.0)
        before = self._open.get(layer)
        self._open[layer] = (row, state if before is None else merge_states(before[1], state))

    def end(self) -> None:
        """Ends the group of steps under way."""
        for row, state in self._open.values():
            self.done.append((*row[: STATE_PART.start], *state[:-1], *row[NEURON_PART]))
        self._open.clear()

    def take(self, most: int) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
        """Gives out the oldest finished rows."""
        some, self.done = self.done[:most], self.done[most:]
        return np.array(some, ROW_DTYPE)
