"""The monitor of a training run: sweeps what it is given, one row per layer and step, into history and log.

`record` is the only part on the training's path: it sweeps, and keeps the summary until the step ends. A step's rows
go to the diagnoser (which holds the history) and to the log's buffer, in forward order, as a replay will see them.

What lies on a GPU is swept there, as soon as the device gets to it. A step with such rows waits in a queue until all
of them have arrived, and later steps wait behind it; the training never waits.
"""

import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, Self

from fastact.arrays.host import on_gpu
from fastact.checks import check_choice, check_integer, check_saturation, check_type, renamed
from fastact.diagnosis.accept import Accept
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import SEVERITIES, Severity
from fastact.diagnosis.layer_types import BOUNDED, EVALUATION_SUFFIX, known_type
from fastact.diagnosis.report import Diagnosis
from fastact.diagnosis.rules import Thresholds
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError
from fastact.failures import FailureCounter
from fastact.history import History
from fastact.log.options import LogOptions
from fastact.log.schema import check_metadata
from fastact.monitor.adapted import Adapted
from fastact.monitor.alerts import Action, Alerts
from fastact.monitor.gathering import Gather, Gathering
from fastact.monitor.guards import Guards
from fastact.monitor.kept_neurons import TellsNeurons
from fastact.monitor.layer import ALL, Drawn
from fastact.monitor.lost import TellsLost
from fastact.monitor.notebook import InNotebooks
from fastact.monitor.pace import Auto, pace_of
from fastact.monitor.queue import StepQueue
from fastact.monitor.resuming import Releasable, hold, open_writer
from fastact.monitor.supervision import Supervision
from fastact.monitor.unseen import Unseen
from fastact.ranks import checked_place, folder_of, layout_facts
from fastact.stats.activation import ActivationStats, wrap_deferred
from fastact.stats.bits import bits_of
from fastact.stats.channel import ChannelStats
from fastact.stats.gpu import gpu_view
from fastact.stats.options import SATURATION
from fastact.stats.summarize import summarize, swept_before


