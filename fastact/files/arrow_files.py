"""Arrow and Parquet: batch by batch, columns of numbers, and of lists, tensors and structs of them."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from fastact.errors import ArgumentValueError
from fastact.files.array import ArrayStats, Ask
from fastact.files.source import Source
from fastact.stats.merge import Accumulator

#: Bytes of values that a batch of a Parquet file is to have, and the rows that it has at most.
_BATCH_BYTES, _BATCH_ROWS = 1 << 23, 1 << 20
#: Bytes that are read at a time of each column of a Parquet file, so that a row group need not fit in memory.
_BUFFER, _BUFFER_REMOTE = 1 << 20, 1 << 23
#: How deep lists and structs may be nested.
_DEEPEST: Final = 64


def read_arrow(source: Source, ask: Ask) -> Iterator[ArrayStats]:
    """The columns of an Arrow file or stream: a batch in memory at a time (mapped, where it is local and plain)."""
    import pyarrow as pa

    with source.open() as file:
        magic = file.read(6)
        file.seek(0)
        if magic == b"ARROW1":
            reader = pa.ipc.open_file(file)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            reader = pa.ipc.open_stream(file)
            batches = iter(reader)
        _refuse_rows(source, reader.schema)
        yield from _sweep(reader.schema, batches, ask)


def read_parquet(source: Source, ask: Ask) -> Iterator[ArrayStats]:
    """The columns of a Parquet file: some megabytes of each in memory at a time, columns without numbers unread."""
    import pyarrow.parquet as pq

    buffer = _BUFFER if source.local else _BUFFER_REMOTE
    where = source.path if source.local else source.filesystem.open_input_file(source.path)
    with pq.ParquetFile(where, buffer_size=buffer, pre_buffer=False) as file:
        schema = file.schema_arrow
        _refuse_rows(source, schema)
        wanted = [i for i, field in enumerate(schema) if list(leaves_of(field.name, field.type))]
        names = [schema.field(i).name for i in wanted]
        # A name with a dot, or that another begins with, is no path to one column: then all are read.
        plain = len(set(schema.names)) == len(schema.names) and not any("." in name for name in schema.names)
        yield from _sweep(schema, _batches(file, names if plain else None), ask)


def _refuse_rows(source: Source, schema: Any) -> None:
    """What a sweep has written, its journal or ``--out``, often lies beside what it swept, and is no activation."""
    from fastact.stats.rows import SCHEMA

    if set(SCHEMA.names) <= set(schema.names):
        raise ArgumentValueError(
            f"FILE: {source.name!r} holds rows of statistics, not arrays: `fastact.merge_arrow` merges them"
        )


def _batches(file: Any, columns: list[str] | None) -> Iterator[Any]:
    metadata = file.metadata
    for group in range(metadata.num_row_groups):
        found = metadata.row_group(group)
        row = max(1, found.total_byte_size // max(1, found.num_rows))
        rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES // row))
        yield from file.iter_batches(batch_size=rows, row_groups=[group], columns=columns)


class _Leaf(NamedTuple):
    """Numbers somewhere within a column: where, of which dtype, and of which shape in each row, if that is fixed."""

    name: str
    path: tuple[int, ...]  # the field of each struct on the way
    dtype: str
    inner: tuple[int, ...] | None


def _sweep(schema: Any, batches: Iterable[Any], ask: Ask) -> Iterator[ArrayStats]:
    """Accumulates every numeric column of the batches, each batch seen once."""
    leaves = [(field.name, i, leaf) for i, field in enumerate(schema) for leaf in leaves_of(field.name, field.type)]
    sums = [Accumulator(**ask.options()) for _ in leaves]
    nulls = [0] * len(leaves)
    rows = 0
    repeated = len(set(schema.names)) < len(schema.names)
    for batch in batches:
        batch.validate(full=True)  # damaged offsets would crash the process, not raise
        rows += batch.num_rows
        for at, (name, i, leaf) in enumerate(leaves):
            column = batch.column(i if repeated or batch.num_columns == len(schema) else name)
            values, missing = values_of(column, leaf.path)
            nulls[at] += missing
            if values.size:
                sums[at].update(values)
            ask.told(values.nbytes)
    for (_, _, leaf), total, missing in zip(leaves, sums, nulls, strict=True):
        shape = (rows,) if leaf.inner is None else (rows, *leaf.inner)
        yield ArrayStats(leaf.name, leaf.dtype, shape, missing, total.stats)


def leaves_of(name: str, kind: Any, path: tuple[int, ...] = (), depth: int = 0) -> Iterator[_Leaf]:
    """Where a column's type has numbers."""
    import pyarrow as pa
    import pyarrow.types as t

    inner: tuple[int, ...] | None = ()
    while depth < _DEEPEST:
        depth += 1
        if isinstance(kind, pa.FixedShapeTensorType):
            inner = None if inner is None else (*inner, *kind.shape)
            kind = kind.value_type
        elif isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif t.is_dictionary(kind) or t.is_run_end_encoded(kind):
            kind = kind.value_type
        elif t.is_fixed_size_list(kind):
            inner = None if inner is None else (*inner, kind.list_size)
            kind = kind.value_type
        elif _is_list(kind):
            inner, kind = None, kind.value_type
        else:
            break
    if t.is_struct(kind) and {"data", "shape"} == {kind.field(i).name for i in range(kind.num_fields)}:
        # A tensor of any shape, as Arrow's canonical type and Ray's keep it: the shape is no number of it.
        yield from leaves_of(name, kind.field("data").type, (*path, kind.get_field_index("data")), depth)
    elif t.is_struct(kind) and depth < _DEEPEST:
        for i in range(kind.num_fields):
            yield from leaves_of(f"{name}.{kind.field(i).name}", kind.field(i).type, (*path, i), depth)
    elif t.is_integer(kind) or t.is_floating(kind) or t.is_boolean(kind):
        dtype = {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(kind), str(kind))
        yield _Leaf(name, path, dtype, inner or None)


def _is_list(kind: Any) -> bool:
    import pyarrow.types as t

    return bool(t.is_list(kind) or t.is_large_list(kind) or t.is_list_view(kind) or t.is_large_list_view(kind))


def values_of(column: Any, path: tuple[int, ...]) -> tuple[np.ndarray[Any, Any], int]:
    """The numbers of a leaf, and how many are missing: a missing list or struct is one missing value."""
    import pyarrow as pa
    import pyarrow.types as t

    missing = 0
    rest = list(path)
    while True:
        kind = column.type
        if isinstance(kind, pa.BaseExtensionType):
            column = column.storage
        elif t.is_dictionary(kind):
            column = column.dictionary_decode()
        elif t.is_run_end_encoded(kind):
            column = column.dictionary_decode() if hasattr(column, "dictionary_decode") else _decoded(column)
        elif t.is_fixed_size_list(kind) or _is_list(kind):
            missing += column.null_count
            column = column.flatten()
        elif t.is_struct(kind):
            missing += column.null_count
            valid = column.is_valid()
            column = column.field(rest.pop(0))
            # A struct that is null may hide values below.
            column = column.filter(valid) if valid.false_count else column
        else:
            break
    missing += column.null_count
    return column.drop_null().to_numpy(zero_copy_only=False), missing


def _decoded(column: Any) -> Any:
    import pyarrow.compute as pc

    return pc.run_end_decode(column)
