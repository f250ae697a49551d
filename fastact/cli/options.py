"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory, or the parent of its ranks' directories.")]
Rank = Annotated[int | None, typer.Option(help="Whose rows to judge; by default those of all ranks, merged.")]
Window = Annotated[int | None, typer.Option(min=1, help="Rows per layer to judge by; by default the monitor's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print strict JSON and nothing else.")]
Since = Annotated[int | None, typer.Option(metavar="STEP", help="Leave out what began before this step.")]
Session = Annotated[
    int | None, typer.Option(help="Which session to read, where the run was started again; by default the last, -1.")
]
