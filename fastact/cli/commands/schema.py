"""`fastact schema`: the JSON Schemas of what --json prints."""

from typing import Annotated, Final

import typer

_ABOUT: Final = "A command with --json, such as 'diagnose'; without one, list them."


def schema(command: Annotated[str | None, typer.Argument(metavar="[COMMAND]", help=_ABOUT)] = None) -> None:
    """Print the JSON Schema of what a command prints with --json; of `replay` and `tail` it is that of a line."""
    from fastact.schemas import SCHEMAS, published

    print("\n".join(SCHEMAS) if command is None else published(command).rstrip())
