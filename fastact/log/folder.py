"""What lies in a run's folder: its segments in order, the whole messages of each, and whether somebody writes there."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from fastact.errors import LogError
from fastact.log.files import list_segments
from fastact.log.frames import Frame, frames
from fastact.log.lock import LOCK_NAME
from fastact.log.schema import check_version
from fastact.log.sparing import SparingFile

Tell = Callable[[str], None]


def unlocked(folder: Path) -> bool:
    """Whether no writer has the run open, and none was killed that had."""
    # Looked at, not opened: closing any descriptor of a file gives back the locks that this process has on it.
    with suppress(OSError):
        return (folder / LOCK_NAME).stat().st_size == 0
    return True  # written before there was a lock


def present_segments(folder: Path) -> list[tuple[int, str]]:
    """(number, file name) of every segment to read, in order. Raises OSError where the folder cannot be read."""
    # A sealed segment goes before a live one of the same number: its writer died before it removed that.
    return sorted(dict(reversed(list_segments(folder))).items())


def segment_frames(
    folder: Path, name: str, lost: Tell, *, begin: int = 0, end: int | None = None, shown: Path | None = None
) -> Iterator[Frame]:
    """Yields the whole messages of a segment from byte `begin` on; `lost` is told of what is not whole.

    With `end`, at which a message begins, those before it.

    A segment that retention removed in the meantime is not reported: it is not damage. Raises LogError, with the path
    `shown` (by default `folder`), where a newer major version of fastact wrote it, and where no file can be opened
    because too many are open.
    """
    try:
        with _open(folder, name) as file:
            # A live segment grows: what is there now is what is read.
            size, sealed = (file.size, name.endswith(".arrows")) if end is None else (end, False)
            for frame in frames(file, size, lost, sealed, begin):
                try:
                    check_version(frame.version)
                except LogError as error:
                    raise LogError(f"{(shown or folder) / name}: {error}") from None
                whole = [frame]
                del frame
                yield whole.pop()
    except FileNotFoundError:
        if not _retired(folder, name):
            lost("it is gone: it was merged with its neighbours while the log was read, or somebody removed it")
    except OSError as error:
        lost(f"cannot be read: {error.strerror or error}")


def _open(folder: Path, name: str) -> SparingFile:
    """Opens a segment, also when it was sealed since it was listed."""
    for candidate in (name, name.replace(".live", ".arrows")):
        with suppress(FileNotFoundError):
            return SparingFile(folder / candidate)
    raise FileNotFoundError(name)


def _retired(folder: Path, name: str) -> bool:
    """Whether a segment that is gone was one of the oldest, which retention removes."""
    left = [number for number, _ in list_segments(folder)]
    return bool(left) and min(left) > int(name.removeprefix("segment-").partition(".")[0])
