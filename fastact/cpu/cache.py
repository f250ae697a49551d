"""Machine code on disk: one file for each entry point, in a folder named after what it was compiled from."""

import contextlib
import functools
import hashlib
import math
import os
import re
import secrets
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import llvmlite
import numba
import numpy as np
from numba.core import config

from fastact.cpu.objects import FORMAT, Entry
from fastact.opening import open_regular, others_may_write, untrusted


class Cache(NamedTuple):
    """Where machine code is kept: a folder and its descriptor (None without such, as on Windows), or why there is none.

    The folder is held open, and what it holds is opened relative to it: whatever becomes of the path meanwhile, it is
    the folder that was looked at.
    """

    folder: Path | None
    problem: str = ""
    descriptor: int | None = None


#: A folder of code for other versions goes when it was not used for so long; a draft that a crash left, sooner.
_KEPT_SECONDS: Final = 30 * 86400
_DRAFT_SECONDS: Final = 3600
#: Numba's own settings that change the code it makes.
SETTINGS: Final = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")


#: Files of `cpu` and `arithmetic` without a function, a constant or a type that goes into machine code.
_NO_KERNELS: Final = (
    "__init__.py", "cache.py", "objects.py", "prebuild.py", "prebuilt.py", "threads.py", "warmup.py", "workspace.py",
)  # fmt: skip


class CodeFile(NamedTuple):
    """Where in the cache an entry point is: the file's path, alone relative to the open folder, and what it must say.

    Instead of Numba's own cache, which keys by one source file and so misses an edit in a callee, reads pickles from
    folders that others may write, never heals a damaged file, and can mix up entries when two processes race (numba
    issues 10128, 4807). Here the folder's name holds a hash of the package's sources and of all versions; a file holds
    plain fields and machine code (`cpu.objects`) behind a digest of itself, is replaced atomically, and is thrown away
    when anything about it is wrong.
    """

    cache: Cache
    path: Path
    key: str

    def read(self) -> Entry | None:
        """The entry point; None when it must be compiled."""
        try:
            with os.fdopen(open_regular(self.path, follow=False, folder=self.cache.descriptor), "rb") as file:
                if others_may_write(os.fstat(file.fileno())):  # machine code is loaded from there
                    return None
                return Entry.unpack(file.read(), self.key)
        except OSError:
            return None

    def write(self, entry: Entry) -> None:
        """Keeps the entry point; a disk that is full or read-only costs the next start's time only."""
        if self.cache.folder is None or _identity() != _LOADED:
            return  # upgraded in place meanwhile: this code is not what the folder's name says
        draft, descriptor = self.path.with_suffix(f".{secrets.token_hex(8)}.tmp"), self.cache.descriptor
        try:
            new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(open_regular(draft, new, folder=descriptor), "wb") as file:
                file.write(entry.pack(self.key))
            os.replace(draft, self.path, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(draft, dir_fd=descriptor)
        _remove(self.cache.folder.glob("*.tmp"), time.time() - _DRAFT_SECONDS)


def code_file(name: str, signature: Any, target_context: Any) -> CodeFile | None:
    """Where the machine code of an entry point is kept; None where there is no such folder."""
    kept = cache()
    if kept.folder is None:
        return None
    # The host CPU's name and features, in the file's name too: machines that differ may share the folder.
    settings = [getattr(config, setting, None) for setting in SETTINGS]
    key = f"{name} {signature} {target_context.codegen().magic_tuple()} {settings}"
    file = f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.bin"
    return CodeFile(kept, kept.folder / file if kept.descriptor is None else Path(file), key)


def _remove(paths: Iterable[Path], before: float) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()


def sources_digest() -> str:
    """A hash of the sources that reach the compiler; empty where there are no sources to read."""
    digest = hashlib.sha256()
    try:
        sources = _sources(Path(__file__).parent.parent)
        for path in sources:
            digest.update(path.read_bytes())
    except OSError:
        return ""
    return digest.hexdigest() if sources else ""


def _identity() -> str:
    """A hash of these and of all versions; empty where there are no sources to read."""
    sources = sources_digest()
    versions = f"{FORMAT} {numba.__version__} {llvmlite.__version__} {np.__version__} {sys.version}"
    return hashlib.sha256(f"{versions} {sources}".encode()).hexdigest()[:16] if sources else ""


def _sources(package: Path) -> list[Path]:
    """The files of the package that reach the compiler: whatever a folder of kernels holds, but for `_NO_KERNELS`."""
    paths = [package / "fields.py", *(package / "arithmetic").glob("*.py"), *(package / "cpu").glob("*.py")]
    return sorted(path for path in paths if path.name not in _NO_KERNELS)


#: Taken now, as the modules are loaded: later the files may be those of another version.
_LOADED: Final = _identity()


def _home() -> Path:
    root = os.environ.get("FASTACT_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "fastact"


@functools.cache
def cache() -> Cache:
    """The folder for the code of this package's sources and these versions, made if need be.

    It is ``fastact/<hash>`` in FASTACT_CACHE_DIR, XDG_CACHE_HOME or ~/.cache. It may be read-only. It and all folders
    above it must belong to the user or to root, and nobody else may be able to put another into its place.
    """
    if not _LOADED:
        return Cache(None, "the package's sources cannot be read")
    try:
        home = _home()
        folder = home / _LOADED
        if not folder.is_dir():
            home.parent.mkdir(parents=True, exist_ok=True)
            for path in (home, folder):
                path.mkdir(exist_ok=True, mode=0o755)
            _prune(home, folder)
        problem, descriptor = untrusted(folder), None
        if not problem and os.open in os.supports_dir_fd:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        status = folder.stat()
        if status.st_mtime < time.time() - _KEPT_SECONDS / 10:
            with contextlib.suppress(OSError):  # read-only
                os.utime(folder)
    except (OSError, RuntimeError) as error:
        return Cache(None, str(error))
    return Cache(None, problem) if problem else Cache(folder, "", descriptor)


def _prune(home: Path, keep: Path) -> None:
    """Removes code of other versions that nobody used for a month; nothing but files of ours in folders of ours."""
    before = time.time() - _KEPT_SECONDS
    with contextlib.suppress(OSError):
        for folder in _folders(home):
            with contextlib.suppress(OSError):
                if folder != keep and folder.stat().st_mtime < before:
                    _empty(folder)


def _folders(home: Path) -> list[Path]:
    """The folders of code below `home`, of whatever version; OSError where it cannot be read."""
    return [path for path in home.iterdir() if re.fullmatch("[0-9a-f]{16}", path.name) and not path.is_symlink()]


def _empty(folder: Path) -> None:
    """Removes a folder's files of ours, and the folder if nothing is left."""
    _remove((*folder.glob("*.bin"), *folder.glob("*.tmp")), math.inf)
    folder.rmdir()


class Kept(NamedTuple):
    """The code of one version: its folder, the number of its entry points, and their bytes."""

    folder: Path
    files: int
    nbytes: int

    def remove(self) -> None:
        """Removes it; what is not ours stays, and its folder with it. Raises OSError: a file cannot be removed."""
        for path in (*self.folder.glob("*.bin"), *self.folder.glob("*.tmp")):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            self.folder.rmdir()


def entries() -> list[Kept]:
    """The machine code on the disk, of this version and of others."""
    try:
        folders = _folders(_home())
    except OSError:
        return []
    sizes = [(folder, [path.stat().st_size for path in folder.glob("*.bin")]) for folder in sorted(folders)]
    return [Kept(folder, len(found), sum(found)) for folder, found in sizes]
