"""Ranks beside each other: in each step, one rank's rows of a layer against those of all ranks.

Ranks that train one network see parts of one batch, so that their rows of a layer differ by noise alone. What is kept
is bounded by layers times ranks, whatever the number of steps: the last row of each, and for each kind of difference
since when it has held.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.rank_differences import BITS, EXACT, KINDS, MOMENTS, Limits, differences, unlike_most
from fastact.fields import ROW_DTYPE
from fastact.history import LayerInfo

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.void]

#: Rows without NaN and Inf after which a new one is another one.
_CLEAN_ROWS: Final = 100
#: Moments of equal tensors may differ by so much, where the sweeps were shared out to other numbers of threads.
_ROUNDING: Final = 1e-12
#: The fields of a row that are compared.
COMPARED: Final = (
    "step", "count", "nans", "pos_infs", "neg_infs", "zeros", "mean", "std", "abs_mean", "min", "max", "neurons",
    "dead_neurons", "bit_sum",
)  # fmt: skip
_NUMBERS: Final = ("count", "mean", "std", "neurons", "dead_neurons")


class Numbers(Protocol):
    """Numbers of rows by name."""

    def __getitem__(self, name: str, /) -> npt.NDArray[Any]:
        """Those of this name, shape (rows,)."""


class Parts(NamedTuple):
    """Rows of several ranks before they were merged.

    Attributes:
        ranks: the ranks that there are; entries of `columns` are places here.
        columns: for each row the place of its rank, int64[rows].
        layers: for each group the number of its layer, int64[groups].
        rows: the rows' numbers by the names in `COMPARED`, each as an array of shape (rows,), such as a structured
            array has; of group i, of one layer in one step, those from ``starts[i]`` to ``starts[i + 1]``.
        starts: int64[groups].
    """

    ranks: tuple[int, ...]
    columns: Ints
    layers: Ints
    rows: Numbers
    starts: Ints


class Born(NamedTuple):
    """When a layer last began to have NaN or Inf, on which ranks, and of how many."""

    step: int
    ranks: tuple[int, ...]
    of: int


class Unequal(NamedTuple):
    """Since when copies differ, on which ranks (all where most do), of how many; how often they were equal again."""

    step: int
    ranks: tuple[int, ...]
    of: int
    again: int


class Difference(NamedTuple):
    """One rank that differs in one way: since when, for how many rows, its number and the median of all."""

    rank: int
    step: int
    rows: int
    own: float
    usual: float


class _Layer:
    """What is kept of one layer that several ranks have."""

    __slots__ = ("again", "born", "info", "last_bad", "rows", "unequal", "was_equal")

    def __init__(self, info: LayerInfo) -> None:
        self.info = info
        #: Steps seen, and the one among them (from 1) in which NaN or Inf was last seen.
        self.rows, self.last_bad = 0, -_CLEAN_ROWS
        self.born: Born | None = None
        self.unequal: Unequal | None = None
        self.was_equal, self.again = False, 0


class RankTable:
    """All ranks' rows against each other, step by step.

    Args:
        limits: from where a difference counts.

    Attributes:
        ranks: the ranks that were seen, in the order of the columns here.
    """

    def __init__(self, limits: Limits) -> None:
        self.ranks: tuple[int, ...] = ()
        self._limits = limits
        self._places: dict[str, int] = {}
        self._layers: list[_Layer] = []
        #: The place here of each layer by its number among these.
        self._numbered: tuple[Sequence[LayerInfo], Ints] = (), np.zeros(0, np.int64)
        #: The last row of each layer on each rank; and of each kind how long it has held, since when, and how far.
        self._last = np.zeros((0, 0), ROW_DTYPE)
        self._runs: dict[str, Ints] = {kind: np.zeros((0, 0), np.int64) for kind in KINDS}
        self._since: dict[str, Ints] = {kind: np.zeros((0, 0), np.int64) for kind in KINDS}
        self._values: dict[str, tuple[Floats, Floats]] = {kind: (np.zeros((0, 0)), np.zeros((0, 0))) for kind in KINDS}

    def add(self, parts: Parts, infos: Sequence[LayerInfo]) -> None:
        """Takes rows in the order of their steps; `infos` has the layers by their numbers."""
        if not len(parts.starts):
            return
        places = self._make_room(parts.ranks, infos)
        columns = self._columns(parts.ranks)[parts.columns]
        sizes = np.diff(parts.starts, append=len(parts.columns))
        of_group = places[parts.layers]
        seen = np.bincount(of_group, minlength=len(self._layers))
        if sizes.max() > 1:
            self._find_births(parts, columns, of_group, sizes)
            self._compare_copies(parts, columns, of_group, sizes)
            self._compare(parts, columns, of_group, sizes)
        for place in np.flatnonzero(seen).tolist():
            self._layers[place].rows += int(seen[place])

    def remember(self, ranks: Sequence[int], column: int, layers: Ints, rows: Rows, infos: Sequence[LayerInfo]) -> None:
        """Takes the latest row of each of some layers on the rank at this place among all; before their `add`."""
        places = self._make_room(tuple(ranks), infos)
        same = ranks is self.ranks  # thousands of them are compared for each of thousands otherwise
        self._last[places[layers], column if same else self._columns(tuple(ranks))[column]] = rows

    def _columns(self, ranks: tuple[int, ...]) -> Ints:
        if ranks is self.ranks or ranks == self.ranks:
            return np.arange(len(ranks))
        where = {rank: column for column, rank in enumerate(self.ranks)}
        return np.array([where[rank] for rank in ranks], np.int64)

    def _make_room(self, ranks: tuple[int, ...], infos: Sequence[LayerInfo]) -> Ints:
        """The place here of each layer by its number."""
        if ranks is not self.ranks and ranks != self.ranks:
            there = set(self.ranks)
            self.ranks = self.ranks + tuple(rank for rank in ranks if rank not in there) if there else ranks
        known, places = self._numbered
        if infos is not known or len(infos) != len(places):
            for info in infos:
                if info.name not in self._places:
                    self._places[info.name] = len(self._layers)
                    self._layers.append(_Layer(info))
            places = np.array([self._places[info.name] for info in infos], np.int64)
            self._numbered = infos, places
        if len(self._layers) > len(self._last) or len(self.ranks) > self._last.shape[1]:
            room = len(self._last)
            shape = (room if room >= len(self._layers) else max(2 * room, len(self._layers)), len(self.ranks))
            self._last = _grown(self._last, shape)
            for kind in KINDS:
                self._runs[kind], self._since[kind] = _grown(self._runs[kind], shape), _grown(self._since[kind], shape)
                own, usual = self._values[kind]
                self._values[kind] = _grown(own, shape), _grown(usual, shape)
        return places

    def _find_births(self, parts: Parts, columns: Ints, of_group: Ints, sizes: Ints) -> None:
        rows = parts.rows
        bad = (rows["nans"] | rows["pos_infs"]) != 0
        below = rows["neg_infs"] != 0
        if below.any():
            masked = np.array([layer.info.layer_type in layer_types.MASKED for layer in self._layers])
            bad |= below & ~np.repeat(masked[of_group], sizes)
        if not bad.any():
            return
        found = np.add.reduceat(bad, parts.starts, dtype=np.int64)
        for place in np.unique(of_group[found > 0]).tolist():
            layer, mine = self._layers[place], np.flatnonzero(of_group == place)
            numbers = layer.rows + 1 + np.flatnonzero(found[mine])
            groups = mine[found[mine] > 0]
            begins = np.flatnonzero(np.diff(numbers, prepend=layer.last_bad) > _CLEAN_ROWS)
            if len(begins):
                group = int(groups[begins[-1]])
                start, size = int(parts.starts[group]), int(sizes[group])
                on = columns[start : start + size][bad[start : start + size]]
                layer.born = Born(int(rows["step"][start]), tuple(sorted(self.ranks[at] for at in on.tolist())), size)
            layer.last_bad = int(numbers[-1])

    def _compare_copies(self, parts: Parts, columns: Ints, of_group: Ints, sizes: Ints) -> None:
        """Parameters that every rank has whole: once equal, they should stay so."""
        whole = np.array([_is_copy(layer.info) for layer in self._layers])
        chosen = np.flatnonzero(whole[of_group] & (sizes > 1))
        if not len(chosen):
            return
        of_rows = np.repeat(parts.starts, sizes)
        same = np.ones(len(columns), np.bool_)
        for name in EXACT:
            values = parts.rows[name].view(np.int64)
            same &= values == values[of_rows]
        for name in MOMENTS:
            values = parts.rows[name]
            first = values[of_rows]
            with np.errstate(invalid="ignore"):
                near = np.abs(values - first) <= _ROUNDING * np.abs(first)
            same &= near | (np.isnan(values) & np.isnan(first))
        equal = np.logical_and.reduceat(same, parts.starts)
        bits = parts.rows[BITS]
        taken = np.logical_and.reduceat(bits != 0, parts.starts)
        if taken.any():  # equal to the last bit, or not, whatever rounding made of the moments
            alike = (bits == bits[of_rows]) & (parts.rows["count"] == parts.rows["count"][of_rows])
            equal = np.where(taken, np.logical_and.reduceat(alike, parts.starts), equal)
        for group in chosen.tolist():
            layer = self._layers[of_group[group]]
            if equal[group]:
                layer.again += layer.unequal is not None
                layer.was_equal, layer.unequal = True, None
            elif layer.was_equal and layer.unequal is None:
                start, size = int(parts.starts[group]), int(sizes[group])
                names = (*EXACT, *MOMENTS, BITS)
                others = unlike_most({name: parts.rows[name][start : start + size] for name in names})
                ranks = tuple(sorted(self.ranks[at] for at in columns[start : start + size][others].tolist()))
                layer.unequal = Unequal(int(parts.rows["step"][start]), ranks, size, layer.again)

    def _compare(self, parts: Parts, columns: Ints, of_group: Ints, sizes: Ints) -> None:
        judged = np.array([_is_output(layer.info) for layer in self._layers])
        is_input = np.array([layer.info.layer_type == layer_types.INPUT for layer in self._layers])
        rows = parts.rows
        #: Of the kinds that any row has: whether it holds, the rank's number, and the median.
        kinds: dict[str, tuple[Bools, Floats, Floats]] = {}
        decided = np.zeros(len(columns), np.bool_)
        for size in np.unique(sizes).tolist():
            groups = np.flatnonzero((sizes == size) & judged[of_group])
            if size < 2 or not len(groups):
                continue
            at = (parts.starts[groups][:, None] + np.arange(size)).ravel()
            whole = len(at) == len(columns)
            columns_of = {name: _matrix(rows[name], at, size, whole=whole) for name in _NUMBERS}
            found = differences(columns_of, is_input[of_group[groups]], self._limits)
            decided[at] = found.decided.ravel()
            for kind, (which, mine, others) in found.kinds.items():
                if which.any():
                    if kind not in kinds:
                        kinds[kind] = np.zeros(len(columns), np.bool_), np.zeros(len(columns)), np.zeros(len(columns))
                    holds, own, usual = kinds[kind]
                    holds[at], own[at] = which.ravel(), mine.ravel()
                    usual[at] = np.broadcast_to(others, which.shape).ravel()
        of_rows = np.repeat(of_group, sizes)
        steps = rows["step"]
        of_groups = steps[parts.starts]
        bounds = np.flatnonzero(np.diff(of_groups, prepend=of_groups[0] - 1))
        begins = [*parts.starts[bounds].tolist(), len(columns)]
        nothing = np.zeros(len(columns), np.bool_), np.zeros(0), np.zeros(0)
        for kind in KINDS:
            if kind not in kinds and not self._runs[kind].any():
                continue
            holds, own, usual = kinds.get(kind, nothing)
            runs, since, (mine, others) = self._runs[kind], self._since[kind], self._values[kind]
            for begin, end in pairwise(begins):
                which, known = holds[begin:end], decided[begin:end]
                cells = of_rows[begin:end], columns[begin:end]
                before = runs[cells]
                since[cells] = np.where(which & (before == 0), steps[begin:end], since[cells])
                runs[cells] = np.where(which, before + 1, np.where(known, 0, before))
                if kind in kinds:
                    hit = of_rows[begin:end][which], columns[begin:end][which]
                    mine[hit], others[hit] = own[begin:end][which], usual[begin:end][which]

    def of(self, name: str) -> int:
        """How many ranks have a layer."""
        place = self._places.get(name)
        return 0 if place is None else int(np.count_nonzero(self._last["count"][place]))

    def born(self, name: str) -> Born | None:
        """When a layer last began to have NaN or Inf."""
        place = self._places.get(name)
        return None if place is None else self._layers[place].born

    def unequal(self, name: str) -> Unequal | None:
        """Since when the copies of a parameter differ; None where they are equal, or never were."""
        place = self._places.get(name)
        return None if place is None else self._layers[place].unequal

    def equal_copies(self, ranks: Sequence[int]) -> bool:
        """Whether there are parameters of which all ranks have equal copies, and none of which these ranks have not."""
        layers = [layer for layer in self._layers if _is_copy(layer.info)]
        other = any(layer.unequal is not None and set(layer.unequal.ranks) & set(ranks) for layer in layers)
        return any(layer.was_equal for layer in layers) and not other

    def differing(self, name: str, kind: str, rows: int) -> list[Difference]:
        """The ranks that have differed in this way for so many rows, by rank."""
        place = self._places.get(name)
        if place is None:
            return []
        runs, since, (own, usual) = self._runs[kind][place], self._since[kind][place], self._values[kind]
        found = [
            Difference(self.ranks[at], int(since[at]), int(runs[at]), float(own[place, at]), float(usual[place, at]))
            for at in np.flatnonzero(runs >= rows).tolist()
        ]
        return sorted(found)

    def last(self, name: str) -> tuple[tuple[int, ...], Rows]:
        """The ranks that have a layer, and the last row of each."""
        place = self._places.get(name)
        if place is None:
            return (), np.zeros(0, ROW_DTYPE)
        there = np.flatnonzero(self._last["count"][place])
        return tuple(self.ranks[at] for at in there.tolist()), self._last[place, there]


def _is_copy(info: LayerInfo) -> bool:
    """Whether each rank has the same of a layer: parameters are, unless each has a part of its own (FSDP)."""
    return info.layer_type == layer_types.PARAMETER and not (info.facts or {}).get("part")


def _is_output(info: LayerInfo) -> bool:
    """Whether the rows of a layer are of one scale on all ranks: those of outputs and inputs in training."""
    group = layer_types.group_of(info.layer_type, info.mode)
    return group == layer_types.LAYERS and not info.sparse


def _matrix(column: npt.NDArray[Any], at: Ints, size: int, *, whole: bool) -> npt.NDArray[Any]:
    return (np.ascontiguousarray(column) if whole else column[at]).reshape(-1, size)


def _grown(array: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[Any]:
    larger = np.zeros(shape, array.dtype)
    larger[: array.shape[0], : array.shape[1]] = array
    return larger
