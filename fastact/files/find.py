"""Which files there are: paths, folders, patterns and URIs become a list, in an order that is the same everywhere."""

import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, Final

from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError
from fastact.files.source import Source
from fastact.remote import is_uri, locate, redacted

#: Names that make a folder a zarr array or group.
_ZARR_MARKS: Final = frozenset({"zarr.json", ".zgroup", ".zarray"})
ZARR: Final = ".zarr"


def find(
    paths: Any,
    suffixes: Iterable[str],
    missing: dict[str, str] | None = None,
    without: str | os.PathLike[str] | None = None,
) -> list[Source]:
    """The files of known suffixes at, in or like `paths`, each once, in the order of the paths and then by name.

    A file that is named is taken whatever its suffix, so that its reader can refuse it by name. Of folders and patterns
    what has another suffix is left out, and what is hidden (a name that begins with a dot). Where `missing` is given,
    it gets the reason for each path that leads nowhere, which otherwise is raised. `without` is a local file that is
    left out wherever it is found: what a sweep itself writes is no data of it.

    Raises:
        ArgumentTypeError: `paths` are no paths.
        ArgumentValueError: one of them leads to no file.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    try:
        every = list(paths)
    except TypeError:
        raise ArgumentTypeError(f"paths: got {type(paths).__name__}, want a path or several") from None
    if not every:
        raise ArgumentValueError("paths: got none, want a file, a folder or a pattern at least")
    known = tuple(suffixes)
    own = None if without is None else os.path.realpath(without)
    found: dict[tuple[str, str], Source] = {}
    for path in every:
        if not isinstance(path, (str, os.PathLike)):
            raise ArgumentTypeError(f"paths: got {type(path).__name__} among them, want str or paths")
        if not os.fspath(path):
            raise ArgumentValueError("paths: got an empty one among them, want '.' for this folder")
        here = 0
        try:
            for source in _at(path, known):
                if own is not None and source.local and os.path.realpath(source.path) == own:
                    continue
                here += 1
                found.setdefault((source.filesystem.type_name, source.path), source)
            if not here:
                wanted = ", ".join(known)
                raise ArgumentValueError(f"paths: got {redacted(path)!r}, where there is no file that ends in {wanted}")
        except (FastactError, OSError) as error:
            if missing is None:
                raise
            missing[redacted(path)] = str(error)
    return list(found.values())


def _at(path: str | os.PathLike[str], known: tuple[str, ...]) -> Iterator[Source]:
    from pyarrow import fs

    filesystem, where = locate(path)
    where = where.rstrip("/") or "/"
    head = _head(path, where)
    (info,) = filesystem.get_file_info([where])
    if info.type == fs.FileType.File:
        yield _source(head, filesystem, info)
        return
    if info.type == fs.FileType.Directory:
        yield from _in_folder(head, filesystem, where, known, None)
        return
    parts = where.split("/")
    first = next((i for i, part in enumerate(parts) if set(part) & set("*?[")), None)
    if first is None:
        raise FileNotFoundError(2, "no such file or folder", redacted(path))
    base = "/".join(parts[:first]) or "/"
    (info,) = filesystem.get_file_info([base])
    if info.type == fs.FileType.Directory:
        prefix = head[: len(head) - len("/".join(parts[first:]))]
        yield from _in_folder(prefix.rstrip("/") or prefix, filesystem, base, known, parts[first:])


def _head(path: str | os.PathLike[str], where: str) -> str:
    """How `path` is shown: as it was given, a URI without its secrets."""
    if not is_uri(path):
        return os.fspath(path).rstrip("/") or "/"
    scheme = os.fspath(path).partition(":")[0]
    return f"{scheme}://{where.lstrip('/') if scheme != 'file' else where}"


def _source(name: str, filesystem: Any, info: Any) -> Source:
    suffix = PurePosixPath(info.path).suffix.lower()
    return Source(name, filesystem, info.path, info.size or 0, info.mtime_ns or 0, suffix)


def _in_folder(
    head: str, filesystem: Any, base: str, known: tuple[str, ...], pattern: list[str] | None
) -> Iterator[Source]:
    """The files of a folder and of those within, by name; those that a pattern of parts matches, where there is one."""
    from pyarrow import fs

    infos = filesystem.get_file_info(fs.FileSelector(base, recursive=True))
    files = sorted((info for info in infos if info.type == fs.FileType.File), key=lambda info: info.path)
    stores = _stores(base, files)
    held: dict[str, list[Any]] = {}
    start = len(base.rstrip("/")) + 1
    for info in files:
        inside = info.path[start:].split("/")
        store = next((i for i in range(len(inside)) if "/".join(inside[:i]) in stores), None)
        parts = inside if store is None else inside[:store]
        if any(part.startswith(".") for part in parts) or (pattern is not None and not _matches(parts, pattern)):
            continue
        if store is not None:
            held.setdefault("/".join(parts), []).append(info)
        elif PurePosixPath(info.path).suffix.lower() in known:
            yield _source(f"{head}/{'/'.join(inside)}", filesystem, info)
    for inner, members in held.items():
        size = sum(info.size or 0 for info in members)
        changed = max(info.mtime_ns or 0 for info in members)
        name, path = (f"{head}/{inner}", f"{base}/{inner}") if inner else (head, base)
        yield Source(name, filesystem, path, size, changed, ZARR)


def _stores(base: str, files: list[Any]) -> set[str]:
    """The outermost folders, relative to `base`, that are zarr arrays or groups; "" is `base` itself."""
    start = len(base.rstrip("/")) + 1
    marked = sorted(
        info.path[start:].rpartition("/")[0] for info in files if info.path.rpartition("/")[2] in _ZARR_MARKS
    )
    outer: set[str] = set()
    for folder in marked:
        parts = folder.split("/") if folder else []
        if not any("/".join(parts[:i]) in outer for i in range(len(parts) + 1)):
            outer.add(folder)
    return outer


def _matches(parts: list[str], pattern: list[str]) -> bool:
    """Whether the parts of a path are as those of a pattern: ``**`` stands for any number of them."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
