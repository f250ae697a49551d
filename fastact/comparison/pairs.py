"""Rows of two runs side by side: those of the same layer in the same step.

Both runs are read once and at the same pace, so that what waits in memory is some blocks, however long they are.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from fastact.fields import ROW_BYTES, ROW_DTYPE
from fastact.replay.blocks import Block, Ints, Rows, sort_into_groups

#: A row as bytes.
_RAW: Final = np.dtype((np.void, ROW_BYTES))


class Pairs(NamedTuple):
    """Rows that belong together, sorted by layer and then by step: the layers' numbers, and the rows of either run."""

    layers: Ints
    a: Rows
    b: Rows

    def take(self, chosen: Ints | slice) -> "Pairs":
        """Some of them."""
        return Pairs(self.layers[chosen], self.a[chosen], self.b[chosen])


class _Side:
    """The rows of one run that are waiting for those of the other."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._blocks = iter(blocks)
        self._layers: list[Ints] = [np.zeros(0, np.int64)]
        #: As bytes: numpy copies structured rows field by field, in seven times the time.
        self._rows: list[Rows] = [np.zeros(0, _RAW)]
        #: The last step that was read; what comes before it is complete. None at the end.
        self.last: int | None = -1

    def read(self) -> None:
        """Reads a block more."""
        block = next(self._blocks, None)
        if block is None:
            self.last = None
        elif len(block.rows):
            assert self.last is not None
            self._layers.append(block.layers)
            self._rows.append(block.rows.view(_RAW).copy())
            self.last = max(self.last, int(block.rows["step"].max()))

    def take(self, first: int, end: int | None) -> tuple[Ints, Rows]:
        """Gives out the rows of the steps from `first` to before `end`, and drops those before `first`."""
        layers, rows = _joined(self._layers), _joined(self._rows)
        steps = rows.view(ROW_DTYPE)["step"]
        later = np.zeros(len(rows), np.bool_) if end is None else steps >= end
        self._layers, self._rows = [layers[later]], [rows[later]]
        # A run that was resumed goes through some steps again: the first time counts.
        wanted = ~later & (steps >= first)
        if not wanted.all():
            layers, rows = layers[wanted], rows[wanted]
        return layers, rows.view(ROW_DTYPE)


def _joined(parts: list[Any]) -> Any:
    return np.concatenate(parts) if len(parts) != 1 else parts[0]


def in_pairs(a: Iterable[Block], b: Iterable[Block], first: int = 0) -> Iterator[Pairs]:
    """Yields the rows that two runs have of the same layer in the same step, from step `first` on.

    Layers have the same numbers in both.
    """
    sides = _Side(a), _Side(b)
    while any(side.last is not None for side in sides):
        waiting = [side for side in sides if side.last is not None]
        slowest = min(waiting, key=lambda side: side.last or 0)
        slowest.read()
        marks = [side.last for side in sides if side.last is not None]
        end = min(marks) if marks else None
        if end is not None and end <= first:
            continue
        (layers_a, rows_a), (layers_b, rows_b) = (side.take(first, end) for side in sides)
        first = first if end is None else end
        if len(rows_a) and len(rows_b):
            yield _matched(layers_a, rows_a, layers_b, rows_b)


def _matched(layers_a: Ints, rows_a: Rows, layers_b: Ints, rows_b: Rows) -> Pairs:
    order_a, starts_a = sort_into_groups(layers_a, rows_a["step"])
    order_b, starts_b = sort_into_groups(layers_b, rows_b["step"])
    first_a, first_b = order_a[starts_a], order_b[starts_b]
    # One key for layer and step: the place of the pair among all pairs that there are.
    steps, places = np.unique(np.concatenate([rows_a["step"][first_a], rows_b["step"][first_b]]), return_inverse=True)
    keys_a = layers_a[first_a] * len(steps) + places[: len(first_a)]
    keys_b = layers_b[first_b] * len(steps) + places[len(first_a) :]
    at = np.searchsorted(keys_b, keys_a)
    at[at == len(keys_b)] = 0
    both = keys_b[at] == keys_a
    chosen_a, chosen_b = first_a[both], first_b[at[both]]
    a, b = (rows.view(_RAW)[chosen].view(ROW_DTYPE) for rows, chosen in ((rows_a, chosen_a), (rows_b, chosen_b)))
    return Pairs(layers_a[chosen_a], a, b)
