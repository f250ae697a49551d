"""`fastact explain`: the pages on conditions and frameworks."""

from typing import Annotated, Final

import typer

from fastact import pages
from fastact.cli.output import console

#: Columns of prose, however wide the screen is.
_PAGE_WIDTH: Final = 100
_ABOUT_NAMES: Final = "Conditions or frameworks, such as 'saturated'."


def explain(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help=_ABOUT_NAMES)] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Print the Markdown as it is written.")] = False,
) -> None:
    """Show the page on a condition (what it is, how it is found, what to do) or a framework; without a name, list."""
    from rich.markdown import Markdown

    if not names:
        for folder, about in pages.FOLDERS.items():
            print(f"{about}: {', '.join(pages.names(folder))}")
        return
    texts = [pages.explain(name) for name in names]
    if raw:
        print("\n".join(texts), end="")
        return
    out = console()
    for text in texts:
        out.print(Markdown(text), width=min(out.width, _PAGE_WIDTH))
