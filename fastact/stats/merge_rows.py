"""Rows of `stats.rows` merged by any keys, without the objects in between being kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.stats.merge import merge
from fastact.stats.rows import SCHEMA, as_table, read_rows, to_arrow


def merge_arrow(rows: Any, *, by: str | Sequence[str] = ()) -> pa.Table:
    """Rows of parts merged into rows of wholes, one for each value of the keys: what `merge` does, on tables.

    Counts, min and max are those of one sweep over all, bit for bit, whatever the parts and their order; moments are to
    float64 rounding. Memory grows with the wholes, not with the parts.

    Args:
        rows: as of `from_arrow`: rows that `to_arrow` made, wherever they have been since, with columns beside them.
        by: names of columns that tell the wholes apart, such as "layer" or ["rank", "layer"]; none for one whole.

    Returns:
        A table with the columns `by` and those of `to_arrow`, a row for each whole, in the order of their first rows.
        Other columns are left out.

    Raises:
        ArgumentTypeError: `rows` are not Arrow's; `by` is no name.
        ArgumentValueError: there is no such column; rows of one whole have other options, extras or neurons.

    Example:
        >>> import pyarrow as pa
        >>> from fastact import from_arrow, summarize, to_arrow
        >>> parts = to_arrow(summarize(np.arange(n)) for n in (3, 4, 5))
        >>> parts = parts.append_column("layer", pa.array(["a", "b", "a"]))
        >>> merged = merge_arrow(parts, by="layer")
        >>> merged["layer"].to_pylist(), merged["count"].to_pylist(), from_arrow(merged)[0].max
        (['a', 'b'], [8, 4], 4)
    """
    table = as_table(rows)
    names = [by] if isinstance(by, str) else list(by)
    for name in names:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"by: got {type(name).__name__}, want names of columns")
        if name in SCHEMA.names or table.schema.get_field_index(name) < 0:
            raise ArgumentValueError(
                f"by: got {name!r}, want a column beside those of the state, once: {table.column_names}"
            )
    groups, first = groups_of(table, names)
    wholes: list[Any] = [None] * len(first)
    for group, part in zip(groups.tolist(), read_rows(table), strict=True):
        whole = wholes[group]
        wholes[group] = part if whole is None else merge([whole, part])
    keys = table.select(names).take(pa.array(first))
    merged = to_arrow(wholes)
    fields = [*keys.schema, *merged.schema]
    return pa.table([*keys.columns, *merged.columns], schema=pa.schema([field.remove_metadata() for field in fields]))


def groups_of(table: pa.Table, names: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The group of each row, numbered by first appearance, and the first row of each group. Null is a key as any."""
    groups = np.zeros(table.num_rows, np.int64)
    for name in names:
        column = table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        if not pa.types.is_dictionary(column.type):
            column = pc.dictionary_encode(column)
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1
        groups = np.unique(groups * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)[1].reshape(-1)
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    return place[inverse.reshape(-1)], first[order]
