"""The monitor as an adapter holds it: it opens and closes with the training, and cannot end it.

A framework calls its callbacks in the middle of its loop, where an exception ends the run. So what goes wrong here is
counted and warned of once, and the training continues; with `strict` it is raised.
"""

import os
from collections.abc import Callable
from typing import Any

from fastact.checks import check_type
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError
from fastact.failures import FailureCounter
from fastact.monitor.gathering import Gather
from fastact.monitor.monitor import ActivationMonitor
from fastact.monitor.unseen import Watcher
from fastact.warn import warn

#: Where the rows go: a monitor, or the path of a log, which the adapter opens when the training starts.
Run = ActivationMonitor | str | os.PathLike[str]


class Attachment:
    """The monitor of one adapter; also a `fastact.torch.MonitorLike`, for `fastact.torch.watch`.

    Args:
        owner: the adapter's name, for the warning.
        run: a monitor, which the caller closes; or the path of a log, which `open` opens and `close` closes.
        strict: whether failures are raised.
        overwrite: whether `open` removes the run at the path, the first time.

    Attributes:
        failure_counter: counts failures, and warns of the first or raises them.
        gather: how the rows of several processes come to rank 0, for the monitor that `open` makes.
        when: whether the outputs of this moment belong to the training; None: they always do.

    A copy, made by `copy.deepcopy` or by a pickle for another process, opens the log at the path itself. A monitor
    cannot be copied, so a copy of an attachment to a monitor records nothing, and warns of it.
    """

    def __init__(self, owner: str, run: Run, *, strict: bool = False, overwrite: bool = False) -> None:
        if not isinstance(run, ActivationMonitor | str | os.PathLike):
            raise ArgumentTypeError(f"run: got {type(run).__name__}, want an ActivationMonitor or the path of a log")
        if check_type("overwrite", overwrite, bool, "a bool") and isinstance(run, ActivationMonitor):
            raise ArgumentValueError("overwrite: got True with a monitor, want the path of a log as run")
        self._overwrite = overwrite
        self.failure_counter = FailureCounter(owner, strict=strict)
        self.when: Callable[[], bool] | None = None
        self.gather: Gather | None = None
        self._run: Run | None = run
        self._monitor = run if isinstance(run, ActivationMonitor) else None

    @property
    def monitor(self) -> ActivationMonitor:
        """The monitor, or a `FastactError` before the training has started."""
        if self._monitor is None:
            owner = self.failure_counter.owner
            raise FastactError(f"{owner}: no monitor yet: the training that opens the log has not started")
        return self._monitor

    def open(self, rank: int = 0, ranks: int = 1, start_step: int = 0) -> None:
        """Opens the log, if `run` is a path. Of several processes each writes its own ``rank-00000`` and so on there.

        `start_step` is the number of the first step: above 0 the run's last session is resumed, and nothing of it is
        removed.

        If the log cannot be opened, the monitor has none and still diagnoses.
        """
        if self._run is not None and not isinstance(self._run, ActivationMonitor):
            with self.failure_counter("open the log"):
                # The last one is kept until there is another: it hands on what it knows.
                last, self._monitor = self._monitor, ActivationMonitor(start_step=start_step)
                overwrite, self._overwrite = self._overwrite and not start_step, False
                self._monitor = ActivationMonitor(
                    self._run, rank=rank, ranks=ranks, start_step=start_step, overwrite=overwrite, gather=self.gather
                )
                del last

    @property
    def own(self) -> ActivationMonitor | None:
        """The monitor, where there is one by now."""
        return self._monitor

    @property
    def own_step(self) -> int:
        """How many steps the log that `open` opened last has; 0 where there is none, or the monitor is the caller's."""
        monitor = self._monitor
        return 0 if monitor is None or monitor is self._run or not monitor.path else monitor.current_step

    def close(self) -> None:
        """Closes the log, if `open` opened it; the monitor still diagnoses what it saw."""
        if self._monitor is not None and self._monitor is not self._run:
            with self.failure_counter("close the log"):
                self._monitor.close()

    @property
    def active(self) -> bool:
        """Whether the outputs of this moment are recorded."""
        return self._monitor is not None and self._monitor.active and (self.when is None or self.when())

    @property
    def current_step(self) -> int:
        """The monitor's step."""
        return self.monitor.current_step

    def record(self, name: str, x: Any, /, **options: Any) -> None:
        """Hands activations, or their stats, to the monitor; `options` are those of its ``record``."""
        with self.failure_counter(f"record layer {name!r}"):
            self.monitor.record(name, x, **options)

    def record_loss(self, value: Any, **options: Any) -> None:
        """Hands a loss to the monitor; `options` are those of its ``record_loss``."""
        with self.failure_counter("record the loss"):
            self.monitor.record_loss(value, **options)

    def describe(self, name: str, **facts: Any) -> None:
        """Hands what is known of a layer to the monitor; `facts` are those of its ``describe``."""
        self.monitor.describe(name, **facts)

    def record_in_place(
        self, name: str, x: Any, axis: int | None, layer_type: str, drawn: tuple[int, int] = (0, 0)
    ) -> None:
        """`record` for hooks: `ActivationMonitor.record_in_place`."""
        with self.failure_counter(f"record layer {name!r}"):
            self.monitor.record_in_place(name, x, axis, layer_type, drawn)

    def add_watcher(self, watcher: Watcher) -> None:
        """`ActivationMonitor.add_watcher`; a copy without a monitor sees nothing, and has said so."""
        if self._monitor is not None:
            self._monitor.add_watcher(watcher)

    def remove_watcher(self, watcher: Watcher) -> None:
        """`ActivationMonitor.remove_watcher`."""
        if self._monitor is not None:
            self._monitor.remove_watcher(watcher)

    def on_release(self, call: Callable[[], object]) -> None:
        """`ActivationMonitor.on_release`."""
        if self._monitor is not None:
            self._monitor.on_release(call)

    def step(self) -> None:
        """Ends the monitor's step."""
        if self._monitor is not None:
            with self.failure_counter("end a step"):
                self._monitor.step()

    def __getstate__(self) -> dict[str, Any]:
        run = None if isinstance(self._run, ActivationMonitor) else self._run
        counter = self.failure_counter
        if run is None:
            problem = (
                f"{counter.owner}: a copy of it, in this process or another one, records nothing, since a monitor "
                "cannot be copied; pass the path of a log, where each process writes its own part"
            )
            warn(problem)
        fresh = FailureCounter(counter.owner, strict=counter.strict)
        kept = {"gather": self.gather, "_overwrite": self._overwrite, "_run": run}
        return {"failure_counter": fresh, "when": None, "_monitor": None, **kept}
