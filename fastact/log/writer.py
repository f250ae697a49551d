"""Takes in rows for a run's log: each is packed into a ring, and a background thread does the rest.

What a row survives is said in `fastact.log`. A disk that refuses costs rows, which are counted, never the training.
"""

import os
import struct
import weakref
from collections.abc import Mapping
from typing import Any, Final, Self

from fastact.checks import check_integer, check_type
from fastact.errors import ArgumentValueError, LogError
from fastact.fields import COLUMN, PACK_ROW, ROW, ROW_BYTES
from fastact.history import LayerInfo
from fastact.log.drain import Drain
from fastact.log.options import LogOptions
from fastact.log.schema import check_layer, check_local, check_metadata
from fastact.log.upload import Uploader
from fastact.neurons import Snapshot
from fastact.warn import warn

_LAYER: Final = COLUMN["layer"]
#: Seconds that `flush` and `close`, and the end of the interpreter, wait for a disk that does not answer.
PATIENCE: Final = 30.0


class LogWriter:
    """Appends rows to a run's directory.

    In a directory that holds a run already, a writer begins another session of it, which is read apart; with
    `start_step` it continues the last one. There is one writer at a time. Rows are written by a
    thread in the background; what cannot be written waits in memory up to `LogOptions.buffer_rows`, and what finds no
    room there is dropped, counted in `dropped` and told in the log. (A loop that does nothing but append is faster
    than any disk: it calls `flush` every few thousand rows.) The first trouble is told in a `RuntimeWarning`, which
    `append`, `flush` or `close` gives in the caller's thread; later ones are silent, and writing is tried again after
    half a second, then less and less often, down to once a minute.

    `append` is for one thread at a time. A forked child that inherits a writer writes nothing and says nothing: what
    it appends is counted as dropped there. A writer that is forgotten, and the end of the interpreter, close it.

    Args:
        path: the run's directory; it and its parents are made when missing.
        options: how to write and how much to keep; `LogOptions()` by default.
        metadata: what each segment's schema says about the run, text to text.
        start_step: the step with which the last session is resumed, as from a checkpoint: what was recorded from it on
            is replaced by what comes now, when the log is read. 0 begins a session.
        overwrite: remove what the directory holds of a run.

    Raises:
        LogError: the directory cannot be made or written to, or another writer has it open.
        ArgumentTypeError, ArgumentValueError: an argument is unusable.

    Example:
        >>> import tempfile
        >>> from fastact import open_log
        >>> from fastact.fields import ROW
        >>> run = tempfile.mkdtemp()
        >>> with LogWriter(run, metadata={"model": "tiny"}) as writer:
        ...     writer.add_layer(LayerInfo("encoder.0", 0, "ReLU"))
        ...     writer.append((7, 0, *[0] * (len(ROW) - 2)))
        >>> open_log(run).to_table().select(["step", "layer"]).to_pylist()
        [{'step': 7, 'layer': 'encoder.0'}]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        options: LogOptions | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        start_step: int = 0,
        overwrite: bool = False,
    ) -> None:
        check_integer("start_step", start_step, 0, 2**62)
        check_type("overwrite", overwrite, bool, "a bool")
        options = LogOptions() if options is None else check_type("options", options, LogOptions, "a LogOptions")
        own = check_metadata(metadata)
        #: The run's directory, as it was given.
        self.path = check_local(path)
        #: How it is written and what is kept.
        self.options = options
        self._layers: dict[str, LayerInfo] = {}
        self._orders: dict[int, LayerInfo] = {}
        self._closed = False
        self._batch_rows = options.batch_rows
        try:
            # Later segments go there as well, whatever the working directory is then.
            self._drain = Drain(self.path.absolute(), options, own, self._orders, start_step, overwrite)
        except (OSError, ValueError) as error:
            what = f"cannot write a log into {str(self.path)!r}, want a writable directory"
            raise LogError(f"path: {what}: {error}") from error
        self._ring = self._drain.ring
        try:
            self._uploader = Uploader(self.path.absolute(), options.upload) if options.upload else None
        except BaseException:
            self._drain.finish(PATIENCE, final=True)
            raise
        self._close = weakref.finalize(self, _finish, self._drain, self._uploader)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def session(self) -> int:
        """The number of the run's session that it writes: as `open_log` takes it."""
        return self._drain.run_session

    @property
    def appended(self) -> int:
        """Rows given to `append` so far, the dropped ones included."""
        return self._ring.head + self._ring.dropped

    @property
    def dropped(self) -> int:
        """Rows that are lost: they found no room in memory, or could not be written when the log was closed."""
        ring = self._ring
        return ring.dropped + (ring.head - ring.tail if self._closed else 0)

    @property
    def not_uploaded(self) -> int:
        """Sealed segments that `LogOptions.upload` has not taken yet: they lie in the run's directory."""
        return 0 if self._uploader is None else self._uploader.waiting

    @property
    def losses(self) -> dict[str, int]:
        """The `dropped` rows by reason, without reasons that none was dropped for."""
        late = self.dropped - self._ring.dropped
        counts = {
            "came faster than the log was written": self._ring.dropped - self._ring.refused,
            "the disk refused": self._ring.refused,
            "not written when the log was closed": late,
        }
        return {reason: count for reason, count in counts.items() if count}

    @property
    def unseen(self) -> Mapping[str, str]:
        """What was watched and not recorded, by name, and why. The log's newest segment says so after a flush.

        Set it to a new mapping; one that was given is not to be changed.
        """
        return self._drain.unseen

    @unseen.setter
    def unseen(self, reasons: Mapping[str, str]) -> None:
        self._drain.unseen = reasons

    def add_layer(self, info: LayerInfo) -> None:
        """Makes a layer known, before its first row. The same name again changes nothing.

        Raises:
            ArgumentValueError: its order belongs to another layer, or its name to another order.
            LogError: the log is closed.
        """
        self._check_open()
        check_layer(info)
        known = self._layers.get(info.name)
        if known is not None and known.order == info.order:
            return
        if known is not None:
            raise ArgumentValueError(f"info.order: got {info.order} for {info.name!r}, want {known.order} as before")
        if info.order in self._orders:
            raise ArgumentValueError(
                f"info.order: got {info.order}, which belongs to {self._orders[info.order].name!r}"
            )
        self._layers[info.name] = info
        self._orders[info.order] = info

    def append(self, row: tuple[Any, ...]) -> None:
        """Takes in one row: the numbers of `fields.ROW`, in that order. Never waits for the disk.

        Raises:
            ArgumentValueError: the layer is unknown, or the row is not of that form.
            LogError: the log is closed.
        """
        if row[_LAYER] not in self._orders:  # closing puts none in their place, so this one test sees both
            self._check_open()
            raise ArgumentValueError(f"row: got layer {row[_LAYER]!r}, want one given to add_layer before")
        ring = self._ring
        head = ring.head
        if head - ring.tail >= ring.room:
            refused = self._drain.refused
            ring.drop(refused=refused)
            if not refused:
                self._drain.complain("cannot keep up: rows come faster than they are written")
            self.warn()
            return
        try:
            PACK_ROW(ring.buffer, head % ring.capacity * ROW_BYTES, *row)
        except struct.error as error:
            raise ArgumentValueError(f"row: got {row!r}, want the {len(ROW)} numbers of fields.ROW: {error}") from None
        ring.head = head = head + 1
        if not head % self._batch_rows:
            self._drain.wake()
            self.warn()

    def append_neurons(self, layer: str, found: Snapshot) -> None:
        """Takes in which neurons of a layer were dead at a step whose row was appended. Never waits for the disk.

        It goes with the rows that are written next. Where the disk does not take them, the oldest are forgotten.
        """
        self._drain.snapshots.append(layer, found)

    def flush(self) -> bool:
        """Writes every row that was appended so far; returns when they are written.

        Returns:
            True: they survive the death of the process, and a power loss with ``durability="fsync"``. False: the disk
            refuses, or has not answered for 30 seconds; they wait in memory.

        Raises:
            LogError: the log is closed.
        """
        self._check_open()
        written = self._drain.finish(PATIENCE)
        self.warn()
        return written

    def close(self) -> None:
        """Flushes, brings the segment to the disk and gives it its final name. Calling it again does nothing.

        Waits 30 seconds at most for a disk that does not answer.
        """
        if not self._closed:
            _finish(self._drain, self._uploader)
            self._close.detach()
            self._closed = True
            self._orders = {}
            self.warn()

    def warn(self) -> None:
        """Warns of the first trouble with the disk, once, if there was any."""
        for part in (self._drain, self._uploader):
            if part is not None and part.trouble is not None:
                trouble, part.trouble = part.trouble, None
                warn(trouble)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"LogWriter({str(self.path)!r}, rows={self._ring.head}, dropped={self.dropped})"

    def _check_open(self) -> None:
        if self._closed:
            raise LogError(f"the log in {str(self.path)!r} is closed: open a new LogWriter to continue the run")


def _finish(drain: Drain, uploader: Uploader | None) -> None:
    drain.finish(PATIENCE, final=True)
    if uploader is not None:
        uploader.finish(PATIENCE)
