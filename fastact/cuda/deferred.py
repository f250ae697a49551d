"""Rows of a monitor that are recorded on a GPU: launched at once, and there when the device has come so far.

Each device has a `Ring` for rows whose number the host gives, and a second one, once a graph was captured, for those
that the device counts as the graph is replayed. What the kernels work in belongs to a stream, whose kernels run one
after the other, or to a graph.
"""

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.arithmetic import State
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cuda.arrays import DeviceArray, current_stream
from fastact.cuda.host import (
    DeviceMemory,
    active,
    capture_of,
    launcher,
    order,
    processors,
    relaxed,
    side_stream,
    stream_at,
)
from fastact.cuda.kernels import ROW_BYTES, THREADS, Layout, blocks_at_once
from fastact.cuda.record import (
    FORM,
    FORMS,
    GROUP_BYTES,
    HEAD_WORDS,
    LAYER,
    NEURON_WORDS,
    PART,
    STATE,
    STEP,
    STEP_ENDED,
    SURVEY,
    end_step_kernel,
    record_kernel,
)
from fastact.cuda.ring import SLOTS, Ring
from fastact.cuda.sweep import plan, work_bounds
from fastact.errors import FastactError
from fastact.fields import NEURON

__all__ = ["Recorder", "Row"]

Bounds = tuple[float, float, float]

#: A host that waits for rows looks again after so many seconds; the longer it has waited the less often.
_FIRST_PAUSE: Final = 20e-6
_LAST_PAUSE: Final = 1e-3
#: What a stream's kernels work in at first; doubled when it is too small.
_WORK_BYTES: Final = 1 << 18
_TICKET_BYTES: Final = 1 << 13

#: What graphs use that were captured: they may be replayed as long as there is a process.
_captured: Final[list[object]] = []

_plan = functools.lru_cache(maxsize=4096)(plan)


class Row:
    """A row that was recorded.

    Attributes:
        device: where.
        state: that of the elements, when the row is here; None before.
        survey: the numbers of `fields.NEURON` over the step so far.
        part: how many rows with neurons its layer has had in the step by then.
        lost: why it will never be here; None while it may.
        captured: whether it went into a graph, whose replays give rows of their own.
    """

    __slots__ = ("_keep", "_recorder", "captured", "device", "lost", "part", "state", "survey")

    def __init__(self, recorder: "Recorder", device: int, keep: object = None) -> None:
        self._recorder = recorder
        self._keep = keep
        self.device = device
        self.state: State | None = None
        self.survey: tuple[Any, ...] = ()
        self.part = 0
        self.lost: str | None = None
        self.captured = False

    @property
    def done(self) -> bool:
        """Whether nothing more is to be waited for."""
        if self.state is None and self.lost is None and self._recorder.broken is not None:
            self.lose(self._recorder.broken)
        return self.state is not None or self.lost is not None

    def wait(self) -> State:
        """The state, when it is here.

        Raises:
            FastactError: the row is lost.
        """
        if self.state is None:
            self._recorder.wait(lambda: self.done)
            if self.state is None:
                raise FastactError(f"the stats of this record are not known: {self.lost}")
        return self.state

    def fill(self, words: npt.NDArray[np.int64]) -> None:
        """Takes what the row has in the ring."""
        integers, floats = words.tolist(), words.view(np.float64).tolist()
        ends = floats if words[FORM] == 0 else words.view(FORMS[integers[FORM]]).tolist()
        at = STATE.start
        self.part = integers[PART]
        self.survey = tuple(
            (integers if field.kind == "int64" else floats)[SURVEY.start + i] for i, field in enumerate(NEURON)
        )
        self._keep = None
        self.state = (*integers[at : at + 6], *floats[at + 6 : at + 9], *ends[at + 9 : at + 11], floats[at + 11])

    def lose(self, why: str) -> None:
        """Says that it will not come."""
        self._keep = None
        self.lost = why


