"""The directories of a run's ranks."""

import os
from pathlib import Path

from fastact.errors import LogError
from fastact.log.schema import check_path
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
