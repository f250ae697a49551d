"""Reads a log back: as a table, row by row as the monitor saw it, or as a diagnosis.

A replay gives a `Diagnoser` the same layers and rows in the same order as the live monitor did, so both come to the
same `Diagnosis`. Segments are streamed: whatever the length of a log, some hundred megabytes are in memory at a time,
and with `Log.to_table` alone all of it.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from fastact.checks import check_integer
from fastact.diagnosis.accept import Accept, from_json
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.report import Diagnosis
from fastact.diagnosis.rules import Thresholds
from fastact.errors import ArgumentValueError
from fastact.fields import COLUMN, SCHEMA_VERSION
from fastact.history import LayerInfo
from fastact.log.reader import RunReader, Steps, StoredBatch
from fastact.log.repeats import same
from fastact.log.schema import COLUMNS, layers_to_json, to_rows
from fastact.ranks import OF_ONE_RANK
from fastact.replay.absent import Seen, behind
from fastact.replay.beside import Beside, Comparer
from fastact.replay.blocks import Block, LayerNumbers, add_block, in_blocks, make_diagnoser
from fastact.replay.fetch import open_fetched
from fastact.replay.frames import Frames, Progress
from fastact.replay.layouts import grouped, names_in_groups
from fastact.replay.merge import aggregate, keys_of
from fastact.replay.neurons import OfNeurons
from fastact.replay.plotting import Plots
from fastact.replay.rank_merge import merge_ranks
from fastact.replay.ranks import OfRanks, rank_folders
from fastact.replay.records import Record, RowFilter
from fastact.replay.sessions import OfSessions, runs_in
from fastact.stats.activation import ActivationStats

_LAYER, _STEP = COLUMN["layer"], COLUMN["step"]
_RANK_COLUMN: Final = pa.field(
    "rank", pa.int32(), nullable=False, metadata={"meaning": "the process that recorded it, from the directory's name"}
)


class Log(OfRanks, OfNeurons, Frames, Plots, OfSessions):
    """A log that `open_log` opened. It holds no file open; every call reads what is there at that time.

    Where a method takes `progress`, it is called now and then with the bytes read so far; `nbytes` has the total.

    Attributes:
        path: the directory.
        ranks: the ranks whose rows it holds, ascending.
        runs: the reader of each rank's directory.
        session: the number of the session that is read.
    """

    def __init__(self, path: Path, runs: dict[int, RunReader], notes: Iterable[str] = ()) -> None:
        self.path = path
        self.ranks = tuple(runs)
        self.runs = runs
        self.session = max(run.session for run in runs.values())
        self._notes = tuple(notes)
        self._warnings: tuple[str, ...] | None = None
        self._seen = Seen(None)

    @property
    def metadata(self) -> dict[str, str]:
        """The run's own metadata, text to text; where ranks or resumed runs differ, the last one counts."""
        own = OF_ONE_RANK if len(self.runs) > 1 else ()
        return {name: text for run in self.runs.values() for name, text in run.metadata.items() if name not in own}

    @property
    def unseen(self) -> dict[str, str]:
        """What was watched and not recorded, by name, and why: `ActivationMonitor.unseen` of all ranks together.

        What another rank has recorded is left out only in `diagnose`, which knows all rows.
        """
        return self.unseen_of()

    @property
    def accepted(self) -> dict[str, dict[str, str]]:
        """The findings that the run was told to accept: layers -> conditions -> reasons."""
        return from_json(self.metadata.get("accept"))

    @property
    def nbytes(self) -> int:
        """Bytes of its segments on the disk."""
        return sum(run.nbytes for run in self.runs.values())

    @property
    def closed(self) -> bool:
        """Whether all of its writers closed it. One that was killed leaves it open."""
        return all(run.closed for run in self.runs.values())

    @property
    def schema(self) -> Any:
        """The `pyarrow.Schema` of `to_table` and `to_batches`.

        Its metadata hold the run's own, ``fastact.schema_version``, and ``fastact.layers``, a JSON list of the layers
        with their types, dtypes and saturation intervals. Each field's metadata hold its ``meaning`` with its unit.
        """
        version = f"{SCHEMA_VERSION[0]}.{SCHEMA_VERSION[1]}"
        own = {"fastact.schema_version": version, "fastact.layers": layers_to_json(self.layers)}
        return pa.schema([_RANK_COLUMN, *COLUMNS], metadata=self.metadata | own)

    def to_batches(self, *, progress: Progress | None = None) -> Iterator[Any]:
        """Yields all rows as `pyarrow.RecordBatch` in written order, rank after rank; columns as in `to_table`.

        One batch is in memory at a time. ``pyarrow.RecordBatchReader.from_batches(log.schema, log.to_batches())`` is a
        stream for anything that reads Arrow.
        """
        schema = self.schema
        for rank, stored in self.stored_batches(self.ranks, progress):
            yield pa.RecordBatch.from_arrays([same(rank, stored.batch.num_rows), *stored.batch.columns], schema=schema)

    def to_table(self, *, progress: Progress | None = None) -> Any:
        """All rows as a `pyarrow.Table` in written order, rank after rank; it takes some 80 to 200 bytes a row.

        One row per (step, layer, rank). Of steps that a run which was resumed has recorded again, the later row counts.
        The columns are ``rank``, the layer's name as ``layer``, its place in forward order as ``layer_order``, and the
        other fields of `fields.ROW`. Null stands where there was nothing to measure; NaN does not occur. What is the
        same in many batches is in memory once: ``nbytes`` counts it each time, `get_total_buffer_size` does not.
        """
        batches, ranks = [], []
        for rank, stored in self.stored_batches(self.ranks, progress):
            batches.append(stored.batch)
            ranks.append(same(rank, stored.batch.num_rows))
        columns = pa.Table.from_batches(batches, COLUMNS).columns
        return pa.Table.from_arrays([pa.chunked_array(ranks, _RANK_COLUMN.type), *columns], schema=self.schema)

    def blocks(
        self, rank: int | None = None, *, progress: Progress | None = None
    ) -> tuple[Sequence[LayerInfo], Iterator[Block]]:
        """All rows in blocks of a quarter of a million, ranks merged as in `diagnose`: what heat maps are made from.

        Args:
            rank: the rank to read; None merges all ranks.
            progress: called with the bytes read so far.

        Returns:
            The layers, in a list that grows as they come, and blocks: each row's place of its layer in it, int64[rows],
            and the rows of `fields.ROW_DTYPE`. A block is overwritten when the next one is asked for.

        Raises:
            ArgumentValueError: `rank` is not in the log.
        """
        return (layers := self.numbers(rank)).infos, self.read_blocks(rank, layers, progress)

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
            to_step: last step to yield, included; to the end by default.
            layers: names of the layers to yield, or one name; all by default.
            progress: called with the bytes read so far.

        Raises:
            ArgumentTypeError, ArgumentValueError: at once, when a filter is unusable or names a layer that the log
                does not have.
        """
        return self._replay(RowFilter.of_arguments(from_step, to_step, layers, self.layers), progress)

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
        """Merges rows over any range: what one sweep over all of their elements would have given.

        Counts, min and max are exact, moments up to float64 rounding, since a row keeps what merges (`fields.STATE`).

        Args:
            by: what to keep apart: one of "layer", "step" and "rank", or several of them.
            from_step: first step to include; from the start by default.
            to_step: last step to include; to the end by default.
            layers: names of the layers to include, or one name; all by default.
            ranks: ranks to include, or one; all by default.
            progress: called with the bytes read so far.

        Returns:
            The stats by layer name, step or rank; by tuples of them where `by` names several.

        Raises:
            ArgumentTypeError, ArgumentValueError: an argument is unusable, or names what the log does not have.

        Example:
            >>> import tempfile, fastact, numpy as np
            >>> run = tempfile.mkdtemp()
            >>> with fastact.ActivationMonitor(run) as monitor:
            ...     for x in ([1.0, 2.0], [3.0, 4.0], [50.0, 60.0]):
            ...         stats = monitor.record("encoder.0", np.array(x))
            ...         monitor.step()
            >>> open_log(run).aggregate("layer", to_step=1)["encoder.0"].mean
            2.5
        """
        names = keys_of(by)
        wanted = RowFilter.of_arguments(from_step, to_step, layers, self.layers)
        of_ranks = self.ranks if ranks is None else (ranks,) if isinstance(ranks, int) else tuple(ranks)
        for rank in of_ranks:
            self._check_rank("ranks", rank)
        found = aggregate(self.stored_batches(of_ranks, progress, wanted.steps), names, wanted)
        return {key[0]: stats for key, stats in found.items()} if isinstance(by, str) else found

    def diagnose(
        self,
        thresholds: Thresholds | None = None,
        window_size: int | None = None,
        rank: int | None = None,
        *,
        accept: Accept | None = None,
        preset: str | None = None,
        progress: Progress | None = None,
    ) -> Diagnosis:
        """The diagnosis of the logged rows: equal to the live one of the same rows.

        Several ranks that train one network saw parts of each batch: by default they are judged as one, and their rows
        of a layer in a step merged. Elements are merged exactly. A log does not say which neurons were silent, dead,
        saturated or constant, only how many; a neuron is so in the whole batch only if it is so on every rank, so the
        least number of any rank is taken, which is the most that there can be. `within_std` pools the ranks' variances.
        Layers that only some ranks have (a pipeline) are judged by the rows that there are. Unseen is what no rank saw.

        Args:
            thresholds: by default those the monitor wrote into the metadata, else ``Thresholds()``.
            window_size: rows per layer to judge by; by default the monitor's own, else 100.
            rank: the rank to judge, as its own monitor did; None merges all ranks.
            accept: findings that do not count, as in `ActivationMonitor`, instead of those that the monitor wrote into
                the metadata; ``{}`` is none.
            preset: published rules of others instead of our own, for comparison: see `diagnosis.presets.PRESETS`.
            progress: called with the bytes read so far.

        Raises:
            ArgumentTypeError: `accept` is no mapping of layers to conditions.
            ArgumentValueError: an argument is out of range, a condition is unknown, or `rank` is not in the log.
        """
        diagnoser, layers = self.diagnoser(rank, thresholds, window_size, accept), self.numbers(rank)
        for block in self.read_blocks(rank, layers, progress, diagnoser):
            add_block(diagnoser, block, layers.infos)
        diagnoser.unseen = self.unseen_of(rank)
        return diagnoser.diagnose(preset)

    def diagnoser(
        self,
        rank: int | None = None,
        thresholds: Thresholds | None = None,
        window_size: int | None = None,
        accept: Accept | None = None,
    ) -> Diagnoser:
        """A diagnoser without rows, for the rows of `blocks`; arguments as in `diagnose`."""
        metadata = {key: value for each in self._ranks(rank) for key, value in self.runs[each].metadata.items()}
        return make_diagnoser(metadata, thresholds, window_size, accept)

    def unseen_of(self, rank: int | None = None) -> dict[str, str]:
        """What was watched and not recorded on a rank, by name, and why; None is all ranks: `unseen`."""
        return names_in_groups([(self.runs[each].metadata, self.runs[each].unseen) for each in self._ranks(rank)])

    def _ranks(self, rank: int | None) -> tuple[int, ...]:
        return self.ranks if rank is None else (self._check_rank("rank", rank),)

    def read_blocks(
        self, rank: int | None, layers: LayerNumbers, progress: Progress | None, comparer: Comparer | None = None
    ) -> Iterator[Block]:
        """The blocks of `blocks`, with the layers' numbers from `layers`; `comparer` gets ranks beside each other."""
        ranks = self._ranks(rank)
        lost = list(self._notes)
        runs = self._batches(ranks, lost, progress)
        beside = None if comparer is None else Beside(ranks, layers, comparer)
        numbers = grouped(layers, [self.runs[each].metadata for each in ranks])

        def blocks() -> Iterator[Block]:
            yield from in_blocks(runs[0], layers) if len(runs) == 1 else merge_ranks(runs, numbers, beside)
            if ranks == self.ranks:
                self._warnings = (*lost, *behind(self.runs, self._seen))

        return blocks()

    def report(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Writes the diagnosis and the rows as one HTML file, which needs no network and is at most 400 kB.

        It has the findings with the curves that show them, a heat map of layers by steps for any statistic, each
        layer's health, and what was not looked at. Memory is bounded by the layers, whatever the number of steps.

        Args:
            path: the file; it is replaced as a whole.
            progress: called with the bytes read so far.

        Raises:
            ArgumentTypeError: `path` is not a path.
            ArgumentValueError: it is no place for a file: a directory, a device, a segment of a run.
            OSError: the file cannot be written.
        """
        from fastact.replay.report import write_report  # reads what is defined here

        write_report([self], path, progress=progress)

    def __repr__(self) -> str:
        which = f", session={self.session} of {len(self.sessions)}" if len(self.sessions) > 1 else ""
        return f"Log({str(self.path)!r}, layers={len(self.layers)}, ranks={len(self.ranks)}{which})"

    def _check_rank(self, argument: str, rank: int) -> int:
        if rank not in self.runs:
            raise ArgumentValueError(f"{argument}: got {rank!r}, want one of {', '.join(map(str, self.ranks))}")
        return rank

    def _replay(self, wanted: RowFilter, progress: Progress | None) -> Iterator[Record]:
        for rank, stored in self.stored_batches(self.ranks, progress, wanted.steps):
            keep = wanted.in_batch(stored.batch)
            names = stored.batch.column("layer").filter(pa.array(keep)).to_pylist()
            for name, row in zip(names, to_rows(stored.batch)[keep].tolist(), strict=True):
                # Where the schema that held it is lost, its row tells its place.
                info = stored.layers.get(name) or LayerInfo(name, row[_LAYER])
                yield Record(row[_STEP], name, info, row, rank)

    def stored_batches(
        self,
        ranks: Iterable[int],
        progress: Progress | None = None,
        steps: Steps | None = None,
        *,
        everything: bool = False,
    ) -> Iterator[tuple[int, StoredBatch]]:
        """Yields (rank, batch) for every whole batch of these ranks. A pass to the end of all renews `warnings`.

        With `steps`, the first and the last that are wanted, batches without any of them may be left out. With
        `everything`, those of all sessions, and rows that were recorded again as well.
        """
        lost, ranks = list(self._notes), tuple(ranks)
        for rank, batches in zip(ranks, self._batches(ranks, lost, progress, steps, everything), strict=True):
            for stored in batches:
                yield rank, stored
        if set(ranks) == set(self.ranks) and steps is None:
            self._warnings = (*lost, *behind(self.runs, self._seen))

    parts = stored_batches  #: The older name of `stored_batches`.

    def _batches(
        self,
        ranks: Iterable[int],
        lost: list[str],
        progress: Progress | None,
        steps: Steps | None = None,
        everything: bool = False,
    ) -> list[Iterator[StoredBatch]]:
        """The batches of each rank; `progress` is called with the bytes read of all, and `lost` gets what is lost."""
        self._seen = seen = Seen(progress)

        def batches_of(rank: int) -> Iterator[StoredBatch]:
            run = self.runs[rank]
            prefix = "" if run.path == self.path else run.path.name + "/"
            found = run.batches(lambda what: lost.append(prefix + what), steps, everything=everything)
            return map(seen, repeat(rank), found)

        return [batches_of(rank) for rank in ranks]


def open_log(path: str | os.PathLike[str], *, session: int | None = None) -> Log:
    """Opens the log of a run: its directory, or the parent of ``rank-00000``, ``rank-00001``, ... directories.

    A run that is being written, or was killed or damaged, is opened too: `Log.warnings` says what is missing. Where a
    folder has both, since a run of one process and one of several were started there, it is the one that began last.

    Args:
        path: the directory. Of one at ``s3://bucket/run`` (`fastact.remote`) a copy is fetched and opened.
        session: which session of the run to read, by its number in `Log.sessions`; by default the last one, -1.

    Raises:
        ArgumentTypeError, ArgumentValueError: `path` is not a path, or there is no such session.
        LogError: nothing can be read there, or a newer major version of fastact wrote it.

    Example:
        >>> open_log("no/such/run")
        Traceback (most recent call last):
        fastact.errors.LogError: cannot read the log 'no/such/run', want a run's directory: ...
    """
    if session is not None:
        check_integer("session", session, -(2**62), 2**62)
    if fetched := open_fetched(path, lambda copy: open_log(copy, session=session)):
        return fetched
    place, ranks = rank_folders(path)
    return Log(place, *runs_in(place, ranks, session))
