"""A watched layer: what was recorded of it in the step under way, and for how long its neurons have been silent."""

import math
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.arithmetic import State
from fastact.arithmetic.silence import NO_DENSITY, ROW_WEIGHT, Density, SilenceLimits, next_density, silence_weight
from fastact.arithmetic.state import COUNT, MEAN, ZEROS
from fastact.cpu.bit_sum import signed
from fastact.cpu.workspace import NeuronWorkspace
from fastact.diagnosis.layer_types import COUNTED
from fastact.diagnosis.onsets import OnsetTracker
from fastact.diagnosis.rules import Thresholds
from fastact.fields import COLUMN, NEURON, NEURON_PART, PACK_ROW, ROW_FORMAT, SATURATED_SHARE, STATE
from fastact.history import LayerInfo
from fastact.neurons import Snapshot
from fastact.stats.activation import ActivationStats, get_state, wrap
from fastact.stats.channel import ChannelStats, wrap_workspace
from fastact.stats.fast_path import PlanCache
from fastact.stats.merge import merge

_NO_NEURONS: Final = tuple(field.nothing for field in NEURON)
_FIRST: Final = COLUMN["count"]
_SILENT, _DEAD = COLUMN["silent_neurons"] - _FIRST, COLUMN["dead_neurons"] - _FIRST
#: What was recorded of a layer: stats; or, by hooks, the memory of a sweep, which is used again after the step.
Recorded = ActivationStats | ChannelStats | NeuronWorkspace
#: `fields.DRAWN`: how many samples were drawn, and how many elements were left out with the others.
Drawn = tuple[int, int]
ALL: Final[Drawn] = (0, 0)


def total_of(recorded: Recorded) -> ActivationStats:
    """The stats of the whole tensor."""
    stats = _as_stats(recorded)
    return stats.total if isinstance(stats, ChannelStats) else stats


def _as_stats(recorded: Recorded) -> ActivationStats | ChannelStats:
    return wrap_workspace(recorded) if isinstance(recorded, NeuronWorkspace) else recorded


def silence_limits(info: LayerInfo, thresholds: Thresholds) -> SilenceLimits:
    """How long the neurons of a layer must have been silent to be dead."""
    if info.layer_type in COUNTED:
        return SilenceLimits(thresholds.dead_window, 1, thresholds.unused_lookups, counts=1)
    limits = SilenceLimits(thresholds.dead_window, thresholds.dead_samples, thresholds.dead_fires)
    return limits.times(thresholds.dead_sparse) if info.sparse else limits


class WatchedLayer:
    """A layer between two calls of the monitor."""

    __slots__ = (
        "bits", "copied", "density", "drawn", "followed", "history", "info", "known_dead", "limits", "order", "parts",
        "plans", "recorded", "silence", "silence_step", "snapshots",
    )  # fmt: skip

    def __init__(self, followed: OnsetTracker, limits: SilenceLimits, *, copied: bool = False) -> None:
        #: What the diagnosis follows of it, and what that has, each at hand: of thousands of layers every step on the
        #: way to a number is a wait for memory.
        self.followed, self.history = followed, followed.layer
        self.info: LayerInfo = followed.layer.info
        self.order = self.info.order
        #: How long its neurons must have been silent to be dead.
        self.limits = limits
        #: Whether other ranks have copies of it, which its bits are compared with; their sum in the step under way.
        self.copied, self.bits = copied, 0
        #: How tensors like its last are swept, and workspaces for them.
        self.plans = PlanCache((*self.info.saturation, 0.0))
        #: What was recorded in the step under way; None before anything was.
        self.recorded: Recorded | None = None
        #: What was drawn in that step, and left out.
        self.drawn = ALL
        #: How many parts were merged in that step.
        self.parts = 0
        #: What each neuron's silence has come to, int64[neurons], and how often the others fire (`arithmetic.silence`).
        self.silence, self.density = np.zeros(0, np.int64), NO_DENSITY
        #: The step after which that was so.
        self.silence_step = -1
        #: What is kept of it, and how many neurons were dead when it was last looked at (`kept_neurons`).
        self.snapshots: list[Snapshot] = []
        self.known_dead = 0

    def left(self, drawn: Drawn) -> None:
        """Adds what was drawn of a part of the step's activations, and left out."""
        self.drawn = self.drawn[0] + drawn[0], self.drawn[1] + drawn[1]

    def add(self, recorded: Recorded, bits: int = 0, drawn: Drawn = ALL) -> None:
        """Merges a part of the step's activations into what was recorded before."""
        if drawn is not ALL:
            self.left(drawn)
        if self.recorded is None:
            self.recorded, self.parts, self.bits = recorded, 1, bits
            return
        self.parts += 1
        self.bits = signed(self.bits + bits)
        before, after = _as_stats(self.recorded), _as_stats(recorded)
        if type(before) is type(after) and getattr(before, "shape", ()) == getattr(after, "shape", ()):
            self.recorded = before | after  # type: ignore[operator]
        else:  # parts with other neurons: only the tensor is common to them
            self.recorded = total_of(before) | total_of(after)


