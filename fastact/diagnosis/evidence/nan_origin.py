"""Where NaN and Inf were born: the layer that had them first, and what was before it."""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.diagnosis import layer_types
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.diagnosis.row_conditions import Row
from fastact.fields import COLUMN

_STEP, _COUNT, _NANS = COLUMN["step"], COLUMN["count"], COLUMN["nans"]
_POS, _NEG = COLUMN["pos_infs"], COLUMN["neg_infs"]
_MEAN, _MIN, _MAX = COLUMN["mean"], COLUMN["min"], COLUMN["max"]

#: The largest finite number of each floating dtype.
LARGEST: Final = {t.name: t.format.largest for t in ELEMENT_TYPES.values() if t.format is not None}
#: The share of the logarithm of the largest number from which an exponential is close to overflow.
EXPONENT: Final = 0.9


class Birth(NamedTuple):
    """How a layer came to have NaN or Inf.

    Attributes:
        layer: the layer.
        network: what it is compared with.
        step: the step since which it has had them.
        row: its row of that step; None where that has left the window.
        lasting: whether each of its rows since then that are in the window has some.
        before: a layer before it that had them no later; None where there is none.
        first: the layer that had them first in time, then in forward order.
    """

    layer: LayerView
    network: Network
    step: int
    row: Row | None
    lasting: bool
    before: LayerView | None
    first: LayerView

    @property
    def at_start(self) -> bool:
        """Whether its first recorded row had them."""
        return self.step <= self.layer.start

    @property
    def share(self) -> float | None:
        """The share of its elements that were not finite at first; None where that is not known."""
        return None if self.row is None else min(facts.broken(self.row) / max(self.row[_COUNT], 1), 1.0)

    @property
    def infs(self) -> bool:
        """Whether there was an Inf among them."""
        row = self.row or self.layer.last
        return bool(row[_POS] or row[_NEG])

    @property
    def nans(self) -> bool:
        """Whether there was a NaN among them."""
        return bool((self.row or self.layer.last)[_NANS])


def steps(network: Network) -> dict[str, int]:
    """Since when each layer of the group has had NaN or Inf; without those that have none."""
    return network.once(_steps)


def _steps(network: Network) -> dict[str, int]:
    return {
        view.info.name: view.streaks["non_finite"].step for view in network.layers if "non_finite" in view.streaks
    }  # fmt: skip


def activations_since(network: Network) -> int | None:
    """The first step in which anything but a gradient had NaN or Inf; None where nothing had. From gradients too."""
    return network.once(_activations_since)


def _activations_since(network: Network) -> int | None:
    begun = [
        view.streaks["non_finite"].step
        for view in network.everything.values()
        if view.info.layer_type != layer_types.GRADIENT and "non_finite" in view.streaks
    ]
    return min(begun, default=None)


def birth(layer: LayerView, network: Network) -> Birth:
    """How a layer that has NaN or Inf came to have them."""
    return network.once_for(_birth, layer)


def _birth(network: Network, layer: LayerView) -> Birth:
    since = steps(network)
    step = since[layer.info.name]
    makers, places, first = network.once(_makers)
    if since[first.info.name] > step:
        first = layer
    before = next((view for view in makers if view.place < layer.place and network.once_for(_had, view, step)), None)
    if before is None and layer.place not in places and since[first.info.name] <= step:
        before = first
    seen = spells(network)[layer.place]
    lasting, row = seen.broken == seen.rows, seen.first
    if row is not None and row[_STEP] != step:  # it has left the window; the first one that is partly finite is kept
        row = layer.first if layer.first[_STEP] == step and facts.broken(layer.first) else None
    return Birth(layer, network, step, row, lasting, before, first)


class Spell(NamedTuple):
    """The rows of a layer that are in the window, since it has had NaN or Inf.

    Attributes:
        rows, broken: how many these are, and how many of them have some.
        first: the first of them; None where all have left the window.
        begun: the first that has some; None likewise.
        now: whether the last has.
    """

    rows: int
    broken: int
    first: Row | None
    begun: Row | None
    now: bool


