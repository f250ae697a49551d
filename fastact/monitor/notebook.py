"""A monitor in a notebook: what it shows of itself, and a view that is brought up to date while the network trains."""

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from fastact.checks import check_number
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.report import Diagnosis
from fastact.diagnosis.show.card import card
from fastact.errors import FastactError
from fastact.failures import FailureCounter
from fastact.history import rms_of
from fastact.text import shown

if TYPE_CHECKING:
    from fastact.log.writer import LogWriter
    from fastact.monitor.queue import StepQueue

#: The most of the training's time that a view takes.
_SHARE: Final = 0.02


class InNotebooks:
    """What a monitor does in notebooks."""

    _diagnoser: Diagnoser
    _queue: "StepQueue"
    _writer: "LogWriter | None"
    _closed: bool

    def live(self, *, every: float = 2.0) -> "LiveView":
        """Shows the diagnosis below the notebook's cell, with the curve of each layer, up to date while it trains.

        It is drawn as a step ends, on the training's thread: at most once in `every` seconds, and so seldom that it
        takes at most 2% of the time, whatever the number of layers (a view of 100 layers takes some 20 ms, so 1% at
        the default); besides, there is one as the monitor is closed. `LiveView.seconds` is what it has taken. A failure
        counts among the monitor's `failures` and ends no training.

        Args:
            every: seconds between two views, at least; from 0.1 to 3600.

        Returns:
            The view, which `stop` ends; closing the monitor ends it as well.

        Raises:
            ArgumentTypeError, ArgumentValueError: `every` is no such number.
            FastactError: the monitor is closed, or there is no notebook: in a terminal ``fastact tail RUN`` shows a
                run that is being written.

        Example:
            In a notebook's cell::

                with fastact.ActivationMonitor("runs/a") as monitor, fastact.torch.watch(model, monitor):
                    monitor.live()
                    train(model)
        """
        check_number("every", every, 0.1, 3600)
        if self._closed:
            raise FastactError("the monitor is closed: cannot show it live")
        view = LiveView(self, every)
        self._queue.listeners.append(view)
        return view

    def _repr_html_(self) -> str:
        """The diagnosis of the finished steps, with the curve of each layer."""
        return self._shown(self._diagnoser.diagnose())

    def _shown(self, diagnosis: Diagnosis) -> str:
        where = "in memory" if self._writer is None else shown(str(self._writer.path), 200)
        step = self._queue.current
        above = f"{where}, step {step:,}{', closed' if self._closed else ''}"
        curves = {name: rms_of(layer) for name, layer in self._diagnoser.history.items() if len(layer)}
        return card(diagnosis, above, curves, "rms of the window").to_html()


class LiveView:
    """A view of a monitor in a notebook, which `ActivationMonitor.live` begins.

    Attributes:
        updates: how often it was brought up to date.
        seconds: the time that this took the training, in all, the first view included.
    """

    def __init__(self, monitor: InNotebooks, every: float) -> None:
        self.updates, self.seconds = 0, 0.0
        self._monitor, self._every = monitor, every
        begin = time.monotonic()
        self._handle = _display(monitor._repr_html_())
        self._took(begin)

    def write(self, step: int, rows: Mapping[str, tuple[Any, ...]]) -> None:
        """Is called with each step: as a listener of the monitor."""
        if rows and time.monotonic() >= self._next:
            self.update()

    def update(self) -> None:
        """Brings it up to date, whenever that was done last."""
        begin = time.monotonic()
        try:
            self._handle.update(_html(self._monitor._repr_html_()))
            self.updates += 1
        finally:
            self._took(begin)

    def _took(self, begin: float) -> None:
        """Counts the time since `begin`, and says when the next view may come."""
        end = time.monotonic()
        self.seconds += end - begin
        self._next = max(begin + self._every, end + (end - begin) / _SHARE)

    def stop(self) -> None:
        """Leaves it as it is from now on."""
        listeners = self._monitor._queue.listeners
        if self in listeners:
            listeners.remove(self)

    def close(self) -> None:
        """Brings it up to date for the last time: as a listener of the monitor."""
        with FailureCounter("fastact.ActivationMonitor.live")("show the last step"):
            self.update()


def _html(text: str) -> Any:
    from IPython.display import HTML

    return HTML(text)  # type: ignore[no-untyped-call]


def _display(text: str) -> Any:
    """Shows HTML in the notebook; returns its handle."""
    # A shell that has a kernel is a notebook's: IPython in a terminal shows text alone.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is None:
        raise FastactError("live: there is no notebook to show it in; in a terminal, run: fastact tail RUN")
    from IPython.display import display

    return display(_html(text), display_id=True)  # type: ignore[no-untyped-call]
