"""What the benchmarks share on the command line: progress, the table, the results' file."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.measure import save, warn
from bench.tables import Lines

__all__ = ["Benchmark", "command"]


class Benchmark(NamedTuple):
    """One of the benchmarks.

    Attributes:
        name: of its module and of its results' file.
        title: what it measures.
        run: measures, given the console, whether to be quick, what to call with each step's name, and its own options
            by name.
        table: turns the results into the lines of a table.
    """

    name: str
    title: str
    run: Callable[..., dict[str, Any]]
    table: Callable[[dict[str, Any]], Lines]


def command(
    benchmarks: Sequence[Benchmark],
    program: str = "python -m bench",
    *,
    options: argparse.ArgumentParser | None = None,
) -> dict[str, dict[str, Any]]:
    """Runs one benchmark, or the chosen ones of several, from the command line, with `options` of its own.

    Returns:
        the results of each, by its name.
    """
    several = len(benchmarks) > 1
    program = program if several else f"python -m bench.{benchmarks[0].name}"
    about = "; ".join(f"{benchmark.name}: {benchmark.title}" for benchmark in benchmarks)
    parser = argparse.ArgumentParser(prog=program, description=about, parents=[] if options is None else [options])
    if several:
        names = [benchmark.name for benchmark in benchmarks]
        parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones, of {', '.join(names)}; default all")
    parser.add_argument("--quick", action="store_true", help="small and few: a check that it works; nothing written")
    arguments = parser.parse_args()
    own = {name: value for name, value in vars(arguments).items() if name not in ("names", "quick")}
    chosen = arguments.names if several and arguments.names else [benchmark.name for benchmark in benchmarks]
    if unknown := set(chosen) - {benchmark.name for benchmark in benchmarks}:
        parser.error(f"NAME: got {', '.join(sorted(unknown))}, want some of {', '.join(names)}")

    console = Console(width=None if sys.stdout.isatty() else 140)
    load = warn(console)
    found: dict[str, dict[str, Any]] = {}
    for benchmark in benchmarks:
        if benchmark.name not in chosen:
            continue
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(benchmark.name, total=None)

            def step(what: str) -> None:
                progress.update(task, description=f"{benchmark.name}: {what}")  # noqa: B023

            results = {**benchmark.run(console, arguments.quick, step, **own), "load_before": load}
        found[benchmark.name] = results
        console.print(shown(benchmark, results))
        if not arguments.quick and results.get("whole", True):
            save(benchmark.name, results, console)
    return found


def shown(benchmark: Benchmark, results: dict[str, Any]) -> Table:
    """The results as a table for the terminal."""
    lines = benchmark.table(results)
    table = Table(title=f"{benchmark.title} (medians)", box=None, padding=(0, 1, 0, 0))
    for column, left in zip(lines.header, lines.left, strict=True):
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for row in lines.rows:
        table.add_row(*row)
    return table
