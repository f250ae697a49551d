"""What `StepQueue` hands on: a step that has ended, the rows that were made of it, and who listens to them."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from fastact.diagnosis.onsets import OnsetTracker
from fastact.fields import UNPACK_ROW
from fastact.monitor.layer import PendingRow, Recorded, WatchedLayer, plain_rows, rests_of


class Listener(Protocol):
    """What `ActivationMonitor.listen` takes."""

    def write(self, step: int, rows: Mapping[str, tuple[Any, ...]]) -> None:
        """Takes the rows of a recorded step by layer, each the numbers of `fields.ROW`; it should not raise."""

    def close(self) -> None:
        """Is called once, when the monitor is closed."""


class FinishedStep(NamedTuple):
    """A step that has ended, when (nanoseconds since 1970), and what was recorded in it on the host.

    By columns, as `Rows` are: a tuple for each of thousands of layers would have Python's garbage collector look
    through all objects that there are, which took half of a step.
    """

    step: int
    time: int
    layers: list[WatchedLayer]
    recorded: list[Recorded | None]  # None for nothing
    rest: list[tuple[int, ...]]  # the last numbers of each row: the sum of its bits, and what was drawn

    @classmethod
    def of(cls, step: int, time: int, layers: list[WatchedLayer]) -> "FinishedStep":
        """The step in which something was recorded of these layers."""
        return cls(step, time, layers, [layer.recorded for layer in layers], rests_of(layers))


class Rows:
    """The rows of a step, on their way into history and log.

    Of each its layer, what `fields.PACK_ROW` made of it, and how many rows its layer had before it.
    """

    __slots__ = ("before", "layers", "packed", "silent")

    def __init__(self) -> None:
        self.layers: list[WatchedLayer] = []
        self.packed: list[bytes] = []
        self.before: list[int] = []
        #: Those that say how long neurons have been silent.
        self.silent: list[PendingRow] = []

    @classmethod
    def at_once(cls, finished: FinishedStep) -> "Rows":
        """The rows of a step, where they can be made in one go; else none, nor where that fails for one of them."""
        rows = cls()
        with suppress(Exception):  # who makes them one by one tells which it is
            packed = plain_rows(finished.layers, finished.recorded, finished.rest, finished.step, finished.time)
            before = [layer.history.total for layer in finished.layers]
            if packed:
                rows.layers, rows.packed, rows.before = finished.layers, packed, before
        return rows

    def append(self, pending: PendingRow) -> None:
        """Adds a row."""
        layer, row, before, silence, _ = pending
        self.layers.append(layer)
        self.packed.append(row)
        self.before.append(before)
        if silence is not layer.silence:
            self.silent.append(pending)

    def followed(self) -> Iterator[tuple[OnsetTracker, bytes, int]]:
        """As `Diagnoser.append_step` takes them."""
        return zip([layer.followed for layer in self.layers], self.packed, self.before, strict=True)

    def numbers(self) -> list[tuple[Any, ...]]:
        """The rows as numbers of `fields.ROW`."""
        return list(map(UNPACK_ROW, self.packed))

    def by_name(self) -> dict[str, tuple[Any, ...]]:
        """The same by their layers' names."""
        return {layer.info.name: row for layer, row in zip(self.layers, self.numbers(), strict=True)}


class Delivery(NamedTuple):
    """The rows of a finished step, and how many rows the log had been given before them."""

    step: int
    logged: int
    rows: Rows
