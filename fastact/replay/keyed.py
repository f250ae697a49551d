"""Rows in columns under keys, each key once: what merges with what other ranks, or other parts of a log, have of it.

Two tables merge in the order of their keys, and rows of equal keys as their fields say (`Field.merge`). Many merge as
the leaves of a tree (`Tree`): each row is merged as often as the tree is deep, and only as many tables are held.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.arithmetic.columns import merge_columns
from fastact.fields import NEURON, ROW, ROW_DTYPE, STATE

Ints = npt.NDArray[np.int64]
Column = npt.NDArray[Any]

_COUNTS: Final = [field.name for field in STATE if field.merge == "sum"]
_MOMENTS: Final = [field.name for field in STATE if field.merge == "moment"]
_EXTREMES: Final = [field.name for field in STATE if field.merge in ("min", "max")]
_OUTSIDE: Final = [field for field in ROW if field not in STATE and field.merge != "first"]
#: Tables of the same keys that are merged at a time. A call takes as long as its work on a thousand rows.
_ABREAST: Final = 16
#: Their order (the bits of a number backwards) in which the first half merges with the second, neighbours with
#: neighbours, and the halves of what comes of it again.
_HALVES: Final = sorted(range(_ABREAST), key=lambda place: f"{place:0{_ABREAST.bit_length() - 1}b}"[::-1])
#: Where these differ, nothing is known of the neurons.
_EQUAL: Final = [field.name for field in NEURON if field.merge == "equal"]


class Keyed(NamedTuple):
    """A table: rows rising by their keys, no two with the same.

    Attributes:
        keys: arrays of int64, shape (rows,), the first one sorts first.
        columns: for each field its numbers, shape (rows,): those of `fields.ROW`, or of `fields.STATE` alone.
        rest: what rounding took from each mean so far; it is not kept in a row.
    """

    keys: tuple[Ints, ...]
    columns: Mapping[str, Column]
    rest: Column

    def __len__(self) -> int:
        return len(self.rest)

    def take(self, places: Any) -> "Keyed":
        """Some of the rows, by their places or a slice, in rising order."""
        columns = {name: column[places] for name, column in self.columns.items()}
        return Keyed(tuple(key[places] for key in self.keys), columns, self.rest[places])

    def rows(self) -> npt.NDArray[np.void]:
        """The rows as an array of `fields.ROW_DTYPE`."""
        rows = np.zeros(len(self), ROW_DTYPE)
        for name, column in self.columns.items():
            rows[name] = column
        return rows


def keyed(keys: tuple[Ints, ...], columns: Mapping[str, Column]) -> Keyed:
    """Rows in any order, some with equal keys, as a table. Equal ones merge in the order in which they come."""
    table = Keyed(keys, columns, np.zeros(len(keys[0])))
    if not _rises(keys):
        table = table.take(sorted_by(keys))
    parts = []
    while len(table):
        first = np.ones(len(table), np.bool_)
        first[1:] = changes(table.keys)
        if first.all():
            parts.append(table)
            break
        parts.append(table.take(np.flatnonzero(first)))
        table = table.take(np.flatnonzero(~first))
    tree = Tree()
    for part in parts or [table]:
        tree.add(part)
    return tree.whole()


def sorted_by(keys: tuple[Ints, ...]) -> Ints:
    """The places of rows in the order of their keys; rows that are equal in all of them stay in order."""
    spans = [(int(key.min()), int(key.max()) - int(key.min()) + 1) for key in keys if len(key)]
    size = 1
    for _, span in spans:
        size *= span
    if size >= 1 << 62 or not spans:
        return np.lexsort(keys[::-1])
    one = np.zeros(len(keys[0]), np.int64)
    for key, (least, span) in zip(keys, spans, strict=True):
        one = one * span + (key - least)
    # Of sorted stretches, which is what there is as a rule, this merges the stretches.
    return np.argsort(one, kind="stable")


def changes(keys: tuple[Ints, ...]) -> npt.NDArray[np.bool_]:
    """Whether each row but the first differs from the one before it in any key."""
    differs: npt.NDArray[np.bool_] = keys[0][1:] != keys[0][:-1]
    for key in keys[1:]:
        differs |= key[1:] != key[:-1]
    return differs


def _rises(keys: tuple[Ints, ...]) -> bool:
    """Whether rows are in the order of their keys."""
    above = np.zeros(max(len(keys[0]) - 1, 0), np.bool_)
    for key in keys[::-1]:
        above = (key[1:] < key[:-1]) | ((key[1:] == key[:-1]) & above)
    return not above.any()


def merge_two(a: Keyed, b: Keyed) -> Keyed:
    """The rows of both; those of `a` come first where they merge."""
    if a.keys is b.keys or (len(a) == len(b) and all(map(np.array_equal, a.keys, b.keys))):
        return _merge_pairs(a, b)
    if not len(a) or not len(b):
        return a if len(a) else b
    both = Keyed(
        tuple(map(_join, a.keys, b.keys)),
        {name: _join(column, b.columns[name]) for name, column in a.columns.items()},
        _join(a.rest, b.rest),
    )
    both = both.take(sorted_by(both.keys))
    again = np.zeros(len(both), np.bool_)
    again[1:] = ~changes(both.keys)
    seconds = np.flatnonzero(again)
    if not len(seconds):
        return both
    pairs = _merge_pairs(both.take(seconds - 1), both.take(seconds))
    for name, column in both.columns.items():
        column[seconds - 1] = pairs.columns[name]
    both.rest[seconds - 1] = pairs.rest
    return both.take(np.flatnonzero(~again))


def _join(a: Column, b: Column) -> Column:
    return np.concatenate((a, b))


def _merge_pairs(a: Keyed, b: Keyed) -> Keyed:
    """Row by row, where both have the same keys."""
    left, right = a.columns, b.columns
    counts, moments, extremes = merge_columns(_state(a), _state(b))
    columns: dict[str, Column] = {
        **dict(zip(_COUNTS, counts, strict=True)),
        **dict(zip(_MOMENTS, moments, strict=False)),
        **dict(zip(_EXTREMES, extremes, strict=True)),
    }
    if "neurons" in left:
        columns |= {field.name: left[field.name] for field in ROW if field.merge == "first"}
        for field in _OUTSIDE:
            columns[field.name] = _MERGE[field.merge](left, right, field.name)
        for name in _EQUAL:
            differs = left[name] != right[name]
            if differs.any():
                for field in NEURON:
                    some = columns[field.name] = columns[field.name].copy()
                    some[differs] = field.nothing
    return Keyed(a.keys, columns, moments[3])


def _state(table: Keyed) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    columns = table.columns
    return (
        np.stack([columns[name] for name in _COUNTS]),
        np.stack([*(columns[name] for name in _MOMENTS), table.rest]),
        np.stack([columns[name] for name in _EXTREMES]),
    )


def _pooled(a: Mapping[str, Column], b: Mapping[str, Column], name: str) -> Column:
    """The standard deviation of both parts' variances, weighted by their finite elements."""
    weights, values = [], []
    for part in (a, b):
        finite = (part["count"] - part["nans"] - part["pos_infs"] - part["neg_infs"]).astype(np.float64)
        # A part without a finite element has nothing to say.
        weights.append(np.where(np.isnan(part[name]), 0.0, finite))
        values.append(np.where(weights[-1] > 0.0, part[name], 0.0))
    # Relative to the larger, so that no square overflows.
    scale = np.maximum(*values)
    total = weights[0] + weights[1]
    with np.errstate(all="ignore"):
        one, other = (np.where(value > 0.0, value / scale, 0.0) for value in values)
        mean = (weights[0] * one * one + weights[1] * other * other) / total
        return np.where(total > 0.0, scale * np.sqrt(mean), np.nan)


