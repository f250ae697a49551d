"""`fastact demo`: trains, watches, logs, diagnoses and replays real networks."""

from pathlib import Path
from typing import Annotated

import typer

from fastact.cli.output import complain, console


def demo(
    out: Annotated[Path, typer.Option(help="Where the logs go; replaced at every run.")] = Path("runs/demo"),
    steps: Annotated[int, typer.Option(min=1, help="Training steps for each network.")] = 300,
) -> int:
    """Train real networks, one healthy and five sick, and watch, log, diagnose and replay each."""
    from fastact.demo import run

    problems = run(out, steps, console())
    for problem in problems:
        complain(f"failed: {problem}")
    return int(bool(problems))
