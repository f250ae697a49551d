"""HDF5 and zarr: arrays in chunks, read some chunks at a time, by the formats' own libraries (extras)."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastact.errors import ArgumentValueError
from fastact.files.array import SLAB, ArrayStats, Ask, sweep_slabs
from fastact.files.source import Source
from fastact.packages import needs_extra


def read_hdf5(source: Source, ask: Ask) -> Iterator[ArrayStats]:
    """The datasets of numbers, by their paths. What is stored in other files is refused, not followed."""
    with needs_extra("fastact.files", "HDF5 files", "h5py", extra="hdf5"):
        import h5py

    file: Any = source.path if source.local else source.filesystem.open_input_file(source.path)
    with h5py.File(file, "r") as root:
        found: list[Any] = []
        # Links to other files are not visited, nor is anything twice.
        root.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
        for item in found:
            name = item.name.lstrip("/")
            if item.is_virtual or item.external:
                raise ArgumentValueError(f"FILE: dataset {name!r} of {source.name!r} lies in other files: not followed")
            if item.dtype.kind not in "biuf" or item.shape is None:
                continue
            yield sweep_slabs(name, str(item.dtype), item.shape, _slabs(item, item.chunks), ask)


def read_zarr(source: Source, ask: Ask) -> Iterator[ArrayStats]:
    """The arrays of numbers of a zarr group (format 2 or 3), by their paths."""
    with needs_extra("fastact.files", "zarr", "zarr", extra="zarr"):
        import zarr

    root = zarr.open(source.path if source.local else _store(source), mode="r")
    arrays = [("", root)] if isinstance(root, zarr.Array) else _arrays_of(root)
    for name, array in arrays:
        if array.dtype.kind in "biuf":
            chunks = getattr(array, "shards", None) or array.chunks
            yield sweep_slabs(name, str(array.dtype), array.shape, _slabs(array, chunks), ask)


def _store(source: Source) -> Any:
    """What zarr reads a remote folder by: fsspec's side of the file system, which it wants to be asynchronous."""
    import zarr
    from fsspec.implementations.arrow import ArrowFSWrapper
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
    from pyarrow.fs import PyFileSystem

    class Files(ArrowFSWrapper):  # type: ignore[misc]
        #: That of the wrapper is HDFS's alone, and to be made asynchronous every attribute is read.
        fsid = "arrow"

    inner = source.filesystem
    files = inner.handler.fs if isinstance(inner, PyFileSystem) else Files(inner)
    if not files.async_impl:
        files = AsyncFileSystemWrapper(files, asynchronous=True)
    return zarr.storage.FsspecStore(files, read_only=True, path=source.path)


def _arrays_of(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, array in sorted(group.arrays()):
        yield prefix + name, array
    for name, inner in sorted(group.groups()):
        yield from _arrays_of(inner, f"{prefix}{name}/")


def _slabs(array: Any, chunks: tuple[int, ...] | None) -> Iterator[Any]:
    """Slabs of the first axis, of whole chunks and some megabytes, so that none is read twice."""
    if not array.shape:
        yield np.asarray(array[()])
        return
    if math.prod(array.shape) == 0:
        return
    row = max(1, math.prod(array.shape[1:]) * array.dtype.itemsize)
    tall = chunks[0] if chunks else 1
    step = max(1, SLAB // (row * tall)) * tall
    for first in range(0, array.shape[0], step):
        yield np.asarray(array[first : first + step])