def _of_the_peak(a: Mapping[str, Column], b: Mapping[str, Column], name: str) -> Column:
    """That of the part with the larger peak; of equals the lower number."""
    one, other = (np.fmax(np.fmax(-part["min"], part["max"]), -np.inf) for part in (a, b))
    least = np.minimum(a[name], b[name])
    return np.where(one > other, a[name], np.where(other > one, b[name], least))


_MERGE: Final[dict[str, Callable[[Mapping[str, Column], Mapping[str, Column], str], Column]]] = {
    "equal": lambda a, _, name: a[name],
    "sum": lambda a, b, name: a[name] + b[name],  # wraps at 64 bits
    "min": lambda a, b, name: np.fmin(a[name], b[name]),
    "max": lambda a, b, name: np.fmax(a[name], b[name]),
    "pooled": _pooled,
    "of the peak": _of_the_peak,
}


class Alike:
    """Tables of the same keys, one after the other, such as those of ranks: these are held once and known to rise."""

    def __init__(self) -> None:
        self._keys: tuple[Ints, ...] = ()

    def table(self, keys: tuple[Ints, ...], columns: Mapping[str, Column]) -> Keyed:
        """`keyed`; a table with the keys of the one before has the very same arrays."""
        if len(keys) == len(self._keys) and all(map(np.array_equal, keys, self._keys)):
            return Keyed(self._keys, columns, np.zeros(len(keys[0])))
        table = keyed(keys, columns)
        self._keys = table.keys
        return table


