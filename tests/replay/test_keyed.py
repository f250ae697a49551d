"""Tables of rows under keys: merging them two by two gives what merging all rows of a key at once gives."""

import numpy as np
import numpy.typing as npt
import pytest
from replay_runs import random_rows

from fastact.fields import ROW_DTYPE
from fastact.replay.blocks import sort_into_groups
from fastact.replay.keyed import Alike, Keyed, Tree, keyed, sorted_by
from fastact.replay.merge import merge_rows

Rows = npt.NDArray[np.void]


def rows_of(seed: int, steps: range) -> Rows:
    rows = np.array([row for _, row in random_rows(seed, steps)], ROW_DTYPE)
    # Some ranks do not sweep per neuron now and then.
    unswept = np.random.default_rng(seed).random(len(rows)) < 0.1
    for name, nothing in (("neurons", 0), ("within_std", np.nan), ("typical_peak", np.nan), ("peak_neuron", -1)):
        rows[name][unswept] = nothing
    return rows


def table(rows: Rows) -> Keyed:
    names = ROW_DTYPE.names or ()
    return keyed((rows["step"], rows["layer"]), {name: np.ascontiguousarray(rows[name]) for name in names})


def at_once(parts: list[Rows]) -> Rows:
    rows = np.concatenate(parts)
    order, starts = sort_into_groups(rows["step"], rows["layer"])
    return merge_rows(rows.take(order), starts)


def tree_of(parts: list[Rows]) -> Rows:
    tree = Tree()
    for part in parts:
        tree.add(table(part))
    return tree.whole().rows()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_a_tree_of_tables_is_the_merge_of_all_rows(count: int) -> None:
    parts = [rows_of(seed, range(seed, 40 + 3 * seed)) for seed in range(count)]
    found, want = tree_of(parts), at_once(parts)
    for name in ROW_DTYPE.names or ():
        np.testing.assert_allclose(found[name], want[name], rtol=1e-12, atol=1e-14, err_msg=name)
        if found[name].dtype == np.int64 or name in ("min", "max"):
            assert found[name].tolist() == want[name].tolist(), name


@pytest.mark.parametrize("count", [5, 6, 8])
def test_where_all_have_the_same_keys_the_states_are_the_same_bit_for_bit(count: int) -> None:
    parts = [rows_of(seed, range(20)) for seed in range(count)]
    shared = set.intersection(*({(row["step"], row["layer"]) for row in part} for part in parts))
    parts = [part[[(row["step"], row["layer"]) in shared for row in part]] for part in parts]
    assert len(parts[0]) > 10
    found, want = tree_of(parts), at_once(parts)
    for name in ("count", "mean", "std", "abs_mean", "min", "max"):
        assert found[name].tobytes() == want[name].tobytes(), name


@pytest.mark.parametrize("before", [0, 1, 16])
@pytest.mark.parametrize("count", [15, 16, 17, 50])
def test_tables_that_share_their_keys_are_merged_as_those_that_do_not(before: int, count: int) -> None:
    parts = [rows_of(seed, range(20)) for seed in range(count)]
    shared = set.intersection(*({(row["step"], row["layer"]) for row in part} for part in parts))
    parts = [part[[(row["step"], row["layer"]) in shared for row in part]] for part in parts]
    others = [rows_of(100 + seed, range(20)) for seed in range(before)]
    alike, tree = Alike(), Tree()
    for part in others + parts:
        own = table(part)
        tree.add(alike.table(own.keys, own.columns))
    held = len(tree)
    found = tree.whole().rows()
    assert held >= len(found)
    assert found.tobytes() == tree_of(others + parts).tobytes()


def test_rows_of_one_rank_with_the_same_key_are_one() -> None:
    rows = rows_of(3, range(20))
    twice = np.concatenate([rows, rows[::2], rows[::4]])
    found = tree_of([twice])
    assert found["count"].sum() == twice["count"].sum()
    assert len(found) == len(rows)


def test_keys_of_any_size_are_sorted() -> None:
    random = np.random.default_rng(0)
    for high in (3, 1 << 62):
        keys = tuple(random.integers(-high, high, 200) for _ in range(3))
        order = sorted_by(keys)
        tuples = list(zip(*(key.tolist() for key in keys), strict=True))
        assert [tuples[i] for i in order] == sorted(tuples)
