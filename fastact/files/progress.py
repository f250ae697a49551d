"""How far a sweep has come: a bar on a terminal, or a function of the caller's."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bar(progress: bool | Callable[[int, int], None], total: int) -> Iterator[Callable[[int], None]]:
    """Yields what is to be called with the bytes of each part that is done."""
    done = 0
    if callable(progress):
        tell = progress

        def add(count: int) -> None:
            nonlocal done
            done += count
            tell(done, total)

        yield add
        return
    if not progress:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    out = Console(stderr=True)
    columns = TextColumn("Sweeping"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as shown:
        task = shown.add_task("", total=total)
        yield lambda count: shown.update(task, advance=count)
