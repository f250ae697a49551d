"""Dask: the statistics of Dask's arrays and bags, and of files, by Dask's workers.

States travel between workers as Arrow rows (`fastact.to_arrow`). The answer is that of one process, for any chunks,
partitions and workers: counts, min and max bit for bit, moments to float64 rounding.
"""

from collections.abc import Generator, Iterable
from typing import Any, Final

from fastact.cpu.threads import at_most
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.files.array import Ask
from fastact.files.found import FilesStats
from fastact.files.source import Source
from fastact.files.sweep import Found, sweep_by
from fastact.files.travel import found, sweep_task, tasks
from fastact.packages import needs_extra
from fastact.stats.merge import Accumulator
from fastact.stats.merge_rows import merge_arrow
from fastact.stats.options import NO_EXTRAS, SATURATION, check_extras, check_options
from fastact.stats.rows import from_arrow, to_arrow

with needs_extra("fastact.dask", "Dask", "dask"):
    import dask
    from dask.base import is_dask_collection
    from dask.delayed import Delayed, delayed

__all__ = ["summarize", "summarize_by_name", "sweep_files"]

#: Rows that are merged by a task.
_FAN_IN: Final = 16
#: Tasks for each worker's thread, so that none waits long for the last one.
_TASKS_EACH: Final = 4


def summarize(
    x: Any,
    *,
    axis: int | None = None,
    saturation: tuple[float, float] = SATURATION,
    zero_tol: float = 0.0,
    extras: str | Iterable[str] = NO_EXTRAS,
) -> Delayed:
    """As `fastact.summarize`, for a Dask array or a bag of arrays, lazily: ``.compute()`` has the stats.

    Each chunk is swept once, where it lies, and the rows are merged by a tree of tasks.

    Args:
        x: a `dask.array.Array`, or a `dask.bag.Bag` of whatever `fastact.summarize` takes, all swept as one.
        axis: the neurons' axis. An array that is cut along it is joined there first.
        saturation: as in `fastact.summarize`.
        zero_tol: as in `fastact.summarize`.
        extras: as in `fastact.summarize`.

    Returns:
        A `dask.delayed` value: ActivationStats, DetailedStats or ChannelStats when it is computed.

    Raises:
        ArgumentTypeError: `x` is neither.
        ArgumentValueError: an option is out of range.

    Example:
        >>> import dask.array as da
        >>> x = da.ones((1000, 40), chunks=(100, 7))
        >>> summarize(x).compute().count, summarize(x, axis=1).compute().neurons
        (40000, 40)
    """
    options = _options(axis, saturation, zero_tol, extras)
    if is_dask_collection(x) and hasattr(x, "rechunk"):
        if axis is not None:
            if not -x.ndim <= axis < x.ndim:
                raise ArgumentValueError(f"axis: got {axis}, want one of the array's {x.ndim}")
            x = x.rechunk({axis % x.ndim: -1})
        parts = [_rows_of_all([block], options) for block in x.to_delayed().ravel()]
    elif is_dask_collection(x) and hasattr(x, "foldby"):
        parts = [_rows_of_all(block, options) for block in x.to_delayed()]
    else:
        raise ArgumentTypeError(f"x: got {type(x).__name__}, want an array or a bag of Dask")
    return delayed(_only, pure=True)(_tree(parts, []), options)


def summarize_by_name(
    pairs: Any,
    *,
    axis: int | None = None,
    saturation: tuple[float, float] = SATURATION,
    zero_tol: float = 0.0,
    extras: str | Iterable[str] = NO_EXTRAS,
) -> Delayed:
    """The statistics of each name in a `dask.bag.Bag` of (name, array), lazily: ``.compute()`` has a dict.

    Options and errors are those of `summarize`.

    Example:
        >>> import dask
        >>> import dask.bag as db
        >>> bag = db.from_sequence([("fc1", [1.0, 2.0]), ("fc2", [0.0]), ("fc1", [3.0])], npartitions=2)
        >>> with dask.config.set(scheduler="synchronous"):
        ...     found = summarize_by_name(bag).compute()
        >>> {name: stats.max for name, stats in found.items()}
        {'fc1': 3.0, 'fc2': 0.0}
    """
    options = _options(axis, saturation, zero_tol, extras)
    if not (is_dask_collection(pairs) and hasattr(pairs, "foldby")):
        raise ArgumentTypeError(f"pairs: got {type(pairs).__name__}, want a bag of Dask")
    parts = [delayed(_rows_by_name, pure=True)(block, options) for block in pairs.to_delayed()]
    return delayed(_by_name, pure=True)(_tree(parts, ["name"]))


