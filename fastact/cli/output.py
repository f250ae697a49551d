"""What all commands print with: tables and progress bars by rich, and complaints, one line each on stderr.

Names of layers and paths come from outside. They are shown escaped and never read as markup.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from fastact.text import shown

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from fastact.replay.log import Log

#: Columns when the output is no terminal: enough for every table, so that nothing is cut.
_FILE_WIDTH: Final = 200
#: The longest complaint, in characters.
_LONGEST_LINE: Final = 2000


def complain(line: str) -> None:
    """Prints one line on stderr, whatever the message holds."""
    print(shown(" ".join(line.split()), limit=_LONGEST_LINE), file=sys.stderr)


def warn_of_losses(log: "Log") -> None:
    """Says on stderr which rows a log that has been read has lost, and what else is good to know of it."""
    for line in log.warnings:
        complain(f"warning: {line}")
    for line in log.notes:
        complain(f"note: {line}")


def console() -> "Console":
    """The console for stdout: as wide as the terminal, or as COLUMNS says."""
    from rich.console import Console

    found = Console(highlight=False)
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, width=_FILE_WIDTH)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int) -> "Table":
    """A table whose first `left` columns are text, which may wrap, and whose others are numbers, which may not."""
    from rich.table import Table
    from rich.text import Text

    made = Table(show_edge=False, pad_edge=False)
    for i, title in enumerate(head):
        made.add_column(title, justify="left" if i < left else "right", overflow="fold", no_wrap=i >= left)
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def show(renderable: "RenderableType") -> None:
    """Prints a renderable, in lines longer than the terminal where rich would cut the numbers of a table."""
    out = console()
    out.width = max(out.width, out.measure(renderable, options=out.options.update(width=_FILE_WIDTH)).minimum)
    out.print(renderable)


@contextlib.contextmanager
def progress_bar(verb: str, total: int) -> "Iterator[Callable[[int], None]]":
    """A bar on stderr, where that is a terminal: yields the function to call with the bytes read so far."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    out = Console(stderr=True)
    columns = TextColumn(verb), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("", total=total)
        # Rich takes 10 µs for an update; it draws ten a second.
        seen = 0

        def read(count: int) -> None:
            nonlocal seen
            if count - seen >= total // 256:
                seen = count
                progress.update(task, completed=count)

        yield read
