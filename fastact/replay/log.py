"""Reads a log back: as a table, row by row as the monitor saw it, or as a diagnosis.

A replay gives a `Diagnoser` the same layers and rows in the same order as the live monitor did, so both come to the
same `Diagnosis`. Segments are streamed: whatever the length of a log, some hundred megabytes are in memory at a time,
and with `Log.to_table` alone all of it.
"""

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fastact.diagnosis.diagnoser import Diagnoser, Diagnosis
from fastact.diagnosis.rules import Thresholds
from fastact.errors import ArgumentTypeError, ArgumentValueError, LogError
from fastact.fields import COLUMN, NEURON, NEURON_PART, ROW_DTYPE, SCHEMA_VERSION, STATE_PART
from fastact.history import MAX_WINDOW, LayerInfo
from fastact.log.files import list_segments
from fastact.log.reader import Part, RunReader
from fastact.log.schema import COLUMNS, check_path, layers_to_json, to_rows
from fastact.replay.merge_ranks import Batch, Block, Layers, blocks, groups, merge_ranks, merge_rows
from fastact.stats.activation import ActivationStats

__all__ = ["Log", "Progress", "Record", "diagnoser_of", "extend", "open_log", "rank_folders"]

#: Told the bytes read so far.
Progress = Callable[[int], None]

_RANK: Final = re.compile(r"rank-(\d{5,9})")
_LAYER, _STEP = COLUMN["layer"], COLUMN["step"]
_RANK_COLUMN: Final = pa.field(
    "rank", pa.int32(), nullable=False, metadata={"meaning": "the process that recorded it, from the directory's name"}
)


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
        return ActivationStats.from_state(self.row[STATE_PART])

    @property
    def neurons(self) -> dict[str, int | float] | None:
        """The fields of `fields.NEURON` by name, None where the layer was not swept per neuron."""
        values = self.row[NEURON_PART]
        if values[0] == 0:
            return None
        return {field.name: value for field, value in zip(NEURON, values, strict=True)}


