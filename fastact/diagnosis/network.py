"""What a rule sees: one layer's rows (`LayerView`), and all layers with what is compared between them (`Network`)."""

import math
from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.experts import expert_of, side_by_side
from fastact.diagnosis.ranks import RankTable
from fastact.diagnosis.row_conditions import Row, Streak
from fastact.estimates import share_swept
from fastact.fields import COLUMN, ROW_DTYPE
from fastact.history import LayerInfo
from fastact.text import percent, shown

_STEP, _MEAN, _STD = COLUMN["step"], COLUMN["mean"], COLUMN["std"]
_COUNT, _NEURONS, _WITHIN = COLUMN["count"], COLUMN["neurons"], COLUMN["within_std"]

_T = TypeVar("_T")
#: What was not computed yet.
_NEW: Final[Any] = object()


@dataclass(slots=True, eq=False)  # frozen, it would take four times as long to make
class LayerView:
    """One layer as a rule sees it, which changes nothing of it.

    Attributes:
        info: its name, type and dtype.
        rows: structured array of `fields.ROW_DTYPE`: its rows in the window, at least one, oldest first.
        last: the last of them.
        oldest: the step of the first of them.
        start: the step of its first row ever.
        first: its first row with finite elements; its first row where none has any.
        streaks: the current run of each row condition that holds now, by its name.
        place: its place in `Network.layers`.
        part: whether only a share of the samples was swept in some of `rows`.
    """

    info: LayerInfo
    rows: npt.NDArray[np.void]
    last: Row
    oldest: int
    start: int
    first: Row
    streaks: Mapping[str, Streak]
    place: int
    part: bool = False

    @property
    def name(self) -> str:
        """The layer's name and type as a message shows them: ``encoder.3 (Tanh)``."""
        layer_type = f" ({shown(self.info.layer_type)})" if self.info.layer_type else ""
        return shown(self.info.name) + layer_type

    @property
    def elements(self) -> str:
        """What a message calls its elements: "outputs", or "values" of a gradient or an input."""
        return "values" if self.info.layer_type in (layer_types.GRADIENT, layer_types.INPUT) else "outputs"

    @property
    def looked_at(self) -> str:
        """What a message adds where only a share of the samples was swept; "" where all were."""
        if not self.part:
            return ""
        return f" ({percent(share_swept(self.rows))} of the samples of each step were looked at)"

    @property
    def stride(self) -> float:
        """The steps from one row to the next, on average over the window."""
        return float(self.last[_STEP] - self.oldest) / max(len(self.rows) - 1, 1)

    def during(self, streak: Streak) -> npt.NDArray[np.void]:
        """The rows of a run that are still in the window."""
        return self.rows[-min(streak.rows, len(self.rows)) :]

    def since(self, step: int) -> npt.NDArray[np.void]:
        """The rows from a step on."""
        return self.rows[self.rows["step"].searchsorted(step) :]


class Recent(NamedTuple):
    """Rows at the end of each layer: where they are in `Network.table`, and where each layer's begin among them."""

    at: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


