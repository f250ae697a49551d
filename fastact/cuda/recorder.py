"""Records rows on one device: launches the kernels, owns the memory that they need, and takes the finished rows.

Kernels of one stream run one after the other, so all launches on a stream share the memory that they work in. A CUDA
graph that captures a launch replays it for as long as the process lives: whatever such a launch uses is kept for ever.
"""

import contextlib
import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from fastact.arithmetic import State
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.arithmetic.silence import SilenceLimits
from fastact.cuda.arrays import DeviceArray, current_stream
from fastact.cuda.driver import DeviceMemory, capture_of, launcher, order, processors, relaxed, side_stream, stream_at
from fastact.cuda.instructions import THREADS
from fastact.cuda.kernels import GROUP_BYTES, HEAD_WORDS, NEURON_WORDS, end_step_kernel, record_kernel
from fastact.cuda.layouts import Bounds, Layout, blocks_at_once, plan, work_bounds
from fastact.cuda.ring import FORM, FORMS, LAYER, NEURONS, PART, SLOTS, STATE, STEP, STEP_ENDED, Ring
from fastact.cuda.rows import ROW_BYTES, state_format
from fastact.errors import FastactError
from fastact.fields import NEURON

#: Bytes that a stream's kernels work in at first; at least doubled when they are too few.
_WORK_BYTES: Final = 1 << 18
_TICKET_BYTES: Final = 1 << 13

#: What captured graphs use: they may be replayed as long as the process lives.
_captured: Final[list[object]] = []

_plan = functools.lru_cache(maxsize=4096)(plan)
_NEURONS: Final = struct.Struct("".join("q" if field.dtype == "int64" else "d" for field in NEURON))


class RowsOnTheirWay(Protocol):
    """What a row needs of the `DeferredRows` that it belongs to."""

    broken: str | None

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Returns when `done()`."""


class DeferredRow:
    """A row that a monitor recorded on a GPU: launched, and filled when it arrives."""

    __slots__ = ("_keep", "_rows", "captured", "device", "layer", "lost", "neurons", "part", "state")

    def __init__(self, rows: RowsOnTheirWay, layer: int, device: int, keep: object = None) -> None:
        self._rows = rows
        self._keep = keep
        self.layer = layer
        self.device = device  #: the device that computes the row; -1 where a graph was replayed
        self.state: State | None = None  #: that of the elements, once the row is here
        self.neurons: tuple[Any, ...] = ()  #: the numbers of `fields.NEURON` over the step so far
        self.part = 0  #: how many rows with neurons its layer has had in the step by then
        self.lost: str | None = None  #: why the row will never be here; None while it may
        self.captured = False  #: whether it went into a graph, whose replays give rows of their own

    @property
    def done(self) -> bool:
        """Whether nothing more is to be waited for."""
        if self.state is None and self.lost is None and self._rows.broken is not None:
            self.lose(self._rows.broken)
        return self.state is not None or self.lost is not None

    def wait(self) -> State:
        """The state, once it is here.

        Raises:
            FastactError: the row is lost.
        """
        if self.state is None:
            self._rows.wait_until(lambda: self.done)
            if self.state is None:
                raise FastactError(f"the stats of this record are not known: {self.lost}")
        return self.state

    def fill(self, words: npt.NDArray[np.int64]) -> None:
        """Takes the row's words from the ring, int64[RING_WORDS]."""
        state = state_format(FORMS[words[FORM]]).unpack(words[STATE].tobytes())
        self.arrive(state, _NEURONS.unpack(words[NEURONS].tobytes()), int(words[PART]))

    def arrive(self, state: State, neurons: tuple[Any, ...], part: int) -> None:
        """Takes its numbers."""
        self.part, self.neurons = part, neurons
        self._keep = None
        self.state = state

    def lose(self, why: str) -> None:
        """Notes that it will never come."""
        self._keep = None
        self.lost = why


@dataclass(slots=True)
class _Layer:
    """What is kept of a layer on a device."""

    step: int = -1  #: the step of the last row
    shape: tuple[int, ...] | None = None  #: the shape of that row's neurons; None for a row without neurons
    mixed: bool = False  #: whether rows of this step differ in their neurons; the later ones then tell of no neurons
    undo: bool = False  #: whether the last step of `memory` does not count, since that step turned out mixed
    memory: DeviceMemory | None = None  #: how long neurons have been silent, and their states in the step under way
    neurons: int = 0  #: how many neurons `memory` is for
    captured: bool = False  #: whether a graph uses `memory`
    stream: int = 0  #: the handle of the stream that used `memory` last

    def per_neuron(self, step: int, shape: tuple[int, ...] | None) -> bool:
        """Whether a row of a step, with neurons of this shape, tells of its neurons."""
        if self.step != step:
            self.step, self.shape, self.mixed = step, shape, False
        elif self.shape != shape and not self.mixed:
            self.mix()
        return shape is not None and not self.mixed

    def mix(self) -> None:
        """Notes that the step under way has rows with other neurons, or without."""
        self.mixed = True
        self.undo = self.undo or self.shape is not None


