"""`fastact neurons`: which neurons of a layer are dead, and since when."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from fastact.cli.options import AsJson, Rank, Run, Session
from fastact.cli.output import complain, show, table
from fastact.text import percent, shown

if TYPE_CHECKING:
    from fastact.neurons import Neurons

#: Ranges of neurons that a line of the table names, and lines.
_RANGES, _LINES = 24, 20


def neurons(
    run: Run,
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="The layer's name, as `fastact layers` prints it.")],
    step: Annotated[
        int | None, typer.Option(min=0, help="Look at the last kept step up to this one; by default the last of all.")
    ] = None,
    rank: Rank = None,
    session: Session = None,
    as_json: AsJson = False,
) -> None:
    """Show which neurons of a layer are dead, and since when, at the steps of which the log has kept it."""
    from fastact.replay.log import open_log

    found = open_log(run, session=session).neurons(layer, to_step=step, rank=rank)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2, allow_nan=False))
        return
    if not len(found.steps):
        complain(
            f"note: of the neurons of {shown(layer)!r} nothing was kept"
            + ("" if step is None else f" up to step {step}")
            + ": that is so of layers without a neuron axis, of what is swept on a GPU, and in logs of older versions"
        )
        return
    print(summary(found))
    show(table(("step", "dead", "share", "silent", "neurons that were dead"), _lines(found), left=0))


def summary(found: "Neurons") -> str:
    """What a layer's neurons are, in a few lines."""
    from fastact.neurons import ranges

    dead, silent = found.dead_now, found.silent_now
    kind = f" ({shown(found.layer_type, 30)})" if found.layer_type else ""
    of = f"{found.neurons:,}" if found.covered == found.neurons else f"the first {found.covered:,} of {found.neurons:,}"
    many = f"{len(dead):,} dead ({percent(len(dead) / found.covered)})" if len(dead) else "none is dead"
    head = f"{shown(found.layer)}{kind}, step {found.steps[-1]}: of {of} neurons {many}"
    lines = [f"{head}, {len(silent):,} silent in this step"]
    since = found.dead_since
    for first in sorted(set(since.tolist())):
        these = dead[since == first]
        lines.append(f"dead at step {first} and since: {ranges(these, _RANGES)}")
    if len(lines) > _LINES + 1:
        lines[_LINES + 1 :] = [f"and {len(lines) - _LINES - 1} steps more, which --json tells"]
    return "\n".join([*lines, ""])


def _lines(found: "Neurons") -> list[tuple[str, ...]]:
    """A line for each of the last steps, and evenly of those before."""
    from fastact.neurons import ranges

    count = len(found.steps)
    by = -(-count // _LINES)
    places = sorted({*range(count - 1, -1, -by), 0})
    lines: list[tuple[str, ...]] = []
    for i in places:
        dead = found.dead[i].nonzero()[0]
        share = percent(len(dead) / max(1, found.covered))
        told = ranges(dead, 8) or "-"
        lines.append((f"{found.steps[i]}", f"{len(dead):,}", share, f"{int(found.silent[i].sum()):,}", told))
    return lines
