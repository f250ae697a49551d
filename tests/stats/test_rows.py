"""The Arrow form of stats, their plain form, and merging rows: exact, versioned, and not to be fooled."""

import json
import math
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastact
from fastact import ActivationStats, from_arrow, merge, merge_arrow, summarize, to_arrow
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.stats.rows import SCHEMA, VERSION

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((60, 4)).astype(np.float32)
X[3, 1], X[5, 2], X[7] = np.nan, -np.inf, 0.0
HUGE = np.array([[2**63, 2**64 - 1], [5, 7]], np.uint64)

STATS: dict[str, Any] = {
    "plain": summarize(X),
    "options": summarize(X, saturation=(-math.inf, 2.5), zero_tol=0.25),
    "empty": summarize(np.zeros(0)),
    "nothing finite": summarize([math.nan, math.inf]),
    "far from zero": summarize(np.array([1e16, 1e16 + 2.0])) | summarize(np.array([1e16 + 4.0])),
    "int64": summarize(np.array([-(2**63), 2**63 - 1])),
    "uint64": summarize(HUGE),
    "bool": summarize([True, False]),
    "neurons": summarize(X, axis=-1),
    "axes": summarize(X.reshape(10, 6, 4), axis=(1, 2)),
    "neurons of int64": summarize(np.arange(-6, 6).reshape(4, 3) * 2**60, axis=1),
    "neurons of uint64": summarize(HUGE, axis=0),
    "neurons without elements": summarize(np.zeros((0, 3)), axis=1),
    "no neurons": summarize(np.zeros((3, 0)), axis=1),
    "shape": summarize(X, extras="shape"),
    "all": summarize(X, extras=("shape", "exponents", "quantiles", "outliers")),
    "exact": summarize(X.astype(np.float16), extras="quantiles"),
    "extras of none": summarize(np.zeros(0), extras="quantiles"),
}


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same type of extremes, and merging alike: the mean's rest is no part of ==."""
    if type(a) is not type(b) or a != b:
        return False
    if isinstance(a, fastact.ChannelStats):
        kinds = [stats._arrays.extremes.dtype.kind for stats in (a, b)]
        return kinds[0] == kinds[1] and repr(a.total._state) == repr(b.total._state)
    return repr(a._state) == repr(b._state)


@pytest.mark.parametrize("name", STATS)
def test_what_goes_through_arrow_comes_back(name: str) -> None:
    (back,) = from_arrow(STATS[name].to_arrow())
    assert same(back, STATS[name])


def test_all_go_through_one_table_and_any_engine() -> None:
    table = to_arrow(STATS.values())
    assert table.schema == SCHEMA
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    stored = pq.read_table(pa.BufferReader(sink.getvalue()))
    frame = pl.from_arrow(table)
    asked: Any = duckdb.sql("SELECT * FROM stored")
    reader = pa.RecordBatchReader.from_batches(SCHEMA, table.to_batches(max_chunksize=5))
    for rows in (table, stored, frame, asked.arrow(), reader, table.combine_chunks().to_batches()[0]):
        assert all(map(same, from_arrow(rows), STATS.values()))


@pytest.mark.parametrize("name", [name for name in STATS if "neurons" not in name and name != "axes"])
def test_the_plain_form_keeps_what_merges(name: str) -> None:
    part = STATS[name]
    plain = part.to_dict()
    assert same(ActivationStats.from_state(json.loads(json.dumps(plain))), part)
    back = ActivationStats.from_state(plain)
    assert same(back | part, part | part)
    # Strict JSON has null for NaN.
    nulls = {key: None if isinstance(value, float) and value != value else value for key, value in plain.items()}
    assert same(ActivationStats.from_state(nulls), part)


def test_the_numbers_of_an_empty_part_change_nothing() -> None:
    empty = STATS["empty"]
    numbers = tuple(empty.to_dict()[name] for name in ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated"))
    numbers += (math.nan,) * 5
    assert ActivationStats.from_state(numbers) == empty
    assert ActivationStats.from_state(numbers) | STATS["plain"] == STATS["plain"]
    assert ActivationStats.from_state(STATS["plain"].to_dict(), zero_tol=0.5).zero_tol == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": -1}, "its counts are"),
        ({"nans": 10**6}, "its counts are"),
        ({"mean": math.nan}, "its mean, std and abs_mean"),
        ({"std": -1.0}, "its mean, std and abs_mean"),
        ({"min": 5.0, "max": 4.0}, "its min and max"),
        ({"mean": "x"}, "no number"),
        ({"extras": ["quantiles"]}, "its extras cannot be read"),
        ({"zero_tol": -1.0}, "zero_tol: got -1.0"),
    ],
)
def test_impossible_numbers_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentValueError, match=message):
        ActivationStats.from_state(STATS["plain"].to_dict() | change)
    with pytest.raises(ArgumentValueError, match="got no nans"):
        ActivationStats.from_state({"count": 1})


def change(name: str, column: str, values: Any, kind: Any = None) -> pa.Table:
    table = STATS[name].to_arrow()
    place = table.schema.get_field_index(column)
    return table.set_column(place, column, pa.array(values, kind or table.schema.field(column).type))


