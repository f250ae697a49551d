"""The directories of a run's ranks."""

import os
from pathlib import Path

from fastact.errors import LogError
from fastact.log.reader import RunReader
from fastact.log.schema import check_path
from fastact.opening import is_exhausted
from fastact.ranks import RANK_FOLDER
from fastact.remote import is_uri, redacted


def rank_folders(path: str | os.PathLike[str]) -> tuple[Path, dict[int, str]]:
    """The path of a run's directory, and the names of its ranks' directories by their ranks; raises as `open_log`."""
    place = check_path(path)
    if is_uri(place):
        raise LogError(
            f"{redacted(place)!r} is not local, want a run's local directory: open_log reads what is elsewhere"
        )
    try:
        names = sorted(item.name for item in place.iterdir())
    except (OSError, ValueError) as error:
        raise LogError(f"cannot read the log {str(place)!r}, want a run's directory: {error}") from None
    return place, {int(match[1]): name for name in names if (match := RANK_FOLDER.fullmatch(name))}


def open_ranks(place: Path, ranks: dict[int, str]) -> tuple[dict[int, RunReader], tuple[str, ...]]:
    """The readers of the ranks that can be read, in their order, and what is told of those that cannot.

    Raises LogError where none can be read, and where there are no descriptors left to open more.
    """
    runs: dict[int, RunReader] = {}
    failed: list[str] = []
    for rank, name in sorted(ranks.items()):
        try:
            runs[rank] = RunReader(place / name)
        except LogError as error:
            if is_exhausted(error.__cause__):
                raise  # which says nothing of this rank
            failed.append(f"{name}: {error}")
    if not runs:
        raise LogError(f"nothing can be read from the log {str(place)!r}: {'; '.join(failed)}")
    return runs, tuple(failed)
