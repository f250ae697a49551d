"""A log's rows as data frames."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from fastact import frames
from fastact.fields import ROW_DTYPE
from fastact.history import LayerInfo
from fastact.log.reader import StoredBatch
from fastact.log.schema import to_rows
from fastact.replay.blocks import LayerNumbers
from fastact.replay.records import RowFilter

#: Called with the bytes read so far.
Progress = Callable[[int], None]


class Frames:
    """What a `Log` is to those who work with data frames."""

    ranks: tuple[int, ...]

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """As `Log.layers`."""
        raise NotImplementedError

    def stored_batches(
        self, ranks: Iterable[int], progress: Progress | None = None
    ) -> Iterator[tuple[int, StoredBatch]]:
        """As `Log.stored_batches`."""
        raise NotImplementedError

    def to_pandas(
        self,
        *,
        from_step: int | None = None,
        to_step: int | None = None,
        layers: str | Iterable[str] | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """The rows as a `pandas.DataFrame`, in written order, rank after rank; it takes some 400 bytes a row meanwhile.

        The columns are ``rank`` and the fields of `fields.ROW`: ``layer`` is a categorical with the layers in forward
        order, ``time`` a datetime64[ns, UTC], all else nullable Int64 and Float64 with NA where `to_table` has null.

        Args:
            from_step: first step to take; from the start by default.
            to_step: last step to take, included; to the end by default.
            layers: names of the layers to take, or one name; all by default.
            progress: called with the bytes read so far.

        Raises:
            ArgumentTypeError, ArgumentValueError: a filter is unusable or names a layer that the log does not have.
            MissingExtraError: pandas is not installed.

        Example:
            >>> import tempfile, fastact
            >>> run = tempfile.mkdtemp()
            >>> with fastact.ActivationMonitor(run) as monitor:
            ...     for x in ([1.0, 2.0], [3.0, 4.0]):
            ...         stats = monitor.record("encoder.0", np.array(x))
            ...         monitor.step()
            >>> fastact.open_log(run).to_pandas()[["step", "layer", "mean", "dead_neurons"]]
               step      layer  mean  dead_neurons
            0     0  encoder.0   1.5          <NA>
            1     1  encoder.0   3.5          <NA>
        """
        return frames.to_pandas(self._columns(from_step, to_step, layers, progress))

    def to_polars(
        self,
        *,
        from_step: int | None = None,
        to_step: int | None = None,
        layers: str | Iterable[str] | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """The rows as a `polars.DataFrame`, as `to_pandas` has them; ``layer`` is an Enum in forward order.

        Raises:
            ArgumentTypeError, ArgumentValueError: a filter is unusable or names a layer that the log does not have.
            MissingExtraError: polars is not installed.
        """
        return frames.to_polars(self._columns(from_step, to_step, layers, progress))

    def _columns(
        self, from_step: Any, to_step: Any, layers: Any, progress: Progress | None
    ) -> dict[str, frames.Column]:
        wanted = RowFilter.of_arguments(from_step, to_step, layers, self.layers)
        return _of_batches(self.stored_batches(self.ranks, progress), wanted)


def _of_batches(batches: Iterable[tuple[int, StoredBatch]], wanted: RowFilter) -> dict[str, frames.Column]:
    """The columns of a frame with the wanted rows of (rank, batch); layers are categories in forward order."""
    numbers = LayerNumbers()
    parts = [(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, ROW_DTYPE))]
    for rank, stored in batches:
        keep = wanted.in_batch(stored.batch)
        rows, places = to_rows(stored.batch)[keep], numbers.of_batch(stored)[keep]
        parts.append((np.full(len(rows), rank, np.int32), places, rows))
    ranks, places, rows = map(np.concatenate, zip(*parts, strict=True))
    in_order = sorted(range(len(numbers.infos)), key=lambda place: numbers.infos[place].order)
    forward = np.argsort(np.array(in_order, np.int64))
    names = [numbers.infos[place].name for place in in_order]
    return {"rank": frames.Column(ranks)} | frames.columns_of_rows(rows, forward[places], names)
