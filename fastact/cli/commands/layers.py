"""`fastact layers`: the health of each layer of a run."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastact.cli.options import AsJson, Rank, Run, Session, Window
from fastact.cli.output import progress_bar, show, table, warn_of_losses
from fastact.text import number, percent, shown

if TYPE_CHECKING:
    from rich.table import Table

    from fastact.diagnosis.report import LayerHealth


def layers(
    run: Run, as_json: AsJson = False, window: Window = None, rank: Rank = None, session: Session = None
) -> None:
    """Show the layers of a run in forward order: their last numbers and their health."""
    from fastact.replay.log import open_log

    log = open_log(run, session=session)
    with progress_bar("reading", log.nbytes) as progress:
        diagnosis = log.diagnose(window_size=window, rank=rank, progress=progress)
    warn_of_losses(log)
    if as_json:
        print(json.dumps({"layers": [layer.to_dict() for layer in diagnosis.layers]}, indent=2, allow_nan=False))
    else:
        show(health_table(diagnosis.layers))


def health_table(layers: "Iterable[LayerHealth]") -> "Table":
    """The health of layers as a table."""
    head = ("layer", "type", "status", "mean", "std", "dead", "saturated", "rows", "first", "last")
    rows = (
        (
            *(shown(layer.name), shown(layer.kind, 30)),
            f"{layer.status} ({layer.severity})" if layer.severity else layer.status,
            *("-" if value is None else number(value) for value in (layer.mean, layer.std)),
            *("-" if share is None else percent(share) for share in (layer.dead, layer.saturated)),
            f"{layer.rows:,}",
            *("-" if step is None else str(step) for step in (layer.first_step, layer.last_step)),
        )
        for layer in layers
    )
    return table(head, rows, left=3)
