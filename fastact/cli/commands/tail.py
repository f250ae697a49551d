"""`fastact tail`: the state of a run, live, while it is written."""

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fastact.cli.commands.layers import health_table
from fastact.cli.options import AsJson, Run, Window
from fastact.cli.output import complain, console, show
from fastact.text import shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fastact.replay.tail import Tail


def tail(
    run: Run,
    rank: Annotated[int | None, typer.Option(help="Whose rows to follow; by default the lowest rank's.")] = None,
    window: Window = None,
    every: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Show the current state and exit.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch a run while it is written: layers, sparklines, findings as they come; its keys are in the last line.

    The view needs textual (pip install 'fastact[live]'); without it, show each layer's health until the run is closed
    or Ctrl-C. When the output is not a terminal, print a line whenever there is something new.
    """
    import time

    from rich.live import Live

    from fastact.replay.tail import Tail

    if not once and not as_json and _has_view():
        from fastact.live.app import TailApp
        from fastact.live.following import Following

        TailApp(Following(run, window_size=window, rank=rank, every=every)).run()
        return
    state = Tail(run, window_size=window, rank=rank, lost=lambda what: complain(f"warning: {what}"))
    out = console()
    state.look()
    if once:
        print(_json(state)) if as_json else show(_view(state, None))
        return
    with contextlib.suppress(KeyboardInterrupt):
        if out.is_terminal and not as_json:
            with Live(_view(state, out.height), console=out, auto_refresh=False) as live:
                while not state.closed:
                    time.sleep(every)
                    state.look()
                    live.update(_view(state, out.height), refresh=True)
        else:
            tell = _json if as_json else _line
            print(tell(state), flush=True)
            while not state.closed:
                time.sleep(every)
                if state.look():
                    print(tell(state), flush=True)


def _has_view() -> bool:
    """Whether the terminal view can be shown here: it draws on the whole terminal, and reads its keys."""
    from importlib.util import find_spec

    out = console()
    return out.is_terminal and not out.is_dumb_terminal and sys.stdin.isatty() and find_spec("textual") is not None


def _line(state: "Tail") -> str:
    sick = [f"{shown(f.layer, 40)} {f.condition} ({f.severity})" for f in state.diagnose().culprits]
    return _facts(state) if state.step is None else f"{_facts(state)}: {', '.join(sick) or 'no problems found'}"


def _json(state: "Tail") -> str:
    return json.dumps(state.to_dict(), allow_nan=False)


def _facts(state: "Tail") -> str:
    whose = "" if state.rank is None else f"rank {state.rank}, "
    if state.step is None:
        return f"{whose}no rows yet"
    return f"{whose}step {state.step:,}, {state.rows:,} rows, {state.rate:,.0f} rows/s{', closed' * state.closed}"


def _view(state: "Tail", height: int | None) -> "RenderableType":
    """The state in at most `height` lines: where not all layers fit, the sick ones come first."""
    from rich.console import Group
    from rich.text import Text

    layers = list(state.diagnose().layers)
    parts: list[RenderableType] = [Text(_facts(state))]
    room = len(layers) if height is None else max(1, height - 5)
    if len(layers) > room:
        left = len(layers) - room
        layers = sorted(layers, key=lambda layer: not layer.severity)[:room]
        parts.append(Text(f"{left} more layers do not fit; the sick ones are shown first"))
    return Group(*parts, health_table(layers))
