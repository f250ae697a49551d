"""Whether the input became another one in the very step in which a layer fell sick: then no update made it so.

A layer that is spoilt by an update shows it in the next pass, on data as ever; other data shows in the input's own rows
first. Which numbers of it change is anyone's guess: samples that are all alike narrow its extremes, another source
shifts its mean. So each number is held against its own past, whatever its scale and distribution are.
"""

import math
from typing import Final

import numpy as np

from fastact.diagnosis.evidence import facts
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.text import number

#: Rows before, of which the last so many say what is usual, and the fewest that do.
_PAST: Final = 50
_FEW: Final = 12
#: Rows since then that are looked at, and the fewest. By chance three in a row lie beyond 50 others in one number of
#: 12,000, and beyond 12 in one of 230.
_SINCE: Final = 3
_LEAST: Final = 2
#: Share of the past's own range by which all rows since lie beyond it.
_BEYOND: Final = 0.25
#: Steps by which the input may have changed before the layer is seen to be sick.
_SLACK: Final = 1
#: What is compared: the words, and the column.
_NUMBERS: Final = (
    ("largest values of its neurons", "typical_peak"),
    ("largest value", "max"),
    ("least value", "min"),
    ("standard deviation", "std"),
    ("mean size", "abs_mean"),
    ("mean", "mean"),
    ("spread over samples", "within_std"),
    ("zeros", "zeros"),
)


def not_by_an_update(layer: LayerView, network: Network, step: int) -> facts.For:
    """What speaks against a cause that needs an update which spoilt the weights, such as learning_rate."""
    at_first = facts.before_any_update(layer, step)
    said = "" if at_first.refuted_by else input_moved(network, step)
    return facts.For(refuted_by=(said,)) if said else at_first


def input_moved(network: Network, step: int) -> str:
    """A clause: what of the recorded input lies beyond all that it was before, in the rows since a step; "" if none."""
    return network.once_for(_moved, step)


def _moved(network: Network, step: int) -> str:
    given = facts.model_input(network)
    if given is None:
        return ""
    for at in range(step, step - _SLACK - 1, -1):
        if said := _since(given, at):
            return said
    return ""


def _since(given: LayerView, step: int) -> str:
    rows = given.rows
    place = int(rows["step"].searchsorted(step))
    before, after = rows[max(place - _PAST, 0) : place], rows[place : place + _SINCE]
    if len(before) < _FEW or len(after) < _LEAST or int(after["step"][0]) != step:
        return ""
    if (rows["count"][max(place - _PAST, 0) : place + _SINCE] != after["count"][0]).any():
        return ""  # extremes of more numbers are wider
    for words, column in _NUMBERS:
        past, now = before[column].astype(np.float64), after[column].astype(np.float64)
        low, high = float(past.min()), float(past.max())
        gap = max(float(now.min()) - high, low - float(now.max()))
        if gap > _BEYOND * (high - low) and gap > 0.0:  # NaN is neither
            usual = f"between {number(low)} and {number(high)}" if high > low else number(low)
            return f"the input itself changed in that step: its {words} had been {usual}, and came to {number(now[0])}"
    return ""


def change(layer: LayerView, step: int) -> float:
    """By how much a layer is larger in a step than in the row before it; NaN where unknown."""
    place = int(layer.rows["step"].searchsorted(step))
    if not 0 < place < len(layer.rows):
        return math.nan
    before, after = (row_rms(layer.rows[at].item()) for at in (place - 1, place))
    return after / before if before > 0.0 else math.nan
