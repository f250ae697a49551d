"""`fastact export`: the rows of a log in one file for other programs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fastact.cli.options import Run, Session
from fastact.cli.output import progress_bar, warn_of_losses


def export(
    run: Run,
    to: Annotated[Path, typer.Option(metavar="FILE", help="A .parquet, .csv or .jsonl file.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    session: Session = None,
) -> None:
    """Write all rows of a run, and what the columns mean, to one file for other programs.

    Parquet files hold the meaning themselves; for .csv and .jsonl it is written beside them, to FILE.meta.json.
    """
    from fastact.replay.export import export
    from fastact.replay.log import open_log

    log = open_log(run, session=session)
    with progress_bar("exporting", log.nbytes) as progress:
        rows = export(log, to, force=force, progress=progress)
    warn_of_losses(log)
    print(f"{rows:,} rows to {to}", file=sys.stderr)