def spell(rows: npt.NDArray[np.void], bad: npt.NDArray[np.bool_]) -> Spell:
    """The spell of some rows, of which those that are `bad` have NaN or Inf that count."""
    places = bad.nonzero()[0]
    first, begun = (some[0].item() if len(some) else None for some in (rows, rows[places]))
    return Spell(len(rows), len(places), first, begun, bool(bad[-1:].any()))


def spells(network: Network) -> dict[int, Spell]:
    """By the place of each layer that has had NaN or Inf of late, its rows since then."""
    return network.once(_spells)


def _spells(network: Network) -> dict[int, Spell]:
    places = sorted(network.begun("non_finite"))
    if not places:
        return {}
    table, starts, lengths = network.table, network.starts[places], network.lengths[places]
    since = np.array([network.layers[place].streaks["non_finite"].step for place in places])
    broken = facts.not_finite(table)
    before = np.concatenate(([0], np.cumsum(broken)))  # how many of the rows before each are broken
    at = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
    early = table["step"][at] < np.repeat(since, lengths)
    ends = starts + lengths
    begins = starts + np.add.reduceat(early, np.cumsum(lengths) - lengths, dtype=np.int64)
    counts = before[ends] - before[begins]
    # The first broken one is that before which there are as many as before the first of all.
    begun = np.searchsorted(before, before[begins], "right") - 1
    rows = table[np.minimum(begins, ends - 1)].tolist()
    late = begun != begins
    first = list(rows)  # as a rule the same
    for i, row in zip(np.flatnonzero(late).tolist(), table[np.minimum(begun, ends - 1)[late]].tolist(), strict=True):
        first[i] = row
    each = zip(places, (ends - begins).tolist(), counts.tolist(), rows, first, broken[ends - 1].tolist(), strict=True)
    return {
        place: Spell(many, some, row if many else None, worse if some else None, bool(many and now))
        for place, many, some, row, worse, now in each
    }


def _makers(network: Network) -> tuple[list[LayerView], set[int], LayerView]:
    """The layers that have NaN or Inf and may have made it, their places, and the first in time, then in order."""
    since = steps(network)
    own = [view for view in network.layers if view.info.name in since]
    # What hands its input on is called for several places at times, and then counts from the first one.
    makers = [view for view in own if not layer_types.is_passing(view.info.layer_type) or is_input(view)] or own
    first = min(makers, key=lambda view: (since[view.info.name], view.place))
    return makers, {view.place for view in makers}, first


def _had(network: Network, layer: LayerView, step: int) -> bool:
    """Whether a layer had NaN or Inf in a step; where that row has left the window, whether it had begun."""
    row = facts.row_at(layer, step)
    return steps(network)[layer.info.name] <= step and (row is None or facts.broken(row) > 0)


def is_input(layer: LayerView) -> bool:
    """Whether it is what the model itself was given."""
    return layer.info.layer_type == layer_types.INPUT


def exponent_source(network: Network) -> LayerView | None:
    """The layer whose values' exponential overflowed just before NaN or Inf first appeared; None where there is none.

    It has left its usual range by itself, and not as what the model is given has. Its values are near the logarithm of
    the largest number, or as far below zero, as of a variance that is divided by. Or what is multiplied by their
    exponential grew by as much, in one step.
    """
    return network.once(_exponent_source)


def _exponent_source(network: Network) -> LayerView | None:
    begun = [step for name, step in steps(network).items()]
    if not begun:
        return None
    since = min(begun)
    reached = []
    # Softmaxes take their largest score from all of them first: no exponential of logits overflows there.
    chosen = {view.info.source for view in network.layers if view.info.layer_type in layer_types.PROBABILITIES}
    for place in network.begun("exponent"):
        view = network.layers[place]
        streak = view.streaks["exponent"]
        # What has grown a thousandfold overflows without an exponential.
        grown = "exploding" in view.streaks or _given_more(view, network, streak.step)
        weighted = layer_types.has_weights(view.info.layer_type) and view.info.name not in chosen
        if streak.step <= since and not grown and weighted:
            reached.append((streak.step, place, view))
    jumped = None if reached else network.once(_multiplied)
    return min(reached)[2] if reached else jumped[0] if jumped is not None else None


