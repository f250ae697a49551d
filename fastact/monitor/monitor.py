"""The monitor of a training run: sweeps what it is given, one row per layer and step, into history and log.

`record` is the only part on the training's path: it sweeps and keeps the summary until the step ends. A step's rows
go to the diagnoser (which holds the history) and to the log's buffer, in forward order, as a replay will see them.

What lies on a GPU is swept there when the device comes to it. A step that has such rows waits in a queue until all of
them are here, and the steps after it wait behind it; the training waits for none.
"""

import dataclasses
import json
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from fastact.arithmetic import State
from fastact.arrays.host import on_gpu
from fastact.checks import check_integer, check_saturation, check_type
from fastact.cpu.workspace import NeuronWorkspace
from fastact.diagnosis.diagnoser import Diagnoser, Diagnosis
from fastact.diagnosis.finding import Severity
from fastact.diagnosis.layer_types import BOUNDED
from fastact.diagnosis.rules import Thresholds
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError
from fastact.failures import Guard
from fastact.fields import NEURON, SATURATED_SHARE, SILENT_SHARE
from fastact.history import History, LayerHistory, LayerInfo
from fastact.log.options import LogOptions
from fastact.log.schema import check_metadata
from fastact.log.writer import LogWriter
from fastact.monitor.alerts import Action, Alerts
from fastact.stats.activation import (
    SATURATION,
    ActivationStats,
    ChannelStats,
    as_logged,
    merge,
    wrap,
    wrap_late,
    wrap_swept,
)
from fastact.stats.summarize import Sweeper, gpu_view, summarize

if TYPE_CHECKING:
    from fastact.cuda.deferred import DeferredRows

__all__ = ["ActivationMonitor", "Listener"]

_NO_NEURONS: Final = tuple(field.nothing for field in NEURON)


class Listener(Protocol):
    """What `ActivationMonitor.listen` takes."""

    def write(self, step: int, rows: Mapping[str, tuple[Any, ...]]) -> None:
        """Takes the rows of a recorded step by layer, each the numbers of `fields.ROW`; it should not raise."""

    def close(self) -> None:
        """Is called once, when the monitor is closed."""


class _Layer:
    """What the monitor keeps of a layer between calls."""

    __slots__ = ("history", "info", "pending", "rows", "silence", "sweeper")

    def __init__(self, info: LayerInfo, history: LayerHistory) -> None:
        self.info = info
        self.history = history
        self.sweeper = Sweeper(info.saturation)
        #: What was recorded in this step so far.
        self.pending: _Stats | None = None
        #: For how many rows in sequence each neuron has been silent, and the rows it has been counted over.
        self.silence = np.zeros(0, np.int64)
        self.rows = 0

    def add(self, stats: "_Stats") -> None:
        """Merges a part of this step's activations into what was recorded before."""
        before = self.pending
        if before is None:
            self.pending = stats
            return
        before, stats = _as_stats(before), _as_stats(stats)
        if type(before) is type(stats) and getattr(before, "shape", ()) == getattr(stats, "shape", ()):
            self.pending = before | stats  # type: ignore[operator]
        else:  # parts with other neurons: what they share is the tensor
            self.pending = _total(before) | _total(stats)

    def clear(self) -> None:
        """Forgets what was recorded in this step."""
        before, self.pending = self.pending, None
        if type(before) is NeuronWorkspace:
            self.sweeper.free.append(before)

    def numbers(self, part: "_Part", dead_window: int) -> tuple[tuple[Any, ...], npt.NDArray[np.int64], int]:
        """A step's `fields.STATE` and `fields.NEURON`, and `silence` and `rows` with them; changes nothing."""
        if part.deferred:
            return self._deferred_numbers(part), self.silence, self.rows
        stats = part.stats
        assert stats is not None
        if isinstance(stats, NeuronWorkspace):
            neurons = stats.plan.neurons
        else:
            neurons = stats.neurons if isinstance(stats, ChannelStats) and stats.total.count else 0
            if not isinstance(stats, ChannelStats) or not neurons:
                return (*as_logged(_total(stats).state), *_NO_NEURONS), self.silence, self.rows
        same = neurons == self.silence.size
        silence = self.silence.copy() if same else np.zeros(neurons, np.int64)
        rows = self.rows + 1 if same else 1
        numbers = stats.numbers(SILENT_SHARE, SATURATED_SHARE, silence, min(rows, dead_window))
        return numbers, silence, rows

    def _deferred_numbers(self, part: "_Part") -> tuple[Any, ...]:
        parts = [wrap(state, (*self.info.saturation, 0.0)) for state in part.deferred]
        total = merge(parts if part.stats is None else [_total(part.stats), *parts])
        return (*as_logged(total.state), *part.neurons)


