"""The directories of a run's ranks."""

import os
import re
from pathlib import Path
from typing import Final

from fastact.errors import LogError
from fastact.log.schema import check_path

_RANK: Final = re.compile(r"rank-(\d{5,9})")


def rank_folders(path: str | os.PathLike[str]) -> tuple[Path, dict[int, str]]:
    """The path of a run's directory, and the names of its ranks' directories by their ranks; raises as `open_log`."""
    place = check_path(path)
    try:
        names = sorted(item.name for item in place.iterdir())
    except (OSError, ValueError) as error:
        raise LogError(f"cannot read the log {str(place)!r}, want a run's directory: {error}") from None
    return place, {int(match[1]): name for name in names if (match := _RANK.fullmatch(name))}
