"""`fastact report`: runs as one HTML file."""

import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer

from fastact.cli.options import Session
from fastact.cli.output import progress_bar, warn_of_losses

_Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Runs' directories, or the parents of their ranks' directories.")
]
_Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write; it is replaced.")]
_Follow = Annotated[bool, typer.Option("--follow", help="Write it again while the run goes on, until Ctrl-C.")]
_Every = Annotated[float, typer.Option(min=1, max=3600, help="Seconds between two looks, with --follow.")]


def report(
    runs: _Runs,
    out: _Out = Path("report.html"),
    follow: _Follow = False,
    every: _Every = 10.0,
    session: Session = None,
) -> None:
    """Write runs as one HTML file: findings with their curves, a heat map, each layer's health. It needs no network.

    Two runs are compared first, as by `fastact compare`.
    """
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            _follow(runs, out, every)
    else:
        _write(runs, out, session=session)
    print(f"{out}: {out.stat().st_size:,} bytes")


def _write(runs: list[Path], out: Path, again: int = 0, session: int | None = None) -> None:
    from fastact.replay.log import open_log
    from fastact.replay.report import place_of, write_report

    place_of(out)
    logs = [open_log(run, session=session) for run in runs]
    comparison = None
    if len(logs) == 2:
        from fastact.comparison.compare import compare
        from fastact.comparison.webpage import view_of

        with progress_bar("comparing", sum(log.nbytes for log in logs)) as progress:
            comparison = view_of(compare(*logs, progress=progress))
    with progress_bar("reading", sum(log.nbytes for log in logs)) as progress:
        write_report(logs, out, comparison=comparison, again=again, progress=progress)
    for log in logs:
        warn_of_losses(log)


def _follow(runs: list[Path], out: Path, every: float) -> None:
    """Writes the file again whenever there is more, until all runs are closed; then once more, to stay as it is."""
    from fastact.replay.log import open_log

    seen: list[int] = []
    while True:
        closed = all(open_log(run).closed for run in runs)
        began = time.monotonic()
        sizes = [open_log(run).nbytes for run in runs]
        if sizes != seen or closed:
            _write(runs, out, again=0 if closed else round(every))
        if closed:
            return
        seen = sizes
        # The reading takes no more than a fifth of the time, however long the log.
        time.sleep(max(every, 4.0 * (time.monotonic() - began)))
