"""The rows of ranks before they are merged, handed on step by step to who compares them with each other."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from fastact.diagnosis.ranks import COMPARED, Parts
from fastact.fields import ROW_DTYPE
from fastact.history import LayerInfo
from fastact.replay.blocks import Ints, LayerNumbers, Rows
from fastact.replay.keyed import Column, Keyed, changes, sorted_by

#: Rows that are compared at a time, if a step has no more.
_COMPARED_ROWS: Final = 1 << 17
_PLACES: Final = {name: place for place, name in enumerate(COMPARED)}


class Comparer(Protocol):
    """What takes them: a `Diagnoser`."""

    def compare(self, parts: Parts, infos: Sequence[LayerInfo]) -> None:
        """Takes the rows of some steps."""

    def remember(self, ranks: Sequence[int], column: int, layers: Ints, rows: Rows, infos: Sequence[LayerInfo]) -> None:
        """Takes the latest row of each layer on one rank."""


class _Waiting(NamedTuple):
    """Rows of one rank: pass, step and layer of each, and the bits of what is compared, int64[names, rows]."""

    column: int
    keys: tuple[Ints, ...]
    values: Ints


class _Ordered:
    """The numbers of several ranks' rows in another order, made as they are asked for."""

    def __init__(self, ranks: Sequence[Ints], order: Ints) -> None:
        self._ranks, self._order = ranks, order
        self._made: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        if name not in self._made:
            place = _PLACES[name]
            bits = np.concatenate([values[place] for values in self._ranks])
            self._made[name] = bits.take(self._order).view(ROW_DTYPE[name])
        return self._made[name]


class Beside:
    """Keeps what is compared of each rank's rows until all ranks have passed their step."""

    def __init__(self, ranks: Sequence[int], layers: LayerNumbers, comparer: Comparer) -> None:
        self._ranks, self._layers, self._comparer = tuple(ranks), layers, comparer
        self._waiting: list[_Waiting] = []

    def add(self, column: int, table: Keyed) -> None:
        """Takes rows of the rank at this place among all."""
        numbers = table.keys[2]
        last = np.full(len(self._layers.infos), -1)
        last[numbers] = np.arange(len(numbers))  # of equal ones the last is kept
        layers = np.flatnonzero(last >= 0)
        latest = table.take(last[layers]).rows()
        self._comparer.remember(self._ranks, column, layers, latest, self._layers.infos)
        values = np.empty((len(COMPARED), len(numbers)), np.int64)
        for name, place in _PLACES.items():
            values[place] = table.columns[name].view(np.int64)
        self._waiting.append(_Waiting(column, table.keys, values))

    def give(self, past: tuple[int, int] | None) -> None:
        """Hands on the rows of passes and steps before a (pass, step), or all."""
        ready, rest, cut = self._waiting, [], _Cut()
        if past is not None:
            bounds = {id(keys): count_before(keys, past) for keys in _distinct(ready)}
            for each in ready:
                after = cut.part(each, bounds[id(each.keys)], len(each.keys[0]))
                if len(after.keys[0]):  # copied, so that the rows that are handed on are not held
                    rest.append(after._replace(values=after.values.copy()))
            ready = [cut.part(each, 0, bounds[id(each.keys)]) for each in ready]
        self._waiting = rest
        for some in _stretches([each for each in ready if len(each.keys[0])]):
            self._compare(some)

    def _compare(self, parts: Sequence[_Waiting]) -> None:
        keys, columns = parts[0].keys, np.array([each.column for each in parts])
        if all(each.keys is keys for each in parts):  # as a rule: nothing is to be sorted
            layers, ranks = keys[2], len(parts)
            order = np.arange(ranks * len(layers)).reshape(ranks, -1).T.ravel()
            columns, starts = np.tile(columns, len(layers)), np.arange(0, len(order), ranks)
        else:
            keys = tuple(np.concatenate(some) for some in zip(*(each.keys for each in parts), strict=True))
            order = sorted_by(keys)
            new = np.ones(len(order), np.bool_)
            new[1:] = changes(tuple(key[order] for key in keys))
            starts = np.flatnonzero(new)
            columns, layers = columns.repeat([len(each.keys[0]) for each in parts])[order], keys[2][order[starts]]
        rows = _Ordered([each.values for each in parts], order)
        self._comparer.compare(Parts(self._ranks, columns, layers, rows, starts), self._layers.infos)


class _Cut:
    """Parts of ranks' rows; those of ranks that share their keys share them still."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, int], tuple[Ints, ...]] = {}

    def part(self, rows: _Waiting, begin: int, end: int) -> _Waiting:
        """The rows from a place to another."""
        which = id(rows.keys), begin, end
        if which not in self._made:
            self._made[which] = tuple(key[begin:end] for key in rows.keys)
        return _Waiting(rows.column, self._made[which], rows.values[:, begin:end])


def _distinct(rows: Sequence[_Waiting]) -> list[tuple[Ints, ...]]:
    """The keys of ranks, those that ranks share once."""
    return list({id(each.keys): each.keys for each in rows}.values())


def count_before(keys: tuple[Ints, ...], mark: tuple[int, int]) -> int:
    """How many rows are of passes and steps before a (pass, step)."""
    passes, steps, _ = keys
    return int(np.count_nonzero((passes < mark[0]) | ((passes == mark[0]) & (steps < mark[1]))))


def _stretches(ranks: Sequence[_Waiting]) -> Iterator[list[_Waiting]]:
    """The rows of ranks from step to step, as many steps as make `_COMPARED_ROWS` rows, one at least."""
    if not ranks:
        return
    distinct, sharing = _distinct(ranks), Counter(id(each.keys) for each in ranks)
    begins = []  # where steps begin
    for keys in distinct:
        new = np.ones(len(keys[0]), np.bool_)
        new[1:] = changes(keys[:2])
        begins.append(np.flatnonzero(new))
    passes, steps = (
        np.concatenate([keys[i][begin] for keys, begin in zip(distinct, begins, strict=True)]) for i in (0, 1)
    )
    counts = np.concatenate(
        [np.diff(begin, append=len(keys[0])) * sharing[id(keys)] for keys, begin in zip(distinct, begins, strict=True)]
    )
    order = sorted_by((passes, steps))
    new = np.zeros(len(order), np.int64)
    new[1:] = changes((passes[order], steps[order]))
    numbers = np.empty(len(order), np.int64)  # of each step among all
    numbers[order] = np.cumsum(new)
    rows = np.cumsum(np.bincount(numbers, counts))
    of_distinct = np.split(numbers, np.cumsum([len(begin) for begin in begins])[:-1])
    cut, first, done = _Cut(), 0, 0
    while first < len(rows):
        end = max(first + 1, int(rows.searchsorted(done + _COMPARED_ROWS, "right")))
        bounds = {}
        for keys, begin, own in zip(distinct, begins, of_distinct, strict=True):
            edges = np.append(begin, len(keys[0]))
            bounds[id(keys)] = tuple(int(edges[place]) for place in own.searchsorted([first, end]))
        parts = (cut.part(each, *bounds[id(each.keys)]) for each in ranks)
        yield [each for each in parts if len(each.keys[0])]
        first, done = end, int(rows[end - 1])
