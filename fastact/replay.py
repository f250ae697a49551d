"""Reads a log back: as a table, row by row as the monitor saw it, or as a diagnosis.

A replay gives a `Diagnoser` the same layers and rows in the same order as the live monitor did, so both come to the
same `Diagnosis`. Segments are streamed: one batch is in memory at a time.
"""

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fastact.diagnosis import Diagnoser, Diagnosis
from fastact.errors import ArgumentTypeError, ArgumentValueError, LogError
from fastact.fields import NEURON, ROW, STATE
from fastact.history import MAX_WINDOW, LayerInfo
from fastact.log.files import list_segments
from fastact.log.reader import RunReader
from fastact.log.schema import COLUMNS, check_path, to_rows
from fastact.stats import ActivationStats
from fastact.thresholds import Thresholds

__all__ = ["Log", "Record", "open_log"]

_RANK: Final = re.compile(r"rank-(\d{5,9})")
_FIRST_STATE: Final = len(ROW) - len(STATE) - len(NEURON)
_FIRST_NEURON: Final = len(ROW) - len(NEURON)
_LAYER: Final = [field.name for field in ROW].index("layer")
_STEP: Final = [field.name for field in ROW].index("step")


@dataclass(frozen=True, slots=True)
class Record:
    """One layer in one step, as the monitor saw it.

    Attributes:
        step: the training step.
        layer: the layer's name.
        info: what the log knows of the layer.
        row: the numbers of `fields.ROW`, exactly as they were recorded.
        rank: the process that recorded it, from the directory's name; 0 for a run of one process.
    """

    step: int
    layer: str
    info: LayerInfo
    row: tuple[Any, ...]
    rank: int = 0

    @property
    def stats(self) -> ActivationStats:
        """The layer's summary in this step."""
        return ActivationStats.from_state(self.row[_FIRST_STATE:_FIRST_NEURON])

    @property
    def neurons(self) -> dict[str, int | float] | None:
        """The fields of `fields.NEURON` by name, None where the layer was not swept per neuron."""
        values = self.row[_FIRST_NEURON:]
        if values[0] == 0:
            return None
        return {field.name: value for field, value in zip(NEURON, values, strict=True)}


