"""Which reader reads which suffix, and `sweep_file`."""

import os
import zipfile
from collections.abc import Callable, Iterator
from tokenize import TokenError
from typing import Any, Final

from fastact.errors import ArgumentValueError, FastactError
from fastact.files import arrow_files, chunked_files, numpy_files, safetensors_files, torch_files
from fastact.files.array import ArrayStats, Ask, Stopped
from fastact.files.find import ZARR
from fastact.files.source import Source, source_of
from fastact.stats.options import NO_EXTRAS, SATURATION, check_extras, check_options

#: What numpy, json, zipfile and Arrow raise on bytes that are damaged, hostile or beyond them.
_DAMAGE: Final = (
    *(ValueError, TypeError, LookupError, EOFError, ArithmeticError, MemoryError, RuntimeError),
    *(NotImplementedError, RecursionError, TokenError, zipfile.BadZipFile),
)

#: The reader of each known suffix.
READERS: Final[dict[str, Callable[[Source, Ask], Iterator[ArrayStats]]]] = {
    ".npy": numpy_files.read_npy,
    ".npz": numpy_files.read_npz,
    ".safetensors": safetensors_files.read_safetensors,
    ".arrow": arrow_files.read_arrow,
    ".feather": arrow_files.read_arrow,
    ".parquet": arrow_files.read_parquet,
    ".h5": chunked_files.read_hdf5,
    ".hdf5": chunked_files.read_hdf5,
    ZARR: chunked_files.read_zarr,
    ".pt": torch_files.read_torch,
    ".pth": torch_files.read_torch,
}
#: Columns have no axis of neurons.
_COLUMNS: Final = (arrow_files.read_arrow, arrow_files.read_parquet)


def sweep_file(
    path: str | os.PathLike[str], *, axis: int | None = None, saturation: tuple[float, float] = SATURATION
) -> Iterator[ArrayStats]:
    """Yields the statistics of each array of a local file, in the file's order; as `sweep_files` for one file.

    Raises:
        ArgumentValueError: the suffix is unknown, the file is damaged, holds no numbers, or `axis` does not apply.
        MissingExtraError: what reads the file is not installed.
        OSError: the file cannot be read.
    """
    yield from sweep_source(source_of(path), Ask(axis, saturation))


def asked(axis: int | None, saturation: Any, zero_tol: Any, extras: Any = NO_EXTRAS, **more: Any) -> Ask:
    """The options of a sweep, checked."""
    low, high, tol = check_options(saturation, zero_tol)
    names = check_extras(extras)
    if names and axis is not None:
        raise ArgumentValueError(f"extras: got {names} with axis={axis}, want only one: extras are of whole arrays")
    return Ask(axis, (low, high), tol, names, **more)


def sweep_source(source: Source, ask: Ask) -> Iterator[ArrayStats]:
    """Yields the statistics of each array of a file, in the file's order; raises what `sweep_file` raises."""
    read = READERS.get(source.suffix)
    if read is None:
        raise ArgumentValueError(f"FILE: got {source.name!r}, want a name that ends in {', '.join(READERS)}")
    if ask.axis is not None and read in _COLUMNS:
        raise ArgumentValueError(f"axis: got {ask.axis} for {source.name!r}, whose columns have no axes")
    found = False
    try:
        for array in read(source, ask):
            found = True
            yield array
    except (FastactError, Stopped):
        raise
    except (OSError, *_DAMAGE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = " ".join(str(error).split()) or type(error).__name__
        raise ArgumentValueError(f"FILE: {source.name!r} cannot be read: {what}") from error
    if not found:
        raise ArgumentValueError(f"FILE: got {source.name!r} without any numeric array, want at least one")
