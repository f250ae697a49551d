"""The state of stats as Arrow rows, public and versioned: what travels between processes, engines and files.

A row is one stats object: `ActivationStats`, `DetailedStats` or `ChannelStats`. What is measured nowhere is null, so
that sums, minima and maxima of SQL leave it out, and the version and the options are columns: engines drop metadata.

Version 1 has the columns of `SCHEMA`:

    version                                             1
    count nans pos_infs neg_infs zeros saturated        as in `fields.STATE`
    mean std abs_mean min max                           as there; null without a finite element
    mean_rest                                           what rounding took from the mean
    min_int max_int                                     min and max of 64-bit integers, exactly; else null
    saturation_low saturation_high zero_tol             the options of the sweep
    shape neurons                                       of ChannelStats: the neuron axes; a struct of the same numbers
                                                        for each neuron, in C order
    extras third fourth tally exact buckets             of DetailedStats: which extras; the moments m3/std^3 and
                                                        m4/std^4; `cpu.extras.TALLIES` counters; whether the values
                                                        of `buckets` are the elements' own; ascending values, and how
                                                        many elements each stands for

Reading takes any of these columns in any order and any type that casts to it, beside columns of other names; only
`version` and the numbers of `fields.STATE` must be there.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastact import arithmetic
from fastact.arithmetic.state import (
    ABS_MEAN,
    COUNT,
    MAX,
    MEAN,
    MIN,
    N_COUNTS,
    N_EXTREMES,
    N_MOMENTS,
    NANS,
    NEG_INFS,
    POS_INFS,
    STD,
    STORED_AT,
)
from fastact.cpu.workspace import NeuronStates
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import STATE
from fastact.stats.activation import ActivationStats, wrap
from fastact.stats.channel import ChannelStats, wrap_channels
from fastact.stats.detailed import DetailedStats
from fastact.stats.options import Bounds, check_extras, check_options
from fastact.stats.plain import contradiction, detailed

#: Of the rows. A reader refuses a newer one: a column that it does not know may change what the others mean.
VERSION: Final = 1

#: Any 64-bit integer, signed or not.
_INTEGER: Final = pa.decimal128(20, 0)
_NUMBERS: Final = pa.struct(
    [
        *((field.name, pa.int64() if field.dtype == "int64" else pa.float64()) for field in STATE),
        ("mean_rest", pa.float64()),
        ("min_int", _INTEGER),
        ("max_int", _INTEGER),
    ]
)
_BUCKET: Final = pa.struct([("value", pa.float64()), ("count", pa.int64())])
#: The columns of a row.
SCHEMA: Final = pa.schema(
    [
        ("version", pa.int32()),
        *((_NUMBERS.field(i).name, _NUMBERS.field(i).type) for i in range(_NUMBERS.num_fields)),
        *((name, pa.float64()) for name in ("saturation_low", "saturation_high", "zero_tol")),
        ("shape", pa.list_(pa.int64())),
        ("neurons", pa.list_(_NUMBERS)),
        ("extras", pa.list_(pa.string())),
        ("third", pa.float64()),
        ("fourth", pa.float64()),
        ("tally", pa.list_(pa.int64())),
        ("exact", pa.bool_()),
        ("buckets", pa.list_(_BUCKET)),
    ]
)
_REQUIRED: Final = ("version", *(field.name for field in STATE))
#: Names of the numbers of a state, its places for them, and those that are null without a finite element.
_NAMES: Final = (*(field.name for field in STATE), "mean_rest")
_OF_FINITE: Final = (MEAN, STD, ABS_MEAN, MIN, MAX)


def to_arrow(parts: Iterable[ActivationStats | ChannelStats]) -> pa.Table:
    """Stats as a table, a row each, in their order: what `from_arrow` reads, on any machine, in any process.

    Args:
        parts: ActivationStats, DetailedStats and ChannelStats, mixed as they come.

    Returns:
        A `pyarrow.Table` of the columns that the module `fastact.stats.rows` describes.

    Raises:
        ArgumentTypeError: one of them is something else.

    Example:
        >>> from fastact import from_arrow, summarize, to_arrow
        >>> table = to_arrow([summarize(np.ones(3)), summarize(np.zeros(2))])
        >>> table.num_rows, table["zeros"].to_pylist()
        (2, [0, 2])
        >>> [part.count for part in from_arrow(table)]
        [3, 2]
    """
    parts = list(parts)
    for part in parts:
        if not isinstance(part, (ActivationStats, ChannelStats)):
            raise ArgumentTypeError(f"parts: got {type(part).__name__}, want stats")
    states = [(part.total if isinstance(part, ChannelStats) else part)._state for part in parts]
    columns = dict(zip(_NUMBERS.names, _columns(list(zip(*states, strict=True)) or [()] * len(_NAMES)), strict=True))
    bounds = list(zip(*(part._bounds for part in parts), strict=True)) or [()] * 3
    columns["version"] = pa.array([VERSION] * len(parts), pa.int32())
    for name, values in zip(("saturation_low", "saturation_high", "zero_tol"), bounds, strict=True):
        columns[name] = pa.array(values, pa.float64())
    channels = [part if isinstance(part, ChannelStats) else None for part in parts]
    columns["shape"] = pa.array([None if part is None else part.shape for part in channels], pa.list_(pa.int64()))
    columns["neurons"] = _lists([None if part is None else _neurons(part) for part in channels], _NUMBERS)
    details = [part._details if isinstance(part, DetailedStats) else None for part in parts]
    found: dict[str, list[Any]] = {
        "extras": [None if d is None else d.extras for d in details],
        "third": [None if d is None else d.shape[0] for d in details],
        "fourth": [None if d is None else d.shape[1] for d in details],
        "tally": [None if d is None else d.tally for d in details],
        "exact": [None if d is None else d.exact for d in details],
    }
    columns |= {name: pa.array(values, SCHEMA.field(name).type) for name, values in found.items()}
    columns["buckets"] = _lists(
        [
            None if d is None else pa.StructArray.from_arrays([d.values, d.counts], fields=list(_BUCKET))
            for d in details
        ],
        _BUCKET,
    )
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _columns(numbers: Sequence[Sequence[Any] | npt.NDArray[Any]]) -> list[pa.Array]:
    """The columns of `_NUMBERS` for the numbers of states: one sequence (or array) for each place in a state."""
    counts = [np.asarray(numbers[place], np.int64) for place in range(N_COUNTS)]
    nothing = counts[COUNT] - counts[NANS] - counts[POS_INFS] - counts[NEG_INFS] <= 0
    columns = [pa.array(values, pa.int64()) for values in counts]
    for place in range(N_COUNTS, len(_NAMES)):
        # Integers beyond float64's 53 bits are rounded here, and exact below.
        values = np.array(numbers[place], np.float64).reshape(-1)
        columns.append(pa.array(values, pa.float64(), mask=nothing if place in _OF_FINITE else None))
    for place in (MIN, MAX):
        exact = numbers[place]
        if isinstance(exact, np.ndarray):
            whole = pa.array(exact).cast(_INTEGER) if exact.dtype.kind in "iu" else pa.nulls(len(exact), _INTEGER)
        else:
            whole = pa.array([int(v) if isinstance(v, (int, np.integer)) else None for v in exact], _INTEGER)
        columns.append(whole)
    return columns


def _neurons(part: ChannelStats) -> pa.StructArray:
    arrays = part._arrays
    numbers = [arrays[array][row] for array, row in STORED_AT]
    return pa.StructArray.from_arrays(_columns(numbers), fields=list(_NUMBERS))


def _lists(items: Sequence[pa.Array | None], kind: pa.DataType) -> pa.ListArray:
    """A list column of the items' own memory."""
    lengths = np.array([0 if item is None else len(item) for item in items], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ArgumentValueError(f"parts: got {offsets[-1]} neurons or buckets, want fewer than 2^31 in a table")
    present = [item for item in items if item is not None]
    values = pa.concat_arrays(present) if present else pa.array([], kind)
    missing = pa.array([item is None for item in items], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, pa.list_(kind), mask=missing)


def from_arrow(rows: Any) -> list[Any]:
    """The stats of rows that `to_arrow` made, in their order, wherever the rows have been since.

    Args:
        rows: a table, record batch or stream of batches of Arrow, or anything that hands one over
            (``__arrow_c_stream__``: a polars or pandas frame, a DuckDB relation). Columns of other names are ignored.

    Returns:
        ActivationStats, DetailedStats and ChannelStats, one for each row, as they were.

    Raises:
        ArgumentTypeError: `rows` are not Arrow's, or a column is of a type that no such column has.
        ArgumentValueError: a column is missing, the version is newer than this fastact, or the numbers of a row
            contradict each other.

    Example:
        >>> from fastact import from_arrow, merge, summarize
        >>> part = summarize(np.arange(5, dtype=np.float16), extras="quantiles")
        >>> (same,) = from_arrow(part.to_arrow())
        >>> same == part, merge([same, part]).quantile(0.5)
        (True, 2.0)
    """
    return list(read_rows(as_table(rows)))


def as_table(rows: Any) -> pa.Table:
    """`rows` as a table; raises `ArgumentTypeError` where they are not Arrow's."""
    if isinstance(rows, pa.Table):
        return rows
    try:
        if isinstance(rows, pa.RecordBatch):
            return pa.Table.from_batches([rows])
        if isinstance(rows, pa.RecordBatchReader):
            return rows.read_all()
        if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
            return pa.table(rows)
    except pa.ArrowException as error:
        raise ArgumentTypeError(f"rows: got {type(rows).__name__}, which Arrow cannot read: {error}") from error
    raise ArgumentTypeError(f"rows: got {type(rows).__name__}, want a table of Arrow, or what hands one over")


_NULL: Final = pa.scalar(None)
#: Rows that are turned into Python's numbers at a time.
_AT_A_TIME: Final = 4096


def read_rows(table: pa.Table) -> Iterator[Any]:
    """The stats of a table's rows, one after the other; raises what `from_arrow` raises."""
    for name in _REQUIRED:
        if table.schema.get_field_index(name) < 0:
            raise ArgumentValueError(f"rows: got columns {table.column_names}, want one named {name!r}, once")
    table = table.select([name for name in SCHEMA.names if table.schema.get_field_index(name) >= 0])
    fields = [SCHEMA.field(name) for name in table.column_names]
    for start in range(0, table.num_rows, _AT_A_TIME):
        part = table.slice(start, _AT_A_TIME)
        try:
            part = pa.table([part[field.name].cast(field.type) for field in fields], schema=pa.schema(fields))
            part.validate(full=True)
        except (pa.ArrowException, NotImplementedError) as error:
            raise ArgumentTypeError(f"rows: a column is of another type than in fastact.stats.rows: {error}") from error
        columns = {name: part[name].combine_chunks() for name in part.column_names}
        yield from _read(columns, part.num_rows, start)


def _read(columns: dict[str, Any], rows: int, first: int) -> Iterator[ActivationStats | ChannelStats]:
    versions = columns["version"].to_pylist()
    numbers = [array.tolist() for array in _numbers(columns, rows)]
    low, high, tol = (
        columns[name].to_pylist() if name in columns else [default] * rows
        for name, default in (("saturation_low", -0.99), ("saturation_high", 0.99), ("zero_tol", 0.0))
    )
    extras = columns["extras"].to_pylist() if "extras" in columns else [None] * rows
    neurons = columns.get("neurons")
    if neurons is not None and neurons.null_count == rows:
        neurons = None
    for row, state in enumerate(zip(*numbers, strict=True)):
        version = versions[row]
        if version is None or not 1 <= version <= VERSION:
            raise ArgumentValueError(f"rows: row {first + row} has version {version}, want 1 to {VERSION}")
        if reason := contradiction(state):
            raise ArgumentValueError(f"rows: row {first + row} is no state: {reason}")
        bounds = check_options((low[row], high[row]), tol[row])
        if neurons is not None and neurons[row].is_valid:
            yield _channels(columns, row, first, state, bounds)
        elif extras[row] is not None:
            yield _detailed(columns, row, first, state, bounds, check_extras(extras[row]))
        else:
            yield wrap(state, bounds)


def _numbers(columns: dict[str, Any], rows: int) -> list[npt.NDArray[Any]]:
    """The numbers of states, an array for each place in a state; of objects where min and max are exact integers."""
    found: list[npt.NDArray[Any]] = []
    for place, name in enumerate(_NAMES):
        column: Any = columns.get(name)
        values: npt.NDArray[Any]
        if place < N_COUNTS:
            # No count is null: it would pass for zero.
            values = np.where(column.is_null(), -1, column.fill_null(0)).astype(np.int64)
        elif column is None:
            values = np.zeros(rows)
        else:
            nothing = arithmetic.EMPTY[place]
            values = column.fill_null(nothing).to_numpy(zero_copy_only=False)
        whole = columns.get(f"{name}_int") if place in (MIN, MAX) else None
        if whole is not None and whole.null_count < rows:
            exact = np.empty(rows, object)
            pairs = zip(values.tolist(), whole.to_pylist(), strict=True)
            # Merged with floats, in SQL, min is the least of both, and the integer need not be.
            exact[:] = [v if i is None or float(i) != v else int(i) for v, i in pairs]
            values = exact
        found.append(values)
    return found


def _channels(columns: dict[str, Any], row: int, first: int, state: arithmetic.State, bounds: Bounds) -> ChannelStats:
    structs = columns["neurons"][row].values
    shape = columns["shape"][row].as_py() if "shape" in columns else None
    shape = (len(structs),) if shape is None else tuple(shape)
    if math.prod(shape) != len(structs) or min((*shape, 0)) < 0:
        raise ArgumentValueError(f"rows: row {first + row} has {len(structs)} neurons, and shape {shape}")
    named = {name: structs.field(name) for name in _NUMBERS.names}
    numbers = _numbers(named, len(structs))
    for neuron, each in enumerate(zip(*(array.tolist() for array in numbers), strict=True)):
        if reason := contradiction(each):
            raise ArgumentValueError(f"rows: neuron {neuron} of row {first + row} is no state: {reason}")
    arrays = (
        np.empty((N_COUNTS, len(structs)), np.int64),
        np.empty((N_MOMENTS, len(structs))),
        np.empty((N_EXTREMES, len(structs)), _extreme(numbers[MIN], numbers[MAX])),
    )
    for (array, at), values in zip(STORED_AT, numbers, strict=True):
        arrays[array][at] = values
    return wrap_channels(NeuronStates(*arrays, state), bounds, shape)


def _extreme(smallest: npt.NDArray[Any], largest: npt.NDArray[Any]) -> np.dtype[Any]:
    """The dtype of the neurons' min and max: a 64-bit integer's where all are integers."""
    if smallest.dtype != object or not all(isinstance(v, int) for v in (*smallest, *largest)):
        return np.dtype(np.float64)
    return np.dtype(np.uint64 if max(largest) > np.iinfo(np.int64).max and min(smallest) >= 0 else np.int64)


def _detailed(
    columns: dict[str, Any], row: int, first: int, state: arithmetic.State, bounds: Bounds, extras: tuple[str, ...]
) -> DetailedStats:
    where = f"rows: row {first + row}"
    wanted = ("third", "fourth", "tally", "exact", "buckets")
    third, fourth, tally, exact, buckets = found = [columns[name][row] if name in columns else _NULL for name in wanted]
    if not all(value.is_valid for value in found):
        raise ArgumentValueError(f"{where} has extras={extras}, want {', '.join(wanted)} with it")
    structs = buckets.values
    if (
        structs.null_count
        or any(structs.field(name).null_count for name in ("value", "count"))
        or None in tally.as_py()
    ):
        raise ArgumentValueError(f"{where}: got nulls among its buckets or tally, want none")
    values, counts = (structs.field(name).to_numpy(zero_copy_only=False) for name in ("value", "count"))
    try:
        shape = third.as_py(), fourth.as_py()
        return detailed(state, bounds, extras, shape, tuple(tally.as_py()), exact.as_py(), values, counts)
    except ArgumentValueError as error:
        raise ArgumentValueError(f"{where}: {str(error).removeprefix('state: ')}") from None
