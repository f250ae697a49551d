"""The rows of a monitor that are computed on GPUs: all that `fastact.monitor` needs to know of them.

A row is launched at once and arrives later; only who reads it waits. What was recorded while a CUDA graph was captured
gives a row at each replay of the graph, in the step of the replay.

Example::

    rows = DeferredRows()
    row = rows.record(layer, x, shape, bounds, limits, step)   # launched; None: sweep it at once
    rows.add(row, step)
    rows.end_step(step, step + 1)
    while not rows.ready(step):
        rows.poll()
    states, neurons = rows.numbers(step, layer)
    rows.forget(step)
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.arithmetic import State
from fastact.arithmetic.silence import SilenceLimits
from fastact.cuda.arrays import DeviceArray
from fastact.cuda.driver import active, relaxed
from fastact.cuda.framework_rows import FrameworkRows
from fastact.cuda.layouts import Bounds
from fastact.cuda.proof import stand_in
from fastact.cuda.recorder import DeferredRow, DeviceRecorder
from fastact.cuda.ring import SLOTS
from fastact.errors import FastactError

#: Seconds after which a host that waits for rows looks again; the longer it has waited, the less often.
_FIRST_PAUSE: Final = 20e-6
_LAST_PAUSE: Final = 1e-3


class DeferredRows:
    """The rows of one monitor, on all devices.

    Only `DeferredRow.wait` and `numbers` raise: where anything fails, rows are lost.

    Args:
        slots: rows that may be under way on a device.
    """

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = slots
        self._devices: dict[int, DeviceRecorder] = {}
        self._by_framework = FrameworkRows()
        self._lock = threading.Lock()
        self._process = os.getpid()
        self.broken: str | None = None  #: why no more rows will come; None while they may
        # By step and layer:
        self._recorded: dict[int, dict[int, list[DeferredRow]]] = {}
        self._replayed: dict[int, dict[int, list[DeferredRow]]] = {}  # rows of replayed graphs
        self._told: dict[int, list[DeviceRecorder]] = {}  # the devices whose graphs' ring will tell of a step's end
        self._mixed: dict[int, set[int]] = {}  # layers that had elements on the host too
        self._at_once: set[int] = set()  # layers on several devices, none of which knows all of the neurons
        self._lost = 0

    def record(
        self,
        layer: int,
        x: DeviceArray,
        shape: tuple[int, ...] | None,
        bounds: Bounds,
        limits: SilenceLimits,
        step: int,
    ) -> DeferredRow | None:
        """Launches the sweep of `x`, which is not empty: 1-D, or with the shape of its neurons [outer, neurons, inner].

        `limits` say when a neuron of the layer is dead.

        None means that the layer's elements lie on several devices: sweep it while the host waits.
        """
        before = self._recorded.get(step, {}).get(layer)
        if before and before[-1].device != x.device:
            self._at_once.add(layer)
        if layer in self._at_once:
            return None
        row = DeferredRow(self, layer, x.device, None if x.kept else x.array)
        if not self._alive():
            row.lose(str(self.broken))
            return row
        try:
            size = (x.array.size, 1, 1) if shape is None else x.array.shape
            by = stand_in(x, size, "record" if shape is None else "record neurons")
            if by is not None:
                with self._lock:
                    self._by_framework.launch(by, row, layer, x, shape, bounds, limits, step)
                return row
            with self._lock, active(x.device):
                device = self._devices.get(x.device)
                if device is None:
                    with relaxed():
                        device = self._devices[x.device] = DeviceRecorder(x.device, self._slots)
                if device.half_full:
                    with relaxed():
                        device.drain(self._add_replayed)
                device.launch(row, layer, x, shape, bounds, limits, step)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises
            row.lose(f"{type(error).__name__}: {error}")
        return row

    def add(self, row: DeferredRow, step: int) -> None:
        """Adds a row to a step, unless a graph captured it: then its replays count."""
        if not row.captured:
            self._recorded.setdefault(step, {}).setdefault(row.layer, []).append(row)

    def due(self, step: int) -> bool:
        """Whether the step under way has rows, or may have them from the replay of a graph."""
        return bool(self._recorded.get(step)) or self._has_graphs

    def end_step(self, step: int, following: int, mixed: Iterable[int] = ()) -> None:
        """Ends a step; `following` begins. A step below 0 is not recorded, or will never come.

        For the neurons of the layers in `mixed`, which had elements on the host too, the step does not count.
        """
        self._mixed[step] = set(mixed)
        for layer in self._mixed[step]:
            if layer in self._recorded.get(step, {}):
                for device in list(self._devices.values()):
                    device.mix(layer)
                self._by_framework.mix(layer, step)
        if not (self._has_graphs and self._alive()):
            return
        try:
            with self._lock:
                for number, device in self._devices.items():
                    with active(number):
                        if device.end_step(step, following):
                            self._told.setdefault(step, []).append(device)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises
            self._break(f"{type(error).__name__}: {error}")

    def ready(self, step: int) -> bool:
        """Whether all rows of a step that has ended are here, or lost."""
        if not all(row.done for rows in self._recorded.get(step, {}).values() for row in rows):
            return False
        return self.broken is not None or all(device.ended >= step for device in self._told.get(step, ()))

    def wait(self, step: int) -> None:
        """Returns when a step that has ended is `ready`."""
        self.wait_until(lambda: self.ready(step))

    def layers(self, step: int) -> set[int]:
        """The layers that have rows in a step, as far as they are known."""
        return {*self._recorded.get(step, ()), *self._replayed.get(step, ())}

    def numbers(self, step: int, layer: int) -> tuple[list[State], tuple[Any, ...] | None]:
        """The states of a layer's rows in a step that is `ready`, one at least, and the numbers of `fields.NEURON`.

        The latter are None where the rows tell of no neurons, or of those of several devices, or the layer is `mixed`.

        Raises:
            FastactError: a row is lost.
        """
        rows = [row for found in (self._recorded, self._replayed) for row in found.get(step, {}).get(layer, ())]
        lost = next((row.lost for row in rows if row.lost is not None), None)
        if lost is not None:
            raise FastactError(f"a part of it was lost: {lost}")
        states = [row.wait() for row in rows]
        # The device counts for how long neurons have been silent, and a row includes those before it in the step.
        last = max(rows, key=lambda row: row.part)
        same = len({(row.device, row.neurons[0]) for row in rows}) == 1
        known = same and last.neurons[0] and layer not in self._mixed.get(step, ())
        return states, last.neurons if known else None

    def forget(self, step: int) -> None:
        """Drops the rows of a step that nobody will ask for again."""
        for found in (self._recorded, self._replayed, self._told, self._mixed):
            found.pop(step, None)

    def poll(self) -> None:
        """Takes the rows that have arrived and begins to fetch others; does not wait."""
        busy = self._by_framework.busy or any(device.busy for device in list(self._devices.values()))
        if not (busy and self._alive()):
            return
        try:
            with self._lock:
                self._by_framework.take()
                for number, device in self._devices.items():
                    if device.busy:
                        with active(number), relaxed():
                            device.drain(self._add_replayed)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises
            self._break(f"{type(error).__name__}: {error}")

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Returns when `done()`, which more rows should bring about."""
        pause = _FIRST_PAUSE
        while not done():
            self.poll()
            if done():
                return
            time.sleep(pause)
            pause = min(1.5 * pause, _LAST_PAUSE)

    def lost(self) -> int:
        """How many rows of replayed graphs were overwritten before they could be fetched, since this was last asked."""
        total = sum(device.graphs.lost for device in list(self._devices.values()) if device.graphs is not None)
        new, self._lost = total - self._lost, total
        return new

    @property
    def _has_graphs(self) -> bool:
        return any(device.graphs is not None for device in self._devices.values())

    def _add_replayed(self, step: int, layer: int, words: npt.NDArray[np.int64]) -> None:
        row = DeferredRow(self, layer, -1)
        row.fill(words)
        self._replayed.setdefault(step, {}).setdefault(layer, []).append(row)

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
        self._by_framework.lose(why)
