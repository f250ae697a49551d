"""`fastact recover`: a whole copy of a damaged log."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fastact.cli.options import Run
from fastact.cli.output import complain, progress_bar


def recover(
    run: Run, to: Annotated[Path, typer.Option(metavar="DIR", help="The directory to create; it must not exist yet.")]
) -> None:
    """Write a sound copy of a damaged run, which any Arrow reader can open; the run itself is not touched."""
    from fastact.replay.log import open_log
    from fastact.replay.recover import recover

    log = open_log(run)
    with progress_bar("copying", log.nbytes) as progress:
        rows = recover(log, to, progress=progress)
    for line in log.warnings:
        complain(f"lost: {line}")
    print(f"{rows:,} rows to {to}", file=sys.stderr)
