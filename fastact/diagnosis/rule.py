"""What every rule shares: what it is given, what it answers, and how numbers become words.

A rule is a small stateless object. It declares what it needs, names the row-wise conditions whose onset is to be
followed while rows arrive (`tracks`), and at diagnosis answers for one layer: a `Finding`, or why there is none.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.thresholds import Thresholds
from fastact.fields import COLUMN, ROW_DTYPE
from fastact.history import LayerInfo
from fastact.text import shown

__all__ = [
    "COLUMN",
    "Cells",
    "Chain",
    "Condition",
    "LayerView",
    "Network",
    "Outcome",
    "Row",
    "Rule",
    "Streak",
    "Track",
    "is_nan",
    "nothing_finite",
]

#: The numbers of `fields.ROW`, in that order.
Row = tuple[Any, ...]

_MEAN, _STD = COLUMN["mean"], COLUMN["std"]
_COUNT, _NEURONS, _WITHIN = COLUMN["count"], COLUMN["neurons"], COLUMN["within_std"]


class Outcome(Enum):
    """Why a rule made no finding. Unknown is not healthy, so the two are apart."""

    NOT_FOUND = "not found"
    NOT_ENOUGH_DATA = "not enough data"
    NOT_APPLICABLE = "not applicable"


#: The numbers of `fields.ROW` in that order: those of one row, or columns of them, each an array of shape (rows,).
Cells = Sequence[Any]

#: A condition of single rows as an expression that holds for numbers and arrays alike: comparisons of float64 and of
#: int64 with their own kind, joined by `&`, `|` and `~` of comparisons. No branches, no `and`, no `math`; an int64 that
#: meets a float64 is made one first (``1.0 * count``), since Python compares the two exactly and numpy does not.
Condition = Callable[[Cells], Any]


class Track(NamedTuple):
    """A condition of single rows whose onset is followed from the first row on, at a few comparisons a row.

    Attributes:
        name: unique among all rules.
        holds: whether a row fulfils it.
        patience: rows; a run ends after so many rows in which it did not hold; 0 stands for a whole window.
        lookback: rows; the condition speaks of the last so many rows, so a run began so many rows earlier.
    """

    name: str
    holds: Condition
    patience: int = 1
    lookback: int = 1


class Chain(NamedTuple):
    """Tracks from the widest to the narrowest: a row in which one does not hold is not asked for those after it.

    Attributes:
        tracks: a row that fulfils one fulfils all before it.
        unknown: whether a row says neither yes nor no to any of them: a run that is under way then goes on.
    """

    tracks: tuple[Track, ...]
    unknown: Condition | None = None


def is_nan(value: Any) -> Any:
    """Whether a float64 is NaN, or which ones of an array are."""
    return value != value  # noqa: PLR0124 - holds for numbers and arrays alike


def nothing_finite(cells: Cells) -> Any:
    """Whether a row has no finite element: a `Condition`."""
    return is_nan(cells[_MEAN])


class Streak(NamedTuple):
    """A run of rows in which a track held: the step at which it began, and its length in rows."""

    step: int
    rows: int


@dataclass(frozen=True, slots=True)
class LayerView:
    """One layer as a rule sees it.

    Attributes:
        info: what is known of it besides its numbers.
        rows: structured array of `fields.ROW_DTYPE`: its rows in the window, at least one, oldest first.
        start: the step of its first row ever.
        first: its first row with finite elements; its first row where none has any.
        streaks: the current run of each track that holds now.
        place: its place in `Network.layers`.
    """

    info: LayerInfo
    rows: npt.NDArray[np.void]
    start: int
    first: Row
    streaks: Mapping[str, Streak]
    place: int

    @property
    def name(self) -> str:
        """The layer's name and type as a sentence names them."""
        layer_type = f" ({shown(self.info.layer_type)})" if self.info.layer_type else ""
        return shown(self.info.name) + layer_type

    def during(self, streak: Streak) -> npt.NDArray[np.void]:
        """The rows of a run that are still in the window."""
        return self.rows[-min(streak.rows, len(self.rows)) :]


