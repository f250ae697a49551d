"""`fastact mcp`: lets an assistant ask runs."""

from pathlib import Path
from typing import Annotated, Final

import typer

_ABOUT: Final = "Directories of runs, or directories that hold some; nothing else is read."


def mcp(runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help=_ABOUT)]) -> None:
    """Serve runs to an assistant by the Model Context Protocol, on the standard streams; it can read them, no more."""
    from fastact.mcp import server

    server(runs).run()