class Network:
    """All layers in forward order, and what is compared between them: medians over each layer's recent rows.

    Args:
        layers: those that have rows, in forward order.
        recent_rows: rows at the end of the window that count as now.
        min_samples: samples of each neuron; a row with fewer has no `signal`.
        table: the rows of all layers, one layer after the other, where they are at hand.

    Attributes:
        layers: as given; `LayerView.place` is the place in this list.
        table: the rows of all layers, one layer after the other: what is asked of each is asked of all at once, in a
            tenth of the time.
        lengths, starts: how many rows each layer has, and where in `table` they begin.
        layer_types, distinct_types: the layers' types, and the set of them.
        rms: for each layer the root mean square of its outputs; NaN where unknown.
        signal: for each layer the spread between its samples: the standard deviation within a neuron over the samples,
            or over all elements where no layer was swept per neuron. NaN where unknown.
        elements, saturated: for each layer how many elements its recent rows have, and the share of saturated ones.
        range: for each layer the largest rms of the whole window over the smallest that is not zero; NaN where unknown.
        moments: the means, standard deviations and root mean squares of the rows in `table`.
        output: the place of the network's output layer; -1 with a single layer.
        everything: all that has rows, by name: these layers, gradients, and the same layers in evaluation.
        unseen: what was watched and not recorded, by name, with the reason.
        ranks: the ranks beside each other, where several were merged; else None.
    """

    def __init__(
        self,
        layers: Sequence[LayerView],
        *,
        recent_rows: int,
        min_samples: int,
        everything: Mapping[str, LayerView] | None = None,
        unseen: Mapping[str, str] | None = None,
        table: npt.NDArray[np.void] | None = None,
        ranks: RankTable | None = None,
    ) -> None:
        self.layers = layers
        self.ranks = ranks
        self.unseen = unseen or {}
        self.everything = everything or {view.info.name: view for view in layers}
        self._places = {view.info.name: view.place for view in layers}
        self.layer_types = [layer.info.layer_type for layer in layers]
        self.distinct_types = frozenset(self.layer_types)
        self._known: dict[Any, Any] = {}
        self._feeders: dict[int, LayerView | None] = {}
        self.output = -1
        if len(layers) > 1:
            self.output = len(layers) - 1
            while self.output > 0:
                last = self.layer_types[self.output]
                if not (last in layer_types.PROBABILITIES or layer_types.is_passing(last)):
                    break
                self.output -= 1
        unknown: list[float] = []
        self.rms = self.signal = self.saturated = self.range = self.elements = unknown
        self.moments = np.empty(0), np.empty(0), np.empty(0)
        self.lengths = self.starts = np.empty(0, np.int64)
        self.table = table if table is not None else np.concatenate([np.empty(0, ROW_DTYPE), *(v.rows for v in layers)])
        if layers:
            self._compare(recent_rows, min_samples)

    def once(self, compute: Callable[..., _T], *args: Any) -> _T:
        """`compute(self, *args)`, computed once for all layers: rules keep no state, so what they share is kept here.

        The result is kept under `compute`, so `args` have to be equal each time: the thresholds of this diagnosis.
        """
        known: _T = self._known.get(compute, _NEW)
        if known is _NEW:  # some 15 are asked for of each layer, so what is known is looked up once
            known = self._known[compute] = compute(self, *args)
        return known

    def once_for(self, compute: Callable[..., _T], *args: Any) -> _T:
        """`compute(self, *args)`, computed once for equal `args`: for what few of them stand for many layers."""
        which = compute, args
        known: _T = self._known.get(which, _NEW)
        if known is _NEW:
            known = self._known[which] = compute(self, *args)
        return known

    def once_alike(self, alike: Hashable, compute: Callable[..., _T], *args: Any) -> _T:
        """`compute(*args)`, computed once for all calls that are `alike`: of many layers the same can be said.

        `alike` has all that `compute` asks of its arguments and that may differ from call to call.
        """
        which = compute, alike
        known: _T = self._known.get(which, _NEW)
        if known is _NEW:
            known = self._known[which] = compute(*args)
        return known

    def recent(self, rows: int) -> Recent:
        """The last rows of each layer, at most so many."""
        lengths = np.minimum(self.lengths, rows)
        starts = np.cumsum(lengths) - lengths
        at = np.repeat(self.starts + self.lengths - lengths - starts, lengths) + np.arange(lengths.sum())
        return Recent(at, starts, lengths)

    @property
    def input(self) -> LayerView | None:
        """The model's own input, where it was recorded."""
        first = self.layers[0] if self.layers else None
        return first if first is not None and first.info.layer_type == layer_types.INPUT else None

    def feeder(self, layer: LayerView) -> LayerView | None:
        """The layer that gave this one its input: the one that was seen to, or the one before it; None for the first.

        Which layer it was is seen where the output of one is the input of the other; what functions and sums lie
        between hides it.
        """
        at = layer.place
        found: LayerView | None = self._feeders.get(at, _NEW)
        if found is _NEW:  # several rules ask
            place = self._places.get(layer.info.source, at - 1)
            own = expert_of(layer.info.name)
            if own is not None and place >= 0:
                place = self.once(_Experts.of).before(own, place)
            found = self._feeders[at] = self.layers[place] if 0 <= place < at else None
        return found

    def begun(self, *conditions: str) -> set[int]:
        """The places of the layers in which one of these row conditions holds now."""
        running = self.once(_running)
        return {place for name in conditions for place in running.get(name, ())}

    def evaluation(self, layer: LayerView) -> LayerView | None:
        """The rows of a layer in evaluation mode, where they were recorded; None for those rows themselves."""
        return None if layer.info.mode else self.once(_evaluations).get(layer_types.without_mode(layer.info.name))

    def gradient(self, layer: LayerView) -> LayerView | None:
        """The gradient of the loss by a layer's output, where it was recorded."""
        return self.everything.get(layer.info.name + layer_types.GRADIENT_SUFFIX)

    def typed(self, layer_type: str) -> list[LayerView]:
        """All that has rows and is of a type, in any mode: losses, targets, optimisers, parameters."""
        return self.once(_by_type).get(layer_type, [])

    @property
    def outputs(self) -> list[LayerView]:
        """The layers in training, in forward order, whatever group of rows is judged."""
        return self.once(_outputs)

    def scale(self, layer: LayerView) -> npt.NDArray[np.float64]:
        """The root mean square of the finite elements in each row of one of the layers; NaN where there is none."""
        start = int(self.starts[layer.place])
        return self.moments[2][start : start + len(layer.rows)]

    def _compare(self, recent_rows: int, min_samples: int) -> None:
        self.lengths = whole = np.array([len(layer.rows) for layer in self.layers])
        self.starts = np.cumsum(whole) - whole
        recent, starts, lengths = self.recent(recent_rows)
        # A field at a time: numpy copies structured rows in several times the time.
        mean, std, saturated, within = (self.table[name] for name in ("mean", "std", "saturated", "within_std"))
        count, neurons = self.table["count"][recent].astype(np.float64), self.table["neurons"][recent]
        swept = neurons > 0
        with np.errstate(all="ignore"):
            total = np.add.reduceat(count, starts)
            share = np.add.reduceat(saturated[recent].astype(np.float64), starts) / total
            if swept.any():
                few = count < min_samples * neurons.astype(np.float64)
                signal = np.where(swept & ~few, within[recent], np.nan)
            else:
                signal = std[recent]
            scale = np.hypot(mean, std)
            self.range = _spans(scale, self.starts)
            self.moments = mean, std, scale
        self.saturated = np.where(total > 0, share, 0.0).tolist()
        self.elements = total.tolist()
        self.rms = medians(scale[recent], starts, lengths)
        self.signal = medians(signal, starts, lengths)