class Network:
    """All layers in forward order, and what is compared between them: medians over each layer's recent rows.

    Attributes:
        layers: those that have rows, in forward order; `LayerView.place` is the place in this list.
        layer_types, distinct_types: the layers' types, and the set of them.
        rms: for each layer the root mean square of its outputs; NaN where unknown.
        signal: for each layer what its samples differ by: the standard deviation within a neuron over the samples,
            or over all elements where no layer was swept per neuron. NaN where unknown.
        saturated: for each layer the share of saturated elements over its recent rows.
        range: for each layer the largest rms of the whole window over the smallest that is not zero; NaN where unknown.
        swing: the same of its recent rows.
        wander: for each layer the largest mean of its recent rows less the smallest, in units of their smallest
            standard deviation; NaN where unknown.
        output: the place of the network's output layer; -1 with a single layer.
        lost_from: the first place from which on the signal is lost for good, once `Vanishing` has looked.
        experts: the layers of experts by what their names share, once `rules.experts` has looked.
    """

    def __init__(self, layers: Sequence[LayerView], thresholds: Thresholds) -> None:
        self.layers = layers
        self.layer_types = [layer.info.layer_type for layer in layers]
        self.distinct_types = frozenset(self.layer_types)
        self.lost_from: int | None = None
        self.experts: dict[tuple[str, str], list[LayerView]] | None = None
        self.output = -1
        if len(layers) > 1:
            self.output = len(layers) - 1
            while self.output > 0:
                last = self.layer_types[self.output]
                if not (last in layer_types.PROBABILITIES or layer_types.is_passing(last)):
                    break
                self.output -= 1
        self.rms: list[float] = []
        self.signal: list[float] = []
        self.saturated: list[float] = []
        self.range: list[float] = []
        self.swing: list[float] = []
        self.wander: list[float] = []
        if layers:
            self._compare(thresholds)
            self._span()

    def _compare(self, thresholds: Thresholds) -> None:
        tails = [layer.rows[-thresholds.recent_rows :] for layer in self.layers]
        lengths = np.array([len(tail) for tail in tails])
        starts = np.cumsum(lengths) - lengths
        # np.concatenate would compare the dtypes of structured arrays field by field, for each layer anew.
        rows = np.empty(int(lengths.sum()), ROW_DTYPE)
        for start, tail in zip(starts.tolist(), tails, strict=True):
            rows[start : start + len(tail)] = tail
        count = rows["count"].astype(np.float64)
        neurons = rows["neurons"]
        swept = neurons > 0
        with np.errstate(all="ignore"):
            total = np.add.reduceat(count, starts)
            share = np.add.reduceat(rows["saturated"].astype(np.float64), starts) / total
            rms = np.hypot(rows["mean"], rows["std"])
            if swept.any():
                few = count < thresholds.vanish_samples * neurons.astype(np.float64)
                signal = np.where(swept & ~few, rows["within_std"], np.nan)
            else:
                signal = rows["std"].copy()
            mean, std = rows["mean"], np.where(rows["std"] > 0.0, rows["std"], np.nan)
            way = np.fmax.reduceat(mean, starts) - np.fmin.reduceat(mean, starts)
            self.wander = (way / np.fmin.reduceat(std, starts)).tolist()
            positive = np.where(rms > 0.0, rms, np.nan)
            self.swing = (np.fmax.reduceat(positive, starts) / np.fmin.reduceat(positive, starts)).tolist()
        self.saturated = np.where(total > 0, share, 0.0).tolist()
        self.rms = _medians(rms, starts, lengths)
        self.signal = _medians(signal, starts, lengths)

    def _span(self) -> None:
        lengths = np.array([len(layer.rows) for layer in self.layers])
        mean = np.concatenate([layer.rows["mean"] for layer in self.layers])
        std = np.concatenate([layer.rows["std"] for layer in self.layers])
        with np.errstate(all="ignore"):
            rms = np.hypot(mean, std)
            rms[~(rms > 0.0)] = np.nan
            starts = np.cumsum(lengths) - lengths
            span = np.fmax.reduceat(rms, starts) / np.fmin.reduceat(rms, starts)
        self.range = span.tolist()


def _medians(values: npt.NDArray[np.float64], starts: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> list[float]:
    """The lower median of each group's values that are not NaN; NaN for a group without any."""
    table = np.full((len(starts), int(lengths.max())), np.nan)
    table[np.arange(table.shape[1]) < lengths[:, None]] = values
    table.sort(axis=1)  # NaN last
    known = np.count_nonzero(~np.isnan(table), axis=1)
    return table[np.arange(len(table)), np.maximum(known - 1, 0) // 2].tolist()  # type: ignore[no-any-return]


def row_rms(row: Row) -> float:
    """The root mean square of a row's finite elements; NaN where there is none."""
    return math.hypot(row[_MEAN], row[_STD])


def rms(rows: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    """The root mean square of the finite elements of each row; NaN where there is none."""
    with np.errstate(all="ignore"):
        result: npt.NDArray[np.float64] = np.hypot(rows["mean"], rows["std"])
    return result


def row_signal(row: Row, thresholds: Thresholds) -> float:
    """What a row's samples differ by, as in `Network.signal`, from this row alone; NaN where unknown."""
    neurons = row[_NEURONS]
    if not neurons:
        return float(row[_STD])
    return float(row[_WITHIN]) if row[_COUNT] >= thresholds.vanish_samples * neurons else math.nan


class Rule(Protocol):
    """A condition: its name, what it needs, what it follows row by row, and what it says of a layer."""

    @property
    def condition(self) -> str:
        """The name of the condition."""
        ...

    def applies(self, info: LayerInfo) -> bool:
        """Whether a layer of this type can have the condition."""
        ...

    def needs(self, thresholds: Thresholds) -> int:
        """How many rows of a layer are needed."""
        ...

    def tracks(self, info: LayerInfo, first: Row, thresholds: Thresholds) -> tuple[Chain, ...]:
        """What to follow while rows arrive; `first` is the layer's first row that has finite elements."""
        ...

    def check(self, layer: LayerView, network: Network, thresholds: Thresholds) -> Finding | Outcome:
        """The finding for one layer, or why there is none. Called with at least `needs` rows."""
        ...
