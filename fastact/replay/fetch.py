"""Logs that lie elsewhere: an object store, or whatever `fastact.remote` knows.

Reading a log needs all of its bytes, and some of them twice. So a copy of what is there now is fetched first, into a
temporary folder that goes when the log is forgotten.
"""

import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastact.errors import FastactError, LogError
from fastact.log.schema import check_path
from fastact.remote import is_uri, locate, redacted

if TYPE_CHECKING:
    from fastact.replay.log import Log

#: The files of a run, below its folder. Nothing else is fetched, and no name leaves the folder.
_FILE: Final = re.compile(r"(?:rank-\d{5,9}/)?(?:segment-\d{6,12}\.(?:arrows|live)|writer\.lock)")
_AT_ONCE: Final = 8


def open_fetched(where: str | os.PathLike[str], open_local: Callable[[Path], "Log"]) -> "Log | None":
    """Fetches the log at a URI and opens the copy by `open_local`, which is `open_log`; None where `where` is local.

    Raises:
        ArgumentValueError, MissingExtraError: as `remote.locate`.
        LogError: nothing can be read there.
    """
    if not is_uri(check_path(where)):
        return None
    shown = redacted(where)
    folder = tempfile.TemporaryDirectory(prefix="fastact-", ignore_cleanup_errors=True)
    # The copy is called as the run is: reports and comparisons show the folder's name.
    copy = Path(folder.name) / (shown.rstrip("/").rpartition("/")[2] or "run")
    try:
        copy.mkdir()
        _fetch(where, shown, copy)
        log = open_local(copy)
    except FastactError as error:
        folder.cleanup()
        raise type(error)(str(error).replace(str(copy), shown)) from None
    except BaseException:
        folder.cleanup()
        raise
    weakref.finalize(log, folder.cleanup)
    return log


def _fetch(where: str | os.PathLike[str], shown: str, copy: Path) -> None:
    from pyarrow import fs

    try:
        filesystem, root = locate(where)
        found = filesystem.get_file_info(fs.FileSelector(root, recursive=True))
    except OSError as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise LogError(f"cannot read the log {shown!r}, want a run's directory: {reason}") from error
    below = root.rstrip("/") + "/"
    names = [info.path.removeprefix(below) for info in found if info.is_file]

    def get(name: str) -> None:
        target = copy / name
        target.parent.mkdir(exist_ok=True)
        try:
            with filesystem.open_input_stream(below + name) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
        except FileNotFoundError:
            target.unlink(missing_ok=True)  # removed since it was listed
        except OSError as error:
            raise LogError(f"cannot read {name!r} of the log {shown!r}: {str(error).splitlines()[0]}") from error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(get, filter(_FILE.fullmatch, names)):
            pass
