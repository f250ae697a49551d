"""How a monitor comes to its log: it resumes a run, or takes one over that this process has left open.

A notebook's cell that is run again makes a new monitor on the folder of the last one, which the hooks on a model keep
alive: without anything else the folder would be held for as long as the process lives.
"""

import dataclasses
import json
import logging
import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from fastact.checks import check_type
from fastact.diagnosis.accept import to_json
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.errors import LogError
from fastact.failures import FailureCounter
from fastact.log.options import LogOptions
from fastact.log.reader import RunReader
from fastact.log.writer import LogWriter
from fastact.replay.blocks import LayerNumbers, add_block, in_blocks


class Holder(Protocol):
    """What holds a run's folder in this process: a monitor."""

    _diagnoser: Diagnoser
    _writer: LogWriter | None

    @property
    def closed(self) -> bool:
        """Whether it has let go of it."""

    @property
    def current_step(self) -> int:
        """The step that it has come to."""

    def release(self) -> None:
        """Takes its hooks off, and closes it."""


#: The monitor of each run that this process writes, by where it lies.
_holders: "Final[weakref.WeakValueDictionary[str, Holder]]" = weakref.WeakValueDictionary()
_LOGGER: Final = logging.getLogger("fastact")


def hold(path: str | os.PathLike[str] | None, holder: Holder) -> None:
    """Notes which monitor of this process writes a run, if it writes any."""
    if path is not None:
        _holders[_place(path)] = holder


def _place(path: str | os.PathLike[str]) -> str:
    return str(path) if "://" in str(path) else os.path.realpath(path)


def _take_over(path: str | os.PathLike[str]) -> Holder | None:
    """Has the monitor of this process that writes a run, if there is one, let go of it; the one that wrote it last."""
    before = _holders.get(_place(path)) if isinstance(path, (str, os.PathLike)) else None
    if before is not None and not before.closed:
        before.release()
        _LOGGER.warning(
            "fastact: the run in %r was still open in this process, as where a notebook's cell is run again: its "
            "monitor was closed, and its hooks were taken off",
            str(path),
        )
    return before


def _hands_on(before: Holder, writer: LogWriter, diagnoser: Diagnoser, start_step: int) -> bool:
    """Whether the monitor that wrote a session just so far, in this process, has given what it knew of it.

    So a model that is fitted a thousand times reads its log not once. The one before is closed, and goes on telling
    what the two have seen.
    """
    ours = before._writer is not None and before._writer.session == writer.session
    if not (before.closed and ours and before.current_step == start_step and before._diagnoser.judges_as(diagnoser)):
        return False
    diagnoser.take(before._diagnoser)
    return True


class Releasable:
    """What a monitor does where another one takes its run over."""

    _releases: "list[weakref.WeakMethod[Callable[[], object]]]"
    _failures: FailureCounter

    def close(self) -> None:
        """As `ActivationMonitor.close`."""

    def on_release(self, call: Callable[[], object]) -> None:
        """For adapters: `call`, a bound method that is held weakly, takes hooks off where a monitor takes the run over.

        That is another monitor of this process with the same path, as a notebook's cell makes it that is run again.
        """
        self._releases.append(weakref.WeakMethod(call))

    def release(self) -> None:
        """Has the hooks that record here taken off, and closes it: what another monitor with the same path does."""
        while self._releases:
            if (call := self._releases.pop()()) is not None:
                with self._failures("take the hooks off"):
                    call()
        self.close()


def open_writer(
    path: str | os.PathLike[str] | None,
    log: LogOptions | None,
    metadata: Mapping[str, str],
    diagnoser: Diagnoser,
    start_step: int,
    overwrite: bool,
) -> LogWriter | None:
    """The writer of a monitor's log, None without a path; arguments as those of `ActivationMonitor`.

    Of a run that is resumed, `diagnoser` gets the rows of the steps before, as a replay will give them after this run:
    so both come to one diagnosis. Of a log in which nothing can be read there are none.
    """
    if log is not None:
        check_type("log", log, LogOptions, "a fastact.LogOptions")
    if path is None:
        return None
    facts = {"accept": to_json(diagnoser.accepted), "thresholds": json.dumps(dataclasses.asdict(diagnoser.thresholds))}
    before = _take_over(path)
    writer = LogWriter(path, log, metadata={**metadata, **facts}, start_step=start_step, overwrite=overwrite)
    if start_step and not overwrite and not (before is not None and _hands_on(before, writer, diagnoser, start_step)):
        with suppress(LogError):
            reader, layers = RunReader(writer.path, writer.session), LayerNumbers()
            for block in in_blocks(reader.batches(lambda _: None, before=start_step), layers):
                add_block(diagnoser, block, layers.infos)
    return writer
