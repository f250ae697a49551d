"""`sweep_files`: the statistics of many files, by several workers, in bounded memory, resumed after an interrupt."""

import os
import queue
import re
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Final, Literal

from fastact.checks import check_choice, check_integer
from fastact.cpu.threads import get_num_threads
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError
from fastact.files.array import ArrayStats, Ask, Stopped
from fastact.files.find import find
from fastact.files.found import FilesStats
from fastact.files.progress import bar
from fastact.files.readers import READERS, asked, sweep_source
from fastact.files.source import Source
from fastact.stats.options import NO_EXTRAS, SATURATION

#: What was found of a file, or what went wrong.
Found = tuple[ArrayStats, ...] | BaseException
#: Sweeps files: of each it yields its place among the files, and what was found, as they are done, in any order.
Runner = Callable[[list[Source], Ask], Generator[tuple[int, Found], None, None]]
#: A layer's name from the file's and the array's.
LayerOf = Callable[[str, str], str]
_MAX_WORKERS: Final = 1024


def sweep_files(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    axis: int | None = None,
    saturation: tuple[float, float] = SATURATION,
    zero_tol: float = 0.0,
    extras: str | Iterable[str] = NO_EXTRAS,
    layer: str | LayerOf | None = None,
    workers: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: bool | Callable[[int, int], None] = False,
    on_error: Literal["raise", "skip"] = "raise",
) -> FilesStats:
    r"""The statistics of all arrays in files: in all, by file, by layer. Terabytes in some hundred megabytes of memory.

    A file is only read, never run: nothing is unpickled, and torch's files are loaded safely or refused. The answer
    does not depend on the number of workers, on interruptions, or on where the files lie: bit for bit.

    Args:
        paths: files, folders (with all that is in them), patterns (``dumps/**/*.npy``) and URIs (``s3://bucket/dumps``),
            one or many. Known are .npy, .npz, .safetensors, .arrow and .feather (stream or file), .parquet (columns of
            numbers, and of lists, fixed-size lists, tensors and structs of them), and with their extras .h5 and .hdf5
            (``hdf5``), .zarr (``zarr``), .pt and .pth (``torch``). Each file counts once.
        axis: also sweep per index along this axis, for arrays that have it; not for columns.
        saturation: as in `summarize`.
        zero_tol: as in `summarize`.
        extras: as in `summarize`.
        layer: which layer an array belongs to: a function of (file, array), or a regular expression with a group
            ``layer``, searched in "file/array". By default the array's or column's name; for .npy, the file's.
        workers: threads, each with a file of its own; by default `get_num_threads`.
        resume: a local file that is kept up to date, and from which the next call goes on: what is in it, and has the
            same size and time of change, is not read again. It is an Arrow stream of the rows found so far, and left
            out where it lies among the files.
        progress: whether to draw a bar on a terminal's stderr; or what is called with (bytes done, bytes in all).
        on_error: "raise" the first error, after which `resume` goes on; or "skip" the file (or path), which is
            told in `failed`.

    Returns:
        FilesStats: `total`, `files`, `layers`, `neurons`, `failed`, and `to_arrow`.

    Raises:
        ArgumentTypeError: an option is of the wrong type.
        ArgumentValueError: no file is there, a file is damaged or of no known kind, or an option is out of range.
        MissingExtraError: what reads a file, or where it lies, is not installed.
        LogError: another sweep writes to `resume`.
        OSError: a file cannot be read.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> folder = tempfile.mkdtemp()
        >>> for layer in ("fc1", "fc2"):
        ...     for step in range(2):
        ...         np.save(f"{folder}/{layer}_{step}.npy", np.full(10, step, np.float32))
        >>> found = sweep_files(f"{folder}/*.npy", layer=r"(?P<layer>\w+)_\d+\.npy")
        >>> {name: stats.mean for name, stats in found.layers.items()}
        {'fc1': 0.5, 'fc2': 0.5}
    """
    threads = get_num_threads() if workers is None else check_integer("workers", workers, 1, _MAX_WORKERS)
    return sweep_by(
        lambda sources, ask: _by_threads(sources, ask, threads),
        paths,
        axis=axis,
        saturation=saturation,
        zero_tol=zero_tol,
        extras=extras,
        layer=layer,
        resume=resume,
        progress=progress,
        on_error=on_error,
    )


