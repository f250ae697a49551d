"""A file, local or remote, as the readers see it: its bytes by windows, or as an open file."""

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastact.opening import open_regular

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


@dataclass(frozen=True, slots=True)
class Source:
    """A file, or a folder that is one (zarr).

    Attributes:
        name: what it was called, to be shown and to be found again.
        filesystem: where it lies.
        path: its path there.
        size: bytes; of a folder those of all that is in it.
        changed: when it was changed last, in nanoseconds since 1970; 0 where the file system does not say.
        suffix: how its name ends, in small letters, which says what it is.
    """

    name: str
    filesystem: "FileSystem"
    path: str
    size: int
    changed: int
    suffix: str

    @property
    def local(self) -> bool:
        """Whether it lies on this machine's own file systems."""
        return bool(self.filesystem.type_name == "local")

    def window(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """These bytes, in memory that is given back with the array; raises `OSError` where the file has fewer."""
        if not self.local:
            with self.filesystem.open_input_file(self.path) as file:
                found = np.frombuffer(file.read_at(nbytes, offset), np.uint8)
            if found.size != nbytes:
                raise OSError(f"{self.name} ended at byte {offset + found.size}, want {offset + nbytes}")
            return found
        skipped = offset % mmap.ALLOCATIONGRANULARITY
        file = open_regular(self.path)
        try:
            # What is mapped beyond the end of a file would end the process.
            if os.fstat(file).st_size < offset + nbytes:
                raise OSError(f"{self.name} has become shorter: want {offset + nbytes} bytes")
            mapped = mmap.mmap(file, skipped + nbytes, offset=offset - skipped, access=mmap.ACCESS_READ)
        finally:
            os.close(file)
        return np.frombuffer(mapped, np.uint8)[skipped:]

    def open(self) -> Any:
        """The file, to be read anywhere (`pyarrow.NativeFile`); a local one is mapped where that is possible."""
        if self.local:
            import pyarrow as pa

            os.close(open_regular(self.path))  # a pipe would keep its reader waiting
            return pa.memory_map(self.path) if self.size else pa.OSFile(self.path)
        return self.filesystem.open_input_file(self.path)


def source_of(path: str | os.PathLike[str]) -> Source:
    """The file at a local path, whatever its name; raises `OSError` where there is none."""
    from pyarrow.fs import LocalFileSystem

    local = Path(path)
    status = local.stat()
    where = local.absolute().as_posix()
    return Source(os.fspath(path), LocalFileSystem(), where, status.st_size, status.st_mtime_ns, local.suffix.lower())
