"""Writes a log's rows to one file for other programs: Parquet, CSV or JSON lines.

Rows are streamed, so memory does not grow with the log. The file gets its name when it is whole; an interrupted export
leaves what was there before.

The meaning of each number goes along: in Parquet's own metadata, and for CSV and JSON lines in a file beside theirs,
``FILE.meta.json``: an object with ``schema_version``, ``metadata`` (the run's own), ``layers`` (name, order, kind,
dtype, saturation; the kind is the layer's type) and ``fields`` (name, type, meaning with its unit).

Where there was nothing to measure, there is null in Parquet, an empty cell in CSV and null in JSON; NaN occurs in none.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastact.errors import ArgumentValueError
from fastact.log.codec import without_nan
from fastact.replay.frames import Progress
from fastact.replay.log import Log

#: Rows written at a time, a row group of Parquet of some 20 MB in memory; or so many bytes, where names are long.
_ROWS, _BYTES = 1 << 17, 1 << 26


def export(log: Log, to: str | os.PathLike[str], *, force: bool = False, progress: Progress | None = None) -> int:
    """Writes all rows of a log to a file, in the format of its suffix, one of `SUFFIXES`; returns how many there are.

    `force` replaces a file that is there. `progress` is called with the bytes of the log that have been read.

    Raises:
        ArgumentValueError: the suffix is unknown, or the file is there already and `force` is not given.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile, fastact
        >>> folder = Path(tempfile.mkdtemp())
        >>> with fastact.ActivationMonitor(folder / "run") as monitor:
        ...     stats = monitor.record("encoder.0", memoryview(b"abc"))
        >>> export(fastact.open_log(folder / "run"), folder / "rows.jsonl")
        1
        >>> json.loads((folder / "rows.jsonl").read_text())["layer"]
        'encoder.0'
        >>> json.loads((folder / "rows.jsonl.meta.json").read_text())["layers"][0]["name"]
        'encoder.0'
    """
    path = Path(to)
    write = SUFFIXES.get(path.suffix.lower())
    if write is None:
        raise ArgumentValueError(f"to: got {path.name!r}, want a name that ends in {', '.join(SUFFIXES)}")
    beside = None if write is _parquet else path.with_name(f"{path.name}.meta.json")
    for place in (path, beside):
        if place is not None and place.exists() and not force:
            raise ArgumentValueError(f"to: {str(place)!r} exists already, want a new name or --force")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        rows = write(part, log.schema, _batches(log, progress))
        if beside is not None:
            # First, so that the rows are never there without it.
            note = part.with_name(f"{part.name}.meta")
            try:
                note.write_text(json.dumps(_description(log), indent=2) + "\n", encoding="ascii")
                note.replace(beside)
            finally:
                note.unlink(missing_ok=True)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return rows


def _batches(log: Log, progress: Progress | None) -> Iterator[Any]:
    """The rows in batches of about `_ROWS`, null for a NaN that somebody else may have written."""
    some: list[Any] = []
    rows = nbytes = 0
    for batch in log.to_batches(progress=progress):
        some.append(without_nan(batch))
        rows += batch.num_rows
        nbytes += batch.nbytes
        if rows >= _ROWS or nbytes >= _BYTES:
            yield from pa.Table.from_batches(some).combine_chunks().to_batches()
            some, rows, nbytes = [], 0, 0
    if rows:
        yield from pa.Table.from_batches(some).combine_chunks().to_batches()


def _description(log: Log) -> dict[str, Any]:
    facts = log.schema.metadata
    version, layers = facts[b"fastact.schema_version"].decode(), json.loads(facts[b"fastact.layers"])
    meanings = [(field.name, str(field.type), field.metadata[b"meaning"].decode()) for field in log.schema]
    fields = [dict(zip(("name", "type", "meaning"), field, strict=True)) for field in meanings]
    return {"schema_version": version, "metadata": log.metadata, "layers": layers, "fields": fields}


def _parquet(path: Path, schema: Any, batches: Iterable[Any]) -> int:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        return sum(writer.write_batch(batch) or batch.num_rows for batch in batches)


def _csv(path: Path, schema: Any, batches: Iterable[Any]) -> int:
    import pyarrow.csv

    with pyarrow.csv.CSVWriter(path, schema) as writer:
        return sum(writer.write_batch(batch) or batch.num_rows for batch in batches)


def _jsonl(path: Path, _: Any, batches: Iterable[Any]) -> int:
    rows = 0
    with path.open("wb") as file:
        for batch in batches:
            # Columns as text, joined row by row: a hundred times as fast as `json.dumps` of each row.
            texts: list[Any] = []
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                key = ("{" if not texts else ", ") + json.dumps(name) + ": "
                texts += [pa.scalar(key, pa.large_utf8()), _json(column)]
            end, nothing = pa.scalar("}\n", pa.large_utf8()), pa.scalar("", pa.large_utf8())
            lines = pc.binary_join_element_wise(*texts, end, nothing)
            offsets = np.frombuffer(lines.buffers()[1], np.int64)[lines.offset :]
            file.write(memoryview(lines.buffers()[2])[offsets[0] : offsets[len(lines)]])
            rows += batch.num_rows
    return rows


def _json(column: Any) -> Any:
    """Each value as the text that JSON has for it."""
    if pa.types.is_string(column.type):
        encoded = column.dictionary_encode()
        texts = [json.dumps(text) for text in encoded.dictionary.to_pylist()]
        return pa.array(texts, pa.large_utf8()).take(encoded.indices)
    if pa.types.is_floating(column.type):
        # JSON has no infinity either.
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
    # Arrow prints the shortest digits that read back as the same number.
    return pc.fill_null(pc.cast(column, pa.large_utf8()), "null")


#: How to write each suffix.
_Write = Callable[[Path, Any, Iterable[Any]], int]
SUFFIXES: Final[dict[str, _Write]] = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
