"""Finished steps on their way into history, log and listeners: in order, each whole, whatever interrupts.

A step that ends goes into a queue; its rows are made when no GPU is at work on it any more, and later steps wait
behind it. Without a GPU that is at once. First all rows of a step are made, which changes nothing, and then they are
handed over; what an interrupt (Ctrl-C may come between any two instructions) leaves undone is done at the
next call.

A signal handler that calls the monitor (a scheduler's SIGTERM asks for a last flush) may come in the middle of a step.
What it asks for waits then until the call that it interrupts is done: see `StepQueue.postpone`.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fastact.cpu.workspace import NeuronWorkspace
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.layer_types import PARAMETER
from fastact.errors import FastactError
from fastact.failures import FailureCounter
from fastact.fields import UNPACK_ROW
from fastact.history import LayerInfo
from fastact.log.writer import LogWriter
from fastact.monitor import layer as layers
from fastact.monitor.declared import Declared
from fastact.monitor.delivery import Delivery, FinishedStep, Listener, Rows
from fastact.monitor.kept_neurons import OFTEN, KeptNeurons
from fastact.monitor.layer import ALL, Drawn, Recorded, WatchedLayer, total_of
from fastact.monitor.pace import Pace
from fastact.neurons import Neurons

if TYPE_CHECKING:
    from fastact.cuda.arrays import DeviceArray
    from fastact.cuda.deferred import DeferredRows
    from fastact.cuda.recorder import DeferredRow


T = TypeVar("T")


class StepQueue:
    """The steps of a run: the one under way, and the finished ones that are not in history and log yet.

    Those steps are recorded that `pace` says. `diagnoser`, which has the history, and `writer` get the rows; `failures`
    counts those that are lost; `copies` says whether other ranks have copies of the parameters.

    Attributes:
        current: the step under way, from `start_step`.
        recorded: how many of the steps that have ended are recorded.
        layers: the layers by name, in forward order.
        declared: what was said of layers that have no row yet.
        lock: held while something is recorded, or a step ends. Its own thread may take it again, and sees by `_busy`
            that it is in the middle of something.
        deferred: the rows that GPUs compute; None before anything was recorded there.
        listeners: given each step's rows.
    """

    def __init__(
        self, pace: Pace, diagnoser: Diagnoser, writer: LogWriter | None, failures: FailureCounter, start_step: int = 0,
        *, copies: bool = False,
    ) -> None:  # fmt: skip
        self.current, self.recorded = start_step, 0
        self.layers: dict[str, WatchedLayer] = {}
        self.declared = Declared()
        self.lock = threading.RLock()
        self.deferred: DeferredRows | None = None
        self.listeners: list[Listener] = []
        self.pace, self._diagnoser, self._writer, self._failures = pace, diagnoser, writer, failures
        self._copies = copies
        self._kept = KeptNeurons(writer)
        #: With `strict`: what went wrong, to be raised at the end of the call.
        self._errors: list[Exception] = []
        self._finished: deque[FinishedStep] = deque()
        self._delivery: Delivery | None = None
        self._adding: LayerInfo | None = None
        #: Those that are known belong to the run that is resumed.
        self._next_order = max((layer.info.order for layer in diagnoser.history.values()), default=-1) + 1
        #: Set and cleared with nothing in between where Python looks for signals.
        self._busy = self._closed = False
        #: What signal handlers have asked for while the lock's owner was busy.
        self._postponed: deque[Callable[[], Any]] = deque()

    def postpone(self, call: Callable[[], Any] | None = None) -> bool:
        """Whether this thread was interrupted while it was busy here; `call` is then made as soon as it is not."""
        with self.lock:
            if self._busy and call is not None:
                self._postponed.append(call)
            return self._busy

    def _exclusively(self, work: Callable[..., T], *arguments: Any) -> T:
        """Calls `work` with the lock held, and then what was postponed meanwhile. Not for who has postponed himself."""
        try:
            with self.lock:
                self._busy = True
                try:
                    return work(*arguments)
                finally:
                    self._busy = False
        finally:
            while self._postponed and not self._busy:
                try:
                    self._postponed.popleft()()
                except Exception as error:  # noqa: BLE001 - as in `_make_rows`
                    if not self._closed:  # else another handler has, and all that was recorded before is there
                        self._failed("do what a signal handler has asked for", error)

    def add_layer(
        self, name: str, layer_type: str, dtype: str, saturation: tuple[float, float], sparse: bool
    ) -> WatchedLayer:
        """The layer of this name, which is new unless another thread has added it meanwhile."""
        return self._exclusively(self._add_layer, name, layer_type, dtype, saturation, sparse)

    def _add_layer(
        self, name: str, layer_type: str, dtype: str, saturation: tuple[float, float], sparse: bool
    ) -> WatchedLayer:
        self._finish_adding()
        if name not in self.layers:
            info = self.declared.info(name, self._next_order, layer_type, dtype, saturation, sparse)
            # In a run that was resumed, a layer stays what it was.
            self._adding = self._diagnoser.history[name].info if name in self._diagnoser.history else info
            self._finish_adding()
        return self.layers[name]

    def _finish_adding(self) -> None:
        """Makes a new layer known to all; after an interrupt, to those that do not know it yet, before another is."""
        info = self._adding
        if info is not None and info.name not in self.layers:
            try:
                # The log may refuse a name, so it is asked first: only a layer that all know gets rows.
                if self._writer is not None:
                    self._writer.add_layer(info)
            except FastactError:
                self._adding = None
                raise
            self._diagnoser.add(info)
            self._next_order = max(self._next_order, info.order + 1)
            copied = self._copies and info.layer_type == PARAMETER
            limits = layers.silence_limits(info, self._diagnoser.thresholds)
            self.layers[info.name] = WatchedLayer(self._diagnoser.followed(info.name), limits, copied=copied)
        self._adding = None

    def record(self, layer: WatchedLayer, recorded: Recorded, bits: int = 0, drawn: Drawn = ALL) -> None:
        """Adds what was recorded of a layer to the step under way, and of a copy the sum of its bits."""
        with self.lock:
            if self._busy:
                self._postponed.append(partial(self.record, layer, recorded, bits, drawn))
                return
            late = self._finished or self._delivery is not None
            if not late:
                # `_exclusively` written out, which costs as much again as all the rest.
                self._busy = True
                try:
                    layer.add(recorded, bits, drawn)
                finally:
                    self._busy = False
        if late:
            self._exclusively(self._record_late, layer, recorded, bits, drawn)
        elif self._postponed:
            self._exclusively(self._settle)

    def _record_late(self, layer: WatchedLayer, recorded: Recorded, bits: int, drawn: Drawn) -> None:
        """`record` after an interrupt, which may have kept the step from beginning."""
        self._settle()
        if self.pace.records(self.current):
            layer.add(recorded, bits, drawn)

    def record_deferred(
        self, layer: WatchedLayer, x: "DeviceArray", shape: tuple[int, ...] | None, bounds: tuple[float, float, float],
        drawn: Drawn = ALL,
    ) -> "DeferredRow | None":  # fmt: skip
        """Launches the sweep of what lies on a GPU, in the step under way; see `DeferredRows.record`."""
        if self.deferred is None:
            # numba.cuda takes a third of a second to load.
            from fastact.cuda.deferred import DeferredRows

            self.deferred = self._exclusively(lambda: self.deferred or DeferredRows())
        row = self.deferred.record(layer.info.order, x, shape, bounds, layer.limits, self.current)
        if row is not None:
            add = partial(self._add_deferred, self.deferred, row, layer, drawn)
            if not self.postpone(add):
                self._exclusively(add)
        return row

    def _add_deferred(self, deferred: "DeferredRows", row: "DeferredRow", layer: WatchedLayer, drawn: Drawn) -> None:
        self._settle()
        deferred.add(row, self.current)
        layer.left(drawn)

    @property
    def opens(self) -> bool:
        """Whether a step can be recorded out of turn: not with other ranks, which would not know of it."""
        return not self._closed and not self._copies

    def end_step(self) -> bool:
        """Ends the step under way, makes the rows that no GPU is at work on; returns whether the step is recorded."""
        step, recorded = self.current, False
        try:
            recorded, delivered = self._exclusively(self._end_step)
            if self.deferred is not None:
                self.deferred.poll()
                delivered = self._exclusively(self._deliver)
            self._tell(delivered)
        except MemoryError as error:  # rows that were made are handed on at the next call, as after an interrupt
            lost = self._exclusively(self._give_up, step)
            self._failed(f"end step {step}", error, lost)
        self._raise()
        return recorded

    def _give_up(self, step: int) -> int:
        """Goes on to the next step, if this one could not be put into the queue: how many rows there are not, then."""
        self._begin_next()
        if self.current != step:
            return 0
        lost = sum(layer.recorded is not None for layer in self.layers.values())
        self._forget_recorded()
        self.current += 1
        return lost

    def _forget_recorded(self) -> None:
        for layer in self.layers.values():
            layer.recorded, layer.drawn = None, ALL

    def _end_step(self) -> tuple[bool, list[Delivery]]:
        self._settle()
        recorded = self._hand_over()
        return recorded, self._deliver() if self._finished and self.deferred is None else []

    def catch_up(self) -> None:
        """Makes the rows of all finished steps, after an interrupt too; waits for a GPU that is at work on some."""
        while (self._finished or self._delivery is not None) and not self.postpone():
            if self.deferred is not None and (first := self._exclusively(self._first_finished)) is not None:
                self.deferred.wait(first.step)
            self._tell(self._exclusively(self._deliver))
        self._raise()

    def _first_finished(self) -> FinishedStep | None:
        return self._finished[0] if self._finished else None

    def finish(self) -> None:
        """Catches up, and ends the step under way if it has records, or may get some from the replay of a graph."""
        self._exclusively(self._settle)
        try:
            graphs = self.deferred is not None and self.deferred.due(self.current)
            if graphs or any(layer.recorded is not None for layer in self.layers.values()):
                self.end_step()
        finally:
            self.catch_up()
            self._exclusively(self._keep_all)

    def _keep_all(self) -> None:
        for layer in self.layers.values():
            self._kept.keep(layer)

    def keep_neurons(self, findings: Sequence[Finding]) -> None:
        """Keeps which neurons are dead of the layers of new findings."""
        if findings and not self.postpone():
            self._exclusively(self._kept.keep_found, findings, self.layers)

    def neurons(self, layer: str) -> Neurons:
        """What `ActivationMonitor.neurons` gives."""
        with self.lock:
            return self._kept.of(layer, self.layers)

    def close(self) -> None:
        """Gives up the finished steps that are left, if any are; closes the log and the listeners."""
        self._closed = True
        if self.deferred is not None:
            self.deferred.end_step(-1, -1)  # what is replayed from now on leaves nothing
        for finished in self._finished:
            error = FastactError("closing was interrupted")
            self._failed(f"keep the rows of step {finished.step}", error, rows=len(finished.layers))
        if self._writer is not None:
            self._writer.close()
        while self.listeners:
            self.listeners.pop(0).close()

    def _hand_over(self) -> bool:
        """Puts the step under way into the queue, if it is recorded, and begins the next one."""
        step, following = self.current, self.current + 1
        is_recorded = self.pace.records(step)
        watched = list(self.layers.values()) if is_recorded else []
        if self.deferred is None:  # a step in which nothing was drawn costs next to nothing
            watched = [layer for layer in watched if layer.recorded is not None]
        finished = FinishedStep.of(step, time.time_ns(), watched)
        self.pace.ended(step, self._diagnoser.changes)
        if self.deferred is not None:
            # A layer with elements on the host, too, has only the tensor in common with what a GPU swept.
            recorded = zip(finished.layers, finished.recorded, strict=True)
            here = [layer.info.order for layer, own in recorded if own is not None and total_of(own).count]
            goes_on = following if self.pace.records(following) else -1
            self.deferred.end_step(step if is_recorded else -1, goes_on, here)
        if is_recorded:
            self._finished.append(finished)
            self._begin_next()
        else:
            self.current = following
        return is_recorded

    def _begin_next(self) -> None:
        """Begins the next step, if the current one is in the queue."""
        if self._finished and self._finished[-1].step == self.current:
            self._forget_recorded()
            self.current += 1
            self.recorded += 1

    def _deliver(self) -> list[Delivery]:
        """Makes the rows of the steps that a GPU is done with, and hands them to history and log."""
        self._settle()
        delivered: list[Delivery] = []
        while self._finished and (self.deferred is None or self.deferred.ready(self._finished[0].step)):
            finished = self._finished[0]
            logged = 0 if self._writer is None else self._writer.appended
            self._delivery = delivery = Delivery(finished.step, logged, self._make_rows(finished))
            self._settle()
            delivered.append(delivery)
            for layer, recorded in zip(finished.layers, finished.recorded, strict=True):
                if type(recorded) is NeuronWorkspace:
                    layer.plans.free.append(recorded)
        if self.deferred is not None:
            for _ in range(self.deferred.lost()):
                error = FastactError("there were more replays than the device's ring has room for between two steps")
                self._failed("keep a row of a replayed CUDA graph", error, rows=1)
        return delivered

    def _make_rows(self, finished: FinishedStep) -> Rows:
        """Makes a step's rows and changes nothing, so that an interrupt leaves everything as it was."""
        rows = Rows() if self.deferred is not None else Rows.at_once(finished)
        if rows.layers:
            return rows
        deferred = () if self.deferred is None else self.deferred.layers(finished.step)
        step, ended, *columns = finished
        for layer, recorded, rest in zip(*columns, strict=True):
            try:
                if self.deferred is not None and layer.info.order in deferred:
                    found = self.deferred.numbers(step, layer.info.order)
                    rows.append(layers.row_with_deferred(layer, recorded, rest, step, ended, *found))
                elif recorded is not None:
                    rows.append(layers.row_of(layer, recorded, rest, step, ended))
            except Exception as error:  # noqa: BLE001 - a layer must not take the others, or the training, with it
                self._failed(f"keep a row of layer {layer.info.name!r}", error, rows=1)
        return rows

    def _settle(self) -> None:
        """Hands the rows that were made to history and log; after an interrupt, those that they have not had yet."""
        self._begin_next()
        if self._delivery is None:
            return
        step, logged, rows = self._delivery
        for layer, _, _, silence, density in rows.silent:
            layer.silence_step = step
            layer.silence, layer.density = silence, density
        self._try(f"judge the rows of step {step}", self._diagnoser.append_step, step, rows.followed())
        if self._writer is not None:
            try:
                self._writer.append_all(rows.packed[self._writer.appended - logged :])
            except Exception as error:  # noqa: BLE001 - as in `_make_rows`
                lost = logged + len(rows.packed) - self._writer.appended
                self._failed(f"log the rows of step {step}", error, lost)
        for layer, row, before, _, _ in rows.silent:
            if not (before + 1) % OFTEN:
                self._try(f"keep the dead neurons of {layer.info.name!r}", self._kept.look, layer, UNPACK_ROW(row))
        if self._finished and self._finished[0].step == step:
            if self.deferred is not None:
                self.deferred.forget(step)
            self._finished.popleft()
        self._delivery = None

    def _try(self, what: str, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001 - as in `_make_rows`
            self._failed(what, error)

    def _tell(self, delivered: list[Delivery]) -> None:
        """Gives the listeners rows that are in history and log."""
        if self._writer is not None:
            self._writer.warn()
        for delivery in delivered:
            if self.pace.measured:
                self.pace.took(delivery.rows.numbers())
            for listener in self.listeners:
                try:
                    listener.write(delivery.step, delivery.rows.by_name())
                except Exception as error:  # noqa: BLE001 - as in `_make_rows`
                    self._failed("hand its rows to a listener", error)

    def _failed(self, what: str, error: Exception, rows: int = 0) -> None:
        self._failures.failed(what, error, rows)
        if self._failures.strict:
            self._errors.append(error)

    def _raise(self) -> None:
        if self._errors:
            error, self._errors = self._errors[0], []
            raise error