def sweep_by(
    run: Runner,
    paths: Any,
    *,
    axis: int | None = None,
    saturation: tuple[float, float] = SATURATION,
    zero_tol: float = 0.0,
    extras: str | Iterable[str] = NO_EXTRAS,
    layer: str | LayerOf | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: bool | Callable[[int, int], None] = False,
    on_error: Literal["raise", "skip"] = "raise",
) -> FilesStats:
    """As `sweep_files`, with the files swept by `run`; what it takes and yields is told at `Runner`."""
    check_choice("on_error", on_error, ("raise", "skip"))
    layer_of = _layer_rule(layer)
    ask = asked(axis, saturation, zero_tol, extras)
    missing: dict[str, str] = {}
    sources = find(paths, READERS, missing if on_error == "skip" else None, without=resume)
    journal = None
    if resume is not None:
        from fastact.files.journal import Journal  # only this needs Arrow for files of NumPy

        journal = Journal(resume, ask)
    running = None
    try:
        done = {i: known for i, source in enumerate(sources) if journal and (known := journal.swept(source))}
        with bar(progress, sum(source.size for source in sources)) as told:
            for i in done:
                told(sources[i].size)
            failed: dict[int, str] = {}
            wanted = [i for i in range(len(sources)) if i not in done]
            running = run([sources[i] for i in wanted], ask)
            for place, found in running:
                i = wanted[place]
                if isinstance(found, BaseException):
                    if on_error == "raise" or not isinstance(found, (FastactError, OSError)):
                        raise found
                    failed[i] = _reason(sources[i], found)
                else:
                    done[i] = found
                    if journal is not None:
                        journal.add(sources[i], found)
                told(sources[i].size)
    finally:
        if running is not None:
            running.close()
        if journal is not None:
            journal.close()
    parts = [(sources[i], done[i]) for i in sorted(done)]
    reasons = missing | {sources[i].name: failed[i] for i in sorted(failed)}
    return FilesStats(parts, reasons, (*ask.saturation, ask.zero_tol), ask.extras, layer_of)


def _reason(source: Source, error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if source.name in text else f"{source.name}: {text}"


def _by_threads(sources: list[Source], ask: Ask, threads: int) -> Generator[tuple[int, Found], None, None]:
    """Yields what was found of each file as it is done.

    Daemon threads, not a pool of `concurrent.futures`: at an interrupt a pool waits for what has been begun, and the
    interpreter waits for the pool.
    """
    stop = threading.Event()

    def told(_: int) -> None:
        if stop.is_set():
            raise Stopped

    asking = replace(ask, told=told)
    todo = iter(range(len(sources)))
    turn = threading.Lock()
    results: queue.SimpleQueue[tuple[int, Found]] = queue.SimpleQueue()

    def work() -> None:
        while not stop.is_set():
            with turn:
                place = next(todo, None)
            if place is None:
                return
            found: Found
            try:
                found = tuple(sweep_source(sources[place], asking))
            except Stopped:
                return
            except BaseException as error:  # noqa: BLE001 - raised by the thread that asked
                found = error
            results.put((place, found))

    try:
        for _ in range(min(threads, len(sources))):
            threading.Thread(target=work, name="fastact-files", daemon=True).start()
        for _ in sources:
            yield results.get()
    finally:
        stop.set()


def _layer_rule(layer: Any) -> LayerOf:
    if layer is None:
        return _by_name
    if callable(layer):
        return layer  # type: ignore[no-any-return]
    if not isinstance(layer, str):
        raise ArgumentTypeError(f"layer: got {type(layer).__name__}, want a regular expression or a function")
    try:
        pattern = re.compile(layer)
    except re.error as error:
        raise ArgumentValueError(f"layer: got {layer!r}, which is no regular expression: {error}") from None
    if "layer" not in pattern.groupindex:
        raise ArgumentValueError(f"layer: got {layer!r}, want a group (?P<layer>...) in it")

    def by_pattern(file: str, array: str) -> str:
        found = pattern.search(f"{file}/{array}" if array else file)
        return found["layer"] if found and found["layer"] is not None else _by_name(file, array)

    return by_pattern


def _by_name(file: str, array: str) -> str:
    return array or PurePosixPath(file).stem
