"""`fastact replay`: the rows of a log as the monitor saw them."""

import contextlib
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fastact.cli.options import AsJson, Run, Session
from fastact.cli.output import progress_bar, warn_of_losses
from fastact.errors import ArgumentValueError
from fastact.text import matches, shown

if TYPE_CHECKING:
    from fastact.replay.records import Record


def replay(
    run: Run,
    first: Annotated[int | None, typer.Option("--from", help="First step to show.")] = None,
    last: Annotated[int | None, typer.Option("--to", help="Last step to show, itself included.")] = None,
    layer: Annotated[str | None, typer.Option(help="Show only layers whose name matches, such as 'encoder.*'.")] = None,
    as_json: AsJson = False,
    session: Session = None,
) -> None:
    """Show a run row by row, as the monitor saw it; the progress is on stderr. With --json, an object a line."""
    from fastact.replay.log import open_log

    log = open_log(run, session=session)
    names = [info.name for info in log.layers if layer is None or matches(info.name, layer)]
    if layer is not None and not names:
        known = ", ".join(repr(info.name) for info in log.layers[:8])
        raise ArgumentValueError(f"layer: got {layer!r}, which matches none, want a pattern for one of {known}, ...")
    width = min(max([5, *map(len, names)]), 40)
    count = 0
    if not as_json:
        print(_line("step", "rank", "layer", _COLUMNS, width))
    # On one terminal the rows themselves show how far it is, and a bar would write into them.
    with contextlib.nullcontext() if sys.stdout.isatty() else progress_bar("reading", log.nbytes) as progress:
        chosen = None if layer is None else names
        for record in log.replay(from_step=first, to_step=last, layers=chosen, progress=progress):
            print(json.dumps(record.to_dict(), allow_nan=False) if as_json else _row_line(record, width))
            count += 1
    sys.stdout.flush()
    warn_of_losses(log)
    print(f"{count:,} rows", file=sys.stderr)


_COLUMNS: Final = ("count", "mean", "std", "min", "max", "zeros", "saturated", "nan", "inf", "neurons", "dead")


def _line(step: object, rank: object, layer: str, cells: Iterable[object], width: int) -> str:
    return f"{step!s:>8} {rank!s:>4}  {layer:<{width}} " + " ".join(f"{cell!s:>11}" for cell in cells)


def _row_line(record: "Record", width: int) -> str:
    stats, neurons = record.stats, record.neurons or {}
    moments = (f"{value:.5g}" for value in (stats.mean, stats.std, stats.min, stats.max))
    counts = (stats.zeros, stats.saturated, stats.nans, stats.infs)
    cells = (stats.count, *moments, *counts, neurons.get("neurons", "-"), neurons.get("dead_neurons", "-"))
    return _line(record.step, record.rank, shown(record.layer, width), cells, width)