class _Layer:
    """What a device keeps of a layer.

    Attributes:
        step, shape: of the last row, and its neurons' (None: of none).
        mixed: whether rows of this step differ in that; then the others tell of no neurons either.
        undo: whether the neurons' last step does not count.
        memory, neurons: where what the neurons did is kept, and how many they are.
        captured: whether a graph uses it.
        stream: the handle of the stream that it was used on last.
    """

    __slots__ = ("captured", "memory", "mixed", "neurons", "shape", "step", "stream", "undo")

    def __init__(self) -> None:
        self.step = -1
        self.shape: tuple[int, ...] | None = None
        self.mixed = False
        self.undo = False
        self.memory: DeviceMemory | None = None
        self.neurons = 0
        self.captured = False
        self.stream = 0

    def surveyed(self, step: int, shape: tuple[int, ...] | None) -> bool:
        """Whether a row of a step, of neurons of this shape, tells of them."""
        if self.step != step:
            self.step, self.shape, self.mixed = step, shape, False
        elif self.shape != shape and not self.mixed:
            self.mix()
        return shape is not None and not self.mixed

    def mix(self) -> None:
        """Says that the step under way has rows of other neurons, or of none."""
        self.mixed = True
        self.undo = self.undo or self.shape is not None


class _Room:
    """What the kernels of one stream, or of one graph, work in."""

    def __init__(self) -> None:
        self.work: DeviceMemory | None = None
        self.tickets: DeviceMemory | None = None


