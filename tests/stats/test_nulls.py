"""Nulls are left out and counted, whatever holds them; NaN is none."""

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fastact

VALUES = [0.0, None, 2.0, None, -3.0]
WITHOUT = fastact.summarize(np.array([0.0, 2.0, -3.0]))


def holders() -> dict[str, Any]:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    column = pandas.Series(VALUES, dtype="Float64")
    return {
        "arrow array": pa.array(VALUES),
        "arrow chunks": pa.chunked_array([VALUES[:2], VALUES[2:]]),
        "arrow table": pa.table({"a": VALUES}),
        "arrow batch": pa.RecordBatch.from_pydict({"a": VALUES}),
        "pandas column": column,
        "pandas array": column.array,
        "pandas frame": column.to_frame(),
        "pandas column of arrow": pandas.Series(VALUES, dtype="double[pyarrow]"),
        "polars column": polars.Series(VALUES),
        "polars frame": polars.DataFrame({"a": VALUES}),
    }


@pytest.mark.parametrize("name", ["arrow array", "arrow chunks", "arrow table", "arrow batch", "pandas column",
                                  "pandas array", "pandas frame", "pandas column of arrow", "polars column",
                                  "polars frame"])  # fmt: skip
def test_nulls_are_left_out_and_counted(name: str) -> None:
    found = fastact.summarize(holders()[name])
    assert found.nulls == 2
    assert found.state == pytest.approx(WITHOUT.state, rel=1e-15)  # chunks merge
    assert WITHOUT.nulls == 0


def test_all_columns_of_a_table_count() -> None:
    table = pa.table({"a": VALUES, "b": [1, 2, None, 4, 5], "c": [True, False, True, None, None]})
    found = fastact.summarize(table)
    assert (found.count, found.nulls, found.max) == (10, 5, 5.0)
    assert fastact.summarize(pa.table({})).count == 0


def test_nan_is_no_null() -> None:
    pandas = pytest.importorskip("pandas")
    for x in (pa.array([1.0, float("nan"), None]), pandas.DataFrame({"a": [1.0, float("nan")]})):
        assert fastact.summarize(x).nans == 1


def test_they_merge_and_are_kept_in_pickles() -> None:
    one, none = fastact.summarize(pa.array(VALUES)), fastact.summarize(np.ones(3))
    both = fastact.merge([one, none, one])
    assert (both.nulls, both.count) == (4, 9)
    assert pickle.loads(pickle.dumps(both)) == both != fastact.merge([none, WITHOUT, WITHOUT])
    accumulator = fastact.Accumulator()
    for chunk in (pa.array(VALUES), pa.array([None, 1.0])):
        accumulator.update(chunk)
    assert accumulator.stats.nulls == 3
