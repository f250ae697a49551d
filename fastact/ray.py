"""Ray: the statistics of a Ray dataset's columns, and of files, by Ray's workers.

States travel between workers as Arrow rows (`fastact.to_arrow`). The answer is that of one process, for any number of
blocks and workers: counts, min and max bit for bit, moments to float64 rounding.
"""

from collections.abc import Generator, Iterable
from typing import Any, Final

import numpy as np

from fastact.cpu.threads import at_most
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.files.array import Ask
from fastact.files.found import FilesStats
from fastact.files.source import Source
from fastact.files.sweep import Found, sweep_by
from fastact.files.travel import found, sweep_task, tasks
from fastact.packages import needs_extra
from fastact.stats.merge import Accumulator, merge
from fastact.stats.merge_rows import groups_of, merge_arrow
from fastact.stats.options import NO_EXTRAS, SATURATION, check_extras, check_options
from fastact.stats.rows import from_arrow, to_arrow

with needs_extra("fastact.ray", "Ray", "ray"):
    import ray
    from ray.data.aggregate import AggregateFnV2
    from ray.data.block import BlockAccessor

__all__ = ["Stats", "summarize", "sweep_files"]

#: Tasks for each CPU, so that none waits long for the last one.
_TASKS_EACH: Final = 4


class Stats(AggregateFnV2):  # type: ignore[misc]
    """An aggregation of Ray Data: the statistics of a column of numbers, lists or tensors.

    ``dataset.aggregate(Stats("x"))`` and ``dataset.groupby("layer").aggregate(Stats("x"))`` have them in the column
    ``stats(x)``: ActivationStats, or DetailedStats with `extras`. Each block is swept once, in its worker, where it
    lies; nulls are left out. Ray shares out the blocks themselves among its aggregators, which takes several times as
    long as the sweep: for large columns `summarize` is the faster way, which moves no blocks.

    Args:
        on: the column's name.
        saturation: as in `fastact.summarize`.
        zero_tol: as in `fastact.summarize`.
        extras: as in `fastact.summarize`.
        name: the name of the column of results; by default ``stats(<on>)``.

    Raises:
        ArgumentTypeError: an option is of the wrong type; when it runs, the column holds no numbers.
        ArgumentValueError: an option is out of range.

    Example:
        >>> import ray  # doctest: +SKIP
        >>> dataset = ray.data.read_parquet("dumps")  # doctest: +SKIP
        >>> dataset.aggregate(Stats("fc1"))["stats(fc1)"].absmax  # doctest: +SKIP
        4.84
    """

    def __init__(
        self,
        on: str,
        *,
        saturation: tuple[float, float] = SATURATION,
        zero_tol: float = 0.0,
        extras: str | Iterable[str] = NO_EXTRAS,
        name: str | None = None,
    ) -> None:
        if not isinstance(on, str):
            raise ArgumentTypeError(f"on: got {type(on).__name__}, want the name of a column")
        low, high, tol = check_options(saturation, zero_tol)
        self._options = {"saturation": (low, high), "zero_tol": tol, "extras": check_extras(extras)}
        super().__init__(name or f"stats({on})", _nothing, on=on, ignore_nulls=True)

    def aggregate_block(self, block: Any) -> bytes:
        """The rows of one block, as a row of Arrow."""
        table = BlockAccessor.for_block(block).to_arrow()
        return _packed(_swept(table, str(self._target_col_name), self._options))

    def combine(self, current_accumulator: bytes, new: bytes) -> bytes:
        """Two rows as one."""
        parts = [_unpacked(part) for part in (current_accumulator, new) if part]
        return _packed(merge(parts)) if parts else b""

    def finalize(self, accumulator: bytes) -> Any:
        """The stats, of no elements where there was no block."""
        if accumulator:
            return _unpacked(accumulator)
        return Accumulator(**self._options).stats  # type: ignore[arg-type]


