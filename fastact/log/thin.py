"""Thinning: for older steps one row where there were many, and still exact; and many segments made one.

In a thinned segment a layer has one row for all of its rows with the same ``step // k``. The row is what a sweep over
the elements of all those steps would have given, up to rounding of the moments:

- `fields.STATE` is merged by `arithmetic.merge`: counts add, min and max are exact, mean and std follow from those of
  the parts. So any range of steps aggregates to the same numbers before and after.
- `fields.DRAWN` adds.
- `step` and `time` are those of the last step merged.
- `fields.NEURON` cannot be merged, since which neurons were silent is not kept: they are those of the last step
  merged, as a sample (so `typical_peak` is of one step, while min and max are of all).
- `fields.COPY` adds up, modulo 2^64.

Segments that follow each other are read as one: a group of steps that two of them share becomes one row. Damage is
passed over: readers tell of it.
"""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.arithmetic.columns import counts_fit, merge_groups
from fastact.fields import COPY, DRAWN, ROW_DTYPE, SCHEMA_VERSION
from fastact.history import LayerInfo
from fastact.log.codec import NONSENSE, Decoder, Encoder, added, read_header
from fastact.log.files import write_all
from fastact.log.frames import END_MARK, MAX_METADATA, Frame, frames
from fastact.log.schema import Header, layers_to_json, to_rows
from fastact.log.snapshots import ThinnedSnapshots
from fastact.opening import open_regular, read_regular

#: Rows that are merged at a time, some 2 ms: as long may the training wait for Python's lock.
_SLICE: Final = 8192
#: Batches of a thinned segment, which nobody waits for, have as many rows at least.
_BATCH_ROWS: Final = 16_384
Rows = npt.NDArray[np.void]


class SegmentFacts(NamedTuple):
    """What retention must know of a whole segment; `next_row` and `merged_steps` are as in `schema.Header`."""

    session: str
    first_step: int
    last_step: int
    first_row: int
    next_row: int
    merged_steps: int = 1


def read_facts(path: Path) -> Generator[None, None, SegmentFacts | None]:
    """Finds the facts of a segment, some at each `next`, and returns them.

    None where it has none: no rows, or damage in its header. Raises OSError.
    """
    header: Header | None = None
    first: int | None = None
    last, last_row = 0, 0
    # Every message is looked at: how many there are, and where the last one begins, stands nowhere.
    with read_regular(path) as file:
        decoder: Decoder | None = None
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
            yield
    if header is None or first is None:
        return None
    next_row = header.next_row or last_row
    return SegmentFacts(header.session, first, last, header.first_row, next_row, header.merged_steps)


