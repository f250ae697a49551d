"""The monitor of a training run: sweeps what it is given, one row per layer and step, into history and log.

`record` is the only part on the training's path: it sweeps and keeps the summary until the step ends. A step's rows
go to the diagnoser (which holds the history) and to the log's buffer, in forward order, as a replay will see them.
"""

import dataclasses
import json
import os
import threading
import time
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from fastact.diagnosis import Diagnoser, Diagnosis
from fastact.errors import ArgumentTypeError, FastactError
from fastact.fields import SATURATED_SHARE, SILENT_SHARE
from fastact.history import History, LayerInfo
from fastact.log.schema import check_integer, check_metadata
from fastact.log.writer import LogWriter
from fastact.rules.kinds import BOUNDED
from fastact.stats import SATURATION, ActivationStats, ChannelStats
from fastact.summary import summarize
from fastact.thresholds import Thresholds

__all__ = ["ActivationMonitor"]

_NO_NEURONS: Final = (0, 0, 0, 0, 0, float("nan"))


class _Layer:
    """What the monitor keeps of a layer between calls."""

    __slots__ = ("info", "pending", "rows", "silence")

    def __init__(self, info: LayerInfo) -> None:
        self.info = info
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

    def take(self, dead_window: int) -> tuple[Any, ...]:
        """This step's numbers, `fields.STATE` and `fields.NEURON`; nothing is pending afterwards."""
        stats = self.pending
        assert stats is not None
        self.pending = None
        state = _total(stats).state
        # float: a 64-bit integer's extremes are kept as the log keeps them, so that live and replayed rows agree.
        numbers = (*state[:9], float(state[9]), float(state[10]))
        if not isinstance(stats, ChannelStats) or not stats.neurons or not stats.total.count:
            return *numbers, *_NO_NEURONS
        if stats.neurons != self.silence.size:
            self.silence = np.zeros(stats.neurons, np.int64)
            self.rows = 0
        self.rows += 1
        survey = stats.survey(
            silent_share=SILENT_SHARE,
            saturated_share=SATURATED_SHARE,
            silence=self.silence,
            dead_after=min(self.rows, dead_window),
        )
        return *numbers, *survey


def _total(stats: ActivationStats | ChannelStats) -> ActivationStats:
    return stats.total if isinstance(stats, ChannelStats) else stats


class ActivationMonitor:
    """Watches the activations of a training run.

    Args:
        path: directory of the run's log; None keeps the recent window in memory only. A run that is there already is
            continued in new segments.
        window_size: rows of each layer in memory, for `history` and `diagnose` (some 160 bytes each), 1 to a million.
        every: record every so many-th step; in the others `record` returns None and costs nothing.
        metadata: text about the run that goes into the log's schema; ``window_size``, ``every`` and ``thresholds`` are
            written there by the monitor itself.
        thresholds: what the diagnosis compares with.

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
    ) -> None:
        check_integer("every", every, 1, 2**63 - 1)
        own = check_metadata(metadata)
        self._every = every
        self._diagnoser = Diagnoser(window_size, thresholds)
        self._dead_window = self._diagnoser.thresholds.dead_window
        self._layers: dict[str, _Layer] = {}
        self._step = 0
        self._closed = False
        self._lock = threading.Lock()
        self._writer: LogWriter | None = None
        if path is not None:
            facts = {
                "window_size": str(window_size),
                "every": str(every),
                "thresholds": json.dumps(dataclasses.asdict(self._diagnoser.thresholds)),
            }
            self._writer = LogWriter(path, metadata={**own, **facts})
            # A run that ends without `close` still seals its log, when the monitor or the interpreter goes.
            weakref.finalize(self, self._writer.close)

    @property
    def active(self) -> bool:
        """Whether the current step is recorded: ask before work that only `record` needs."""
        return not self._closed and self._step % self._every == 0

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
    ) -> ActivationStats | None:
        """Sweeps the activations of a layer in the current step; a second part of the same step is merged in.

        Args:
            name: the layer's name.
            x: anything that `summarize` takes.
            axis: the neurons' axis, for a row that tells of single neurons (dead ones); -1 for [batch, ..., neurons].
            kind: the layer's type, such as "ReLU": the diagnosis judges a Tanh and a Linear differently.
            saturation: the interval outside which an element is saturated; by default that of the kind's ends.
                `kind` and `saturation` hold for the run as they were when the layer was first recorded.

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
            stats = summarize(x, axis=axis, saturation=layer.info.saturation)
        else:
            if not isinstance(kind, str):
                raise ArgumentTypeError(f"kind: got {type(kind).__name__}, want a str")
            interval = BOUNDED.get(kind, SATURATION) if saturation is None else saturation
            stats = summarize(x, axis=axis, saturation=interval)
            dtype = str(getattr(x, "dtype", "")).removeprefix("torch.")
            with self._lock:
                layer = self._layers.get(name)
                if layer is None:
                    info = LayerInfo(name, len(self._layers), kind, dtype, stats.saturation)
                    # The log is first to refuse a name, and only a layer that all know gets rows.
                    if self._writer is not None:
                        self._writer.add_layer(info)
                    self._diagnoser.add(info)
                    layer = self._layers[name] = _Layer(info)
        with self._lock:
            layer.add(stats)
        return _total(stats)

    def step(self) -> None:
        """Ends a training step: what was recorded in it becomes one row per layer, in history and log.

        Raises:
            FastactError: the monitor is closed.
        """
        if self._closed:
            raise FastactError("the monitor is closed: cannot end a step")
        if self._step % self._every == 0:
            self._commit()
        self._step += 1

    def _commit(self) -> None:
        with self._lock:
            now = time.time_ns()
            for name, layer in self._layers.items():
                if layer.pending is not None:
                    row = (self._step, layer.info.order, now, *layer.take(self._dead_window))
                    self._diagnoser.append(name, row)
                    if self._writer is not None:
                        self._writer.append(row)

    def diagnose(self) -> Diagnosis:
        """What is wrong now, judged by the rows in the window; finished steps only."""
        return self._diagnoser.diagnose()

    def flush(self) -> None:
        """Puts every finished step into the log; returns when it is there. Does nothing without a path."""
        if self._writer is not None and not self._closed:
            self._writer.flush()

    def close(self) -> None:
        """Ends the step under way, if anything was recorded in it, and seals the log. A second call does nothing."""
        if self._closed:
            return
        self._commit()
        self._closed = True
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "memory" if self._writer is None else repr(str(self._writer.path))
        return f"ActivationMonitor({where}, step={self._step}, layers={len(self._layers)})"