class _Part(NamedTuple):
    """What was recorded of a layer in a step: stats on the host, and states and `fields.NEURON` from a GPU."""

    layer: _Layer
    stats: "_Stats | None"
    deferred: Sequence[State] = ()
    neurons: tuple[Any, ...] = _NO_NEURONS


class _Ended(NamedTuple):
    """A step that has ended, when, and what was recorded in it on the host."""

    step: int
    time: int
    parts: list[_Part]


class _Due(NamedTuple):
    """A row on its way into history and log, and what its layer keeps then; `total` rows were in its history before."""

    layer: _Layer
    row: tuple[Any, ...]
    total: int
    silence: npt.NDArray[np.int64]
    rows: int


def _given(x: ActivationStats | ChannelStats, saturation: tuple[float, float]) -> ActivationStats | ChannelStats:
    """Stats of a sweep made elsewhere."""
    if x.saturation != saturation:
        raise ArgumentValueError(f"x: got stats with saturation={x.saturation}, want {saturation} as for this layer")
    return x


#: What is recorded of a layer: stats, or what hooks leave, memory that is used again after the step.
_Stats = ActivationStats | ChannelStats | NeuronWorkspace


def _as_stats(stats: _Stats) -> ActivationStats | ChannelStats:
    return wrap_swept(stats) if isinstance(stats, NeuronWorkspace) else stats


def _total(stats: _Stats) -> ActivationStats:
    stats = _as_stats(stats)
    return stats.total if isinstance(stats, ChannelStats) else stats