class _Experts(NamedTuple):
    """The experts among the layers: of each place; where the stretch of its mixture begins; and the places of each."""

    at: list[tuple[str, str] | None]
    begins: list[int]
    places: dict[tuple[str, str], list[int]]

    @classmethod
    def of(cls, network: Network) -> "_Experts":
        at = [expert_of(layer.info.name) for layer in network.layers]
        begins: list[int] = []
        places: dict[tuple[str, str], list[int]] = {}
        for place, own in enumerate(at):
            previous = at[place - 1] if place else None
            goes_on = own is not None and previous is not None and own[0] == previous[0]
            begins.append(begins[-1] if goes_on else place)
            if own is not None:
                places.setdefault(own, []).append(place)
        return cls(at, begins, places)

    def before(self, own: tuple[str, str], place: int) -> int:
        """The last place up to `place` that is no part of another expert of the same mixture; -1 where there is none.

        Thousands of siblings may lie between.
        """
        if not side_by_side(own, self.at[place]):
            return place
        places = self.places.get(own, [])
        index = bisect_right(places, place)
        return max(self.begins[place] - 1, places[index - 1] if index else -1)


def _running(network: Network) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for layer in network.layers:
        for name in layer.streaks:
            found.setdefault(name, []).append(layer.place)
    return found


def _by_type(network: Network) -> dict[str, list[LayerView]]:
    found: dict[str, list[LayerView]] = {}
    for view in network.everything.values():
        found.setdefault(view.info.layer_type, []).append(view)
    return found


def _outputs(network: Network) -> list[LayerView]:
    views = network.everything.values()
    layers = (v for v in views if layer_types.group_of(v.info.layer_type, v.info.mode) == layer_types.LAYERS)
    return sorted(layers, key=lambda view: view.info.order)


def _evaluations(network: Network) -> dict[str, LayerView]:
    everything = network.everything.items()
    return {layer_types.without_mode(name): view for name, view in everything if view.info.mode}


def _spans(values: npt.NDArray[np.float64], starts: npt.NDArray[Any]) -> list[float]:
    """The largest value of each group over the smallest that is above zero; NaN for a group without any."""
    positive = np.where(values > 0.0, values, np.nan)
    return (np.fmax.reduceat(positive, starts) / np.fmin.reduceat(positive, starts)).tolist()  # type: ignore[no-any-return]


def medians(values: npt.NDArray[np.float64], starts: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> list[float]:
    """The lower median of each group's values that are not NaN; NaN for a group without any."""
    table = np.full((len(starts), int(lengths.max())), np.nan)
    table[np.arange(table.shape[1]) < lengths[:, None]] = values
    table.sort(axis=1)  # NaN last
    known = np.count_nonzero(~np.isnan(table), axis=1)
    return table[np.arange(len(table)), np.maximum(known - 1, 0) // 2].tolist()  # type: ignore[no-any-return]


def asked_once(compute: Callable[[Network], _T]) -> Callable[[Network], _T]:
    """What is asked of a network, computed once for it: it changes no more."""

    @wraps(compute)
    def known(network: Network) -> _T:
        return network.once(compute)

    return known


def row_rms(row: Row) -> float:
    """The root mean square of a row's finite elements; NaN where there is none."""
    return math.hypot(row[_MEAN], row[_STD])


def rms(rows: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    """The root mean square of the finite elements of each row; NaN where there is none."""
    with np.errstate(all="ignore"):
        result: npt.NDArray[np.float64] = np.hypot(rows["mean"], rows["std"])
    return result


def row_signal(row: Row, min_samples: int) -> float:
    """The spread between a row's samples, as in `Network.signal`, from this row alone; NaN where unknown."""
    neurons = row[_NEURONS]
    if not neurons:
        return float(row[_STD])
    return float(row[_WITHIN]) if row[_COUNT] >= min_samples * neurons else math.nan
