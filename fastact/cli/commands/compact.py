"""`fastact compact`: few segments for many, or Parquet by run and steps."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fastact.cli.options import Run
from fastact.cli.output import progress_bar


def compact(
    run: Run,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write Parquet below DIR/run=NAME/steps=FIRST/ instead; the run stays as it is."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a Parquet folder.")] = 100_000,
) -> None:
    """Make a run's many segments few, or write its rows as Parquet by run and range of steps."""
    from fastact.replay.compact import compact, to_parquet
    from fastact.replay.log import open_log

    if to is None:
        found = compact(run)
        several = "s" * (found.segments_before != 1)
        before = f"{found.segments_before:,} segment{several} of {found.bytes_before:,} bytes"
        print(f"{before} became {found.segments:,} of {found.bytes:,}", file=sys.stderr)
        return
    log = open_log(run)
    with progress_bar("writing", log.nbytes) as progress:
        rows = to_parquet(log, to, steps=steps, progress=progress)
    print(f"{rows:,} rows to {to}", file=sys.stderr)