class Log:
    """A log that `open_log` opened. It holds no file open; every call reads what is there at that time.

    Where a method takes `progress`, it is called as the reading goes on, with the bytes read so far; `nbytes` has
    the total.

    Attributes:
        path: the directory.
        ranks: the ranks that it holds rows of, ascending.
        runs: the reader of each rank's directory.
    """

    def __init__(self, path: Path, runs: dict[int, RunReader], notes: tuple[str, ...] = ()) -> None:
        self.path = path
        self.ranks = tuple(runs)
        self.runs = runs
        self._notes = notes
        self._warnings: tuple[str, ...] | None = None

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The layers in forward order; where ranks or resumed runs differ on one, the last holds."""
        layers = {info.name: info for run in self.runs.values() for info in run.layers}
        return tuple(sorted(layers.values(), key=lambda info: info.order))

    @property
    def metadata(self) -> dict[str, str]:
        """The run's own metadata, text to text; where ranks or resumed runs differ, the last holds."""
        return {key: value for run in self.runs.values() for key, value in run.metadata.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of its segments on the disk."""
        return sum(run.nbytes for run in self.runs.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is damaged or missing and where; empty when all is whole. Reads the log through if nothing has yet."""
        if self._warnings is None:
            for _ in self.parts(self.ranks):
                pass
        return self._warnings or ()

    @property
    def schema(self) -> Any:
        """The `pyarrow.Schema` of `to_table` and `to_batches`.

        Its metadata hold the run's own, and what fastact knows: ``fastact.schema_version`` and ``fastact.layers``, a
        JSON list of the layers with their kinds, dtypes and saturation intervals. Each field's metadata hold its
        ``meaning`` with its unit.
        """
        own = {
            "fastact.schema_version": f"{SCHEMA_VERSION[0]}.{SCHEMA_VERSION[1]}",
            "fastact.layers": layers_to_json(self.layers),
        }
        return pa.schema([_RANK_COLUMN, *COLUMNS], metadata=self.metadata | own)

    def to_batches(self, *, progress: Progress | None = None) -> Iterator[Any]:
        """Yields all rows as `pyarrow.RecordBatch` in written order, rank after rank; columns as in `to_table`.

        One batch is in memory at a time. ``pyarrow.RecordBatchReader.from_batches(log.schema, log.to_batches())``
        makes it a stream for whatever reads Arrow.
        """
        schema = self.schema
        for rank, part in self.parts(self.ranks, progress):
            ranks = pa.array(np.full(part.batch.num_rows, rank, np.int32))
            yield pa.RecordBatch.from_arrays([ranks, *part.batch.columns], schema=schema)

    def to_table(self, *, progress: Progress | None = None) -> Any:
        """All rows as a `pyarrow.Table` in written order, rank after rank; it takes some 200 bytes a row.

        One row per (step, layer, rank). A run that was resumed from an earlier step has the repeated steps twice.
        The columns are ``rank``, the layer's name as ``layer``, its place in forward order as ``layer_order``, and the
        other fields of `fields.ROW`. Null stands where there was nothing to measure; NaN does not occur.
        """
        return pa.Table.from_batches(self.to_batches(progress=progress), self.schema)

    def replay(
        self,
        *,
        from_step: int | None = None,
        to_step: int | None = None,
        layers: str | Iterable[str] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Record]:
        """Yields what the monitor saw, in the order in which it was written, rank after rank.

        Args:
            from_step: first step to yield; from the start by default.
            to_step: last step to yield, itself included; to the end by default.
            layers: names of the layers to yield, or one name; all by default.
            progress: told the bytes read so far.

        Raises:
            ArgumentTypeError, ArgumentValueError: at once, when a filter is unusable or names a layer that the log
                does not have.
        """
        return self._replay(_Filter.of(self, from_step, to_step, layers), progress)

    def aggregate(
        self,
        by: str | Iterable[str] = "layer",
        *,
        from_step: int | None = None,
        to_step: int | None = None,
        layers: str | Iterable[str] | None = None,
        ranks: int | Iterable[int] | None = None,
        progress: Progress | None = None,
    ) -> dict[Any, ActivationStats]:
        """What one sweep over all elements of many rows would have given: rows merged, exactly, over any range.

        Counts, min and max are exact, moments to float64 rounding, since a row keeps what merges (`fields.STATE`).

        Args:
            by: what to keep apart: one of "layer", "step" and "rank", or several of them.
            from_step: first step to take in; from the start by default.
            to_step: last step to take in, itself included; to the end by default.
            layers: names of the layers to take in, or one name; all by default.
            ranks: ranks to take in, or one; all by default.
            progress: told the bytes read so far.

        Returns:
            The stats by the layer's name, the step or the rank; by tuples of them where `by` names several.

        Raises:
            ArgumentTypeError, ArgumentValueError: an argument is unusable, or names what the log does not have.

        Example:
            >>> import tempfile, fastact
            >>> run = tempfile.mkdtemp()
            >>> with fastact.ActivationMonitor(run) as monitor:
            ...     for x in ([1.0, 2.0], [3.0, 4.0], [50.0, 60.0]):
            ...         stats = monitor.record("encoder.0", np.array(x))
            ...         monitor.step()
            >>> open_log(run).aggregate("layer", to_step=1)["encoder.0"].mean
            2.5
        """
        kinds = (by,) if isinstance(by, str) else tuple(by)
        if not kinds or not set(kinds) <= {"layer", "step", "rank"}:
            raise ArgumentValueError(f"by: got {by!r}, want 'layer', 'step', 'rank' or several of them")
        chosen = _Filter.of(self, from_step, to_step, layers)
        wanted = self.ranks if ranks is None else (ranks,) if isinstance(ranks, int) else tuple(ranks)
        for rank in wanted:
            self._check_rank("ranks", rank)
        known = Layers()
        keys = [np.zeros(0, np.int64) for _ in kinds]
        total = np.zeros(0, ROW_DTYPE)
        for rank, parts in groupby(self.parts(wanted, progress), key=itemgetter(0)):
            for block in blocks(((part.batch, part.layers) for _, part in parts), known):
                keep = chosen.of_block(block, known)
                rows, codes = block.rows[keep], block.codes[keep]
                values = {"layer": codes, "step": rows["step"], "rank": np.full(len(rows), rank, np.int64)}
                keys = [np.concatenate([key, values[kind]]) for key, kind in zip(keys, kinds, strict=True)]
                rows = np.concatenate([total, rows])
                order, starts = groups(*keys)
                keys = [key[order][starts] for key in keys]
                total = merge_rows(rows.take(order), starts)
        names = [info.name for info in known.infos]
        columns = [
            [names[code] for code in key.tolist()] if kind == "layer" else key.tolist()
            for key, kind in zip(keys, kinds, strict=True)
        ]
        merged_rows: list[Any] = total.tolist()
        merged = (ActivationStats.from_state(row[STATE_PART]) for row in merged_rows)
        return dict(zip(columns[0] if isinstance(by, str) else zip(*columns, strict=True), merged, strict=True))

    def diagnose(
        self,
        thresholds: Thresholds | None = None,
        window_size: int | None = None,
        rank: int | None = None,
        *,
        preset: str | None = None,
        progress: Progress | None = None,
    ) -> Diagnosis:
        """The diagnosis of the logged rows: equal to the live one of the same rows.

        Several ranks that train one network saw parts of each batch: by default they are judged as one, their rows of
        the same layer in the same step merged. Elements are merged exactly. Which neurons were silent, dead, saturated
        or constant is not kept, only how many, and a neuron is so in the whole batch only if it is so on every rank:
        the least number of any rank is taken, which is the most that there can be. `within_std` pools the ranks'
        variances. Layers that only some ranks have (a pipeline) are judged by the rows that there are.

        Args:
            thresholds: by default those the monitor wrote into the metadata, else ``Thresholds()``.
            window_size: rows per layer to judge by; by default the monitor's own, else 100.
            rank: whose rows to judge, as that rank's monitor did; None merges all ranks.
            preset: the published rules of others instead of our own, to compare with: see `rules.presets.PRESETS`.
            progress: told the bytes read so far.

        Raises:
            ArgumentValueError: an argument is out of range, or `rank` is not in the log.
        """
        if rank is not None:
            self._check_rank("rank", rank)
        ranks = self.ranks if rank is None else (rank,)
        metadata = {key: value for rank in ranks for key, value in self.runs[rank].metadata.items()}
        diagnoser = diagnoser_of(metadata, thresholds, window_size)
        layers = Layers()
        if len(ranks) == 1:
            found = blocks(((part.batch, part.layers) for _, part in self.parts(ranks, progress)), layers)
        else:
            found = self._merged(ranks, layers, progress)
        for block in found:
            extend(diagnoser, block, layers)
        return diagnoser.diagnose(preset)

    def __repr__(self) -> str:
        return f"Log({str(self.path)!r}, layers={len(self.layers)}, ranks={len(self.ranks)})"

    def _check_rank(self, argument: str, rank: object) -> None:
        if rank not in self.runs:
            raise ArgumentValueError(f"{argument}: got {rank!r}, want among {self.ranks}")

    def _replay(self, chosen: "_Filter", progress: Progress | None) -> Iterator[Record]:
        for rank, part in self.parts(self.ranks, progress):
            keep = chosen.of_batch(part.batch)
            names = part.batch.column("layer").filter(pa.array(keep)).to_pylist()
            for name, row in zip(names, to_rows(part.batch)[keep].tolist(), strict=True):
                # Where the schema that held it is lost, its row tells its place.
                info = part.layers.get(name) or LayerInfo(name, row[_LAYER])
                yield Record(row[_STEP], name, info, row, rank)

    def _merged(self, ranks: tuple[int, ...], layers: Layers, progress: Progress | None) -> Iterator[Block]:
        """The rows of several ranks, those of the same layer in the same step merged."""
        found = list(self._notes)
        read = dict.fromkeys(ranks, 0)

        def batches(rank: int) -> Iterator[tuple[Batch, str]]:
            for part in self._parts_of(rank, found.append):
                read[rank] += len(part.frame.message)
                if progress is not None:
                    progress(sum(read.values()))
                yield (part.batch, part.layers), part.frame.session

        yield from merge_ranks([batches(rank) for rank in ranks], layers)
        self._warnings = tuple(found)

    def parts(self, ranks: Iterable[int], progress: Progress | None = None) -> Iterator[tuple[int, Part]]:
        """Yields (rank, part) for every whole batch of these ranks. A pass to the end of all renews `warnings`."""
        found = list(self._notes)
        read = 0
        for rank in ranks:
            for part in self._parts_of(rank, found.append):
                read += len(part.frame.message)
                if progress is not None:
                    progress(read)
                yield rank, part
        if set(ranks) == set(self.ranks):
            self._warnings = tuple(found)

    def _parts_of(self, rank: int, lost: Callable[[str], None]) -> Iterator[Part]:
        run = self.runs[rank]
        prefix = "" if run.path == self.path else run.path.name + "/"
        return run.batches(lambda what: lost(prefix + what))


class _Filter(NamedTuple):
    """Which rows are wanted: None wants all."""

    first: int | None
    last: int | None
    layers: tuple[str, ...] | None

    @classmethod
    def of(cls, log: Log, first: Any, last: Any, layers: Any) -> "_Filter":
        for argument, step in (("from_step", first), ("to_step", last)):
            if step is not None and not isinstance(step, (int, np.integer)):
                raise ArgumentTypeError(f"{argument}: got {type(step).__name__}, want an integer or None")
        if layers is None:
            return cls(first, last, None)
        try:
            wanted = (layers,) if isinstance(layers, str) else tuple(layers)
        except TypeError:
            raise ArgumentTypeError(f"layers: got {type(layers).__name__}, want names of layers") from None
        known = {info.name for info in log.layers}
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise ArgumentValueError(f"layers: got {unknown[0]!r}, want among {sorted(known)}")
        return cls(first, last, wanted)

    def of_batch(self, batch: Any) -> npt.NDArray[np.bool_]:
        keep = self._of_steps(batch.column("step").to_numpy())
        if self.layers is not None:
            named = pc.is_in(batch.column("layer"), value_set=pa.array(self.layers, pa.utf8()))
            keep &= named.to_numpy(zero_copy_only=False)
        return keep

    def of_block(self, block: Block, known: Layers) -> npt.NDArray[np.bool_]:
        keep = self._of_steps(block.rows["step"])
        if self.layers is not None:
            keep &= np.array([info.name in self.layers for info in known.infos], np.bool_)[block.codes]
        return keep

    def _of_steps(self, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        keep = np.ones(len(steps), np.bool_)
        if self.first is not None:
            keep &= steps >= self.first
        if self.last is not None:
            keep &= steps <= self.last
        return keep


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
    place, ranks = rank_folders(path)
    if list_segments(place) or not ranks:
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


def rank_folders(path: str | os.PathLike[str]) -> tuple[Path, dict[int, str]]:
    """The path of a run's directory, and the names of its ranks' directories by their ranks.

    Raises:
        ArgumentTypeError: `path` is not a path.
        LogError: it is no directory that can be read.
    """
    place = check_path(path)
    try:
        names = sorted(item.name for item in place.iterdir())
    except (OSError, ValueError) as error:
        raise LogError(f"cannot read the log {str(place)!r}, want a run's directory: {error}") from None
    return place, {int(match[1]): name for name in names if (match := _RANK.fullmatch(name))}


def diagnoser_of(metadata: dict[str, str], thresholds: Thresholds | None, window_size: int | None) -> Diagnoser:
    """A diagnoser with the settings given, else with those that the monitor wrote into the run's metadata."""
    if window_size is None:
        text = metadata.get("window_size", "")
        stored = int(text) if re.fullmatch("[1-9][0-9]{0,6}", text) else 0
        window_size = stored if 1 <= stored <= MAX_WINDOW else 100
    if thresholds is None:
        thresholds = _thresholds(metadata.get("thresholds"))
    return Diagnoser(window_size, thresholds)


def extend(diagnoser: Diagnoser, block: Block, layers: Layers) -> None:
    """Gives a diagnoser the rows of a block, layer by layer, each layer's rows in their order."""
    order, starts = groups(block.codes)
    rows = block.rows.take(order)  # a fifth of the time of block.rows[order]
    for code, begin, end in zip(
        block.codes[order][starts].tolist(), starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True
    ):
        info = layers.infos[code]
        # Layers are added as their first row comes, which is when the monitor did it.
        diagnoser.add(info)
        diagnoser.extend(info.name, rows[begin:end])


def _thresholds(text: str | None) -> Thresholds:
    """The thresholds that the monitor wrote as a JSON object of the fields that it has; the defaults otherwise."""
    try:
        stored = json.loads(text or "{}")
        names = {field.name for field in dataclasses.fields(Thresholds)}
        return Thresholds(**{name: value for name, value in stored.items() if name in names})
    except (TypeError, ValueError, AttributeError, RecursionError):
        return Thresholds()