def _given_more(view: LayerView, network: Network, step: int) -> bool:
    """Whether what the model is given is far larger in a step than one before: data in other units."""
    given = facts.model_input(network)
    now, before = (facts.row_at(given, step), _before(given, step)) if given is not None else (None, None)
    if given is view or now is None or before is None:
        return False
    was = max(before[_MAX], -before[_MIN])
    return was > 0.0 and bool(max(now[_MAX], -now[_MIN]) >= _JUMP * was)


def _multiplied(network: Network) -> tuple[LayerView, int] | None:
    """The layer whose values jumped to x, where a layer behind grew e^x times; and when.

    That was in the step of the first NaN or Inf, or in the one before, where the update had to bring them.
    """
    if not any(span >= _GROWN for span in network.range):
        return None
    since = min(steps(network).values(), default=0)
    before = _before(network.layers[0], since)
    for step in (since, before[_STEP] if before is not None else since):
        source = _jumped(network, step)
        if source is not None:
            return source, step
    return None


def _jumped(network: Network, since: int) -> LayerView | None:
    table, starts, lengths = network.table, network.starts, network.lengths
    before = np.add.reduceat(table["step"] < since, starts, dtype=np.int64)
    at = np.minimum(starts + before, starts + lengths - 1)
    there = (before > 0) & (before < lengths) & (table["step"][at] == since) & ~np.isnan(table["mean"][at])
    jumps: list[tuple[LayerView, float]] = []
    for place in np.flatnonzero(there).tolist():
        view = network.layers[place]
        if not layer_types.has_weights(view.info.layer_type):
            continue
        now, usual = view.rows[before[place]].item(), view.rows[before[place] - 1].item()
        top, was = now[_MAX], max(usual[_MAX], -usual[_MIN])
        grown = math.log(max(row_rms(now), 1e-300)) - math.log(max(row_rms(usual), 1e-300))
        for source, x in jumps:
            if abs(grown - x) <= _AS_MUCH * x:
                return source
        if top >= max(_LEAST_EXPONENT, _JUMP * was):
            jumps.append((view, top))
    return None


def _before(layer: LayerView, step: int) -> Row | None:
    """The last row before a step that is still in the window."""
    place = int(layer.rows["step"].searchsorted(step))
    row: Row | None = layer.rows[place - 1].item() if place else None
    return row


#: What is multiplied by an exponential: the least exponent, by how much it must have jumped, and how near to it the
#: logarithm of the growth is, as a share.
_LEAST_EXPONENT: Final = 12.0
_JUMP: Final = 10.0
_AS_MUCH: Final = 0.2
#: What grows by less than this has no such exponent.
_GROWN: Final = math.exp((1.0 - _AS_MUCH) * _LEAST_EXPONENT)


def exponent_since(layer: LayerView, network: Network) -> int:
    """Since when the values of `exponent_source` have been so far out."""
    streak, jumped = layer.streaks.get("exponent"), network.once(_multiplied)
    if streak is not None or jumped is None:
        return min(steps(network).values()) if streak is None else streak.step
    return jumped[1]


def exponent_limit(dtype: str) -> float:
    """The value from which the exponential is close to what a dtype can hold: 80 in float32."""
    return EXPONENT * math.log(LARGEST.get(dtype, LARGEST["float32"]))


def owner(born: Birth) -> LayerView | None:
    """The layer that calls this function, where it is one of the user's own, which may have weights."""
    owner = born.network.everything.get(born.layer.info.name.rpartition(".")[0])
    return owner if owner is not None and not layer_types.is_known(owner.info.layer_type) else None