BUCKETS = STATS["all"].to_arrow()["buckets"].to_pylist()[0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (change("plain", "version", [VERSION + 1]), "row 0 has version 2, want 1 to 1"),
        (change("plain", "version", [None]), "row 0 has version None"),
        (change("plain", "count", [None]), "row 0 is no state: its counts"),
        (change("plain", "max", [-math.inf]), "row 0 is no state: its min and max"),
        (change("plain", "mean", [None]), "row 0 is no state: its mean"),
        (change("plain", "saturation_low", [5.0]), "saturation"),
        (change("neurons", "shape", [[5]]), "has 4 neurons, and shape"),
        (change("neurons", "shape", [[-2, -2]]), "has 4 neurons, and shape"),
        (change("all", "buckets", [BUCKETS[::-1]]), "row 0: got buckets out of order"),
        (change("all", "buckets", [BUCKETS[1:]]), "row 0: got buckets of"),
        (change("all", "buckets", [[*BUCKETS, None]]), "row 0: got nulls among its buckets"),
        (change("all", "buckets", [None]), "row 0 has extras="),
        (change("all", "tally", [[1]]), "row 0: got tally"),
        (change("all", "third", [math.nan]), "row 0: got moments"),
        (change("all", "extras", [["no"]]), "extras: got 'no'"),
        (STATS["plain"].to_arrow().drop_columns("zeros"), "want one named 'zeros'"),
    ],
)
def test_rows_that_cannot_be_are_refused_by_name(rows: pa.Table, message: str) -> None:
    with pytest.raises(ArgumentValueError, match=message):
        from_arrow(rows)


def test_what_is_no_table_of_rows_is_a_type_error() -> None:
    nothing: list[Any] = [3, None, [], "rows"]
    for rows in nothing:
        with pytest.raises(ArgumentTypeError, match="rows: got"):
            from_arrow(rows)
    with pytest.raises(ArgumentTypeError, match="a column is of another type"):
        from_arrow(change("plain", "count", ["x"], pa.string()))
    with pytest.raises(ArgumentTypeError, match="parts: got int"):
        to_arrow([3])  # type: ignore[list-item]
    assert from_arrow(to_arrow([])) == []


PARTS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.integers(0, 40)), max_size=12)


@settings(max_examples=40)
@given(PARTS, st.sampled_from(["", "neurons", "quantiles"]))
def test_merged_by_keys_is_swept_by_keys(parts: list[tuple[str, int, int]], kind: str) -> None:
    every: dict[str, dict[str, Any]] = {"neurons": {"axis": -1}, "quantiles": {"extras": "quantiles"}}
    options = every.get(kind, {})
    slices = [(key, X[min(i, j) : max(i, j)]) for key, i, j in parts]
    table = to_arrow(summarize(x, **options) for _, x in slices)
    table = table.append_column("key", pa.array([key for key, _ in slices], pa.string()))
    merged = merge_arrow(table, by="key")
    assert merged["key"].to_pylist() == list(dict.fromkeys(key for key, _ in slices))
    for key, found in zip(merged["key"].to_pylist(), from_arrow(merged), strict=True):
        whole = np.concatenate([x for other, x in slices if other == key])
        want: Any = summarize(whole, **options)
        for name in ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated", "min", "max"):
            assert np.array_equal(getattr(found, name), getattr(want, name), equal_nan=True)
        for name in ("mean", "std", "abs_mean"):
            np.testing.assert_allclose(getattr(found, name), getattr(want, name), 1e-6, 4e-6)
        if kind == "quantiles" and len(whole):
            assert found.quantile(0.3) == want.quantile(0.3)


def test_keys_of_several_columns_nulls_and_none() -> None:
    table = to_arrow(summarize(np.full(n + 1, n)) for n in range(6))
    table = table.append_column("rank", pa.array([0, 1, 0, 0, None, None]))
    table = table.append_column("layer", pa.array(["a", "b", "b", "b", "a", "a"]).dictionary_encode())
    merged = merge_arrow(table, by=["rank", "layer"])
    assert merged.select(["rank", "layer", "count"]).to_pylist() == [
        {"rank": 0, "layer": "a", "count": 1},
        {"rank": 1, "layer": "b", "count": 2},
        {"rank": 0, "layer": "b", "count": 7},
        {"rank": None, "layer": "a", "count": 11},
    ]
    assert from_arrow(merge_arrow(table)) == [merge(from_arrow(table))]
    assert merge_arrow(table.slice(0, 0), by="rank").num_rows == 0
    for by in ("nowhere", "count", ["rank", "zeros"]):
        with pytest.raises(ArgumentValueError, match="by: got"):
            merge_arrow(table, by=by)
    with pytest.raises(ArgumentTypeError, match="by: got int"):
        merge_arrow(table, by=[3])  # type: ignore[list-item]
    with pytest.raises(ArgumentValueError, match="merge: got"):
        merge_arrow(to_arrow([STATS["plain"], STATS["options"]]))


def test_an_integer_beyond_float64_stays_itself_in_any_merge() -> None:
    table = to_arrow([STATS["int64"], summarize(np.array([2**63 - 5]))])
    assert table["max_int"].to_pylist()[1] == Decimal(2**63 - 5)
    (whole,) = from_arrow(merge_arrow(table))
    assert (whole.min, whole.max) == (-(2**63), 2**63 - 1)
    (mixed,) = from_arrow(merge_arrow(to_arrow([STATS["int64"], summarize([0.5, 1e30])])))
    assert (mixed.min, mixed.max) == (-(2**63), 1e30)
