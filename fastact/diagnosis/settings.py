"""What a TOML file says to the diagnosis: thresholds, and what is accepted."""

import os
from pathlib import Path
from typing import Any

from fastact.errors import ArgumentTypeError, ArgumentValueError


def read_settings(path: str | os.PathLike[str]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The tables ``thresholds`` and ``accept`` of a file; None for one that it does not have.

    A ``pyproject.toml`` has them below ``[tool.fastact]``. In a file of its own the thresholds are the keys at the top,
    and ``[accept]`` is a table beside them.

    Raises:
        ArgumentTypeError: `path` is no path, or what should be a table is none.
        ArgumentValueError: the file cannot be read or is no TOML.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentTypeError(f"path: got {type(path).__name__}, want a str or an os.PathLike")
    import tomllib

    shown = repr(os.fspath(path))
    try:
        file = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, no TOML, or a NUL in the path
        raise ArgumentValueError(f"path: cannot read {shown}, want a TOML file: {error}") from None
    tool, prefix = file.get("tool"), ""
    if isinstance(tool, dict) and tool:
        own, prefix = tool.get("fastact", {}), "tool.fastact."
        tables = own if isinstance(own, dict) else {}
    else:
        tables = {"accept": file.pop("accept")} if "accept" in file else {}
        tables |= {"thresholds": file} if file else {}
    for name in ("thresholds", "accept"):
        if not isinstance(tables.get(name, {}), dict):
            raise ArgumentTypeError(f"{shown}: {prefix}{name}: got {type(tables[name]).__name__}, want a table")
    return tables.get("thresholds"), tables.get("accept")
