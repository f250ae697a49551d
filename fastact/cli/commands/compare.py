"""`fastact compare`: where two runs part, beyond what noise explains."""

from pathlib import Path
from typing import Annotated, Final

import typer

from fastact.cli.options import AsJson, Rank
from fastact.cli.output import complain, progress_bar, warn_of_losses

_A = Annotated[Path, typer.Argument(metavar="A", help="The first run's directory.")]
_B = Annotated[Path, typer.Argument(metavar="B", help="The second run's directory.")]
_ABOUT_NOISE: Final = "A directory of runs of the same training with other seeds: what they differ by is noise."
_Noise = Annotated[Path | None, typer.Option(metavar="DIR", help=_ABOUT_NOISE)]
_Since = Annotated[int | None, typer.Option(metavar="STEP", help="Compare the steps from this one on.")]
_SessionA = Annotated[int | None, typer.Option(help="Which session of A to read; by default the last.")]
_SessionB = Annotated[int | None, typer.Option(help="Which session of B to read; by default the last.")]


def compare(
    a: _A,
    b: _B,
    as_json: AsJson = False,
    noise: _Noise = None,
    since: _Since = None,
    rank: Rank = None,
    session_a: _SessionA = None,
    session_b: _SessionB = None,
) -> int:
    """Say where two runs part: the first layer and step that differ by more than noise explains. 1 if they part.

    2 if nothing could be compared: they have no layer or no step in common.
    """
    from fastact.comparison.compare import compare
    from fastact.replay.log import open_log

    logs = open_log(a, session=session_a), open_log(b, session=session_b)
    with progress_bar("reading", sum(log.nbytes for log in logs)) as progress:
        found = compare(*logs, noise=noise, since=since, rank=rank, progress=progress)
    for log in logs:
        warn_of_losses(log)
    print(found.to_json(indent=2) if as_json else found)
    if not found.steps:
        complain("error: nothing could be compared")
        return 2
    return int(bool(found.partings))
