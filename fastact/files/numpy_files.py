"""``.npy`` and ``.npz``: mapped, or read by windows. Nothing is unpickled."""

import io
import math
import threading
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.errors import ArgumentValueError
from fastact.files.array import SLAB, ArrayStats, Ask, check_fits, dense, sweep_slabs
from fastact.files.source import Source

#: Bytes of a header; NumPy's own limit is 10,000 for what is inside.
_LONGEST_HEADER: Final = 1 << 16
#: NumPy parses a header as Python. In two threads at once Python 3.11 raises SystemError now and then: "AST constructor
#: recursion depth mismatch".
_PARSING: Final = threading.Lock()
#: Bytes of what stands before a member of a .zip file, and where the lengths of its name and extra field are.
_LOCAL_HEADER, _LENGTHS = 30, slice(26, 30)


def read_npy(source: Source, ask: Ask) -> Iterator[ArrayStats]:
    """The only array of a .npy file."""
    head = source.window(0, min(source.size, _LONGEST_HEADER)).tobytes() if source.size else b""
    dtype, shape, fortran, begin = _header(head, source.name)
    check_fits(source, "the array", begin, math.prod(shape) * dtype.itemsize)
    yield _swept("", dtype, shape, fortran, ask, lambda shape, ask: dense(source, begin, dtype, shape, ask))


def read_npz(source: Source, ask: Ask) -> Iterator[ArrayStats]:
    """The arrays of a .npz file. Stored ones are mapped as those of .npy; deflated ones are read in pieces.

    Checksums are checked as NumPy does. A member that says that it is longer than it is, or shorter, is refused, and
    never more than a piece is in memory.
    """
    with source.open() as file, zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            where = f"{source.name}[{info.filename}]"
            with archive.open(info) as member:
                head = member.read(min(info.file_size, _LONGEST_HEADER))
                dtype, shape, fortran, begin = _header(head, where)
                if begin + math.prod(shape) * dtype.itemsize != info.file_size:
                    raise ArgumentValueError(f"FILE: {where!r} is damaged: its array does not fit its bytes")
            name = info.filename.removesuffix(".npy")
            if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
                stored = _Stored(source, info, begin, dtype)
                yield _swept(name, dtype, shape, fortran, ask, stored.slabs)
                stored.check(where)
            else:
                inflated = _Inflated(archive, info, begin, dtype)
                yield _swept(name, dtype, shape, fortran, ask, inflated.slabs)


class _Stored:
    """A member that lies in the archive as it is."""

    def __init__(self, source: Source, info: zipfile.ZipInfo, begin: int, dtype: np.dtype[Any]) -> None:
        lengths = source.window(info.header_offset, _LOCAL_HEADER)[_LENGTHS].view("<u2")
        start = info.header_offset + _LOCAL_HEADER + int(lengths.sum())
        check_fits(source, f"member {info.filename!r}", start, info.file_size)
        self.source, self.dtype, self.offset = source, dtype, start + begin
        self.sum = zlib.crc32(source.window(start, begin).data)
        self.want = info.CRC

    def slabs(self, shape: tuple[int, ...], ask: Ask) -> Iterator[npt.NDArray[Any]]:
        return dense(self.source, self.offset, self.dtype, shape, ask, seen=self._seen)

    def _seen(self, raw: npt.NDArray[np.uint8]) -> None:
        self.sum = zlib.crc32(raw.data, self.sum)

    def check(self, where: str) -> None:
        if self.sum != self.want:
            raise ArgumentValueError(
                f"FILE: {where!r} is damaged: its checksum is {self.sum:08x}, want {self.want:08x}"
            )


class _Inflated:
    """A member that is compressed: zipfile checks the sum at its end."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, begin: int, dtype: np.dtype[Any]) -> None:
        self.archive, self.info, self.begin, self.dtype = archive, info, begin, dtype

    def slabs(self, shape: tuple[int, ...], ask: Ask) -> Iterator[npt.NDArray[Any]]:
        size = math.prod(shape)
        flat = ask.neurons_of(shape) is None
        rows = size if flat else shape[0]
        row = size // max(rows, 1) * self.dtype.itemsize
        step = max(1, SLAB // max(row, 1))
        with self.archive.open(self.info) as member:
            member.read(self.begin)
            for first in range(0, rows, step):
                count = min(step, rows - first)
                piece = np.frombuffer(_exactly(member, count * row), self.dtype)
                yield piece if flat else piece.reshape(count, *shape[1:])
            member.read(1)  # the end: the checksum


def _exactly(file: Any, nbytes: int) -> bytes:
    parts = []
    while nbytes > 0:
        part = file.read(nbytes)
        if not part:
            raise EOFError("it ends too early")
        parts.append(part)
        nbytes -= len(part)
    return b"".join(parts)


def _header(head: bytes, where: str) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """(dtype, shape, whether in Fortran's order, where the elements begin) of a .npy file."""
    file = io.BytesIO(head)
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
    if version == (3, 0):
        # The same, but for names of fields beyond Latin-1, and we take no fields.
        pass
    elif version not in ((1, 0), (2, 0)):
        raise ArgumentValueError(f"FILE: {where!r} has version {version} of the .npy format, want 1.0 to 3.0")
    with _PARSING:
        shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ArgumentValueError(f"FILE: {where!r} holds Python objects, which are pickled: they are not loaded")
    if dtype.names is not None or dtype.subdtype is not None or dtype.kind not in "biuf":
        raise ArgumentValueError(f"FILE: {where!r} holds elements of dtype {dtype}, want numbers")
    if min((*shape, 0)) < 0:
        raise ArgumentValueError(f"FILE: {where!r} is damaged: its shape is {shape}")
    return dtype, shape, fortran, file.tell()


def _swept(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool, ask: Ask, slabs: Any) -> ArrayStats:
    """The statistics; in Fortran's order the elements lie as those of the transposed array in C order."""
    axis = ask.neurons_of(shape)
    if not fortran or axis is None:
        return sweep_slabs(name, str(dtype), shape, slabs(shape, ask), ask)
    turned = Ask(len(shape) - 1 - axis, ask.saturation, ask.zero_tol, ask.extras, ask.told)
    found = sweep_slabs(name, str(dtype), shape[::-1], slabs(shape[::-1], turned), turned)
    return ArrayStats(name, found.dtype, shape, 0, found.stats, found.neurons)