#: A row on its way into history and log, as `fields.PACK_ROW` packs it, and how many there were of its layer before it;
#: what goes to the `WatchedLayer` with it, silence and density.
PendingRow = tuple[WatchedLayer, bytes, int, npt.NDArray[np.int64], Density]


_STATES: Final = len(STATE)
_NO_REST: Final = (0, *ALL)
#: A row of a layer without neurons, copies and samples left out is `fields.ROW` up to its state, and the same bytes.
_PACK_FRONT: Final = struct.Struct(ROW_FORMAT[: NEURON_PART.start + 1]).pack
_BACK: Final = struct.pack("=" + ROW_FORMAT[NEURON_PART.start + 1 :], *_NO_NEURONS, *_NO_REST)


def rests_of(watched: Sequence[WatchedLayer]) -> list[tuple[int, ...]]:
    """The last numbers of the rows of what was recorded of layers: the sum of their bits, and what was drawn."""
    return [(each.bits, *each.drawn) if each.bits or each.drawn is not ALL else _NO_REST for each in watched]


def plain_rows(
    watched: Sequence[WatchedLayer],
    recorded: Sequence[Recorded | None],
    rests: list[tuple[int, ...]],
    step: int,
    time: int,
) -> list[bytes]:
    """The rows of a step as `row_of` packs them, where all are as the most are; none where any is not.

    In one go, for a call and a tuple a layer cost as much as the packing.
    """
    if set(map(type, recorded)) != {ActivationStats} or rests.count(_NO_REST) != len(rests):
        return []
    pairs = zip(watched, map(get_state, recorded), strict=True)
    return [_PACK_FRONT(step, layer.order, time, *state[:_STATES]) + _BACK for layer, state in pairs]


def row_of(layer: WatchedLayer, recorded: Recorded, rest: tuple[int, ...], step: int, time: int) -> PendingRow:
    """The row of a step, which ended at `time`, of what was recorded in it; changes nothing."""
    if type(recorded) is ActivationStats and rest is _NO_REST:  # by far the most where there are thousands
        row = _PACK_FRONT(step, layer.order, time, *recorded.state) + _BACK
        return layer, row, layer.history.total, layer.silence, layer.density
    if isinstance(recorded, NeuronWorkspace):
        neurons, samples = recorded.plan.neurons, recorded.total[COUNT] // recorded.plan.neurons
    elif isinstance(recorded, ChannelStats) and (count := recorded.total.count) and (neurons := recorded.neurons):
        samples = count // neurons
    else:  # without elements no neuron has been silent
        return _without_neurons(layer, total_of(recorded), rest, step, time, _NO_NEURONS)
    limits = layer.limits
    same = neurons == layer.silence.size
    silence = layer.silence.copy() if same else np.zeros(neurons, np.int64)
    density = layer.density if same else NO_DENSITY
    weight = silence_weight(samples, density.elements, density.fires, *limits[:3])
    numbers = recorded.numbers(SATURATED_SHARE, silence, weight, limits.rows * ROW_WEIGHT)
    fired, silent, dead = numbers[COUNT] - numbers[ZEROS], numbers[_SILENT], numbers[_DEAD]
    if limits.counts:
        fired, silent, dead = math.floor(numbers[MEAN] * numbers[COUNT] + 0.5), 0, 0
    before = density.pooled_elements, density.pooled_fires
    density = Density(*next_density(*before, neurons, samples, fired, silent, dead))
    row = PACK_ROW(step, layer.info.order, time, *numbers, *rest)
    return layer, row, layer.history.total, silence, density


def row_with_deferred(
    layer: WatchedLayer,
    recorded: Recorded | None,
    rest: tuple[int, ...],
    step: int,
    time: int,
    states: Sequence[State],
    neurons: tuple[Any, ...] | None,
) -> PendingRow:
    """The row of a step in which a GPU swept as well: `states`, and `fields.NEURON` where known."""
    bounds = (*layer.info.saturation, 0.0)
    parts = [wrap(state, bounds) for state in states]
    total = merge(parts if recorded is None else [total_of(recorded), *parts])
    return _without_neurons(layer, total, rest, step, time, _NO_NEURONS if neurons is None else neurons)


def _without_neurons(
    layer: WatchedLayer, total: ActivationStats, rest: tuple[int, ...], step: int, time: int, neurons: tuple[Any, ...]
) -> PendingRow:
    """A row that says nothing of the silence that is counted here."""
    row = PACK_ROW(step, layer.info.order, time, *total.state, *neurons, *rest)
    return layer, row, layer.history.total, layer.silence, layer.density
