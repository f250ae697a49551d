"""What a notebook shows of stats."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastact.html.notebook import Card, Line, Table
from fastact.stats.statistics import SHOWN
from fastact.text import number, percent

if TYPE_CHECKING:
    from fastact.stats.activation import ActivationStats
    from fastact.stats.channel import ChannelStats

_SHARES: Final = frozenset({"zero_ratio", "saturation_ratio"})


def card_of_tensor(stats: "ActivationStats") -> Card:
    """A card with every statistic of a tensor."""
    lines = [Line((name, _told(name, getattr(stats, name)))) for name in SHOWN]
    return Card(f"{stats.count:,} elements", type(stats).__name__, _severity(stats), table=Table(_head("value"), lines))


def card_of_neurons(stats: "ChannelStats") -> Card:
    """A card with every statistic of the whole tensor, and how far the neurons' own reach."""
    total, lines = stats.total, []
    for name in SHOWN:
        own = np.asarray(getattr(stats, name), np.float64)
        known = np.sort(own[~np.isnan(own)], axis=None)
        ends = [known[0], known[(len(known) - 1) // 2], known[-1]] if len(known) else [np.nan] * 3
        lines.append(Line((name, _told(name, getattr(total, name)), *(_told(name, end) for end in ends))))
    shape = " by ".join(f"{size:,}" for size in stats.shape)
    silent = int(stats.dead(0.0).sum())
    title = f"{shape} neurons, {silent:,} of them all zero, in {total.count:,} elements"
    head = _head("all", "least of a neuron", "median neuron", "largest of a neuron")
    return Card(title, type(stats).__name__, _severity(total), table=Table(head, lines))


def _head(*titles: str) -> list[tuple[str, bool]]:
    return [("", False), *((title, True) for title in titles)]


def _severity(stats: "ActivationStats") -> str:
    return "critical" if stats.nans or stats.infs else ""


def _told(name: str, value: Any) -> str:
    if value != value:
        return "-"
    if name in _SHARES:
        return percent(float(value))
    return f"{int(value):,}" if float(value).is_integer() and abs(value) < 1e15 else number(float(value))
