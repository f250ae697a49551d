"""The monitor of a training run: sweeps what it is given, one row per layer and step, into history and log.

`record` is the only part on the training's path: it sweeps and keeps the summary until the step ends. A step's rows
go to the diagnoser (which holds the history) and to the log's buffer, in forward order, as a replay will see them.
"""

import dataclasses
import json
import os
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from fastact.alerts import Action, Alerts
from fastact.diagnosis import Diagnoser, Diagnosis
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError
from fastact.fields import NEURON, SATURATED_SHARE, SILENT_SHARE
from fastact.guard import Guard
from fastact.history import History, LayerHistory, LayerInfo
from fastact.log.options import LogOptions
from fastact.log.schema import check_integer, check_metadata
from fastact.log.writer import LogWriter
from fastact.rules import Severity
from fastact.rules.kinds import BOUNDED
from fastact.stats import SATURATION, ActivationStats, ChannelStats
from fastact.summary import summarize
from fastact.thresholds import Thresholds

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

    __slots__ = ("history", "info", "pending", "rows", "silence")

    def __init__(self, info: LayerInfo, history: LayerHistory) -> None:
        self.info = info
        self.history = history
        #: What was recorded in this step so far.
        self.pending: ActivationStats | ChannelStats | None = None
        #: For how many rows in sequence each neuron has been silent, and the rows it has been counted over.
        self.silence = np.zeros(0, np.int64)
        self.rows = 0

    def add(self, stats: ActivationStats | ChannelStats) -> None:
        """Merges a part of this step's activations into what was recorded before."""
        before = self.pending
        if before is None:
            self.pending = stats
        elif type(before) is type(stats) and getattr(before, "shape", ()) == getattr(stats, "shape", ()):
            self.pending = before | stats  # type: ignore[operator]
        else:  # parts with other neurons: what they share is the tensor
            self.pending = _total(before) | _total(stats)

    def numbers(self, dead_window: int) -> tuple[tuple[Any, ...], npt.NDArray[np.int64], int]:
        """This step's `fields.STATE` and `fields.NEURON`, and `silence` and `rows` with them; changes nothing."""
        stats = self.pending
        assert stats is not None
        state = _total(stats).state
        # float: a 64-bit integer's extremes are kept as the log keeps them, so that live and replayed rows agree.
        numbers = (*state[:9], float(state[9]), float(state[10]))
        neurons = stats.neurons if isinstance(stats, ChannelStats) and state[0] else 0
        if not isinstance(stats, ChannelStats) or not neurons:
            return (*numbers, *_NO_NEURONS), self.silence, self.rows
        same = neurons == self.silence.size
        silence = self.silence.copy() if same else np.zeros(neurons, np.int64)
        rows = self.rows + 1 if same else 1
        survey = stats.survey(
            silent_share=SILENT_SHARE,
            saturated_share=SATURATED_SHARE,
            silence=silence,
            dead_after=min(rows, dead_window),
        )
        return (*numbers, *survey), silence, rows


class _Due(NamedTuple):
    """A row on its way into history and log, and what its layer keeps then; `total` rows were in its history before."""

    layer: _Layer
    row: tuple[Any, ...]
    total: int
    silence: npt.NDArray[np.int64]
    rows: int


def _swept(
    x: Any, axis: int | tuple[int, ...] | None, saturation: tuple[float, float]
) -> ActivationStats | ChannelStats:
    """The stats of `x`, if it is not stats itself."""
    if not isinstance(x, (ActivationStats, ChannelStats)):
        return summarize(x, axis=axis, saturation=saturation)
    if x.saturation != saturation:
        raise ArgumentValueError(f"x: got stats with saturation={x.saturation}, want {saturation} as for this layer")
    return x


