"""The rows of ranks before they are merged, handed on step by step to who compares them with each other."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from fastact.diagnosis.ranks import COMPARED, Parts
from fastact.fields import ROW_DTYPE
from fastact.history import LayerInfo
from fastact.replay.blocks import BLOCK_ROWS, Ints, LayerNumbers, Rows
from fastact.replay.keyed import Column, Keyed, sorted_by

_DTYPE: Final = np.dtype([(name, ROW_DTYPE[name]) for name in COMPARED])


class Comparer(Protocol):
    """What takes them: a `Diagnoser`."""

    def compare(self, parts: Parts, infos: Sequence[LayerInfo]) -> None:
        """Takes the rows of some steps."""

    def remember(self, ranks: Sequence[int], column: int, layers: Ints, rows: Rows, infos: Sequence[LayerInfo]) -> None:
        """Takes the latest row of each layer on one rank."""


class _Waiting(NamedTuple):
    """Rows of one rank: pass, step and layer of each, and what is compared."""

    column: int
    keys: tuple[Ints, ...]
    values: dict[str, Column]


class Beside:
    """Keeps what is compared of each rank's rows until all ranks have passed their step."""

    def __init__(self, ranks: Sequence[int], layers: LayerNumbers, comparer: Comparer) -> None:
        self._ranks, self._layers, self._comparer = tuple(ranks), layers, comparer
        self._waiting: list[_Waiting] = []

    def add(self, column: int, table: Keyed) -> None:
        """Takes rows of the rank at this place among all."""
        numbers = table.keys[2]
        layers, from_end = np.unique(numbers[::-1], return_index=True)
        latest = table.take(len(numbers) - 1 - from_end).rows()
        self._comparer.remember(self._ranks, column, layers, latest, self._layers.infos)
        self._waiting.append(_Waiting(column, table.keys, {name: table.columns[name] for name in COMPARED}))

    def give(self, past: tuple[int, int] | None) -> None:
        """Hands on the rows of passes and steps before a (pass, step), or all."""
        ready, rest = [], []
        for each in self._waiting:
            passes, steps, _ = each.keys
            count = len(steps)
            if past is not None:  # a rank's own rows are in order
                count = int(np.count_nonzero((passes < past[0]) | ((passes == past[0]) & (steps < past[1]))))
            if count:
                ready.append(_part(each, slice(count)))
            if count < len(steps):
                rest.append(_part(each, slice(count, None)))
        self._waiting = rest
        if not ready:
            return
        passes, steps, numbers = (np.concatenate(keys) for keys in zip(*(each.keys for each in ready), strict=True))
        columns = np.repeat([each.column for each in ready], [len(each.keys[0]) for each in ready])
        order = sorted_by((passes, steps, numbers))
        passes, steps, numbers = passes[order], steps[order], numbers[order]
        new_step = np.ones(len(order), np.bool_)
        new_step[1:] = (passes[1:] != passes[:-1]) | (steps[1:] != steps[:-1])
        new_group = new_step.copy()
        new_group[1:] |= numbers[1:] != numbers[:-1]
        values = {name: np.concatenate([each.values[name] for each in ready]) for name in COMPARED}
        bounds = np.append(np.flatnonzero(new_step), len(order))
        begin = 0
        while begin < len(order):
            end = int(bounds[max(bounds.searchsorted(begin + BLOCK_ROWS, "right") - 1, bounds.searchsorted(begin) + 1)])
            rows = np.empty(end - begin, _DTYPE)
            for name in COMPARED:
                rows[name] = values[name][order[begin:end]]
            starts = np.flatnonzero(new_group[begin:end])
            parts = Parts(self._ranks, columns[order[begin:end]], numbers[begin:end][starts], rows, starts)
            self._comparer.compare(parts, self._layers.infos)
            begin = end


def _part(rows: _Waiting, which: slice) -> _Waiting:
    values = {name: column[which] for name, column in rows.values.items()}
    return _Waiting(rows.column, tuple(key[which] for key in rows.keys), values)