def _options(axis: Any, saturation: Any, zero_tol: Any, extras: Any) -> dict[str, Any]:
    low, high, tol = check_options(saturation, zero_tol)
    names = check_extras(extras)
    if axis is not None and not isinstance(axis, int):
        raise ArgumentTypeError(f"axis: got {type(axis).__name__}, want an int")
    if names and axis is not None:
        raise ArgumentValueError(f"extras: got {names} with axis={axis}, want only one")
    return {"axis": axis, "saturation": (low, high), "zero_tol": tol, "extras": names}


def _tree(parts: list[Delayed], by: list[str]) -> Delayed:
    while len(parts) > 1:
        parts = [_merged(parts[i : i + _FAN_IN], by) for i in range(0, len(parts), _FAN_IN)]
    return _merged(parts, by)


def _rows_of_all(items: Any, options: dict[str, Any]) -> Delayed:
    return delayed(_swept, pure=True)(items, options)


def _merged(parts: list[Delayed], by: list[str]) -> Delayed:
    return delayed(_merge, pure=True)(parts, by)


# What workers do.


def _swept(items: Iterable[Any], options: dict[str, Any]) -> Any:
    total = Accumulator(**options)
    seen = False
    with at_most(1):  # Dask has a thread for each CPU
        for item in items:
            total.update(item)
            seen = True
    return to_arrow([total.stats] if seen else [])


def _rows_by_name(items: Iterable[tuple[str, Any]], options: dict[str, Any]) -> Any:
    import pyarrow as pa

    totals: dict[str, Accumulator] = {}
    with at_most(1):
        for name, item in items:
            totals.setdefault(name, Accumulator(**options)).update(item)
    table = to_arrow(total.stats for total in totals.values())
    return table.append_column("name", pa.array(list(totals), pa.string()))


def _merge(tables: list[Any], by: list[str]) -> Any:
    import pyarrow as pa

    return merge_arrow(pa.concat_tables(table for table in tables), by=by)


def _only(table: Any, options: dict[str, Any]) -> Any:
    found = from_arrow(table)
    return found[0] if found else Accumulator(**options).stats


def _by_name(table: Any) -> dict[str, Any]:
    return dict(zip(table["name"].to_pylist(), from_arrow(table), strict=True))


def sweep_files(paths: Any, **options: Any) -> FilesStats:
    """As `fastact.sweep_files`, with Dask's workers, which must see the files at the same paths.

    With a `distributed.Client` in use its workers sweep, and `progress` and `resume` follow each task; without one it
    is Dask's scheduler for delayed values, and both hear of all tasks at the end.

    Args:
        paths: as of `fastact.sweep_files`.
        options: those of `fastact.sweep_files`, but for `workers`: Dask has its own.

    Raises:
        ArgumentValueError: `workers` is given, or as of `fastact.sweep_files`, whose other errors are raised too.
    """
    if "workers" in options:
        raise ArgumentValueError("workers: Dask has its own, want none")
    return sweep_by(_by_dask, paths, **options)


def _by_dask(sources: list[Source], ask: Ask) -> Generator[tuple[int, Found], None, None]:
    client = _client()
    if client is None:
        groups = [delayed(sweep_task)(group, ask) for group in tasks(sources, 2 * _TASKS_EACH)]
        for answer in dask.compute(*groups):
            yield from found(answer)
        return
    from distributed import as_completed

    threads = sum(client.nthreads().values())
    futures = [client.submit(sweep_task, group, ask, pure=False) for group in tasks(sources, threads * _TASKS_EACH)]
    try:
        for future, answer in as_completed(futures, with_results=True):
            yield from found(answer)
            future.release()
    finally:
        client.cancel([future for future in futures if not future.done()])


def _client() -> Any:
    """The client of `distributed` in use, None for none."""
    try:
        from distributed import get_client
    except ImportError:
        return None
    try:
        return get_client()
    except ValueError:
        return None
