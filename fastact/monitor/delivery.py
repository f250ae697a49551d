"""What `StepQueue` hands on: a step that has ended, the rows that were made of it, and who listens to them."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from fastact.monitor.layer import PendingRow, Record


class Listener(Protocol):
    """What `ActivationMonitor.listen` takes."""

    def write(self, step: int, rows: Mapping[str, tuple[Any, ...]]) -> None:
        """Takes the rows of a recorded step by layer, each the numbers of `fields.ROW`; it should not raise."""

    def close(self) -> None:
        """Is called once, when the monitor is closed."""


class FinishedStep(NamedTuple):
    """A step that has ended, when (nanoseconds since 1970), and what was recorded in it on the host."""

    step: int
    time: int
    records: list[Record]


class Delivery(NamedTuple):
    """The rows of a finished step, and how many rows the log had been given before them."""

    step: int
    logged: int
    rows: list[PendingRow]