class ActivationMonitor(Supervision, Adapted, InNotebooks, TellsNeurons, TellsLost, Guards, Releasable):
    """Watches the activations of a training run.

    Args:
        path: directory of the run's log; None keeps the recent window in memory only. Where there is a run already, a
            session of its own begins, which is read apart; see `start_step` and `overwrite`. One path serves all
            processes of a training: each writes its ``rank-00000`` and so on there.
        window_size: rows of each layer in memory, for `history` and `diagnose` (200 bytes each), 1 to a million.
        every: record one step in so many; in the others `record` returns None and costs next to nothing. "auto": as
            many as `cost` pays for: densely at first, and once something has changed (a layer's size, what is not
            finite or silent in it, a loss, a finding); seldom while nothing does. Not in a run of several ranks.
        cost: with ``every="auto"``, the share of the training's own time that watching may take: what is measured
            around our calls, or what recorded steps take longer than others, whichever is more. A second in all may
            come on top, of which short runs are recorded throughout; and one in 1000 steps is recorded at least.
        metadata: text about the run that goes into the log's schema; ``window_size``, ``every``, ``thresholds``,
            ``accept``, ``rank``, ``ranks`` and ``group`` are written there by the monitor itself.
        thresholds: those of the diagnosis; `Thresholds()` by default.
        accept: findings that are known and do not count: the name of a layer, or a pattern of names such as
            "encoder.*", -> a condition, a list of conditions, or a mapping of conditions to reasons ("*" is every
            condition). They are in `Diagnosis.accepted` with what follows from them, never alert, and go with the log.
        log: how the log is written and how much of it is kept; `LogOptions()` by default.
        on_finding: what to do with a new finding while the network trains: "raise" (a `FindingError` out of `step`),
            "log" (a warning of the logger "fastact"), "stop" (`should_stop` becomes true), or a function that is called
            with it, whose errors are not caught. Each finding is reported once, and again when it has become more
            severe; consequences of other findings are not reported. None: nothing is done.
        alert_severity: the least severity that is reported.
        alert_every: recorded steps between two diagnoses; one takes some milliseconds for 100 layers.
        start_step: the first step's number. Above 0, the last session of the run at `path` is resumed, as from a
            checkpoint after so many steps: the diagnosis goes on with the rows of the steps before, for which the log
            is read once, and rows that the log has from this step on are replaced by what is recorded now.
        overwrite: remove the run at `path` first.
        rank: which of the `ranks` processes this is, from 0; by default what torchrun, MPI or Slurm say of it.
        ranks: how many there are.
        group: which ranks are judged as one: those of a group hold the same layers and see parts of one batch. Give
            the parts of a layer (tensor parallelism), or the stages of a pipeline, groups of their own:
            ``group=f"tensor {tp_rank}"``. They are never merged with each other.
        gather: how the rows of all ranks come to rank 0 while they train, such as `fastact.torch.Gather(every=10)`; all
            ranks give one. Rank 0 then diagnoses all of them together, in place of each its own, and `on_finding` is
            done on every rank in the same step, one exchange later. Without it, of several ranks none is asked to stop
            by "stop", since one that stops alone leaves the others waiting.
        strict: raise what goes wrong inside `step`; otherwise it costs that layer's row, is counted in `failures` and
            warned of once, for no monitor is worth a training run.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument is unusable.
        LogError: `path` cannot be written to.

    Example:
        >>> import numpy as np
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
        every: int | Literal["auto"] = 1,
        cost: float = 0.005,
        metadata: Mapping[str, str] | None = None,
        thresholds: Thresholds | None = None,
        accept: Accept | None = None,
        log: LogOptions | None = None,
        on_finding: Action | None = None,
        alert_severity: Severity = "serious",
        alert_every: int = 10,
        start_step: int = 0,
        overwrite: bool = False,
        rank: int | None = None,
        ranks: int | None = None,
        group: str = "",
        gather: Gather | None = None,
        strict: bool = False,
    ) -> None:
        check_integer("start_step", start_step, 0, 2**62)
        check_integer("alert_every", alert_every, 1)
        check_choice("alert_severity", alert_severity, SEVERITIES)
        own = check_metadata(metadata)
        place = checked_place(rank, ranks)
        pace = pace_of(every, cost, place.ranks, start_step)
        self._alerts = None if on_finding is None else Alerts(on_finding, alert_severity, alert_every)
        if self._alerts is not None:
            self._alerts.agreed = place.ranks == 1 or gather is not None
        self._diagnoser = Diagnoser(window_size, thresholds, accept)
        self._failures = FailureCounter("fastact", strict=strict, counter="ActivationMonitor.failures")
        self._closed = False
        self._releases = []
        self._pools, self._known, self._forms, self._one_hot = {}, set(), {}, set()
        own |= {"window_size": str(window_size), "every": pace.name} | layout_facts(place, group)
        folder = None if path is None else folder_of(path, place)
        self._writer = open_writer(folder, log, own, self._diagnoser, start_step, overwrite)
        self.path = self._writer.path if self._writer else None  #: the directory of the run's log; None without one
        copies = place.ranks > 1 or rank is not None
        self._queue = StepQueue(pace, self._diagnoser, self._writer, self._failures, start_step, copies=copies)
        self._layers = self._queue.layers
        self._gathering: Gathering | None = None
        if gather is not None:
            given = partial(Diagnoser, window_size, self._diagnoser.thresholds, accept)
            self._gathering = Gathering(gather, group, self._alerts, given)
            self._queue.listeners.append(self._gathering)
        self._unseen = Unseen(self._queue, self._diagnoser, self._writer)
        if isinstance(pace, Auto):
            self.__dict__ |= {call.__name__: partial(pace.timed, call) for call in (self.record, self.record_in_place)}
            self.__dict__["step"] = partial(pace.stepping, self.step)
        hold(self.path, self)

    @property
    def active(self) -> bool:
        """Whether the current step is recorded: ask before work that only `record` needs."""
        return not self._closed and self._queue.pace.records(self._queue.current)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def current_step(self) -> int:
        """The step under way, from `start_step`: how often `step` was called since."""
        return self._queue.current

    @property
    def history(self) -> History:
        """The last `window_size` rows of each layer, by name; waits for a GPU that has rows of finished steps."""
        self._queue.catch_up()
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
        training: bool = True,
        sparse: bool = False,
        kind: str | None = None,
    ) -> ActivationStats | None:
        """Sweeps the activations of a layer in the current step; a second part of the same step is merged in.

        What lies on a GPU is swept there, by one launch on its owner's current stream, without waiting: the returned
        stats wait only when they are read, and the row follows when the device has it. Captured into a CUDA graph, the
        sweep gives a row at each replay. Capture in a step that is recorded, after recording a layer of that dtype and
        layout once outside of the graph, and call `step` while the stream of the replays is current. There is room for
        4096 replayed rows between two steps; beyond that the oldest are lost, and counted in `failures`.

        Args:
            name: the layer's name. How often each row of a table was looked up, such as a codebook's, goes under the
                table's name and ``":usage"``: ``record(name + ":usage", counts[None], axis=-1, layer_type="Usage")``,
                or "Vocabulary" where the data chose the rows.
            x: anything that `summarize` takes; or stats of the activations, from a sweep made elsewhere.
            axis: the neurons' axis, for a row that counts neurons (such as dead ones); -1 for [batch, ..., neurons].
            layer_type: the layer's type, such as "ReLU": the diagnosis judges a Tanh and a Linear differently.
            saturation: the interval (lo, hi) outside which an element is saturated; by default that of the type.
            sparse: whether its neurons fire seldom by design, as the features of a sparse autoencoder do: it takes more
                samples to call one dead. `layer_type`, `saturation` and `sparse` hold for the run as they were when the
                layer was first recorded.
            dtype: the activations' dtype, by default that of `x`.
            training: False for a model in evaluation mode: its rows go by the layer's name and ``":eval"``, and are
                judged by themselves.
            kind: the older name of `layer_type`.

        Returns:
            The stats of this `x`, or None in a step that is not recorded. For a GPU `DeferredStats`: `ActivationStats`
            whose ``ready`` says whether they can be read without waiting.

        Raises:
            ArgumentTypeError, ArgumentValueError: what `summarize` raises; nothing is recorded then. Where memory does
                not suffice, that is counted in `failures`, and None is returned.
            FastactError: the monitor is closed.
        """
        if self._closed:
            raise FastactError(f"the monitor is closed: cannot record {name!r}")
        if not self._queue.pace.records(self._queue.current):
            return None
        if not isinstance(name, str) or not name:
            raise ArgumentTypeError(f"name: got {name!r}, want a non-empty str")
        if name in self._unseen.guarded:
            self._unseen.claim(name)
        if not training:
            name += EVALUATION_SUFFIX
            self.describe(name, mode="evaluation")
        known = name in self._layers
        try:
            stats = self._record(name, x, axis, layer_type, saturation, dtype, sparse, kind)
        except MemoryError as error:  # which a training may survive, once it has let go of a batch
            layer = self._layers.get(name)  # where it was recorded before in this step, or just now, it has a row
            self._failures.failed(f"record {name!r}", error, rows=layer is None or layer.recorded is None)
            if self._failures.strict:
                raise
            return None
        if not known:
            self._check_layer_type(layer_type or kind)
        return stats

    def _record(
        self,
        name: str,
        x: Any,
        axis: int | tuple[int, ...] | None,
        layer_type: str,
        saturation: tuple[float, float] | None = None,
        dtype: str = "",
        sparse: bool = False,
        kind: str | None = None,
        drawn: Drawn = ALL,
    ) -> ActivationStats | None:
        """`record` in a step that is recorded, once its name was looked at."""
        layer = self._layers.get(name)
        if layer is not None:
            swept = swept_before(x, axis, layer.plans)
            if swept is not None:
                self._queue.record(layer, swept, bits_of(x) if layer.copied else 0, drawn)
                return swept.total if isinstance(swept, ChannelStats) else swept
            interval = layer.info.saturation
        else:
            layer_type = renamed("layer_type", layer_type, "kind", kind)
            check_type("layer_type" if kind is None else "kind", layer_type, str, "a str")
            check_type("dtype", dtype, str, "the name of a dtype, a str")
            layer_type = known_type(layer_type)
            interval = BOUNDED.get(layer_type, SATURATION) if saturation is None else saturation
            given = (name, x, axis, layer_type, saturation, dtype, sparse, None, drawn)
            if self._queue.postpone(partial(self._record, *given)):
                return None
            dtype = dtype or str(getattr(x, "dtype", "")).removeprefix("torch.")
        if isinstance(x, (ActivationStats, ChannelStats)):
            if x.saturation != interval:
                got = f"stats with saturation={x.saturation}"
                raise ArgumentValueError(f"x: got {got}, want {interval} as for this layer")
            stats = x
        elif (
            on_gpu(x)
            and (deferred := self._record_deferred(name, x, axis, layer_type, interval, dtype, sparse, drawn))
            is not None
        ):
            return deferred
        else:
            stats = summarize(x, axis=axis, saturation=interval)
            if layer is not None:
                layer.plans.learn(x, axis)
                self._check_axis(layer, stats, axis)
        layer = layer or self._queue.add_layer(name, layer_type, dtype, stats.saturation, sparse)
        self._queue.record(layer, stats, bits_of(x) if layer.copied and stats is not x else 0, drawn)
        return stats.total if isinstance(stats, ChannelStats) else stats

    def record_in_place(self, name: str, x: Any, axis: int | None, layer_type: str, drawn: Drawn = ALL) -> None:
        """`record` for callers that need no stats, such as hooks: memory is used again from step to step.

        Where `x` is a share of the samples that there are, `drawn` is how many samples it has, and how many elements
        the others have that were left out.

        Raises what `record` raises.
        """
        layer = self._layers.get(name)
        if layer is not None and self.active:
            workspace = layer.plans.sweep(x, axis, layer.plans.free)
            if workspace is not None:
                self._queue.record(layer, workspace, bits_of(x) if layer.copied else 0, drawn)
                return
        if self.active:
            self._record(name, x, axis, layer_type, drawn=drawn)
        elif self._closed:
            raise FastactError(f"the monitor is closed: cannot record {name!r}")

    keep = record_in_place  #: the older name of `record_in_place`

    def _record_deferred(
        self, name: str, x: Any, axis: int | tuple[int, ...] | None, layer_type: str, saturation: Any, dtype: str,
        sparse: bool, drawn: Drawn,
    ) -> ActivationStats | None:  # fmt: skip
        """Launches the sweep of what lies on a GPU; None if it is to be swept while the host waits."""
        found, shape = gpu_view(x, axis)
        if not found.array.size:
            return None
        layer = self._layers.get(name) or self._queue.add_layer(
            name, layer_type, dtype, check_saturation(saturation), sparse
        )
        bounds = (*layer.info.saturation, 0.0)
        row = self._queue.record_deferred(layer, found, shape, bounds, drawn)
        return None if row is None else wrap_deferred(row, bounds)

    def step(self) -> None:
        """Ends a training step: what was recorded in it becomes one row per layer, in history and log.

        Raises:
            FastactError: the monitor is closed.
            FindingError: there is a new finding, and ``on_finding="raise"``. The step has ended, and its rows are kept.
        """
        if self._closed:
            raise FastactError("the monitor is closed: cannot end a step")
        if not self._queue.postpone(self.step) and self._queue.end_step():
            self._unseen.end_step()
            if self._gathering is not None:
                self._gathering.end_step([layer.info for layer in self._layers.values()])
            if self._alerts is not None and (self._gathering is None or self._gathering.alone):
                self._alerts.look(self._diagnoser, self._failures, self._queue.keep_neurons)
        self._unseen.begin_step()

    def diagnose(self) -> Diagnosis:
        """What is wrong now, judged by the rows of all finished steps in the window; waits for a GPU that has some.

        With `gather`, on rank 0: in the rows of all ranks that were gathered so far.
        """
        self._queue.catch_up()
        self._unseen.look()
        whole = None if self._gathering is None else self._gathering.diagnose()
        return self._kept(self._diagnoser.diagnose()) if whole is None else whole

    def flush(self) -> None:
        """Puts every finished step into the log; returns when it is there. Does nothing without a path.

        If the disk refuses, there is a warning, and the rows wait in memory.
        """
        if self._writer is not None and not self._closed and not self._queue.postpone(self.flush):
            self._queue.catch_up()
            self._unseen.look()
            self._writer.flush()

    def close(self) -> None:
        """Ends the step under way, if anything was recorded in it, and seals the log. A second call does nothing."""
        if self._closed or self._queue.postpone(self.close):
            return
        self._check_steps()
        try:
            self._queue.finish()
            if self._gathering is not None:
                self._gathering.finish([layer.info for layer in self._layers.values()])
            self._unseen.close()
        finally:
            self._closed = True
            self._queue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error is not None and self._gathering is not None:
            self._gathering.abandon()  # the others may be where they cannot answer
        self.close()

    def __repr__(self) -> str:
        where = "memory" if self._writer is None else repr(str(self._writer.path))
        return f"ActivationMonitor({where}, step={self._queue.current}, layers={len(self._layers)})"
