"""The program: its commands, registered with typer, and what ends it, turned into an exit code.

Exit codes: 0 fine, 1 findings (or a demo that did not go as it must), 2 an error, told in one line on stderr, 130 an
interrupt, 141 a reader of the output that left.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from typing import Annotated, Final, ParamSpec

import typer

from fastact.cli.commands import COMMANDS, GROUPS
from fastact.cli.output import complain
from fastact.errors import FastactError

P = ParamSpec("P")
#: As a shell reports a program that SIGINT or SIGPIPE ended.
_INTERRUPTED: Final = 130
_PIPE_CLOSED: Final = 141

app = typer.Typer(
    name="fastact",
    help="Finds and explains dead, saturated, exploding and vanishing layers, live in training and from a log.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Runs the command line; the entry point of `fastact` and of ``python -m fastact``."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # a stream of somebody else's making
            # A terminal that cannot show a sign shows its escape.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _guarded(command: Callable[P, int | None]) -> Callable[P, None]:
    """A command whose result is the exit code, and whose errors become one line and an exit code."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs) or 0
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has gone (`| head`). What Python still flushes at its exit must find an open file.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = _PIPE_CLOSED
        except KeyboardInterrupt:
            code = _INTERRUPTED
        except (FastactError, OSError) as error:
            complain(f"error: {error}")
            code = 2
        except MemoryError as error:  # which most often says nothing
            complain(f"error: memory does not suffice: {error}".rstrip(": "))
            code = 2
        raise typer.Exit(code)

    return guarded


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from fastact import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(2)


for _command in COMMANDS:
    app.command()(_guarded(_command))
for _group, _about, _commands in GROUPS:
    _sub = typer.Typer(name=_group, help=_about, no_args_is_help=True)
    for _command in _commands:
        _sub.command()(_guarded(_command))
    app.add_typer(_sub)
