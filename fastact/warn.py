"""Warnings that point at the caller's line, not at one of fastact's."""

import sys
import warnings
from pathlib import Path
from typing import Final

_PACKAGE: Final = str(Path(__file__).parent)


def warn(message: str, category: type[Warning] = RuntimeWarning) -> None:
    """Warns as of the nearest line outside of the package, and of the standard library's wrappers around it.

    Where there is none, as in a thread of ours, it is as of the outermost line.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn("as an example")
        >>> caught[0].filename.startswith("<doctest")
        True
    """
    level, frame = 1, sys._getframe(0)
    while _is_ours(frame.f_code.co_filename) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_ours(filename: str) -> bool:
    return filename.startswith(_PACKAGE) or filename.endswith("contextlib.py")