def summarize(
    dataset: Any,
    on: str,
    *,
    by: str | None = None,
    saturation: tuple[float, float] = SATURATION,
    zero_tol: float = 0.0,
    extras: str | Iterable[str] = NO_EXTRAS,
) -> Any:
    """The statistics of a column of a Ray dataset, over all rows or for each value of another column.

    Each block becomes rows where it lies, and only these travel: nothing is shuffled.

    Args:
        dataset: a `ray.data.Dataset`. It is executed.
        on: the column: numbers, lists of numbers or tensors. Nulls are left out.
        by: a column that tells groups apart.
        saturation: as in `fastact.summarize`.
        zero_tol: as in `fastact.summarize`.
        extras: as in `fastact.summarize`.

    Returns:
        ActivationStats, or DetailedStats with `extras`; with `by` a dict of them, in the order of the blocks.

    Raises:
        ArgumentTypeError: `on` or `by` is no str; when it runs, the column holds no numbers.
        ArgumentValueError: an option is out of range, or `by` is `on`.
    """
    low, high, tol = check_options(saturation, zero_tol)
    options: dict[str, Any] = {"saturation": (low, high), "zero_tol": tol, "extras": check_extras(extras)}
    for name, column in (("on", on), ("by", by or "")):
        if not isinstance(column, str):
            raise ArgumentTypeError(f"{name}: got {type(column).__name__}, want the name of a column")
    if by == on:
        raise ArgumentValueError(f"by: got {by!r}, which is swept, want another column")
    import pyarrow as pa

    wanted = dataset.select_columns([on] if by is None else [on, by])
    rows = wanted.map_batches(
        _rows_of_block, batch_size=None, batch_format="pyarrow", fn_kwargs={"on": on, "by": by, "options": options}
    )
    tables = [table for table in ray.get(rows.to_arrow_refs()) if table.num_rows]
    if not tables:
        return Accumulator(**options).stats if by is None else {}
    merged = merge_arrow(pa.concat_tables(tables), by=() if by is None else _KEY)
    found = from_arrow(merged)
    return found[0] if by is None else dict(zip(merged[_KEY].to_pylist(), found, strict=True))


#: The column of keys among rows.
_KEY: Final = "key"


def _rows_of_block(table: Any, on: str, by: str | None, options: dict[str, Any]) -> Any:
    """What a worker does: rows for a block, one for each group in it."""
    import pyarrow as pa

    if by is None:
        return to_arrow([_swept(table, on, options)] if table.num_rows else [])
    groups, first = groups_of(table, [by])
    order = np.argsort(groups, kind="stable")
    ends = np.cumsum(np.bincount(groups, minlength=len(first)))
    ordered = table.select([on]).take(pa.array(order))
    parts = [ordered.slice(end - size, size) for end, size in zip(ends, np.diff(ends, prepend=0), strict=True)]
    rows = to_arrow(_swept(part, on, options) for part in parts)
    return rows.append_column(_KEY, table[by].take(pa.array(first)))


def _swept(table: Any, on: str, options: dict[str, Any]) -> Any:
    from fastact.files.arrow_files import leaves_of, values_of

    column = table[on]
    leaves = list(leaves_of(on, column.type))
    if len(leaves) != 1:
        raise ArgumentTypeError(f"on: got column {on!r} of {column.type}, want numbers in it")
    total = Accumulator(**options)
    with at_most(1):  # Ray has a task for each CPU
        for chunk in column.chunks:
            values, _ = values_of(chunk, leaves[0].path)
            total.update(values)
    return total.stats


def _nothing() -> bytes:
    return b""


def _packed(stats: Any) -> bytes:
    import pyarrow as pa

    table = to_arrow([stats])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _unpacked(packed: bytes) -> Any:
    import pyarrow as pa

    (stats,) = from_arrow(pa.ipc.open_stream(packed).read_all())
    return stats


def sweep_files(paths: Any, **options: Any) -> FilesStats:
    """As `fastact.sweep_files`, with Ray's workers, which must see the files at the same paths.

    Args:
        paths: as of `fastact.sweep_files`.
        options: those of `fastact.sweep_files`, but for `workers`: Ray knows how many CPUs there are.

    Raises:
        ArgumentValueError: `workers` is given, or as of `fastact.sweep_files`, whose other errors are raised too.
    """
    if "workers" in options:
        raise ArgumentValueError("workers: Ray has its own, want none")
    return sweep_by(_by_ray, paths, **options)


def _by_ray(sources: list[Source], ask: Ask) -> Generator[tuple[int, Found], None, None]:
    if not ray.is_initialized():
        ray.init()
    cpus = int(ray.cluster_resources().get("CPU", 1))
    task = ray.remote(sweep_task)
    waiting = [task.remote(group, ask) for group in tasks(sources, cpus * _TASKS_EACH)]
    try:
        while waiting:
            (done,), waiting = ray.wait(waiting)
            yield from found(ray.get(done))
    finally:
        for left in waiting:
            ray.cancel(left)
