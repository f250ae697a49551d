"""A monitor's rows by a framework's own operations: launched and forgotten, and told on the host when they arrive.

The states of all neurons are copied to the host, which counts for how long each has been silent as it does for layers
of its own.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.arithmetic.silence import NO_DENSITY, ROW_WEIGHT, Density, SilenceLimits, next_density, silence_weight
from fastact.arithmetic.state import COUNT, MEAN, ZEROS
from fastact.cpu.neuron_kernels import summary_kernel
from fastact.cpu.sweep import merge_kernel
from fastact.cpu.workspace import NeuronStates
from fastact.cuda import framework_sweep
from fastact.cuda.arrays import DeviceArray
from fastact.cuda.framework_sweep import FrameworkSweep
from fastact.cuda.frameworks import Framework
from fastact.cuda.layouts import Bounds
from fastact.cuda.recorder import DeferredRow
from fastact.cuda.ring import NO_NEURONS
from fastact.fields import SATURATED_SHARE


class _OnItsWay(NamedTuple):
    row: DeferredRow
    layer: int
    step: int
    shape: tuple[int, ...] | None  #: of the neurons; None for a row without
    sweep: FrameworkSweep
    limits: SilenceLimits


@dataclass(slots=True)
class _Layer:
    """What is kept of a layer with neurons: their silence and how often they fire, before the step and with it."""

    silence: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    density: Density = NO_DENSITY
    silence_with: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    density_with: Density = NO_DENSITY
    step: int = -1
    shape: tuple[int, ...] | None = None  #: of the neurons in the step's first row
    parts: int = 0  #: rows of the step so far
    states: NeuronStates | None = None  #: over the step so far
    mixed: bool = False  #: whether the step does not count for the neurons

    def begin(self, step: int, shape: tuple[int, ...] | None) -> None:
        """Begins a step, unless it is the one under way, with a row whose neurons have this shape."""
        if self.step != step:
            if self.parts and not self.mixed:
                self.silence, self.density = self.silence_with, self.density_with
            self.step, self.shape, self.parts, self.states, self.mixed = step, shape, 0, None, False
        self.mixed |= shape is None or shape != self.shape

    def add(self, states: NeuronStates, limits: SilenceLimits, name: str) -> tuple[Any, ...]:
        """`fields.NEURON` of a row with these states and those before it in the step."""
        extreme, neurons = ELEMENT_TYPES[name].extreme, states.counts.shape[1]
        if self.states is not None:
            states = _merged(self.states, states, extreme)
        self.states, self.parts = states, self.parts + 1
        same = self.silence.size == neurons
        silence = self.silence.copy() if same else np.zeros(neurons, np.int64)
        density = self.density if same else NO_DENSITY
        samples = states.total[COUNT] // neurons
        weight = silence_weight(samples, density.elements, density.fires, *limits[:3])
        arrays = (array[:, None] for array in states[:3])
        summarized = summary_kernel(extreme)(*arrays, SATURATED_SHARE, silence, weight, limits.rows * ROW_WEIGHT)
        fired, (silent, dead) = states.total[COUNT] - states.total[ZEROS], summarized[:2]
        if limits.counts:
            fired, silent, dead = int(np.floor(states.total[MEAN] * states.total[COUNT] + 0.5)), 0, 0
        before = density.pooled_elements, density.pooled_fires
        self.silence_with = silence
        self.density_with = Density(*next_density(*before, neurons, samples, fired, silent, dead))
        return neurons, *summarized


def _merged(before: NeuronStates, after: NeuronStates, extreme: np.dtype[Any]) -> NeuronStates:
    counts, moments, extremes = (np.stack(pair, axis=1) for pair in zip(before[:3], after[:3], strict=True))
    total = merge_kernel(extreme)(counts, moments, extremes)
    return NeuronStates(counts[:, 0].copy(), moments[:, 0].copy(), extremes[:, 0].copy(), total)


#: Rows that may be under way; each holds the numbers of all its neurons.
_MOST: Final = 4096


class FrameworkRows:
    """The rows of one monitor that a framework computes; not safe to use from several threads at a time."""

    def __init__(self) -> None:
        self._under_way: deque[_OnItsWay] = deque()
        self._layers: dict[int, _Layer] = {}

    @property
    def busy(self) -> bool:
        """Whether there are rows to come."""
        return bool(self._under_way)

    def launch(
        self, by: Framework, row: DeferredRow, layer: int, x: DeviceArray, shape: tuple[int, ...] | None,
        bounds: Bounds, limits: SilenceLimits, step: int,
    ) -> None:  # fmt: skip
        """Begins the sweep of `x`: 1-D, or [outer, neurons, inner], with the shape of the neurons."""
        self.take()
        if len(self._under_way) >= _MOST:
            row.lose(f"{_MOST} rows were under way")
            return
        with by.at_work(x):
            if by.capturing():
                row.lose(
                    f"a CUDA graph was being captured, which takes fastact's kernels and not {by.name}'s operations"
                )
                return
        size = (x.array.size, 1, 1) if shape is None else x.array.shape
        swept = framework_sweep.launch(by, x, size, bounds)
        self._under_way.append(_OnItsWay(row, layer, step, shape, swept, limits))

    def take(self) -> None:
        """Fills the rows that have arrived, in their order; does not wait."""
        while self._under_way and self._under_way[0].sweep.done:
            one = self._under_way.popleft()
            states = one.sweep.states()
            layer = self._layers.setdefault(one.layer, _Layer())
            layer.begin(one.step, one.shape)
            neurons = NO_NEURONS if layer.mixed else layer.add(states, one.limits, one.sweep.name)
            one.row.arrive(states.total, neurons, layer.parts)

    def mix(self, layer: int, step: int) -> None:
        """Notes that a step has elements of this layer elsewhere: it does not count for the neurons."""
        if layer in self._layers and self._layers[layer].step == step:
            self._layers[layer].mixed = True

    def lose(self, why: str) -> None:
        """Gives up all rows."""
        while self._under_way:
            self._under_way.popleft().row.lose(why)
