"""When a neuron that is silent is dead: how much each row of silence says, in integers that every target counts alike.

A neuron that fires seldom is alive, so silence counts by what could have been seen: by rows, by samples, and by how
often a typical neuron of the layer fires. A sparse layer thus needs more samples than one whose neurons fire half of
the time, and a batch of one needs more rows than one of 256. What a row says of a silent neuron is its weight; weights
are summed per neuron until it fires, so that no window bounds the count.
"""

import math
from typing import Final, NamedTuple

#: The weight of a row that says all that a row can say.
ROW_WEIGHT: Final = 1 << 32
#: Samples of each neuron after which older ones count half for a layer's usual density. Chosen.
_POOL: Final = 1 << 14


class SilenceLimits(NamedTuple):
    """How long a neuron must have been silent to be dead: each of these.

    Attributes:
        rows: rows without a break.
        samples: samples of it.
        fires: times that a typical neuron of its layer has fired meanwhile.
        counts: 1 where elements are counts of lookups, so that a neuron has fired as often as they add up to; else 0.
    """

    rows: int
    samples: int
    fires: int
    counts: int = 0

    def times(self, factor: int) -> "SilenceLimits":
        """The same, but so many times the samples and fires."""
        return SilenceLimits(self.rows, factor * self.samples, factor * self.fires, self.counts)


class Density(NamedTuple):
    """How often the neurons of a layer fire, where they are not dead; counts of elements.

    Attributes:
        pooled_elements: elements of neurons that were not dead, in the rows so far.
        pooled_fires: how many of them were not zero.
        elements: elements of a typical neuron, and others like it, in the last row; 0 while nothing has fired at all.
        fires: how many of them were not zero.
    """

    pooled_elements: int
    pooled_fires: int
    elements: int
    fires: int


NO_DENSITY: Final = Density(0, 0, 0, 0)


def silence_weight(
    samples: int, elements: int, fires: int, rows_limit: int, samples_limit: int, fires_limit: int
) -> int:
    """What a row with so many samples of each neuron says of one that is silent in it, in `ROW_WEIGHT`.

    Formula:
        min(1, samples·R/S, samples·d·R/F) for R rows, S samples and F fires, where d = fires / elements is how often a
        typical neuron fires. So R rows, S samples and F fires each are needed before the weights of a neuron reach R.

    Args:
        samples: of each neuron in the row.
        elements: that of `Density` before the row; 0 where nothing is known of how often they fire.
        fires: likewise.
        rows_limit: that of `SilenceLimits`.
        samples_limit: likewise.
        fires_limit: likewise.

    Example:
        >>> silence_weight(256, 64, 32, 20, 300, 10) == ROW_WEIGHT
        True
        >>> one = silence_weight(1, 64, 32, 20, 300, 10)
        >>> 299 * one < 20 * ROW_WEIGHT <= 300 * one
        True
        >>> round(20 * ROW_WEIGHT / silence_weight(1, 1000, 1, 20, 300, 10))  # one that fires once in 1000 samples
        10000
    """
    share = min(1.0, samples * (rows_limit / samples_limit))
    if elements > 0:
        share = min(share, samples * (fires / elements) * (rows_limit / fires_limit))
    return math.ceil(share * ROW_WEIGHT)


def next_density(
    pooled_elements: int, pooled_fires: int, neurons: int, samples: int, fired: int, silent: int, dead: int
) -> tuple[int, int, int, int]:
    """The `Density` after a row.

    Where those that fired at all did so twice or more on average, they are what is typical: a few that live among many
    dead ones. Else all that are not dead are, since those that did not fire may have been about to. In a row in which
    nothing fired, the usual density stands in.

    Args:
        pooled_elements: that of the density before.
        pooled_fires: likewise.
        neurons: how many the row has.
        samples: of each of them, more than 0.
        fired: elements of the row that are not zero.
        silent: neurons that are silent in the row.
        dead: neurons that are dead in it.
    """
    alive = (neurons - dead) * samples
    pooled_elements += alive
    pooled_fires += fired
    if pooled_elements > _POOL * neurons:
        pooled_elements >>= 1
        pooled_fires >>= 1
    if fired == 0:
        known = pooled_elements if pooled_fires > 0 else 0
        return pooled_elements, pooled_fires, known, pooled_fires
    firing = neurons - silent
    elements = firing * samples if fired >= 2 * firing else alive
    return pooled_elements, pooled_fires, elements, fired