class _Device:
    """A device's rings, and what its kernels use."""

    def __init__(self, number: int, slots: int) -> None:
        self.number = number
        self.ring = Ring(number, slots)
        #: Of graphs that are replayed; None before the first one was captured.
        self.graphs: Ring | None = None
        self.rows: dict[int, Row] = {}
        self.layers: dict[int, _Layer] = {}
        #: The last step whose end the graphs' ring has told.
        self.ended = -1
        #: The number of a row that is being launched: still there later, it was interrupted.
        self._launching: int | None = None
        self._rooms: dict[tuple[int, int], _Room] = {}
        #: Memory that was too small: kernels under way use it still.
        self._outgrown: list[DeviceMemory] = []

    @property
    def busy(self) -> bool:
        """Whether there are rows to come."""
        return self.graphs is not None or self.ring.tail != self.ring.head

    def launch(
        self, row: Row, layer: int, x: DeviceArray, shape: tuple[int, ...] | None, bounds: Bounds, step: int,
        dead_window: int,
    ) -> None:  # fmt: skip
        """Launches the sweep of `x`: 1-D, or with the shape of its neurons [outer, neurons, inner]."""
        self.settle()
        stream = stream_at(x.stream, self.number)
        graph = capture_of(stream)
        if not graph and self.ring.full:
            row.lose(f"the device's ring of {self.ring.slots} rows was full")
            return
        with relaxed() if graph else contextlib.nullcontext():
            self._launch(row, layer, x, shape, bounds, step, dead_window, stream, graph)

    def _launch(
        self, row: Row, layer: int, x: DeviceArray, shape: tuple[int, ...] | None, bounds: Bounds, step: int,
        dead_window: int, stream: Any, graph: int,
    ) -> None:  # fmt: skip
        ring = self._graphs(step) if graph else self.ring
        found = self.layers.setdefault(layer, _Layer())
        surveyed = found.surveyed(step, shape)
        size = x.array.shape if surveyed else (x.array.size, 1, 1)
        address = x.array.ctypes.data
        layout, groups, parts, numbers = way = _plan(address % 16, x.name, size, processors(self.number))
        memory = self._memory(found, size[1], x.stream, graph) if surveyed else 0
        joins = groups * GROUP_BYTES if surveyed and groups > 1 else 0
        room = self._room(way.partial_rows * ROW_BYTES + joins, 8 * (groups + 1), x.stream, graph)
        again = surveyed and found.undo and not graph
        launch = _kernel(x.name, layout, surveyed, self.number)
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
            groups * parts, stream, address, *numbers, parts, *work_bounds(bounds, x.name), *room,
            ring.address, ring.slots, counter, number, step, layer, memory, int(again), dead_window,
        )  # fmt: skip
        if not graph:
            self.rows[number] = row
            self._launching = None
        if again:
            found.undo = False

    def settle(self) -> None:
        """Gives up the row of a launch that failed or was interrupted."""
        if self._launching is not None:
            self.rows.pop(self._launching, None)
            self.ring.give_up(self._launching)
            self._launching = None

    def end_step(self, step: int, following: int) -> bool:
        """Has the graphs' ring told that a step is over, and which one begins; below 0 for none that is recorded."""
        if self.graphs is None:
            return False
        stream = stream_at(current_stream(self.number), self.number)
        if capture_of(stream):
            return False
        _end_step(self.number)(1, stream, self.graphs.address, self.graphs.slots, self.graphs.counter, step, following)
        return step >= 0

    def fetch(self) -> None:
        """Begins to copy what rows there may be."""
        self.ring.fetch()
        if self.graphs is not None:
            self.graphs.fetch()

    def take(self, replayed: Callable[[int, int, npt.NDArray[np.int64]], None]) -> None:
        """Fills the rows that have come; those of graphs go to `replayed` with step and layer."""
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
            ring = Ring(self.number, self.ring.slots, counted=True)
            _captured.append(ring)
            side = side_stream(self.number)
            _end_step(self.number)(1, side, ring.address, ring.slots, ring.counter, -1, step)
            side.synchronize()
            self.graphs = ring
        return self.graphs

    def _memory(self, layer: _Layer, neurons: int, stream: int, graph: int) -> int:
        """The address of what the layer's neurons did, in the order of the stream."""
        nbytes = 8 * (HEAD_WORDS + NEURON_WORDS * neurons)
        if layer.memory is not None and layer.stream != stream and not graph:
            # A stream that was destroyed has done its work.
            with contextlib.suppress(Exception):
                order(stream_at(layer.stream, self.number), stream_at(stream, self.number))
        if layer.memory is None or layer.neurons != neurons:
            if layer.memory is not None and layer.memory.nbytes >= nbytes and not (graph or layer.captured):
                layer.memory.zero(stream_at(stream, self.number))
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

    def _room(self, work: int, tickets: int, stream: int, graph: int) -> tuple[int, int]:
        room = self._rooms.get((graph, stream))
        if room is None:
            room = self._rooms[graph, stream] = _Room()
            if graph:
                _captured.append(room)
        if room.work is None or room.work.nbytes < work:
            with relaxed():
                room.work = self._grown(room.work, DeviceMemory(max(2 * work, _WORK_BYTES)), graph)
        if room.tickets is None or room.tickets.nbytes < tickets:
            zeroed = self._zeroed(max(2 * tickets, _TICKET_BYTES), stream, graph)
            room.tickets = self._grown(room.tickets, zeroed, graph)
        return room.work.address, room.tickets.address

    def _grown(self, before: DeviceMemory | None, memory: DeviceMemory, graph: int) -> DeviceMemory:
        if before is not None:
            (_captured if graph else self._outgrown).append(before)
        return memory

    def _zeroed(self, nbytes: int, stream: int, graph: int) -> DeviceMemory:
        """Memory that is zero for what comes on the stream; of a graph, before it is replayed."""
        if not graph:
            with relaxed():
                return DeviceMemory(nbytes, stream_at(stream, self.number), zeroed=True)
        side = side_stream(self.number)
        memory = DeviceMemory(nbytes, side, zeroed=True)
        side.synchronize()
        return memory


@functools.cache
def _kernel(name: str, layout: Layout, surveyed: bool, device: int) -> Callable[..., None]:
    blocks = blocks_at_once(ELEMENT_TYPES[name], layout)
    return launcher(record_kernel(name, layout, surveyed=surveyed), device, THREADS, blocks)


@functools.cache
def _end_step(device: int) -> Callable[..., None]:
    return launcher(end_step_kernel(), device, 1)