class Log:
    """A log that `open_log` opened. It holds no file open; every call reads what is there at that time.

    Attributes:
        path: the directory.
        ranks: the ranks that it holds rows of, ascending.
    """

    def __init__(self, path: Path, runs: dict[int, RunReader], notes: tuple[str, ...] = ()) -> None:
        self.path = path
        self.ranks = tuple(runs)
        self._runs = runs
        self._notes = notes
        self._warnings: tuple[str, ...] | None = None

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The layers in forward order; where ranks or resumed runs differ on one, the last holds."""
        layers = {info.name: info for run in self._runs.values() for info in run.layers}
        return tuple(sorted(layers.values(), key=lambda info: info.order))

    @property
    def metadata(self) -> dict[str, str]:
        """The run's own metadata, text to text; where ranks or resumed runs differ, the last holds."""
        return {key: value for run in self._runs.values() for key, value in run.metadata.items()}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is damaged or missing and where; empty when all is whole. Reads the log through if nothing has yet."""
        if self._warnings is None:
            for _ in self._parts():
                pass
        return self._warnings or ()

    def to_table(self) -> Any:
        """All rows as a `pyarrow.Table` in written order: ``rank`` and one column for each stored field.

        One row per (step, layer, rank). A run that was resumed from an earlier step has the repeated steps twice.
        The fields and their meanings are those of `fields.ROW`, with the layer's name as ``layer`` and its place in
        forward order as ``layer_order``. Null stands where there was nothing to measure.
        """
        schema = pa.schema([pa.field("rank", pa.int32(), nullable=False), *COLUMNS], metadata=self.metadata)
        batches = []
        for rank, batch, _ in self._parts():
            ranks = pa.array(np.full(batch.num_rows, rank, np.int32))
            batches.append(pa.RecordBatch.from_arrays([ranks, *batch.columns], schema=schema))
        return pa.Table.from_batches(batches, schema)

    def replay(
        self,
        *,
        from_step: int | None = None,
        to_step: int | None = None,
        layers: str | Iterable[str] | None = None,
    ) -> Iterator[Record]:
        """Yields what the monitor saw, in the order in which it was written, rank after rank.

        Args:
            from_step: first step to yield; from the start by default.
            to_step: last step to yield, itself included; to the end by default.
            layers: names of the layers to yield, or one name; all by default.

        Raises:
            ArgumentTypeError, ArgumentValueError: at once, when a filter is unusable or names a layer that the log
                does not have.
        """
        for argument, step in (("from_step", from_step), ("to_step", to_step)):
            if step is not None and not isinstance(step, (int, np.integer)):
                raise ArgumentTypeError(f"{argument}: got {type(step).__name__}, want an integer or None")
        return self._replay(from_step, to_step, self._check_layers(layers))

    def diagnose(
        self, thresholds: Thresholds | None = None, window_size: int | None = None, rank: int | None = None
    ) -> Diagnosis:
        """The diagnosis of the logged rows: equal to the live one of the same rows.

        Args:
            thresholds: by default those the monitor wrote into the metadata, else ``Thresholds()``.
            window_size: rows per layer to judge by; by default the monitor's own, else 100.
            rank: whose rows to judge. Ranks are judged apart, since each saw other data: a log of several wants one.

        Raises:
            ArgumentValueError: an argument is out of range, or `rank` is not in the log.
        """
        if rank is None and len(self.ranks) > 1:
            raise ArgumentValueError(f"rank: got None, want one of {self.ranks}: ranks are judged apart")
        rank = self.ranks[0] if rank is None else rank
        if rank not in self._runs:
            raise ArgumentValueError(f"rank: got {rank!r}, want one of {self.ranks}")
        metadata = self._runs[rank].metadata
        if window_size is None:
            text = metadata.get("window_size", "")
            stored = int(text) if re.fullmatch("[1-9][0-9]{0,6}", text) else 0
            window_size = stored if 1 <= stored <= MAX_WINDOW else 100
        if thresholds is None:
            thresholds = _thresholds(metadata.get("thresholds"))
        diagnoser = Diagnoser(window_size, thresholds)
        # Layers are added as their first row comes, which is when the monitor did it.
        known: set[str] = set()
        for _, batch, infos in self._parts(rank):
            rows = to_rows(batch).tolist()
            for name, row in zip(batch.column("layer").to_pylist(), rows, strict=True):
                if name not in known:
                    known.add(name)
                    diagnoser.add(_info(infos, name, row))
                diagnoser.append(name, row)
        return diagnoser.diagnose()

    def __repr__(self) -> str:
        return f"Log({str(self.path)!r}, layers={len(self.layers)}, ranks={len(self.ranks)})"

    def _check_layers(self, layers: str | Iterable[str] | None) -> frozenset[str] | None:
        if layers is None:
            return None
        try:
            wanted = frozenset([layers] if isinstance(layers, str) else layers)
        except TypeError:
            raise ArgumentTypeError(f"layers: got {type(layers).__name__}, want names of layers") from None
        known = {info.name for info in self.layers}
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise ArgumentValueError(f"layers: got {unknown[0]!r}, want among {sorted(known)}")
        return wanted

    def _replay(self, from_step: int | None, to_step: int | None, wanted: frozenset[str] | None) -> Iterator[Record]:
        for rank, batch, infos in self._parts():
            rows = to_rows(batch)
            keep = np.ones(len(rows), np.bool_)
            if from_step is not None:
                keep &= rows["step"] >= from_step
            if to_step is not None:
                keep &= rows["step"] <= to_step
            if not keep.any():
                continue
            names = batch.column("layer").filter(pa.array(keep)).to_pylist()
            for name, row in zip(names, rows[keep].tolist(), strict=True):
                if wanted is None or name in wanted:
                    yield Record(row[_STEP], name, _info(infos, name, row), row, rank)

    def _parts(self, only: int | None = None) -> Iterator[tuple[int, Any, dict[str, LayerInfo]]]:
        """(rank, batch, layers by name) of every whole batch; a pass to the end finds the warnings anew."""
        found = list(self._notes)
        for rank, run in self._runs.items():
            if only is not None and rank != only:
                continue
            prefix = "" if run.path == self.path else run.path.name + "/"

            def lost(what: str, prefix: str = prefix) -> None:
                found.append(prefix + what)

            for part in run.batches(lost):
                yield rank, part.batch, part.layers
        if only is None or len(self._runs) == 1:
            self._warnings = tuple(found)


def open_log(path: str | os.PathLike[str]) -> Log:
    """Opens the log of a run: its directory, or the parent of ``rank-00000``, ``rank-00001``, ... directories.

    A run that is being written, was killed or was damaged is opened too: `Log.warnings` says what is missing.

    Raises:
        ArgumentTypeError: `path` is not a path.
        LogError: nothing can be read there, or a newer major version of fastact wrote it.

    Example:
        >>> open_log("no/such/run")
        Traceback (most recent call last):
        fastact.errors.LogError: cannot read the log 'no/such/run', want a run's directory: ...
    """
    place = check_path(path)
    try:
        own = bool(list_segments(place))
        ranks = {
            int(match[1]): name
            for name in sorted(item.name for item in place.iterdir())
            if (match := _RANK.fullmatch(name))
        }
    except (OSError, ValueError) as error:
        raise LogError(f"cannot read the log {str(place)!r}, want a run's directory: {error}") from None
    if own or not ranks:
        notes = (f"{len(ranks)} rank directories lie beside the segments and were not read",) if ranks else ()
        return Log(place, {0: RunReader(place)}, notes)
    runs: dict[int, RunReader] = {}
    failed: list[str] = []
    for rank, name in sorted(ranks.items()):
        try:
            runs[rank] = RunReader(place / name)
        except LogError as error:
            failed.append(f"{name}: {error}")
    if not runs:
        raise LogError(f"nothing can be read from the log {str(place)!r}: {'; '.join(failed)}")
    return Log(place, runs, tuple(failed))


def _info(infos: dict[str, LayerInfo], name: str, row: tuple[Any, ...]) -> LayerInfo:
    """The layer's info; where the schema that held it is lost, what its row tells."""
    return infos.get(name) or LayerInfo(name, row[_LAYER])


def _thresholds(text: str | None) -> Thresholds:
    """The thresholds that the monitor wrote as a JSON object of the fields that it has; the defaults otherwise."""
    try:
        stored = json.loads(text or "{}")
        names = {field.name for field in dataclasses.fields(Thresholds)}
        return Thresholds(**{name: value for name, value in stored.items() if name in names})
    except (TypeError, ValueError, AttributeError, RecursionError):
        return Thresholds()
