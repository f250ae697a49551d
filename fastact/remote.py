"""Where data lies, local or remote: the one place that turns a path or ``scheme://`` into a file system and a path.

Arrow's own file systems come first (local files, S3, GCS, Azure, HDFS): they are there wherever Arrow is, and read
without Python. What Arrow does not know goes to fsspec, an extra, which knows most of the rest. Options go as those
libraries take them: in the URI's query for Arrow (``?endpoint_override=localhost:9000&scheme=http``), and in the
environment for both.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from fastact.errors import ArgumentTypeError, ArgumentValueError, MissingExtraError
from fastact.packages import needs_extra

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

#: A scheme has two letters at least: one is a drive of Windows. `Path` makes "s3:/bucket" of "s3://bucket".
_URI: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/?)(.*)", re.DOTALL)
#: Options at the end. Any other question mark belongs to a name, or to a pattern of names.
_QUERY: Final = re.compile(r"\?\w+=[^?]*$")
#: Schemes of which fsspec wants the whole address, with its query.
_WEB: Final = ("http", "https")


def is_uri(where: str | os.PathLike[str]) -> bool:
    """Whether `where` names a scheme, and so no local path.

    A local folder of such a name is reached by ``./``: ``"./s3:/bucket"``.

    Example:
        >>> [is_uri(where) for where in ("s3://bucket/run", Path("s3://bucket/run"), "runs/a", "C:/runs")]
        [True, True, False, False]
    """
    return _URI.match(os.fspath(where)) is not None


def redacted(where: str | os.PathLike[str]) -> str:
    """`where` as it may be shown and kept: without a user, a password and options, which may be secrets.

    Example:
        >>> redacted("s3://key:secret@bucket/run?region=eu-west-1")
        's3://bucket/run'
    """
    found = _URI.match(os.fspath(where))
    if found is None:
        return os.fspath(where)
    scheme, _, rest = found.groups()
    rest = rest.partition("?")[0] if scheme.lower() in _WEB else _QUERY.sub("", rest)
    place, slash, key = rest.partition("/")
    # The container of Azure's "container@account" is no user.
    if "@" in place and not scheme.lower().startswith(("abfs", "az", "wasb")):
        place = place.rpartition("@")[2]
    return f"{scheme}://{place}{slash}{key}"


def locate(where: str | os.PathLike[str]) -> tuple["FileSystem", str]:
    """The file system on which `where` lies, and its path there.

    Args:
        where: a local path, which becomes absolute, or a URI: ``s3://bucket/key``, ``gs://bucket/key``,
            ``memory://key``, ``file:///folder``, and whatever else Arrow or fsspec know. Names are taken as they are
            (a blank is a blank), but for those of ``file:``, where ``%20`` is one, as in any link to a file. Nothing
            is looked up: whether there is something at `where` is not known yet.

    Returns:
        A `pyarrow.fs.FileSystem`, and a path for its methods, with slashes on every system.

    Raises:
        ArgumentTypeError: `where` is neither a str nor a path.
        ArgumentValueError: neither Arrow nor fsspec knows the scheme, or the URI is malformed.
        MissingExtraError: Arrow does not know the scheme and fsspec, or what it needs for this one, is not installed.
        OSError: the file system itself is out of reach.

    Example:
        >>> filesystem, path = locate("file:///tmp/a%20b")
        >>> filesystem.type_name, path
        ('local', '/tmp/a b')
    """
    from pyarrow import fs

    if not isinstance(where, (str, os.PathLike)) or isinstance(os.fspath(where), bytes):
        raise ArgumentTypeError(f"path: got {type(where).__name__}, want a str or a path")
    found = _URI.match(os.fspath(where))
    if found is None:
        return fs.LocalFileSystem(), Path(where).absolute().as_posix()
    scheme, rest = found[1].lower(), found[3]
    if scheme == "file":
        host, slash, path = rest.partition("/") if found[2] else ("", "/", rest)
        if host not in ("", "localhost") or not slash:
            raise ArgumentValueError(f"path: got {os.fspath(where)!r}, want file:/// and an absolute path")
        drive = re.match(r"[A-Za-z]:", path) is not None
        return fs.LocalFileSystem(), unquote(path if drive else f"/{path}")
    return _arrow(scheme, rest) or _fsspec(scheme, rest)


def _arrow(scheme: str, rest: str) -> tuple["FileSystem", str] | None:
    """Where Arrow finds it; None where it does not know the scheme, or was built without it."""
    import pyarrow as pa
    from pyarrow import fs

    options = _QUERY.search(rest)
    name = rest[: options.start()] if options else rest
    # Arrow decodes what is quoted, and knows no other way to take a blank or a pattern.
    uri = f"{scheme}://{quote(name, safe='/:@')}{options[0] if options else ''}"
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except (NotImplementedError, ImportError):
        return None
    except pa.ArrowInvalid as error:
        if "nrecognized filesystem type" in str(error):
            return None
        reason = str(error).replace(uri, redacted(uri)).splitlines()[0]
        raise ArgumentValueError(f"path: got {redacted(uri)!r}: {reason}") from None
    except OSError as error:
        raise OSError(f"{redacted(uri)} is out of reach: {str(error).splitlines()[0]}") from error
    # What Arrow takes to fsspec by itself is told apart, so that all of fsspec's is found in one way.
    return None if isinstance(filesystem, fs.PyFileSystem) else (filesystem, path)


def _fsspec(scheme: str, rest: str) -> tuple["FileSystem", str]:
    """Where fsspec finds it."""
    from pyarrow import fs

    uri = f"{scheme}://{rest}"
    with needs_extra(f"{scheme}://", "fsspec", "fsspec", extra="remote"):
        import fsspec
    try:
        filesystem, path = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        raise MissingExtraError(f"{scheme}:// needs another package: {error}") from error
    except ValueError as error:
        if "Protocol not known" not in str(error):
            raise ArgumentValueError(f"path: got {redacted(uri)!r}: {error}") from error
        raise ArgumentValueError(
            f"path: got {redacted(uri)!r}, whose scheme neither Arrow nor fsspec knows; want a local path (with ./ "
            "where its name has a colon), file://, s3://, gs://, abfs://, hdfs:// or one of fsspec's"
        ) from None
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path