class Recorder:
    """Records the rows of one monitor.

    Nothing of it raises but `Row.wait`: what fails makes rows that are lost.

    Args:
        dead_window: rows after which a silent neuron is dead.
        slots: rows of a ring.

    Attributes:
        replayed: by step, the layer's number and the row of each record in a graph that was replayed then.
        broken: why no more rows will come; None while they may.
    """

    def __init__(self, dead_window: int, slots: int = SLOTS) -> None:
        self.replayed: dict[int, list[tuple[int, Row]]] = {}
        self._dead_window = dead_window
        self._slots = slots
        self._devices: dict[int, _Device] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()
        self.broken: str | None = None
        self._lost = 0

    def record(self, layer: int, x: DeviceArray, shape: tuple[int, ...] | None, bounds: Bounds, step: int) -> Row:
        """Launches the sweep of `x`, 1-D, or with the shape of its neurons [outer, neurons, inner]; not empty."""
        row = Row(self, x.device, None if x.kept else x.array)
        if not self._alive():
            row.lose(str(self.broken))
            return row
        try:
            with self._lock, active(x.device):
                device = self._devices.get(x.device)
                if device is None:
                    with relaxed():
                        device = self._devices[x.device] = _Device(x.device, self._slots)
                if 2 * (device.ring.head - device.ring.tail) >= device.ring.slots:
                    with relaxed():
                        self._drain(device)
                try:
                    device.launch(row, layer, x, shape, bounds, step, self._dead_window)
                except BaseException:
                    device.settle()
                    raise
        except Exception as error:  # noqa: BLE001 - whatever a driver raises
            row.lose(f"{type(error).__name__}: {error}")
        return row

    def mix(self, layer: int) -> None:
        """Says that the step under way has rows of this layer from elsewhere: what its neurons did does not count."""
        for device in list(self._devices.values()):
            if layer in device.layers:
                device.layers[layer].mix()

    @property
    def graphs(self) -> bool:
        """Whether graphs were captured, whose replays may give rows."""
        return any(device.graphs is not None for device in self._devices.values())

    def end_step(self, step: int, following: int) -> Callable[[], bool]:
        """Ends a step for graphs; below 0 are steps that are not recorded. Returns whether all its replays are here."""
        if not (self.graphs and self._alive()):
            return lambda: True
        told: list[_Device] = []
        try:
            with self._lock:
                for number, device in self._devices.items():
                    with active(number):
                        if device.end_step(step, following):
                            told.append(device)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises
            self._break(f"{type(error).__name__}: {error}")
        return lambda: self.broken is not None or all(device.ended >= step for device in told)

    def poll(self) -> None:
        """Takes what rows are here, and has others fetched; does not wait."""
        if not (any(device.busy for device in list(self._devices.values())) and self._alive()):
            return
        try:
            with self._lock:
                for number, device in self._devices.items():
                    if device.busy:
                        with active(number), relaxed():
                            self._drain(device)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises
            self._break(f"{type(error).__name__}: {error}")

    def wait(self, done: Callable[[], bool]) -> None:
        """Returns when `done()`, which more rows should bring about."""
        pause = _FIRST_PAUSE
        while not done():
            self.poll()
            if done():
                return
            time.sleep(pause)
            pause = min(1.5 * pause, _LAST_PAUSE)

    def lost(self) -> int:
        """How many rows of graphs were overwritten before they could be fetched, since this was last asked."""
        total = sum(device.graphs.lost for device in list(self._devices.values()) if device.graphs is not None)
        new, self._lost = total - self._lost, total
        return new

    def _drain(self, device: _Device) -> None:
        device.settle()
        device.take(self._replayed)
        device.fetch()
        # What was copied at once, as little is on an idle device, need not wait for the next look; and of graphs it may
        # only now be known how much there is to copy.
        device.take(self._replayed)
        device.fetch()

    def _replayed(self, step: int, layer: int, words: npt.NDArray[np.int64]) -> None:
        row = Row(self, -1)
        row.fill(words)
        self.replayed.setdefault(step, []).append((layer, row))

    def _alive(self) -> bool:
        if self.broken is None and os.getpid() != self._process:
            self._break("this process was forked from the one that recorded it, and has no part in its devices")
        return self.broken is None

    def _break(self, why: str) -> None:
        """Gives up: no CUDA call can be expected to work."""
        self.broken = why
        for device in list(self._devices.values()):
            for row in list(device.rows.values()):
                row.lose(why)
            device.rows.clear()
