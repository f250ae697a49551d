"""Numbers as a data frame of pandas or polars: columns of numpy arrays, with nulls where there is nothing.

Neither package is imported before it is asked for, and Arrow is not needed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.fields import DRAWN, NEURON, ROW
from fastact.packages import needs_extra

#: The fields of a row that were measured only where it was swept per neuron.
_OF_NEURONS: Final = frozenset(field.name for field in NEURON)


class Column(NamedTuple):
    """A column of a frame.

    Attributes:
        values: its numbers, shape (rows,).
        missing: where there is nothing, bool[rows]; None for nowhere.
        categories: the names that `values` are indices into, each once; None for a column of numbers.
        time: whether `values` are nanoseconds since 1970-01-01 UTC.
    """

    values: npt.NDArray[Any]
    missing: npt.NDArray[np.bool_] | None = None
    categories: tuple[str, ...] | None = None
    time: bool = False


def floats(values: npt.ArrayLike) -> Column:
    """A column of numbers in which NaN stands for nothing; integers of 64 bits stay what they are.

    Example:
        >>> floats([1.0, float("nan")]).missing.tolist()
        [False, True]
    """
    array = np.asarray(values).reshape(-1)
    if array.dtype.kind in "iu":
        return Column(array)
    array = array.astype(np.float64)
    return Column(array, np.isnan(array))


def columns_of_rows(
    rows: npt.NDArray[np.void], layers: npt.NDArray[np.int64], names: Sequence[str]
) -> dict[str, Column]:
    """The columns for rows of `fields.ROW_DTYPE`, with nulls where the log has them.

    Args:
        rows: the rows, shape (rows,).
        layers: the layer of each, as an index into `names`, int64[rows].
        names: the layers' names in forward order, each once.
    """
    columns = {}
    unswept = rows["neurons"] == 0
    for field in ROW:
        values = rows[field.name]
        if field.name == "layer":
            columns["layer"] = Column(layers, categories=tuple(names))
            continue
        missing = None
        if field.name in _OF_NEURONS and field.nothing is not None and field.nothing == 0:
            missing = unswept & (values == 0)  # zero may have been measured as well
        elif field.nothing is not None and field not in DRAWN:  # none left out is a number
            missing = np.isnan(values) if np.isnan(field.nothing) else values == field.nothing
        columns[field.name] = Column(values, missing, time=field.name == "time")
    return columns


def to_pandas(columns: Mapping[str, Column]) -> Any:
    """The columns as a `pandas.DataFrame`: nullable integers and floats, categoricals, and times in UTC.

    Raises:
        MissingExtraError: pandas is not installed.

    Example:
        >>> to_pandas({"mean": floats([1.5, float("nan")])})
           mean
        0   1.5
        1  <NA>
    """
    with needs_extra("to_pandas", "pandas", "pandas", extra="pandas"):
        import pandas as pd

    def made(column: Column) -> Any:
        if column.categories is not None:
            return pd.Categorical.from_codes(column.values, categories=list(column.categories))
        if column.time:
            return pd.DatetimeIndex(np.ascontiguousarray(column.values).view("M8[ns]"), tz="UTC")
        values = np.ascontiguousarray(column.values)
        missing = np.zeros(len(values), np.bool_) if column.missing is None else column.missing
        kind = pd.arrays.FloatingArray if values.dtype.kind == "f" else pd.arrays.IntegerArray
        return kind(values, missing)

    return pd.DataFrame({name: made(column) for name, column in columns.items()}, copy=False)


def to_polars(columns: Mapping[str, Column]) -> Any:
    """The columns as a `polars.DataFrame`: nulls, an Enum for names, which sorts as they are given, and times in UTC.

    Raises:
        MissingExtraError: polars is not installed.

    Example:
        >>> to_polars({"mean": floats([1.5, float("nan")])})["mean"].to_list()
        [1.5, None]
    """
    with needs_extra("to_polars", "polars", "polars", extra="polars"):
        import polars as pl

    def made(name: str, column: Column) -> Any:
        values = np.ascontiguousarray(column.values)
        if column.categories is not None:
            series = pl.Series(name, values.astype(np.uint32))
            return pl.Series(name, list(column.categories), pl.Enum(column.categories)).gather(series)
        series = pl.Series(name, values)
        if column.time:
            return series.cast(pl.Datetime("ns", "UTC"))
        if column.missing is not None and column.missing.any():
            series = series.scatter(np.flatnonzero(column.missing), None)
        return series

    return pl.DataFrame([made(name, column) for name, column in columns.items()])