class Tree:
    """Merges many tables as they come, neighbours first: rounding errors grow with the logarithm of their number.

    Where all have the same keys, each pair is of as many tables as its neighbour, as `arithmetic.columns` pairs the
    rows of a group.
    """

    def __init__(self) -> None:
        #: Tables, each merged of 2^i that were added; the smallest last.
        self._parts: list[tuple[int, Keyed]] = []
        #: Those after them, whose keys are the very same arrays.
        self._abreast: list[Keyed] = []

    def add(self, table: Keyed) -> None:
        """Adds a table."""
        if self._abreast and self._abreast[0].keys is not table.keys:
            self._settle()
        self._abreast.append(table)
        if len(self._abreast) == _ABREAST:
            self._settle()

    def _settle(self) -> None:
        abreast, self._abreast = self._abreast, []
        if len(abreast) == _ABREAST and (not self._parts or 1 << self._parts[-1][0] >= _ABREAST):
            self._add(_merge_abreast(abreast), _ABREAST.bit_length() - 1)
            return
        for table in abreast:
            self._add(table, 0)

    def _add(self, table: Keyed, level: int) -> None:
        while self._parts and self._parts[-1][0] == level:
            table = merge_two(self._parts.pop()[1], table)
            level += 1
        self._parts.append((level, table))

    def whole(self) -> Keyed:
        """All of them merged; the tree is empty then. There has to be one."""
        self._settle()
        (_, table), *parts = self._parts[::-1]
        for _, before in parts:
            table = merge_two(before, table)
        self._parts = []
        return table

    def __len__(self) -> int:
        """Rows that are held."""
        return sum(len(table) for _, table in self._parts) + sum(map(len, self._abreast))


def _merge_abreast(tables: Sequence[Keyed]) -> Keyed:
    """Tables of the same keys, `_ABREAST` of them, merged as in a `Tree`, many pairs in each call."""
    inside = [tables[place] for place in _HALVES]
    some = Keyed(
        (),
        {name: np.concatenate([table.columns[name] for table in inside]) for name in tables[0].columns},
        np.concatenate([table.rest for table in inside]),
    )
    while (half := len(some) // 2) >= len(tables[0]) > 0:
        some = _merge_pairs(some.take(slice(half)), some.take(slice(half, None)))
    return Keyed(tables[0].keys, some.columns, some.rest)