def _total(stats: ActivationStats | ChannelStats) -> ActivationStats:
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
        ...         stats = monitor.record("act", np.zeros((64, 8), np.float32), axis=-1, kind="ReLU")
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
        check_integer("every", every, 1, 2**63 - 1)
        own = check_metadata(metadata)
        if log is not None and not isinstance(log, LogOptions):
            raise ArgumentTypeError(f"log: got {type(log).__name__}, want a fastact.LogOptions")
        self._alerts = None if on_finding is None else Alerts(on_finding, alert_severity, alert_every)
        self._every = every
        self._diagnoser = Diagnoser(window_size, thresholds)
        self._dead_window = self._diagnoser.thresholds.dead_window
        self._layers: dict[str, _Layer] = {}
        self._step = 0
        #: A finished step, its rows on their way, and how many rows the log had been given before them.
        self._due: tuple[int, int, list[_Due]] | None = None
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
        """The last `window_size` rows of each layer, by name."""
        return self._diagnoser.history

    def record(
        self,
        name: str,
        x: Any,
        *,
        axis: int | tuple[int, ...] | None = None,
        kind: str = "",
        saturation: tuple[float, float] | None = None,
        dtype: str = "",
    ) -> ActivationStats | None:
        """Sweeps the activations of a layer in the current step; a second part of the same step is merged in.

        Args:
            name: the layer's name.
            x: anything that `summarize` takes; or the stats of a sweep made elsewhere, such as on a device.
            axis: the neurons' axis, for a row that tells of single neurons (dead ones); -1 for [batch, ..., neurons].
            kind: the layer's type, such as "ReLU": the diagnosis judges a Tanh and a Linear differently.
            saturation: the interval outside which an element is saturated; by default that of the kind's ends.
                `kind` and `saturation` hold for the run as they were when the layer was first recorded.
            dtype: that of the activations, by default that of `x`.

        Returns:
            The stats of this `x`, or None in a step that is not recorded.

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
        if layer is not None:
            stats = _swept(x, axis, layer.info.saturation)
        else:
            if not isinstance(kind, str):
                raise ArgumentTypeError(f"kind: got {type(kind).__name__}, want a str")
            interval = BOUNDED.get(kind, SATURATION) if saturation is None else saturation
            stats = _swept(x, axis, interval)
            dtype = dtype or str(getattr(x, "dtype", "")).removeprefix("torch.")
            with self._lock:
                layer = self._layers.get(name)
                if layer is None:
                    info = LayerInfo(name, len(self._layers), kind, dtype, stats.saturation)
                    # The log is first to refuse a name, and only a layer that all know gets rows.
                    if self._writer is not None:
                        self._writer.add_layer(info)
                    self._diagnoser.add(info)
                    layer = self._layers[name] = _Layer(info, self._diagnoser.history[name])
        with self._lock:
            self._settle([])
            layer.add(stats)
        return _total(stats)

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
        """Makes the rows of this step, and says whether it is one that is recorded."""
        trouble: list[Exception] = []
        with self._lock:
            self._settle(trouble)
            step = self._step
            if step % self._every:
                self._step += 1
                return False
            due = self._prepare(trouble)
            self._due = (step, 0 if self._writer is None else self._writer.appended, due)
            self._settle(trouble)
        if self._writer is not None:
            self._writer.warn()
        for listener in self._listeners:
            try:
                listener.write(step, {item.layer.info.name: item.row for item in due})
            except Exception as error:  # noqa: BLE001 - as for a layer
                trouble.append(error)
                self._guard.failed("hand its rows to a listener", error)
        if trouble and self._guard.strict:
            raise trouble[0]
        return True

    def _prepare(self, trouble: list[Exception]) -> list[_Due]:
        """Makes this step's rows and changes nothing, so that an interrupt leaves everything as it was."""
        now = time.time_ns()
        rows = []
        for name, layer in self._layers.items():
            if layer.pending is None:
                continue
            try:
                numbers, silence, count = layer.numbers(self._dead_window)
            except Exception as error:  # noqa: BLE001 - a layer must not take the others, or the training, with it
                layer.pending = None
                trouble.append(error)
                self._guard.failed(f"keep a row of layer {name!r}", error)
                continue
            row = (self._step, layer.info.order, now, *numbers)
            rows.append(_Due(layer, row, layer.history.total, silence, count))
        return rows

    def _settle(self, trouble: list[Exception]) -> None:
        """Gives the rows that were made to history and log; after an interrupt, those that they have not had yet."""
        if self._due is None:
            return
        step, given, rows = self._due
        for layer, row, total, silence, count in rows:
            layer.pending, layer.silence, layer.rows = None, silence, count
            try:
                if layer.history.total == total:
                    self._diagnoser.append(layer.info.name, row)
                if self._writer is not None and self._writer.appended == given:
                    self._writer.append(row)
                given += 1
            except Exception as error:  # noqa: BLE001 - as in `_prepare`
                trouble.append(error)
                self._guard.failed(f"keep a row of layer {layer.info.name!r}", error)
        self._step = step + 1
        self._due = None

    def diagnose(self) -> Diagnosis:
        """What is wrong now, judged by the rows in the window; finished steps only."""
        with self._lock:
            self._settle([])
        return self._diagnoser.diagnose()

    def flush(self) -> None:
        """Puts every finished step into the log; returns when it is there. Does nothing without a path.

        A disk that refuses costs no more than a warning: the rows then wait in memory.
        """
        if self._writer is not None and not self._closed:
            with self._lock:
                self._settle([])
            self._writer.flush()

    def close(self) -> None:
        """Ends the step under way, if anything was recorded in it, and seals the log. A second call does nothing."""
        if self._closed:
            return
        try:
            with self._lock:
                self._settle([])
            if any(layer.pending is not None for layer in self._layers.values()):
                self._end_step()
        finally:
            self._closed = True
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