class ActivationMonitor:
    """Watches the activations of a training run.

    Args:
        path: directory of the run's log; None keeps the recent window in memory only. A run that is there already is
            continued in new segments.
        window_size: rows of each layer in memory, for `history` and `diagnose` (some 180 bytes each), 1 to a million.
        every: record every so many-th step; in the others `record` returns None and costs nothing.
        metadata: text about the run that goes into the log's schema; ``window_size``, ``every`` and ``thresholds`` are
            written there by the monitor itself.
        thresholds: what the diagnosis compares with.
        log: how the log is written and how much of it is kept; `LogOptions()` by default.
        on_finding: what to do with a new finding while the network trains: "raise" (a `FindingError` out of `step`),
            "log" (a warning of the logger "fastact"), "stop" (`should_stop` becomes true), or a function that is called
            with it, whose errors are not caught. Each finding is told once, and again when it has become graver;
            what follows from another one is not told. None: nothing is done.
        alert_severity: the least severity that is told.
        alert_every: recorded steps from one look to the next; a look takes some milliseconds for 100 layers.
        strict: let what goes wrong inside of `step` raise; else it costs that layer's row, is counted in `failures`
            and warned of once, for no monitor is worth a training run.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument is unusable.
        LogError: `path` cannot be written to.

    Example:
        >>> with ActivationMonitor() as monitor:
        ...     for _ in range(10):
        ...         stats = monitor.record("act", np.zeros((64, 8), np.float32), axis=-1, layer_type="ReLU")
        ...         monitor.step()
        ...     finding = monitor.diagnose().findings[0]
        >>> stats.zeros, finding.layer, finding.condition, finding.severity
        (512, 'act', 'dead', 'critical')
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        window_size: int = 100,
        every: int = 1,
        metadata: Mapping[str, str] | None = None,
        thresholds: Thresholds | None = None,
        log: LogOptions | None = None,
        on_finding: Action | None = None,
        alert_severity: Severity = "serious",
        alert_every: int = 10,
        strict: bool = False,
    ) -> None:
        check_integer("every", every, 1)
        own = check_metadata(metadata)
        if log is not None:
            check_type("log", log, LogOptions, "a fastact.LogOptions")
        self._alerts = None if on_finding is None else Alerts(on_finding, alert_severity, alert_every)
        self._every = every
        self._diagnoser = Diagnoser(window_size, thresholds)
        self._dead_window = self._diagnoser.thresholds.dead_window
        self._layers: dict[str, _Layer] = {}
        self._step = 0
        #: A finished step, its rows on their way, and how many rows the log had been given before them.
        self._due: tuple[int, int, list[_Due]] | None = None
        #: What sweeps on GPUs, once something was recorded there, and the finished steps that wait for it.
        self._deferred: DeferredRows | None = None
        self._ended: deque[_Ended] = deque()
        self._guard = Guard("fastact", strict=strict, counter="ActivationMonitor.failures")
        self._closed = False
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()
        self._writer: LogWriter | None = None
        if path is not None:
            facts = {
                "window_size": str(window_size),
                "every": str(every),
                "thresholds": json.dumps(dataclasses.asdict(self._diagnoser.thresholds)),
            }
            self._writer = LogWriter(path, log, metadata={**own, **facts})

    @property
    def active(self) -> bool:
        """Whether the current step is recorded: ask before work that only `record` needs."""
        return not self._closed and self._step % self._every == 0

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def failures(self) -> int:
        """How many rows could not be kept; the first one was warned of."""
        return self._guard.failures

    @property
    def should_stop(self) -> bool:
        """Whether a finding asks the loop to stop: true for good after the first one, with ``on_finding="stop"``."""
        return self._alerts is not None and self._alerts.stop

    @property
    def current_step(self) -> int:
        """The step under way, from 0: how often `step` was called."""
        return self._step

    @property
    def history(self) -> History:
        """The last `window_size` rows of each layer, by name; waits for finished steps that a GPU is not done with."""
        self._catch_up()
        return self._diagnoser.history

    def record(
        self,
        name: str,
        x: Any,
        *,
        axis: int | tuple[int, ...] | None = None,
        layer_type: str = "",
        saturation: tuple[float, float] | None = None,
        dtype: str = "",
        kind: str | None = None,
    ) -> ActivationStats | None:
        """Sweeps the activations of a layer in the current step; a second part of the same step is merged in.

        What lies on a GPU is swept there, by one launch on its owner's current stream, and the call does not wait for
        it: it returns stats that wait when they are read, and the row follows when the device has it. Captured into a
        CUDA graph, the sweep gives a row at each replay; capture in a step that is recorded, after recording a layer of
        the same kind once outside of it, and call `step` with the stream current on which the graph is replayed. A
        graph that is replayed more often between two steps than fits 4096 rows loses the oldest, which is counted in
        `failures`.

        Args:
            name: the layer's name.
            x: anything that `summarize` takes; or the stats of a sweep made elsewhere, such as on a device.
            axis: the neurons' axis, for a row that tells of single neurons (dead ones); -1 for [batch, ..., neurons].
            layer_type: the layer's type, such as "ReLU": the diagnosis judges a Tanh and a Linear differently.
            saturation: the interval outside which an element is saturated; by default that of the type's ends.
                `layer_type` and `saturation` hold for the run as they were when the layer was first recorded.
            dtype: that of the activations, by default that of `x`.
            kind: another name of `layer_type`, older.

        Returns:
            The stats of this `x`, or None in a step that is not recorded. `DeferredStats` of what lies on a GPU: a
            kind of `ActivationStats`, whose ``ready`` says whether reading it would wait.

        Raises:
            ArgumentTypeError, ArgumentValueError: what `summarize` raises; nothing is recorded then.
            FastactError: the monitor is closed.
        """
        if self._closed:
            raise FastactError(f"the monitor is closed: cannot record {name!r}")
        if self._step % self._every:
            return None
        if not isinstance(name, str) or not name:
            raise ArgumentTypeError(f"name: got {name!r}, want a non-empty str")
        layer = self._layers.get(name)
        swept = None if layer is None else layer.sweeper.quick(x, axis, [])
        if swept is not None:
            stats: ActivationStats | ChannelStats = wrap_swept(swept)
        else:
            if layer is not None:
                interval = layer.info.saturation
            else:
                if kind is not None:
                    layer_type = kind
                check_type("layer_type" if kind is None else "kind", layer_type, str, "a str")
                interval = BOUNDED.get(layer_type, SATURATION) if saturation is None else saturation
            if isinstance(x, (ActivationStats, ChannelStats)):
                stats = _given(x, interval)
            elif on_gpu(x) and (found := self._record_deferred(name, x, axis, layer_type, interval, dtype)) is not None:
                return found
            elif layer is not None:
                stats = layer.sweeper.sweep(x, axis)
            else:
                stats = summarize(x, axis=axis, saturation=interval)
            layer = layer or self._add_layer(name, x, layer_type, dtype, stats.saturation)
        assert layer is not None
        self._add(layer, stats)
        return _total(stats)

    def _add(self, layer: _Layer, stats: _Stats) -> None:
        with self._lock:
            if self._due is not None or self._ended:
                self._settle([])
            layer.add(stats)

    def record_in_place(self, name: str, x: Any, axis: int | None, layer_type: str) -> None:
        """`record` for those who look at no stats, such as hooks: each step is swept in the memory of the one before.

        Raises what `record` raises.
        """
        layer = self._layers.get(name)
        if layer is not None and self.active:
            swept = layer.sweeper.quick(x, axis, layer.sweeper.free)
            if swept is not None:
                self._add(layer, swept)
                return
        self.record(name, x, axis=axis, layer_type=layer_type)

    #: The older name of `record_in_place`.
    keep = record_in_place

    def _add_layer(self, name: str, x: Any, layer_type: str, dtype: str, saturation: tuple[float, float]) -> _Layer:
        dtype = dtype or str(getattr(x, "dtype", "")).removeprefix("torch.")
        with self._lock:
            layer = self._layers.get(name)
            if layer is None:
                info = LayerInfo(name, len(self._layers), layer_type, dtype, saturation)
                # The log is first to refuse a name, and only a layer that all know gets rows.
                if self._writer is not None:
                    self._writer.add_layer(info)
                self._diagnoser.add(info)
                layer = self._layers[name] = _Layer(info, self._diagnoser.history[name])
            return layer

    def _record_deferred(
        self, name: str, x: Any, axis: int | tuple[int, ...] | None, layer_type: str, saturation: Any, dtype: str
    ) -> ActivationStats | None:
        """Launches the sweep of what lies on a GPU; None where it is to be swept at once."""
        found, shape = gpu_view(x, axis)
        if not found.array.size:
            return None
        layer = self._layers.get(name) or self._add_layer(name, x, layer_type, dtype, check_saturation(saturation))
        if self._deferred is None:
            from fastact.cuda.deferred import DeferredRows

            with self._lock:
                self._deferred = self._deferred or DeferredRows(self._dead_window)
        bounds = (*layer.info.saturation, 0.0)
        row = self._deferred.record(layer.info.order, found, shape, bounds, self._step)
        if row is None:
            return None
        with self._lock:
            self._settle([])
            self._deferred.add(row, self._step)
        return wrap_late(row, bounds)

    def step(self) -> None:
        """Ends a training step: what was recorded in it becomes one row per layer, in history and log.

        Raises:
            FastactError: the monitor is closed.
            FindingError: there is a new finding, and ``on_finding="raise"``. The step is over then, and kept.
        """
        if self._closed:
            raise FastactError("the monitor is closed: cannot end a step")
        if self._end_step() and self._alerts is not None:
            self._alerts.look(self._diagnoser)

    def listen(self, listener: Listener) -> None:
        """Has the rows of each recorded step handed to `listener` as the step ends; see `fastact.sinks.attach`."""
        self._listeners.append(listener)

    def _end_step(self) -> bool:
        """Makes the rows of this step, and of those before that a GPU is done with; whether this one is recorded."""
        trouble: list[Exception] = []
        told: list[tuple[int, list[_Due]]] = []
        with self._lock:
            self._settle(trouble)
            step = self._step
            recorded = step % self._every == 0
            if self._deferred is not None:
                self._hand_over(self._deferred, recorded)
            elif recorded:
                parts = [_Part(layer, layer.pending) for layer in self._layers.values() if layer.pending is not None]
                told.append(self._keep(_Ended(step, time.time_ns(), parts), trouble))
            else:
                self._step += 1
        if self._deferred is not None:
            self._deferred.poll()
            told = self._advance(trouble)
        self._tell(told, trouble)
        if trouble and self._guard.strict:
            raise trouble[0]
        return recorded

    def _hand_over(self, deferred: "DeferredRows", recorded: bool) -> None:
        """Puts the step into the queue, where it waits for its rows."""
        step, following = self._step, self._step + 1
        upcoming = -1 if following % self._every else following
        if not recorded:
            deferred.end_step(-1, upcoming)
            self._step = following
            return
        parts = [_Part(layer, layer.pending) for layer in self._layers.values()]
        deferred.end_step(step, upcoming, [part.layer.info.order for part in parts if self._mixed(part, step)])
        self._ended.append(_Ended(step, time.time_ns(), parts))
        self._move_on()

    def _mixed(self, part: _Part, step: int) -> bool:
        """Whether a layer has elements in a step both on the host and on a GPU: only the tensor is common to them."""
        assert self._deferred is not None
        deferred = self._deferred.layers(step)
        return part.stats is not None and part.layer.info.order in deferred and _total(part.stats).count > 0

    def _move_on(self) -> None:
        """Begins the next step, if this one is in the queue."""
        if self._ended and self._ended[-1].step == self._step:
            for layer in self._layers.values():
                layer.pending = None
            self._step += 1

    def _advance(self, trouble: list[Exception]) -> list[tuple[int, list[_Due]]]:
        """Makes the rows of the steps that nothing is under way of."""
        assert self._deferred is not None
        told = []
        with self._lock:
            self._settle(trouble)
            while self._ended and self._deferred.ready(self._ended[0].step):
                told.append(self._keep(self._ended[0], trouble))
            for _ in range(self._deferred.lost()):
                error = FastactError("there were more replays than the device's ring has room for between two steps")
                trouble.append(error)
                self._guard.failed("keep a row of a replayed CUDA graph", error)
        return told

    def _catch_up(self) -> None:
        """Waits for what a GPU is not done with of finished steps, and makes their rows."""
        trouble: list[Exception] = []
        while self._deferred is not None and self._ended:
            with self._lock:
                ended = self._ended[0] if self._ended else None
            if ended is not None:
                self._deferred.wait(ended.step)
            self._tell(self._advance(trouble), trouble)
        if trouble and self._guard.strict:
            raise trouble[0]

    def _tell(self, told: Iterable[tuple[int, list[_Due]]], trouble: list[Exception]) -> None:
        """Hands rows that are in history and log to the listeners."""
        if self._writer is not None:
            self._writer.warn()
        for step, due in told:
            for listener in self._listeners:
                try:
                    listener.write(step, {item.layer.info.name: item.row for item in due})
                except Exception as error:  # noqa: BLE001 - as for a layer
                    trouble.append(error)
                    self._guard.failed("hand its rows to a listener", error)

    def _keep(self, ended: _Ended, trouble: list[Exception]) -> tuple[int, list[_Due]]:
        due = self._prepare(ended, trouble)
        self._due = (ended.step, 0 if self._writer is None else self._writer.appended, due)
        self._settle(trouble)
        return ended.step, due

    def _prepare(self, ended: _Ended, trouble: list[Exception]) -> list[_Due]:
        """Makes a step's rows and changes nothing, so that an interrupt leaves everything as it was."""
        rows = []
        layers = set() if self._deferred is None else self._deferred.layers(ended.step)
        for part in ended.parts:
            layer, name = part.layer, part.layer.info.name
            if part.stats is None and layer.info.order not in layers:
                continue
            try:
                whole = self._with_deferred(part, ended.step) if layer.info.order in layers else part
                numbers, silence, count = layer.numbers(whole, self._dead_window)
            except Exception as error:  # noqa: BLE001 - a layer must not take the others, or the training, with it
                if ended.step == self._step:
                    layer.clear()
                trouble.append(error)
                self._guard.failed(f"keep a row of layer {name!r}", error)
                continue
            row = (ended.step, layer.info.order, ended.time, *numbers)
            rows.append(_Due(layer, row, layer.history.total, silence, count))
        return rows

    def _with_deferred(self, part: _Part, step: int) -> _Part:
        assert self._deferred is not None
        states, neurons = self._deferred.numbers(step, part.layer.info.order)
        if neurons is None or self._mixed(part, step):
            return part._replace(deferred=states)
        return part._replace(deferred=states, neurons=neurons)

    def _settle(self, trouble: list[Exception]) -> None:
        """Gives the rows that were made to history and log; after an interrupt, those that they have not had yet."""
        self._move_on()
        if self._due is None:
            return
        step, given, rows = self._due
        under_way = step == self._step
        for layer, row, total, silence, count in rows:
            layer.silence, layer.rows = silence, count
            if under_way:
                layer.clear()
            try:
                if layer.history.total == total:
                    self._diagnoser.append(layer.info.name, row)
                if self._writer is not None and self._writer.appended == given:
                    self._writer.append(row)
                given += 1
            except Exception as error:  # noqa: BLE001 - as in `_prepare`
                trouble.append(error)
                self._guard.failed(f"keep a row of layer {layer.info.name!r}", error)
        if under_way:
            self._step = step + 1
        elif self._ended and self._ended[0].step == step:
            if self._deferred is not None:
                self._deferred.forget(step)
            self._ended.popleft()
        self._due = None

    def diagnose(self) -> Diagnosis:
        """What is wrong now, judged by the rows in the window; finished steps only, all of them: it waits for a GPU."""
        with self._lock:
            self._settle([])
        self._catch_up()
        return self._diagnoser.diagnose()

    def flush(self) -> None:
        """Puts every finished step into the log; returns when it is there. Does nothing without a path.

        A disk that refuses costs no more than a warning: the rows then wait in memory.
        """
        if self._writer is not None and not self._closed:
            with self._lock:
                self._settle([])
            self._catch_up()
            self._writer.flush()

    def close(self) -> None:
        """Ends the step under way, if anything was recorded in it, and seals the log. A second call does nothing."""
        if self._closed:
            return
        try:
            with self._lock:
                self._settle([])
            try:
                due = self._deferred is not None and self._deferred.due(self._step)
                if due or any(layer.pending is not None for layer in self._layers.values()):
                    self._end_step()
            finally:
                self._catch_up()
        finally:
            self._closed = True
            if self._deferred is not None:
                # What is replayed from now on leaves nothing.
                self._deferred.end_step(-1, -1)
            for ended in self._ended:
                self._guard.failed(f"keep the rows of step {ended.step}", FastactError("closing was interrupted"))
            if self._writer is not None:
                self._writer.close()
            for listener in self._listeners:
                listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "memory" if self._writer is None else repr(str(self._writer.path))
        return f"ActivationMonitor({where}, step={self._step}, layers={len(self._layers)})"