@dataclass(slots=True)
class _StreamMemory:
    """What the kernels of one stream, or of one graph, work in."""

    work: DeviceMemory | None = None
    tickets: DeviceMemory | None = None


class DeviceRecorder:
    """Records rows on the current device; not safe to use from several threads at a time.

    Args:
        device: the number of the device.
        slots: rows of a ring.
    """

    def __init__(self, device: int, slots: int = SLOTS) -> None:
        self.device = device
        self.ring = Ring(device, slots)  #: of the rows that the host numbers
        self.graphs: Ring | None = None  #: of rows that the device numbers as graphs are replayed, once one is captured
        self.rows: dict[int, DeferredRow] = {}  #: the rows under way, by their number in `ring`
        self.ended = -1  #: the last step whose end a row in `graphs` has told
        self._layers: dict[int, _Layer] = {}
        self._launching: int | None = None  # the row that is being launched; still set later: it was interrupted
        self._memories: dict[tuple[int, int], _StreamMemory] = {}
        self._outgrown: list[DeviceMemory] = []  # became too small: kernels under way still use it

    @property
    def busy(self) -> bool:
        """Whether there may be rows to come."""
        return self.graphs is not None or self.ring.tail != self.ring.head

    @property
    def half_full(self) -> bool:
        """Whether half of the ring's rows are under way, so that it is time to take some."""
        return 2 * (self.ring.head - self.ring.tail) >= self.ring.slots

    def launch(
        self, row: DeferredRow, layer: int, x: DeviceArray, shape: tuple[int, ...] | None, bounds: Bounds,
        limits: SilenceLimits, step: int,
    ) -> None:  # fmt: skip
        """Launches the sweep of `x`: 1-D, or with the shape of its neurons [outer, neurons, inner]."""
        self.abandon()
        stream = stream_at(x.stream, self.device)
        graph = capture_of(stream)
        if not graph and self.ring.full:
            row.lose(f"the device's ring of {self.ring.slots} rows was full")
            return
        try:
            with relaxed() if graph else contextlib.nullcontext():
                self._launch(row, layer, x, shape, bounds, limits, step, stream, graph)
        except BaseException:
            self.abandon()
            raise

    def _launch(
        self, row: DeferredRow, layer: int, x: DeviceArray, shape: tuple[int, ...] | None, bounds: Bounds,
        limits: SilenceLimits, step: int, stream: Any, graph: int,
    ) -> None:  # fmt: skip
        ring = self._graphs(step) if graph else self.ring
        known = self._layers.setdefault(layer, _Layer())
        per_neuron = known.per_neuron(step, shape)
        size = x.array.shape if per_neuron else (x.array.size, 1, 1)
        address = x.array.ctypes.data
        layout, groups, parts, numbers = way = _plan(address % 16, x.name, size, processors(self.device))
        memory = self._neuron_memory(known, size[1], x.stream, graph) if per_neuron else 0
        joins = groups * GROUP_BYTES if per_neuron and groups > 1 else 0
        work = self._work(way.partial_rows * ROW_BYTES + joins, 8 * (groups + 1), x.stream, graph)
        undo = per_neuron and known.undo and not graph
        launch = _kernel(x.name, layout, per_neuron, self.device)
        number = counter = 0
        if graph:
            counter = ring.counter
            row.captured = True
            row.lose("it was recorded in a CUDA graph, whose replays give rows of their own")
            if not x.kept:
                _captured.append(x)
        else:
            number = self._launching = ring.next()
        launch(
            groups * parts, stream, address, *numbers, parts, *work_bounds(bounds, x.name), *work,
            ring.address, ring.slots, counter, number, step, layer, memory, int(undo), *limits,
        )  # fmt: skip
        if not graph:
            self.rows[number] = row
            self._launching = None
        if undo:
            known.undo = False

    def abandon(self) -> None:
        """Gives up the row of a launch that failed or was interrupted."""
        if self._launching is not None:
            self.rows.pop(self._launching, None)
            self.ring.give_up(self._launching)
            self._launching = None

    def mix(self, layer: int) -> None:
        """Notes that the step under way has elements of this layer elsewhere: it does not count for the neurons."""
        if layer in self._layers:
            self._layers[layer].mix()

    def end_step(self, step: int, following: int) -> bool:
        """Tells graphs that a step ends and the next begins (below 0: not recorded); whether `ended` will reach it."""
        if self.graphs is None:
            return False
        stream = stream_at(current_stream(self.device), self.device)
        if capture_of(stream):
            return False
        _end_step(self.device)(1, stream, self.graphs.address, self.graphs.slots, self.graphs.counter, step, following)
        return step >= 0

    def drain(self, replayed: Callable[[int, int, npt.NDArray[Any]], None]) -> None:
        """Fills the rows that have arrived and begins to fetch others; does not wait.

        Of each row of a replayed graph `replayed` gets the step, the layer and the words.
        """
        self.abandon()
        # On an idle device the copy is done at once and need not wait for the next call. And how many rows of graphs
        # there are to copy may only be known after the first.
        for _ in range(2):
            self._take(replayed)
            self.ring.fetch()
            if self.graphs is not None:
                self.graphs.fetch()

    def _take(self, replayed: Callable[[int, int, npt.NDArray[Any]], None]) -> None:
        for number, words in self.ring.take():
            row = self.rows.pop(number, None)
            if row is not None:
                row.fill(words)
        if self.graphs is not None:
            for _, words in self.graphs.take():
                step, layer = int(words[STEP]), int(words[LAYER])
                if layer == STEP_ENDED:
                    self.ended = step
                else:
                    replayed(step, layer, words)

    def _graphs(self, step: int) -> Ring:
        if self.graphs is None:
            ring = Ring(self.device, self.ring.slots, counted=True)
            _captured.append(ring)
            side = side_stream(self.device)
            _end_step(self.device)(1, side, ring.address, ring.slots, ring.counter, -1, step)
            side.synchronize()
            self.graphs = ring
        return self.graphs

    def _neuron_memory(self, layer: _Layer, neurons: int, stream: int, graph: int) -> int:
        """The address of the layer's memory, ready for whatever comes next on the stream."""
        nbytes = 8 * (HEAD_WORDS + NEURON_WORDS * neurons)
        if layer.memory is not None and layer.stream != stream and not graph:
            # A stream that was destroyed has done its work.
            with contextlib.suppress(Exception):
                order(stream_at(layer.stream, self.device), stream_at(stream, self.device))
        if layer.memory is None or layer.neurons != neurons:
            if layer.memory is not None and layer.memory.nbytes >= nbytes and not (graph or layer.captured):
                layer.memory.zero(stream_at(stream, self.device))
            else:
                if layer.memory is not None:
                    self._outgrown.append(layer.memory)
                layer.memory, layer.captured = self._zeroed(nbytes, stream, graph), False
            layer.neurons, layer.undo = neurons, False
        layer.stream = stream
        if graph and not layer.captured:
            layer.captured = True
            _captured.append(layer.memory)
        return layer.memory.address

    def _work(self, work: int, tickets: int, stream: int, graph: int) -> tuple[int, int]:
        """The addresses of so many bytes of memory to work in, and of tickets."""
        memory = self._memories.get((graph, stream))
        if memory is None:
            memory = self._memories[graph, stream] = _StreamMemory()
            if graph:
                _captured.append(memory)
        if memory.work is None or memory.work.nbytes < work:
            with relaxed():
                memory.work = self._grown(memory.work, DeviceMemory(max(2 * work, _WORK_BYTES)), graph)
        if memory.tickets is None or memory.tickets.nbytes < tickets:
            zeroed = self._zeroed(max(2 * tickets, _TICKET_BYTES), stream, graph)
            memory.tickets = self._grown(memory.tickets, zeroed, graph)
        return memory.work.address, memory.tickets.address

    def _grown(self, before: DeviceMemory | None, memory: DeviceMemory, graph: int) -> DeviceMemory:
        if before is not None:
            (_captured if graph else self._outgrown).append(before)
        return memory

    def _zeroed(self, nbytes: int, stream: int, graph: int) -> DeviceMemory:
        """Memory that is zero for what comes on the stream; for a graph, before it is replayed."""
        if not graph:
            with relaxed():
                return DeviceMemory(nbytes, stream_at(stream, self.device), zeroed=True)
        side = side_stream(self.device)
        memory = DeviceMemory(nbytes, side, zeroed=True)
        side.synchronize()
        return memory


@functools.cache
def _kernel(name: str, layout: Layout, per_neuron: bool, device: int) -> Callable[..., None]:
    blocks = blocks_at_once(ELEMENT_TYPES[name], layout)
    return launcher(record_kernel(name, layout, per_neuron=per_neuron), device, THREADS, blocks)


@functools.cache
def _end_step(device: int) -> Callable[..., None]:
    return launcher(end_step_kernel(), device, 1)