def thin(
    sources: Sequence[Path],
    target: Path,
    next_row: int,
    k: int,
    batch_rows: int,
    compression: str | None,
    before: int | None = None,
) -> Iterator[None]:
    """Writes a thinned copy of segments that follow each other, of one writer: some rows at each `next`.

    They are whole, or what a dead writer has left; `next_row` is as in `schema.Header`. The file `target` is on the
    disk when the iterator ends, and removed if it is closed earlier. Each merged row has `k` steps; where `k` is 1,
    rows stay as they are. Merged rows have no part in the steps from `before` on, which a writer that resumed the run
    has recorded again. `batch_rows` and `compression` are as in `LogOptions`.

    Raises OSError where the disk refuses, and ValueError or OverflowError where the segments cannot be thinned: one has
    no header or is another writer's, a newer version wrote it, or its numbers add up to more than 64 bits.
    """
    output = -1
    try:
        with suppress(FileNotFoundError):
            os.unlink(target)  # noqa: PTH108 - what a writer that died has left
        output = open_regular(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        copy = _Copy(output, next_row, k, max(batch_rows, _BATCH_ROWS), compression, before)
        for source in sources:
            yield from copy.add(source)
        copy.end()
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


class _Copy:
    """What is written of some segments, one after the other."""

    def __init__(
        self, output: int, next_row: int, k: int, batch_rows: int, compression: str | None, before: int | None
    ) -> None:
        self._before = before if k > 1 else None
        self._output, self._next_row, self._k = output, next_row, k
        self._batch_rows, self._compression = batch_rows, compression
        self._encoder: Encoder | None = None
        self._decoder: Decoder | None = None
        self._infos: dict[int, LayerInfo] = {}
        self._unseen: dict[str, str] = {}
        self._dropped = self._told = 0
        self._due = 0
        #: Rows that were read and wait, and of those that are not merged the number of the first.
        self._waiting: list[Rows] = []
        self._count = 0
        self._row = 0
        self._merged = Merged(k)
        self._snapshots = ThinnedSnapshots(k, self._before)

    def add(self, source: Path) -> Iterator[None]:
        """Reads a segment."""
        header: Header | None = None
        with read_regular(source) as file:
            for frame in frames(file, file.seek(0, os.SEEK_END)):
                if frame.kind == "schema":
                    if header is not None:
                        raise ValueError("a second header")
                    header = self._take_header(frame)
                elif header is None:
                    raise ValueError("no header")
                else:
                    self._take_batch(frame)
                yield
        if header is not None and header.next_row is not None:
            self._due = max(self._due, header.next_row)

    def end(self) -> None:
        """Writes what waits."""
        if self._encoder is None:
            raise ValueError("no header")
        self._pass_on(everything=True)
        for text in self._snapshots.texts():
            write_all(self._output, self._encoder.batch(np.empty(0, ROW_DTYPE), self._row, neurons=text))
        write_all(self._output, self._encoder.index(self._row))

    def _take_header(self, frame: Frame) -> Header:
        header, self._decoder = read_header(frame)
        if header.version > SCHEMA_VERSION or header.version[0] != SCHEMA_VERSION[0]:
            raise ValueError(f"written by schema version {header.version}, whose columns may not all be known")
        self._infos |= {info.order: info for info in header.layers}
        self._unseen = header.unseen
        if self._encoder is None:
            self._due = self._row = header.first_row
            self._dropped = header.dropped
            next_row = self._next_row if self._k > 1 else None
            own = replace(header, version=SCHEMA_VERSION, merged_steps=self._k, next_row=next_row)
            self._encoder = Encoder(own, frame.batch, self._compression)
            write_all(self._output, self._encoder.front)
        elif header.session != self._encoder.header.session:
            raise ValueError("another writer's segment")
        return header

    def _take_batch(self, frame: Frame) -> None:
        assert self._decoder is not None
        try:
            batch, metadata = self._decoder.batch(frame)
            dropped = int(metadata.get(b"fastact.dropped", b"0"))
            late, unseen = added(metadata)
        except NONSENSE:
            return
        if frame.row < self._due:  # a repetition: readers leave it out as well
            return
        if self._k == 1 and (frame.row > self._due or dropped > self._dropped):
            self._pass_on(everything=True)
            self._row = frame.row
        self._due = frame.row + batch.num_rows
        self._dropped = max(self._dropped, dropped)
        self._infos |= {info.order: info for info in late}
        self._unseen = self._unseen if unseen is None else unseen
        self._snapshots.add(metadata.get(b"fastact.neurons", b"[]"))
        if batch.num_rows:
            rows = to_rows(batch)
            if self._before is not None:
                rows = rows[rows["step"] < self._before]
            self._waiting.append(rows)
            self._count += len(rows)
        if self._count >= (_SLICE if self._k > 1 else self._batch_rows):
            self._pass_on()

    def _pass_on(self, everything: bool = False) -> None:
        """Merges the rows that wait, and writes what is ready."""
        waiting = self._waiting
        if self._k > 1:
            if any(map(len, waiting)):
                self._merged.add(np.concatenate(waiting))
            waiting = self._merged.take(self._batch_rows, everything)
        elif waiting:
            waiting = [np.concatenate(waiting)]
        self._waiting, self._count = [], 0
        for rows in waiting:
            for begin in range(0, len(rows), self._batch_rows):
                self._write(rows[begin : begin + self._batch_rows])
        if everything:
            self._write(np.empty(0, ROW_DTYPE))

    def _write(self, rows: Rows) -> None:
        encoder = self._encoder
        assert encoder is not None
        missing = [order for order in np.unique(rows["layer"]).tolist() if order not in encoder.layers]
        late = tuple(self._infos[order] for order in missing if order in self._infos)
        if len(late) < len(missing) or len(layers_to_json(late)) > MAX_METADATA // 2:
            raise ValueError("layers without a name, or too many")
        # What was dropped is told with the rows after it; of merged rows, with the last.
        dropped = self._dropped if self._k == 1 or not len(rows) else 0
        dropped = dropped if dropped > max(self._told, encoder.header.dropped) else 0
        unseen = self._unseen if not len(rows) and self._unseen != encoder.header.unseen else None
        if len(rows) or dropped or unseen is not None:
            write_all(self._output, encoder.batch(rows, self._row, dropped, late, unseen))
            self._told = max(self._told, dropped)
        self._row += len(rows)


class Merged:
    """Merges rows as they come, in the order of their steps: one for each layer and ``step // k``."""

    def __init__(self, k: int) -> None:
        self._k = k
        #: The rows of the group of steps under way.
        self._open: Rows = np.empty(0, ROW_DTYPE)
        #: Rows that nothing will be merged into any more.
        self._done: list[Rows] = []

    def add(self, rows: Rows) -> None:
        """Takes in rows. Raises OverflowError where counts add up to more than 64 bits."""
        rows = np.concatenate([self._open, rows])
        groups = rows["step"] // self._k
        group = np.zeros(len(rows), np.int64)
        np.cumsum(groups[1:] != groups[:-1], out=group[1:])
        layers = rows["layer"]
        most = int(layers.max(initial=0)) + 1
        key = group * most + layers
        if most * (int(group[-1]) + 1) < 1 << 16:
            # 16 bits are sorted by counting: ten times as fast.
            order = np.argsort(key.astype(np.uint16), kind="stable")
        else:
            order = np.lexsort((layers, group)) if most >= 1 << 31 else np.argsort(key, kind="stable")
        rows, group, layers = rows.take(order), group[order], layers[order]
        new = np.ones(len(rows), np.bool_)
        new[1:] = (group[1:] != group[:-1]) | (layers[1:] != layers[:-1])
        starts = np.flatnonzero(new)
        if not counts_fit(rows, starts):
            raise OverflowError("counts beyond 64 bits")
        sizes = np.diff(starts, append=len(rows))
        merged = rows.take(starts + sizes - 1)
        merge_groups(rows, sizes, merged)
        for field in (*COPY, *DRAWN):
            merged[field.name] = np.add.reduceat(rows[field.name], starts)
        done = int(np.searchsorted(group[starts], group[-1]))
        self._open = merged[done:]
        if done:
            self._done.append(merged[:done])

    def take(self, size: int, everything: bool) -> list[Rows]:
        """Gives out the finished rows once there are `size` of them; `everything`: those under way as well."""
        done = [*self._done, self._open] if everything else self._done
        if not everything and sum(map(len, done)) < size:
            return []
        self._done = []
        self._open = np.empty(0, ROW_DTYPE) if everything else self._open
        return [np.concatenate(done)] if done else []
