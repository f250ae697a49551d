"""Ranks' rows beside each other: every row once, in whole steps, whatever the ranks have of them and when they come."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from replay_runs import random_rows

from fastact.diagnosis.ranks import COMPARED, Parts
from fastact.fields import ROW_DTYPE
from fastact.history import LayerInfo
from fastact.replay.beside import Beside
from fastact.replay.blocks import LayerNumbers
from fastact.replay.keyed import Alike

Ints = npt.NDArray[np.int64]
RANKS = (3, 5, 6, 9)
#: Of each rank the seed of its rows: those of the same seed have the same keys.
ALIKE, RAGGED = (0, 0, 0, 0), (0, 0, 1, 2)


class Collected:
    """Takes what a diagnoser would."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, int], list[tuple[int, bytes]]] = {}
        self.sizes: list[int] = []
        self.last: dict[tuple[int, int], int] = {}
        self.steps: list[int] = []

    def compare(self, parts: Parts, infos: Sequence[LayerInfo]) -> None:
        del infos
        assert parts.ranks == RANKS
        self.sizes.append(len(parts.columns))
        bounds = [*parts.starts.tolist(), len(parts.columns)]
        for layer, begin, end in zip(parts.layers.tolist(), bounds[:-1], bounds[1:], strict=True):
            (step,) = set(parts.rows["step"][begin:end].tolist())
            self.steps.append(step)
            assert (step, layer) not in self.found
            self.found[step, layer] = [
                (int(parts.columns[at]), b"".join(parts.rows[name][at].tobytes() for name in COMPARED))
                for at in range(begin, end)
            ]

    def remember(self, ranks: Sequence[int], column: int, layers: Ints, rows: Any, infos: Sequence[LayerInfo]) -> None:
        del infos
        assert tuple(ranks) == RANKS
        self.last |= {(column, layer): int(row["step"]) for layer, row in zip(layers.tolist(), rows, strict=True)}


def rows_of(seed: int, rank: int) -> npt.NDArray[np.void]:
    rows = np.array([row for _, row in random_rows(seed, range(30))], ROW_DTYPE)
    rows["mean"] += rank  # no two ranks have the same
    return rows


@pytest.mark.parametrize("seeds", [ALIKE, RAGGED])
@pytest.mark.parametrize("most", [1, 40, 1 << 17])
@pytest.mark.parametrize("batch", [7, 1000])
def test_every_row_is_compared_once_and_with_all_of_its_step(
    monkeypatch: pytest.MonkeyPatch, seeds: tuple[int, ...], most: int, batch: int
) -> None:
    monkeypatch.setattr("fastact.replay.beside._COMPARED_ROWS", most)
    tables = [rows_of(seed, rank) for rank, seed in enumerate(seeds)]
    layers, collected, alike = LayerNumbers(), Collected(), Alike()
    layers.infos += [
        LayerInfo(f"layer.{order}", order) for order in range(int(max(t["layer"].max() for t in tables)) + 1)
    ]
    beside = Beside(RANKS, layers, collected)
    places = [0] * len(RANKS)
    while any(place < len(table) for place, table in zip(places, tables, strict=True)):
        for column, table in enumerate(tables):
            part = table[places[column] : places[column] + batch]
            if len(part):
                columns = {name: np.ascontiguousarray(part[name]) for name in ROW_DTYPE.names or ()}
                keys = np.zeros(len(part), np.int64), columns["step"], columns["layer"]
                beside.add(column, alike.table(keys, columns))
            places[column] += len(part)
        left = [int(t["step"][place - 1]) for place, t in zip(places, tables, strict=True) if place < len(t)]
        beside.give((0, min(left)) if left else None)
        assert not left or all(step < min(left) for step in collected.steps)
    assert collected.steps == sorted(collected.steps)
    want: dict[tuple[int, int], list[tuple[int, bytes]]] = {}
    last = {}
    for column, table in enumerate(tables):
        for row in table:
            numbers = b"".join(row[name].tobytes() for name in COMPARED)
            want.setdefault((int(row["step"]), int(row["layer"])), []).append((column, numbers))
            last[column, int(row["layer"])] = int(row["step"])
    assert {key: sorted(found) for key, found in collected.found.items()} == want
    assert collected.last == last
    of_step = np.bincount([step for step, _ in want for _ in want[step, _]])
    assert max(collected.sizes) <= max(most, of_step.max())


def test_what_is_handed_on_is_not_held() -> None:
    layers, collected, alike = LayerNumbers(), Collected(), Alike()
    layers.infos += [LayerInfo(f"layer.{order}", order) for order in range(8)]
    beside = Beside(RANKS, layers, collected)
    table = rows_of(0, 0)
    columns = {name: np.ascontiguousarray(table[name]) for name in ROW_DTYPE.names or ()}
    keys = np.zeros(len(table), np.int64), columns["step"], columns["layer"]
    for column in range(len(RANKS)):
        beside.add(column, alike.table(keys, columns))
    beside.give((0, 28))
    held = [each.values for each in beside._waiting]
    assert len(held) == len(RANKS)
    assert all(values.base is None and values.shape[1] == np.count_nonzero(table["step"] >= 28) for values in held)
